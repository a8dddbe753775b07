//! The laws of a plan over a world of one workflow's run and the runs of its steps.

mod approvals;

use std::collections::BTreeMap;

use jiff::ToSpan;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{
    api::{AutomationTask, Waiting, WorkflowStatus, label},
    build::Bundle,
    ledger,
};

fn task(name: &str) -> Option<Arc<AutomationTask>> {
    let parameters = json!([{ "name": "P" }]);
    let spec =
        json!({ "owner": { "team": "a" }, "image": "i", "parameters": parameters, "outputs": [{ "name": "rows", "type": "Integer" }] });
    let task = json!({ "metadata": { "name": name, "namespace": "ns", "uid": "t", "generation": 1 }, "spec": spec });
    (name != "gone").then(|| Arc::new(serde_json::from_value(task).unwrap()))
}

fn workflow(spec: &Value) -> Workflow {
    let mut spec = spec.clone();
    spec["owner"] = json!({ "team": "data", "onCall": "night-desk" });
    serde_json::from_value(json!({ "metadata": { "name": "w", "namespace": "ns", "uid": "w1", "generation": 1 }, "spec": spec })).unwrap()
}

fn definition_of(workflow: &Workflow) -> Result<Arc<Definition>, Rejected> {
    let bundle = Bundle::gather(workflow, task, |_| None)
        .map_err(|unbundled| Rejected { is_missing: unbundled.is_missing, problems: unbundled.problems })?;
    let name = bundle.name();
    Definition::of(bundle, name).map(Arc::new).map_err(|problems| Rejected { is_missing: false, problems })
}

/// A run of a workflow on a server of its own.
#[derive(Clone)]
struct World {
    workflow: Workflow,
    run: AutomationRun,
    children: BTreeMap<String, AutomationRun>,
    now: Timestamp,
    refuse: bool,
    answered: BTreeMap<String, Timestamp>,
    siblings: Vec<Arc<AutomationRun>>,
    originals: Vec<Original>,
}

impl World {
    fn new(spec: &Value) -> Self {
        let mut workflow = workflow(spec);
        let revision = definition_of(&workflow).ok().map(|definition| definition.name.clone());
        workflow.status = Some(WorkflowStatus { revision, ..WorkflowStatus::default() });
        let run = json!({
            "metadata": { "name": "r", "namespace": "ns", "uid": "r1", "generation": 1, "creationTimestamp": "2026-11-26T01:00:00Z" },
            "spec": { "workflowRef": { "name": "w" } }, "status": { "phase": "Pending" },
        });
        let now = "2026-11-26T01:00:00Z".parse().unwrap();
        Self {
            workflow,
            run: serde_json::from_value(run).unwrap(),
            children: BTreeMap::new(),
            now,
            refuse: false,
            answered: BTreeMap::new(),
            siblings: Vec::new(),
            originals: Vec::new(),
        }
    }

    fn seen(&self) -> Seen {
        let begun = self.status().revision.is_some() || !self.children.is_empty();
        let defined = definition_of(&self.workflow);
        Seen {
            run: Arc::new(self.run.clone()),
            workflow: Some(Arc::new(self.workflow.clone())),
            defined: match defined {
                Ok(definition) if begun => Defined::Frozen(definition),
                defined => Defined::AsItIs(defined),
            },
            children: self.children.values().cloned().map(Arc::new).collect(),
            siblings: self.siblings.clone(),
            answered: self.answered.clone(),
            originals: self.originals.clone(),
            refusals: Vec::new(),
        }
    }

    fn status(&self) -> AutomationRunStatus {
        self.run.status.clone().unwrap_or_default()
    }

