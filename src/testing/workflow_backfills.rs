//! Backfills of workflows: as those of tasks, of runs that have steps.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use kube::ResourceExt;
use proptest::{collection::btree_map, prelude::*, sample::select};
use serde_json::{Value, json};

use super::{
    caches::{Lag, Lags},
    history::expect_none,
    operator::Mishaps,
    people::Act,
    scenario::{Scenario, TASK, WORKFLOW, start},
    script::{End, Life},
    strategies::config,
    world::World,
};
use crate::{
    api::{AutomationRun, BackfillPhase, BackfillStatus, Outcome, SlotSelection, Trigger, condition, label},
    ledger,
};

fn backfill(world: &World) -> BackfillStatus {
    world.cluster.backfills.iter().next().and_then(|backfill| backfill.status.clone()).unwrap_or_default()
}

fn tally(status: &BackfillStatus) -> (i32, i32, i32, i32) {
    (status.total, status.succeeded, status.failed, status.skipped)
}

fn act(seconds: i64, select: SlotSelection, concurrency: i32) -> Act {
    Act::BackfillWorkflow { name: "b1".to_owned(), seconds, select, concurrency }
}

/// The runs that backfills made, without those of their steps.
fn its_runs(world: &World) -> Vec<std::sync::Arc<AutomationRun>> {
    world.all_runs().into_iter().filter(|run| run.spec.trigger == Some(Trigger::Backfill)).collect()
}

/// A workflow of two steps, one after the other.
fn workflow(cron: &str) -> Value {
    json!({
        "schedule": { "cron": [cron], "concurrencyPolicy": "Allow" },
        "parameters": [{ "name": "HOUR", "fromSlot": "format(slot, '%H')" }],
        "steps": [
            { "name": "fetch", "taskRef": { "name": TASK } },
            { "name": "load", "taskRef": { "name": TASK }, "dependsOn": [{ "step": "fetch" }] },
        ],
        "history": { "succeeded": 2, "failed": 2 },
    })
}

/// One that is never due while the world lasts, and has a slot in each hour before it.
fn hourly(life: Life) -> Scenario {
    Scenario::new(json!({ "timeouts": { "attemptSeconds": 3000 } }), vec![life]).with_workflow(workflow("17 * * * *"))
}

/// What was told on Ready of a backfill: status and reason, in turn.
fn ready(world: &World) -> Vec<(String, String)> {
    let told = world.cluster.backfills.log().iter().filter_map(|entry| entry.object.status.as_ref());
    let ready = told.filter_map(|status| condition::find(&status.conditions, condition::READY));
    let mut all: Vec<(String, String)> = ready.map(|ready| (ready.status.clone(), ready.reason.clone())).collect();
    all.dedup();
    all
}

/// What must never be: two runs of a backfill for a slot, more of them at once than it may have, runs of the same slot beside
/// one another, or runs of two definitions.
fn broken(world: &World, concurrency: usize) -> Vec<String> {
    let mut wrong = world.operator.broken.clone();
    let mut by_slot: BTreeMap<Option<Timestamp>, Vec<String>> = BTreeMap::new();
    for run in its_runs(world) {
        by_slot.entry(run.spec.slot()).or_default().push(run.name_any());
    }
    wrong.extend(by_slot.iter().filter(|(_, runs)| runs.len() > 1).map(|(slot, runs)| format!("slot {slot:?} has {runs:?}")));
    let children = world.all_runs().into_iter().filter_map(|run| Some((run.spec.step.clone()?, run.uid())));
    let mut steps: BTreeMap<String, BTreeSet<Option<String>>> = BTreeMap::new();
    for (step, uid) in children {
        steps.entry(format!("{} of {}", step.name, step.workflow_run)).or_default().insert(uid);
    }
    wrong.extend(steps.iter().filter(|(_, runs)| runs.len() > 1).map(|(step, runs)| format!("step {step} has {runs:?}")));
    let made = world.cluster.runs.births().filter(|entry| entry.object.spec.trigger == Some(Trigger::Backfill));
    let began_with: BTreeSet<_> = made.map(|entry| entry.object.annotations().get(label::REVISION).cloned()).collect();
    if began_with.len() > 1 {
        wrong.push(format!("it runs {began_with:?}"));
    }
    let mut live: BTreeMap<String, Option<Timestamp>> = BTreeMap::new();
    for entry in world.cluster.runs.log() {
        let run = &entry.object;
        if run.spec.step.is_some() {
            continue;
        }
        if entry.deleted || ledger::is_finished(run) {
            live.remove(&entry.name);
        } else if run.spec.trigger == Some(Trigger::Backfill) || ledger::has_begun(run) {
            live.insert(entry.name.clone(), run.spec.slot());
        }
        let own = live.keys().filter(|name| name.contains("-bf-")).count();
        if own > concurrency {
            wrong.push(format!("{own} runs at once: {live:?}"));
        }
    }
    wrong
}

