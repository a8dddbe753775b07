//! Caps hold: whatever happens to the operator, its watches and its runs, no run is let in beside as many as may be; nobody
//! waits for ever; and what a run held is free when it is gone.
//!
//! As in the shell it is decided when something is told that may change who is let in, and not otherwise: a wake that is lost
//! leaves a run waiting.

use std::sync::Arc;

use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt;
use proptest::{collection, prelude::*, sample::select};
use serde_json::json;

use super::{
    caches::{Lag, Lags},
    history::expect_none,
    operator::Planned,
    people::Act,
    scenario::{Scenario, TASK},
    script::{End, Life},
    strategies::{config, undisturbed_scenario},
    world::World,
};
use crate::{
    admission::{Answer, Slots},
    api::{AutomationRun, Phase},
    ledger,
    outcome::reason,
    plan::automation_run,
};

fn create(name: &str) -> Act {
    Act::CreateRun { name: name.to_owned(), parameters: Vec::new() }
}

fn pools(slots: i64) -> Slots {
    Slots::from([("db".to_owned(), slots), ("ftp".to_owned(), 3)])
}

/// A world whose pool `db` has so many slots, at its end.
fn ended(scenario: &Scenario, slots: i64) -> World {
    let mut world = World::new(scenario);
    world.cluster.pools = pools(slots);
    world.run();
    world
}

/// What went wrong: a cap did not hold, or a run never came to its end.
fn wrong(world: &World) -> Vec<String> {
    let stuck = world.cluster.runs.iter().filter(|run| !ledger::is_finished(run));
    let stuck = stuck.map(|run| format!("{} is left: {:?}", run.name_any(), run.status.as_ref().map(|status| &status.message)));
    world.operator.broken.iter().cloned().chain(stuck).collect()
}

/// Runs in a crowd, of a task under caps, with mishaps and people who take runs, Jobs and the operator away.
fn crowd() -> impl Strategy<Value = (Scenario, i64)> {
    let concurrency = (1..4_i32, 1..3_i64, any::<bool>());
    let act = prop_oneof![
        1 => (0..9_usize).prop_map(Act::DeleteRun),
        1 => (0..4_usize).prop_map(Act::DeleteJob),
        1 => (0..9_usize).prop_map(Act::Cancel),
        1 => Just(Act::RepeatEvents),
        1 => select(vec![1_i64, 30]).prop_map(Act::StopOperator),
    ];
    let meddling = collection::vec((0..200_i64, act), 0..5);
    let arrivals = collection::vec(0..100_i64, 5..9);
    (undisturbed_scenario(), concurrency, 2..5_i64, meddling, arrivals).prop_map(
        |(mut scenario, (max, needs, both), slots, acts, arrivals)| {
            scenario.spec["concurrency"] =
                json!({ "pools": [{ "poolRef": { "name": "db" }, "slots": needs }, { "poolRef": { "name": "ftp" } }] });
            if both {
                scenario.spec["concurrency"]["max"] = json!(max);
            }
            if let Some(schedule) = scenario.spec.get_mut("schedule") {
                schedule["concurrencyPolicy"] = json!("Allow");
            }
            scenario.acts = arrivals.into_iter().enumerate().map(|(n, at)| (at, create(&format!("r{n}")))).chain(acts).collect();
            (Scenario { seconds: 260, ..scenario }, slots)
        },
    )
}

proptest! {
    #![proptest_config(config(10))]

    #[test]
    fn whatever_happens_no_run_is_let_in_beyond_a_cap_and_none_waits_for_ever((scenario, slots) in crowd()) {
        let world = ended(&scenario, slots);
        expect_none(&world, wrong(&world));
    }
}

/// Six runs at once, two of which may go on, tried twice each.
fn six() -> Scenario {
    let spec = json!({
        "concurrency": { "max": 2, "pools": [{ "poolRef": { "name": "db" }, "slots": 2 }] },
        "retry": { "limit": 1, "backoff": { "initialSeconds": 5 } },
        "history": { "succeeded": 20, "failed": 20 },
    });
    let mut scenario = Scenario::new(spec, vec![Life::exit(5, 1), Life::exit(5, 0)]).during(300);
    scenario.acts = (0..6).map(|n| (1, create(&format!("r{n}")))).collect();
    scenario
}

#[test]
fn the_operator_may_die_after_each_write_while_runs_queue() {
    let whole = ended(&six(), 5);
    assert_eq!(wrong(&whole), Vec::<String>::new());
    let lag = |seconds| Lag { seconds, silent: None };
    for nth in (1..=whole.operator.writes.len()).step_by(2) {
        // What it reads is late, so that what it has decided is known from memory alone.
        let lags = Lags { jobs: lag(3), runs: lag(2), ..Lags::default() };
        let cut = ended(&Scenario { lags, ..six() }.crash(nth, 1), 5);
        assert_eq!(wrong(&cut), Vec::<String>::new(), "died after write {nth}: {:#?}", cut.operator.writes);
        assert_eq!(cut.end().runs, whole.end().runs, "died after write {nth}");
    }
}

