//! Backfills and reruns: each slot once, a few at a time, never beside another run of the same slot.

use kube::ResourceExt;
use serde_json::json;

use super::{
    people::Act,
    scenario::{Scenario, TASK, start},
    script::{Life, Script},
    world::World,
};
use crate::api::{
    AutomationRun, BackfillPhase, BackfillStatus, ConcurrencyPolicy, Definition, Outcome, Phase, SlotSelection, Trigger, label,
};

fn backfill(world: &World) -> BackfillStatus {
    world.cluster.backfills.iter().next().and_then(|backfill| backfill.status.clone()).unwrap_or_default()
}

fn tally(status: &BackfillStatus) -> (i32, i32, i32, i32) {
    (status.total, status.succeeded, status.failed, status.skipped)
}

fn act(seconds: i64, select: SlotSelection, concurrency: i32) -> Act {
    Act::Backfill { name: "b1".to_owned(), seconds, select, concurrency }
}

fn its_runs(world: &World) -> Vec<std::sync::Arc<AutomationRun>> {
    world.all_runs().into_iter().filter(|run| run.spec.trigger == Some(Trigger::Backfill)).collect()
}

/// A task that is never due while the world lasts, and has a slot in each hour before it.
fn hourly() -> Scenario {
    Scenario::new(json!({ "schedule": { "cron": ["17 * * * *"] }, "history": { "succeeded": 2, "failed": 2 } }), vec![Life::exit(5, 0)])
}

#[test]
fn each_slot_of_the_range_is_run_once_with_its_own_key() {
    for concurrency in [1, 3] {
        let world = World::ended(&hourly().with(2, act(8 * 3600, SlotSelection::Missing, concurrency)));
        let status = backfill(&world);
        assert_eq!((status.phase, status.outcome), (Some(BackfillPhase::Finished), Some(Outcome::Succeeded)));
        assert_eq!((tally(&status), status.progress.as_deref()), ((8, 8, 0, 0), Some("8/8")));
        let runs = its_runs(&world);
        assert_eq!(runs.len(), 8);
        for run in runs {
            let slot = run.spec.scheduled_time.as_ref().expect("a slot").0.as_second() / 60;
            assert_eq!(run.annotations().get(label::IDEMPOTENCY_KEY), Some(&format!("ns/{TASK}-{slot}")));
        }
        assert!(world.cluster.runs.iter().count() <= 2, "history goes for them too");
    }
}

#[test]
fn ten_thousand_slots_are_never_more_than_a_few_objects() {
    let every_minute = Scenario::new(
        json!({ "schedule": { "cron": ["* * * * *"], "suspend": true }, "history": { "succeeded": 1 } }),
        vec![Life::exit(1, 0)],
    );
    let scenario = every_minute.with(2, act(10_000 * 60, SlotSelection::All, 2)).with(200, Act::CancelBackfill).during(300);
    let mut world = World::new(&scenario);
    let mut most = 0;
    world.run_watched(&mut |world, _| most = most.max(world.cluster.runs.iter().filter(|run| !crate::ledger::is_finished(run)).count()));
    let status = backfill(&world);
    assert_eq!((most, status.total, status.outcome), (2, 10_000, Some(Outcome::Cancelled)));
    assert!(status.succeeded > 30, "{status:?}");
}

#[test]
fn what_is_wrong_is_told_and_nothing_is_run() {
    for (spec, seconds, reason) in
        [(json!({}), 3600, "NoSchedule"), (json!({ "schedule": { "cron": ["* * * * *"], "suspend": true } }), 10_001 * 60, "RangeTooLarge")]
    {
        let world = World::ended(&Scenario::new(spec, vec![Life::exit(5, 0)]).with(2, act(seconds, SlotSelection::All, 1)).during(60));
        let told =
            world.cluster.backfills.log().iter().filter_map(|entry| entry.object.status.clone()).flat_map(|status| status.conditions);
        assert!(told.into_iter().any(|c| c.type_ == "Ready" && c.status == "False" && c.reason == reason), "{reason}");
        assert!(its_runs(&world).is_empty());
    }
}

#[test]
fn failed_asks_for_slots_whose_last_run_failed_and_missing_for_those_without_one() {
    // The second run fails, the others succeed.
    let spec = json!({ "schedule": { "cron": ["*/2 * * * *"] }, "exitCodes": { "fatal": [3] } });
    let scenario = |select| {
        let lives = Script(vec![vec![Life::exit(5, 0)], vec![Life::exit(5, 3)]]);
        let mut scenario = Scenario::new(spec.clone(), Vec::new()).with(360, act(600, select, 1)).during(365);
        scenario.script = lives;
        World::ended(&scenario)
    };
    let failed_first = |world: &World| {
        let scheduled = world.all_runs().into_iter().filter(|run| run.spec.trigger == Some(Trigger::Schedule));
        scheduled.filter(|run| run.status.as_ref().and_then(|status| status.outcome) == Some(Outcome::Failed)).count()
    };
    let world = scenario(SlotSelection::Failed);
    assert_eq!(its_runs(&world).len(), failed_first(&world));
    assert_eq!(tally(&backfill(&world)).3, 5 - i32::try_from(failed_first(&world)).unwrap(), "the others are left alone");
    let world = scenario(SlotSelection::Missing);
    assert_eq!(its_runs(&world).len(), 2, "slots before the task was there");
    let world = scenario(SlotSelection::MissingOrFailed);
    assert_eq!(its_runs(&world).len(), 2 + failed_first(&world));
    let world = scenario(SlotSelection::All);
    assert_eq!(its_runs(&world).len(), 5);
}

