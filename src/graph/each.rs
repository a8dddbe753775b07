//! A step that is run once for each item of a list.

use super::{At, Counts, Each, Ended, Node, StepFacts, is_bad, reason};
use crate::api::Outcome;

/// How the items of a step stand.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    pub(super) counts: Counts,
    /// The items that have not begun, in order.
    pub(super) left: Vec<usize>,
    /// The first items that ended badly.
    bad: Vec<usize>,
    /// Whether the first bad end that is one too many means that no further item is started.
    pub(super) over: bool,
}

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
pub(super) fn progress(each: &Each, total: usize, facts: &StepFacts) -> Progress {
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
                counts.failed += 1;
                if progress.bad.len() < NAMED {
                    progress.bad.push(index);
                }
            }
            Some(_) => {}
        }
    }
    progress.over = each.fail_fast && counts.failed > each.max_failed;
    progress
}

impl Progress {
    /// What the step came to, once no item goes on and none will begin.
    pub(super) fn end(&self, each: &Each) -> At {
        let Counts { total, succeeded, no_data, failed, .. } = self.counts;
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
        let outcome = if succeeded == 0 && no_data > 0 { Outcome::NoData } else { Outcome::Succeeded };
        let parts = [(succeeded, "Succeeded"), (no_data, "NoData"), (failed, "ended badly, as maxFailed allows")];
        let parts: Vec<String> = parts.iter().filter(|(count, _)| *count > 0).map(|(count, words)| format!("{count} {words}")).collect();
        let message = format!("{total} item{}: {}", if total == 1 { "" } else { "s" }, parts.join(", "));
        At::Ended(Ended::new(outcome, reason::ITEMS_ENDED, message))
    }
}