#[test]
fn a_run_under_caps_costs_one_write_more_and_only_where_it_waits() {
    let uncapped = Scenario { spec: json!({ "history": { "succeeded": 20 } }), ..six() };
    let capped = Scenario { spec: json!({ "concurrency": { "max": 2 }, "history": { "succeeded": 20 } }), ..six() };
    let of_runs = |scenario: &Scenario| {
        let world = ended(scenario, 5);
        assert_eq!(wrong(&world), Vec::<String>::new());
        world.operator.writes.iter().filter(|write| !write.what.contains("task")).count()
    };
    let (free, queued) = (of_runs(&uncapped), of_runs(&capped));
    assert!(
        queued <= free + 4 + 4,
        "four of six wait and are told once, and near the front once more: {queued} writes, {free} without caps"
    );
}

/// One run that never ends, and one that waits for it.
fn two_of_one() -> Scenario {
    let spec = json!({ "concurrency": { "pools": [{ "poolRef": { "name": "db" } }] }, "timeouts": { "attemptSeconds": 100_000 } });
    Scenario::new(spec, vec![Life::of(End::Never)]).with(1, create("r0")).with(3, create("r1"))
}

/// The world at that second.
fn at(scenario: &Scenario, pools: Slots, seconds: i64) -> World {
    let mut world = World::new(scenario);
    world.cluster.pools = pools;
    world.run_until(super::scenario::start() + jiff::SignedDuration::from_secs(seconds));
    world
}

fn waits(run: &AutomationRun) -> (Option<Phase>, String, String) {
    let status = run.status.clone().unwrap_or_default();
    let waiting = status.waiting_on.unwrap_or_else(|| panic!("{:?}", run.status));
    (status.phase, waiting.reason, waiting.message)
}

#[test]
fn a_run_that_waits_says_for_whom_and_in_which_place() {
    let world = at(&two_of_one(), Slots::from([("db".to_owned(), 1)]), 30);
    let told = waits(world.cluster.runs.get("r1").unwrap());
    assert_eq!((told.0, told.1.as_str()), (Some(Phase::Queued), reason::POOL_FULL));
    assert_eq!(told.2, "needs 1 slot of ConcurrencyPool db, and 1 of 1 are held: r0; place 1 in the queue");
    let marked = |job: &&Arc<Job>| crate::admission::marked(job) == Some(Slots::from([("db".to_owned(), 1)]));
    assert_eq!(world.cluster.jobs.iter().filter(marked).count(), 1);
    for gone in [Act::DeleteRun(0), Act::Cancel(0)] {
        let world = at(&two_of_one().with(40, gone.clone()), Slots::from([("db".to_owned(), 1)]), 120);
        assert_eq!(world.cluster.runs.get("r1").unwrap().status.as_ref().unwrap().phase, Some(Phase::Running), "{gone:?}");
        assert_eq!(world.operator.broken, Vec::<String>::new());
    }
}

#[test]
fn what_can_never_be_had_is_told_on_run_and_task_and_ends_when_it_is_put_right() {
    let scenario = two_of_one();
    let ready = |world: &World| {
        let conditions = &world.cluster.tasks.get(TASK).unwrap().status.as_ref().unwrap().conditions;
        let ready = crate::api::condition::find(conditions, "Ready").unwrap();
        (ready.status.clone(), ready.reason.clone(), ready.message.clone())
    };
    let missing = at(&scenario, Slots::new(), 30);
    let told = waits(missing.cluster.runs.get("r0").unwrap());
    assert_eq!((told.0, told.1.as_str()), (Some(Phase::Queued), reason::POOL_NOT_FOUND));
    assert!(told.2.contains("there is no ConcurrencyPool db in this namespace; create it"), "{}", told.2);
    assert_eq!((ready(&missing).0.as_str(), ready(&missing).1.as_str()), ("False", reason::POOL_NOT_FOUND));
    assert!(ready(&missing).2.ends_with("Until then its runs wait"), "{}", ready(&missing).2);
    let closed = at(&scenario, Slots::from([("db".to_owned(), 0)]), 30);
    assert_eq!(waits(closed.cluster.runs.get("r0").unwrap()).1, reason::POOL_CLOSED);
    assert_eq!(ready(&closed).0, "True", "somebody closed it on purpose");

    let mut greedy = scenario;
    greedy.spec["concurrency"]["pools"][0]["slots"] = json!(3);
    let mut world = at(&greedy, Slots::from([("db".to_owned(), 2)]), 30);
    let told = waits(world.cluster.runs.get("r0").unwrap());
    assert_eq!(told.1, reason::POOL_TOO_SMALL);
    assert!(told.2.contains("asks for 3 slots of ConcurrencyPool db, which has 2"), "{}", told.2);
    assert_eq!((ready(&world).0.as_str(), ready(&world).1.as_str()), ("False", reason::POOL_TOO_SMALL));
    world.cluster.pools = Slots::from([("db".to_owned(), 3)]);
    world.run_until(super::scenario::start() + jiff::SignedDuration::from_secs(60));
    assert_eq!(world.cluster.runs.get("r0").unwrap().status.as_ref().unwrap().phase, Some(Phase::Running));
}

