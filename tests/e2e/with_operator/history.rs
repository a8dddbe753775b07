//! What is kept of runs that are over, and what goes with what.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, stream::BoxStream};
use jiff::SignedDuration;
use k8s_openapi::api::{
    batch::v1::{CronJob, Job},
    core::v1::Pod,
};
use kube::{
    ResourceExt,
    api::{DeleteParams, Patch, PatchParams, WatchEvent, WatchParams},
};
use nightshift::api::{AutomationRun, AutomationTask, Phase, label};
use serde_json::json;

use super::place::{Place, end, story};
use crate::support::{eventually, operator_client};

const BOTH_WAYS: &str = "parameters: [{name: CODE, default: '0'}], exitCodes: {noData: [3]}";

/// The names of the runs and of the Jobs that there are.
async fn kept(place: &Place) -> (BTreeSet<String>, BTreeSet<String>) {
    let runs = place.runs().await.iter().map(ResourceExt::name_any).collect();
    let jobs =
        place.ours::<Job>().await.iter().filter(|job| job.metadata.deletion_timestamp.is_none()).map(ResourceExt::name_any).collect();
    (runs, jobs)
}

fn names(text: &str) -> BTreeSet<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

async fn until_kept(place: &Place, runs: &str, jobs: &str) {
    let wanted = (names(runs), names(jobs));
    eventually("the rest is gone", std::time::Duration::from_secs(30), async || {
        let kept = kept(place).await;
        if kept == wanted { Ok(()) } else { Err(format!("{kept:?}")) }
    })
    .await;
}

#[tokio::test]
async fn the_newest_good_and_bad_runs_are_kept_and_the_rest_goes_with_its_jobs() {
    story(async |place| {
        place
            .script(
                "import",
                "exit $CODE",
                &format!("{{{BOTH_WAYS}, history: {{succeeded: 2, failed: 1}}, schedule: {{cron: ['0 0 1 1 *']}}}}"),
            )
            .await;
        place.armed("import").await;
        // One after the other: which of two is the newer must be beyond doubt.
        for (run, code) in [("bad-1", "1"), ("good-1", "0"), ("good-2", "0"), ("bad-2", "1"), ("empty-3", "3")] {
            place.run_with(run, "import", &[("CODE", code)]).await;
            place.finished(run).await;
            let ended = place.get::<AutomationRun>(run).await.status.and_then(|s| s.completion_time).expect("it ended").0;
            eventually("the second is over", std::time::Duration::from_secs(5), async || {
                if crate::support::now() > ended + SignedDuration::from_secs(1) { Ok(()) } else { Err(String::new()) }
            })
            .await;
        }
        until_kept(place, "bad-2 good-2 empty-3", "bad-2-1 good-2-1 empty-3-1").await;

        // The same for what the schedule's own Job was.
        place.job_from_cron_job("by-hand", "import").await;
        let adopted = place.run_of_job("by-hand", 30).await.name_any();
        place.finished(&adopted).await;
        until_kept(place, &format!("bad-2 empty-3 {adopted}"), "bad-2-1 empty-3-1 by-hand").await;
        place.change::<AutomationTask>("import", json!({ "spec": { "history": { "succeeded": 0, "failed": 0 } } })).await;
        until_kept(place, "", "").await;
        let task = place.get::<AutomationTask>("import").await.status.expect("a status");
        assert_eq!(task.last_run.map(|last| last.name), Some(adopted), "what happened last stays on the task");
    })
    .await;
}

#[tokio::test]
async fn the_job_of_a_run_without_data_goes_before_an_alert_on_failed_jobs_would_fire() {
    story(async |place| {
        place.script("import", "exit 3", &format!("{{{BOTH_WAYS}, schedule: {{cron: ['0 0 1 1 *']}}}}")).await;
        place.armed("import").await;
        place.run("empty-1", "import").await;
        assert_eq!(end(&place.finished("empty-1").await), "NoData ExitCodeNoData: NoData 3");
        place.job_from_cron_job("by-hand", "import").await;
        let adopted = place.run_of_job("by-hand", 30).await.name_any();
        assert_eq!(end(&place.finished(&adopted).await), "NoData ExitCodeNoData: NoData 3");
        // For its log it stays a while. Nobody waits five minutes here: they are said to have passed.
        until_kept(place, &format!("empty-1 {adopted}"), "empty-1-1 by-hand").await;
        for run in ["empty-1", &adopted] {
            let before = crate::support::now() - SignedDuration::from_secs(301);
            let ended = json!({ "status": { "completionTime": before.strftime("%Y-%m-%dT%H:%M:%SZ").to_string() } });
            let runs = kube::Api::<AutomationRun>::namespaced(operator_client().await, &place.namespace);
            runs.patch_status(run, &PatchParams::default(), &Patch::Merge(ended)).await.expect("changing a status as the operator");
        }
        until_kept(place, &format!("empty-1 {adopted}"), "").await;
    })
    .await;
}

