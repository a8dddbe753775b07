//! The operator's clock: every slot of the schedule comes to one end, and to one only.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    NAMESPACE,
    history::expect_none,
    people::Act,
    scenario::{Scenario, TASK, start},
    script::{End, Life, OnTerm},
    strategies::{clocked_scenario, config},
    world::World,
};
use crate::{
    api::{AutomationTaskStatus, ClockKind, ConcurrencyPolicy, Outcome},
    schedule::Schedule,
};

/// The last status that the task had while it had a schedule.
pub fn last_scheduled(world: &World) -> AutomationTaskStatus {
    let statuses = world.cluster.tasks.log().iter().filter(|entry| entry.object.spec.schedule.is_some());
    statuses.filter_map(|entry| entry.object.status.clone()).next_back().unwrap_or_default()
}

/// The last status that the task had.
pub fn last_status(world: &World) -> AutomationTaskStatus {
    world.cluster.tasks.log().iter().filter_map(|entry| entry.object.status.clone()).next_back().unwrap_or_default()
}

/// What is on record of each slot: runs by name, and reasons why there was none.
fn record(world: &World, schedule: &Schedule) -> BTreeMap<Timestamp, Vec<String>> {
    let mut record: BTreeMap<Timestamp, Vec<String>> = BTreeMap::new();
    for run in world.all_runs() {
        if let Some(slot) = run.spec.scheduled_time.as_ref().filter(|_| run.spec.triggered_by().is_scheduled()) {
            record.entry(slot.0).or_default().push(run.name_any());
        }
    }
    for group in last_status(world).not_run {
        let from = group.first_slot.0 - SignedDuration::from_secs(1);
        let slots = schedule.oldest(10_000, from, group.last_slot.0);
        // A group may reach over slots that were run: it tells how many were not.
        let without: Vec<Timestamp> = slots.into_iter().filter(|slot| !record.contains_key(slot)).collect();
        if i64::try_from(without.len()).ok() != Some(group.slots) {
            record.entry(group.first_slot.0).or_default().push(format!("counted {} of {}", group.slots, without.len()));
        }
        for slot in without {
            record.entry(slot).or_default().push(format!("{:?}({})", group.outcome, group.reason));
        }
    }
    record
}

fn schedule(world: &World) -> Schedule {
    let written = world.scenario.task().spec.schedule.unwrap_or_default();
    Schedule::parse(&written, NAMESPACE, TASK).expect("a schedule")
}

/// What became of each slot that is decided, in order.
pub fn told(world: &World) -> Vec<(i64, String)> {
    let record = record(world, &schedule(world));
    let minutes = |slot: &Timestamp| slot.as_second() / 60 - start().as_second() / 60 - 1;
    record.iter().map(|(slot, what)| (minutes(slot), what.join(" and "))).collect()
}

fn outcome(world: &World, minute: i64) -> Option<Outcome> {
    let slot = start().as_second() / 60 + 1 + minute;
    world.run_status(&format!("{TASK}-{slot}")).outcome
}

/// A task that the operator alone can keep: every two minutes, beginning in half a minute.
fn clocked(schedule: &Value, life: Life) -> Scenario {
    let mut spec =
        json!({ "schedule": { "cron": ["*/2 * * * *"], "daylightSaving": { "gap": "RunAfter" } }, "timeouts": { "attemptSeconds": 3000 } });
    for (key, value) in schedule.as_object().cloned().unwrap_or_default() {
        spec["schedule"][key] = value;
    }
    Scenario::new(spec, vec![life])
}

pub fn runs_and(told: &[(i64, &str)]) -> Vec<(i64, String)> {
    let run = |minute: i64| format!("{TASK}-{}", start().as_second() / 60 + 1 + minute);
    told.iter().map(|(minute, what)| (*minute, if what.is_empty() { run(*minute) } else { (*what).to_owned() })).collect()
}

