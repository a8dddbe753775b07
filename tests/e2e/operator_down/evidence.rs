//! Evidence that goes while the operator is down: it says so and invents nothing.

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use nightshift::api::{Attempt, AttemptClass, Outcome};

use super::{
    outage::Outage,
    slots::{assert_ended, classes, due_in, ended_job, recorded},
};
use crate::support::{Scene, status};

#[track_caller]
fn assert_gone(attempt: &Attempt) {
    assert_eq!((attempt.class, attempt.reason.as_deref()), (Some(AttemptClass::PodGone), Some("PodGone")), "{attempt:?}");
    let invented = (attempt.exit_code, &attempt.start_time, &attempt.finish_time, &attempt.log_tail, &attempt.node);
    assert_eq!(invented, (None, &None, &None, &None, &None), "nothing is invented");
}

async fn delete_pods(scene: &Scene, pods: &[Pod]) {
    for pod in pods {
        scene.delete::<Pod>(&pod.name_any()).await;
        scene.gone::<Pod>(&pod.name_any(), 60).await;
    }
}

pub async fn pod_deleted(scene: Scene, mut outage: Outage) {
    due_in(&scene, &outage, "script: {source: 'sleep 600'}").await;
    outage.begins().await;
    let name = format!("nightly-{}", outage.slot.as_second() / 60);
    let pod = scene.pod_running(&name, 120).await;
    delete_pods(&scene, &[pod]).await;
    let job = ended_job(&scene, &outage, 60).await;
    outage.ends().await;
    let run = recorded(&scene, &job).await;
    assert_ended(&run, Outcome::Failed, "PodGone");
    assert_eq!(status(&run).attempt_count, Some(1));
    assert_gone(&status(&run).attempts[0]);
}

pub async fn pod_of_a_failed_job_gone(scene: Scene, mut outage: Outage) {
    due_in(&scene, &outage, "script: {source: 'exit 3'}, exitCodes: {fatal: [3]}").await;
    outage.begins().await;
    let job = ended_job(&scene, &outage, 60).await;
    delete_pods(&scene, &scene.pods(&job.name_any()).await).await;
    outage.ends().await;
    let run = recorded(&scene, &job).await;
    // The Job controller wrote down which rule matched.
    assert_ended(&run, Outcome::Failed, "ExitCodeFatal");
    assert!(status(&run).message.is_some_and(|message| message.contains("exit code 3") && message.contains("the pod is gone")));
    assert_eq!(status(&run).attempt_count, Some(1));
    assert_gone(&status(&run).attempts[0]);
}

pub async fn pod_of_a_complete_job_gone(scene: Scene, mut outage: Outage) {
    due_in(&scene, &outage, "command: ['true']").await;
    outage.begins().await;
    let job = ended_job(&scene, &outage, 60).await;
    delete_pods(&scene, &scene.pods(&job.name_any()).await).await;
    outage.ends().await;
    let run = recorded(&scene, &job).await;
    assert_ended(&run, Outcome::Succeeded, "Completed");
    assert!(status(&run).message.is_some_and(|message| message.contains("pod was gone")));
    assert_eq!(status(&run).attempt_count, Some(1));
    assert_gone(&status(&run).attempts[0]);
}

pub async fn first_pod_gone(scene: Scene, mut outage: Outage) {
    due_in(&scene, &outage, "script: {source: 'exit 7'}, retry: {limit: 1}").await;
    outage.begins().await;
    let job = ended_job(&scene, &outage, 90).await;
    let pods = scene.pods(&job.name_any()).await;
    delete_pods(&scene, &pods[..1]).await;
    outage.ends().await;
    let run = recorded(&scene, &job).await;
    assert_ended(&run, Outcome::Failed, "ExitCodeOtherwise");
    assert_eq!(classes(&run), [(Some(AttemptClass::PodGone), None), (Some(AttemptClass::Retryable), Some(7))]);
    assert_gone(&status(&run).attempts[0]);
    assert_eq!(status(&run).attempts[1].pod, Some(pods[1].name_any()));
}
