//! Which runs must end before one may start: those of its slot and of earlier ones, and those that hold the room under a cap.
//! The planner of a run asks; nothing is held but by a run that is not finished, so nothing leaks where one is deleted.

mod decide;
mod memory;
mod needs;
mod snapshot;
#[cfg(test)]
mod tests;

pub use decide::{Candidate, Decision, Holder, Lack, NEAR, Waits, decide};
pub use memory::{Answer, Memory};
pub use needs::{Needs, Slots, is_marked, marked};
pub use snapshot::{RunSeen, Snapshot, Source, Stage, job_frees, task_frees, waits_for_room};

use std::sync::Arc;

use crate::{
    api::{AutomationRun, ConcurrencyPolicy, Trigger, label},
    build, ledger,
};

/// How many slots may wait for their turn under `concurrencyPolicy: Queue`.
pub const LONGEST_QUEUE: usize = 20;
/// How far a chain of reruns is followed.
const LONGEST_CHAIN: usize = 10;

/// The run that another repeats, where it is known.
#[must_use]
pub fn original<'a>(run: &AutomationRun, runs: &'a [Arc<AutomationRun>]) -> Option<&'a Arc<AutomationRun>> {
    let name = run.spec.rerun_of.as_ref()?;
    runs.iter().find(|other| other.metadata.name.as_ref() == Some(name))
}

/// What the run has in common with its attempts and reruns, as `namespace/name` of the slot's own run. `None` where a
/// run that it repeats is not known.
#[must_use]
pub fn key(run: &AutomationRun, runs: &[Arc<AutomationRun>]) -> Option<String> {
    let mut root = run;
    for _ in 0..LONGEST_CHAIN {
        if let Some(recorded) = root.status.as_ref().and_then(|status| status.idempotency_key.clone()) {
            return Some(recorded);
        }
        let annotation = |key: &str| root.metadata.annotations.as_ref()?.get(key);
        // What people write on a run of theirs says nothing.
        let ours = matches!(root.spec.triggered_by(), Trigger::Backfill | Trigger::Step);
        if let Some(given) = annotation(label::IDEMPOTENCY_KEY).filter(|_| ours) {
            return Some(given.clone());
        }
        if root.spec.rerun_of.is_none() {
            // The container of an adopted run knows it by its Job's name.
            let name = annotation(label::ADOPTED_JOB).or(root.metadata.name.as_ref())?;
            return Some(build::idempotency_key(root.metadata.namespace.as_deref().unwrap_or_default(), name));
        }
        root = original(root, runs)?;
    }
    None
}

/// Whether the run is one of the task's schedule and goes on.
#[must_use]
pub fn is_live_slot(run: &AutomationRun) -> bool {
    run.spec.triggered_by().is_scheduled() && !ledger::is_finished(run)
}

/// Whether the run waits for its turn, or has yet to be looked at.
#[must_use]
pub fn is_waiting(run: &AutomationRun) -> bool {
    !ledger::is_finished(run) && !ledger::has_begun(run)
}

/// Why a run must not start yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ahead {
    /// The run that it waits for, the first of them.
    pub run: String,
    /// How many others it waits for.
    pub others: usize,
    /// Whether that run is one of the same slot, and not of an earlier one.
    pub same_slot: bool,
}

/// What `run` must wait for, among all `runs` of its task: runs that bear its idempotency key and came before it and, where
/// the policy lets no two slots go on at once, runs of earlier slots. A scheduled run of the operator's clock alone waits
/// for other slots: what a CronJob has started runs already.
#[must_use]
pub fn ahead(run: &AutomationRun, runs: &[Arc<AutomationRun>], policy: ConcurrencyPolicy) -> Option<Ahead> {
    let own_key = key(run, runs);
    let age = |run: &AutomationRun| (run.metadata.creation_timestamp.clone(), run.metadata.name.clone());
    let in_turn = policy != ConcurrencyPolicy::Allow && run.spec.triggered_by().is_scheduled();
    let others = || runs.iter().filter(|other| other.metadata.uid != run.metadata.uid && !ledger::is_finished(other));
    let same: Vec<_> = others()
        .filter(|other| own_key.is_some() && key(other, runs) == own_key && (ledger::has_begun(other) || age(other) < age(run)))
        .collect();
    let earlier: Vec<_> = others().filter(|other| in_turn && is_live_slot(other) && other.spec.slot() < run.spec.slot()).collect();
    let same_slot = !same.is_empty();
    let mut all: Vec<&Arc<AutomationRun>> = same.into_iter().chain(earlier).collect();
    // The one that goes on is named before those that wait too.
    all.sort_by_key(|other| (!ledger::has_begun(other), other.spec.slot(), age(other)));
    all.dedup_by_key(|other| other.metadata.uid.clone());
    let first = all.first()?.metadata.name.clone().unwrap_or_default();
    Some(Ahead { run: first, others: all.len() - 1, same_slot })
}

/// Whether a run that must wait is to wait, and what it says then.
///
/// # Errors
/// Tells why it is not run at all: a rerun under Forbid beside a live run of its slot.
pub fn turn(run: &AutomationRun, ahead: &Ahead, policy: ConcurrencyPolicy) -> Result<String, String> {
    let others = match ahead.others {
        0 => String::new(),
        n => format!(" and {n} more"),
    };
    if ahead.same_slot && policy == ConcurrencyPolicy::Forbid && run.spec.rerun_of.is_some() {
        return Err(format!(
            "run {} of the same slot goes on, and concurrencyPolicy Forbid lets no rerun start beside it; create it again when that has ended",
            ahead.run
        ));
    }
    let which = if ahead.same_slot { "of the same slot " } else { "" };
    Ok(format!("waits for run {}{others} {which}to end", ahead.run))
}
