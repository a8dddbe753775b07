//! Objectives in the model world: what is on status is what a recount of all runs that ever were gives, and of all slots that
//! were ever told to be missed.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    NAMESPACE,
    history::expect_none,
    people::Act,
    scenario::{Scenario, TASK, WORKFLOW, start},
    script::Life,
    slots::last_scheduled,
    strategies::{clocked_scenario, config, native_scenario},
    world::World,
};
use crate::{
    api::{self, AutomationRun, BadCause, ClockStatus, NotRun, Outcome, Slo, SloState, SloStatus, condition},
    ledger,
    schedule::Schedule,
    slo::{Verdict, due, judge},
};

/// The schedules that a status knows of.
fn schedules(written: Option<&api::Schedule>, clock: Option<&ClockStatus>) -> Vec<Schedule> {
    let of_clock = clock.and_then(|clock| clock.schedule.as_ref());
    let previous = clock.and_then(|clock| clock.previous.as_ref()).map(|previous| &previous.schedule);
    let written = [written, of_clock, previous].into_iter().flatten();
    written.filter_map(|written| Schedule::parse(written, NAMESPACE, TASK).ok()).collect()
}

/// The slots of a group. None where it cannot be told which they are.
fn slots_of(group: &NotRun, schedules: &[Schedule], have_run: &BTreeSet<Timestamp>) -> Option<Vec<Timestamp>> {
    let from = group.first_slot.0 - SignedDuration::from_secs(1);
    let fits = |slots: &Vec<Timestamp>| i64::try_from(slots.len()) == Ok(group.slots);
    let all = schedules.iter().map(|schedule| schedule.oldest(10_000, from, group.last_slot.0));
    let without = all.clone().map(|slots| slots.into_iter().filter(|slot| !have_run.contains(slot)).collect());
    without.chain(all).find(fits)
}

/// Counts the slots of a task by all that ever happened, as far as the status says that they are counted for good. None where
/// it cannot be told.
fn recount(world: &World, slo: &Slo, told: &SloStatus) -> Option<(i64, i64)> {
    let through = told.folded_through.as_ref().map_or(Timestamp::MIN, |through| through.0);
    let counts = |slot: Timestamp| slot <= through && told.open.iter().all(|open| open.slot.0 != slot);
    let runs = world.all_runs();
    let of_slots = runs.iter().filter(|run| run.spec.task_name() == TASK).filter_map(|run| Some((run.spec.schedule_slot()?, run)));
    let of_slots: BTreeMap<Timestamp, _> = of_slots.collect();
    let have_run = of_slots.keys().copied().collect();
    let mut missed = BTreeSet::new();
    for entry in world.cluster.tasks.log() {
        let Some(status) = &entry.object.status else { continue };
        let schedules = schedules(entry.object.spec.schedule.as_ref(), status.clock.as_ref());
        for group in status.not_run.iter().filter(|group| group.outcome == Outcome::Missed) {
            missed.extend(slots_of(group, &schedules, &have_run)?);
        }
    }
    let (mut good, mut bad) = (0_usize, missed.iter().filter(|slot| counts(**slot)).count());
    for (slot, run) in of_slots.into_iter().filter(|(slot, _)| counts(*slot) && !missed.contains(slot)) {
        match judge(run, due(slo, slot, &TimeZone::UTC)) {
            Verdict::Good => good += 1,
            Verdict::Bad(..) => bad += 1,
            Verdict::Neither | Verdict::Open => {}
        }
    }
    Some((i64::try_from(good).unwrap_or(0), i64::try_from(bad).unwrap_or(0)))
}

/// What is counted for good, whatever is late just now.
fn folded(told: &SloStatus) -> (i64, i64) {
    let bits: i64 = told.verdicts.iter().flat_map(|verdicts| &verdicts.bits.0).map(|byte| i64::from(byte.count_ones())).sum();
    let count = told.verdicts.as_ref().map_or(0, |verdicts| verdicts.count);
    let days = told.days.iter().fold((0, 0), |sum, day| (sum.0 + day.good, sum.1 + day.bad));
    (bits + days.0, count - bits + days.1)
}