#[test]
fn a_run_goes_on_when_the_job_of_one_that_was_deleted_before_it_is_told_to_be_gone() {
    let jobs = Lag { seconds: 3, silent: None };
    let scenario = Scenario { lags: Lags { jobs, ..Lags::default() }, ..two_of_one() }.with(40, Act::DeleteRun(0));
    let world = at(&scenario, Slots::from([("db".to_owned(), 1)]), 120);
    assert_eq!(world.cluster.runs.get("r1").unwrap().status.as_ref().unwrap().phase, Some(Phase::Running));
}

#[test]
fn nobody_waits_behind_runs_that_have_gone() {
    let spec = json!({ "concurrency": { "max": 1 }, "history": { "succeeded": 20, "failed": 20 } });
    let scenario = Scenario::new(spec, vec![Life::exit(20, 0)]).during(300);
    let scenario = scenario.with(1, create("r0")).with(3, create("r1")).with(6, Act::Cancel(1)).with(100, create("r2"));
    let world = ended(&scenario, 5);
    assert_eq!(wrong(&world), Vec::<String>::new());
    let started = |name: &str| world.cluster.runs.get(name).unwrap().status.as_ref().unwrap().start_time.is_some();
    assert_eq!([started("r0"), started("r1"), started("r2")], [true, false, true]);
}

#[test]
fn a_task_that_is_replaced_while_its_runs_queue_lets_no_more_of_them_in_and_ends_none() {
    let scenario = two_of_one().with(3, create("r2")).with(3, create("r3"));
    for is_seen_to_be_gone in [false, true] {
        // They have waited for longer than a run waits for a task that is not there.
        let mut world = at(&scenario, Slots::from([("db".to_owned(), 1)]), 1200);
        let now = world.cluster.now;
        world.cluster.tasks.remove(now, TASK);
        if is_seen_to_be_gone {
            world.run_until(now);
            assert_eq!(waits(world.cluster.runs.get("r3").unwrap()).1, "TaskNotFound");
        }
        drop(world.cluster.tasks.create(now, scenario.task()).unwrap());
        world.run_until(now + jiff::SignedDuration::from_secs(60));
        assert_eq!(world.operator.broken, Vec::<String>::new());
        // What ran belonged to the task, and went with it.
        let left = ["r1", "r2", "r3"].map(|name| world.cluster.runs.get(name).unwrap());
        let runs = |run: &&&Arc<AutomationRun>| run.status.as_ref().is_some_and(|status| status.phase == Some(Phase::Running));
        assert_eq!(left.iter().filter(runs).count(), 1, "{is_seen_to_be_gone}");
        assert!(left.iter().filter(|run| !runs(run)).all(|run| waits(run).1 == reason::POOL_FULL), "{is_seen_to_be_gone}");
    }
}

#[test]
fn a_run_that_asks_before_anybody_can_know_says_so_where_that_takes_long() {
    let mut world = World::new(&two_of_one());
    world.cluster.pools = Slots::from([("db".to_owned(), 1)]);
    world.operator.planned = Some(Vec::new());
    world.run_until(super::scenario::start() + jiff::SignedDuration::from_secs(30));
    let mut looks = world.operator.planned.iter().flatten().filter_map(|planned| match planned {
        Planned::Run { seen, .. } if seen.run.name_any() == "r1" => Some(seen),
        _ => None,
    });
    let new = looks.rfind(|seen| seen.run.status.is_none()).unwrap();
    let new = automation_run::Seen { answer: Some(Answer::Behind), ..new.clone() };
    let created = new.run.creation_timestamp().unwrap().0;
    let at = |seconds| created + jiff::SignedDuration::from_secs(seconds);
    let soon = automation_run::plan(&new, at(1));
    assert!(soon.may_wait(at(1)) && soon.wake == Some(at(5)), "{soon:?}");
    let late = automation_run::plan(&new, at(5));
    assert!(!late.may_wait(at(5)));
    assert_eq!(late.status.phase, Some(Phase::Queued));
    assert_eq!(late.status.waiting_on.unwrap().reason, reason::ROOM_UNKNOWN);
    let queued = automation_run::Seen { run: world.cluster.runs.get("r1").unwrap().clone(), ..new };
    let plan = automation_run::plan(&queued, at(9));
    assert_eq!((plan.changes.as_slice(), Some(&plan.status)), (&[][..], queued.run.status.as_ref()), "it has told already that it waits");
}
