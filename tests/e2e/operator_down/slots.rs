//! Slots that come while the operator is down.

use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};
use kube::ResourceExt;
use nightshift::api::{AttemptClass, AutomationRun, AutomationTask, Outcome, Trigger};
use serde_json::json;

use super::outage::Outage;
use crate::support::{Scene, daily_at, status};

/// A task that is due in the outage. `spec` adds to it.
pub async fn due_in(scene: &Scene, outage: &Outage, spec: &str) {
    scene.armed_task("nightly", &format!("{{schedule: {{cron: ['{}']}}, {spec}}}", daily_at(outage.slot))).await;
}

/// The Job of the slot, when it has ended.
pub async fn ended_job(scene: &Scene, outage: &Outage, seconds: u64) -> Job {
    let name = format!("nightly-{}", outage.slot.as_second() / 60);
    scene.job_that("the slot has come", 150, |job| job.name_any() == name).await;
    scene.until(&name, "to end", seconds, has_ended).await
}

pub fn has_ended(job: &Job) -> bool {
    let conditions = job.status.as_ref().and_then(|s| s.conditions.as_ref());
    conditions.into_iter().flatten().any(|c| (c.type_ == "Complete" || c.type_ == "Failed") && c.status == "True")
}

/// The run that records the Job, which must say when the Job began and ended as the Job does.
pub async fn recorded(scene: &Scene, job: &Job) -> AutomationRun {
    let run = scene.run_of_job(&job.name_any(), 30).await;
    let run = scene.finished(&run.name_any(), 60).await;
    let told = status(&run);
    assert_eq!(told.start_time.map(|t| t.0), job.creation_timestamp().map(|t| t.0), "{}", job.name_any());
    let conditions = job.status.as_ref().and_then(|s| s.conditions.as_ref());
    let ended = conditions.into_iter().flatten().find(|c| c.type_ == "Complete" || c.type_ == "Failed");
    assert_eq!(told.completion_time, ended.and_then(|c| c.last_transition_time.clone()), "{}", job.name_any());
    run
}

/// Each attempt says what its pod says: code, node, times.
pub fn assert_told_by_pods(run: &AutomationRun, pods: &[Pod]) {
    let told = status(run);
    assert_eq!(
        told.attempts.iter().map(|a| a.pod.clone()).collect::<Vec<_>>(),
        pods.iter().map(|p| Some(p.name_any())).collect::<Vec<_>>()
    );
    for (attempt, pod) in told.attempts.iter().zip(pods) {
        let statuses = pod.status.as_ref().and_then(|s| s.container_statuses.as_ref());
        let main = statuses.into_iter().flatten().find_map(|c| c.state.as_ref()?.terminated.clone()).expect("main ended");
        assert_eq!(attempt.exit_code, Some(main.exit_code), "{attempt:?}");
        assert_eq!((&attempt.start_time, &attempt.finish_time), (&main.started_at, &main.finished_at), "{attempt:?}");
        assert_eq!(attempt.node, pod.spec.as_ref().and_then(|spec| spec.node_name.clone()), "{attempt:?}");
    }
}

pub fn classes(run: &AutomationRun) -> Vec<(Option<AttemptClass>, Option<i32>)> {
    status(run).attempts.iter().map(|a| (a.class, a.exit_code)).collect()
}

#[track_caller]
pub fn assert_ended(run: &AutomationRun, outcome: Outcome, reason: &str) {
    let told = status(run);
    assert_eq!((told.outcome, told.reason.as_deref()), (Some(outcome), Some(reason)), "{told:?}");
}

pub async fn succeeds(scene: Scene, mut outage: Outage) {
    let script = r#"script: {source: "echo '{\"rows\": 7}' > /dev/termination-log"}"#;
    due_in(&scene, &outage, script).await;
    outage.begins().await;
    let job = ended_job(&scene, &outage, 60).await;
    assert!(scene.runs().await.is_empty(), "nobody records while the operator is down");
    outage.ends().await;
    let run = recorded(&scene, &job).await;
    assert_ended(&run, Outcome::Succeeded, "Completed");
    assert_eq!((run.spec.trigger, run.spec.scheduled_time.as_ref().map(|t| t.0)), (Some(Trigger::Schedule), Some(outage.slot)));
    assert_eq!(run.name_any(), job.name_any());
    assert_told_by_pods(&run, &scene.pods(&job.name_any()).await);
    assert_eq!(status(&run).outputs, Some(json!({ "rows": 7 })));
}