fn holds(scenario: &Scenario) {
    let world = World::ended(scenario);
    let slo = scenario.task().spec.slo.unwrap_or_default();
    let Some(told) = last_scheduled(&world).slo else {
        expect_none(&world, ["the objective is not told"]);
        return;
    };
    let Some(expected) = recount(&world, &slo, &told) else { return };
    expect_none(&world, (folded(&told) != expected).then(|| format!("{expected:?} were good and bad, and not {told:#?}")));
}

fn with_objective(mut scenario: Scenario, slo: &Value, history: i32) -> Scenario {
    scenario.spec["slo"] = slo.clone();
    scenario.spec["history"] = json!({ "succeeded": history, "failed": history });
    scenario
}

fn objective() -> impl Strategy<Value = Value> {
    let within = prop::option::of(prop::sample::select(vec![5, 30, 150]));
    (any::<bool>(), within).prop_map(|(by_days, within)| {
        let mut slo = if by_days { json!({ "windowDays": 30 }) } else { json!({ "windowRuns": 10_000 }) };
        slo["objective"] = json!("99.5%");
        slo["finishWithinSeconds"] = json!(within);
        slo
    })
}

proptest! {
    #![proptest_config(config(10))]

    #[test]
    fn under_the_operators_clock_each_slot_is_counted_once(scenario in clocked_scenario(), slo in objective(), history in 0..3) {
        holds(&with_objective(scenario, &slo, history));
    }

    #[test]
    fn under_kubernetes_clock_each_slot_is_counted_once(scenario in native_scenario(), slo in objective(), history in 0..3) {
        holds(&with_objective(scenario, &slo, history));
    }
}

/// Every two minutes a run that takes five seconds: good, failed, failed, and good from then on.
fn up_and_down() -> Scenario {
    let spec = json!({
        "schedule": { "cron": ["*/2 * * * *"] },
        "slo": { "objective": "75%", "windowRuns": 4, "finishWithinSeconds": 60 },
        "history": { "succeeded": 1, "failed": 1 },
    });
    let mut scenario = Scenario::new(spec, vec![Life::exit(5, 0)]).during(1000);
    // A run takes its life by its name.
    let script = &mut scenario.script.0;
    script.resize(997, vec![Life::exit(5, 0)]);
    for minute in [2, 4] {
        let name = format!("{TASK}-{}", start().as_second() / 60 + 1 + minute);
        script[usize::try_from(super::hash(&name) % 997).unwrap_or(0)] = vec![Life::exit(5, 1)];
    }
    scenario
}

/// The states that the task went through.
fn states(world: &World) -> Vec<(SloState, i64)> {
    let statuses = world.cluster.tasks.log().iter().filter_map(|entry| entry.object.status.as_ref()?.slo.as_ref());
    let mut states: Vec<(SloState, i64)> = statuses.map(|slo| (slo.state, slo.bad)).collect();
    states.dedup();
    states
}

#[test]
fn a_budget_burns_and_comes_back_as_the_window_moves_on() {
    use SloState::{AtRisk, Breached, InsufficientData, Met};
    let world = World::ended(&up_and_down());
    assert_eq!(states(&world), [(InsufficientData, 0), (Met, 0), (AtRisk, 1), (Breached, 2), (AtRisk, 1), (Met, 0)]);
    let ready = world.cluster.tasks.log().iter().filter_map(|entry| entry.object.status.clone());
    let unready = ready.filter(|status| condition::find(&status.conditions, condition::READY).is_some_and(|ready| ready.status != "True"));
    assert_eq!(unready.count(), 0, "how runs end is no matter of Ready");
    let left = world.cluster.runs.iter().filter(|run| ledger::is_finished(run)).count();
    assert!(left <= 2, "{left} runs are kept");
    let after: Vec<_> = world.cluster.tasks.iter().filter_map(|task| task.status.as_ref()).collect();
    assert!(after.iter().all(|status| status.slo.is_none()), "without a schedule there is nothing to count");
}

#[test]
fn a_budget_is_the_same_wherever_the_operator_dies() {
    let story = up_and_down().with(250, Act::StopOperator(140));
    let whole = World::ended(&story);
    let end = last_scheduled(&whole).slo.map(|slo| (slo.good, slo.bad, slo.verdicts, slo.folded_through));
    for nth in 1..=whole.operator.writes.len() {
        let cut = World::ended(&story.clone().crash(nth, 0));
        let after = last_scheduled(&cut).slo.map(|slo| (slo.good, slo.bad, slo.verdicts, slo.folded_through));
        assert_eq!(after, end, "the operator died after write {nth}, {:?}", whole.operator.writes[nth - 1]);
    }
}

