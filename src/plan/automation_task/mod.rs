//! What to do about a task: keep its CronJobs, adopt the Jobs that they start, prune what is recorded, say how it stands.

mod clock;
mod cron_jobs;
mod native;
mod prune;
mod report;
mod revisions;

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use kube::api::ObjectMeta;

use cron_jobs::suspend;
pub use native::is_to_tell;
pub(super) use prune::NO_DATA_JOB_SECONDS;
use prune::prune;
use report::{may_be_told_later, notices, status};
pub(super) use revisions::beyond;

use super::{
    Change, Plan, Refusal, objective,
    pause::{Pause, pause},
    slots::{Kept, Scheduled},
};
use crate::{
    api::{self, AutomationRun, AutomationTask, AutomationTaskStatus, Backfill, ClockKind, Contract, History, NotRun, Slo, Trigger, label},
    build::{self, CronJobSpec},
    outcome::{JobSeen, Trouble},
    schedule::{self, ClockChoice, Schedule},
};

/// All that is known about a task when it is planned.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The task.
    pub task: Arc<AutomationTask>,
    /// CronJobs with the task's label.
    pub cron_jobs: Vec<CronJobSeen>,
    /// Jobs of the task, without their pods.
    pub jobs: Vec<JobSeen>,
    /// Its runs.
    pub runs: Vec<Arc<AutomationRun>>,
    /// Names of runs that Jobs are marked with and that the API server has just said do not exist.
    pub runs_gone: Vec<String>,
    /// Names that runs for Jobs would have and that runs, maybe of other tasks, have already.
    pub names_taken: Vec<String>,
    /// Its revisions, where the definition has changed.
    pub revisions: Vec<RevisionSeen>,
    /// Its backfills.
    pub backfills: Vec<Arc<Backfill>>,
    /// CronJobs as the API server returned them from this pass's writes.
    pub written: Vec<CronJobSeen>,
    /// Names of runs that this pass has made, or found to be there.
    pub runs_made: Vec<String>,
    /// Names of revisions that this pass has made, or found to be there.
    pub revisions_made: Vec<String>,
    /// What the API server refused in this pass.
    pub refusals: Vec<Refusal>,
    /// Warnings about its CronJobs, where slots have brought no run.
    pub troubles: Vec<Trouble>,
}

/// A revision as seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevisionSeen {
    /// Name.
    pub name: String,
    /// UID.
    pub uid: String,
    /// When it was made.
    pub created: Timestamp,
    /// Whether a run has run it, or is to run it.
    pub needed: bool,
}

/// A CronJob as seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CronJobSeen {
    /// Name.
    pub name: String,
    /// UID.
    pub uid: String,
    /// Resource version.
    pub resource_version: String,
    /// Generation: it rises with each change of the spec, whoever made it.
    pub generation: i64,
    /// UIDs of its owners.
    pub owners: Vec<String>,
    /// What we wanted when we last wrote it.
    pub desired: Option<String>,
    /// When it was created.
    pub created: Timestamp,
    /// The slot that it started last, or up to which it was told to forget.
    pub last_slot: Option<Timestamp>,
    /// What decides which slots it starts.
    pub timing: Timing,
}

/// What decides which slots a CronJob starts, and when.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// Cron line.
    pub line: String,
    /// Zone.
    pub zone: String,
    /// Whether it is suspended.
    pub suspended: bool,
    /// Overlap policy.
    pub policy: String,
    /// How late a slot may start.
    pub deadline_seconds: i64,
}

/// How long after a slot to look whether it has brought a run, and to move `next` on.
const AFTER_SLOT: SignedDuration = SignedDuration::from_secs(5);

