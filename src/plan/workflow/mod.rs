//! What to do about a workflow: check it, keep its definition, prune its runs, say how it stands.

mod clock;
mod report;
#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, sync::Arc};

use jiff::{SignedDuration, Timestamp};

pub(super) use clock::accept;

use super::{
    Change, Plan, Refusal,
    automation_task::{RevisionSeen, beyond},
    backfill, objective,
};
use crate::{
    api::{AutomationRun, Backfill, Workflow, WorkflowStatus},
    graph::Definition,
    ledger,
};

/// How long after a refusal to try again what nothing tells the end of.
const AGAIN: SignedDuration = SignedDuration::from_secs(60);

/// All that is known about a workflow when it is planned.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The workflow.
    pub workflow: Arc<Workflow>,
    /// What a run of it would run, as all that it refers to is now; or why it cannot be run.
    pub definition: Result<Arc<Definition>, Rejected>,
    /// Its runs, without those of its steps.
    pub runs: Vec<Arc<AutomationRun>>,
    /// Its revisions, where the definition has changed.
    pub revisions: Vec<RevisionSeen>,
    /// Its backfills.
    pub backfills: Vec<Arc<Backfill>>,
    /// Names of runs that this pass has made, or found to be there.
    pub runs_made: Vec<String>,
    /// Names of revisions that this pass has made, or found to be there.
    pub revisions_made: Vec<String>,
    /// What the API server refused in this pass.
    pub refusals: Vec<Refusal>,
}

/// Why a workflow cannot be run as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Whether only something that it refers to is not there, and may come.
    pub is_missing: bool,
    /// The fields and the fixes.
    pub problems: Vec<String>,
}

impl Rejected {
    /// Why, in one word.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        if self.is_missing { "ReferenceNotFound" } else { "InvalidWorkflow" }
    }

    /// The same in sentences.
    #[must_use]
    pub fn message(&self) -> String {
        self.problems.join("; ")
    }
}

/// Why what names a workflow waits, where there is none of that name.
pub(super) const NOT_FOUND: &str = "WorkflowNotFound";

/// The same in a sentence.
pub(super) fn not_found(name: &str) -> String {
    format!("spec.workflowRef: there is no Workflow {name} in this namespace; create it, or correct the name")
}

/// Whether the definition that the workflow has now is kept, so that a run may begin with it.
pub(super) fn is_kept(workflow: &Workflow, definition: &Definition) -> bool {
    workflow.status.as_ref().and_then(|status| status.revision.as_ref()) == Some(&definition.name)
}

/// What waits for that, in a sentence.
pub(super) fn not_kept(name: &str) -> String {
    format!("waits for the definition of workflow {name} to be kept; its status tells")
}

/// Plans a workflow.
#[must_use]
pub fn plan(seen: &Seen, now: Timestamp) -> Plan<WorkflowStatus> {
    let before = seen.workflow.status.clone().unwrap_or_default();
    if seen.workflow.metadata.deletion_timestamp.is_some() {
        return Plan::nothing(before);
    }
    let mut changes = keep(seen, &before);
    let accepted = accept(&seen.workflow, now);
    // No slot is started before what it is to run is kept.
    let is_kept = changes.is_empty();
    let kept = accepted.as_ref().ok().filter(|_| is_kept).map(|accepted| clock::keep(seen, &before, accepted, now));
    changes.extend(kept.iter().flat_map(|kept| kept.changes.iter().cloned()));
    changes.extend(prune(seen, &before));
    let schedule = accepted.as_ref().ok().and_then(|accepted| accepted.schedule.as_ref());
    let objective =
        objective::stand(seen, before.slo.as_ref(), (before.decided_through.as_ref(), &before.not_run), schedule, kept.as_ref(), now);
    let objective_wake = objective.as_ref().and_then(|objective| objective.wake);
    let status = report::status(seen, &before, &accepted, kept.as_ref(), objective, now);
    let second = SignedDuration::from_secs(1);
    let slot_wake = accepted.as_ref().ok().filter(|_| is_kept && seen.definition.is_ok()).and_then(|accepted| accepted.wake(now));
    let kept_wake = kept.as_ref().and_then(|kept| kept.wake).map(|wake| wake.max(now + second));
    let refused_wake = (!seen.refusals.is_empty()).then(|| now + AGAIN);
    let wake = [slot_wake, kept_wake, refused_wake, objective_wake].into_iter().flatten().min();
    let later = report::may_be_told_later(&before, &status);
    let mut notices = report::notices(&before, &status);
    notices.extend(kept.into_iter().flat_map(|kept| kept.notices));
    Plan { changes, status, report_after: None, notices, wake }.reported_after(later, now)
}

/// Makes the revision of the definition as it is, where that has changed, and then lets old ones go.
fn keep(seen: &Seen, before: &WorkflowStatus) -> Vec<Change> {
    let Ok(definition) = &seen.definition else { return Vec::new() };
    let name = &definition.name;
    if before.revision.as_ref() == Some(name) || seen.revisions_made.contains(name) {
        return Vec::new();
    }
    let live = seen.runs.iter().filter_map(|run| run.status.as_ref()?.revision.as_deref());
    let by_backfills = backfill::needed_revisions(&seen.backfills);
    let needed: BTreeSet<&str> = live.chain([name.as_str()]).chain(before.revision.as_deref()).chain(by_backfills).collect();
    let create = Change::CreateRevision { name: name.clone(), object: definition.bundle.revision(&seen.workflow) };
    let gone =
        beyond(&seen.revisions, &needed).into_iter().map(|old| Change::DeleteRevision { name: old.name.clone(), uid: old.uid.clone() });
    std::iter::once(create).chain(gone).collect()
}

/// Deletes runs that `history` no longer keeps. Those of their steps go with them.
fn prune(seen: &Seen, before: &WorkflowStatus) -> Vec<Change> {
    let history = seen.workflow.spec.history.clone().unwrap_or_default();
    // Only what the workflow's own status has taken up: a crash in between would lose it.
    let recorded = before.last_run.as_ref().and_then(|last| last.completion_time.as_ref()).map_or(Timestamp::MIN, |time| time.0);
    let repeated = |run: &AutomationRun| {
        seen.runs.iter().any(|other| {
            let status = other.status.as_ref();
            let known = status.is_some_and(|status| status.idempotency_key.is_some());
            // What it keeps it looks up until it is over.
            let keeps = other.spec.from_failed == Some(true);
            let chain = status.map(|status| status.rerun_chain.as_slice()).unwrap_or_default();
            let names = other.spec.rerun_of == run.metadata.name || run.metadata.name.as_ref().is_some_and(|name| chain.contains(name));
            !ledger::is_finished(other) && (keeps || !known) && names
        })
    };
    let expired = ledger::expired(seen.runs.iter().map(AsRef::as_ref), &history);
    let to_count = |run: &AutomationRun| objective::is_to_count(seen, before.slo.as_ref(), run);
    let needed = |run: &AutomationRun| repeated(run) || to_count(run) || backfill::is_yet_to_count(&seen.backfills, run);
    let gone = expired.into_iter().filter(|run| ledger::order(run).0 <= recorded && !needed(run));
    let delete = |run: &AutomationRun| Change::DeleteRun {
        name: run.metadata.name.clone().unwrap_or_default(),
        uid: run.metadata.uid.clone().unwrap_or_default(),
    };
    gone.map(delete).collect()
}
