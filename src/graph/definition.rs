//! A bundle with the graphs of its workflows: all that a workflow's run needs to go on.

use std::{collections::BTreeMap, sync::Arc};

use jiff::tz::TimeZone;

use super::{Graph, Target, check};
use crate::{
    api::{Approval, AutomationTask, Output, Step, WorkflowSpec},
    build::{self, Bundle},
};

/// The largest bundle, in bytes. The API server stores no object above 1.5 MiB, and says so as if it were down.
const MOST: usize = 1_000_000;

/// A bundle that was checked.
#[derive(Clone, Debug)]
pub struct Definition {
    /// Name of the revision that holds it.
    pub name: String,
    /// What it is made from.
    pub bundle: Bundle,
    graphs: BTreeMap<String, Arc<Graph>>,
    /// How long approvals may be waited for in each workflow, those of workflows in it counted too, in seconds.
    waits: BTreeMap<String, i64>,
    zone: TimeZone,
}

/// `timeouts.runSeconds` where it is unset and nobody is asked, and `timeouts.finallySeconds`.
const RUN_SECONDS: i64 = 86_400;
const FINALLY_SECONDS: i64 = 600;

impl Definition {
    /// Checks each workflow against what its steps refer to.
    ///
    /// # Errors
    /// Tells what is wrong, each with the field and the fix.
    pub fn of(bundle: Bundle, name: String) -> Result<Self, Vec<String>> {
        let (mut graphs, mut problems) = (BTreeMap::new(), Vec::new());
        let waits = waits(&bundle);
        for (workflow, spec) in &bundle.workflows {
            let inner = if *workflow == bundle.workflow { String::new() } else { format!("workflow {workflow}: ") };
            match check(spec, |step| target(&bundle, workflow, step)) {
                Ok(graph) => drop(graphs.insert(workflow.clone(), Arc::new(graph))),
                Err(all) => problems.extend(all.into_iter().map(|problem| format!("{inner}{problem}"))),
            }
            let own = limits_and_inline(&bundle, workflow, spec).into_iter().chain(approvals(spec, &waits));
            problems.extend(own.map(|problem| format!("{inner}{problem}")));
        }
        for task in bundle.tasks.keys() {
            let checked = bundle.task(task, "").map_or(Ok(()), |task: AutomationTask| build::check_template(&task));
            problems.extend(checked.err().map(|problem| format!("task {task}: {problem}")));
        }
        let size = bundle.size();
        if size > MOST {
            problems.push(format!(
                "the workflow and all that it refers to are {size} bytes, and at most {MOST} can be kept as one: put long scripts into images, or split it"
            ));
        }
        let zone = zone(&bundle);
        if problems.is_empty() { Ok(Self { name, bundle, graphs, waits, zone }) } else { Err(problems) }
    }

    /// The zone in which expressions tell times.
    #[must_use]
    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// What runs have begun with: it was checked then, and what is checked otherwise by now stops no run.
    #[must_use]
    pub fn kept(bundle: Bundle, name: String) -> Self {
        let graph = |workflow: &str, spec: &WorkflowSpec| {
            check(spec, |step| target(&bundle, workflow, step)).or_else(|_| Graph::of(spec)).ok().map(Arc::new)
        };
        let graphs = bundle.workflows.iter().filter_map(|(workflow, spec)| Some((workflow.clone(), graph(workflow, spec)?))).collect();
        let zone = zone(&bundle);
        let waits = waits(&bundle);
        Self { name, bundle, graphs, waits, zone }
    }

    /// How many seconds a run of the workflow may take, and how many of them are kept for `finally`.
    #[must_use]
    pub fn seconds(&self, workflow: &str) -> (i64, i64) {
        let Some(spec) = self.bundle.workflows.get(workflow) else { return (RUN_SECONDS, 0) };
        let timeouts = spec.timeouts.clone().unwrap_or_default();
        // Who waits for people has the time that it has otherwise beside that.
        let waits = self.waits.get(workflow).copied().unwrap_or(0);
        (timeouts.run_seconds.unwrap_or_else(|| RUN_SECONDS.saturating_add(waits)), finally_seconds(spec))
    }

    /// A workflow in it, with its graph.
    #[must_use]
    pub fn workflow(&self, name: &str) -> Option<(&WorkflowSpec, &Graph)> {
        Some((self.bundle.workflows.get(name)?, self.graphs.get(name)?))
    }
}

