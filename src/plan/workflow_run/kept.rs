//! What a rerun from the failed steps keeps of the runs that it repeats.
//!
//! A step is kept where it ended well, is written as it was, and all that it depends on is kept too or was skipped: what
//! follows a step that is run again is run again. Of a step with `forEach` the items that ended well are kept, where its
//! list is the same since all before it is kept. Steps of `finally` are always run again.

use std::{collections::BTreeMap, sync::Arc};

use super::facts::place;
use crate::{
    api::{AutomationRun, Outcome, RunResult, Step, StepStatus, WorkflowSpec},
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

/// The runs that are kept, by step and index of the item.
pub(super) type Kept<'a> = BTreeMap<(&'a str, usize), &'a AutomationRun>;

/// What is kept of `originals`, the one that is repeated first, then the one that it repeated in the same way, and so on.
pub(super) fn kept<'a>(spec: &'a WorkflowSpec, originals: &'a [Original]) -> Kept<'a> {
    let mut keeping = Keeping { originals, runs: BTreeMap::new(), whole: BTreeMap::new() };
    // Steps are written in any order: each round takes those of which all before are known.
    while keeping.whole.len() < spec.steps.len() {
        let known = keeping.whole.len();
        for step in &spec.steps {
            if !keeping.whole.contains_key(step.name.as_str())
                && step.depends_on.iter().all(|on| keeping.whole.contains_key(on.step.as_str()))
            {
                keeping.step(step);
            }
        }
        if keeping.whole.len() == known {
            break;
        }
    }
    keeping.runs
}

/// Their names, by step.
pub(super) fn names(kept: &Kept) -> BTreeMap<String, String> {
    kept.iter().map(|((step, _), run)| ((*step).to_owned(), run.metadata.name.clone().unwrap_or_default())).collect()
}

struct Keeping<'a> {
    originals: &'a [Original],
    runs: Kept<'a>,
    /// Whether a step is kept as a whole, or was rightly skipped.
    whole: BTreeMap<&'a str, bool>,
}

impl<'a> Keeping<'a> {
    fn step(&mut self, step: &'a Step) {
        let upstream = step.depends_on.iter().all(|on| self.whole[on.step.as_str()]);
        let last = self.originals.first();
        let ended = last.and_then(|last| status(last, &step.name));
        let same = last.is_some_and(|last| written(last, step));
        let outcome = ended.and_then(|ended| ended.outcome);
        if upstream && same {
            let runs: Vec<_> = self.runs_of(step).into_iter().filter(|(_, run)| is_good(run)).collect();
            self.runs.extend(runs.into_iter().map(|(item, run)| ((step.name.as_str(), item), run)));
        }
        let good = outcome.is_some_and(|outcome| outcome.result() == Some(RunResult::Good) || outcome == Outcome::Skipped);
        self.whole.insert(&step.name, upstream && same && good);
    }

    /// The runs of a step: of each item the newest.
    fn runs_of(&self, step: &Step) -> BTreeMap<usize, &'a AutomationRun> {
        let mut runs = BTreeMap::new();
        for original in self.originals {
            for (item, run) in
                original.children.iter().filter_map(|run| place(run).filter(|(of, _)| *of == step.name).map(|(_, at)| (at, run)))
            {
                runs.entry(item).or_insert(&**run);
            }
        }
        runs
    }
}

fn is_good(run: &AutomationRun) -> bool {
    run.status.as_ref().and_then(|status| status.result) == Some(RunResult::Good)
}

fn status<'a>(of: &'a Original, step: &str) -> Option<&'a StepStatus> {
    of.run.status.as_ref()?.steps.iter().find(|status| status.name == step)
}

/// Whether the step was written as it is now.
fn written(of: &Original, step: &Step) -> bool {
    let name = of.run.spec.workflow_name().unwrap_or_default();
    let then = of.definition.as_ref().and_then(|definition| definition.workflow(name));
    then.is_some_and(|(spec, _)| spec.steps.iter().any(|other| other == step))
}
