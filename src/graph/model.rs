//! The graph beside a naive evaluation: random workflows, outcomes, orders of ends and crashes.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use proptest::{prelude::*, sample::select};
use serde_json::{Value, json};

use super::*;
use crate::api::{Approval, Dependency, ForEach, Step, StepParameter, TaskRef, WorkflowSpec};

/// What becomes of the runs of a workflow: by step and item.
type Fates = BTreeMap<(String, usize), Outcome>;

const FATES: [Outcome; 6] = [Outcome::Succeeded, Outcome::Succeeded, Outcome::NoData, Outcome::Failed, Outcome::TimedOut, Outcome::Skipped];
const ALL: [Outcome; 8] = [
    Outcome::Succeeded,
    Outcome::NoData,
    Outcome::Failed,
    Outcome::TimedOut,
    Outcome::Cancelled,
    Outcome::Skipped,
    Outcome::Missed,
    Outcome::Unknown,
];

fn step(at: usize, upstream: Vec<(usize, Option<Vec<Outcome>>)>, when: Option<u8>, items: Option<(usize, i32, bool, i32)>) -> Step {
    let mut needs: BTreeMap<usize, Option<Vec<Outcome>>> = BTreeMap::new();
    for (other, outcomes) in upstream.into_iter().filter(|_| at > 0) {
        needs.insert(other % at, outcomes);
    }
    let when = when.map(|kind| match (kind, needs.keys().next()) {
        (0, Some(other)) => format!("steps['s{other}'].outcome == 'Succeeded'"),
        (1, _) => "parameters.MODE == 'full'".to_owned(),
        (2, _) => "1 / 0 == 1".to_owned(),
        _ => "true".to_owned(),
    });
    Step {
        name: format!("s{at}"),
        task_ref: Some(TaskRef { name: "t".to_owned() }),
        depends_on: needs
            .into_iter()
            .map(|(other, outcomes)| Dependency { step: format!("s{other}"), outcomes: outcomes.filter(|some| !some.is_empty()) })
            .collect(),
        when,
        parameters: vec![StepParameter { name: "P".to_owned(), value: None, expression: Some("parameters.MODE".to_owned()) }],
        for_each: items.map(|(count, parallelism, fail_fast, max_failed)| ForEach {
            items: Some((0..count).map(|n| json!(n)).collect()),
            parallelism: Some(parallelism),
            fail_fast: Some(fail_fast),
            max_failed: Some(max_failed),
            ..ForEach::default()
        }),
        ..Step::default()
    }
}

/// The same, but it asks somebody instead of running something.
fn asking(step: Step) -> Step {
    Step { task_ref: None, approval: Some(Approval::default()), parameters: Vec::new(), for_each: None, ..step }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let outcomes = proptest::option::of(proptest::collection::btree_set(0..ALL.len(), 1..4))
        .prop_map(|some| some.map(|some| some.into_iter().map(|index| ALL[index]).collect::<Vec<_>>()));
    let one = (
        proptest::collection::vec((0usize..8, outcomes), 0..4),
        proptest::option::weighted(0.3, 0u8..4),
        proptest::option::weighted(0.3, (0usize..5, 1i32..4, any::<bool>(), 0i32..3)),
        proptest::bool::weighted(0.15),
    );
    let made = |(at, (upstream, when, items, asks))| {
        let step = step(at, upstream, when, items);
        if asks { asking(step) } else { step }
    };
    proptest::collection::vec(one, 1..9).prop_map(move |all| all.into_iter().enumerate().map(made).collect())
}

#[derive(Clone, Debug)]
struct World {
    spec: WorkflowSpec,
    fates: Vec<Outcome>,
    mode: &'static str,
    /// What happens, one after another: a run ends (which one), or a pass is lost with all it wrote down.
    turns: Vec<(u8, bool)>,
    stop_after: Option<usize>,
}

fn worlds(fail_fast: impl Strategy<Value = bool>, stop: impl Strategy<Value = Option<usize>>) -> impl Strategy<Value = World> {
    let finally = proptest::collection::vec((proptest::option::weighted(0.3, 1u8..4), any::<bool>()), 0..3);
    let fates = proptest::collection::vec(select(&FATES[..]), 80);
    let turns = proptest::collection::vec((any::<u8>(), proptest::bool::weighted(0.2)), 120);
    (steps(), finally, fail_fast, proptest::option::of(1i32..5), fates, select(&["full", "part"][..]), turns, stop).prop_map(
        |(steps, finally, fail_fast, parallelism, fates, mode, turns, stop_after)| {
            let finally = finally
                .into_iter()
                .enumerate()
                .map(|(at, (when, each))| Step { name: format!("f{at}"), ..step(0, Vec::new(), when, each.then_some((3, 2, false, 0))) });
            let spec =
                WorkflowSpec { steps, finally: finally.collect(), fail_fast: Some(fail_fast), parallelism, ..WorkflowSpec::default() };
            World { spec, fates, mode, turns, stop_after }
        },
    )
}