#[test]
fn each_slot_of_the_range_is_run_once_with_its_own_key_and_values() {
    for concurrency in [1, 3] {
        let world = World::ended(&hourly(Life::exit(5, 0)).with(2, act(8 * 3600, SlotSelection::Missing, concurrency)));
        let status = backfill(&world);
        assert_eq!((status.phase, status.outcome), (Some(BackfillPhase::Finished), Some(Outcome::Succeeded)), "{status:?}");
        assert_eq!((tally(&status), status.progress.as_deref()), ((8, 8, 0, 0), Some("8/8")));
        let runs = its_runs(&world);
        assert_eq!(runs.len(), 8);
        for run in &runs {
            let slot = run.spec.slot().expect("a slot");
            let minutes = slot.as_second() / 60;
            assert_eq!((run.name_any(), run.spec.workflow_name()), (format!("b1-bf-{minutes}"), Some(WORKFLOW)));
            assert_eq!(run.annotations().get(label::IDEMPOTENCY_KEY), Some(&format!("ns/{WORKFLOW}-wf-{minutes}")));
            assert_eq!(run.spec.parameters[0].value, slot.strftime("%H").to_string());
            assert_eq!((run.labels().get(label::WORKFLOW).map(String::as_str), run.labels().get(label::TASK)), (Some(WORKFLOW), None));
            assert_eq!(run.labels().get(label::TEAM).map(String::as_str), Some("data"));
            assert_eq!(run.owner_references().iter().map(|owner| owner.kind.as_str()).collect::<Vec<_>>(), ["Backfill"]);
        }
        let steps = world.all_runs().iter().filter(|run| run.spec.step.is_some()).count();
        assert_eq!(steps, 16);
        assert_eq!(world.cluster.runs.iter().count(), 2 * 3, "history goes for them too, with their steps");
        expect_none(&world, broken(&world, usize::try_from(concurrency).unwrap()));
    }
}

#[test]
fn an_edit_of_the_workflow_or_of_a_task_in_it_changes_nothing_of_what_is_run() {
    // The steps of the second slot's run begin after the edits.
    let scenario = hourly(Life::exit(5, 0))
        .with(2, act(5 * 3600, SlotSelection::Missing, 2))
        .with(5, Act::ChangeImage)
        .with(6, Act::StepRuns("none".to_owned()));
    let world = World::ended(&scenario);
    assert_eq!(tally(&backfill(&world)), (5, 5, 0, 0));
    let images: BTreeSet<Option<String>> = world
        .cluster
        .jobs
        .births()
        .flat_map(|entry| entry.object.spec.clone().and_then(|spec| spec.template.spec).unwrap_or_default().containers)
        .map(|container| container.image)
        .collect();
    assert_eq!(images, BTreeSet::from([Some("registry/x:1".to_owned())]));
    let told = world.cluster.workflows.iter().next().and_then(|workflow| workflow.status.clone()).unwrap_or_default();
    assert_eq!(condition::find(&told.conditions, condition::READY).map(|ready| ready.reason.as_str()), Some("ReferenceNotFound"));
    expect_none(&world, broken(&world, 2));
}

#[test]
fn it_waits_for_a_workflow_that_cannot_be_run_and_says_why() {
    let pending = ("Unknown".to_owned(), "DefinitionPending".to_owned());
    let ready_is = |status: &str, reason: &str| (status.to_owned(), reason.to_owned());
    // Something that it refers to is not there, and comes.
    let broken = hourly(Life::exit(5, 0)).with(1, Act::StepRuns("none".to_owned())).with(2, act(3 * 3600, SlotSelection::All, 1));
    let world = World::ended(&broken.clone().during(60));
    assert_eq!(ready(&world), [ready_is("False", "ReferenceNotFound")]);
    assert!(its_runs(&world).is_empty() && backfill(&world).revision.is_none());
    for seed in 0..6 {
        let world = World::ended(&Scenario { seed, ..broken.clone().with(60, Act::StepRuns(TASK.to_owned())) });
        let mut told = ready(&world);
        told.retain(|told| *told != pending);
        assert_eq!(told, [ready_is("False", "ReferenceNotFound"), ready_is("True", "Accepted")], "seed {seed}");
        assert_eq!(tally(&backfill(&world)), (3, 3, 0, 0), "seed {seed}");
    }
    // There is none, or it has no slots, or circles: what only a human can mend is told as such.
    let gone = hourly(Life::exit(5, 0)).with(1, Act::DeleteWorkflow).with(2, act(3600, SlotSelection::All, 1)).during(60);
    assert_eq!(ready(&World::ended(&gone)), [ready_is("False", "WorkflowNotFound")]);
    let mut circle = workflow("17 * * * *");
    circle["steps"][0]["dependsOn"] = json!([{ "step": "load" }]);
    let mut on_demand = workflow("17 * * * *");
    on_demand.as_object_mut().unwrap().retain(|key, _| key == "steps");
    for (workflow, reason) in [(circle, "InvalidWorkflow"), (on_demand, "NoSchedule")] {
        let scenario = hourly(Life::exit(5, 0)).with_workflow(workflow).with(2, act(3600, SlotSelection::All, 1)).during(60);
        let world = World::ended(&scenario);
        assert_eq!(ready(&world).last(), Some(&ready_is("False", reason)));
        assert!(condition::is_true(&backfill(&world).conditions, condition::STALLED), "{reason}");
        assert!(its_runs(&world).is_empty());
    }
}

