//! A task that changes from one clock to the other around a slot: none is lost, and none is run twice.

use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use nightshift::api::{AutomationTask, ClockKind};
use serde_json::json;

use crate::{
    support::{
        Scene, await_moment, await_second, now,
        record::{MINUTE, RAN, until_told},
    },
    with_operator::place::story,
};

/// Seconds before or after a slot at which a task is edited.
const MOMENTS: [i64; 6] = [-9, -3, -1, 0, 2, 6];

async fn policy(scene: &Scene, task: &str, policy: &str) {
    scene.change::<AutomationTask>(task, json!({ "spec": { "schedule": { "concurrencyPolicy": policy } } })).await;
}

/// A task that is edited at the first slot, and again at the second.
async fn forth_and_back(scene: &Scene, first: &str, then: &str, offset: i64, slot: Timestamp) {
    let task = format!("from-{}-at-{}", first.to_lowercase(), offset + 10);
    scene.armed_task(&task, &format!("{{command: ['true'], schedule: {{cron: ['* * * * *'], concurrencyPolicy: {first}}}}}")).await;
    assert!(now() < slot - SignedDuration::from_secs(10), "the task was to be armed in time");
    let offset = SignedDuration::from_secs(offset);
    await_moment(slot + offset).await;
    policy(scene, &task, then).await;
    await_moment(slot + MINUTE + offset).await;
    policy(scene, &task, first).await;
    until_told(scene, &task, slot, &[RAN, RAN], 50).await;
    let kind = if first == "Allow" { ClockKind::CronJob } else { ClockKind::Operator };
    scene
        .until(&task, "to be back at its first clock", 30, move |task: &AutomationTask| {
            let clock = task.status.as_ref().and_then(|status| status.clock.as_ref());
            clock.is_some_and(|clock| clock.kind == kind && clock.since.is_some() && !clock.reason.starts_with("until"))
        })
        .await;
    // The slot after that, too, is run, and the two before have got no second Job meanwhile.
    until_told(scene, &task, slot, &[RAN, RAN, RAN], 80).await;
}

#[tokio::test]
async fn from_kubernetes_to_the_operator_and_back() {
    story(async |place| {
        let slot = await_second(30..40).await + MINUTE;
        join_all(MOMENTS.map(|moment| forth_and_back(place, "Allow", "Queue", moment, slot))).await;
    })
    .await;
}

#[tokio::test]
async fn from_the_operator_to_kubernetes_and_back() {
    story(async |place| {
        let slot = await_second(30..40).await + MINUTE;
        join_all(MOMENTS.map(|moment| forth_and_back(place, "Queue", "Allow", moment, slot))).await;
    })
    .await;
}
