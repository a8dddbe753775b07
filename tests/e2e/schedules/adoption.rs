//! Jobs that a CronJob started, and the runs that record them.

use jiff::SignedDuration;
use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt;
use nightshift::api::{AttemptClass, AutomationRun, Outcome, Trigger, label};

use super::in_a_scene;
use crate::support::{Scene, daily_at, slot_after, status};

const FAILS_ONCE: &str =
    r#"script: {source: 'echo "retry=$NIGHTSHIFT_RETRY key=$NIGHTSHIFT_IDEMPOTENCY_KEY"; test $NIGHTSHIFT_RETRY -gt 0 || exit 4'}"#;

fn assert_recorded(scene: &Scene, run: &AutomationRun, job: &Job) {
    let owners = job.owner_references();
    assert_eq!(
        owners.iter().filter(|owner| owner.controller == Some(true)).map(|owner| owner.kind.as_str()).collect::<Vec<_>>(),
        ["CronJob"]
    );
    assert!(owners.iter().any(|owner| Some(&owner.uid) == run.uid().as_ref() && owner.controller.is_none()), "{owners:?}");
    assert_eq!(job.labels().get(label::RUN), Some(&run.name_any()));
    assert_eq!(run.owner_references()[0].kind, "AutomationTask", "{}: goes with its task", scene.namespace);
}

/// Both attempts of a run that failed once: their codes, their classes, and what the failed one said.
fn assert_failed_once(run: &AutomationRun) {
    let told = status(run);
    let classes: Vec<_> = told.attempts.iter().map(|a| (a.class, a.exit_code)).collect();
    assert_eq!(classes, [(Some(AttemptClass::Retryable), Some(4)), (Some(AttemptClass::Success), Some(0))], "{told:?}");
    assert_eq!((told.outcome, told.attempt_count), (Some(Outcome::Succeeded), Some(2)));
    assert!(told.attempts[0].log_tail.as_ref().is_some_and(|tail| tail.contains("retry=0")));
    for attempt in &told.attempts {
        assert!(attempt.start_time.is_some() && attempt.finish_time >= attempt.start_time && attempt.node.is_some(), "{attempt:?}");
    }
}

#[tokio::test]
async fn records_slot_outcome_and_attempts_of_a_scheduled_run() {
    in_a_scene(async |scene| {
        let slot = slot_after(5);
        let spec = format!("{{schedule: {{cron: ['{}']}}, retry: {{limit: 1}}, {FAILS_ONCE}}}", daily_at(slot));
        scene.armed_task("nightly", &spec).await;
        let job = scene.job_that("the slot has come", 90, |_| true).await;
        let run = scene.finished(&job.name_any(), 90).await;
        assert_eq!((run.spec.trigger, run.spec.scheduled_time.as_ref().map(|t| t.0)), (Some(Trigger::Schedule), Some(slot)));
        assert_eq!(run.name_any(), format!("nightly-{}", slot.as_second() / 60));
        assert_failed_once(&run);
        assert_recorded(&scene, &run, &scene.get(&job.name_any()).await);
        let task = scene.until::<nightshift::api::AutomationTask, _>("nightly", "to know its last run", 20, |task| {
            task.status.as_ref().and_then(|s| s.last_run.as_ref()).is_some_and(|last| last.name == run.name_any())
        });
        let last = task.await.status.and_then(|s| s.last_run).expect("a last run");
        assert_eq!((last.outcome, last.completion_time), (Outcome::Succeeded, status(&run).completion_time));
    })
    .await;
}

#[tokio::test]
async fn records_a_job_that_somebody_made_from_the_cron_job_as_manual() {
    in_a_scene(async |scene| {
        scene.armed_task("nightly", "{command: ['true'], schedule: {cron: ['0 0 1 1 *']}}").await;
        let job = scene.job_from_cron_job("try-it", "nightly").await;
        let run = scene.run_of_job("try-it", 30).await;
        let uid: String = job.uid().expect("a UID").chars().filter(char::is_ascii_alphanumeric).take(6).collect();
        assert_eq!(run.name_any(), format!("try-it-{uid}"));
        assert_eq!((run.spec.trigger, run.spec.scheduled_time.clone()), (Some(Trigger::Manual), None));
        let run = scene.finished(&run.name_any(), 60).await;
        assert_eq!((status(&run).outcome, status(&run).attempt_count), (Some(Outcome::Succeeded), Some(1)));
        assert_recorded(&scene, &run, &scene.get("try-it").await);

        // The same name again is another Job, and another run.
        scene.delete::<Job>("try-it").await;
        scene.gone::<Job>("try-it", 30).await;
        scene.job_from_cron_job("try-it", "nightly").await;
        crate::support::eventually("the second has a run of its own", std::time::Duration::from_secs(30), async || {
            let runs = scene.runs().await;
            if runs.len() == 2 { Ok(()) } else { Err(format!("{} runs", runs.len())) }
        })
        .await;
        let runs = scene.runs().await;
        assert_eq!(status(&scene.finished(&runs[1].name_any(), 60).await).outcome, Some(Outcome::Succeeded));
    })
    .await;
}

#[tokio::test]
async fn retries_a_scheduled_run_with_back_off_by_jobs_of_its_own() {
    in_a_scene(async |scene| {
        // As the nightly import: Forbid, a back-off, and a day between slots.
        let slot = slot_after(5);
        let backoff = "retry: {limit: 2, backoff: {initialSeconds: 4}}";
        let spec = format!("{{schedule: {{cron: ['{}'], concurrencyPolicy: Forbid}}, {backoff}, {FAILS_ONCE}}}", daily_at(slot));
        let task = scene.armed_task("nightly", &spec).await;
        assert!(task.status.and_then(|s| s.clock).is_some_and(|clock| clock.reason.contains("before the next one")));
        let first = scene.job_that("the slot has come", 90, |_| true).await.name_any();
        let run = scene.finished(&first, 90).await;
        assert_failed_once(&run);
        let told = status(&run);
        let second = format!("{first}-2");
        assert_eq!(told.attempts.iter().map(|a| &a.job).collect::<Vec<_>>(), [&first, &second]);
        let jobs = scene.ours::<Job>().await;
        assert_eq!(jobs.iter().map(ResourceExt::name_any).collect::<Vec<_>>(), [first.clone(), second.clone()]);

        let failed = told.attempts[0].finish_time.as_ref().expect("an end").0;
        let began = jobs[1].creation_timestamp().expect("a time").0;
        let waited = began.duration_since(failed);
        assert!(waited >= SignedDuration::from_secs(4) && waited < SignedDuration::from_secs(12), "waited {waited:#}");
        let left = jobs[1].spec.as_ref().and_then(|s| s.active_deadline_seconds).expect("a deadline");
        let whole = jobs[0].spec.as_ref().and_then(|s| s.active_deadline_seconds).expect("a deadline");
        assert!(left < whole, "the second Job has only what is left of the run's time");

        let said = async |job: &str| scene.log(&scene.pods(job).await[0]).await.trim().to_owned();
        let key = format!("key={}/{first}", scene.namespace);
        assert_eq!(said(&first).await, format!("retry=0 {key}"));
        assert_eq!(said(&second).await, format!("retry=1 {key}"), "one key for all attempts");
    })
    .await;
}