#[test]
fn what_it_began_with_goes_with_the_workflow() {
    let scenario = hourly(Life::exit(20, 0)).with(2, act(5 * 3600, SlotSelection::All, 1)).with(10, Act::DeleteWorkflow);
    let world = World::ended(&scenario);
    assert_eq!(ready(&world).last(), Some(&("False".to_owned(), "RevisionGone".to_owned())));
    assert!(its_runs(&world).len() < 5, "no run is made of what is gone");
}

#[test]
fn a_slot_is_not_run_beside_the_schedules_own_run_of_it() {
    // The slot at 30 s runs until about 235 s: as long as two steps.
    let scenario = Scenario::new(json!({}), vec![Life::exit(100, 0)]).with_workflow(workflow("*/10 * * * *"));
    for (at, seed) in [(31, 0), (40, 1), (100, 2), (200, 3)] {
        let scenario = scenario.clone().with(at, act(at - 20, SlotSelection::All, 3)).during(400);
        let world = World::ended(&Scenario { seed, ..scenario });
        let of = |trigger| world.all_runs().into_iter().filter(move |run| run.spec.trigger == Some(trigger)).collect::<Vec<_>>();
        let (own, backfilled) = (of(Trigger::Schedule), of(Trigger::Backfill));
        assert_eq!((own.len(), backfilled.len(), own[0].spec.slot()), (1, 1, backfilled[0].spec.slot()), "at {at}");
        let (first, second) = (own[0].status.clone().unwrap_or_default(), backfilled[0].status.clone().unwrap_or_default());
        assert!(second.start_time >= first.completion_time && first.completion_time.is_some(), "at {at}: {second:?}");
        assert_eq!((first.idempotency_key, backfill(&world).outcome), (second.idempotency_key, Some(Outcome::Succeeded)));
    }
}

#[test]
fn missing_leaves_alone_what_the_schedule_runs_and_failed_asks_for_what_went_badly() {
    let mut workflow = workflow("*/2 * * * *");
    // What is let go is missing.
    workflow["history"] = json!({ "failed": 20 });
    let scenario = Scenario::new(json!({ "exitCodes": { "fatal": [3] } }), vec![Life::exit(5, 3)]).with_workflow(workflow);
    // Slots at 30, 150 and 270 s, and two before the workflow was there.
    for (select, runs) in [(SlotSelection::Missing, 2), (SlotSelection::Failed, 3), (SlotSelection::MissingOrFailed, 5)] {
        let world = World::ended(&scenario.clone().with(300, act(510, select, 2)).during(320));
        assert_eq!(its_runs(&world).len(), runs, "{select:?}");
        let status = backfill(&world);
        assert_eq!((status.failed, status.outcome), (i32::try_from(runs).unwrap(), Some(Outcome::Failed)), "{select:?}");
        assert_eq!(status.failures[0].reason.as_deref(), Some("StepFailed"));
    }
}

#[test]
fn it_ends_the_same_wherever_the_operator_dies() {
    let story = hourly(Life::exit(5, 0)).with(2, act(3 * 3600, SlotSelection::Missing, 2)).with(9, Act::ChangeImage).during(60);
    let whole = World::ended(&story);
    // `crashes` has another story, at each of its writes.
    for nth in (1..=whole.operator.writes.len()).step_by(4) {
        let cut = World::ended(&story.clone().crash(nth, 0));
        let after = &whole.operator.writes[nth - 1];
        assert_eq!(cut.end(), whole.end(), "the operator died after write {nth}, {after:?}");
        assert_eq!(tally(&backfill(&cut)), (3, 3, 0, 0), "the operator died after write {nth}, {after:?}");
        expect_none(&cut, broken(&cut, 2));
    }
}

