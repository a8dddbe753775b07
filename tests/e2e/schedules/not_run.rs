//! Slots of a CronJob that bring no run: each is told, and why.

use k8s_openapi::api::core::v1::ResourceQuota;
use nightshift::api::AutomationTask;
use serde_json::json;

use crate::{
    support::{
        await_moment, await_second,
        record::{MINUTE, RAN, until_told},
    },
    with_operator::place::{Place, says, story},
};

const SKIPPED: &str = "Skipped(Suspended)";

async fn suspend(place: &Place, task: &str, suspend: bool) {
    place.change::<AutomationTask>(task, json!({ "spec": { "schedule": { "suspend": suspend } } })).await;
}

#[tokio::test]
async fn a_slot_whose_job_the_quota_refuses_is_missed_with_a_warning_that_says_so() {
    story(async |place| {
        place.given("{apiVersion: v1, kind: ResourceQuota, metadata: {name: no-jobs}, spec: {hard: {count/jobs.batch: '0'}}}").await;
        let counts =
            |quota: &ResourceQuota| quota.status.as_ref().and_then(|status| status.used.as_ref()).is_some_and(|used| !used.is_empty());
        place.until::<ResourceQuota, _>("no-jobs", "to count", 30, counts).await;
        let slot = await_second(15..40).await + MINUTE;
        place.script("import", "exit 0", "{schedule: {cron: ['* * * * *'], startingDeadlineSeconds: 10}}").await;
        place.armed("import").await;
        until_told(place, "import", slot, &["Missed(DeadlinePassed)"], 150).await;
        let told = place.events("import", "Missed").await.join("\n");
        says(&told, &["Warning Missed the slot of", &slot.to_string(), "brought no run", "exceeded quota: no-jobs"]);
        place.kubectl(&["delete", "resourcequota", "no-jobs"]).await;
        until_told(place, "import", slot, &["Missed(DeadlinePassed)", RAN], 150).await;
        suspend(place, "import", true).await;
    })
    .await;
}

#[tokio::test]
async fn a_slot_that_forbid_held_back_until_its_deadline_is_skipped() {
    story(async |place| {
        let slot = await_second(15..40).await + MINUTE;
        // It goes on past the next slot and its deadline, and ends well before the slot after it.
        place.script("import", "sleep 78", "{schedule: {cron: ['* * * * *'], startingDeadlineSeconds: 10}}").await;
        place.armed("import").await;
        until_told(place, "import", slot, &[RAN, "Skipped(Forbid)", RAN], 260).await;
        suspend(place, "import", true).await;
    })
    .await;
}

#[tokio::test]
async fn a_slot_of_a_pause_is_skipped_and_those_before_and_after_it_are_what_they_were() {
    story(async |place| {
        let slot = await_second(15..40).await + MINUTE;
        place.script("import", "exit 0", "{schedule: {cron: ['* * * * *']}}").await;
        place.armed("import").await;
        until_told(place, "import", slot, &[RAN], 120).await;
        await_second(15..40).await;
        suspend(place, "import", true).await;
        let paused = slot + MINUTE;
        await_moment(paused + MINUTE / 4).await;
        suspend(place, "import", false).await;
        until_told(place, "import", slot, &[RAN, SKIPPED, RAN], 150).await;
        suspend(place, "import", true).await;
    })
    .await;
}