#[test]
fn a_pause_starts_nothing_more_and_a_cancel_stops_what_runs() {
    let slow = Scenario::new(json!({ "schedule": { "cron": ["17 * * * *"] } }), vec![Life::exit(100, 0)]);
    let scenario = slow
        .with(2, act(5 * 3600, SlotSelection::All, 2))
        .with(30, Act::SuspendBackfill(true))
        .with(400, Act::SuspendBackfill(false))
        .with(450, Act::CancelBackfill)
        .during(500);
    let world = World::ended(&scenario);
    let begun = world.cluster.runs.births().map(|entry| entry.at.as_second() - start().as_second()).collect::<Vec<_>>();
    assert_eq!(begun, [2, 2, 400, 400]);
    let status = backfill(&world);
    assert_eq!((status.phase, status.outcome, tally(&status)), (Some(BackfillPhase::Finished), Some(Outcome::Cancelled), (5, 2, 2, 0)));
    let outcomes: Vec<Outcome> = status.failures.iter().map(|failure| failure.outcome).collect();
    assert_eq!(outcomes, [Outcome::Cancelled, Outcome::Cancelled]);
}

#[test]
fn a_backfill_waits_for_a_live_run_of_the_same_slot_and_runs_what_it_began_with() {
    let spec = json!({ "schedule": { "cron": ["*/2 * * * *"], "exclude": ["2000-01-01"] }, "timeouts": { "attemptSeconds": 900 } });
    // The slot at 30 s runs until 230 s.
    let scenario = Scenario::new(spec, vec![Life::exit(200, 0)])
        .with(40, act(60, SlotSelection::All, 1))
        .with(100, Act::ChangeImage)
        .with(120, Act::Suspend(true))
        .during(900);
    let world = World::ended(&scenario);
    let jobs: Vec<(i64, String)> = world
        .cluster
        .jobs
        .births()
        .map(|entry| {
            let pod = entry.object.spec.as_ref().and_then(|spec| spec.template.spec.clone()).unwrap_or_default();
            (entry.at.as_second() - start().as_second(), pod.containers[0].image.clone().unwrap_or_default())
        })
        .collect();
    assert_eq!(jobs.len(), 2, "{jobs:?}");
    assert!(jobs[1].0 >= 230 && jobs[1].1 == "registry/x:1", "{jobs:?}");
}

#[test]
fn what_kubernetes_has_started_while_the_operator_was_down_is_not_missing() {
    let spec = json!({ "schedule": { "cron": ["*/2 * * * *"], "concurrencyPolicy": "Allow" } });
    for seed in 0..8 {
        let scenario = Scenario::new(spec.clone(), vec![Life::exit(150, 0)]);
        // It starts in the middle of a run, and looks at the backfill before or after the Jobs.
        let scenario = scenario.with(5, Act::StopOperator(290)).with(280, act(300, SlotSelection::Missing, 5)).during(600);
        let world = World::ended(&Scenario { seed, ..scenario });
        let slots: Vec<_> = its_runs(&world).iter().filter_map(|run| run.spec.scheduled_time.clone()).collect();
        assert!(slots.iter().all(|slot| slot.0 < start()), "seed {seed}: {slots:?}");
        assert_eq!(backfill(&world).outcome, Some(Outcome::Succeeded), "seed {seed}");
    }
}

#[test]
fn a_cancel_stops_every_run_wherever_the_operator_dies() {
    let slow = Scenario::new(
        json!({ "schedule": { "cron": ["17 * * * *"] }, "timeouts": { "attemptSeconds": 3000 } }),
        vec![Life::of(super::script::End::Never)],
    );
    let story = slow.with(2, act(6 * 3600, SlotSelection::All, 3)).with(3, Act::CancelBackfill).during(400);
    for seed in 0..4 {
        let story = Scenario { seed, ..story.clone() };
        let writes = World::ended(&story).operator.writes.len();
        for nth in 1..=writes {
            let world = World::ended(&story.clone().crash(nth, 2));
            let ends: Vec<_> = its_runs(&world).iter().map(|run| run.status.as_ref().and_then(|status| status.outcome)).collect();
            assert!(ends.iter().all(|end| *end == Some(Outcome::Cancelled)), "died after write {nth}: {ends:?}");
            assert_eq!(backfill(&world).outcome, Some(Outcome::Cancelled), "died after write {nth}");
        }
    }
}

