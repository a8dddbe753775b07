//! Workflows: steps in an order, each a run of its own.

mod approvals;
mod edits;
mod end;
mod items;
mod order;
mod refused;
mod rerun;
mod schedule;

use std::time::Duration;

use nightshift::api::{AutomationRun, AutomationRunStatus, Outcome, StepStatus, Workflow, condition};
use serde_json::{Value, json};

use crate::{
    support::{await_condition, yaml},
    with_operator::place::Place,
};

/// Ends as its parameter says: by exit code, with what it tells as output, after so many seconds.
const DOES: &str = r#"sleep "${SECONDS_TO_SLEEP:-0}"; printf '%s' "${TELLS:-{\}}" > /dev/termination-log; exit "${CODE:-0}""#;

/// A task `does` that steps use: they say what it does.
async fn task(place: &Place) {
    let spec = r"{
        parameters: [{name: CODE}, {name: TELLS}, {name: SECONDS_TO_SLEEP}],
        outputs: [{name: rows, type: Integer}, {name: files, type: List}],
        exitCodes: {noData: [9]}
    }";
    place.script("does", DOES, spec).await;
}

/// A step of it, with values for its parameters and what else there is to say.
fn step(name: &str, values: &[(&str, &str)], more: &str) -> Value {
    let parameters: Vec<Value> = values.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
    let mut step = json!({ "name": name, "taskRef": { "name": "does" }, "parameters": parameters });
    let more: Value = yaml(more);
    step.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    step
}

/// Creates a workflow with these steps, and more.
pub async fn workflow(place: &Place, name: &str, steps: &[Value], more: &str) {
    let mut spec = json!({ "owner": { "team": "tests" }, "steps": steps });
    let more: Value = yaml(more);
    spec.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    let object = json!({ "apiVersion": "nightshift.dev/v1alpha1", "kind": "Workflow", "metadata": { "name": name }, "spec": spec });
    place.create::<Workflow>(&serde_json::from_value(object).expect("a workflow")).await;
}

/// Awaits what Ready says of a workflow: its status and reason. Returns its message.
pub async fn ready(place: &Place, name: &str, status: &str, reason: &str) -> String {
    let of = |workflow: &Workflow| {
        let seen = workflow.status.clone().filter(|seen| seen.observed_generation == workflow.metadata.generation)?;
        condition::find(&seen.conditions, condition::READY).cloned()
    };
    let (what, wanted) = (format!("to be Ready={status} ({reason})"), (status.to_owned(), reason.to_owned()));
    let holds = move |workflow: Option<&Workflow>| workflow.and_then(of).is_some_and(|ready| (ready.status, ready.reason) == wanted);
    let seen = await_condition(&place.api::<Workflow>(), name, &what, Duration::from_secs(30), holds).await;
    seen.and_then(|workflow| of(&workflow)).expect("it holds").message
}

/// Runs a workflow now.
async fn run(place: &Place, name: &str, workflow: &str) {
    run_with(place, name, workflow, "{}").await;
}

/// Runs a workflow now. `more` is added to the spec of the run.
async fn run_with(place: &Place, name: &str, workflow: &str, more: &str) {
    let mut spec = json!({ "workflowRef": { "name": workflow } });
    let more: Value = yaml(more);
    spec.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    let run = json!({ "apiVersion": "nightshift.dev/v1alpha1", "kind": "AutomationRun", "metadata": { "name": name }, "spec": spec });
    place.create::<AutomationRun>(&serde_json::from_value(run).expect("a run")).await;
}

/// How each step stands: `fetch Succeeded`, `load Skipped UpstreamFailed`, `each Running`.
pub fn steps(status: &AutomationRunStatus) -> Vec<String> {
    let told = |step: &StepStatus| match (step.outcome, step.reason.as_deref()) {
        (None, _) => format!("{} {:?}", step.name, step.phase),
        (Some(Outcome::Succeeded), _) => format!("{} Succeeded", step.name),
        (Some(outcome), reason) => format!("{} {outcome:?} {}", step.name, reason.unwrap_or_default()),
    };
    status.steps.iter().map(told).collect()
}

/// The run of a step.
pub async fn child(place: &Place, run: &str, step: &str) -> AutomationRun {
    let runs = place.runs().await;
    let is_it =
        |child: &&AutomationRun| child.spec.step.as_ref().is_some_and(|of| (of.workflow_run.as_str(), of.name.as_str()) == (run, step));
    runs.iter().find(is_it).unwrap_or_else(|| panic!("a run of step {step}")).clone()
}

/// The workflow's run once a step of it runs in a pod.
async fn step_runs(place: &Place, run: &str, step: &'static str) {
    place.status(run, "to have begun", move |status| status.steps.iter().any(|s| s.name == step && s.run.is_some())).await;
    let name = child(place, run, step).await.metadata.name.expect("a name");
    place.running(&name).await;
}
