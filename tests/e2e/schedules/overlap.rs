//! A slot that is due while the run of an earlier one goes on.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt;
use nightshift::api::{AutomationTask, Outcome, Phase, label};

use super::in_a_scene;
use crate::support::status;

fn slot(job: &Job) -> Timestamp {
    job.annotations()[label::CRONJOB_SLOT].parse().expect("a time")
}

const MINUTE: SignedDuration = SignedDuration::from_secs(60);

#[tokio::test]
async fn is_skipped_under_forbid_and_not_run_late() {
    in_a_scene(async |scene| {
        // The first run goes on past the next slot and its deadline, and ends well before the slot after it.
        let spec = "{script: {source: 'sleep 78'}, schedule: {cron: ['* * * * *'], startingDeadlineSeconds: 10}}";
        scene.armed_task("minutely", spec).await;
        let first = scene.job_that("a first slot has come", 90, |_| true).await;
        let run = scene.finished(&first.name_any(), 130).await;
        assert_eq!(status(&run).outcome, Some(Outcome::Succeeded));
        let skipped = slot(&first) + MINUTE;
        let ended = status(&run).completion_time.expect("an end").0;
        assert!(ended > skipped + SignedDuration::from_secs(10), "ended {ended}, past the deadline of {skipped}");
        let next = scene.job_that("the slot after it has come", 90, |job| slot(job) > slot(&first)).await;
        assert_eq!(slot(&next), skipped + MINUTE, "the slot that could not start was dropped");
        let slots: Vec<_> = scene.ours::<Job>().await.iter().map(slot).collect();
        assert_eq!(slots, [slot(&first), slot(&next)]);
        scene.delete::<AutomationTask>("minutely").await;
    })
    .await;
}

#[tokio::test]
async fn takes_the_place_of_the_earlier_run_under_replace() {
    in_a_scene(async |scene| {
        let spec = "{script: {source: 'sleep 600'}, schedule: {cron: ['* * * * *'], concurrencyPolicy: Replace}}";
        scene.armed_task("minutely", spec).await;
        let first = scene.job_that("a first slot has come", 90, |_| true).await;
        let started = scene.until(&first.name_any(), "to run", 60, |run| status(run).phase == Some(Phase::Running)).await;
        assert_eq!(started.spec.scheduled_time.map(|time| time.0), Some(slot(&first)));

        let replaced = scene.finished(&first.name_any(), 90).await;
        let told = status(&replaced);
        assert_eq!((told.outcome, told.reason.as_deref()), (Some(Outcome::Cancelled), Some("Replaced")), "{told:?}");
        assert!(told.message.is_some_and(|message| message.contains("concurrencyPolicy Replace")));
        let second = scene.job_that("the next slot has come", 30, |job| slot(job) > slot(&first)).await;
        assert_eq!(slot(&second), slot(&first) + MINUTE);
        scene.until(&second.name_any(), "to run", 60, |run| status(run).phase == Some(Phase::Running)).await;
        assert!(scene.find::<Job>(&first.name_any()).await.is_none());
        scene.delete::<AutomationTask>("minutely").await;
    })
    .await;
}
