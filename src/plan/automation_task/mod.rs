//! What to do about a task: keep its CronJobs, adopt the Jobs that they start, prune what is recorded, say how it stands.

mod prune;

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use prune::prune;

use super::{Change, Notice, Plan, Refusal, RefusalKind};
use crate::{
    api::{
        AutomationRun, AutomationTask, AutomationTaskStatus, ClockKind, ClockStatus, Contract, CronJobRecord, LastRun, Outcome, RunResult,
        condition::{self, Set, Status},
        label,
    },
    build::{self, CronJobSpec},
    ledger,
    outcome::{self, JobSeen},
    schedule::{self, Schedule},
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
    /// CronJobs as the API server returned them from this pass's writes.
    pub written: Vec<CronJobSeen>,
    /// What the API server refused in this pass.
    pub refusals: Vec<Refusal>,
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
        return Plan { changes: Vec::new(), status: before, notices: Vec::new(), wake: None };
    }
    let accepted = accept(task, now);
    let (mut changes, withheld_wake) = match &accepted {
        Ok(accepted) => cron_jobs(seen, &before, accepted, now),
        // What was accepted last goes on: an edit that cannot work must not stop the nights.
        Err(_) => (suspend(seen), None),
    };
    changes.extend(adopt(seen));
    let (pruned, prune_wake) = prune(seen, &before, now);
    changes.extend(pruned);
    let status = status(seen, &before, &accepted, now);
    let slot_wake = accepted.as_ref().ok().and_then(|a| a.next(now)).and_then(|slot| slot.checked_add(AFTER_SLOT).ok());
    let refused_wake = (!seen.refusals.is_empty()).then(|| now + SignedDuration::from_secs(60));
    let wake = [slot_wake, withheld_wake, prune_wake, refused_wake].into_iter().flatten().min();
    let notices = notices(&before, &status);
    Plan { changes, status, notices, wake }
}

/// A task whose spec can be carried out.
struct Accepted {
    schedule: Option<Schedule>,
    suspended: bool,
    wanted: Vec<CronJobSpec>,
    why: String,
}

impl Accepted {
    fn next(&self, now: Timestamp) -> Option<Timestamp> {
        self.schedule.as_ref().filter(|_| !self.suspended).and_then(|schedule| schedule.next(now))
    }
}

/// Why a spec cannot be carried out: a reason for the condition, and the field and the fix.
struct Rejected {
    reason: &'static str,
    message: String,
}

fn accept(task: &AutomationTask, now: Timestamp) -> Result<Accepted, Rejected> {
    let rejected = |reason, message: String| Rejected { reason, message };
    build::check_template(task).map_err(|message| rejected("InvalidTemplate", message))?;
    let contract = Contract::of(&task.spec, task.metadata.generation.unwrap_or(0));
    let Some(written) = &task.spec.schedule else {
        let why = "no schedule: it runs when somebody creates an AutomationRun".to_owned();
        return Ok(Accepted { schedule: None, suspended: false, wanted: Vec::new(), why });
    };
    let (namespace, name) = (task.metadata.namespace.as_deref().unwrap_or_default(), task.metadata.name.as_deref().unwrap_or_default());
    let schedule = Schedule::parse(written, namespace, name).map_err(|error| rejected("InvalidSchedule", error.to_string()))?;
    let policy = written.concurrency_policy.unwrap_or_default();
    let why = schedule::native(&schedule, policy, &contract, now).map_err(|error| rejected("NeedsOperatorClock", error.to_string()))?;
    let wanted = schedule.lines.iter().enumerate().map(|(index, line)| build::cron_job(task, index, line, &contract)).collect();
    Ok(Accepted { schedule: Some(schedule), suspended: is_suspended(task), wanted, why })
}