#[test]
fn each_slot_gets_its_run() {
    let world = World::ended(&clocked(&json!({}), Life::exit(5, 0)).during(400));
    assert_eq!(told(&world), runs_and(&[(0, ""), (2, ""), (4, ""), (6, "")]));
    assert_eq!(outcome(&world, 4), Some(Outcome::Succeeded));
    let status = last_scheduled(&world);
    assert_eq!(status.clock.map(|clock| clock.kind), Some(ClockKind::Operator));
    assert!(world.cluster.cron_jobs.births().next().is_none(), "no CronJob was ever made");
}

#[test]
fn under_forbid_a_slot_starts_late_up_to_its_deadline_and_is_skipped_after_it() {
    let policy = json!({ "startingDeadlineSeconds": 60 });
    let late = World::ended(&clocked(&policy, Life::exit(150, 0)).during(400));
    assert_eq!(
        told(&late),
        runs_and(&[(0, ""), (2, ""), (4, "Skipped(Forbid)"), (6, "")]),
        "a run of 150 s lets the next slot start half a minute late"
    );
    let skipped = World::ended(&clocked(&policy, Life::exit(200, 0)).during(500));
    assert_eq!(told(&skipped), runs_and(&[(0, ""), (2, "Skipped(Forbid)"), (4, ""), (6, "Skipped(Forbid)")]));
}

#[test]
fn under_queue_slots_wait_for_their_turn_in_order() {
    let world = World::ended(&clocked(&json!({ "concurrencyPolicy": "Queue" }), Life::exit(170, 0)).during(400));
    assert_eq!(told(&world), runs_and(&[(0, ""), (2, ""), (4, ""), (6, "")]));
    let jobs: Vec<i64> = world.cluster.jobs.births().map(|entry| entry.at.as_second() - start().as_second() - 30).collect();
    assert!(jobs.windows(2).all(|two| two[1] - two[0] >= 170), "{jobs:?}");
    assert!(
        world
            .cluster
            .runs
            .log()
            .iter()
            .any(|entry| { entry.object.status.as_ref().is_some_and(|status| status.phase == Some(crate::api::Phase::Queued)) })
    );
}

#[test]
fn under_queue_no_more_than_twenty_wait() {
    let every_minute = json!({ "concurrencyPolicy": "Queue", "cron": ["* * * * *"] });
    let world = World::ended(&clocked(&every_minute, Life::exit(2900, 0)).during(1800));
    let told = told(&world);
    assert_eq!(told.iter().filter(|(_, what)| what == "Skipped(QueueFull)").count(), told.len() - 21, "{told:?}");
}

#[test]
fn under_replace_the_later_slot_stops_the_earlier_and_waits_for_its_end() {
    let life = Life::exit(500, 0).on_term(OnTerm::Exits { after: 3, code: 143 });
    let world = World::ended(&clocked(&json!({ "concurrencyPolicy": "Replace" }), life).during(300));
    let status = world.run_status(&format!("{TASK}-{}", start().as_second() / 60 + 1));
    assert_eq!((status.outcome, status.reason.as_deref()), (Some(Outcome::Cancelled), Some("Replaced")));
    assert_eq!(told(&world).len(), 3);
}

#[test]
fn what_was_due_while_the_operator_was_down_is_caught_up_as_the_policy_says() {
    for (policy, expected) in [
        (
            json!({ "startingDeadlineSeconds": 60 }),
            vec![(0, ""), (2, "Missed(DeadlinePassed)"), (4, "Missed(DeadlinePassed)"), (6, "Missed(DeadlinePassed)"), (8, "")],
        ),
        (
            json!({ "catchUp": { "policy": "Latest" } }),
            vec![(0, ""), (2, "Missed(Superseded)"), (4, "Missed(Superseded)"), (6, ""), (8, "")],
        ),
        (json!({ "concurrencyPolicy": "Allow", "catchUp": { "policy": "All" } }), vec![(0, ""), (2, ""), (4, ""), (6, ""), (8, "")]),
        (
            json!({ "concurrencyPolicy": "Queue", "catchUp": { "policy": "All", "limit": 2 } }),
            vec![(0, ""), (2, "Missed(CatchUpLimit)"), (4, ""), (6, ""), (8, "")],
        ),
    ] {
        // Away from the first minute until just before the eighth.
        let scenario = clocked(&policy, Life::exit(5, 0)).with(90, Act::StopOperator(410)).during(560);
        assert_eq!(told(&World::ended(&scenario)), runs_and(&expected), "{policy}");
    }
}