    /// One pass, which is lost after so many of its writes. Returns how many changes it had.
    fn pass(&mut self, writes: usize) -> usize {
        let mut seen = self.seen();
        let mut plan = super::plan(&seen, self.now);
        assert_eq!(plan, super::plan(&seen, self.now), "deterministic");
        for change in plan.changes.iter().take(writes) {
            match change {
                Change::CreateRun(run) if self.refuse => {
                    let name = run.metadata.name.clone().unwrap();
                    seen.refusals.push(Refusal { name, kind: crate::plan::RefusalKind::Refused, message: "exceeded quota: q".to_owned() });
                }
                Change::CreateRun(run) => {
                    let mut run = (**run).clone();
                    let name = run.metadata.name.clone().unwrap();
                    run.metadata.uid = Some(format!("uid-{name}"));
                    run.metadata.creation_timestamp = Some(Time(self.now));
                    assert!(self.children.insert(name.clone(), run).is_none(), "{name} is created twice");
                }
                Change::CancelRun { name, .. } => self.children.get_mut(name).unwrap().spec.cancel = Some(true),
                Change::OwnRun { owners, .. } => self.run.metadata.owner_references = Some(owners.clone()),
                other => panic!("{other:?}"),
            }
        }
        if !seen.refusals.is_empty() {
            plan = super::plan(&seen, self.now);
        }
        if writes > plan.changes.len() && !plan.may_wait(self.now) {
            let before = self.status();
            assert!(before.completion_time.is_none() || before == plan.status, "monotone");
            self.run.status = Some(plan.status.clone());
            let again = super::plan(&Seen { run: Arc::new(self.run.clone()), ..seen.clone() }, self.now);
            assert_eq!(again.status, plan.status, "quiet");
        }
        let going = self.children.values().any(|child| !ledger::is_finished(child));
        let told = plan.status != *seen.run.status.as_ref().unwrap();
        assert!(!plan.changes.is_empty() || told || plan.wake.is_some() || going || plan.status.outcome.is_some(), "awake");
        plan.changes.len()
    }

    fn settle(&mut self) {
        assert!((0..100).any(|_| self.pass(usize::MAX) == 0), "convergent");
        // What was put off is told in the end.
        self.now += 3.seconds();
        self.pass(usize::MAX);
        self.pass(usize::MAX);
    }

    /// The run of a step, or of an item of it, ends like that.
    fn end(&mut self, name: &str, outcome: Outcome, outputs: Value) {
        let now = self.now;
        let child = self.children.get_mut(name).unwrap();
        child.status = Some(AutomationRunStatus {
            phase: Some(Phase::Finished),
            outcome: Some(outcome),
            result: outcome.result(),
            reason: Some(format!("{outcome:?}")),
            completion_time: Some(Time(now)),
            outputs: Some(outputs).filter(|outputs| !outputs.is_null()),
            ..AutomationRunStatus::default()
        });
    }

    fn end_step(&mut self, step: &str, outcome: Outcome) {
        let name = self.of_step(step).metadata.name.clone().unwrap();
        self.end(&name, outcome, Value::Null);
        self.settle();
    }

    fn of_step(&self, step: &str) -> &AutomationRun {
        self.children.values().find(|child| child.spec.step.as_ref().is_some_and(|of| of.name == step)).unwrap_or_else(|| panic!("{step}"))
    }

    fn live(&self) -> Vec<String> {
        self.children
            .values()
            .filter(|child| !ledger::is_finished(child))
            .filter_map(|child| child.spec.step.clone())
            .map(|s| s.name)
            .collect()
    }

    fn step(&self, name: &str) -> (Phase, Option<Outcome>, String) {
        let status = self.status();
        let step = status.steps.iter().find(|step| step.name == name).unwrap();
        (step.phase, step.outcome, step.reason.clone().or_else(|| step.message.clone()).unwrap_or_default())
    }
}

fn chain() -> Value {
    json!({
        "steps": [
            { "name": "fetch", "taskRef": { "name": "fetch" } },
            { "name": "load", "taskRef": { "name": "load" }, "dependsOn": [{ "step": "fetch" }],
              "parameters": [{ "name": "P", "expression": "string(steps.fetch.outputs.rows + 1)" }] },
        ],
        "finally": [{ "name": "notify", "taskRef": { "name": "notify" }, "parameters": [{ "name": "P", "expression": "workflow.outcome" }] }],
        "timeouts": { "runSeconds": 1000, "finallySeconds": 100 },
    })
}

