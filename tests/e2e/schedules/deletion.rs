//! Deleting a task.

use std::time::Duration;

use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};
use nightshift::api::AutomationTask;

use super::in_a_scene;
use crate::support::eventually;

#[tokio::test]
async fn of_a_task_ends_and_removes_its_runs_jobs_and_pods() {
    in_a_scene(async |scene| {
        let spec = "{script: {source: 'if test \"$QUICK\" != yes; then sleep 600; fi'}, parameters: [{name: QUICK, default: 'no'}], schedule: {cron: ['0 2 * * *']}}";
        scene.armed_task("nightly", spec).await;
        scene.task("other", "{command: ['true']}").await;
        scene.job_from_cron_job("adopted", "nightly").await;
        let adopted = scene.run_of_job("adopted", 30).await;
        scene.run("on-demand", "nightly").await;
        scene.run("of-another", "other").await;
        scene.pod_running("adopted", 60).await;
        scene.pod_running("on-demand-1", 60).await;
        scene.finished("of-another", 60).await;
        scene.until::<Job, _>("adopted", "to be its run's", 30, |job| job.metadata.owner_references.as_ref().is_some_and(|o| o.len() == 2)).await;
        assert_eq!(scene.runs().await.len(), 3);
        assert!(adopted.metadata.owner_references.is_some());

        scene.delete::<AutomationTask>("nightly").await;
        eventually("only the other task's are left", Duration::from_secs(60), async || {
            let left = (scene.runs().await.len(), scene.ours::<Job>().await.len(), scene.ours::<Pod>().await.len(), scene.cron_jobs().await.len());
            if left == (1, 1, 1, 0) { Ok(()) } else { Err(format!("runs, Jobs, pods, CronJobs: {left:?}")) }
        })
        .await;
        assert!(scene.find::<nightshift::api::AutomationRun>("of-another").await.is_some());
    })
    .await;
}
