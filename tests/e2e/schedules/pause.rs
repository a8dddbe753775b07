//! A pause by hand, where the spec is Git's: an annotation, which nothing takes back and which ends by itself.

use k8s_openapi::api::batch::v1::CronJob;
use kube::ResourceExt;
use nightshift::api::{AutomationTask, condition};
use serde_json::{Value, json};

use super::in_a_scene;

const UNTIL: &str = "nightshift.dev/paused-until";

fn annotated(until: &Value) -> Value {
    json!({ "metadata": { "annotations": { UNTIL: until, "nightshift.dev/pause-reason": "the partner moves" } } })
}

fn suspended(task: &AutomationTask) -> Option<(String, String, String)> {
    let condition = condition::find(&task.status.as_ref()?.conditions, condition::SUSPENDED)?;
    Some((condition.status.clone(), condition.reason.clone(), condition.message.clone()))
}

#[tokio::test]
async fn by_annotation_suspends_the_cron_job_and_leaves_the_spec_alone() {
    in_a_scene(async |scene| {
        let before = scene.armed_task("nightly", "{schedule: {cron: ['0 2 * * *']}}").await;
        let is_suspended = |yes: bool| move |cron_job: &CronJob| cron_job.spec.as_ref().and_then(|spec| spec.suspend) == Some(yes);
        scene.change::<AutomationTask>("nightly", annotated(&json!("indefinite"))).await;
        scene.until::<CronJob, _>("nightly", "to be suspended", 15, is_suspended(true)).await;
        let paused = scene.until::<AutomationTask, _>("nightly", "to say that it is paused", 15, |task| {
            suspended(task)
                .is_some_and(|(status, reason, message)| status == "True" && reason == "Paused" && message.ends_with(": the partner moves"))
        });
        assert_eq!(paused.await.metadata.generation, before.metadata.generation, "nobody has written the spec");

        // For a time: nobody has to come back for it.
        let soon = jiff_in(8);
        scene.change::<AutomationTask>("nightly", annotated(&json!(soon))).await;
        scene
            .until::<AutomationTask, _>("nightly", "to say until when", 10, |task| {
                suspended(task).is_some_and(|(_, _, message)| message.contains(&soon))
            })
            .await;
        scene.until::<CronJob, _>("nightly", "to go on by itself", 30, is_suspended(false)).await;
        let over = scene.until::<AutomationTask, _>("nightly", "to say that it goes on", 15, |task| {
            suspended(task).is_some_and(|(status, _, _)| status == "False")
        });
        assert!(over.await.annotations().contains_key(UNTIL), "the annotation is its author's");

        scene.change::<AutomationTask>("nightly", annotated(&json!("tomorrow"))).await;
        let refused = scene.ready("nightly", "False", "InvalidPause").await;
        let (_, _, message) = crate::support::ready(&refused).expect("Ready");
        assert!(message.contains(UNTIL) && message.contains("or indefinite") && message.contains("goes on"), "{message}");
    })
    .await;
}

/// A time in so many seconds, as people write it.
fn jiff_in(seconds: i64) -> String {
    let now = nightshift::clock::Clock::system().now_in_seconds();
    (now + jiff::SignedDuration::from_secs(seconds)).to_string()
}
