//! A bundle with the graphs of its workflows: all that a workflow's run needs to go on.

use std::{collections::BTreeMap, sync::Arc};

use jiff::tz::TimeZone;

use super::{Graph, Target, check};
use crate::{
    api::{AutomationTask, Output, Step, WorkflowSpec},
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
    zone: TimeZone,
}

impl Definition {
    /// Checks each workflow against what its steps refer to.
    ///
    /// # Errors
    /// Tells what is wrong, each with the field and the fix.
    pub fn of(bundle: Bundle, name: String) -> Result<Self, Vec<String>> {
        let (mut graphs, mut problems) = (BTreeMap::new(), Vec::new());
        for (workflow, spec) in &bundle.workflows {
            let inner = if *workflow == bundle.workflow { String::new() } else { format!("workflow {workflow}: ") };
            match check(spec, |step| target(&bundle, workflow, step)) {
                Ok(graph) => drop(graphs.insert(workflow.clone(), Arc::new(graph))),
                Err(all) => problems.extend(all.into_iter().map(|problem| format!("{inner}{problem}"))),
            }
            problems.extend(limits_and_inline(&bundle, workflow, spec).into_iter().map(|problem| format!("{inner}{problem}")));
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
        if problems.is_empty() { Ok(Self { name, bundle, graphs, zone }) } else { Err(problems) }
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
        Self { name, bundle, graphs, zone }
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
                let mut task = task.clone();
                step.adjust(&mut task);
                problems.extend(build::check_adjusted(&format!("{list}[{at}]"), &task));
            }
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
