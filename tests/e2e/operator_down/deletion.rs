//! Deletion in an outage: Kubernetes' garbage collector goes by owners, and needs no operator.

use std::time::Duration;

use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};
use kube::ResourceExt;
use nightshift::api::{AutomationRun, AutomationTask};

use super::outage::Outage;
use crate::support::{Scene, eventually, status};

/// How many runs, Jobs, pods and CronJobs there are.
async fn there(scene: &Scene) -> [usize; 4] {
    let (jobs, pods) = (scene.ours::<Job>().await.len(), scene.ours::<Pod>().await.len());
    [scene.runs().await.len(), jobs, pods, scene.cron_jobs().await.len()]
}

pub async fn of_a_task(scene: Scene, mut outage: Outage) {
    // The run on demand fails at once and waits for its retry; the Job by hand works on.
    let script = "script: {source: 'test $NIGHTSHIFT_RUN != now || exit 1; sleep 600'}";
    let retry = "retry: {limit: 2, backoff: {initialSeconds: 300}}";
    scene.armed_task("nightly", &format!("{{{script}, {retry}, schedule: {{cron: ['0 0 1 1 *']}}}}")).await;
    scene.run("now", "nightly").await;
    scene.job_from_cron_job("by-hand", "nightly").await;
    let waits = |run: &AutomationRun| status(run).waiting_on.is_some_and(|on| on.reason == "Backoff");
    scene.until("now", "to wait for its retry", 60, waits).await;
    scene.pod_running("by-hand", 60).await;
    scene.until::<Job, _>("by-hand", "to be its run's", 30, |job| job.owner_references().len() == 2).await;
    assert_eq!(there(&scene).await, [2, 2, 2, 1], "runs, Jobs, pods, CronJobs");

    outage.begins().await;
    scene.delete::<AutomationTask>("nightly").await;
    eventually("nothing of the task is left", Duration::from_secs(90), async || {
        let left = there(&scene).await;
        if left == [0; 4] { Ok(()) } else { Err(format!("runs, Jobs, pods, CronJobs: {left:?}")) }
    })
    .await;
    outage.ends().await;
}
