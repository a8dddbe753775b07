//! A step that is run once for each item of a list.

use std::sync::Arc;

use super::{
    At, Counts, Each, Ended, Node, Start, StepFacts, Stop,
    decide::{Pass, invalid},
    is_bad, reason,
    values::Item,
};
use crate::api::Outcome;

/// How the items of a step stand.
#[derive(Clone, Debug, Default)]
struct Progress {
    counts: Counts,
    /// The items that have not begun, in order.
    left: Vec<usize>,
    /// The first items that ended badly.
    bad: Vec<usize>,
    /// Whether one was cancelled.
    cancelled: bool,
    /// Whether the first bad end that is one too many means that no further item is started.
    over: bool,
}

/// How many items of a step are started in one look. The next one follows when the first of them has come.
const MOST_STARTS: usize = 100;

/// The list is longer than it may be.
pub(super) fn too_long(node: &Node, each: &Each, length: usize) -> Option<Ended> {
    (length > each.max_items).then(|| {
        let message = format!(
            "{}.forEach: the list has {length} items and maxItems is {}; raise it, or make the list shorter",
            node.field, each.max_items
        );
        Ended::new(Outcome::Failed, reason::TOO_MANY_ITEMS, message)
    })
}

/// How many bad items a message names.
const NAMED: usize = 5;

/// What is known of the first `total` items.
fn progress(each: &Each, total: usize, facts: &StepFacts) -> Progress {
    let recorded = facts.recorded.as_ref().map_or(0, |recorded| recorded.started);
    let mut progress = Progress { counts: Counts { total, ..Counts::default() }, ..Progress::default() };
    let counts = &mut progress.counts;
    for index in 0..total {
        let outcome = match facts.runs.get(&index) {
            Some(run) => run.outcome,
            // It had a run, which somebody deleted: it must not get another one.
            None if index < recorded => Some(Outcome::Cancelled),
            None => {
                progress.left.push(index);
                continue;
            }
        };
        match outcome {
            None => counts.running += 1,
            Some(Outcome::Succeeded) => counts.succeeded += 1,
            Some(Outcome::NoData) => counts.no_data += 1,
            Some(outcome) if is_bad(outcome) => {
                progress.cancelled |= outcome == Outcome::Cancelled;
                counts.failed += 1;
                if progress.bad.len() < NAMED {
                    progress.bad.push(index);
                }
            }
            Some(_) => counts.skipped += 1,
        }
    }
    progress.over = each.fail_fast && counts.failed > each.max_failed;
    progress
}

impl Progress {
    /// What the step came to, once no item goes on and none will begin.
    fn end(&self, each: &Each) -> At {
        let Counts { total, succeeded, no_data, failed, skipped, .. } = self.counts;
        if failed > each.max_failed {
            let which: Vec<String> = self.bad.iter().map(usize::to_string).collect();
            let more = if failed > self.bad.len() { " …" } else { "" };
            let left = if self.left.is_empty() { String::new() } else { format!("; {} were not started", self.left.len()) };
            let message = format!("{failed} of {total} items ended badly: {}{more}{left}", which.join(", "));
            return At::Ended(Ended::new(Outcome::Failed, reason::ITEMS_FAILED, message));
        }
        if total == 0 {
            return At::Ended(Ended::new(Outcome::NoData, reason::NO_ITEMS, "the list is empty"));
        }
        let outcome = match (succeeded, no_data, failed) {
            (0, 0, 0) => Outcome::Skipped,
            (0, 1.., _) => Outcome::NoData,
            _ => Outcome::Succeeded,
        };
        let parts = [(succeeded, "Succeeded"), (no_data, "NoData"), (failed, "ended badly, as maxFailed allows"), (skipped, "Skipped")];
        let parts: Vec<String> = parts.iter().filter(|(count, _)| *count > 0).map(|(count, words)| format!("{count} {words}")).collect();
        let message = format!("{total} item{}: {}", if total == 1 { "" } else { "s" }, parts.join(", "));
        At::Ended(Ended::new(outcome, reason::ITEMS_ENDED, message))
    }
}

impl<'a> Pass<'a> {
    /// A step with a run for each item.
    pub(super) fn each(&mut self, node: usize, each: &'a Each, begun: bool, stop: Option<Stop>) -> At {
        let (of, seen) = (&self.graph.nodes[node], self.seen(node));
        let recorded = seen.recorded.as_ref();
        let (items, mut broken) = match self.values.items(of, &each.items, &self.outcomes) {
            Ok(items) => (items, None),
            Err(problem) => (Arc::default(), Some(problem.message)),
        };
        if !begun {
            if let Some(problem) = broken {
                return invalid(problem);
            }
            if let Some(ended) = too_long(of, each, items.len()) {
                return At::Ended(ended);
            }
        }
        // How many there are is known from the first of them, whatever becomes of what the list was made from.
        let known = recorded.and_then(|recorded| recorded.items).unwrap_or(items.len());
        let runs = seen.runs.keys().next_back().map_or(0, |last| last + 1);
        let total = known.max(runs).max(recorded.map_or(0, |recorded| recorded.started));
        let mut progress = progress(each, total, seen);
        let failed_fast = self.failed_fast.filter(|_| node < self.graph.regular);
        let mut started = 0;
        if stop.is_some() {
            let live = seen.runs.iter().filter(|(_, run)| run.outcome.is_none());
            self.stop.extend(live.map(|(index, _)| (of.name.clone(), *index)));
        } else if !progress.over && failed_fast.is_none() && broken.is_none() {
            let room = each.parallelism.saturating_sub(progress.counts.running).min(self.room).min(MOST_STARTS);
            for index in progress.left.iter().copied().take(room) {
                match self.values.parameters(of, &self.outcomes, items.get(index).map(|value| Item { value, index })) {
                    Ok(parameters) => self.start.push(Start { step: of.name.clone(), index: Some(index), parameters }),
                    Err(problem) => {
                        broken = Some(format!("{} (of item {index})", problem.message));
                        break;
                    }
                }
                started += 1;
            }
        }
        self.room -= started;
        progress.counts.running += started;
        progress.left.drain(..started);
        self.items[node] = Some(progress.counts);
        if progress.counts.running > 0 {
            return At::Running;
        }
        let left = progress.left.len();
        let cut_short =
            |outcome, why, words: &str| At::Ended(Ended::new(outcome, why, format!("{words}; {left} of {total} items were not started")));
        if let Some(problem) = broken.filter(|_| left > 0) {
            return invalid(problem);
        }
        match stop.filter(|_| left > 0 || progress.cancelled) {
            Some(Stop::Cancelled) => return cut_short(Outcome::Cancelled, reason::WORKFLOW_CANCELLED, "the run was cancelled"),
            Some(Stop::TimedOut) => return cut_short(Outcome::Cancelled, reason::WORKFLOW_TIMED_OUT, "the run's time was over"),
            None => {}
        }
        if left == 0 || progress.over {
            return progress.end(each);
        }
        if failed_fast.is_some() {
            return cut_short(Outcome::Cancelled, reason::FAIL_FAST, "another step ended badly, and failFast starts nothing after that");
        }
        if begun { At::Running } else { At::Waiting("could start; as many runs go on at once as parallelism allows".to_owned()) }
    }
}
