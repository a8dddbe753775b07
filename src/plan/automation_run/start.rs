//! A run without a Job: make the first one, or say why not.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{Draft, Frozen, Seen, after, cancel_reason, cancelled, created};
use crate::{
    admission::{self, Ahead, Answer, Needs, Waits},
    api::{AutomationRunStatus, AutomationTask, ConcurrencyPolicy, Contract, Outcome, ParameterValue, Waiting},
    build, ledger,
    outcome::{self, reason},
    plan::{
        Change, Refusal, RefusalKind,
        identity::{Identity, identity},
    },
    schedule::{self, Schedule},
};

/// What a run waits on whose task does not exist.
const TASK_NOT_FOUND: &str = "TaskNotFound";
/// How long a run may wait for a task that does not exist: as long as for a pod, where a task says nothing else.
const NO_TASK_SECONDS: i64 = 900;
/// How long after its creation a run is taken to be there without another look.
const FRESH: SignedDuration = SignedDuration::from_secs(30);

/// No Job yet: make the first one, or say why not.
pub(super) fn start(seen: &Seen, before: &AutomationRunStatus, now: Timestamp) -> Draft {
    if cancelled(seen) {
        let (why, words) = cancel_reason(seen);
        return Draft::end(Outcome::Cancelled, why, format!("{words} before the run started"));
    }
    let identity = match identity(&seen.run, before, &seen.siblings) {
        Ok(identity) => identity,
        Err(problem) => return Draft::end(Outcome::Failed, reason::INVALID_RERUN, problem),
    };
    let name = seen.run.spec.task_name();
    let present = seen.task.as_deref().filter(|task| task.metadata.deletion_timestamp.is_none());
    let leaving = seen.task.is_some() && present.is_none();
    let task = match &seen.frozen {
        Some(Frozen::Gone(revision)) => {
            let message = format!(
                "the definition that it was to run is gone: there is no ControllerRevision {revision}; create another AutomationRun"
            );
            return Draft::end(Outcome::Failed, reason::REVISION_GONE, message);
        }
        Some(Frozen::Task(task)) if !leaving => task.as_ref(),
        _ => match present {
            Some(task) => task,
            None => {
                let until = task_until(seen, before, now);
                let message = format!("spec.taskRef: there is no AutomationTask {name} in this namespace; create it, or correct the name");
                return wait_or_fail(TASK_NOT_FOUND, message, until, now);
            }
        },
    };
    if let Err(problem) = build::check_template(task) {
        return Draft::end(Outcome::Failed, "TaskInvalid", format!("task {name}: {problem}"));
    }
    let values = match values(seen, task, &identity) {
        Ok(values) => values,
        Err(problem) => return Draft::end(Outcome::Failed, "InvalidParameters", problem),
    };
    let policy = present.map(|task| task.spec.policy()).unwrap_or_default();
    if let Some(ahead) = admission::ahead(&seen.run, &seen.siblings, policy) {
        return queued(seen, &ahead, policy);
    }
    let holds = match room(seen) {
        Room::Enough(holds) => holds,
        Room::Ask(needs) => {
            let ask = Change::AskForRoom {
                run_uid: seen.run.metadata.uid.clone().unwrap_or_default(),
                needs: needs.clone(),
                is_queued: admission::waits_for_room(&seen.run),
            };
            return Draft { changes: vec![ask], hold: true, ..Draft::default() };
        }
        Room::None(waits) => return waits_for_room(before, waits),
        Room::Unknown => return waits_to_know(before),
    };
    let contract = Contract::of(&task.spec, task.metadata.generation.unwrap_or(0));
    let until = start_until(seen, before, contract.pending_seconds, now);
    let run_name = seen.run.metadata.name.as_deref().unwrap_or_default();
    let job = build::job_name(run_name, 1);
    if let Some(refused) = seen.refusals.iter().find(|r| r.name == job) {
        return refused_job(refused, until, now);
    }
    // What was refused until the time ran out is not tried once more. A task that has come at last is worth a try.
    if now >= until
        && let Some(waiting) = before.waiting_on.as_ref().filter(|waiting| waiting.reason != TASK_NOT_FOUND)
    {
        let message = format!("could not start within timeouts.pendingSeconds ({} s): {}", contract.pending_seconds, waiting.message);
        return Draft::end(Outcome::TimedOut, &waiting.reason, message);
    }
    let told = build::Told { parameters: values, key: identity.key, slot: identity.slot };
    let create = Change::CreateJob {
        name: job,
        run_uid: seen.run.metadata.uid.clone().unwrap_or_default(),
        object: build::first_job(task, &seen.run, &told, holds.map(|needs| needs.mark())),
        let_in: holds.cloned(),
    };
    // That the run can be owned shows that it is still there. A run that has only just come needs no such proof, and gets
    // its owner together with the mark of its Job.
    let fresh = now.duration_since(created(&seen.run, now)) <= FRESH;
    let changes = match own_run(seen, false) {
        Some(own) if !fresh => vec![own, create],
        _ => std::iter::once(create).chain(own_run(seen, true)).collect(),
    };
    let (reason, message) = outcome::starting();
    Draft {
        changes,
        waiting: Some(Waiting { reason: reason.to_owned(), message: message.to_owned(), until: Some(Time(until)) }),
        // What a rerun repeats is written down while the other run is there to tell.
        hold: seen.run.spec.rerun_of.is_none(),
        ..Draft::default()
    }
}

