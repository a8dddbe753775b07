//! The status of a workflow, from what was seen, and what of it is worth an Event.

use jiff::{SignedDuration, Timestamp};

use super::Seen;
use crate::{
    api::{
        AutomationRun, LastRun, RunResult, WorkflowStatus,
        condition::{self, Set, Status},
    },
    ledger,
    outcome::cut,
    plan::{Notice, automation_task::last_run},
};

/// How long a status may wait that says nothing out of the ordinary.
const TELL_LATER: SignedDuration = SignedDuration::from_secs(10);

pub(super) fn status(seen: &Seen, before: &WorkflowStatus, now: Timestamp) -> WorkflowStatus {
    let generation = seen.workflow.metadata.generation;
    let spec = &seen.workflow.spec;
    let finished = seen.runs.iter().map(AsRef::as_ref).filter(|run| ledger::is_finished(run)).max_by_key(|run| ledger::order(run));
    let mut active: Vec<&AutomationRun> = seen.runs.iter().map(AsRef::as_ref).filter(|run| !ledger::is_finished(run)).collect();
    active.sort_by_key(|run| (run.metadata.creation_timestamp.clone(), run.metadata.name.clone()));
    let ended = |last: &LastRun| last.completion_time.clone();
    let newer = finished.map(last_run).filter(|last| before.last_run.as_ref().is_none_or(|known| ended(known) <= ended(last)));
    let last_run = newer.or_else(|| before.last_run.clone());
    let revision = seen.definition.as_ref().ok().map(|definition| definition.name.clone());
    let made = revision.filter(|name| seen.revisions_made.contains(name));
    let conditions = conditions(seen, last_run.as_ref());
    WorkflowStatus {
        observed_generation: generation,
        conditions: condition::conditions(&before.conditions, conditions, generation, now),
        step_count: i32::try_from(spec.steps.len() + spec.finally.len()).unwrap_or(i32::MAX),
        active: active.iter().take(10).filter_map(|run| run.metadata.name.clone()).collect(),
        active_count: i32::try_from(active.len()).unwrap_or(i32::MAX),
        last_run,
        revision: made.or_else(|| before.revision.clone()),
    }
}

fn conditions<'a>(seen: &'a Seen, last: Option<&'a LastRun>) -> Vec<Set<'a>> {
    let set = |kind, status, reason: &'a str, message: String| Set { kind, status, reason, message: cut(&message, 2048) };
    let mut conditions = Vec::new();
    match (&seen.definition, seen.refusals.first()) {
        (Err(rejected), _) => {
            conditions.push(set(condition::READY, Status::False, rejected.reason(), rejected.message()));
            if !rejected.is_missing {
                conditions.push(set(condition::STALLED, Status::True, rejected.reason(), rejected.message()));
            }
        }
        (Ok(_), Some(refused)) => {
            let message = format!("the API server refuses ControllerRevision {}: {}", refused.name, refused.message);
            conditions.push(set(condition::READY, Status::False, "Refused", message));
        }
        (Ok(_), None) => {
            let message = "accepted; create an AutomationRun with workflowRef to run it".to_owned();
            conditions.push(set(condition::READY, Status::True, "Accepted", message));
        }
    }
    conditions.push(match last {
        None => set(condition::LAST_RUN_SUCCEEDED, Status::Unknown, "NoRunYet", "no run has finished yet".to_owned()),
        Some(last) => {
            let reason = last.reason.as_deref().filter(|reason| !reason.is_empty()).unwrap_or("Finished");
            let status = last.outcome.result().map_or(Status::Unknown, |result| Status::from(result == RunResult::Good));
            let message = format!("run {} ended {:?}: {}", last.name, last.outcome, last.message.as_deref().unwrap_or_default());
            set(condition::LAST_RUN_SUCCEEDED, status, reason, message)
        }
    });
    conditions
}

/// Until when a status may wait that says no more than that runs come and end as the last one did.
pub(super) fn may_be_told_later(before: &WorkflowStatus, after: &WorkflowStatus) -> Option<Timestamp> {
    let ended = |status: &WorkflowStatus| status.last_run.as_ref().and_then(|last| last.completion_time.as_ref()).map(|time| time.0);
    let how = |status: &WorkflowStatus| status.last_run.as_ref().map(|last| (last.outcome, last.reason.clone()));
    let told = |status: &WorkflowStatus| {
        let ready = condition::find(&status.conditions, condition::READY).cloned();
        (status.observed_generation, ready, status.step_count, status.revision.clone())
    };
    if told(before) != told(after) || how(before) != how(after) || ended(before) == ended(after) {
        return None;
    }
    ended(before).and_then(|from| from.checked_add(TELL_LATER).ok())
}

/// What is worth an Event: Ready changed its mind.
pub(super) fn notices(before: &WorkflowStatus, after: &WorkflowStatus) -> Vec<Notice> {
    let ready = |status: &WorkflowStatus| condition::find(&status.conditions, condition::READY).cloned();
    let (Some(now), was) = (ready(after), ready(before)) else { return Vec::new() };
    if was.is_some_and(|was| (was.status, was.reason, was.message) == (now.status.clone(), now.reason.clone(), now.message.clone())) {
        return Vec::new();
    }
    vec![Notice { warning: now.status != "True", reason: now.reason, action: "Accept", message: cut(&now.message, 1000) }]
}