#[tokio::test]
async fn deleting_a_run_ends_its_job() {
    story(async |place| {
        place.script("import", "sleep 300", "{schedule: {cron: ['0 0 1 1 *']}}").await;
        place.armed("import").await;
        place.run("on-demand", "import").await;
        place.job_from_cron_job("by-hand", "import").await;
        let adopted = place.run_of_job("by-hand", 30).await.name_any();
        for run in ["on-demand", &adopted] {
            place.running(run).await;
            place.delete::<AutomationRun>(run).await;
        }
        for job in ["on-demand-1", "by-hand"] {
            place.gone::<Job>(job, 60).await;
        }
        eventually("no pod is left", std::time::Duration::from_secs(60), async || {
            let pods = place.ours::<Pod>().await;
            if pods.is_empty() { Ok(()) } else { Err(format!("{:?}", pods.iter().map(ResourceExt::name_any).collect::<Vec<_>>())) }
        })
        .await;
        // And no new run comes of it.
        assert_eq!(kept(place).await, (BTreeSet::new(), BTreeSet::new()));
    })
    .await;
}

#[tokio::test]
async fn deleting_a_task_ends_and_removes_its_runs_and_no_others() {
    story(async |place| {
        for task in ["import", "export"] {
            place.script(task, "sleep 300", "{schedule: {cron: ['0 0 1 1 *']}}").await;
            place.armed(task).await;
        }
        place.run("import-1", "import").await;
        place.run("export-1", "export").await;
        place.job_from_cron_job("by-hand", "import").await;
        let adopted = place.run_of_job("by-hand", 30).await.name_any();
        for run in ["import-1", &adopted, "export-1"] {
            place.running(run).await;
        }
        let deleted = place.api::<AutomationTask>().delete("import", &DeleteParams::background()).await;
        deleted.expect("deleting the task");
        place.gone::<CronJob>("import", 30).await;
        until_kept(place, "export-1", "export-1-1").await;
        eventually("only the pod of the other task is left", std::time::Duration::from_secs(60), async || {
            let pods: Vec<String> = place.ours::<Pod>().await.iter().map(ResourceExt::name_any).collect();
            if pods.len() == 1 && pods[0].starts_with("export-1-1") { Ok(()) } else { Err(format!("{pods:?}")) }
        })
        .await;
    })
    .await;
}

/// The next event of a watch.
async fn next<K>(events: &mut BoxStream<'_, kube::Result<WatchEvent<K>>>) -> WatchEvent<K> {
    let event = tokio::time::timeout(std::time::Duration::from_secs(120), events.next()).await.expect("something happens");
    event.expect("the watch goes on").expect("an event")
}

/// Versions of one API server can be compared, also between kinds: the greater is the later.
fn version(object: &impl ResourceExt) -> u64 {
    object.resource_version().and_then(|version| version.parse().ok()).expect("a version")
}

#[tokio::test]
async fn a_job_goes_only_after_its_run_is_recorded() {
    story(async |place| {
        let spec = format!("{{{BOTH_WAYS}, history: {{succeeded: 0, failed: 0}}, schedule: {{cron: ['0 0 1 1 *']}}}}");
        place.script("import", "exit $CODE", &spec).await;
        place.armed("import").await;
        let params = WatchParams::default().timeout(280);
        let (all_runs, all_jobs) = (place.api::<AutomationRun>(), place.api::<Job>());
        let mut runs = all_runs.watch(&params, "0").await.expect("a watch of runs").boxed();
        let mut jobs = all_jobs.watch(&params, "0").await.expect("a watch of Jobs").boxed();
        place.run_with("good", "import", &[("CODE", "0")]).await;
        place.run_with("bad", "import", &[("CODE", "1")]).await;
        place.job_from_cron_job("by-hand", "import").await;
        let mut recorded = BTreeMap::new();
        while recorded.len() < 3 {
            if let WatchEvent::Modified(run) = next(&mut runs).await
                && run.status.as_ref().is_some_and(|status| status.phase == Some(Phase::Finished))
            {
                recorded.entry(run.name_any()).or_insert_with(|| version(&run));
            }
        }
        let mut gone = BTreeMap::new();
        while gone.len() < 3 {
            if let WatchEvent::Deleted(job) = next(&mut jobs).await {
                gone.insert(job.labels().get(label::RUN).cloned().expect("a Job that goes has its run"), version(&job));
            }
        }
        for (run, at) in &gone {
            assert!(recorded.get(run).is_some_and(|recorded| recorded < at), "{run}: recorded at {recorded:?}, its Job gone at {at}");
        }
        until_kept(place, "", "").await;
    })
    .await;
}
