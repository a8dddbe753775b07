//! The status of a workflow, from what was seen, and what of it is worth an Event.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{Seen, clock::Accepted};
use crate::{
    api::{
        AutomationRun, LastRun, RunResult, WorkflowStatus,
        condition::{self, Set, Status},
    },
    ledger,
    outcome::cut,
    plan::{Notice, objective, pause::pause, slots::Kept, standing},
    schedule::Schedule,
    slo::Standing,
};

/// How long a status may wait that says nothing out of the ordinary.
const TELL_LATER: SignedDuration = SignedDuration::from_secs(10);

pub(super) fn status(
    seen: &Seen,
    before: &WorkflowStatus,
    accepted: &Result<Accepted, (&'static str, String)>,
    kept: Option<&Kept>,
    objective: Option<Standing>,
    now: Timestamp,
) -> WorkflowStatus {
    let generation = seen.workflow.metadata.generation;
    let spec = &seen.workflow.spec;
    let finished = seen.runs.iter().map(AsRef::as_ref).filter(|run| ledger::is_finished(run)).max_by_key(|run| ledger::order(run));
    let mut active: Vec<&AutomationRun> = seen.runs.iter().map(AsRef::as_ref).filter(|run| !ledger::is_finished(run)).collect();
    active.sort_by_key(|run| (run.metadata.creation_timestamp.clone(), run.metadata.name.clone()));
    let ended = |last: &LastRun| last.completion_time.clone();
    let newer = finished.map(standing::last_run).filter(|last| before.last_run.as_ref().is_none_or(|known| ended(known) <= ended(last)));
    let last_run = newer.or_else(|| before.last_run.clone());
    let revision = seen.definition.as_ref().ok().map(|definition| definition.name.clone());
    let made = revision.filter(|name| seen.revisions_made.contains(name));
    let good = seen.runs.iter().filter(|run| ledger::is_finished(run)).filter_map(|run| run.status.as_ref());
    let good = good.filter(|status| status.result == Some(RunResult::Good)).filter_map(|status| status.completion_time.clone()).max();
    let schedule = accepted.as_ref().ok().and_then(|accepted| accepted.schedule.as_ref());
    let next = accepted.as_ref().ok().filter(|_| seen.definition.is_ok()).and_then(|accepted| accepted.next(now));
    let shown = match accepted {
        Ok(_) => Some(cut(&schedule.map_or_else(|| "on demand".to_owned(), Schedule::describe), 2048)),
        Err(_) => before.schedule.clone(),
    };
    let slo = objective.map(|objective| objective.status);
    let mut conditions = conditions(seen, accepted, next, last_run.as_ref(), now);
    conditions.extend(slo.as_ref().map(objective::met));
    WorkflowStatus {
        observed_generation: generation,
        conditions: condition::conditions(&before.conditions, conditions, generation, now),
        clock: kept.map_or_else(|| before.clock.clone(), |kept| Some(kept.clock.clone())),
        schedule: shown,
        next: next.zip(schedule).map(|(slot, schedule)| schedule.describe_slot(slot)),
        next_schedule_time: next.map(Time),
        decided_through: kept.map_or_else(|| before.decided_through.clone(), |kept| kept.decided_through.map(Time)),
        not_run: kept.map_or_else(|| before.not_run.clone(), |kept| kept.not_run.clone()),
        last_successful_time: good.max(before.last_successful_time.clone()),
        step_count: i32::try_from(spec.steps.len() + spec.finally.len()).unwrap_or(i32::MAX),
        active: active.iter().take(10).filter_map(|run| run.metadata.name.clone()).collect(),
        active_count: i32::try_from(active.len()).unwrap_or(i32::MAX),
        last_run,
        slo,
        revision: made.or_else(|| before.revision.clone()),
    }
}

fn conditions<'a>(
    seen: &'a Seen,
    accepted: &'a Result<Accepted, (&'static str, String)>,
    next: Option<Timestamp>,
    last: Option<&'a LastRun>,
    now: Timestamp,
) -> Vec<Set<'a>> {
    let set = |kind, status, reason: &'a str, message: String| Set { kind, status, reason, message: cut(&message, 2048) };
    let mut conditions = Vec::new();
    let paused = match accepted {
        Ok(accepted) => accepted.pause.clone(),
        Err(_) => pause(&seen.workflow.metadata, seen.workflow.spec.schedule.as_ref(), now).ok().flatten(),
    };
    let written = seen.workflow.spec.schedule.is_some();
    let held = |message: String| if written { format!("{message}. Until then no slot starts") } else { message };
    let refused = seen.refusals.iter().find(|refused| seen.definition.as_ref().is_ok_and(|definition| definition.name == refused.name));
    match (&seen.definition, refused) {
        (Err(rejected), _) => {
            conditions.push(set(condition::READY, Status::False, rejected.reason(), held(rejected.message())));
            if !rejected.is_missing {
                conditions.push(set(condition::STALLED, Status::True, rejected.reason(), held(rejected.message())));
            }
        }
        (Ok(_), None) if accepted.is_err() => {
            if let Err((reason, message)) = accepted {
                conditions.push(set(condition::READY, Status::False, reason, held(message.clone())));
                conditions.push(set(condition::STALLED, Status::True, reason, held(message.clone())));
            }
        }
        (Ok(_), Some(refused)) => {
            let message = format!("the API server refuses ControllerRevision {}: {}", refused.name, refused.message);
            conditions.push(set(condition::READY, Status::False, "Refused", held(message)));
        }
        (Ok(_), None) => {
            let schedule = accepted.as_ref().ok().and_then(|accepted| accepted.schedule.as_ref());
            let by_hand = "create an AutomationRun with workflowRef to run it";
            let message = standing::accepted(schedule, next, paused.is_some(), by_hand);
            conditions.push(set(condition::READY, Status::True, "Accepted", message));
        }
    }
    conditions.push(standing::suspended(paused.as_ref()));
    conditions.push(standing::last_run_succeeded(last));
    conditions
}

/// Until when a status may wait that says no more than that runs come and end as the last one did.
pub(super) fn may_be_told_later(before: &WorkflowStatus, after: &WorkflowStatus) -> Option<Timestamp> {
    let ended = |status: &WorkflowStatus| status.last_run.as_ref().and_then(|last| last.completion_time.as_ref()).map(|time| time.0);
    let how = |status: &WorkflowStatus| status.last_run.as_ref().map(|last| (last.outcome, last.reason.clone()));
    let told = |status: &WorkflowStatus| {
        let find = |kind| condition::find(&status.conditions, kind).cloned();
        let slots = (status.next.clone(), status.decided_through.clone(), status.not_run.clone(), status.clock.clone());
        let slo = status.slo.as_ref().map(objective::news);
        (status.observed_generation, find(condition::READY), find(condition::SUSPENDED), slots, status.revision.clone(), slo)
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