/// The values that the container gets. A run of a slot that gives none for a parameter has it computed from the slot.
fn values(seen: &Seen, task: &AutomationTask, identity: &Identity) -> Result<Vec<(String, String)>, String> {
    // What a rerun inherits, and the task does not have any more, is nobody's mistake.
    let known = |name: &String| task.spec.parameters.iter().any(|parameter| parameter.name == *name);
    let own = |name: &String| seen.run.spec.parameters.iter().any(|value| value.name == *name);
    let mut given: Vec<ParameterValue> =
        identity.parameters.iter().filter(|value| known(&value.name) || own(&value.name)).cloned().collect();
    let schedule = seen.task.as_deref().and_then(|task| task.spec.schedule.as_ref());
    if let Some((slot, schedule)) = identity.slot.zip(schedule) {
        let meta = &seen.run.metadata;
        let schedule = Schedule::parse(schedule, meta.namespace.as_deref().unwrap_or_default(), seen.run.spec.task_name());
        if let Ok(schedule) = schedule {
            let computed = schedule::slot_values(&task.spec.parameters, slot, &schedule)?;
            given.extend(computed.into_iter().filter(|value| identity.parameters.iter().all(|known| known.name != value.name)));
        }
    }
    build::parameters::resolve("task", &task.spec.parameters, &given)
}

/// Another run must end first. That it has ended is told by its watch.
fn queued(seen: &Seen, ahead: &Ahead, policy: ConcurrencyPolicy) -> Draft {
    let message = match admission::turn(&seen.run, ahead, policy) {
        Ok(message) => message,
        Err(message) => return Draft::end(Outcome::Skipped, reason::SLOT_TAKEN, message),
    };
    let waiting = Waiting { reason: reason::QUEUED.to_owned(), message, until: None };
    Draft { waiting: Some(waiting), ..Draft::default() }
}