/// Plans a task.
#[must_use]
pub fn plan(seen: &Seen, now: Timestamp) -> Plan<AutomationTaskStatus> {
    let task = &seen.task;
    let before = task.status.clone().unwrap_or_default();
    if task.metadata.deletion_timestamp.is_some() {
        return Plan::nothing(before);
    }
    let accepted = accept(task, now);
    let mut changes = revisions::keep(seen, &before);
    let kept = match &accepted {
        Ok(accepted) => Some(clock::keep(seen, &before, accepted, now)),
        // What was accepted last goes on: an edit that cannot work must not stop the nights.
        Err(_) => native::go_on(seen, &before, native::paused(seen, &accepted, now).as_ref(), now),
    };
    match &kept {
        Some(kept) => changes.extend(kept.changes.iter().cloned()),
        None => changes.extend(suspend(seen, now)),
    }
    changes.extend(adopt(seen));
    let (pruned, prune_wake) = prune(seen, &before, now);
    changes.extend(pruned);
    let schedule = accepted.as_ref().ok().and_then(|accepted| accepted.schedule.as_ref());
    let objective =
        objective::stand(seen, before.slo.as_ref(), (before.decided_through.as_ref(), &before.not_run), schedule, kept.as_ref(), now);
    let objective_wake = objective.as_ref().and_then(|objective| objective.wake);
    let status = status(seen, &before, &accepted, kept.as_ref(), objective, now);
    let slot_wake = accepted.as_ref().ok().and_then(|accepted| accepted.wake(now));
    let refused_wake = (!seen.refusals.is_empty()).then(|| now + SignedDuration::from_secs(60));
    let kept_wake = kept.as_ref().and_then(|kept| kept.wake).map(|wake| wake.max(now + SignedDuration::from_secs(1)));
    let wake = [slot_wake, kept_wake, prune_wake, refused_wake, objective_wake].into_iter().flatten().min();
    let mut notices = notices(&before, &status);
    notices.extend(kept.into_iter().flat_map(|kept: Kept| kept.notices));
    let later = may_be_told_later(seen, &before, &status);
    Plan { changes, status, report_after: None, notices, wake }.reported_after(later, now)
}

impl Seen {
    /// A task of which nothing else is there.
    #[cfg(test)]
    pub(in crate::plan) fn of(task: AutomationTask) -> Self {
        Self {
            task: Arc::new(task),
            cron_jobs: Vec::new(),
            jobs: Vec::new(),
            runs: Vec::new(),
            runs_gone: Vec::new(),
            names_taken: Vec::new(),
            revisions: Vec::new(),
            backfills: Vec::new(),
            written: Vec::new(),
            runs_made: Vec::new(),
            revisions_made: Vec::new(),
            refusals: Vec::new(),
            troubles: Vec::new(),
        }
    }

    /// Adds Jobs that the cache has not shown yet. What it has shown and the server does not have any more was there.
    pub(crate) fn add_jobs(&mut self, listed: impl Iterator<Item = JobSeen>) {
        let new: Vec<JobSeen> = listed.filter(|job| self.jobs.iter().all(|there| there.uid != job.uid)).collect();
        self.jobs.extend(new);
        self.jobs.sort_by(|a, b| (a.created, &a.name).cmp(&(b.created, &b.name)));
    }
}

impl Scheduled for Seen {
    fn meta(&self) -> &ObjectMeta {
        &self.task.metadata
    }

    fn written(&self) -> Option<&api::Schedule> {
        self.task.spec.schedule.as_ref()
    }

    fn slo(&self) -> Option<&Slo> {
        self.task.spec.slo.as_ref()
    }

    fn history(&self) -> Option<&History> {
        self.task.spec.history.as_ref()
    }

    fn runs(&self) -> &[Arc<AutomationRun>] {
        &self.runs
    }

    fn jobs(&self) -> &[JobSeen] {
        &self.jobs
    }

    fn runs_made(&self) -> &[String] {
        &self.runs_made
    }

    fn refusals(&self) -> &[Refusal] {
        &self.refusals
    }

    fn kept_from(&self, slots: &NotRun) -> Option<String> {
        native::kept_from(self, slots)
    }

    fn name_of(&self, slot: Timestamp, schedule: &Schedule) -> String {
        build::slot_run_name(self.task.metadata.name.as_deref().unwrap_or_default(), schedule, slot)
    }