#[test]
fn steps_follow_one_another_with_outputs_and_finally_closes() {
    let mut world = World::new(&chain());
    world.settle();
    assert_eq!(world.live(), ["fetch"]);
    let fetch = world.of_step("fetch").clone();
    assert_eq!(fetch.metadata.owner_references.as_ref().unwrap()[0].uid, "r1");
    let annotations = fetch.metadata.annotations.clone().unwrap();
    assert_eq!(annotations[label::IDEMPOTENCY_KEY], "ns/r/fetch");
    assert_eq!(Some(&annotations[label::REVISION]), world.workflow.status.as_ref().unwrap().revision.as_ref());
    assert_eq!(world.status().message.as_deref(), Some("0 of 3 steps ended; running: fetch"));
    assert_eq!(world.step("load"), (Phase::Pending, None, "waits for fetch".to_owned()));
    world.end(&fetch.metadata.name.unwrap(), Outcome::Succeeded, json!({ "rows": 41 }));
    world.settle();
    assert_eq!(world.of_step("load").spec.parameters[0].value, "42");
    world.end_step("load", Outcome::Succeeded);
    assert_eq!(world.of_step("notify").spec.parameters[0].value, "Succeeded");
    assert_eq!(world.status().steps_end.unwrap().outcome, Outcome::Succeeded);
    world.end_step("notify", Outcome::Succeeded);
    let status = world.status();
    assert_eq!(
        (status.phase, status.outcome, status.reason.as_deref()),
        (Some(Phase::Finished), Some(Outcome::Succeeded), Some("StepsEnded"))
    );
    assert!(status.completion_time.is_some() && status.steps.iter().all(|step| step.run.is_some() && step.started == 1));
}

#[test]
fn finally_runs_after_a_failure_a_cancel_and_a_timeout_and_sees_which_it_was() {
    for (what, outcome) in [("fail", Outcome::Failed), ("cancel", Outcome::Cancelled), ("time", Outcome::TimedOut)] {
        let mut world = World::new(&chain());
        world.settle();
        match what {
            "fail" => world.end_step("fetch", Outcome::Failed),
            "cancel" => world.run.spec.cancel = Some(true),
            _ => world.now += 900.seconds(),
        }
        world.settle();
        if what != "fail" {
            assert_eq!(world.of_step("fetch").spec.cancel, Some(true), "{what}");
            world.end_step("fetch", Outcome::Cancelled);
        }
        assert_eq!(world.live(), ["notify"], "{what}");
        assert_eq!(world.of_step("notify").spec.parameters[0].value, format!("{outcome:?}"));
        assert_eq!(world.step("load").1, Some(Outcome::Skipped));
        world.end_step("notify", Outcome::Succeeded);
        assert_eq!(world.status().outcome, Some(outcome), "{what}: {:?}", world.status().message);
    }
}

#[test]
fn finally_itself_is_stopped_when_its_time_is_over() {
    let mut world = World::new(&chain());
    world.settle();
    world.run.spec.cancel = Some(true);
    world.settle();
    world.end_step("fetch", Outcome::Cancelled);
    assert_eq!(world.of_step("notify").spec.cancel, None);
    world.now += 100.seconds();
    world.settle();
    assert_eq!(world.of_step("notify").spec.cancel, Some(true), "a cancelled run has finallySeconds and not all that is left");
    world.end_step("notify", Outcome::Cancelled);
    assert_eq!(world.status().outcome, Some(Outcome::Cancelled));
}

#[test]
fn a_run_that_cannot_begin_says_why() {
    let told = |world: &World| {
        let status = world.status();
        (status.outcome, status.reason.unwrap_or_default(), status.message.unwrap_or_default())
    };
    let mut missing = World::new(&json!({ "steps": [{ "name": "a", "taskRef": { "name": "gone" } }] }));
    missing.settle();
    let message =
        "workflow w lacks something: steps[0].taskRef: there is no AutomationTask gone in this namespace; create it, or correct the name";
    assert_eq!(told(&missing), (None, "WorkflowNotReady".to_owned(), message.to_owned()));
    assert!(missing.status().waiting_on.is_some_and(|waiting| waiting.until.is_some()));
    missing.now += 900.seconds();
    missing.settle();
    assert_eq!(told(&missing).0, Some(Outcome::TimedOut));

    let mut wrong = World::new(&json!({ "steps": [{ "name": "a", "taskRef": { "name": "t" }, "when": "steps.b.outputs.x" }] }));
    wrong.settle();
    assert_eq!((told(&wrong).0, told(&wrong).1), (Some(Outcome::Failed), "WorkflowInvalid".to_owned()));
    assert!(told(&wrong).2.starts_with("workflow w: steps[0].when: "), "{}", told(&wrong).2);

    let mut parameter = World::new(&json!({ "steps": [{ "name": "a", "taskRef": { "name": "t" } }] }));
    parameter.run.spec.parameters = vec![crate::api::ParameterValue { name: "X".to_owned(), value: "1".to_owned() }];
    parameter.settle();
    assert_eq!(
        told(&parameter),
        (
            Some(Outcome::Failed),
            "InvalidParameters".to_owned(),
            "spec.parameters: the workflow has no parameter X; it has: none".to_owned()
        )
    );

    let mut unkept = World::new(&chain());
    unkept.workflow.status = None;
    unkept.settle();
    assert_eq!((told(&unkept).1.as_str(), unkept.children.len()), ("DefinitionPending", 0), "nothing begins that is not frozen");

    let mut cancelled = World::new(&chain());
    cancelled.run.spec.cancel = Some(true);
    cancelled.settle();
    assert_eq!((told(&cancelled).0, cancelled.children.len()), (Some(Outcome::Cancelled), 0));

    let mut refused = World::new(&chain());
    refused.refuse = true;
    refused.pass(usize::MAX);
    assert!(told(&refused).2.contains("exceeded quota: q"), "{:?}", told(&refused));
    refused.refuse = false;
    refused.settle();
    assert_eq!(refused.live(), ["fetch"], "and it goes on once there is room");
}