/// The fate of each run, whenever it comes.
fn fates(world: &World) -> Fates {
    let names = world.spec.steps.iter().chain(&world.spec.finally).map(|step| step.name.clone());
    let keys = names.flat_map(|name| (0..5).map(move |index| (name.clone(), index)));
    keys.zip(world.fates.iter().cycle().copied()).collect()
}

/// What a step comes to when nothing ever stops or hurries: straight from the documentation.
fn naive(spec: &WorkflowSpec, fates: &Fates, mode: &str) -> BTreeMap<String, Outcome> {
    let mut ends: BTreeMap<String, Outcome> = BTreeMap::new();
    for step in spec.steps.iter().chain(&spec.finally) {
        let satisfied = step.depends_on.iter().all(|dependency| {
            let wanted = dependency.outcomes.clone().unwrap_or_else(|| vec![Outcome::Succeeded]);
            wanted.contains(&ends[&dependency.step])
        });
        let when = match step.when.as_deref() {
            Some("1 / 0 == 1") => None,
            Some("parameters.MODE == 'full'") => Some(mode == "full"),
            Some(text) if text.starts_with("steps") => Some(ends[&step.depends_on[0].step] == Outcome::Succeeded),
            _ => Some(true),
        };
        let end = match (satisfied, when) {
            (false, _) | (true, Some(false)) => Outcome::Skipped,
            (true, None) => Outcome::Failed,
            (true, Some(true)) => match &step.for_each {
                None => fates[&(step.name.clone(), 0)],
                Some(each) => naive_each(step, each, fates),
            },
        };
        ends.insert(step.name.clone(), end);
    }
    ends
}

fn naive_each(step: &Step, each: &ForEach, fates: &Fates) -> Outcome {
    let ends: Vec<Outcome> = (0..each.items.as_ref().map_or(0, Vec::len)).map(|index| fates[&(step.name.clone(), index)]).collect();
    let bad = ends.iter().filter(|end| is_bad(**end)).count();
    if !ends.is_empty() && ends.iter().all(|end| *end == Outcome::Skipped) {
        Outcome::Skipped
    } else if bad > usize::try_from(each.max_failed.unwrap_or(0)).unwrap() {
        Outcome::Failed
    } else if ends.contains(&Outcome::Succeeded) {
        Outcome::Succeeded
    } else if bad == 0 || ends.contains(&Outcome::NoData) {
        Outcome::NoData
    } else {
        Outcome::Succeeded
    }
}

/// A run that exists.
struct Run {
    outcome: Option<Outcome>,
    cancelled: bool,
}

