//! What is deleted of a task's runs and Jobs once it is recorded.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::{AFTER_SLOT, Seen};
use crate::{
    api::{AutomationRun, AutomationTaskStatus, Outcome, label},
    ledger,
    outcome::JobSeen,
    plan::{Change, backfill},
};

/// How long the Job of a NoData run is kept, for its log. Kubernetes calls such a Job failed, and generic alerts fire
/// for those after 15 minutes.
pub(in crate::plan) const NO_DATA_JOB_SECONDS: i64 = 300;

/// Whether somebody has yet to look at the run: the backfill that counts it, or a rerun that repeats it.
fn is_needed(seen: &Seen, run: &AutomationRun) -> bool {
    let repeats = |other: &Arc<AutomationRun>| {
        let known = other.status.as_ref().is_some_and(|status| status.idempotency_key.is_some());
        !known && !ledger::is_finished(other) && other.spec.rerun_of == run.metadata.name
    };
    backfill::is_yet_to_count(&seen.backfills, run) || seen.runs.iter().any(repeats)
}

/// Deletes what is recorded and no longer kept: first the Job and, once it is seen to be gone, its run, since a Job
/// without a run is adopted.
pub(super) fn prune(seen: &Seen, before: &AutomationTaskStatus, now: Timestamp) -> (Vec<Change>, Option<Timestamp>) {
    let history = seen.task.spec.history.clone().unwrap_or_default();
    let mut changes = Vec::new();
    let mut wake: Option<Timestamp> = None;
    let delete_job = |job: &JobSeen| Change::DeleteJob { name: job.name.clone(), uid: job.uid.clone() };
    let jobs_of = |run: &AutomationRun| {
        let (name, uid) = (run.metadata.name.clone(), run.metadata.uid.clone().unwrap_or_default());
        // This view may be older than the mark on a Job that the run records.
        let recorded = run.metadata.annotations.as_ref().and_then(|annotations| annotations.get(label::ADOPTED_UID)).cloned();
        seen.jobs.iter().filter(move |job| {
            let marked = job.run == name && job.owners.contains(&uid);
            marked || (job.run.is_none() && recorded.as_ref() == Some(&job.uid))
        })
    };
    // Only what the task's own status has taken up: a crash in between would lose it.
    let recorded = before.last_run.as_ref().and_then(|last| last.completion_time.as_ref()).map_or(Timestamp::MIN, |time| time.0);
    let mut expired = ledger::expired(seen.runs.iter().map(AsRef::as_ref), &history);
    // Its slot must be known to have been decided, or it would look as if it had not been run.
    let through = before.decided_through.as_ref().map(|time| time.0);
    let is_open = |run: &AutomationRun| run.spec.schedule_slot().zip(through).is_some_and(|(slot, through)| slot > through);
    expired.retain(|run| ledger::order(run).0 <= recorded && !is_open(run) && !is_needed(seen, run));
    for run in &expired {
        let jobs: Vec<&JobSeen> = jobs_of(run).collect();
        if jobs.is_empty() {
            changes.push(Change::DeleteRun {
                name: run.metadata.name.clone().unwrap_or_default(),
                uid: run.metadata.uid.clone().unwrap_or_default(),
            });
        } else {
            // While this view shows the Job, it would be adopted once more without its run. That the Job is gone wakes
            // its run and not the task.
            wake = Some(now + AFTER_SLOT);
            changes.extend(jobs.into_iter().filter(|job| !job.deleting).map(delete_job));
        }
    }
    let mut without_data: Vec<_> =
        seen.runs.iter().filter(|run| run.status.as_ref().and_then(|s| s.outcome) == Some(Outcome::NoData)).collect();
    without_data.sort_by_key(|run| ledger::order(run));
    for run in without_data {
        if !ledger::is_finished(run) || expired.iter().any(|gone| gone.metadata.uid == run.metadata.uid) {
            continue;
        }
        for job in jobs_of(run).filter(|job| job.end.is_some() && !job.deleting) {
            let due = ledger::order(run).0 + SignedDuration::from_secs(NO_DATA_JOB_SECONDS);
            if now >= due {
                changes.push(delete_job(job));
            } else {
                wake = Some(wake.map_or(due, |wake| wake.min(due)));
            }
        }
    }
    // Somebody deleted the run of a Job: that ends the Job, as it does where the run alone owns it.
    let lost =
        seen.jobs.iter().filter(|job| job.by_cron_job && !job.deleting && job.run.as_ref().is_some_and(|run| seen.runs_gone.contains(run)));
    changes.extend(lost.map(delete_job));
    (changes, wake)
}