#[test]
fn a_good_night_with_an_objective_costs_no_write_more_than_without() {
    let writes = |slo: Value| {
        let spec = json!({ "schedule": { "cron": ["*/2 * * * *"] }, "slo": slo });
        let world = World::ended(&Scenario::new(spec, vec![Life::exit(5, 0)]).during(1200));
        world.operator.writes.len()
    };
    let without = writes(json!(null));
    for slo in [json!({ "objective": "99.5%", "windowRuns": 200 }), json!({ "objective": "99.5%", "windowDays": 30, "finishBy": "23:00" })]
    {
        // Once it is told that there is something to count.
        assert!(writes(slo.clone()) <= without + 1, "{slo}: {} and not {without}", writes(slo.clone()));
    }
}

#[test]
fn a_run_is_told_to_be_late_at_the_moment_at_which_it_is() {
    let spec = json!({
        "schedule": { "cron": ["*/10 * * * *"] },
        "slo": { "objective": "99.5%", "windowRuns": 200, "finishWithinSeconds": 90 },
    });
    let world = World::ended(&Scenario::new(spec, vec![Life::exit(300, 0)]).during(400));
    let late = world.cluster.tasks.log().iter().find(|entry| {
        let slo = entry.object.status.as_ref().and_then(|status| status.slo.as_ref());
        slo.is_some_and(|slo| slo.last_bad.iter().any(|bad| bad.cause == BadCause::Late))
    });
    assert_eq!(late.map(|entry| entry.at.as_second() - start().as_second() - 30), Some(91));
    let ended = last_scheduled(&world).slo.unwrap_or_default();
    assert_eq!((ended.good, ended.bad, ended.state), (0, 1, SloState::AtRisk), "that it ended well mends nothing");
    assert!(ended.folded_through.is_some());
}

#[test]
fn a_workflow_has_an_objective_as_a_task_has() {
    let workflow = json!({
        "schedule": { "cron": ["*/2 * * * *"], "concurrencyPolicy": "Allow" },
        "steps": [{ "name": "load", "taskRef": { "name": TASK } }],
        "slo": { "objective": "50%", "windowDays": 30, "finishWithinSeconds": 50 },
        "history": { "succeeded": 0, "failed": 0 },
    });
    let mut story = Scenario::new(json!({}), vec![Life::exit(5, 0)]).with_workflow(workflow).with(400, Act::StopOperator(300)).during(1500);
    story.script.0 = [(5, 0), (5, 1), (70, 0), (5, 0)].map(|(after, code)| vec![Life::exit(after, code)]).to_vec();
    let world = World::ended(&story);
    let last = world.cluster.workflows.log().iter().rev().find_map(|entry| entry.object.status.as_ref()?.slo.clone());
    let told = last.unwrap_or_default();
    let runs = world.all_runs();
    let scheduled = runs.iter().filter(|run| run.spec.workflow_name() == Some(WORKFLOW));
    let good = |run: &&std::sync::Arc<AutomationRun>| {
        let slo = Slo { finish_within_seconds: Some(50), ..Slo::default() };
        let slot = run.spec.schedule_slot().filter(|slot| told.folded_through.as_ref().is_some_and(|through| *slot <= through.0));
        slot.map(|slot| judge(run, due(&slo, slot, &TimeZone::UTC)) == Verdict::Good)
    };
    let verdicts: Vec<bool> = scheduled.filter_map(|run| good(&run)).collect();
    let good = verdicts.iter().filter(|good| **good).count();
    assert!(good > 0 && good < verdicts.len(), "{verdicts:?}");
    let status = world.cluster.workflows.iter().next().and_then(|workflow| workflow.status.clone()).unwrap_or_default();
    let missed: i64 = status.not_run.iter().filter(|group| group.outcome == Outcome::Missed).map(|group| group.slots).sum();
    assert!(missed > 0, "{status:#?}");
    assert_eq!((told.good, told.bad - missed), (i64::try_from(good).unwrap_or(0), i64::try_from(verdicts.len() - good).unwrap_or(0)));
}
