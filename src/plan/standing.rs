//! What tasks and workflows say alike of how they stand: their schedule, their pause, their last run, and who answers for
//! them.

use jiff::Timestamp;

use super::pause::Pause;
use crate::{
    api::{
        AutomationRun, LastRun, Outcome, Owner, RunResult,
        condition::{self, Set, Status},
    },
    outcome::cut,
    schedule::Schedule,
};

/// What `Ready` says where the spec is accepted; `by_hand` where there is no schedule.
pub(super) fn accepted(schedule: Option<&Schedule>, next: Option<Timestamp>, paused: bool, by_hand: &str) -> String {
    match (schedule, next) {
        (Some(schedule), Some(_)) => format!("armed: {}", schedule.describe()),
        (Some(_), None) if paused => "accepted; the schedule is suspended".to_owned(),
        (Some(_), None) => "accepted; no slot is due in the next years".to_owned(),
        (None, _) => format!("accepted; {by_hand}"),
    }
}

/// Whether the schedule is paused.
pub(super) fn suspended<'a>(paused: Option<&Pause>) -> Set<'a> {
    let message = paused.map_or_else(|| "not suspended".to_owned(), Pause::message);
    let reason = paused.map_or("NotSuspended", Pause::reason);
    Set { kind: condition::SUSPENDED, status: Status::from(paused.is_some()), reason, message: cut(&message, 2048) }
}

/// How the run that finished last has ended.
pub(super) fn last_run_succeeded(last: Option<&LastRun>) -> Set<'_> {
    let set = |status, reason, message: String| Set { kind: condition::LAST_RUN_SUCCEEDED, status, reason, message: cut(&message, 2048) };
    let Some(last) = last else { return set(Status::Unknown, "NoRunYet", "no run has finished yet".to_owned()) };
    let reason = last.reason.as_deref().filter(|reason| !reason.is_empty()).unwrap_or("Finished");
    let status = last.outcome.result().map_or(Status::Unknown, |result| Status::from(result == RunResult::Good));
    set(status, reason, format!("run {} ended {:?}: {}", last.name, last.outcome, last.message.as_deref().unwrap_or_default()))
}

/// A finished run, as it is told of.
pub(super) fn last_run(run: &AutomationRun) -> LastRun {
    let status = run.status.clone().unwrap_or_default();
    LastRun {
        name: run.metadata.name.clone().unwrap_or_default(),
        outcome: status.outcome.unwrap_or(Outcome::Unknown),
        reason: status.reason,
        message: status.message.map(|message| cut(&message, 1024)),
        start_time: status.start_time,
        completion_time: status.completion_time,
    }
}

/// Who is to be asked, for the Event of a bad end.
pub(super) fn answerable(owner: Option<&Owner>) -> String {
    let Some(owner) = owner else { return String::new() };
    let more = |what: &str, value: &Option<String>| value.as_ref().map_or(String::new(), |value| format!(", {what} {value}"));
    format!(" (owner {}{}{})", owner.team, more("on call", &owner.on_call), more("runbook", &owner.runbook))
}