/// What is wrong with tasks that are written inside steps, and with what steps say otherwise than their tasks.
fn limits_and_inline(bundle: &Bundle, workflow: &str, spec: &WorkflowSpec) -> Vec<String> {
    let mut problems = Vec::new();
    for (list, steps) in [("steps", &spec.steps), ("finally", &spec.finally)] {
        for (at, step) in steps.iter().enumerate() {
            if step.task.is_some() {
                let task = bundle.task_spec(&build::inline_task_name(workflow, &step.name));
                problems.extend(task.into_iter().flat_map(|task| build::check_inline(&format!("{list}[{at}].task"), task)));
            } else if let Some(task) = step.task_ref.as_ref().and_then(|task| bundle.task_spec(&task.name)) {
                let (mut task, name) = (task.clone(), step.task_ref.as_ref().map_or("", |task| &task.name));
                step.adjust(&mut task);
                let told = |problem| format!("{list}[{at}]: with what task {name} says beside it, {problem}");
                problems.extend(build::check_adjusted(&task).into_iter().map(told));
            }
        }
    }
    problems
}

fn finally_seconds(spec: &WorkflowSpec) -> i64 {
    let given = spec.timeouts.as_ref().and_then(|timeouts| timeouts.finally_seconds);
    if spec.finally.is_empty() { 0 } else { given.unwrap_or(FINALLY_SECONDS) }
}

/// How long each workflow may wait for approvals: one after another, since nobody knows which run side by side.
fn waits(bundle: &Bundle) -> BTreeMap<String, i64> {
    fn wait(bundle: &Bundle, workflow: &str, known: &mut BTreeMap<String, i64>) -> i64 {
        if let Some(known) = known.get(workflow) {
            return *known;
        }
        known.insert(workflow.to_owned(), 0);
        let mut seconds: i64 = 0;
        for step in bundle.workflows.get(workflow).into_iter().flat_map(|spec| spec.steps.iter().chain(&spec.finally)) {
            let own = step.approval.as_ref().map_or(0, Approval::timeout);
            let inner = step.workflow_ref.as_ref().map_or(0, |inner| wait(bundle, &inner.name, known));
            seconds = seconds.saturating_add(own).saturating_add(inner);
        }
        known.insert(workflow.to_owned(), seconds);
        seconds
    }
    let mut known = BTreeMap::new();
    for workflow in bundle.workflows.keys() {
        wait(bundle, workflow, &mut known);
    }
    known
}

/// What is wrong with steps that ask: time that the run has not, or nobody to wait for them.
fn approvals(spec: &WorkflowSpec, waits: &BTreeMap<String, i64>) -> Vec<String> {
    let mut problems = Vec::new();
    if let Some(run) = spec.timeouts.as_ref().and_then(|timeouts| timeouts.run_seconds) {
        let room = run - finally_seconds(spec);
        for (at, approval) in spec.steps.iter().enumerate().filter_map(|(at, step)| Some((at, step.approval.as_ref()?))) {
            let wait = approval.timeout();
            if wait >= room {
                problems.push(format!(
                    "steps[{at}].approval.timeoutSeconds: is {wait} (86400 where unset), and the steps of a run have {room} seconds; make it less, or timeouts.runSeconds more"
                ));
            }
        }
    }
    for (at, step) in spec.finally.iter().enumerate() {
        if let Some(inner) = step.workflow_ref.as_ref().filter(|inner| waits.get(&inner.name).is_some_and(|wait| *wait > 0)) {
            problems.push(format!(
                "finally[{at}].workflowRef: workflow {} asks for approval, and steps of finally wait for nobody; run another one",
                inner.name
            ));
        }
    }
    problems
}

/// The zone of its schedule. One that is not there is told of where the schedule is looked at.
fn zone(bundle: &Bundle) -> TimeZone {
    bundle.time_zone.as_ref().and_then(|zone| TimeZone::get(zone).ok()).unwrap_or(TimeZone::UTC)
}

/// What a step with `approval` tells: who answered, and why.
fn answer() -> Target {
    let output = |name: &str| Output { name: name.to_owned(), ..Output::default() };
    Target { name: "an approval".to_owned(), parameters: Vec::new(), outputs: vec![output("by"), output("reason")] }
}

/// What a step's task or workflow declares.
fn target(bundle: &Bundle, workflow: &str, step: &Step) -> Option<Target> {
    if step.approval.is_some() {
        return Some(answer());
    }
    if step.task.is_some() {
        let spec = bundle.task_spec(&build::inline_task_name(workflow, &step.name))?;
        return Some(Target { name: "its task".to_owned(), parameters: spec.parameters.clone(), outputs: spec.outputs.clone() });
    }
    if let Some(task) = &step.task_ref {
        let spec = bundle.task_spec(&task.name)?;
        return Some(Target { name: format!("task {}", task.name), parameters: spec.parameters.clone(), outputs: spec.outputs.clone() });
    }
    let workflow = step.workflow_ref.as_ref()?;
    let spec = bundle.workflows.get(&workflow.name)?;
    Some(Target { name: format!("workflow {}", workflow.name), parameters: spec.parameters.clone(), outputs: Vec::new() })
}
