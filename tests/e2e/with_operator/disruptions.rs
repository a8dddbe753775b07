//! Pods that are taken away while they run: by the cluster, or by somebody.

use futures::future::join_all;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{EvictParams, Patch, PatchParams};
use serde_json::json;

use super::place::{Place, end, message, says, story};

/// Works until it is taken away; once there is a ConfigMap `go`, says at once which retry it is and ends with that code.
fn slow(code: i32) -> String {
    format!("[ \"$GO\" = yes ] || sleep 300; echo \"retry $NIGHTSHIFT_RETRY\"; exit {code}")
}

const TEMPLATE: &str =
    "template: {spec: {containers: [{name: main, env: [{name: GO, valueFrom: {configMapKeyRef: {name: go, key: go, optional: true}}}]}]}}";

/// Three runs that are at work, of tasks that differ in who retries; the next pod of each ends with that code.
async fn tasks(place: &Place, code: i32) {
    for (task, retry) in [("single", "{limit: 0}"), ("native", "{limit: 1}"), ("ours", "{limit: 1, backoff: {initialSeconds: 1}}")] {
        place.script(task, &slow(code), &format!("{{retry: {retry}, {TEMPLATE}}}")).await;
        place.run(&format!("{task}-1"), task).await;
    }
    for task in ["single", "native", "ours"] {
        place.running(&format!("{task}-1")).await;
    }
    place.given("{apiVersion: v1, kind: ConfigMap, metadata: {name: go}, data: {go: 'yes'}}").await;
}

/// The pod of the attempt that runs.
async fn pod_of(place: &Place, run: &str) -> String {
    place.running(run).await.attempts.last().and_then(|a| a.pod.clone()).expect("a running attempt has a pod")
}

async fn evict(place: &Place, run: &str) {
    let pod = pod_of(place, run).await;
    place.api::<Pod>().evict(&pod, &EvictParams::default()).await.unwrap_or_else(|e| panic!("evicting {pod}: {e}"));
}

#[tokio::test]
async fn an_eviction_does_not_use_up_a_retry() {
    story(async |place| {
        tasks(place, 1).await;
        let rows = [
            ("single", "Failed ExitCodeOtherwise: Disrupted 137, Retryable 1"),
            ("native", "Failed ExitCodeOtherwise: Disrupted 137, Retryable 1, Retryable 1"),
            ("ours", "Failed ExitCodeOtherwise: Disrupted 137, Retryable 1, Retryable 1"),
        ];
        join_all(rows.map(async |(task, wanted)| {
            let run = &format!("{task}-1");
            evict(place, run).await;
            let status = place.finished(run).await;
            assert_eq!(end(&status), wanted, "{task}");
            let evicted = &status.attempts[0];
            assert_eq!(evicted.reason.as_deref(), Some("Disrupted"), "{task}");
            says(evicted.message.as_deref().unwrap_or_default(), &["the cluster took the pod away", "Eviction API"]);
            let counted: Vec<_> = status.attempts[1..].iter().map(|a| a.log_tail.clone().unwrap_or_default()).collect();
            assert_eq!(counted, (0..counted.len()).map(|n| format!("retry {n}\n")).collect::<Vec<_>>(), "{task}: NIGHTSHIFT_RETRY");
        }))
        .await;
    })
    .await;
}

#[tokio::test]
async fn a_node_that_is_lost_does_not_use_up_a_retry() {
    story(async |place| {
        tasks(place, 0).await;
        join_all(["single", "native", "ours"].map(async |task| {
            let run = &format!("{task}-1");
            let pod = pod_of(place, run).await;
            // What Kubernetes does about the pods of a node that does not answer: it writes why on the pod, beside the
            // conditions that are there, and deletes it.
            let why = json!({
                "type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager",
                "message": "Taint manager: deleting due to NoExecute taint",
            });
            let told = Patch::Strategic(json!({ "status": { "conditions": [why] } }));
            let pods = place.api::<Pod>();
            pods.patch_status(&pod, &PatchParams::default(), &told).await.unwrap_or_else(|e| panic!("the status of pod {pod}: {e}"));
            place.delete::<Pod>(&pod).await;
            let status = place.finished(run).await;
            assert_eq!(end(&status), "Succeeded Completed: Disrupted 137, Success 0", "{task}");
            let taken = &status.attempts[0];
            assert_eq!((taken.pod.as_ref(), taken.reason.as_deref()), (Some(&pod), Some("Disrupted")), "{task}");
            says(taken.message.as_deref().unwrap_or_default(), &["the cluster took the pod away: Taint manager", "exit code 137"]);
            assert_eq!(place.log_of(&status).await, "retry 0\n", "{task}: no failure came before");
            assert_eq!(place.jobs(run).await.len(), 1, "{task}: its Job replaced the pod, and no retry was made");
        }))
        .await;
    })
    .await;
}

#[tokio::test]
async fn a_run_that_ends_well_while_it_is_evicted_says_so() {
    story(async |place| {
        place.script("polite", "trap 'exit 0' TERM; sleep 60 & wait", "{}").await;
        place.run("polite-1", "polite").await;
        evict(place, "polite-1").await;
        let status = place.finished("polite-1").await;
        assert_eq!(end(&status), "Succeeded CompletedDuringDisruption: Success 0");
        says(message(&status), &["exit code 0 after SIGTERM, while the cluster took the pod away", "check that the work was done"]);
    })
    .await;
}

#[tokio::test]
async fn a_pod_that_somebody_deletes_uses_up_a_retry() {
    story(async |place| {
        tasks(place, 1).await;
        join_all([("single", 0), ("native", 1), ("ours", 1)].map(async |(task, retries)| {
            let run = &format!("{task}-1");
            let pod = pod_of(place, run).await;
            place.kubectl(&["delete", "pod", &pod, "--wait=false"]).await;
            let status = place.finished(run).await;
            assert_eq!(status.attempt_count, Some(1 + retries), "{task}: {}", end(&status));
            let deleted = &status.attempts[0];
            assert_eq!(deleted.pod.as_ref(), Some(&pod), "{task}");
            // Kubernetes removes the pod right after its end: where that was quicker than we, nothing is invented.
            let told = match deleted.reason.as_deref() {
                Some("PodDeleted") => "somebody deleted the pod while it ran; the container ended with exit code 137",
                Some("PodGone") => "the pod was gone before its end was seen: exit code and log are not known",
                _ => panic!("{task}: {deleted:?}"),
            };
            assert_eq!(deleted.message.as_deref(), Some(told), "{task}");
            assert_eq!(deleted.exit_code, (deleted.reason.as_deref() == Some("PodDeleted")).then_some(137), "{task}");
            assert!(end(&status).starts_with("Failed "), "{task}: {}", end(&status));
        }))
        .await;
    })
    .await;
}
