//! Evidence that goes while the operator is down: it says so and invents nothing.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use nightshift::api::{Attempt, AttemptClass, Outcome};

use super::{
    outage::Outage,
    slots::{assert_ended, classes, due_in, ended_job, has_ended, recorded},
};
use crate::support::{Scene, eventually, status};

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

pub async fn run_timeout(scene: Scene, mut outage: Outage) {
    // The first pod fails. The second works, until Kubernetes' own deadline takes it away.
    let script = "script: {source: 'echo working; test $NIGHTSHIFT_RETRY -gt 0 || exit 1; sleep 300'}, retry: {limit: 9}";
    let timeouts = "timeouts: {attemptSeconds: 40, runSeconds: 40}";
    scene.armed_task("nightly", &format!("{{{script}, {timeouts}, schedule: {{cron: ['0 0 1 1 *']}}}}")).await;
    outage.begins().await;
    // By hand and not by the slot, when many pods start at once: the second pod must come before the deadline.
    scene.job_from_cron_job("by-hand", "nightly").await;
    let job = scene.until("by-hand", "to end", 90, has_ended).await;
    let left = eventually("only the pod that failed is left", Duration::from_secs(30), async || {
        let mut pods = scene.pods("by-hand").await;
        if pods.len() == 1 { Ok(pods.remove(0).name_any()) } else { Err(format!("{} pods", pods.len())) }
    })
    .await;
    outage.ends().await;
    let run = recorded(&scene, &job).await;
    assert_ended(&run, Outcome::TimedOut, "RunTimeout");
    let told = status(&run);
    assert!(told.message.as_ref().is_some_and(|message| message.contains("timeouts.runSeconds (40 s)")), "{told:?}");
    assert_eq!(told.attempt_count, Some(2), "{told:?}");
    let [seen, gone] = told.attempts.as_slice() else { panic!("{told:?}") };
    assert_eq!((seen.pod.as_ref(), seen.class, seen.exit_code), (Some(&left), Some(AttemptClass::Retryable), Some(1)), "{told:?}");
    assert_eq!(seen.log_tail.as_deref(), Some("working\n"), "{told:?}");
    assert_gone(gone);
}