#[test]
fn an_edit_while_the_operator_is_dead_splits_no_backfill() {
    // It dies after each write, and comes back when another definition is there.
    let story = hourly(Life::exit(5, 0)).with(2, act(4 * 3600, SlotSelection::Missing, 2)).with(8, Act::ChangeImage).during(90);
    for nth in 1..=World::ended(&story).operator.writes.len().min(12) {
        let world = World::ended(&story.clone().crash(nth, 10));
        expect_none(&world, broken(&world, 2));
        assert_eq!(tally(&backfill(&world)), (4, 4, 0, 0), "died after write {nth}");
    }
}

#[test]
fn a_cancel_stops_every_run_and_its_steps_wherever_the_operator_dies() {
    let slow = hourly(Life::of(End::Never));
    let story = slow.with(2, act(6 * 3600, SlotSelection::All, 3)).with(4, Act::CancelBackfill).during(400);
    let writes = World::ended(&story).operator.writes.len();
    for nth in (1..=writes).step_by(3) {
        let world = World::ended(&story.clone().crash(nth, 2));
        let ends: Vec<_> = its_runs(&world).iter().map(|run| run.status.as_ref().and_then(|status| status.outcome)).collect();
        assert!(ends.iter().all(|end| *end == Some(Outcome::Cancelled)), "died after write {nth}: {ends:?}");
        assert_eq!(backfill(&world).outcome, Some(Outcome::Cancelled), "died after write {nth}");
        let left = world.cluster.runs.iter().filter(|run| !ledger::is_finished(run)).map(|run| run.name_any());
        expect_none(&world, left);
    }
}

/// What may befall a backfill of a workflow.
fn any_story() -> impl Strategy<Value = (Scenario, usize)> {
    let lag = || select(vec![0_i64, 0, 1, 3]).prop_map(|seconds| Lag { seconds, silent: None });
    let lags = (lag(), lag(), lag(), lag()).prop_map(|(workflows, runs, jobs, backfills)| Lags {
        workflows,
        runs,
        jobs,
        backfills,
        ..Lags::default()
    });
    let crashes = btree_map(1..60_usize, select(vec![0_i64, 1, 20]), 0..3);
    let delays = btree_map(1..30_usize, select(vec![1_i64, 4, 9]), 0..3);
    let mishaps = (crashes, delays).prop_map(|(crashes, delays)| Mishaps { crashes, delays, ..Mishaps::default() });
    let acts = prop_oneof![
        Just(Act::ChangeImage),
        Just(Act::StepRuns("none".to_owned())),
        any::<bool>().prop_map(Act::SuspendBackfill),
        (0..6_usize).prop_map(Act::Cancel),
        (0..6_usize).prop_map(Act::DeletePod),
        Just(Act::RepeatEvents),
    ];
    let acts = proptest::collection::vec((3..90_i64, acts), 0..4);
    let choices = select(vec![SlotSelection::Missing, SlotSelection::All, SlotSelection::MissingOrFailed]);
    let cron = select(vec!["17 * * * *", "*/2 * * * *"]);
    (any::<u64>(), cron, 1..4_i32, choices, lags, mishaps, acts).prop_map(|(seed, cron, concurrency, select, lags, mishaps, acts)| {
        let seconds = if cron.starts_with("17") { 4 * 3600 } else { 600 };
        let mut scenario = hourly(Life::exit(5, 0)).with_workflow(workflow(cron)).with(2, act(seconds, select, concurrency)).during(200);
        scenario.acts.extend(acts);
        // Whoever pauses it lets it go on, and the workflow is mended.
        scenario.acts.push((150, Act::SuspendBackfill(false)));
        scenario.acts.push((151, Act::StepRuns(TASK.to_owned())));
        (Scenario { seed, lags, mishaps, ..scenario }, usize::try_from(concurrency).unwrap_or(1))
    })
}

proptest! {
    #![proptest_config(config(6))]

    #[test]
    fn whatever_happens_each_slot_is_run_once_and_it_comes_to_its_end((scenario, concurrency) in any_story()) {
        let world = World::ended(&scenario);
        expect_none(&world, broken(&world, concurrency));
        let status = backfill(&world);
        prop_assert_eq!(status.phase, Some(BackfillPhase::Finished), "{:?}", status);
        let done = status.succeeded + status.failed + status.skipped;
        prop_assert_eq!(done, status.total, "{:?}", status);
        prop_assert!(status.total >= 4 && i32::try_from(its_runs(&world).len()).unwrap() == status.total - status.skipped, "{:?}", status);
        let left = world.cluster.runs.iter().filter(|run| !ledger::is_finished(run)).count();
        prop_assert_eq!(left, 0);
        let started: BTreeSet<_> = its_runs(&world).iter().filter_map(|run| run.spec.slot()).collect();
        prop_assert!(started.iter().all(|slot| *slot <= start() + jiff::SignedDuration::from_secs(2)));
    }
}
