//! Schedules that a CronJob cannot keep are told so, with the way out.

use k8s_openapi::api::batch::v1::CronJob;
use nightshift::api::AutomationTask;
use serde_json::json;

use super::in_a_scene;
use crate::support::ready;

const NEEDS: &str = "NeedsOperatorClock";

#[tokio::test]
async fn is_needed_where_runs_that_the_cron_job_does_not_see_can_reach_the_next_slot() {
    in_a_scene(async |scene| {
        let cases = [
            ("back-off", "{schedule: {cron: ['*/5 * * * *']}, retry: {limit: 3, backoff: {initialSeconds: 600}}}", "retry.backoff"),
            ("on-timeout", "{schedule: {cron: ['@hourly']}, retry: {limit: 1, onTimeout: false}}", "retry.onTimeout: false"),
            ("two-lines", "{schedule: {cron: ['0 2 * * *', '30 2 * * *'], concurrencyPolicy: Replace}}", "several cron lines"),
            ("same-slot", "{schedule: {cron: ['0 2 * * *', '0 2 * * 1'], concurrencyPolicy: Allow}}", "share slots"),
        ];
        for (name, spec, _) in cases {
            scene.task(name, spec).await;
        }
        for (name, spec, what) in cases {
            let task = scene.ready(name, "False", NEEDS).await;
            let (_, _, message) = ready(&task).expect("Ready");
            assert!(message.contains(what), "{spec}: {message}");
            assert!(scene.find::<CronJob>(name).await.is_none(), "{spec}: a schedule that cannot be kept is not armed");
        }
        // The message names two ways out.
        scene.change::<AutomationTask>("back-off", json!({ "spec": { "schedule": { "concurrencyPolicy": "Allow" } } })).await;
        scene.armed("back-off").await;
        scene.change::<AutomationTask>("two-lines", json!({ "spec": { "timeouts": { "attemptSeconds": 600, "runSeconds": 1200 } } })).await;
        scene.armed("two-lines").await;
        assert_eq!(scene.cron_jobs().await.len(), 3);
    })
    .await;
}

#[tokio::test]
async fn leaves_the_schedule_that_was_accepted_before_going() {
    in_a_scene(async |scene| {
        scene.armed_task("nightly", "{schedule: {cron: ['0 2 * * *']}}").await;
        let before: CronJob = scene.get("nightly").await;
        let edit =
            json!({ "spec": { "schedule": { "cron": ["*/5 * * * *"] }, "retry": { "limit": 1, "backoff": { "initialSeconds": 600 } } } });
        scene.change::<AutomationTask>("nightly", edit).await;
        let task = scene.ready("nightly", "False", NEEDS).await;
        assert!(ready(&task).is_some_and(|(_, _, message)| message.contains("the schedule accepted before goes on")));
        let after: CronJob = scene.get("nightly").await;
        assert_eq!((after.metadata.uid, after.spec), (before.metadata.uid, before.spec));
    })
    .await;
}