/// Plays a world to its end, checks the laws at each pass, and returns the last decision.
fn play(world: &World) -> Decision {
    let graph = Graph::of(&world.spec).unwrap();
    let fates = fates(world);
    let parameters = BTreeMap::from([("MODE".to_owned(), world.mode.to_owned())]);
    let outputs: Value = json!({ "rows": 1 });
    let mut runs: BTreeMap<(String, usize), Run> = BTreeMap::new();
    let mut recorded: BTreeMap<String, Recorded> = BTreeMap::new();
    let mut turns = world.turns.iter().cycle();
    let mut steps_end: Option<Ended> = None;
    let regular: Vec<&str> = world.spec.steps.iter().map(|step| step.name.as_str()).collect();
    for pass in 0..2000 {
        let stop = world.stop_after.filter(|after| pass >= *after).map(|_| Stop::Cancelled);
        let steps = world.spec.steps.iter().chain(&world.spec.finally).map(|step| {
            let of_step = runs.iter().filter(|((name, _), _)| *name == step.name);
            let facts = of_step.map(|((_, index), run)| {
                (*index, RunFacts { outcome: run.outcome, told: ("R", "m"), outputs: Some(&outputs), kept: false })
            });
            (step.name.as_str(), StepFacts { runs: facts.collect(), recorded: recorded.get(&step.name).cloned() })
        });
        let zone = TimeZone::UTC;
        let facts = Facts {
            parameters: &parameters,
            slot: None,
            zone: &zone,
            steps: steps.collect(),
            stop,
            steps_end: steps_end.clone(),
            finally_over: false,
        };
        let decision = graph.decide(&facts).unwrap();
        assert_eq!(decision, graph.decide(&facts).unwrap(), "the same facts give the same decision");
        for state in &decision.steps {
            let known = recorded.get(&state.name).and_then(|recorded| recorded.ended.clone());
            if let Some(known) = known {
                assert_eq!(state.at, At::Ended(known), "{}: what has ended stays so", state.name);
            }
        }
        let asks = |name: &str| world.spec.steps.iter().any(|step| step.name == name && step.approval.is_some());
        if decision.end.is_some() {
            assert!(runs.iter().all(|((name, _), run)| run.outcome.is_some() || asks(name)), "ends when all has ended");
            assert!(decision.start.is_empty());
            return decision;
        }
        let (turn, lost) = turns.next().unwrap();
        // Only a part of what was decided is done, and nothing of it is written down, where the operator is killed.
        let done = if *lost { usize::from(*turn) % (decision.start.len() + 1) } else { decision.start.len() };
        for start in &decision.start[..done] {
            assert!(stop.is_none() || !regular.contains(&start.step.as_str()), "{} starts after the stop", start.step);
            if !regular.contains(&start.step.as_str()) {
                assert!(decision.steps[..regular.len()].iter().all(|state| state.at.outcome().is_some()), "finally comes after all");
            }
            let key = (start.step.clone(), start.index.unwrap_or(0));
            assert!(runs.insert(key, Run { outcome: None, cancelled: false }).is_none(), "{} starts twice", start.step);
        }
        for (step, index) in &decision.stop {
            assert!(!asks(step), "who asks has no run to stop");
            runs.get_mut(&(step.clone(), *index)).unwrap().cancelled = true;
        }
        let going = |name: &str| decision.steps.iter().any(|state| state.name == name && state.at.outcome().is_none());
        let mut live: Vec<(String, usize)> = runs.iter().filter(|(_, run)| run.outcome.is_none()).map(|(key, _)| key.clone()).collect();
        let running = live.iter().filter(|(name, _)| !asks(name)).count();
        live.retain(|(name, _)| !asks(name) || going(name));
        assert!(running <= world.spec.parallelism.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap()), "parallelism holds");
        for step in world.spec.steps.iter().chain(&world.spec.finally) {
            let limit = step.for_each.as_ref().and_then(|each| each.parallelism).map_or(1, |limit| usize::try_from(limit).unwrap());
            assert!(live.iter().filter(|(name, _)| *name == step.name).count() <= limit, "parallelism of {} holds", step.name);
        }
        if *lost {
            continue;
        }
        for step in &decision.ask {
            assert!(stop.is_none(), "{step} asks after the stop");
            assert!(runs.insert((step.clone(), 0), Run { outcome: None, cancelled: false }).is_none(), "{step} asks twice");
        }
        steps_end = decision.steps_end.clone();
        for state in &decision.steps {
            let started = runs.keys().filter(|(name, _)| *name == state.name && !asks(name)).count();
            let ended = match &state.at {
                At::Ended(ended) => Some(ended.clone()),
                _ => None,
            };
            recorded.insert(state.name.clone(), Recorded { started, items: state.items.map(|items| items.total), ended });
        }
        if let Some(key) = live.get(usize::from(*turn) % live.len().max(1)) {
            let run = runs.get_mut(key).unwrap();
            run.outcome = Some(if run.cancelled { Outcome::Cancelled } else { fates[key] });
        } else {
            let moves = !decision.ask.is_empty() || decision.steps.iter().any(|state| state.at.outcome().is_none());
            assert!(moves, "nothing goes on, nothing waits, and there is no end");
        }
    }
    panic!("it does not end");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_order_and_the_crashes_each_step_ends_as_a_naive_evaluation_says(world in worlds(Just(false), Just(None))) {
        // Items that fail fast end otherwise, on purpose: how many of them depends on what came first.
        let mut world = world;
        for each in world.spec.steps.iter_mut().filter_map(|step| step.for_each.as_mut()) {
            each.fail_fast = Some(false);
        }
        let decision = play(&world);
        let ends = naive(&world.spec, &fates(&world), world.mode);
        for state in &decision.steps {
            prop_assert_eq!(state.at.outcome(), Some(ends[&state.name]), "{}: {:?}", state.name, state.at);
        }
        let handled = |step: &Step| world.spec.steps.iter().any(|other| {
            let wants = |d: &Dependency| d.step == step.name && d.outcomes.as_ref().is_some_and(|some| some.contains(&ends[&step.name]));
            ends[&other.name] != Outcome::Skipped && other.depends_on.iter().any(wants)
        });
        let bad = world.spec.steps.iter().any(|step| is_bad(ends[&step.name]) && !handled(step));
        let finally_bad = world.spec.finally.iter().any(|step| is_bad(ends[&step.name]));
        prop_assert_eq!(decision.end.unwrap().outcome == Outcome::Failed, bad || finally_bad);
    }

    #[test]
    fn a_workflow_that_fails_fast_or_is_stopped_keeps_the_laws_and_ends(
        world in worlds(any::<bool>(), proptest::option::of(0usize..12))
    ) {
        let decision = play(&world);
        let finally = &decision.steps[world.spec.steps.len()..];
        let by_stop = |at: &At| matches!(at, At::Ended(ended) if ended.reason == reason::WORKFLOW_CANCELLED || ended.reason == reason::FAIL_FAST);
        prop_assert!(finally.iter().all(|state| !by_stop(&state.at)), "finally always runs: {:?}", finally);
        let stopped = decision.steps.iter().any(|s| matches!(&s.at, At::Ended(e) if e.reason == reason::WORKFLOW_CANCELLED));
        if stopped {
            prop_assert_eq!(decision.end.unwrap().outcome, Outcome::Cancelled);
        }
    }
}
