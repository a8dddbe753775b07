//! Pods that are taken away while they run: by the cluster, or by somebody.

use futures::future::join_all;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, EvictParams, Patch, PatchParams, PostParams},
};
use nightshift::api::{AutomationRun, Outcome, Phase};
use serde_json::json;

use super::place::{Place, end, message, says, story};
use crate::support::{IMAGE, now, status};

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

/// A node that nobody is behind, for the pods of a namespace alone.
async fn make_node(place: &Place, name: &str) {
    let node = json!({
        "metadata": { "name": name, "labels": { "nightshift-test": place.namespace } },
        "spec": { "taints": [{ "key": "nightshift-test", "value": place.namespace, "effect": "NoSchedule" }] },
    });
    let nodes: Api<Node> = Api::all(place.client.clone());
    nodes.create(&PostParams::default(), &serde_json::from_value(node).expect("a node")).await.expect("the node is created");
    let room = json!({ "cpu": "8", "memory": "8Gi", "pods": "20" });
    let ready = json!([{ "type": "Ready", "status": "True", "reason": "Test", "message": "", "lastHeartbeatTime": now(), "lastTransitionTime": now() }]);
    let status = json!({ "status": { "capacity": room, "allocatable": room, "conditions": ready } });
    nodes.patch_status(name, &PatchParams::default(), &Patch::Strategic(status)).await.expect("the node has room");
}

/// What a kubelet would tell of a pod that it runs.
async fn play_kubelet(place: &Place, job: &str, node: &str) {
    let bound = place
        .pod_of(job, "is bound to the node", 60, |pod| pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()) == Some(node))
        .await;
    let running = json!([{ "name": "main", "image": IMAGE, "imageID": "", "ready": true, "restartCount": 0, "started": true, "state": { "running": { "startedAt": now() } } }]);
    let status = json!({ "status": { "phase": "Running", "startTime": now(), "containerStatuses": running } });
    let pods = place.api::<Pod>();
    pods.patch_status(&bound.name_any(), &PatchParams::default(), &Patch::Strategic(status)).await.expect("the pod runs");
}

#[tokio::test]
async fn a_node_that_is_lost_does_not_use_up_a_retry() {
    story(async |place| {
        let node = format!("lost-{}", place.namespace);
        make_node(place, &node).await;
        let there =
            format!("nodeSelector: {{nightshift-test: {}}}, tolerations: [{{key: nightshift-test, operator: Exists}}]", place.namespace);
        let tasks = [("single", "limit: 0"), ("native", "limit: 1"), ("ours", "limit: 1, backoff: {initialSeconds: 1}")];
        join_all(tasks.map(async |(task, retry)| {
            place.script(task, "echo retry $NIGHTSHIFT_RETRY", &format!("{{retry: {{{retry}}}, template: {{spec: {{{there}}}}}}}")).await;
            place.run(&format!("{task}-1"), task).await;
            play_kubelet(place, &format!("{task}-1-1"), &node).await;
            place.running(&format!("{task}-1")).await;
        }))
        .await;
        let steps = r"steps: [{name: first, taskRef: {name: native}}, {name: second, taskRef: {name: single}, dependsOn: [{step: first}]}]";
        place.given(&format!("{{apiVersion: nightshift.dev/v1alpha1, kind: Workflow, metadata: {{name: both}}, spec: {{owner: {{team: tests}}, {steps}}}}}")).await;
        place.given("{apiVersion: nightshift.dev/v1alpha1, kind: AutomationRun, metadata: {name: both-1}, spec: {workflowRef: {name: both}}}").await;
        let begun = place.status("both-1", "to have begun", |status| status.steps.first().is_some_and(|step| step.run.is_some())).await;
        let first = begun.steps[0].run.clone().expect("it has begun");
        play_kubelet(place, &format!("{first}-1"), &node).await;
        place.running(&first).await;
        // The node is gone, and its pods with it: Kubernetes takes them for lost within a minute or two. Others find room
        // on a node that really is one.
        let nodes: Api<Node> = Api::all(place.client.clone());
        nodes.delete(&node, &DeleteParams::default()).await.expect("the node is deleted");
        let label = json!({ "metadata": { "labels": { "nightshift-test": place.namespace } } });
        nodes.patch("node1", &PatchParams::default(), &Patch::Merge(label)).await.expect("node1 is labelled");
        join_all(tasks.map(async |(task, _)| {
            let run = &format!("{task}-1");
            let done = |run: &AutomationRun| run.status.as_ref().is_some_and(|status| status.phase == Some(Phase::Finished));
            let status = status(&place.until::<AutomationRun, _>(run, "to outlive its node", 200, done).await);
            assert_eq!(end(&status), "Succeeded Completed: Disrupted, Success 0", "{task}");
            says(status.attempts[0].message.as_deref().unwrap_or_default(), &["the cluster took the pod away", "node no longer exists"]);
            assert_eq!(place.log_of(&status).await, "retry 0\n", "{task}: no failure came before");
            assert_eq!(place.jobs(run).await.len(), 1, "{task}: its Job replaced the pod, and no retry was made");
        }))
        .await;
        let both = place.finished("both-1").await;
        let steps: Vec<_> = both.steps.iter().map(|step| (step.outcome, step.started)).collect();
        assert_eq!((both.outcome, steps), (Some(Outcome::Succeeded), vec![(Some(Outcome::Succeeded), 1); 2]), "{:?}", both.message);
        let first = status(&place.get::<AutomationRun>(&first).await);
        assert_eq!(end(&first), "Succeeded Completed: Disrupted, Success 0", "the workflow's step");
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