#[test]
fn what_a_step_waits_on_is_told_of_the_whole_where_nothing_else_goes_on() {
    let mut world =
        World::new(&json!({ "steps": [{ "name": "a", "taskRef": { "name": "t" } }, { "name": "b", "taskRef": { "name": "t" } }] }));
    world.settle();
    let wait = |world: &mut World, step: &str, reason: &str| {
        let name = world.of_step(step).metadata.name.clone().unwrap();
        let waiting = Waiting { reason: reason.to_owned(), message: "no such image".to_owned(), until: None };
        let status = AutomationRunStatus { phase: Some(Phase::Pending), waiting_on: Some(waiting), ..AutomationRunStatus::default() };
        world.children.get_mut(&name).unwrap().status = Some(status);
        world.settle();
    };
    wait(&mut world, "a", "ImagePullBackOff");
    assert_eq!(world.step("a").2, "ImagePullBackOff");
    assert_eq!((world.status().reason.as_deref(), world.status().waiting_on), (Some("Running"), None), "b goes on");
    wait(&mut world, "b", "Starting");
    assert_eq!(world.status().waiting_on, None, "as pods do");
    world.end_step("b", Outcome::Succeeded);
    let waiting = world.status().waiting_on.unwrap();
    assert_eq!((waiting.reason.as_str(), waiting.message.as_str()), ("ImagePullBackOff", "step a: no such image"));
    world.end_step("a", Outcome::Succeeded);
    assert_eq!(world.status().waiting_on, None);
}

#[test]
fn a_step_whose_run_was_deleted_by_hand_is_not_run_again() {
    let mut world = World::new(&chain());
    world.settle();
    world.children.clear();
    world.settle();
    assert_eq!(world.step("fetch").1, Some(Outcome::Cancelled));
    assert_eq!(world.live(), ["notify"]);
}

#[test]
fn a_run_without_its_definition_ends_only_once_its_steps_are_stopped() {
    let mut world = World::new(&chain());
    world.settle();
    assert_eq!(world.run.metadata.owner_references.as_ref().map(|owners| owners[0].kind.as_str()), Some("Workflow"));
    let lost = |world: &World| Seen { defined: Defined::Gone("w-1".to_owned()), ..world.seen() };
    let plan = super::plan(&lost(&world), world.now);
    assert!(matches!(plan.changes.as_slice(), [Change::CancelRun { .. }]), "{:?}", plan.changes);
    assert!(
        plan.status.outcome.is_none() && plan.status.message.is_some_and(|message| message.starts_with("its steps are stopped first: "))
    );
    let fetch = world.of_step("fetch").metadata.name.clone().unwrap();
    world.end(&fetch, Outcome::Cancelled, Value::Null);
    let plan = super::plan(&lost(&world), world.now);
    assert_eq!((plan.status.outcome, plan.status.reason.as_deref()), (Some(Outcome::Failed), Some("RevisionGone")));
}

#[test]
fn a_run_that_waited_long_for_others_begins_all_the_same() {
    let mut world = World::new(&chain());
    world.now += 7200.seconds();
    world.settle();
    assert_eq!(world.live(), ["fetch"]);
    let mut late = World::new(&chain());
    late.workflow.status = None;
    late.now += 7200.seconds();
    late.settle();
    assert_eq!(
        (late.status().outcome, late.status().reason.as_deref()),
        (None, Some("DefinitionPending")),
        "it has 15 minutes from then on"
    );
}