pub async fn finds_no_data(scene: Scene, mut outage: Outage) {
    due_in(&scene, &outage, "script: {source: 'echo no file today; exit 2'}, exitCodes: {noData: [2]}, retry: {limit: 2}").await;
    outage.begins().await;
    let job = ended_job(&scene, &outage, 60).await;
    outage.ends().await;
    let run = recorded(&scene, &job).await;
    assert_ended(&run, Outcome::NoData, "ExitCodeNoData");
    assert_eq!(classes(&run), [(Some(AttemptClass::NoData), Some(2))]);
    assert_told_by_pods(&run, &scene.pods(&job.name_any()).await);
    assert!(status(&run).attempts[0].log_tail.as_ref().is_some_and(|tail| tail.contains("no file today")));
}

pub async fn retries(scene: Scene, mut outage: Outage) {
    let spec = "script: {source: 'test $NIGHTSHIFT_RETRY -gt 0 || exit 1'}, exitCodes: {retryable: [1]}, retry: {limit: 2}";
    due_in(&scene, &outage, spec).await;
    outage.begins().await;
    let job = ended_job(&scene, &outage, 90).await;
    outage.ends().await;
    let run = recorded(&scene, &job).await;
    assert_ended(&run, Outcome::Succeeded, "Completed");
    assert_eq!(classes(&run), [(Some(AttemptClass::Retryable), Some(1)), (Some(AttemptClass::Success), Some(0))]);
    assert_told_by_pods(&run, &scene.pods(&job.name_any()).await);
}

pub async fn uses_up_its_retries(scene: Scene, mut outage: Outage) {
    due_in(&scene, &outage, "script: {source: 'exit 7'}, retry: {limit: 1}").await;
    outage.begins().await;
    let job = ended_job(&scene, &outage, 90).await;
    outage.ends().await;
    let run = recorded(&scene, &job).await;
    assert_ended(&run, Outcome::Failed, "ExitCodeOtherwise");
    assert_eq!(classes(&run), [(Some(AttemptClass::Retryable), Some(7)); 2]);
    assert_told_by_pods(&run, &scene.pods(&job.name_any()).await);
}

pub async fn stops_at_a_fatal_exit(scene: Scene, mut outage: Outage) {
    due_in(&scene, &outage, "script: {source: 'exit 3'}, exitCodes: {fatal: [3]}, retry: {limit: 3}").await;
    outage.begins().await;
    let job = ended_job(&scene, &outage, 60).await;
    outage.ends().await;
    let run = recorded(&scene, &job).await;
    assert_ended(&run, Outcome::Failed, "ExitCodeFatal");
    assert_eq!(classes(&run), [(Some(AttemptClass::Fatal), Some(3))]);
    assert_told_by_pods(&run, &scene.pods(&job.name_any()).await);
}

pub async fn cannot_start(scene: Scene, mut outage: Outage) {
    due_in(&scene, &outage, "command: [/no/such/command]").await;
    outage.begins().await;
    let job = ended_job(&scene, &outage, 60).await;
    outage.ends().await;
    let run = recorded(&scene, &job).await;
    assert_ended(&run, Outcome::Failed, "StartError");
    assert_eq!(classes(&run), [(Some(AttemptClass::Retryable), Some(128))]);
    assert!(status(&run).message.is_some_and(|message| message.contains("/no/such/command")));
}

pub async fn runs_each_minute(scene: Scene, mut outage: Outage) {
    scene.armed_task("minutely", "{command: ['true'], schedule: {cron: ['* * * * *']}}").await;
    outage.begins().await;
    scene.job_that("the slot has come", 150, |job| job.name_any() == format!("minutely-{}", outage.slot.as_second() / 60)).await;
    outage.ends().await;
    scene
        .job_that("a slot has come with the operator back", 90, |job| {
            job.name_any() == format!("minutely-{}", outage.slot.as_second() / 60 + 1)
        })
        .await;
    scene.change::<AutomationTask>("minutely", json!({ "spec": { "schedule": { "suspend": true } } })).await;
    for job in scene.ours::<Job>().await {
        let run = scene.finished(&job.name_any(), 60).await;
        assert_ended(&run, Outcome::Succeeded, "Completed");
    }
}