#[test]
fn a_backfill_made_again_under_its_name_counts_its_own_runs_only() {
    let spec = json!({ "schedule": { "cron": ["17 * * * *"] } });
    let scenario = Scenario::new(spec, vec![Life::exit(5, 0)]).with(2, act(4 * 3600, SlotSelection::All, 1));
    // The garbage collector takes the runs of the one before meanwhile, or has yet to.
    let scenario = scenario.with(20, Act::DeleteBackfill).with(21, act(4 * 3600, SlotSelection::All, 2)).during(300);
    for seed in 0..6 {
        let world = World::ended(&Scenario { seed, ..scenario.clone() });
        let status = backfill(&world);
        assert_eq!((status.outcome, tally(&status)), (Some(Outcome::Succeeded), (4, 4, 0, 0)), "seed {seed}: {status:?}");
        let uid = world.cluster.backfills.iter().next().and_then(|backfill| backfill.uid());
        let own = its_runs(&world).iter().filter(|run| run.annotations().get(label::BACKFILL_UID) == uid.as_ref()).count();
        assert_eq!(own, 4, "seed {seed}");
    }
}

#[test]
fn a_rerun_has_the_slot_and_the_key_of_what_it_repeats_and_names_all_before_it() {
    let spec = json!({ "schedule": { "cron": ["*/10 * * * *"] } });
    let first = format!("{TASK}-{}", start().as_second() / 60 + 1);
    let again = |name: &str| Act::Rerun { name: name.to_owned(), of: 0, definition: Definition::Current };
    // The name of the second comes first, so the third repeats it.
    let scenario = Scenario::new(spec, vec![Life::exit(5, 0)]).with(60, again("a2")).with(100, again("a1")).during(300);
    let world = World::ended(&scenario);
    let status = world.run_status("a1");
    assert_eq!(status.rerun_chain, [first.clone(), "a2".to_owned()]);
    assert_eq!(status.idempotency_key, Some(format!("ns/{first}")));
    assert_eq!(status.slot, world.run_status("a2").slot);
    assert_eq!(status.outcome, Some(Outcome::Succeeded));
}

#[test]
fn a_rerun_of_a_rerun_that_nobody_has_looked_at_yet_knows_the_whole_chain() {
    let spec = json!({ "schedule": { "cron": ["*/10 * * * *"], "concurrencyPolicy": "Queue" } });
    let first = format!("{TASK}-{}", start().as_second() / 60 + 1);
    let again = |name: &str| Act::Rerun { name: name.to_owned(), of: 0, definition: Definition::Current };
    // Both while the operator is down: it may look at the second one first.
    for seed in 0..6 {
        let scenario = Scenario::new(spec.clone(), vec![Life::exit(5, 0)]);
        let scenario = scenario.with(50, Act::StopOperator(30)).with(60, again("a2")).with(61, again("a1")).during(300);
        let world = World::ended(&Scenario { seed, ..scenario });
        let status = world.run_status("a1");
        assert_eq!(status.rerun_chain, [first.clone(), "a2".to_owned()], "seed {seed}");
        assert_eq!((status.outcome, status.slot), (Some(Outcome::Succeeded), world.run_status("a2").slot));
    }
}

#[test]
fn two_reruns_of_a_slot_at_once_are_refused_or_queued_as_the_policy_says() {
    let spec = json!({ "schedule": { "cron": ["*/10 * * * *"], "concurrencyPolicy": "Forbid" } });
    let again = |name: &str| Act::Rerun { name: name.to_owned(), of: 9, definition: Definition::Original };
    let story = |policy: ConcurrencyPolicy| {
        // The scheduled run is over at 60 s; `of: 9` chooses it among one, and of three.
        let scenario = Scenario::new(spec.clone(), vec![Life::exit(10, 0)])
            .with(55, Act::Policy(policy))
            .with(60, again("a1"))
            .with(60, again("a2"))
            .during(300);
        World::ended(&scenario)
    };
    let outcomes = |world: &World| ["a1", "a2"].map(|name| world.run_status(name).outcome);
    let forbid = story(ConcurrencyPolicy::Forbid);
    let mut ended = outcomes(&forbid);
    ended.sort_by_key(|outcome| format!("{outcome:?}"));
    assert_eq!(ended, [Some(Outcome::Skipped), Some(Outcome::Succeeded)]);
    for policy in [ConcurrencyPolicy::Allow, ConcurrencyPolicy::Queue] {
        let world = story(policy);
        assert_eq!(outcomes(&world), [Some(Outcome::Succeeded); 2]);
        let queued = world
            .cluster
            .runs
            .log()
            .iter()
            .any(|entry| entry.object.status.as_ref().is_some_and(|status| status.phase == Some(Phase::Queued)));
        assert!(queued, "{policy:?}: one waits for the other");
        assert!(world.operator.broken.is_empty(), "{:?}", world.operator.broken);
    }
}