#[test]
fn finally_has_its_time_however_late_the_steps_come_to_their_end() {
    let mut world = World::new(&chain());
    world.settle();
    world.now += 950.seconds();
    world.settle();
    world.now += 100.seconds();
    world.end_step("fetch", Outcome::Cancelled);
    assert_eq!(world.live(), ["notify"]);
    world.now += 90.seconds();
    world.settle();
    assert_eq!(world.of_step("notify").spec.cancel, None);
    world.now += 20.seconds();
    world.settle();
    assert_eq!(world.of_step("notify").spec.cancel, Some(true));
}

#[test]
fn steps_that_come_and_end_at_once_are_told_with_the_next_ones() {
    let mut world = World::new(&chain());
    world.pass(usize::MAX);
    assert_eq!(world.status().start_time, None, "the first look is told with what comes of it");
    assert_eq!(world.pass(usize::MAX), 0);
    assert_eq!(world.status().start_time, None);
    world.now += 1.seconds();
    let fetch = world.of_step("fetch").metadata.name.clone().unwrap();
    world.end(&fetch, Outcome::Succeeded, json!({ "rows": 1 }));
    assert_eq!(world.pass(usize::MAX), 1);
    world.now += 1.seconds();
    world.pass(usize::MAX);
    assert_eq!(world.step("fetch").1, Some(Outcome::Succeeded), "two seconds after the first of them");
}

/// A rerun of the world's run from its failed steps, with that spec.
fn from_failed(world: &World, spec: &Value) -> World {
    let mut again = World::new(spec);
    again.run.metadata.name = Some("r2".to_owned());
    again.run.metadata.uid = Some("r2".to_owned());
    again.run.spec.rerun_of = world.run.metadata.name.clone();
    again.run.spec.from_failed = Some(true);
    again.siblings = vec![Arc::new(world.run.clone()), Arc::new(again.run.clone())];
    let original = Original {
        run: Arc::new(world.run.clone()),
        definition: definition_of(&world.workflow).ok(),
        children: world.children.values().cloned().map(Arc::new).collect(),
    };
    again.originals = std::iter::once(original).chain(world.originals.iter().cloned()).collect();
    again
}

#[test]
fn a_rerun_from_the_failed_steps_keeps_the_others_with_what_they_told() {
    let spec = json!({ "failFast": false, "steps": [
        { "name": "fetch", "taskRef": { "name": "t" } },
        { "name": "each", "taskRef": { "name": "t" }, "dependsOn": [{ "step": "fetch" }], "forEach": { "items": [0, 1, 2] } },
        { "name": "load", "taskRef": { "name": "t" }, "dependsOn": [{ "step": "each" }],
          "parameters": [{ "name": "P", "expression": "string(steps.fetch.outputs.rows)" }] },
        { "name": "repair", "taskRef": { "name": "t" }, "dependsOn": [{ "step": "each", "outcomes": ["Failed"] }] },
        { "name": "apart", "taskRef": { "name": "t" } },
    ], "finally": [{ "name": "notify", "taskRef": { "name": "t" } }] });
    let mut first = World::new(&spec);
    first.settle();
    let fetch = first.of_step("fetch").metadata.name.clone().unwrap();
    first.end(&fetch, Outcome::Succeeded, json!({ "rows": 7 }));
    first.settle();
    let items: Vec<(String, i32)> = first
        .children
        .values()
        .filter_map(|child| Some((child.metadata.name.clone()?, child.spec.step.as_ref().filter(|of| of.name == "each")?.item?)))
        .collect();
    for (name, item) in items {
        first.end(&name, if item == 1 { Outcome::Failed } else { Outcome::Succeeded }, Value::Null);
    }
    for step in ["apart", "repair", "notify"] {
        first.settle();
        first.end_step(step, Outcome::Succeeded);
    }
    assert_eq!(first.status().phase, Some(Phase::Finished));

    let mut again = from_failed(&first, &spec);
    again.settle();
    assert_eq!(again.live(), ["each"], "what follows the item is run again, and nothing else: {:?}", again.status().steps);
    assert_eq!(again.of_step("each").spec.step.as_ref().unwrap().item, Some(1));
    assert_eq!(again.status().idempotency_key, first.status().idempotency_key);
    assert_eq!((again.step("fetch").1, again.step("apart").1), (Some(Outcome::Succeeded), Some(Outcome::Succeeded)));
    assert_eq!(again.status().steps[0].run.as_ref(), Some(&fetch), "the run that is kept is named");
    again.end_step("each", Outcome::Failed);
    again.end_step("repair", Outcome::Succeeded);
    again.end_step("notify", Outcome::Succeeded);

    let mut third = from_failed(&again, &spec);
    third.settle();
    assert_eq!(third.live(), ["each"], "what was kept is kept again");
    third.end_step("each", Outcome::Succeeded);
    assert_eq!(third.live(), ["load"]);
    assert_eq!(third.of_step("load").spec.parameters[0].value, "7");

    let mut nothing = from_failed(&first, &spec);
    nothing.originals[0].definition = None;
    nothing.settle();
    assert_eq!(nothing.status().reason.as_deref(), Some("InvalidRerun"), "never all of it again without a word");

    let mut edited = spec.clone();
    edited["steps"][0]["when"] = json!("true");
    let mut edited = from_failed(&first, &edited);
    edited.settle();
    assert_eq!(edited.live(), ["fetch"], "a step that is written otherwise is run again");
}

