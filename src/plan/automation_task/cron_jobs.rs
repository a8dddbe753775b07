//! The CronJobs that keep a task's schedule.

use jiff::Timestamp;

use super::{AFTER_SLOT, Accepted, CronJobSeen, Seen, Timing};
use crate::{
    api::{self, AutomationTaskStatus},
    build::CronJobSpec,
    plan::{Change, pause::pause},
    schedule::Schedule,
};

/// Makes the CronJobs be as wanted, in this order: what is not wanted goes, what is there is replaced, what is missing is
/// made. Stopped anywhere in between, no slot is one of two CronJobs. Also says when to look again for what must wait.
pub(super) fn cron_jobs(
    seen: &Seen,
    before: &AutomationTaskStatus,
    accepted: &Accepted,
    now: Timestamp,
) -> (Vec<Change>, Option<Timestamp>) {
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
pub(super) fn unwanted(seen: &Seen, accepted: &Accepted, now: Timestamp) -> (Vec<Change>, Option<Timestamp>) {
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
pub(super) fn suspend(seen: &Seen, now: Timestamp) -> Vec<Change> {
    let uid = seen.task.metadata.uid.clone().unwrap_or_default();
    let paused = matches!(pause(&seen.task.metadata, seen.task.spec.schedule.as_ref(), now), Ok(Some(_)));
    suspend_all(seen.cron_jobs.iter().filter(|c| paused && c.owners.contains(&uid)))
}

/// Suspends those that are on.
pub(super) fn suspend_all<'a>(cron_jobs: impl Iterator<Item = &'a CronJobSeen>) -> Vec<Change> {
    let mut on: Vec<&CronJobSeen> = cron_jobs.filter(|c| !c.timing.suspended).collect();
    on.sort_by(|a, b| a.name.cmp(&b.name));
    on.into_iter().map(|c| Change::SuspendCronJob { name: c.name.clone(), uid: c.uid.clone() }).collect()
}

pub(super) fn timing(wanted: &CronJobSpec) -> Timing {
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

/// The schedule that a CronJob keeps by itself.
pub(super) fn schedule_of(there: &CronJobSeen) -> Option<Schedule> {
    let Timing { line, zone, .. } = &there.timing;
    let alone = api::Schedule { cron: vec![line.clone()], time_zone: Some(zone.clone()), ..api::Schedule::default() };
    Schedule::parse(&alone, "", "").ok()
}
