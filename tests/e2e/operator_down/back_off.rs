//! Retries that the operator makes wait for its return, within the run's deadline.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt;
use nightshift::api::{AttemptClass, AutomationRun, Outcome};

use super::{
    outage::Outage,
    slots::{assert_ended, classes, due_in, ended_job},
};
use crate::support::{Scene, now, status};

const FAILS_ONCE: &str = "script: {source: 'test $NIGHTSHIFT_RETRY -gt 0 || exit 4'}";

/// When the first attempt ended, as the back-off counts it: the end of its Job.
fn ended(job: &Job) -> Timestamp {
    let conditions = job.status.as_ref().and_then(|s| s.conditions.as_ref());
    let failed = conditions.into_iter().flatten().find(|c| c.type_ == "Failed");
    failed.and_then(|c| c.last_transition_time.as_ref()).expect("it failed").0
}

fn seconds(count: i64) -> SignedDuration {
    SignedDuration::from_secs(count)
}

/// Two Jobs, the second of which was made within a few seconds of `due`.
async fn retried_once(scene: &Scene, run: &str, due: Timestamp) {
    let wait = u64::try_from(due.duration_since(now()).as_secs()).unwrap_or(0);
    let run = scene.finished(run, wait + 60).await;
    assert_ended(&run, Outcome::Succeeded, "Completed");
    assert_eq!(classes(&run), [(Some(AttemptClass::Retryable), Some(4)), (Some(AttemptClass::Success), Some(0))]);
    let jobs = scene.ours::<Job>().await;
    assert_eq!(jobs.len(), 2, "one Job for each attempt: {:?}", jobs.iter().map(ResourceExt::name_any).collect::<Vec<_>>());
    let made = jobs[1].creation_timestamp().expect("a time").0;
    assert!(made >= due && made < due + seconds(15), "due {due}, made {made}");
}

pub async fn overdue(scene: Scene, mut outage: Outage) {
    due_in(&scene, &outage, &format!("{FAILS_ONCE}, retry: {{limit: 2, backoff: {{initialSeconds: 5}}}}")).await;
    outage.begins().await;
    let job = ended_job(&scene, &outage, 60).await;
    scene.job_that("the wait is over", 30, |_| now() > ended(&job) + seconds(5)).await;
    outage.ends().await;
    let back = now();
    // Overdue by now, so at once: the operator was let go up to half a minute before `ends` returned.
    let run = scene.finished(&job.name_any(), 60).await;
    assert_eq!(scene.ours::<Job>().await.len(), 2);
    let made = scene.ours::<Job>().await[1].creation_timestamp().expect("a time").0;
    assert!(made > ended(&job) + seconds(5) && made < back + seconds(10), "back {back}, made {made}");
    assert_eq!(classes(&run), [(Some(AttemptClass::Retryable), Some(4)), (Some(AttemptClass::Success), Some(0))]);
}

pub async fn not_due_yet(scene: Scene, mut outage: Outage) {
    due_in(&scene, &outage, &format!("{FAILS_ONCE}, retry: {{limit: 2, backoff: {{initialSeconds: 180}}}}")).await;
    outage.begins().await;
    let job = ended_job(&scene, &outage, 60).await;
    outage.ends().await;
    let due = ended(&job) + seconds(180);
    assert!(now() < due, "the outage was short enough");
    let waiting = scene.until::<AutomationRun, _>(&job.name_any(), "to wait", 30, |run| status(run).waiting_on.is_some()).await;
    let on = status(&waiting).waiting_on.expect("it waits");
    assert_eq!((on.reason.as_str(), on.until.map(|t| t.0)), ("Backoff", Some(due)));
    retried_once(&scene, &job.name_any(), due).await;
}

pub async fn past_the_deadline(scene: Scene, mut outage: Outage) {
    let spec =
        format!("{FAILS_ONCE}, retry: {{limit: 2, backoff: {{initialSeconds: 5}}}}, timeouts: {{attemptSeconds: 40, runSeconds: 45}}");
    due_in(&scene, &outage, &spec).await;
    outage.begins().await;
    let job = ended_job(&scene, &outage, 60).await;
    let deadline = job.creation_timestamp().expect("a time").0 + seconds(45);
    scene.job_that("the run's time is over", 60, |_| now() > deadline).await;
    outage.ends().await;
    let run = scene.finished(&job.name_any(), 60).await;
    assert_eq!(classes(&run), [(Some(AttemptClass::Retryable), Some(4))], "{:?}", status(&run));
    assert_eq!(scene.ours::<Job>().await.len(), 1, "no attempt starts after the run's deadline");
    let told = status(&run);
    assert!(matches!(told.outcome, Some(Outcome::Failed | Outcome::TimedOut)), "{told:?}");
    assert!(told.message.as_ref().is_some_and(|m| m.contains("timeouts.runSeconds") && m.contains("exit code 4")), "{told:?}");
}

pub async fn on_demand(scene: Scene, mut outage: Outage) {
    scene.armed_task("report", &format!("{{{FAILS_ONCE}, retry: {{limit: 2, backoff: {{initialSeconds: 270}}}}}}")).await;
    scene.run("now", "report").await;
    let waits = |run: &AutomationRun| status(run).waiting_on.is_some_and(|on| on.reason == "Backoff");
    scene.until("now", "to wait for its retry", 60, waits).await;
    let due = ended(&scene.get("now-1").await) + seconds(270);
    outage.begins().await;
    assert_eq!(scene.ours::<Job>().await.len(), 1);
    outage.ends().await;
    retried_once(&scene, "now", due).await;
}