fn spec() -> impl Strategy<Value = Value> {
    let one = (
        prop::collection::btree_set(0usize..6, 0..3),
        prop::option::weighted(0.3, 0usize..4),
        prop::sample::select(vec!["[Succeeded]", "[Failed]", "[Succeeded, Failed, NoData]"]),
    );
    (prop::collection::vec(one, 1..7), 0usize..3, any::<bool>(), prop::option::of(1i32..4)).prop_map(
        |(all, finally, fail_fast, parallelism)| {
            let step = |at: usize, (needs, items, outcomes): (std::collections::BTreeSet<usize>, Option<usize>, &str)| {
                let outcomes: Vec<&str> = outcomes.trim_matches(['[', ']']).split(", ").collect();
                let needs: Vec<Value> = needs
                    .into_iter()
                    .filter(|other| *other < at)
                    .map(|other| json!({ "step": format!("s{other}"), "outcomes": outcomes }))
                    .collect();
                let mut step = json!({ "name": format!("s{at}"), "taskRef": { "name": "t" }, "dependsOn": needs });
                if let Some(items) = items {
                    step["forEach"] = json!({ "items": (0..items).collect::<Vec<_>>(), "parallelism": 2 });
                }
                step
            };
            let steps: Vec<Value> = all.into_iter().enumerate().map(|(at, one)| step(at, one)).collect();
            let finally: Vec<Value> = (0..finally).map(|at| json!({ "name": format!("f{at}"), "taskRef": { "name": "t" } })).collect();
            json!({ "steps": steps, "finally": finally, "failFast": fail_fast, "parallelism": parallelism })
        },
    )
}

/// Runs to the end: whenever all has settled, the first run that goes on ends as is its fate, which is its name's.
fn to_the_end(spec: &Value, fates: &[Outcome], kills: &[usize]) -> (Option<Outcome>, BTreeMap<String, Option<Outcome>>) {
    let mut world = World::new(spec);
    let mut kills = kills.iter().copied();
    for _ in 0..200 {
        while let Some(writes) = kills.next().filter(|writes| *writes < 6) {
            world.pass(writes);
        }
        world.settle();
        let Some(name) = world.children.iter().find(|(_, child)| !ledger::is_finished(child)).map(|(name, _)| name.clone()) else { break };
        let place = world.children[&name].spec.step.clone().unwrap();
        let sum: usize = place.name.bytes().map(usize::from).sum::<usize>() * 7 + usize::try_from(place.item.unwrap_or(0)).unwrap();
        world.end(&name, fates[sum % fates.len()], Value::Null);
    }
    let status = world.status();
    (status.outcome, status.steps.into_iter().map(|step| (step.name, step.outcome)).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn passes_that_are_lost_anywhere_change_no_end(
        spec in spec(),
        fates in prop::collection::vec(prop::sample::select(vec![Outcome::Succeeded, Outcome::Succeeded, Outcome::Failed, Outcome::NoData]), 11),
        kills in prop::collection::vec(0usize..9, 0..40),
    ) {
        let (outcome, steps) = to_the_end(&spec, &fates, &[]);
        prop_assert!(outcome.is_some() && steps.values().all(Option::is_some), "{outcome:?} {steps:?}");
        prop_assert_eq!(to_the_end(&spec, &fates, &kills), (outcome, steps));
    }
}
