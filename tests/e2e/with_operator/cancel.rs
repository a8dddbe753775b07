//! Stopping a run by `spec.cancel`, wherever it stands.

use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};
use kube::ResourceExt;
use nightshift::api::{Outcome, RunResult};
use serde_json::json;

use super::place::{Place, end, message, says, story};
use crate::support::kubectl;

/// Works until it is stopped, and then says so and ends with code 7.
const POLITE: &str = "trap 'echo bye; exit 7' TERM; echo working; sleep 300 & wait";

/// No pod of the namespace goes on.
async fn nothing_runs(place: &Place) {
    for pod in place.ours::<Pod>().await {
        let phase = pod.status.as_ref().and_then(|s| s.phase.clone()).unwrap_or_default();
        assert!(phase == "Succeeded" || phase == "Failed" || pod.metadata.deletion_timestamp.is_some(), "{} is {phase}", pod.name_any());
    }
}

#[tokio::test]
async fn a_running_run_is_stopped_and_keeps_its_exit_code_and_log() {
    story(async |place| {
        place.script("polite", POLITE, "{retry: {limit: 3}}").await;
        place.script("deaf", "echo working; sleep 300", "{retry: {limit: 3, backoff: {initialSeconds: 1}}}").await;
        for (task, code, tail) in [("polite", 7, "working\nbye\n"), ("deaf", 137, "working\n")] {
            let run = &format!("{task}-1");
            place.run(run, task).await;
            place.running(run).await;
            place.cancel(run).await;
            let status = place.finished(run).await;
            assert_eq!(end(&status), format!("Cancelled Cancelled: Stopped {code}"));
            assert_eq!(status.attempts[0].log_tail.as_deref(), Some(tail), "{task}");
            assert_eq!(status.result, Some(RunResult::Bad));
            says(message(&status), &["stopped because spec.cancel was set"]);
            says(&place.events(run, "Cancelled").await.join("\n"), &["Warning Cancelled", "stopped because spec.cancel was set"]);
        }
        nothing_runs(place).await;
        assert_eq!(place.ours::<Job>().await.len(), 2, "nothing was tried again");
    })
    .await;
}

#[tokio::test]
async fn a_run_that_was_made_from_the_cron_job_is_stopped_and_keeps_its_exit_code_and_log() {
    story(async |place| {
        place.script("nightly", POLITE, "{schedule: {cron: ['0 0 1 1 *']}, retry: {limit: 3}}").await;
        place.armed("nightly").await;
        place.job_from_cron_job("by-hand", "nightly").await;
        let run = place.run_of_job("by-hand", 30).await.name_any();
        place.running(&run).await;
        place.cancel(&run).await;
        let status = place.finished(&run).await;
        assert_eq!(end(&status), "Cancelled Cancelled: Stopped 7");
        assert_eq!(status.attempts[0].log_tail.as_deref(), Some("working\nbye\n"));
        nothing_runs(place).await;
        assert_eq!(place.pods("by-hand").await.len(), 1, "the pod stays, and no other came");
    })
    .await;
}

#[tokio::test]
async fn a_second_attempt_of_the_same_job_is_stopped_and_the_first_stays_on_record() {
    story(async |place| {
        let script = format!("if test $NIGHTSHIFT_RETRY = 0; then exit 1; fi; {POLITE}");
        place.script("again", &script, "{retry: {limit: 3}}").await;
        place.run("again-1", "again").await;
        let second_runs = place.status("again-1", "to run its second attempt", |status| {
            status.attempts.get(1).is_some_and(|second| second.start_time.is_some() && second.class.is_none())
        });
        second_runs.await;
        place.cancel("again-1").await;
        let status = place.finished("again-1").await;
        assert_eq!(end(&status), "Cancelled Cancelled: Retryable 1, Stopped 7");
        assert_eq!(status.attempts[1].log_tail.as_deref(), Some("working\nbye\n"));
        nothing_runs(place).await;
        assert_eq!((place.jobs("again-1").await.len(), place.pods("again-1-1").await.len()), (1, 2), "both pods stay, and no third came");
    })
    .await;
}