#[test]
fn a_year_of_downtime_is_accounted_for_in_one_look() {
    let year = 365 * 86_400;
    let scenario = clocked(&json!({ "cron": ["* * * * *"], "catchUp": { "policy": "Latest" } }), Life::exit(5, 0))
        .with(90, Act::StopOperator(year))
        .during(year + 200);
    let world = World::ended(&scenario);
    let not_run = last_scheduled(&world).not_run;
    let counted: i64 = not_run.iter().map(|group| group.slots).sum();
    assert_eq!(counted, 365 * 24 * 60, "{not_run:?}");
    assert!(world.operator.writes.len() < 80, "{}", world.operator.writes.len());
}

#[test]
fn slots_of_a_pause_are_skipped_under_both_clocks_and_an_edit_runs_no_slot_before_it() {
    for clock in [json!({}), json!({ "daylightSaving": null })] {
        let mut scenario = clocked(&clock, Life::exit(5, 0)).with(100, Act::Suspend(true)).with(520, Act::Suspend(false)).during(700);
        if let Some(schedule) = scenario.spec["schedule"].as_object_mut() {
            schedule.retain(|_, value| !value.is_null());
        }
        let skipped = "Skipped(Suspended)";
        let world = World::ended(&scenario);
        assert_eq!(told(&world), runs_and(&[(0, ""), (2, skipped), (4, skipped), (6, skipped), (8, skipped), (10, "")]), "{clock}");
    }
    // By hand, for a time: it ends by itself.
    let world = World::ended(&clocked(&json!({}), Life::exit(5, 0)).with(100, Act::PauseFor(300)).during(600));
    let skipped = "Skipped(Suspended)";
    assert_eq!(told(&world), runs_and(&[(0, ""), (2, skipped), (4, skipped), (6, skipped), (8, "")]));
    let world = World::ended(
        &clocked(&json!({ "startingDeadlineSeconds": 3600 }), Life::exit(5, 0))
            .with(100, Act::Reschedule("*/3 * * * *".to_owned()))
            .during(500),
    );
    let slots: Vec<i64> = told(&world).iter().map(|(minute, _)| *minute).collect();
    assert!(!slots.contains(&1), "{slots:?}");
}

#[test]
fn changing_the_clock_loses_no_slot_and_runs_none_twice() {
    // At every moment around a slot, in both directions.
    for second in (115..148).step_by(8).chain(148..153).chain([155, 159]) {
        for first in [json!({}), json!({ "daylightSaving": null })] {
            let mut scenario = clocked(&first, Life::exit(5, 0)).during(560);
            let to_operator = first != json!({});
            if let Some(schedule) = scenario.spec["schedule"].as_object_mut() {
                schedule.retain(|_, value| !value.is_null());
                if !to_operator {
                    schedule.remove("daylightSaving");
                    schedule.insert("exclude".to_owned(), json!(["2000-01-01"]));
                }
            }
            let scenario = scenario.with(second, Act::NeedOperator(to_operator));
            let world = World::ended(&scenario);
            assert_eq!(
                told(&world),
                runs_and(&[(0, ""), (2, ""), (4, ""), (6, ""), (8, "")]),
                "changed {second} s after the beginning: {first}"
            );
        }
    }
}

