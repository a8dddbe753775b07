//! What a rerun from the failed steps keeps of the runs that it repeats.
//!
//! A step is kept where it ended well, its run is there, it is written as it was, and all that it depends on is kept too or was
//! skipped: what follows a step that is run again is run again. Of a step with `forEach` the items that ended well are kept, where its
//! list is the same since all before it is kept. Steps of `finally` are always run again.
//!
//! An approval is kept where nothing at all is defined otherwise than it was when it was given: it is asked for again, and
//! what follows it is run again, once the workflow or one of its tasks has been edited.

use std::{collections::BTreeMap, sync::Arc};

use super::facts::place;
use crate::{
    api::{ApprovalStatus, AutomationRun, Outcome, RunResult, Step, StepStatus, WorkflowSpec},
    graph::Definition,
};

/// A run that is repeated.
#[derive(Clone, Debug)]
pub struct Original {
    /// The run, whole.
    pub run: Arc<AutomationRun>,
    /// What it ran; `None` where that is not there any more, and nothing can be kept.
    pub definition: Option<Arc<Definition>>,
    /// The runs of its steps.
    pub children: Vec<Arc<AutomationRun>>,
}

/// What is kept.
#[derive(Default)]
pub(super) struct Kept<'a> {
    /// Runs, by step and index of the item.
    pub(super) runs: BTreeMap<(&'a str, usize), &'a AutomationRun>,
    /// Approvals, by step.
    pub(super) approvals: BTreeMap<&'a str, &'a ApprovalStatus>,
}

/// What is kept of the first of `originals`: of its own runs of steps, and of those that it kept of the next one. `definition`
/// is the name of what is run now, and `spec` the workflow in it.
pub(super) fn kept<'a>(spec: &'a WorkflowSpec, definition: &str, originals: &'a [Original]) -> Kept<'a> {
    let Some((last, before)) = originals.split_first() else { return Kept::default() };
    let mut ran: BTreeMap<(String, usize), &AutomationRun> = BTreeMap::new();
    if let Some((then, _)) = last.workflow().filter(|_| last.run.spec.from_failed == Some(true)) {
        let of_before = kept(then, last.defined_by().unwrap_or_default(), before);
        ran.extend(of_before.runs.into_iter().map(|((step, item), run)| ((step.to_owned(), item), run)));
    }
    let own = last.children.iter().filter_map(|run| place(run).map(|(step, item)| ((step.to_owned(), item), &**run)));
    ran.extend(own);
    let same = last.defined_by() == Some(definition);
    let mut keeping = Keeping { last, same, ran, kept: Kept::default(), whole: BTreeMap::new() };
    // Steps are written in any order: each round takes those of which all before are known.
    while keeping.whole.len() < spec.steps.len() {
        let known = keeping.whole.len();
        for step in &spec.steps {
            let is_next = step.depends_on.iter().all(|on| keeping.whole.contains_key(on.step.as_str()));
            if is_next && !keeping.whole.contains_key(step.name.as_str()) {
                keeping.step(step);
            }
        }
        if keeping.whole.len() == known {
            break;
        }
    }
    keeping.kept
}

/// Names of the runs, by step.
pub(super) fn names(kept: &Kept) -> BTreeMap<String, String> {
    kept.runs.iter().map(|((step, _), run)| ((*step).to_owned(), run.metadata.name.clone().unwrap_or_default())).collect()
}

struct Keeping<'a> {
    last: &'a Original,
    /// Whether it ran the very definition that is run now.
    same: bool,
    /// The runs that it stood on, by step and item.
    ran: BTreeMap<(String, usize), &'a AutomationRun>,
    kept: Kept<'a>,
    /// Whether a step is kept as a whole, or was rightly skipped.
    whole: BTreeMap<&'a str, bool>,
}

impl<'a> Keeping<'a> {
    fn step(&mut self, step: &'a Step) {
        let upstream = step.depends_on.iter().all(|on| self.whole[on.step.as_str()]) && self.last.wrote(step);
        let status = self.last.status(&step.name);
        let outcome = status.and_then(|ended| ended.outcome);
        if let Some(approval) = status.and_then(|status| status.approval.as_ref()) {
            let stands = upstream && self.same && outcome == Some(Outcome::Succeeded);
            self.kept.approvals.extend(stands.then_some((step.name.as_str(), approval)));
            self.whole.insert(&step.name, stands);
            return;
        }
        let good = outcome.is_some_and(|outcome| outcome.result() == Some(RunResult::Good) || outcome == Outcome::Skipped);
        // What may fail of a step that ended well has failed, and what came after it stands on that.
        let runs = self.ran.iter().filter(|((of, _), run)| *of == step.name && upstream && (good || is_good(run)));
        let before = self.kept.runs.len();
        self.kept.runs.extend(runs.map(|((_, item), run)| ((step.name.as_str(), *item), *run)));
        // A run that is gone, with history or by hand, is run again.
        let items = status.and_then(|status| status.items);
        let had = items.map_or(1, |items| usize::try_from(items.succeeded + items.no_data + items.failed + items.skipped).unwrap_or(0));
        let all = outcome == Some(Outcome::Skipped) && items.is_none() || self.kept.runs.len() - before >= had;
        self.whole.insert(&step.name, upstream && good && all);
    }
}

fn is_good(run: &AutomationRun) -> bool {
    run.status.as_ref().and_then(|status| status.result) == Some(RunResult::Good)
}

impl Original {
    fn workflow(&self) -> Option<(&WorkflowSpec, &crate::graph::Graph)> {
        self.definition.as_ref()?.workflow(self.run.spec.workflow_name()?)
    }

    /// Name of the definition that it ran.
    fn defined_by(&self) -> Option<&str> {
        self.definition.as_ref().map(|definition| definition.name.as_str())
    }

    fn status(&self, step: &str) -> Option<&StepStatus> {
        self.run.status.as_ref()?.steps.iter().find(|status| status.name == step)
    }

    /// Whether the step was written as it is now.
    fn wrote(&self, step: &Step) -> bool {
        self.workflow().is_some_and(|(spec, _)| spec.steps.iter().any(|other| other == step))
    }
}
