//! Each shape that Kubernetes was seen to give (see kubernetes-facts), as it stands in a pod or Job.
#![expect(clippy::needless_pass_by_value, reason = "`json!` reads better without a reference")]

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::api::{Attempt, AttemptClass, AttemptClass::*, Contract, ExitCodes, Otherwise, Outcome};

/// The seed's codes: 2 is no data, 3 is fatal, the rest may pass.
fn codes() -> ExitCodes {
    ExitCodes { no_data: vec![2], retryable: vec![75], fatal: vec![3], otherwise: None }
}

fn contract() -> Contract {
    Contract { exit_codes: codes(), ..Contract::default() }
}

/// A pod of Job `j` whose container `main` ended.
fn ended_pod(name: &str, code: i32, reason: &str, message: &str) -> Value {
    let state = json!({ "terminated": {
        "exitCode": code, "reason": reason, "message": message,
        "startedAt": "2026-11-24T01:00:10Z", "finishedAt": "2026-11-24T01:05:00Z",
    } });
    json!({
        "metadata": { "name": name, "uid": format!("uid-{name}"), "creationTimestamp": "2026-11-24T01:00:00Z" },
        "spec": { "nodeName": "node-1", "activeDeadlineSeconds": 3600, "containers": [] },
        "status": {
            "phase": if code == 0 { "Succeeded" } else { "Failed" },
            "startTime": "2026-11-24T01:00:01Z",
            "containerStatuses": [{ "name": "main", "image": "i", "imageID": "", "ready": false, "restartCount": 0, "state": state }],
        },
    })
}

fn waiting_pod(name: &str, reason: &str, message: &str) -> Value {
    let mut pod = ended_pod(name, 1, "", "");
    pod["status"]["phase"] = json!("Pending");
    pod["status"]["containerStatuses"][0]["state"] = json!({ "waiting": { "reason": reason, "message": message } });
    pod
}

fn with(mut pod: Value, at: &str, value: Value) -> Value {
    let (parent, key) = at.rsplit_once('/').unwrap();
    pod.pointer_mut(parent).unwrap()[key] = value;
    pod
}

fn disrupted(pod: Value) -> Value {
    let why = "Eviction API: evicting";
    with(
        pod,
        "/status/conditions",
        json!([{ "type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI", "message": why }]),
    )
}

/// Deletion was asked for 30 s (the grace period) before the time that stands in the pod.
fn deleted(pod: Value, asked_and_grace: &str) -> Value {
    let pod = with(pod, "/metadata/deletionGracePeriodSeconds", json!(30));
    with(pod, "/metadata/deletionTimestamp", json!(asked_and_grace))
}

