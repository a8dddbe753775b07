//! Edits of a task: they change its CronJob and what runs next, and neither what runs nor what is past.

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use kube::ResourceExt;
use nightshift::api::{AutomationTask, Outcome, label};
use serde_json::json;

use super::in_a_scene;
use crate::support::{Scene, await_second, now, status};

#[tokio::test]
async fn changes_the_cron_job_and_leaves_a_running_job_alone() {
    in_a_scene(async |scene| {
        let spec = "{script: {source: 'echo version=$VERSION; if test $VERSION = 1; then sleep 12; fi'}, env: [{name: VERSION, value: '1'}], schedule: {cron: ['0 2 * * *']}}";
        scene.armed_task("nightly", spec).await;
        scene.job_from_cron_job("first", "nightly").await;
        let running = scene.pod_running("first", 60).await;
        let before: Job = scene.get("first").await;

        let edit = json!({ "spec": { "env": [{ "name": "VERSION", "value": "2" }], "timeouts": { "attemptSeconds": 77 } } });
        scene.change::<AutomationTask>("nightly", edit).await;
        scene.armed("nightly").await;
        let cron_job: CronJob = scene.get("nightly").await;
        let template = cron_job.spec.as_ref().and_then(|s| s.job_template.spec.as_ref()).and_then(|s| s.template.spec.as_ref());
        assert_eq!(template.and_then(|pod| pod.active_deadline_seconds), Some(77));
        scene.job_from_cron_job("second", "nightly").await;

        let runs = (scene.run_of_job("first", 30).await.name_any(), scene.run_of_job("second", 30).await.name_any());
        let (first, second) = (scene.finished(&runs.0, 90).await, scene.finished(&runs.1, 90).await);
        let said = async |job: &str| scene.log(&scene.pods(job).await[0]).await;
        assert_eq!((said("first").await.trim(), said("second").await.trim()), ("version=1", "version=2"));
        for (run, generation) in [(&first, 1), (&second, 2)] {
            assert_eq!((status(run).outcome, status(run).task_generation), (Some(Outcome::Succeeded), Some(generation)));
        }
        let after: Job = scene.get("first").await;
        assert_eq!(after.spec, before.spec, "the running Job is as it was");
        assert_eq!(scene.pods("first").await[0].uid(), running.uid(), "and so is its pod");
    })
    .await;
}

/// The slots that a Job was started for.
async fn slots_run(scene: &Scene) -> Vec<Timestamp> {
    let jobs = scene.ours::<Job>().await;
    let slots = jobs.iter().filter_map(|job| job.annotations().get(label::CRONJOB_SLOT));
    slots.map(|slot| slot.parse().expect("a time")).collect()
}

async fn first_job(scene: &Scene, seconds: u64) -> Vec<Timestamp> {
    scene.job_that("a slot has come", seconds, |_| true).await;
    slots_run(scene).await
}

fn minute(slot: Timestamp) -> i8 {
    slot.to_zoned(TimeZone::UTC).minute()
}

const MINUTE: SignedDuration = SignedDuration::from_secs(60);

#[tokio::test]
async fn to_another_line_does_not_run_a_slot_that_lies_before_it() {
    in_a_scene(async |scene| {
        await_second(40..55).await;
        scene.armed_task("nightly", "{command: ['true'], schedule: {cron: ['0 0 1 1 *']}}").await;
        // Within the deadline of the slot that has just passed: the CronJob controller would still start it.
        let slot = await_second(18..30).await;
        let line = format!("{},{} * * * *", minute(slot), minute(slot + MINUTE));
        scene.change::<AutomationTask>("nightly", json!({ "spec": { "schedule": { "cron": [line] } } })).await;
        scene.armed("nightly").await;
        assert_eq!(first_job(&scene, 80).await, [slot + MINUTE], "only the slot that lies after the edit has run");
    })
    .await;
}

#[tokio::test]
async fn that_ends_a_pause_does_not_run_a_slot_of_it() {
    in_a_scene(async |scene| {
        await_second(40..55).await;
        let suspend = |suspend: bool| json!({ "spec": { "schedule": { "suspend": suspend } } });
        // One that never ran, and one that ran before it was paused.
        scene.armed_task("fresh", "{command: ['true'], schedule: {cron: ['* * * * *'], suspend: true}}").await;
        scene.armed_task("paused", "{command: ['true'], schedule: {cron: ['* * * * *']}}").await;
        scene.change::<AutomationTask>("paused", suspend(true)).await;
        let paused = scene.armed("paused").await;
        assert_eq!(paused.status.and_then(|status| status.next), None, "nothing is due in a pause");
        let slot = await_second(18..30).await;
        assert_eq!(slots_run(&scene).await, []);
        for task in ["fresh", "paused"] {
            scene.change::<AutomationTask>(task, suspend(false)).await;
            scene.armed(task).await;
        }
        assert!(now() < slot + MINUTE, "resumed in the minute of the slot");
        for task in ["fresh", "paused"] {
            let job = scene.job_that("the next slot has come", 80, |job| job.labels()[label::TASK] == task).await;
            assert_eq!(job.annotations()[label::CRONJOB_SLOT].parse().ok(), Some(slot + MINUTE), "{task}: no slot of the pause");
        }
    })
    .await;
}

#[tokio::test]
async fn of_how_late_a_slot_may_start_does_not_run_a_slot_that_was_dropped_before() {
    in_a_scene(async |scene| {
        await_second(30..50).await;
        let spec = "{script: {source: 'sleep 88'}, schedule: {cron: ['* * * * *'], startingDeadlineSeconds: 10}}";
        scene.armed_task("nightly", spec).await;
        let first = first_job(&scene, 80).await;
        // The next slot comes while the first run goes on, and is dropped after ten seconds.
        await_second(40..59).await;
        let second = await_second(13..24).await;
        assert_eq!(first, [second - MINUTE]);
        scene.change::<AutomationTask>("nightly", json!({ "spec": { "schedule": { "startingDeadlineSeconds": 600 } } })).await;
        scene.armed("nightly").await;
        scene
            .job_that("the slot after the edit has come", 120, |job| {
                job.annotations()[label::CRONJOB_SLOT].parse().is_ok_and(|slot: Timestamp| slot > second)
            })
            .await;
        assert_eq!(slots_run(&scene).await, [second - MINUTE, second + MINUTE], "and not the one that was dropped");
    })
    .await;
}
