//! What to do about a run: start it, try it again, stop it, conclude it.

mod during;
mod ended;
mod report;
mod start;

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use during::during_job;
use ended::{after_job, job_gone};
pub(super) use report::human_duration;
use start::start;

use super::{Change, Plan, Refusal, after, automation_task::NO_DATA_JOB_SECONDS};
use crate::{
    admission::{Answer, Needs},
    api::{AutomationRun, AutomationRunStatus, AutomationTask, Contract, Outcome, Phase, Waiting, label},
    build, ledger,
    outcome::{JobSeen, Trouble, reason},
};

/// All that is known about a run when it is planned.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The run.
    pub run: Arc<AutomationRun>,
    /// Its task as it is now; `None` where there is none. Only a run that has not started looks at it.
    pub task: Option<Arc<AutomationTask>>,
    /// What the caps of its task ask of it, where there are any: then it starts only where it is let in. They are those of the
    /// task as it is now; where there is none any more, those of the definition that it starts from.
    pub caps: Option<Arc<Needs>>,
    /// What it was answered in this pass, where it asked to be let in.
    pub answer: Option<Answer>,
    /// The definition that it is to start from, where that is not the task as it is now.
    pub frozen: Option<Frozen>,
    /// The runs of its task, where it has not started, or where it is not on record what it repeats.
    pub siblings: Vec<Arc<AutomationRun>>,
    /// Its Jobs, in the order of attempts.
    pub jobs: Vec<JobSeen>,
    /// The first Job as it stands on the server, where another attempt may have to be made from it.
    pub first_job: Option<Value>,
    /// What Events say about the last Job, where it does not begin.
    pub troubles: Vec<Trouble>,
    /// What the API server refused in this pass.
    pub refusals: Vec<Refusal>,
}

/// A definition that a run was created with, or that it takes over from the run it repeats.
#[derive(Clone, Debug, PartialEq)]
pub enum Frozen {
    /// The task as it was.
    Task(Arc<AutomationTask>),
    /// Its revision, of this name, is not there any more.
    Gone(String),
}

/// Plans a run.
#[must_use]
pub fn plan(seen: &Seen, now: Timestamp) -> Plan<AutomationRunStatus> {
    let before = seen.run.status.clone().unwrap_or_default();
    if seen.run.metadata.deletion_timestamp.is_some() || before.phase == Some(Phase::Finished) {
        return Plan::nothing(before);
    }
    let mut draft = match seen.jobs.last() {
        Some(_) if lost_job(seen, &before).is_some() => job_gone(seen, now),
        Some(last) if last.end.is_some() => after_job(seen, last, &before, now),
        Some(last) => during_job(seen, last, &before, now),
        None if ledger::has_begun(&seen.run) => job_gone(seen, now),
        None => start(seen, &before, now),
    };
    if !seen.jobs.is_empty() {
        // Last: nothing that the run needs waits for it.
        draft.changes.extend(start::own_run(seen, true));
    }
    let no_data = draft.end.as_ref().is_some_and(|end| end.outcome == Outcome::NoData);
    if let Some(job) = seen.jobs.last().filter(|job| no_data && seen.run.spec.step_of().is_some() && !job.deleting) {
        // Kubernetes calls it failed, and no task prunes the Jobs of steps.
        draft.changes.push(Change::ExpireJob { name: job.name.clone(), uid: job.uid.clone(), seconds: NO_DATA_JOB_SECONDS });
    }
    draft.into_plan(seen, &before, now)
}

/// What a planner step decides; the rest of a status follows from what was seen.
#[derive(Default)]
struct Draft {
    changes: Vec<Change>,
    waiting: Option<Waiting>,
    end: Option<End>,
    wake: Option<Timestamp>,
    /// Leave the status as it is: what follows at once is worth more than this moment.
    hold: bool,
}

struct End {
    outcome: Outcome,
    reason: String,
    message: String,
    at: Option<Timestamp>,
}

impl Draft {
    fn end(outcome: Outcome, reason: &str, message: String) -> Self {
        Self { end: Some(End { outcome, reason: reason.to_owned(), message, at: None }), ..Self::default() }
    }
}

fn created(run: &AutomationRun, now: Timestamp) -> Timestamp {
    run.metadata.creation_timestamp.as_ref().map_or(now, |time| time.0)
}

/// A Job on record that is later than all that are left: somebody deleted it. It must not be made again.
fn lost_job<'a>(seen: &Seen, before: &'a AutomationRunStatus) -> Option<&'a str> {
    let recorded = before.attempts.last()?.job.as_str();
    let present = seen.jobs.iter().any(|job| job.name == recorded);
    (!present).then_some(recorded)
}

/// The terms of the run: those its first Job was rendered with.
fn terms(seen: &Seen) -> Contract {
    seen.jobs.first().and_then(|job| job.contract.clone()).unwrap_or_default()
}

/// When the run's time began to count. On record, since its first Job may have been deleted by now.
fn run_started(seen: &Seen, before: &AutomationRunStatus, job: &JobSeen) -> Timestamp {
    let first = seen.jobs.first().unwrap_or(job);
    before.start_time.as_ref().map_or(first.created, |recorded| recorded.0)
}

fn cancelled(seen: &Seen) -> bool {
    seen.run.spec.cancel == Some(true)
}

/// Why the run is cancelled: by somebody, or by the slot that replaces it.
fn cancel_reason(seen: &Seen) -> (&'static str, String) {
    match seen.run.metadata.annotations.as_ref().and_then(|annotations| annotations.get(label::REPLACED_BY)) {
        Some(slot) => (reason::REPLACED, format!("the slot of {slot} came while it went on, and concurrencyPolicy Replace stopped it")),
        None => (reason::CANCELLED, "spec.cancel was set".to_owned()),
    }
}

/// An adopted Job that does not bear its run's mark yet.
fn adopt(seen: &Seen, job: &JobSeen) -> Vec<Change> {
    let uid = seen.run.metadata.uid.clone().unwrap_or_default();
    if job.owners.contains(&uid) && job.run.is_some() {
        return Vec::new();
    }
    vec![Change::OwnJob { name: job.name.clone(), uid: job.uid.clone(), owner: build::owned_by_run(&seen.run, false) }]
}