    fn run_of(&self, slot: Timestamp, name: String, schedule: &Schedule, trigger: Trigger) -> Result<AutomationRun, String> {
        let parameters = schedule::slot_values(&self.task.spec.parameters, slot, schedule)?;
        let of = build::SlotRun { name, slot, revision: build::revision_name(&self.task), parameters };
        Ok(build::scheduled_run(&self.task, of, trigger))
    }
}

/// A task whose spec can be carried out.
pub(crate) struct Accepted {
    pub(crate) schedule: Option<Schedule>,
    pause: Option<Pause>,
    clock: ClockKind,
    wanted: Vec<CronJobSpec>,
    why: String,
}

impl Accepted {
    fn next(&self, now: Timestamp) -> Option<Timestamp> {
        self.schedule.as_ref().filter(|_| self.pause.is_none()).and_then(|schedule| schedule.next(now))
    }

    /// When to look again for the next slot: to start it, or to see what Kubernetes has made of it.
    fn wake(&self, now: Timestamp) -> Option<Timestamp> {
        let after = if self.clock == ClockKind::Operator { SignedDuration::ZERO } else { AFTER_SLOT };
        let slot = self.next(now).and_then(|slot| slot.checked_add(after).ok());
        let pause_ends = self.pause.as_ref().and_then(Pause::until);
        [slot, pause_ends].into_iter().flatten().min()
    }
}

/// Why a spec cannot be carried out: a reason for the condition, and the field and the fix.
pub(crate) struct Rejected {
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

/// Whether the task's spec can be carried out, as it is.
pub(crate) fn accept(task: &AutomationTask, now: Timestamp) -> Result<Accepted, Rejected> {
    let rejected = |reason, message: String| Rejected { reason, message };
    build::check_template(task).map_err(|message| rejected("InvalidTemplate", message))?;
    let contract = Contract::of(&task.spec, task.metadata.generation.unwrap_or(0));
    let Some(written) = &task.spec.schedule else {
        let why = "no schedule: it runs when somebody creates an AutomationRun".to_owned();
        return Ok(Accepted { schedule: None, pause: None, clock: ClockKind::None, wanted: Vec::new(), why });
    };
    let (namespace, name) = (task.metadata.namespace.as_deref().unwrap_or_default(), task.metadata.name.as_deref().unwrap_or_default());
    let schedule = Schedule::parse(written, namespace, name).map_err(|error| rejected("InvalidSchedule", error.to_string()))?;
    schedule::check_slot_values(&task.spec.parameters, &schedule.zone).map_err(|problem| rejected("InvalidParameters", problem))?;
    let (clock, why) = match schedule::choose(&schedule, written, &contract, &task.spec.parameters, now) {
        ClockChoice::CronJob { why } => (ClockKind::CronJob, why),
        ClockChoice::Operator { why } => (ClockKind::Operator, why),
    };
    let native = clock == ClockKind::CronJob;
    let lines = schedule.lines.iter().enumerate().filter(|_| native);
    let pause = pause(&task.metadata, task.spec.schedule.as_ref(), now).map_err(|problem| rejected("InvalidPause", problem))?;
    let wanted = lines.map(|(index, line)| build::cron_job(task, (index, line), &contract, pause.is_some())).collect();
    Ok(Accepted { schedule: Some(schedule), pause, clock, wanted, why })
}

/// A run for each Job that a CronJob started and that has none.
fn adopt(seen: &Seen) -> Vec<Change> {
    let annotation = |run: &AutomationRun| run.metadata.annotations.as_ref()?.get(label::ADOPTED_UID).cloned();
    let mut changes = Vec::new();
    for job in seen.jobs.iter().filter(|job| job.by_cron_job && job.run.is_none() && !job.deleting) {
        if seen.runs.iter().any(|run| annotation(run).as_ref() == Some(&job.uid)) {
            continue;
        }
        let name = if job.slot.is_some() && !seen.names_taken.contains(&job.name) {
            job.name.clone()
        } else {
            build::manual_run_name(&job.name, &job.uid)
        };
        changes.push(Change::CreateRun(Box::new(build::adopted_run(&seen.task, job, name))));
    }
    changes
}