#[test]
fn changing_the_clock_and_back_at_once_loses_no_slot() {
    for second in [140, 146, 149, 150, 151, 155] {
        let native =
            Scenario::new(json!({ "schedule": { "cron": ["*/2 * * * *"], "concurrencyPolicy": "Allow" } }), vec![Life::exit(5, 0)]);
        let scenario = native.with(second, Act::NeedOperator(true)).with(second + 4, Act::NeedOperator(false)).during(420);
        let world = World::ended(&scenario);
        assert_eq!(told(&world), runs_and(&[(0, ""), (2, ""), (4, ""), (6, "")]), "changed {second} s after the beginning");
    }
}

#[test]
fn a_pause_that_ends_together_with_a_change_of_clocks_runs_no_slot_of_it() {
    for seed in 0..6 {
        let spec = json!({ "schedule": { "cron": ["*/2 * * * *"], "catchUp": { "policy": "Latest" }, "suspend": true } });
        let scenario = Scenario::new(spec, vec![Life::exit(5, 0)]);
        let scenario = scenario.with(400, Act::NeedOperator(true)).with(400, Act::Suspend(false)).during(560);
        let world = World::ended(&Scenario { seed, ..scenario });
        let ran: Vec<i64> = told(&world).into_iter().filter(|(_, what)| what.starts_with(TASK)).map(|(minute, _)| minute).collect();
        assert_eq!(ran, [8], "seed {seed}");
    }
}

#[test]
fn what_is_due_after_a_pause_that_ended_while_the_operator_was_down_is_caught_up() {
    let all = json!({ "concurrencyPolicy": "Allow", "catchUp": { "policy": "All" } });
    // Paused until just after the fourth minute, which is 270 s after the beginning.
    let scenario = clocked(&all, Life::exit(5, 0)).with(100, Act::PauseFor(175)).with(110, Act::StopOperator(400)).during(640);
    let skipped = "Skipped(Suspended)";
    assert_eq!(told(&World::ended(&scenario)), runs_and(&[(0, ""), (2, skipped), (4, skipped), (6, ""), (8, ""), (10, "")]));
}

#[test]
fn a_queue_that_may_run_at_once_does() {
    let scenario =
        clocked(&json!({ "concurrencyPolicy": "Queue" }), Life::exit(1000, 0)).with(400, Act::Policy(ConcurrencyPolicy::Allow)).during(420);
    let world = World::ended(&scenario);
    let late: Vec<i64> =
        world.cluster.jobs.births().map(|entry| entry.at.as_second() - start().as_second()).filter(|at| *at < 450).collect();
    assert_eq!(late.len(), 4, "{late:?}");
}

#[test]
fn what_waits_in_the_queue_runs_as_it_was_when_its_slot_came() {
    let scenario = clocked(&json!({ "concurrencyPolicy": "Queue" }), Life::of(End::Exit { after: 300, code: 0 }))
        .with(200, Act::ChangeImage)
        .during(300);
    let world = World::ended(&scenario);
    let image = |entry: &super::store::Entry<k8s_openapi::api::batch::v1::Job>| {
        let pod = entry.object.spec.as_ref().and_then(|spec| spec.template.spec.clone()).unwrap_or_default();
        pod.containers.first().and_then(|container| container.image.clone()).unwrap_or_default()
    };
    let images: Vec<String> = world.cluster.jobs.births().map(image).collect();
    assert_eq!(images, ["registry/x:1", "registry/x:1", "registry/x:2"], "the slot after two minutes came before the edit");
}

proptest! {
    #![proptest_config(config(6))]

    #[test]
    fn every_slot_comes_to_one_end_whatever_goes_wrong(scenario in clocked_scenario()) {
        let world = World::ended(&scenario);
        let schedule = schedule(&world);
        let record = record(&world, &schedule);
        let through = last_scheduled(&world).decided_through.map_or(start(), |time| time.0);
        let due = schedule.oldest(1000, start(), through);
        let wrong = due.iter().filter(|slot| record.get(slot).is_none_or(|what| what.len() != 1));
        expect_none(&world, wrong.map(|slot| (*slot, record.get(slot).cloned())));
        expect_none(&world, record.keys().filter(|slot| !schedule.is_slot(**slot)));
    }
}