#[tokio::test]
async fn a_run_whose_pod_waits_is_stopped() {
    story(async |place| {
        place.script("nowhere", "exit 0", "{template: {spec: {nodeSelector: {disk: nvme}}}}").await;
        place.task("no-image", "{image: 'localhost/nightshift/no-such-image:1'}").await;
        for (task, reason) in [("nowhere", "Unschedulable"), ("no-image", "ImagePullBackOff")] {
            let run = &format!("{task}-1");
            place.run(run, task).await;
            place.waiting(run, reason).await;
            place.cancel(run).await;
            let status = place.finished(run).await;
            assert!(end(&status).starts_with("Cancelled Cancelled:"), "{}", end(&status));
            assert!(status.attempts.iter().all(|a| a.exit_code.is_none()), "{run} invents nothing: {:?}", status.attempts);
        }
        nothing_runs(place).await;
    })
    .await;
}

#[tokio::test]
async fn a_run_that_waits_to_be_tried_again_is_stopped() {
    story(async |place| {
        place.script("ours", "echo broken; exit 1", "{retry: {limit: 1, backoff: {initialSeconds: 600}}}").await;
        // Kubernetes itself waits ten seconds before the second retry.
        place.script("native", "echo broken; exit 1", "{retry: {limit: 9}}").await;
        for task in ["ours", "native"] {
            let run = &format!("{task}-1");
            place.run(run, task).await;
            place.waiting(run, "Backoff").await;
            place.cancel(run).await;
            let status = place.finished(run).await;
            assert!(end(&status).starts_with("Cancelled Cancelled: Retryable 1"), "{task}: {}", end(&status));
            assert_eq!(status.attempts[0].log_tail.as_deref(), Some("broken\n"), "{task}");
        }
        let ours = place.finished("ours-1").await;
        says(message(&ours), &["spec.cancel was set while it waited to be tried again", "exit code 1 is in no list"]);
        nothing_runs(place).await;
    })
    .await;
}

#[tokio::test]
async fn a_run_whose_job_is_suspended_says_so_and_is_stopped_or_goes_on() {
    story(async |place| {
        place.script("held", "echo working; sleep 20", "{}").await;
        let suspend = async |run: &str, suspend: bool| {
            drop(place.change::<Job>(&format!("{run}-1"), json!({ "spec": { "suspend": suspend } })).await);
        };
        for run in ["stopped", "resumed"] {
            place.run(run, "held").await;
            place.running(run).await;
            suspend(run, true).await;
            says(message(&place.waiting(run, "Suspended").await), &["its Job is suspended", "set spec.suspend of the Job to false"]);
        }
        place.cancel("stopped").await;
        let status = place.finished("stopped").await;
        assert_eq!((status.outcome, status.reason.as_deref()), (Some(Outcome::Cancelled), Some("Cancelled")));
        suspend("resumed", false).await;
        // The pod that went does not count: there is no retry that it could have used up.
        assert_eq!(end(&place.finished("resumed").await), "Succeeded Completed: Retryable 137, Success 0");
        nothing_runs(place).await;
    })
    .await;
}

#[tokio::test]
async fn a_run_that_has_not_started_is_stopped_before_it_does() {
    story(async |place| {
        place.run("of-nothing", "no-such-task").await;
        place.waiting("of-nothing", "TaskNotFound").await;
        place.cancel("of-nothing").await;
        place.script("import", "exit 0", "{}").await;
        place.given("{apiVersion: nightshift.dev/v1alpha1, kind: AutomationRun, metadata: {name: stillborn}, spec: {taskRef: {name: import}, cancel: true}}").await;
        for run in ["of-nothing", "stillborn"] {
            let status = place.finished(run).await;
            assert_eq!(end(&status), "Cancelled Cancelled: ", "{run}");
            says(message(&status), &["spec.cancel was set before the run started"]);
        }
        assert_eq!(place.ours::<Job>().await.len(), 0);
    })
    .await;
}

#[tokio::test]
async fn a_cancel_cannot_be_taken_back_and_a_late_one_changes_nothing() {
    story(async |place| {
        place.script("import", "exit 0", "{}").await;
        place.run("import-1", "import").await;
        let before = place.finished("import-1").await;
        place.cancel("import-1").await;
        let back =
            ["--namespace", &place.namespace, "patch", "arun", "import-1", "--type=merge", "--patch", r#"{"spec": {"cancel": false}}"#];
        let refused = kubectl(&back, None).await;
        assert!(!refused.status.success());
        says(&String::from_utf8_lossy(&refused.stderr), &["cancel cannot be taken back; create another AutomationRun"]);
        // A run after it shows that the operator has had its turn.
        place.run("import-2", "import").await;
        place.finished("import-2").await;
        assert_eq!(place.finished("import-1").await, before, "what is finished stays as it is");
    })
    .await;
}
