//! Several cron lines: a CronJob for each.

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::{CronJob, Job};
use kube::ResourceExt;
use nightshift::api::{AutomationTask, Outcome};
use serde_json::json;

use super::in_a_scene;
use crate::support::{Scene, status};

/// Cron line to name.
async fn lines(scene: &Scene) -> BTreeMap<String, String> {
    let cron_jobs = scene.cron_jobs().await.into_iter();
    cron_jobs.map(|c| (c.spec.as_ref().map(|s| s.schedule.clone()).unwrap_or_default(), c.name_any())).collect()
}

#[tokio::test]
async fn are_a_cron_job_each_and_one_taken_out_leaves_its_running_job_alone() {
    in_a_scene(async |scene| {
        let spec = "{script: {source: 'sleep 15; echo done'}, schedule: {cron: ['0 2 * * *', '0 14 * * *', '0 20 * * 6'], concurrencyPolicy: Forbid}}";
        scene.armed_task("import", spec).await;
        let before = lines(&scene).await;
        assert_eq!(before.keys().collect::<Vec<_>>(), ["0 14 * * *", "0 2 * * *", "0 20 * * 6"]);
        let afternoon = before["0 14 * * *"].clone();
        scene.job_from_cron_job("of-the-afternoon", &afternoon).await;
        scene.job_from_cron_job("of-the-night", &before["0 2 * * *"]).await;
        for job in ["of-the-afternoon", "of-the-night"] {
            scene.pod_running(job, 60).await;
            scene.until::<Job, _>(job, "to be its run's", 30, |job| job.owner_references().len() == 2).await;
        }

        // Taking the first line out moves the others up.
        scene.change::<AutomationTask>("import", json!({ "spec": { "schedule": { "cron": ["0 20 * * 6"] } } })).await;
        scene.armed("import").await;
        scene.gone::<CronJob>(&afternoon, 30).await;
        scene.gone::<CronJob>(&before["0 20 * * 6"], 30).await;
        assert_eq!(lines(&scene).await, BTreeMap::from([("0 20 * * 6".to_owned(), "import".to_owned())]));
        for job in ["of-the-afternoon", "of-the-night"] {
            let run = scene.run_of_job(job, 30).await;
            let run = scene.finished(&run.name_any(), 60).await;
            assert_eq!(status(&run).outcome, Some(Outcome::Succeeded), "{job}: {:?}", status(&run));
            assert_eq!(scene.pods(job).await.len(), 1, "{job}: the pod that ran is still there");
        }
    })
    .await;
}