/// Makes the CronJobs be as wanted, in this order: what is not wanted goes, what is there is replaced, what is missing is
/// made. Stopped anywhere in between, no slot is one of two CronJobs. Also says when to look again for what must wait.
fn cron_jobs(seen: &Seen, before: &AutomationTaskStatus, accepted: &Accepted, now: Timestamp) -> (Vec<Change>, Option<Timestamp>) {
    let (mut changes, wake) = unwanted(seen, accepted, now);
    let uid = seen.task.metadata.uid.clone().unwrap_or_default();
    let mut created = Vec::new();
    for wanted in &accepted.wanted {
        let Some(there) = seen.cron_jobs.iter().find(|c| c.name == wanted.name) else {
            created.push(Change::CreateCronJob(wanted.clone()));
            continue;
        };
        if !there.owners.contains(&uid) {
            continue; // Somebody else's: told on Ready, never overwritten.
        }
        let record = before.cron_jobs.iter().find(|r| r.name == there.name && r.uid == there.uid);
        if record.is_some_and(|r| r.generation > there.generation) {
            continue; // We have written it since this view was taken.
        }
        let untouched = record.is_some_and(|r| r.generation == there.generation);
        if untouched && there.desired.as_ref() == Some(&wanted.hash) {
            continue;
        }
        let retimed = there.timing != timing(wanted);
        changes.push(Change::ReplaceCronJob {
            wanted: wanted.clone(),
            seen: (there.uid.clone(), there.resource_version.clone()),
            // Otherwise the CronJob controller would start a slot of the pause, or one that lies before the edit.
            forget_slots_until: retimed.then_some(now),
        });
    }
    changes.extend(created);
    (changes, wake)
}

/// CronJobs of ours that the spec does not ask for any more.
fn unwanted(seen: &Seen, accepted: &Accepted, now: Timestamp) -> (Vec<Change>, Option<Timestamp>) {
    let uid = seen.task.metadata.uid.clone().unwrap_or_default();
    let is_wanted = |there: &CronJobSeen| accepted.wanted.iter().any(|wanted| wanted.name == there.name);
    let mut unwanted: Vec<&CronJobSeen> = seen.cron_jobs.iter().filter(|c| c.owners.contains(&uid) && !is_wanted(c)).collect();
    unwanted.sort_by(|a, b| a.name.cmp(&b.name));
    // A Job that its run does not own yet would die with its CronJob, and one that has ended would take its evidence
    // along: the run planner sees to that first, and the CronJob starts nothing meanwhile. The Job's mark wakes its run
    // and not the task.
    let exposed = seen.jobs.iter().any(|job| job.by_cron_job && job.run.is_none() && !job.deleting);
    if exposed && !unwanted.is_empty() {
        let still_on = unwanted.into_iter().filter(|there| !there.timing.suspended);
        let suspended = still_on.map(|there| Change::SuspendCronJob { name: there.name.clone(), uid: there.uid.clone() });
        return (suspended.collect(), Some(now + AFTER_SLOT));
    }
    (unwanted.into_iter().map(|there| Change::DeleteCronJob { name: there.name.clone(), uid: there.uid.clone() }).collect(), None)
}

/// Suspends what goes on from a spec that was accepted before, where the task says so: that much of it can be done.
fn suspend(seen: &Seen) -> Vec<Change> {
    let uid = seen.task.metadata.uid.clone().unwrap_or_default();
    let mut on: Vec<&CronJobSeen> =
        seen.cron_jobs.iter().filter(|c| is_suspended(&seen.task) && c.owners.contains(&uid) && !c.timing.suspended).collect();
    on.sort_by(|a, b| a.name.cmp(&b.name));
    on.into_iter().map(|c| Change::SuspendCronJob { name: c.name.clone(), uid: c.uid.clone() }).collect()
}

fn is_suspended(task: &AutomationTask) -> bool {
    task.spec.schedule.as_ref().is_some_and(|schedule| schedule.suspend == Some(true))
}

