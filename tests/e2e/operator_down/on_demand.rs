//! Runs on demand over an outage.

use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};
use kube::ResourceExt;
use nightshift::api::{AttemptClass, AutomationRun, Outcome, Phase, Trigger};
use serde_json::json;

use super::{
    outage::Outage,
    slots::{assert_ended, assert_told_by_pods, classes, has_ended, recorded},
};
use crate::support::{Scene, status};

pub async fn job_from_the_cron_job(scene: Scene, mut outage: Outage) {
    scene.armed_task("nightly", "{script: {source: 'exit 5'}, schedule: {cron: ['0 0 1 1 *']}}").await;
    outage.begins().await;
    scene.job_from_cron_job("try-it", "nightly").await;
    let job = scene.until("try-it", "to end", 60, has_ended).await;
    outage.ends().await;
    let run = recorded(&scene, &job).await;
    assert_eq!((run.spec.trigger, run.spec.scheduled_time.clone()), (Some(Trigger::Manual), None));
    assert!(run.name_any().starts_with("try-it-"));
    assert_ended(&run, Outcome::Failed, "ExitCodeOtherwise");
    assert_told_by_pods(&run, &scene.pods("try-it").await);
}

pub async fn run_created(scene: Scene, mut outage: Outage) {
    scene.armed_task("report", "{command: ['true']}").await;
    outage.begins().await;
    scene.run("now", "report").await;
    outage.ends().await;
    let run = scene.finished("now", 60).await;
    assert_ended(&run, Outcome::Succeeded, "Completed");
    assert_eq!(scene.ours::<Job>().await.len(), 1);
}

pub async fn run_goes_on(scene: Scene, mut outage: Outage) {
    scene.armed_task("report", "{script: {source: 'while ! test -e /tmp/stop; do sleep 1; done; exit 6'}}").await;
    scene.run("now", "report").await;
    scene.until("now", "to run", 60, |run| status(run).phase == Some(Phase::Running)).await;
    outage.begins().await;
    let pod = scene.pod_running("now-1", 10).await;
    let stop = ["--namespace", &scene.namespace, "exec", &pod.name_any(), "--", "touch", "/tmp/stop"];
    crate::support::kubectl_ok(&stop, None).await;
    let job: Job = scene.until("now-1", "to end", 60, has_ended).await;
    let before: AutomationRun = scene.get("now").await;
    assert_eq!(status(&before).phase, Some(Phase::Running));
    outage.ends().await;
    let run = scene.finished("now", 60).await;
    assert_ended(&run, Outcome::Failed, "ExitCodeOtherwise");
    assert_eq!(classes(&run), [(Some(AttemptClass::Retryable), Some(6))]);
    assert_told_by_pods(&run, &scene.pods("now-1").await);
    assert!(status(&run).completion_time >= job.creation_timestamp());
}

pub async fn run_cancelled(scene: Scene, mut outage: Outage) {
    scene.armed_task("report", r#"{script: {source: "trap 'exit 7' TERM; sleep 600 & wait"}}"#).await;
    scene.run("now", "report").await;
    scene.until("now", "to run", 60, |run| status(run).phase == Some(Phase::Running)).await;
    outage.begins().await;
    scene.change::<AutomationRun>("now", json!({ "spec": { "cancel": true } })).await;
    outage.ends().await;
    let run = scene.finished("now", 60).await;
    assert_ended(&run, Outcome::Cancelled, "Cancelled");
    assert_eq!(classes(&run), [(Some(AttemptClass::Stopped), Some(7))]);
    assert_eq!(scene.ours::<Pod>().await.len(), 1, "the pod stays, with its log");
}
