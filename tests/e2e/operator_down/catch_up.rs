//! Slots of the operator's own clock that pass while it is down, by what the task says of such slots.

use jiff::{SignedDuration, Timestamp};
use nightshift::api::{AutomationRun, AutomationTask, Outcome, Trigger};
use serde_json::json;

use super::outage::Outage;
use crate::support::{
    Scene, await_moment, now,
    record::{MINUTE, RAN, told, until_told},
    status,
};

const MISSED_SLOTS: i32 = 3;

/// A task that the operator starts each minute. `schedule` adds to it.
async fn minutely(scene: &Scene, schedule: &str) {
    let spec = format!("{{command: ['true'], schedule: {{cron: ['* * * * *'], exclude: ['2000-01-01'], {schedule}}}}}");
    scene.armed_task("minutely", &spec).await;
}

/// Sits the outage out until three slots have passed, and the last of them for longer than any deadline of these cases.
/// Returns the minute in which the operator is back.
async fn passes(outage: &mut Outage) -> Timestamp {
    outage.begins().await;
    await_moment(outage.slot + MINUTE * (MISSED_SLOTS - 1) + SignedDuration::from_secs(13)).await;
    outage.ends().await;
    let back = now().as_second();
    Timestamp::from_second(back - back % 60).expect("a time")
}

/// What became of the slots from the first in the outage up to the minute in which the operator came back. All are told,
/// and it stays so.
async fn told_through(scene: &Scene, outage: &Outage, back: Timestamp) -> Vec<String> {
    let decided = |task: &AutomationTask| {
        let through = task.status.as_ref().and_then(|status| status.decided_through.as_ref());
        through.is_some_and(|through| through.0 >= back)
    };
    scene.until("minutely", "to have decided what passed", 30, decided).await;
    scene.change::<AutomationTask>("minutely", json!({ "spec": { "schedule": { "suspend": true } } })).await;
    let count = usize::try_from((back.as_second() - outage.slot.as_second()) / 60 + 1).expect("later");
    let seen = told(scene, "minutely", outage.slot, count).await;
    // Runs come before their Jobs.
    let expected: Vec<&str> = seen.iter().map(|text| if text.starts_with("1 runs, 0 Jobs") { RAN } else { text }).collect();
    until_told(scene, "minutely", outage.slot, &expected, 30).await;
    expected.iter().map(|&text| text.to_owned()).collect()
}

/// Asserts that all slots but the last `ran` or, should one have come just then, one more, were missed for this reason.
#[track_caller]
fn assert_missed(told: &[String], reason: &str, ran: usize) {
    let missed = format!("Missed({reason})");
    let first_run = told.iter().position(|text| text == RAN).unwrap_or(told.len());
    assert!(told[..first_run].iter().all(|text| *text == missed), "{told:?}");
    assert!(told[first_run..].iter().all(|text| text == RAN), "{told:?}");
    let ran_now = told.len() - first_run;
    assert!(ran_now == ran || ran_now == ran + 1, "{ran_now} have run: {told:?}");
}

async fn run_of(scene: &Scene, slot: Timestamp) -> AutomationRun {
    scene.finished(&format!("minutely-{}", slot.as_second() / 60), 60).await
}

pub async fn none(scene: Scene, mut outage: Outage) {
    minutely(&scene, "startingDeadlineSeconds: 10").await;
    let back = passes(&mut outage).await;
    let told = told_through(&scene, &outage, back).await;
    assert_missed(&told, "DeadlinePassed", 0);
    let task: AutomationTask = scene.get("minutely").await;
    let status = task.status.expect("a status");
    assert!(status.not_run.iter().any(|group| group.slots >= i64::from(MISSED_SLOTS)), "told together: {:?}", status.not_run);
}

pub async fn latest(scene: Scene, mut outage: Outage) {
    minutely(&scene, "catchUp: {policy: Latest}").await;
    let back = passes(&mut outage).await;
    let told = told_through(&scene, &outage, back).await;
    assert_missed(&told, "Superseded", 1);
    for run in scene.runs().await {
        assert_eq!(status(&scene.finished(&run.metadata.name.expect("a name"), 60).await).outcome, Some(Outcome::Succeeded));
    }
}

pub async fn all_up_to_a_limit(scene: Scene, mut outage: Outage) {
    minutely(&scene, "concurrencyPolicy: Allow, catchUp: {policy: All, limit: 2}").await;
    let back = passes(&mut outage).await;
    let told = told_through(&scene, &outage, back).await;
    assert_missed(&told, "CatchUpLimit", 2);
    let first = told.iter().position(|text| text == RAN).expect("two have run");
    let slot = outage.slot + MINUTE * i32::try_from(first).expect("few");
    let run = run_of(&scene, slot).await;
    assert_eq!((run.spec.trigger, run.spec.scheduled_time.map(|time| time.0)), (Some(Trigger::CatchUp), Some(slot)));
}

pub async fn all_in_turn(scene: Scene, mut outage: Outage) {
    minutely(&scene, "concurrencyPolicy: Queue, catchUp: {policy: All}").await;
    let back = passes(&mut outage).await;
    let told = told_through(&scene, &outage, back).await;
    assert!(told.iter().all(|text| text == RAN), "{told:?}");
    let mut before: Option<AutomationRun> = None;
    for n in 0..MISSED_SLOTS {
        let run = run_of(&scene, outage.slot + MINUTE * n).await;
        assert_eq!(status(&run).outcome, Some(Outcome::Succeeded));
        if let Some(before) = before {
            assert!(status(&run).start_time >= status(&before).completion_time, "one after the other, oldest first");
        }
        before = Some(run);
    }
}

/// A task is edited while nobody is there to see it. The CronJob that it had goes on until the operator takes over.
pub async fn taken_over(scene: Scene, mut outage: Outage) {
    scene.armed_task("minutely", "{command: ['true'], schedule: {cron: ['* * * * *'], concurrencyPolicy: Allow}}").await;
    outage.begins().await;
    scene.change::<AutomationTask>("minutely", json!({ "spec": { "schedule": { "concurrencyPolicy": "Queue" } } })).await;
    await_moment(outage.slot + MINUTE * (MISSED_SLOTS - 1) + SignedDuration::from_secs(13)).await;
    outage.ends().await;
    let back = now().as_second();
    // The slot after the return is the operator's.
    let count = usize::try_from((back - outage.slot.as_second()) / 60 + 2).expect("later");
    until_told(&scene, "minutely", outage.slot, &vec![RAN; count], 90).await;
    let clock = scene.get::<AutomationTask>("minutely").await.status.and_then(|status| status.clock).expect("a clock");
    assert_eq!(clock.kind, nightshift::api::ClockKind::Operator, "{}", clock.reason);
    scene.delete::<AutomationTask>("minutely").await;
}