/// How a run stands with the caps of its task.
enum Room<'a> {
    /// It may start, and holds this where there are caps.
    Enough(Option<&'a Arc<Needs>>),
    /// It has not asked in this pass, and needs this.
    Ask(&'a Arc<Needs>),
    /// It must wait.
    None(&'a Waits),
    /// Nobody knows yet.
    Unknown,
}

fn room(seen: &Seen) -> Room<'_> {
    match (&seen.answer, &seen.caps) {
        (Some(Answer::Granted(needs)), _) => Room::Enough(Some(needs)),
        (Some(Answer::Waits(waits)), _) => Room::None(waits),
        (Some(Answer::Behind), _) => Room::Unknown,
        (None, Some(needs)) => Room::Ask(needs),
        (None, None) => Room::Enough(None),
    }
}

/// There is no room for it. When there is, it is let in, and looked at. It is told once where it stands, and anew only when it
/// is near the front or waits for something else.
fn waits_for_room(before: &AutomationRunStatus, waits: &Waits) -> Draft {
    let reason = waits.lack.reason();
    let told = before.waiting_on.as_ref().filter(|told| waits.place > admission::NEAR && told.reason == reason);
    let message = told.map_or_else(|| waits.message(), |told| told.message.clone());
    Draft { waiting: Some(Waiting { reason: reason.to_owned(), message, until: None }), ..Draft::default() }
}

/// Whoever leads has just begun to, and looks at the run again when it knows. One that waits has told so already.
fn waits_to_know(before: &AutomationRunStatus) -> Draft {
    let told = before.waiting_on.clone().filter(|told| reason::is_of_caps(&told.reason));
    let waiting = told.unwrap_or_else(|| Waiting {
        reason: reason::ROOM_UNKNOWN.to_owned(),
        message: "the operator has just begun to lead, and waits until it sees all runs that hold room under caps".to_owned(),
        until: None,
    });
    Draft { waiting: Some(waiting), ..Draft::default() }
}

/// Until when it waits for a task that does not exist. The time in the queue does not count.
fn task_until(seen: &Seen, before: &AutomationRunStatus, now: Timestamp) -> Timestamp {
    match &before.waiting_on {
        Some(waiting) if reason::is_queue(&waiting.reason) => after(now, NO_TASK_SECONDS),
        Some(Waiting { reason, until: Some(until), .. }) if reason == TASK_NOT_FOUND => until.0,
        _ => after(created(&seen.run, now), NO_TASK_SECONDS),
    }
}

/// Until when it may be refused to start. The time in the queue does not count.
fn start_until(seen: &Seen, before: &AutomationRunStatus, pending_seconds: i64, now: Timestamp) -> Timestamp {
    let known = before.waiting_on.as_ref().filter(|waiting| waiting.reason != TASK_NOT_FOUND);
    match known {
        Some(waiting) if reason::is_queue(&waiting.reason) => after(now, pending_seconds),
        Some(Waiting { until: Some(until), .. }) => until.0,
        _ => after(created(&seen.run, now), pending_seconds),
    }
}

/// Makes the task own the run where no task does, and marks the run where its first Job was made. Nothing where both is so.
pub(super) fn own_run(seen: &Seen, started: bool) -> Option<Change> {
    let owners = seen.run.metadata.owner_references.iter().flatten();
    // One that a backfill or a workflow's run owns goes with that.
    let owned = owners.into_iter().any(|owner| ["AutomationTask", "AutomationRun", "Backfill"].contains(&owner.kind.as_str()));
    let task = seen.task.as_deref().filter(|task| task.metadata.deletion_timestamp.is_none() && !owned);
    let started = started && !ledger::is_adopted(&seen.run) && !ledger::is_started(&seen.run);
    (task.is_some() || started).then(|| Change::own_run(&seen.run, task.map(build::owned_by_task), started))
}

pub(super) fn refused_job(refused: &Refusal, until: Timestamp, now: Timestamp) -> Draft {
    if refused.kind == RefusalKind::Leaving {
        let message =
            format!("the Job {} of a deleted run of the same name is still being removed; the run starts once it is gone", refused.name);
        let mut draft = wait_or_fail("NameTaken", message, until, now);
        // That it is gone is told by its watch. This is for the one that was gone before it was seen.
        draft.wake = draft.wake.map(|wake| wake.min(after(now, 5)));
        return draft;
    }
    if refused.kind == RefusalKind::NameTaken {
        let message = format!("a Job {} exists and is not this run's; delete it, or create the run under another name", refused.name);
        return Draft::end(Outcome::Failed, "NameTaken", message);
    }
    let (reason, message) = outcome::refusal(&refused.message);
    let mut draft = wait_or_fail(&reason, message, until, now);
    // The quota may have room again at any time, and nothing tells us.
    draft.wake = draft.wake.map(|wake| wake.min(after(now, 15)));
    draft
}

fn wait_or_fail(reason: &str, message: String, until: Timestamp, now: Timestamp) -> Draft {
    if now >= until {
        return Draft::end(Outcome::TimedOut, reason, message);
    }
    let waiting = Waiting { reason: reason.to_owned(), message: outcome::cut(&message, 2048), until: Some(Time(until)) };
    Draft { waiting: Some(waiting), wake: Some(until), ..Draft::default() }
}