fn timing(wanted: &CronJobSpec) -> Timing {
    let spec = &wanted.object["spec"];
    let text = |field: &str| spec[field].as_str().unwrap_or_default().to_owned();
    Timing {
        line: text("schedule"),
        zone: text("timeZone"),
        suspended: spec["suspend"].as_bool().unwrap_or(false),
        policy: text("concurrencyPolicy"),
        deadline_seconds: spec["startingDeadlineSeconds"].as_i64().unwrap_or(0),
    }
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

fn status(seen: &Seen, before: &AutomationTaskStatus, accepted: &Result<Accepted, Rejected>, now: Timestamp) -> AutomationTaskStatus {
    let generation = seen.task.metadata.generation;
    let mut finished: Vec<&AutomationRun> = seen.runs.iter().map(AsRef::as_ref).filter(|run| ledger::is_finished(run)).collect();
    finished.sort_by_key(|run| ledger::order(run));
    let mut active: Vec<&AutomationRun> = seen.runs.iter().map(AsRef::as_ref).filter(|run| !ledger::is_finished(run)).collect();
    active.sort_by_key(|run| (run.metadata.creation_timestamp.clone(), run.metadata.name.clone()));
    let ended = |last: &LastRun| last.completion_time.clone();
    let last_run =
        finished.last().map(|run| last_run(run)).filter(|last| before.last_run.as_ref().is_none_or(|known| ended(known) <= ended(last)));
    let last_run = last_run.or_else(|| before.last_run.clone());
    let good = finished.iter().rev().find(|run| run.status.as_ref().and_then(|s| s.result) == Some(RunResult::Good));
    let last_good = good.and_then(|run| run.status.as_ref()?.completion_time.clone());
    let schedule = accepted.as_ref().ok().and_then(|a| a.schedule.as_ref());
    let next = accepted.as_ref().ok().and_then(|a| a.next(now));
    let (shown_schedule, clock) = match accepted {
        Ok(accepted) => {
            let kind = if accepted.schedule.is_some() { ClockKind::CronJob } else { ClockKind::None };
            let shown = schedule.map_or_else(|| "on demand".to_owned(), Schedule::describe);
            (Some(outcome::cut(&shown, 2048)), Some(ClockStatus { kind, reason: accepted.why.clone() }))
        }
        Err(_) => (before.schedule.clone(), before.clock.clone()),
    };
    let conditions = conditions(seen, accepted, next, last_run.as_ref());
    AutomationTaskStatus {
        observed_generation: generation,
        conditions: condition::conditions(&before.conditions, conditions, generation, now),
        clock,
        schedule: shown_schedule,
        next: next.zip(schedule).map(|(slot, schedule)| schedule.describe_slot(slot)),
        next_schedule_time: next.map(Time),
        active: active.iter().take(10).filter_map(|run| run.metadata.name.clone()).collect(),
        active_count: i32::try_from(active.len()).unwrap_or(i32::MAX),
        last_successful_time: last_good.max(before.last_successful_time.clone()),
        last_run,
        cron_jobs: records(seen, before, accepted),
    }
}

fn last_run(run: &AutomationRun) -> LastRun {
    let status = run.status.clone().unwrap_or_default();
    LastRun {
        name: run.metadata.name.clone().unwrap_or_default(),
        outcome: status.outcome.unwrap_or(Outcome::Unknown),
        reason: status.reason,
        message: status.message.map(|message| outcome::cut(&message, 1024)),
        start_time: status.start_time,
        completion_time: status.completion_time,
    }
}

/// The CronJobs as the API server last returned them to us. One that was written in this pass has a new generation; of
/// the others the record stands while they exist, or while they are wanted and this view may be older than the record.
fn records(seen: &Seen, before: &AutomationTaskStatus, accepted: &Result<Accepted, Rejected>) -> Vec<CronJobRecord> {
    let stands = |record: &CronJobRecord| match seen.cron_jobs.iter().find(|c| c.name == record.name) {
        Some(there) => there.uid == record.uid,
        None => accepted.as_ref().is_ok_and(|a| a.wanted.iter().any(|wanted| wanted.name == record.name)),
    };
    let kept = before.cron_jobs.iter().filter(|r| stands(r) && seen.written.iter().all(|w| w.name != r.name));
    let written = seen.written.iter().map(|w| CronJobRecord { name: w.name.clone(), uid: w.uid.clone(), generation: w.generation });
    let mut records: Vec<CronJobRecord> = kept.cloned().chain(written).collect();
    records.sort_by(|a, b| a.name.cmp(&b.name));
    records.truncate(8);
    records
}

fn conditions<'a>(
    seen: &Seen,
    accepted: &'a Result<Accepted, Rejected>,
    next: Option<Timestamp>,
    last: Option<&'a LastRun>,
) -> Vec<Set<'a>> {
    let uid = seen.task.metadata.uid.clone().unwrap_or_default();
    let set = |kind, status, reason: &'a str, message: String| Set { kind, status, reason, message: outcome::cut(&message, 2048) };
    let trouble = accepted.as_ref().ok().and_then(|accepted| {
        let taken = |name: &str| format!("a CronJob {name} exists and is not this task's; delete it, or rename the task");
        if let Some(foreign) = seen.cron_jobs.iter().find(|c| !c.owners.contains(&uid) && accepted.wanted.iter().any(|w| w.name == c.name))
        {
            return Some(("NameTaken", taken(&foreign.name)));
        }
        let refused = seen.refusals.iter().find(|r| accepted.wanted.iter().any(|w| w.name == r.name))?;
        Some(match refused.kind {
            RefusalKind::NameTaken | RefusalKind::Leaving => ("NameTaken", taken(&refused.name)),
            RefusalKind::Refused => ("Refused", format!("the API server refuses CronJob {}: {}", refused.name, refused.message)),
        })
    });
    let trouble = match accepted {
        Err(rejected) => Some((rejected.reason, rejected.message.clone())),
        Ok(_) => trouble,
    };
    let suspended = is_suspended(&seen.task);
    let mut conditions = Vec::new();
    match trouble {
        Some((reason, message)) => {
            let goes_on = seen.cron_jobs.iter().any(|c| c.owners.contains(&uid) && !c.timing.suspended);
            let message = if goes_on { format!("{message}. Until then the schedule accepted before goes on") } else { message };
            conditions.push(set(condition::READY, Status::False, reason, message.clone()));
            conditions.push(set(condition::STALLED, Status::True, reason, message));
        }
        None => {
            let message = match (accepted.as_ref().ok().and_then(|a| a.schedule.as_ref()), next) {
                (Some(schedule), Some(_)) => format!("armed: {}", schedule.describe()),
                (Some(_), None) if suspended => "accepted; the schedule is suspended".to_owned(),
                (Some(_), None) => "accepted; no slot is due in the next years".to_owned(),
                (None, _) => "accepted; create an AutomationRun to run it".to_owned(),
            };
            conditions.push(set(condition::READY, Status::True, "Accepted", message));
        }
    }
    let (reason, message) = if suspended { ("SpecSuspended", "schedule.suspend is true") } else { ("NotSuspended", "not suspended") };
    conditions.push(set(condition::SUSPENDED, Status::from(suspended), reason, message.to_owned()));
    conditions.push(match last {
        None => set(condition::LAST_RUN_SUCCEEDED, Status::Unknown, "NoRunYet", "no run has finished yet".to_owned()),
        Some(last) => {
            let reason = last.reason.as_deref().filter(|reason| !reason.is_empty()).unwrap_or("Finished");
            let status = match last.outcome.result() {
                Some(result) => Status::from(result == RunResult::Good),
                None => Status::Unknown,
            };
            set(
                condition::LAST_RUN_SUCCEEDED,
                status,
                reason,
                format!("run {} ended {:?}: {}", last.name, last.outcome, last.message.as_deref().unwrap_or_default()),
            )
        }
    });
    conditions
}

/// What is worth an Event: Ready changed its mind.
fn notices(before: &AutomationTaskStatus, after: &AutomationTaskStatus) -> Vec<Notice> {
    let ready = |status: &AutomationTaskStatus| condition::find(&status.conditions, condition::READY).cloned();
    let (Some(now), was) = (ready(after), ready(before)) else { return Vec::new() };
    if was.is_some_and(|was| {
        (was.status, was.reason, was.observed_generation) == (now.status.clone(), now.reason.clone(), now.observed_generation)
    }) {
        return Vec::new();
    }
    vec![Notice { warning: now.status != "True", reason: now.reason, action: "Arm", message: outcome::cut(&now.message, 1000) }]
}
