//! Retries: when the next attempt is made, and what is on the run about each.

use futures::future::join_all;
use k8s_openapi::api::batch::v1::Job;
use nightshift::api::AutomationRunStatus;

use super::place::{end, message, says, story};

/// A container that fails and says which retry it is.
const FAILS: &str = "echo \"retry $NIGHTSHIFT_RETRY of $NIGHTSHIFT_RUN ($NIGHTSHIFT_IDEMPOTENCY_KEY)\"; exit 1";

/// Seconds from the end of each Job to the making of the next.
fn waits(jobs: &[Job]) -> Vec<i64> {
    let made = |job: &Job| job.metadata.creation_timestamp.as_ref().expect("it was made").0;
    let ended = |job: &Job| {
        let conditions = job.status.as_ref().and_then(|s| s.conditions.as_ref()).into_iter().flatten();
        conditions.filter(|c| c.type_ == "Failed").find_map(|c| c.last_transition_time.as_ref()).expect("it failed").0
    };
    jobs.windows(2).map(|pair| made(&pair[1]).duration_since(ended(&pair[0])).as_secs()).collect()
}

fn log_tails(status: &AutomationRunStatus) -> Vec<&str> {
    status.attempts.iter().map(|attempt| attempt.log_tail.as_deref().unwrap_or_default()).collect()
}

#[tokio::test]
async fn the_wait_before_each_retry_grows_to_its_cap() {
    story(async |place| {
        let spec = "{retry: {limit: 3, backoff: {initialSeconds: 2, factorPercent: 200, maxSeconds: 7}}}";
        place.script("import", FAILS, spec).await;
        place.run("import-1", "import").await;
        let waiting = place.waiting("import-1", "Backoff").await;
        says(message(&waiting), &["attempt 1 failed (exit code 1 is in no list of exitCodes", "the next one is due"]);
        assert!(waiting.waiting_on.is_some_and(|on| on.until.is_some()), "it says when");

        let status = place.finished("import-1").await;
        assert_eq!(end(&status), "Failed ExitCodeOtherwise: Retryable 1, Retryable 1, Retryable 1, Retryable 1");
        says(message(&status), &["all 3 retries are used up"]);
        let jobs = place.jobs("import-1").await;
        let waits = waits(&jobs);
        assert_eq!(waits.len(), 3, "one Job for each attempt");
        for (wait, due) in waits.iter().zip([2, 4, 7]) {
            assert!((due..=due + 4).contains(wait), "waits of 2, 4 and 7 (not 8) seconds became {waits:?}");
        }
        says(
            &place.events("import-1", "Failed").await.join("\n"),
            &["Normal Retrying attempt 1 failed", "Warning Failed Failed after", "4 attempts"],
        );
    })
    .await;
}

#[tokio::test]
async fn each_attempt_knows_its_number_and_leaves_its_log_whoever_retries() {
    story(async |place| {
        place.script("ours", FAILS, "{retry: {limit: 2, backoff: {initialSeconds: 1}}}").await;
        place.script("native", FAILS, "{retry: {limit: 2}}").await;
        join_all(["ours", "native"].map(async |task| {
            let run = &format!("{task}-1");
            place.run(run, task).await;
            let status = place.finished(run).await;
            assert_eq!(end(&status), "Failed ExitCodeOtherwise: Retryable 1, Retryable 1, Retryable 1", "{task}");
            let told = |n: u32| format!("retry {n} of {run} ({}/{run})\n", place.namespace);
            assert_eq!(log_tails(&status), [told(0), told(1), told(2)], "{task}");
            assert_eq!(status.attempt_count, Some(3), "{task}");
            assert!(status.attempts.iter().all(|a| a.node.is_some() && a.start_time.is_some() && a.finish_time.is_some()), "{task}");
            assert_eq!(place.jobs(run).await.len(), if task == "ours" { 3 } else { 1 }, "{task}");
        }))
        .await;
    })
    .await;
}

#[tokio::test]
async fn a_later_attempt_may_succeed() {
    story(async |place| {
        let script = "[ $NIGHTSHIFT_RETRY = 1 ]";
        place.script("ours", script, "{retry: {limit: 5, backoff: {initialSeconds: 1}}}").await;
        place.script("native", script, "{retry: {limit: 5}}").await;
        for task in ["ours", "native"] {
            place.run(&format!("{task}-1"), task).await;
        }
        for task in ["ours", "native"] {
            let status = place.finished(&format!("{task}-1")).await;
            assert_eq!(end(&status), "Succeeded Completed: Retryable 1, Success 0", "{task}");
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_fatal_or_no_data_is_never_tried_again() {
    story(async |place| {
        let codes = "exitCodes: {noData: [3], fatal: [65]}, parameters: [{name: CODE}]";
        place.script("ours", "exit $CODE", &format!("{{{codes}, retry: {{limit: 2, backoff: {{initialSeconds: 1}}}}}}")).await;
        place.script("native", "exit $CODE", &format!("{{{codes}, retry: {{limit: 2}}}}")).await;
        for task in ["ours", "native"] {
            place.run_with(&format!("{task}-fatal"), task, &[("CODE", "65")]).await;
            place.run_with(&format!("{task}-empty"), task, &[("CODE", "3")]).await;
        }
        for task in ["ours", "native"] {
            assert_eq!(end(&place.finished(&format!("{task}-fatal")).await), "Failed ExitCodeFatal: Fatal 65", "{task}");
            assert_eq!(end(&place.finished(&format!("{task}-empty")).await), "NoData ExitCodeNoData: NoData 3", "{task}");
        }
    })
    .await;
}

#[tokio::test]
async fn where_all_other_codes_are_fatal_the_job_controller_retries_the_listed_ones_alone() {
    story(async |place| {
        let spec = "{parameters: [{name: CODE}], exitCodes: {retryable: [75], otherwise: Fatal}, retry: {limit: 1}}";
        place.script("import", "exit $CODE", spec).await;
        let rows = [
            ("unlisted", "42", "Failed ExitCodeOtherwise: Fatal 42", "so exitCodes.otherwise (Fatal) applies"),
            ("listed", "75", "Failed ExitCodeRetryable: Retryable 75, Retryable 75", "the Job made no further attempt (retry.limit 1)"),
        ];
        for (run, code, _, _) in rows {
            place.run_with(run, "import", &[("CODE", code)]).await;
        }
        for (run, _, wanted, told) in rows {
            let status = place.finished(run).await;
            assert_eq!(end(&status), wanted, "{run}");
            says(message(&status), &[told]);
            assert_eq!(place.jobs(run).await.len(), 1, "{run}: Kubernetes retries, within one Job");
        }
    })
    .await;
}

#[tokio::test]
async fn an_edit_between_attempts_does_not_change_the_run() {
    story(async |place| {
        place.script("import", "echo before; exit 1", "{retry: {limit: 1, backoff: {initialSeconds: 5}}}").await;
        place.run("import-1", "import").await;
        place.waiting("import-1", "Backoff").await;
        let edit = serde_json::json!({ "spec": { "script": { "source": "echo after; exit 0" }, "retry": { "limit": 7 } } });
        place.change::<nightshift::api::AutomationTask>("import", edit).await;
        let status = place.finished("import-1").await;
        assert_eq!(log_tails(&status), ["before\n", "before\n"]);
        assert_eq!(status.task_generation, Some(1), "the generation that it ran");
        place.run("import-2", "import").await;
        assert_eq!(end(&place.finished("import-2").await), "Succeeded Completed: Success 0");
    })
    .await;
}
