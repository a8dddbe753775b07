//! Time limits: a timeout stays a timeout, whatever the container answers, and its evidence is kept.

use futures::future::join_all;
use kube::ResourceExt;

use super::place::{end, message, says, story};

/// A container that works for too long and answers SIGTERM by this.
fn busy(answer: &str) -> String {
    format!("trap '{answer}' TERM; echo working; sleep 300 & while :; do wait; done")
}

#[tokio::test]
async fn an_attempt_that_takes_too_long_is_a_timeout_whatever_it_answers() {
    story(async |place| {
        // Codes 2 and 3 would mean something else, had the container ended by itself.
        let terms = "{exitCodes: {noData: [3], fatal: [2]}, timeouts: {attemptSeconds: 20}}";
        // Kubernetes keeps the end of a log only where the exit code is not 0.
        let rows = [
            ("polite", busy("exit 0"), "TimedOut 0", None),
            ("empty", busy("exit 3"), "TimedOut 3", Some("working\n")),
            ("broken", busy("exit 2"), "TimedOut 2", Some("working\n")),
            ("deaf", busy(""), "TimedOut 137", Some("working\n")),
        ];
        join_all(rows.iter().map(async |(task, script, attempt, tail)| {
            place.script(task, script, terms).await;
            place.run(&format!("{task}-1"), task).await;
            let status = place.finished(&format!("{task}-1")).await;
            assert_eq!(end(&status), format!("TimedOut AttemptTimeout: {attempt}"), "{task}");
            says(message(&status), &["ran longer than timeouts.attemptSeconds (20 s)", "the container ended with exit code"]);
            assert_eq!(status.attempts[0].log_tail.as_deref(), *tail, "{task}");
        }))
        .await;
    })
    .await;
}

#[tokio::test]
async fn a_timeout_is_retried_unless_the_task_says_otherwise() {
    story(async |place| {
        // The first attempt fails, the second hangs, a third would do its work.
        let script = "case $NIGHTSHIFT_RETRY in 0) exit 1;; 1) sleep 300;; esac";
        let backoff = "backoff: {initialSeconds: 1}, limit: 2";
        place.script("again", script, &format!("{{retry: {{{backoff}}}, timeouts: {{attemptSeconds: 10}}}}")).await;
        place.script("enough", script, &format!("{{retry: {{{backoff}, onTimeout: false}}, timeouts: {{attemptSeconds: 10}}}}")).await;
        place.script("plain", "sleep 300", "{retry: {limit: 2, onTimeout: false}, timeouts: {attemptSeconds: 10}}").await;
        for task in ["again", "enough", "plain"] {
            place.run(&format!("{task}-1"), task).await;
        }
        assert_eq!(end(&place.finished("again-1").await), "Succeeded Completed: Retryable 1, TimedOut 137, Success 0");
        assert_eq!(end(&place.finished("enough-1").await), "TimedOut AttemptTimeout: Retryable 1, TimedOut 137");
        assert_eq!(end(&place.finished("plain-1").await), "TimedOut AttemptTimeout: TimedOut 137");
    })
    .await;
}

#[tokio::test]
async fn a_run_that_takes_too_long_is_stopped_and_its_evidence_is_kept() {
    story(async |place| {
        let timeouts = "timeouts: {attemptSeconds: 20, runSeconds: 20}";
        place.script("polite", &busy("echo bye; exit 7"), &format!("{{{timeouts}}}")).await;
        place.script("deaf", &busy(""), &format!("{{{timeouts}}}")).await;
        // Its attempts are short; together they take too long.
        place.script("stubborn", "sleep 2; exit 1", &format!("{{{timeouts}, retry: {{limit: 50}}}}")).await;
        place.script("patient", "exit 1", &format!("{{{timeouts}, retry: {{limit: 50, backoff: {{initialSeconds: 30}}}}}}")).await;
        for task in ["polite", "deaf", "stubborn", "patient"] {
            place.run(&format!("{task}-1"), task).await;
        }
        for (run, wanted, tail) in
            [("polite-1", "TimedOut RunTimeout: Stopped 7", "working\nbye\n"), ("deaf-1", "TimedOut RunTimeout: Stopped 137", "working\n")]
        {
            let status = place.finished(run).await;
            assert_eq!(end(&status), wanted, "{run}");
            assert_eq!(status.attempts[0].log_tail.as_deref(), Some(tail), "{run}");
            says(message(&status), &["did not end within timeouts.runSeconds (20 s)"]);
            let took = status.completion_time.expect("it ended").0.duration_since(status.start_time.expect("it began").0);
            assert!((17..40).contains(&took.as_secs()), "{run}: runSeconds is 20, and it took {took}");
        }
        let status = place.finished("stubborn-1").await;
        assert!(end(&status).starts_with("TimedOut RunTimeout: Retryable 1"), "{}", end(&status));
        let status = place.finished("patient-1").await;
        assert_eq!(end(&status), "Failed ExitCodeOtherwise: Retryable 1");
        says(message(&status), &["the next retry would start after timeouts.runSeconds"]);
    })
    .await;
}

#[tokio::test]
async fn a_run_that_was_made_from_the_cron_job_is_stopped_in_time_too_and_its_evidence_is_kept() {
    story(async |place| {
        let spec = "{schedule: {cron: ['0 0 1 1 *']}, timeouts: {attemptSeconds: 30, runSeconds: 30}, retry: {limit: 3}}";
        place.script("nightly", &busy("echo bye; exit 7"), spec).await;
        place.armed("nightly").await;
        place.job_from_cron_job("by-hand", "nightly").await;
        let run = place.run_of_job("by-hand", 30).await.name_any();
        let status = place.finished(&run).await;
        assert_eq!(end(&status), "TimedOut RunTimeout: Stopped 7");
        assert_eq!(status.attempts[0].log_tail.as_deref(), Some("working\nbye\n"));
        says(message(&status), &["did not end within timeouts.runSeconds (30 s)"]);
        // Kubernetes' own deadline would have taken the pod away.
        assert_eq!(place.pods("by-hand").await.len(), 1, "the pod stays, and no other came");
    })
    .await;
}

#[tokio::test]
async fn a_run_that_never_starts_ends_by_its_run_timeout_at_the_latest() {
    story(async |place| {
        let nowhere = "{template: {spec: {nodeSelector: {disk: nvme}}}, timeouts: {attemptSeconds: 8, runSeconds: 8}}";
        place.script("nowhere", "exit 0", nowhere).await;
        place.run("nowhere-1", "nowhere").await;
        let status = place.finished("nowhere-1").await;
        assert!(end(&status).starts_with("TimedOut "), "{}", end(&status));
        says(message(&status), &["did not end within timeouts.runSeconds (8 s)", "it was last seen to wait: no node can take the pod"]);
    })
    .await;
}