fn seen(pod: Value) -> PodSeen {
    PodSeen::read(&serde_json::from_value(pod).unwrap())
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn every_end_that_kubernetes_gives_has_its_class_and_its_reason() {
    let fail = |code| ended_pod("p", code, "Error", "last words");
    let deadline = |pod| with(pod, "/status/reason", json!("DeadlineExceeded"));
    let timed_out = |code| with(deadline(fail(code)), "/status/phase", json!("Failed"));
    let late = "2026-11-24T01:05:30Z";
    let long_after = "2026-11-24T02:00:00Z";
    let evicted = |code| {
        let pod = with(fail(code), "/status/phase", json!("Failed"));
        with(
            with(pod, "/status/reason", json!("Evicted")),
            "/status/message",
            json!("Usage of EmptyDir volume \"w\" exceeds the limit \"1Mi\"."),
        )
    };
    let sidecar = |code: i32, other: i32| {
        let pod = with(fail(code), "/status/phase", json!("Failed"));
        let state = json!({ "terminated": { "exitCode": other } });
        let status = json!({ "name": "proxy", "image": "i", "imageID": "", "ready": false, "restartCount": 0, "state": state });
        let mut pod = pod;
        pod["status"]["containerStatuses"].as_array_mut().unwrap().push(status);
        pod
    };
    let init = {
        let mut pod = with(waiting_pod("p", "PodInitializing", ""), "/status/phase", json!("Failed"));
        pod["status"]["initContainerStatuses"] = json!([{ "name": "migrate", "image": "i", "imageID": "", "ready": false, "restartCount": 0,
            "state": { "terminated": { "exitCode": 4 } } }]);
        pod
    };
    for (case, pod, class, reason, words) in [
        // §1
        ("exit 0", fail(0), Success, "Completed", "exit code 0"),
        ("exit 2", fail(2), NoData, "ExitCodeNoData", "exit code 2 is listed in exitCodes.noData"),
        ("exit 3", fail(3), Fatal, "ExitCodeFatal", "exit code 3 is listed in exitCodes.fatal"),
        ("exit 75", fail(75), Retryable, "ExitCodeRetryable", "exit code 75 is listed in exitCodes.retryable"),
        (
            "exit 1",
            fail(1),
            Retryable,
            "ExitCodeOtherwise",
            "exit code 1 is in no list of exitCodes, so exitCodes.otherwise (Retryable) applies",
        ),
        ("a kill", fail(137), Retryable, "ExitCodeOtherwise", "exit code 137 (killed by SIGKILL) is in no list"),
        ("a SIGTERM from inside", fail(143), Retryable, "ExitCodeOtherwise", "exit code 143 (ended by SIGTERM) is in no list"),
        ("a segmentation fault", fail(139), Retryable, "ExitCodeOtherwise", "exit code 139 (ended by a signal) is in no list"),
        ("out of memory", ended_pod("p", 137, "OOMKilled", ""), Retryable, "OOMKilled", "resources.limits.memory"),
        (
            "no such command",
            ended_pod("p", 128, "StartError", "failed to create: exec: \"nosuch\": not found"),
            Retryable,
            "StartError",
            "the command cannot be started: failed to create: exec: \"nosuch\": not found",
        ),
        // §2
        (
            "a timeout, killed",
            timed_out(137),
            TimedOut,
            "AttemptTimeout",
            "ran longer than timeouts.attemptSeconds (3600 s); the container ended with exit code 137",
        ),
        ("a timeout, trap 'exit 0'", timed_out(0), TimedOut, "AttemptTimeout", "exit code 0"),
        ("a timeout, trap with the fatal code", timed_out(3), TimedOut, "AttemptTimeout", "exit code 3"),
        ("a timeout, trap with the noData code", timed_out(2), TimedOut, "AttemptTimeout", "exit code 2"),
        // §3
        (
            "a timeout while it waited",
            deadline(ended_pod("p", 137, "ContainerStatusUnknown", "could not be located")),
            TimedOut,
            "AttemptTimeout",
            "attemptSeconds",
        ),
        (
            "a lost container",
            ended_pod("p", 137, "ContainerStatusUnknown", "could not be located"),
            Retryable,
            "ContainerStatusUnknown",
            "its exit code is not known",
        ),
        (
            "rejected by the node",
            with(with(waiting_pod("p", "", ""), "/status/phase", json!("Failed")), "/status/reason", json!("OutOfcpu")),
            Retryable,
            "OutOfcpu",
            "the node ended the pod",
        ),
        // §10
        ("evicted", disrupted(fail(137)), Disrupted, "Disrupted", "the cluster took the pod away: Eviction API: evicting"),
        ("evicted, exits with the fatal code", disrupted(fail(3)), Disrupted, "Disrupted", "exit code 3"),
        (
            "evicted, exits 0",
            disrupted(fail(0)),
            Success,
            "CompletedDuringDisruption",
            "exit code 0 after SIGTERM, while the cluster took the pod away (Eviction API: evicting): check that the work was done",
        ),
        (
            "deleted",
            deleted(fail(137), late),
            Retryable,
            "PodDeleted",
            "somebody deleted the pod while it ran; the container ended with exit code 137",
        ),
        ("deleted, exits with the fatal code", deleted(fail(3), late), Fatal, "PodDeleted", "exit code 3"),
        ("deleted, exits with the noData code", deleted(fail(2), late), Retryable, "PodDeleted", "exit code 2"),
        ("deleted, exits 0", deleted(fail(0), late), Success, "CompletedDuringDisruption", "while somebody deleted the pod: check"),
        ("deleted when it was long over", deleted(fail(3), long_after), Fatal, "ExitCodeFatal", "exit code 3 is listed"),
        ("deleted when it had long succeeded", deleted(fail(0), long_after), Success, "Completed", "exit code 0"),
        (
            "over its emptyDir's limit",
            evicted(137),
            Retryable,
            "Evicted",
            "Usage of EmptyDir volume \"w\" exceeds the limit \"1Mi\".; the container ended with exit code 137",
        ),
        ("over its emptyDir's limit, exits 0", evicted(0), Retryable, "Evicted", "exceeds the limit"),
        ("over its emptyDir's limit, exits with the noData code", evicted(2), Retryable, "Evicted", "exit code 2"),
        ("over its emptyDir's limit, exits with the fatal code", evicted(3), Fatal, "Evicted", "exit code 3"),
        (
            "a sidecar failed",
            sidecar(0, 7),
            Retryable,
            "OtherContainerFailed",
            "container main ended with exit code 0, but proxy failed with exit code 7",
        ),
        (
            "an init container failed",
            init,
            Retryable,
            "OtherContainerFailed",
            "container migrate failed with exit code 4, so container main never ran",
        ),
    ] {
        let ended = classify(&seen(pod), &codes(), None).unwrap();
        assert_eq!((ended.class, ended.reason.as_str()), (class, reason), "{case}");
        assert!(ended.message.contains(words), "{case}: {}", ended.message);
    }
}

#[test]
fn kubernetes_own_kills_follow_the_lists_because_the_job_controller_does_but_are_never_no_data() {
    let oom = seen(ended_pod("p", 137, "OOMKilled", ""));
    let class = |codes: &ExitCodes| classify(&oom, codes, None).unwrap().class;
    assert_eq!(class(&ExitCodes { fatal: vec![137], ..ExitCodes::default() }), Fatal);
    assert_eq!(class(&ExitCodes { otherwise: Some(Otherwise::Fatal), ..ExitCodes::default() }), Fatal);
    assert_eq!(class(&ExitCodes { otherwise: Some(Otherwise::Fatal), retryable: vec![137], ..ExitCodes::default() }), Retryable);
    assert_eq!(class(&ExitCodes { no_data: vec![137], ..ExitCodes::default() }), Retryable);
}

#[test]
fn what_the_operator_stopped_is_stopped_whatever_its_code_and_what_lives_has_no_class() {
    let pod = with(with(ended_pod("p", 2, "Error", ""), "/status/reason", json!("DeadlineExceeded")), "/status/phase", json!("Failed"));
    let ended = classify(&seen(pod), &codes(), Some(StopReason::Cancelled)).unwrap();
    assert_eq!((ended.class, ended.reason.as_str()), (Stopped, "Cancelled"));
    assert_eq!(ended.message, "stopped by the operator; the container ended with exit code 2");
    let failed_by_itself = classify(&seen(ended_pod("p", 3, "Error", "")), &codes(), Some(StopReason::Cancelled)).unwrap();
    assert_eq!(failed_by_itself.class, Fatal, "it ended before the stop reached it");
    assert_eq!(classify(&seen(waiting_pod("p", "ContainerCreating", "")), &codes(), None), None);
}

fn job(status: Value, pods: &[Value]) -> JobSeen {
    let job = json!({
        "metadata": { "name": "j", "uid": "uid-j", "creationTimestamp": "2026-11-24T00:59:59Z", "annotations": {
            "nightshift.dev/contract": serde_json::to_string(&contract()).unwrap(),
            "batch.kubernetes.io/cronjob-scheduled-timestamp": "2026-11-24T02:00:00+01:00",
        } },
        "status": status,
    });
    let pods: Vec<Arc<Pod>> = pods.iter().map(|pod| Arc::new(serde_json::from_value(pod.clone()).unwrap())).collect();
    JobSeen::read(&serde_json::from_value(job).unwrap(), &pods)
}

fn failed(reason: &str, message: &str, count: i32, pods: &[Value]) -> JobSeen {
    let condition =
        json!({ "type": "Failed", "status": "True", "reason": reason, "message": message, "lastTransitionTime": "2026-11-24T01:06:00Z" });
    job(json!({ "failed": count, "conditions": [condition] }), pods)
}

fn complete(pods: &[Value]) -> JobSeen {
    let condition = json!({ "type": "Complete", "status": "True", "lastTransitionTime": "2026-11-24T01:05:01Z" });
    job(json!({ "succeeded": 1, "completionTime": "2026-11-24T01:05:01Z", "conditions": [condition] }), pods)
}

fn created(pod: Value, at: &str) -> Value {
    with(pod, "/metadata/creationTimestamp", json!(at))
}

fn concluded(job: &JobSeen, before: &[Attempt], waited: Option<(&str, &str)>) -> Conclusion {
    let attempts = record(before, std::slice::from_ref(job));
    let last = attempts.iter().rev().find(|a| a.class.is_some_and(|class| class != Disrupted));
    conclude(job, last, waited, &contract()).unwrap()
}

#[test]
fn a_job_is_read_with_its_slot_terms_and_end() {
    let read = complete(&[created(ended_pod("late", 0, "", ""), "2026-11-24T01:02:00Z"), ended_pod("early", 1, "Error", "")]);
    assert_eq!(read.slot, Some("2026-11-24T01:00:00Z".parse().unwrap()), "the slot is in the CronJob's zone");
    assert_eq!(read.contract, Some(contract()));
    assert_eq!((read.end_time(), read.attempt, read.counted), ("2026-11-24T01:05:01Z".parse().unwrap(), 1, 1));
    assert_eq!(read.pods.iter().map(|pod| pod.name.as_str()).collect::<Vec<_>>(), ["early", "late"]);
    let ending = json!({ "terminating": 1, "conditions": [{ "type": "FailureTarget", "status": "True", "reason": "DeadlineExceeded" }] });
    assert_eq!(job(ending, &[]).end, None, "not Failed while a pod is terminating");
}

#[test]
fn a_job_ends_as_its_last_attempt_did() {
    let rule =
        |code: i32, pod: &str| format!("Container main for pod etl/{pod} failed with exit code {code} matching FailJob rule at index 1");
    let deadline =
        |code| with(with(ended_pod("p", code, "Error", ""), "/status/reason", json!("DeadlineExceeded")), "/status/phase", json!("Failed"));
    let many = |code| failed("FailedIndexes", "Job has failed indexes", 1, &[ended_pod("p", code, "Error", "")]);
    for (case, job, outcome, class, reason) in [
        ("complete", complete(&[ended_pod("p", 0, "Completed", "")]), Outcome::Succeeded, Success, "Completed"),
        ("complete, its pod gone", complete(&[]), Outcome::Succeeded, Success, "Completed"),
        (
            "complete under eviction",
            complete(&[disrupted(ended_pod("p", 0, "Completed", ""))]),
            Outcome::Succeeded,
            Success,
            "CompletedDuringDisruption",
        ),
        (
            "a fatal code",
            failed("PodFailurePolicy", &rule(3, "p"), 1, &[ended_pod("p", 3, "Error", "")]),
            Outcome::Failed,
            Fatal,
            "ExitCodeFatal",
        ),
        (
            "no data",
            failed("PodFailurePolicy", &rule(2, "p"), 1, &[ended_pod("p", 2, "Error", "")]),
            Outcome::NoData,
            NoData,
            "ExitCodeNoData",
        ),
        ("retries used up", many(1), Outcome::Failed, Retryable, "ExitCodeOtherwise"),
        (
            "a timeout whose trap took the fatal code",
            failed("PodFailurePolicy", &rule(3, "p"), 1, &[deadline(3)]),
            Outcome::TimedOut,
            TimedOut,
            "AttemptTimeout",
        ),
        ("a fatal code, its pod gone", failed("PodFailurePolicy", &rule(3, "p"), 1, &[]), Outcome::Failed, Fatal, "ExitCodeFatal"),
        ("no data, its pod gone", failed("PodFailurePolicy", &rule(2, "p"), 1, &[]), Outcome::NoData, NoData, "ExitCodeNoData"),
        ("retries used up, its pods gone", failed("FailedIndexes", "Job has failed indexes", 1, &[]), Outcome::Failed, PodGone, "PodGone"),
        (
            "the run's time is up",
            failed("DeadlineExceeded", "Job was active longer than specified deadline", 0, &[]),
            Outcome::TimedOut,
            Stopped,
            "RunTimeout",
        ),
    ] {
        let end = concluded(&job, &[], None);
        assert_eq!((end.outcome, end.class, end.reason.as_str()), (outcome, class, reason), "{case}: {}", end.message);
    }
    assert_eq!(conclude(&job(json!({}), &[]), None, None, &contract()), None, "a Job that goes on");
}

#[test]
fn a_rule_that_matched_an_unseen_pod_speaks_and_not_the_attempt_before_it() {
    let first = ended_pod("first", 1, "Error", "");
    let before = record(&[], &[job(json!({ "failed": 1 }), std::slice::from_ref(&first))]);
    let message = "Container main for pod etl/second failed with exit code 3 matching FailJob rule at index 1";
    let ended = failed("PodFailurePolicy", message, 2, &[first]);
    for before in [&before[..], &[]] {
        let end = concluded(&ended, before, None);
        assert_eq!((end.outcome, end.class, end.reason.as_str()), (Outcome::Failed, Fatal, "ExitCodeFatal"), "{}", end.message);
    }
}

#[test]
fn a_stop_says_who_asked_and_what_was_waited_on() {
    let stopped = |why| JobSeen { stopped: Some(why), ..failed("DeadlineExceeded", "", 0, &[]) };
    let image = Some(("ImagePullBackOff", "the image cannot be pulled"));
    for (why, waited, outcome, reason, message) in [
        (StopReason::Cancelled, None, Outcome::Cancelled, "Cancelled", "stopped because spec.cancel was set"),
        (StopReason::RunTimeout, None, Outcome::TimedOut, "RunTimeout", "did not end within timeouts.runSeconds (4530 s)"),
        (
            StopReason::PendingTimeout,
            None,
            Outcome::TimedOut,
            "PendingTimeout",
            "did not start within timeouts.pendingSeconds (900 s): the pod did not start",
        ),
        (
            StopReason::PendingTimeout,
            image,
            Outcome::TimedOut,
            "ImagePullBackOff",
            "did not start within timeouts.pendingSeconds (900 s): the image cannot be pulled",
        ),
    ] {
        let end = concluded(&stopped(why), &[], waited);
        assert_eq!((end.outcome, end.class, end.reason.as_str(), end.message.as_str()), (outcome, Stopped, reason, message));
    }
    let never_ran = concluded(&failed("DeadlineExceeded", "", 0, &[]), &[], image);
    assert_eq!((never_ran.reason.as_str(), never_ran.outcome), ("ImagePullBackOff", Outcome::TimedOut));
    let finished_first = JobSeen { stopped: Some(StopReason::Cancelled), ..complete(&[ended_pod("p", 0, "", "")]) };
    assert_eq!(concluded(&finished_first, &[], None).outcome, Outcome::Succeeded, "it was done before the stop reached it");
    for (code, outcome, reason) in [(2, Outcome::NoData, "ExitCodeNoData"), (3, Outcome::Failed, "ExitCodeFatal")] {
        let words = format!("Container main for pod etl/p failed with exit code {code} matching FailJob rule at index 1");
        let pods = [ended_pod("p", code, "Error", "")];
        for why in [StopReason::Cancelled, StopReason::RunTimeout] {
            let ended_first = JobSeen { stopped: Some(why), ..failed("PodFailurePolicy", &words, 1, &pods) };
            let end = concluded(&ended_first, &[], None);
            assert_eq!((end.outcome, end.reason.as_str()), (outcome, reason), "it had ended by itself before the stop reached it");
        }
    }
}

#[test]
fn an_attempt_on_record_never_changes_and_its_pod_may_go() {
    let ended = failed("FailedIndexes", "", 1, &[ended_pod("p", 1, "Error", "boom")]);
    let first = record(&[], std::slice::from_ref(&ended));
    assert_eq!(first.len(), 1);
    assert_eq!((first[0].exit_code, first[0].log_tail.as_deref(), first[0].node.as_deref()), (Some(1), Some("boom"), Some("node-1")));
    let rewritten = failed("FailedIndexes", "", 1, &[ended_pod("p", 0, "", "")]);
    for later in [ended.clone(), rewritten, failed("FailedIndexes", "", 1, &[])] {
        assert_eq!(record(&first, &[later]), first);
    }
    assert_eq!(record(&first, &[]), first, "nor does it where the Job is gone");
}

#[test]
fn a_pod_that_went_unseen_says_so_and_invents_nothing() {
    let running = with(ended_pod("p", 1, "", ""), "/status/phase", json!("Running"));
    let running = with(running, "/status/containerStatuses/0/state", json!({ "running": { "startedAt": "2026-11-24T01:00:10Z" } }));
    let before = record(&[], &[job(json!({}), &[running])]);
    assert_eq!((before.len(), before[0].class, before[0].exit_code), (1, None, None));
    let after = record(&before, &[failed("FailedIndexes", "", 1, &[])]);
    assert_eq!(after.len(), 1);
    let gone = &after[0];
    assert_eq!(
        (gone.class, gone.reason.as_deref(), gone.exit_code, &gone.finish_time, &gone.log_tail),
        (Some(PodGone), Some("PodGone"), None, &None, &None)
    );
    assert_eq!((&gone.start_time, &gone.node), (&before[0].start_time, &before[0].node), "what was seen of it stays");
}

#[test]
fn pods_that_were_counted_and_never_seen_stand_between_those_on_record_and_those_that_are_left() {
    let names = |attempts: &[Attempt]| attempts.iter().map(|a| a.pod.clone().unwrap_or_else(|| "?".to_owned())).collect::<Vec<_>>();
    let first = ended_pod("first", 1, "Error", "");
    let third = created(ended_pod("third", 1, "Error", ""), "2026-11-24T01:10:00Z");
    let before = record(&[], &[job(json!({ "failed": 1 }), &[first])]);
    let ended = failed("FailedIndexes", "", 3, &[third]);
    let after = record(&before, std::slice::from_ref(&ended));
    assert_eq!(names(&after), ["first", "?", "third"]);
    assert_eq!(record(&after, std::slice::from_ref(&ended)), after, "once recorded, it stays as it is");
    assert_eq!(names(&record(&before, &[failed("FailedIndexes", "", 3, &[])])), ["first", "?", "?"]);
    assert_eq!(names(&record(&[], &[ended])), ["?", "?", "third"]);
    assert!(record(&[], &[job(json!({ "failed": 1 }), &[])]).iter().all(|a| a.class.is_none()), "a Job that goes on may yet show them");
}

#[test]
fn a_disruption_is_an_attempt_on_record_but_none_that_was_counted() {
    let attempts = record(
        &[],
        &[failed(
            "FailedIndexes",
            "",
            1,
            &[disrupted(ended_pod("a", 137, "", "")), created(ended_pod("b", 1, "", ""), "2026-11-24T01:10:00Z")],
        )],
    );
    assert_eq!(attempts.iter().map(|a| a.class).collect::<Vec<_>>(), [Some(Disrupted), Some(Retryable)]);
}

#[test]
fn attempts_that_a_full_record_has_dropped_do_not_come_back() {
    // 30 retries within one Job: all pods stay, the status keeps the last twenty.
    let pods: Vec<Value> = (0..25)
        .map(|n| {
            let pod = created(ended_pod(&format!("p{n:02}"), 1, "Error", ""), &format!("2026-11-24T02:{n:02}:00Z"));
            let pod = with(pod, "/status/containerStatuses/0/state/terminated/startedAt", json!(format!("2026-11-24T02:{n:02}:10Z")));
            with(pod, "/status/containerStatuses/0/state/terminated/finishedAt", json!(format!("2026-11-24T02:{n:02}:40Z")))
        })
        .collect();
    let mut kept: Vec<Attempt> = Vec::new();
    for n in 1..=25 {
        let merged = record(&kept, &[job(json!({ "failed": n }), &pods[..n])]);
        assert_eq!(merged.len(), kept.len() + 1, "after {n} pods");
        kept = merged[merged.len().saturating_sub(20)..].to_vec();
        assert_eq!(record(&kept, &[job(json!({ "failed": n }), &pods[..n])]), kept, "planning again changes nothing");
    }
    assert_eq!(kept.first().and_then(|a| a.pod.as_deref()), Some("p05"));
    assert_eq!(record(&kept, &[failed("FailedIndexes", "", 25, &pods)]), kept, "nor do they when the Job has ended");
}

#[test]
fn outputs_are_a_json_object_and_nothing_else_ever_fails_a_good_run() {
    let of = |code, message: &str| outputs(&complete(&[ended_pod("p", code, "", message)]));
    assert_eq!(of(0, "{\"rows\": 3}\n"), (Some(json!({ "rows": 3 })), None));
    assert_eq!(of(3, "{\"rows\": 3}"), (Some(json!({ "rows": 3 })), None), "a file that was written wins over the log also on failure");
    assert_eq!(of(0, ""), (None, None));
    assert_eq!(of(3, "Traceback: boom"), (None, None), "that is the log tail");
    let long = format!("{{\"a\": \"{}\"}}", "x".repeat(5000));
    for broken in
        ["done", "[1]", "3", "null", "{\"a\": ", &long[long.len() - 4096..], "\u{fffd}\u{fffd}{}", "{\"a\": 1e999}", &"[".repeat(4000)]
    {
        let (value, note) = of(0, broken);
        assert!(value.is_none() && note.is_some_and(|note| note.contains("JSON object of at most 4096 bytes")), "{broken:.20}");
    }
    assert_eq!(of(0, "{\"a\": \"\u{fffd}\"}").0, Some(json!({ "a": "\u{fffd}" })));
    assert_eq!(outputs(&complete(&[])), (None, None));
    let tail = |message: &str| record(&[], &[failed("FailedIndexes", "", 1, &[ended_pod("p", 1, "Error", message)])])[0].log_tail.clone();
    assert_eq!(tail("{\"rows\": 3}"), None, "outputs are no log tail");
    assert_eq!(tail("boom").as_deref(), Some("boom"));
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn every_wait_has_one_word_and_a_sentence_to_act_on() {
    let trouble = |reason: &str, message: &str| vec![Trouble { reason: reason.to_owned(), message: message.to_owned(), last: None }];
    let unscheduled = json!([{ "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes are available: 1 Insufficient cpu." }]);
    let mount = |message: &str| trouble("FailedMount", &format!("MountVolume.SetUp failed for volume \"nightshift-secret-0\" : {message}"));
    let starting = waiting_pod("p", "ContainerCreating", "");
    for (case, pods, troubles, reason, words) in [
        ("fresh", vec![starting.clone()], vec![], "Starting", "waiting for the pod to be scheduled"),
        (
            "unschedulable",
            vec![with(starting.clone(), "/status/conditions", unscheduled)],
            vec![],
            "Unschedulable",
            "no node can take the pod: 0/1 nodes are available: 1 Insufficient cpu.",
        ),
        (
            "image",
            vec![waiting_pod("p", "ImagePullBackOff", "Back-off pulling image \"nosuch:1\"")],
            vec![],
            "ImagePullBackOff",
            "the image of container main cannot be pulled: Back-off pulling image \"nosuch:1\"",
        ),
        ("image, first try", vec![waiting_pod("p", "ErrImagePull", "not found")], vec![], "ImagePullBackOff", "not found"),
        (
            "secret in env",
            vec![waiting_pod("p", "CreateContainerConfigError", "secret \"nosuch\" not found")],
            vec![],
            "SecretMissing",
            "container main cannot start: secret \"nosuch\" not found; create it, or correct secrets[].secretKeyRef",
        ),
        (
            "key in env",
            vec![waiting_pod("p", "CreateContainerConfigError", "couldn't find key nokey in Secret rv1/sec")],
            vec![],
            "SecretMissing",
            "nokey in Secret rv1/sec",
        ),
        (
            "config map called secrets",
            vec![waiting_pod("p", "CreateContainerConfigError", "configmap \"my-secrets\" not found")],
            vec![],
            "CreateContainerConfigError",
            "configmap \"my-secrets\" not found",
        ),
        (
            "root",
            vec![waiting_pod("p", "CreateContainerConfigError", "container has runAsNonRoot and image will run as root")],
            vec![],
            "CreateContainerConfigError",
            "runAsNonRoot",
        ),
        (
            "secret file",
            vec![starting.clone()],
            mount("secret \"nosuch\" not found"),
            "SecretMissing",
            "secret \"nosuch\" not found; create it, or correct",
        ),
        ("key of a secret file", vec![starting.clone()], mount("references non-existent secret key: nokey"), "SecretMissing", "nokey"),
        (
            "another mount",
            vec![starting.clone()],
            mount("configmap \"c\" not found"),
            "FailedMount",
            "a volume cannot be mounted: MountVolume.SetUp failed",
        ),
        (
            "service account",
            vec![],
            trouble(
                "FailedCreate",
                "Error creating: pods \"j-0-\" is forbidden: error looking up service account etl/robot: serviceaccount \"robot\" not found",
            ),
            "ServiceAccountMissing",
            "create it, or correct serviceAccountName",
        ),
        (
            "Pod Security",
            vec![],
            trouble(
                "FailedCreate",
                "Error creating: pods \"j-0-x\" is forbidden: violates PodSecurity \"restricted:latest\": runAsNonRoot != true",
            ),
            "PodSecurityDenied",
            "make the template conform",
        ),
        (
            "quota",
            vec![],
            trouble(
                "FailedCreate",
                "Error creating: pods \"j-0-x\" is forbidden: exceeded quota: q, requested: pods=1, used: pods=4, limited: pods=4",
            ),
            "QuotaExceeded",
            "raise the namespace's ResourceQuota",
        ),
        (
            "a webhook",
            vec![],
            trouble("FailedCreate", "Error creating: admission webhook \"x\" denied the request"),
            "Refused",
            "the API server refuses it: Error creating: admission webhook",
        ),
        (
            "a namespace that goes",
            vec![],
            trouble("FailedCreate", "unable to create new content in namespace etl because it is being terminated"),
            "NamespaceTerminating",
            "being terminated",
        ),
    ] {
        let (told, message) = waiting(&job(json!({}), &pods), &troubles);
        assert_eq!(told, reason, "{case}: {message}");
        assert!(message.contains(words), "{case}: {message}");
    }
}

#[test]
fn what_a_job_waited_on_is_told_from_events_when_its_pods_are_gone() {
    let events = |all: &[(&str, &str)]| {
        all.iter()
            .map(|(reason, message)| Trouble { reason: (*reason).to_owned(), message: (*message).to_owned(), last: None })
            .collect::<Vec<_>>()
    };
    let pull = [
        ("Failed", "Failed to pull image \"r.example/secret-santa:1\": not found"),
        ("Failed", "Error: ErrImagePull"),
        ("Failed", "Error: ImagePullBackOff"),
    ];
    for (case, told, reason, words) in [
        (
            "image",
            &pull[..],
            "ImagePullBackOff",
            "the container cannot start: Failed to pull image \"r.example/secret-santa:1\": not found",
        ),
        ("image, the pull's own event gone", &pull[1..], "ImagePullBackOff", "Error: ImagePullBackOff"),
        ("secret", &[("Failed", "Error: secret \"nosuch\" not found")], "SecretMissing", "secret \"nosuch\" not found"),
        (
            "root",
            &[("Failed", "Error: container has runAsNonRoot and image will run as root")],
            "CreateContainerConfigError",
            "runAsNonRoot",
        ),
        ("node", &[("FailedScheduling", "0/1 nodes are available")], "Unschedulable", "no node can take the pod"),
        ("mount", &[("FailedMount", "references non-existent secret key: nokey")], "SecretMissing", "nokey"),
        ("quota", &[("FailedCreate", "exceeded quota: q")], "QuotaExceeded", "exceeded quota"),
    ] {
        let (word, message) = waited(&failed("DeadlineExceeded", "", 1, &[]), &events(told)).unwrap();
        assert_eq!(word, reason, "{case}");
        assert!(message.contains(words), "{case}: {message}");
    }
    assert_eq!(waited(&failed("DeadlineExceeded", "", 1, &[]), &[]), None);
    assert_eq!(waited(&failed("DeadlineExceeded", "", 1, &[ended_pod("p", 1, "", "")]), &events(&pull)), None, "it has begun");
}

fn any_class() -> impl Strategy<Value = Option<AttemptClass>> {
    prop::option::of(prop::sample::select(vec![Success, Retryable, Fatal, TimedOut, Disrupted, PodGone]))
}

proptest! {
    #[test]
    fn recording_again_changes_nothing_and_nothing_on_record_is_lost(
        classes in prop::collection::vec(any_class(), 0..4),
        codes in prop::collection::vec(prop::sample::select(vec![0, 1, 2, 3, 137]), 0..4),
        counted in 0i32..6,
        over in any::<bool>(),
    ) {
        let before: Vec<Attempt> = classes
            .iter()
            .enumerate()
            .map(|(n, class)| Attempt { job: "j".to_owned(), pod: Some(format!("p{n}")), class: *class, exit_code: class.filter(|c| *c != PodGone).map(|_| 1), ..Attempt::default() })
            .collect();
        let pods: Vec<Value> = codes.iter().enumerate().map(|(n, code)| ended_pod(&format!("p{}", n + 2), *code, "Error", "")).collect();
        let job = if over { failed("FailedIndexes", "", counted, &pods) } else { job(json!({ "failed": counted }), &pods) };
        let once = record(&before, std::slice::from_ref(&job));
        prop_assert_eq!(&record(&once, std::slice::from_ref(&job)), &once);
        // One that is said to be gone is corrected where its pod turns up.
        let turned_up = |a: &Attempt| a.class == Some(PodGone) && job.pods.iter().any(|pod| Some(&pod.name) == a.pod.as_ref());
        for known in before.iter().filter(|a| a.class.is_some() && !turned_up(a)) {
            prop_assert!(once.contains(known));
        }
        for gone in once.iter().filter(|a| a.class == Some(PodGone)) {
            prop_assert_eq!((gone.exit_code, &gone.log_tail), (None, &None));
        }
    }
}
