//! What is deleted of a task's runs and Jobs once it is recorded.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::{
    AFTER_SLOT, Seen,
    native::{is_native, open_schedule, paused_since},
};
use crate::{
    api::{AutomationRun, AutomationTaskStatus, ConcurrencyPolicy, Outcome, label},
    ledger,
    outcome::JobSeen,
    plan::{
        Change, backfill, objective,
        slots::{CERTAIN, parsed},
    },
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

/// Slots that are due and of which nothing is told so far.
struct Undecided {
    /// Every slot up to here is decided.
    through: Option<Timestamp>,
    /// The first of them that is not.
    first: Option<Timestamp>,
    /// Whether a run keeps later slots from starting.
    forbids: bool,
    /// Whether Kubernetes was to start them.
    by_kubernetes: bool,
}

impl Undecided {
    fn of(seen: &Seen, before: &AutomationTaskStatus, now: Timestamp) -> Self {
        let through = before.decided_through.as_ref().map(|time| time.0);
        let kept = open_schedule(before);
        let schedule = kept.and_then(|kept| parsed(&seen.task.metadata, kept));
        // What a pause skips is nobody's evidence.
        let since = paused_since(before).unwrap_or(now);
        let first = schedule.zip(through).and_then(|(schedule, through)| schedule.next(through)).filter(|slot| *slot <= since);
        let forbids = kept.is_some_and(|kept| kept.policy() == ConcurrencyPolicy::Forbid);
        Self { through, first, forbids, by_kubernetes: is_native(before) }
    }

    /// Whether the run, or its Job, tells of one of them: that it ran, that it was held back, or that Kubernetes' history is
    /// full and the oldest Jobs are gone.
    fn needs(&self, run: &AutomationRun) -> bool {
        let slot = run.spec.schedule_slot();
        let of_cron_job = self.by_kubernetes && ledger::is_adopted(run);
        let created = || run.metadata.creation_timestamp.as_ref().map(|time| time.0).filter(|_| of_cron_job);
        let from = slot.or_else(created);
        let until = if self.forbids && slot.is_some() { ledger::order(run).0.checked_add(CERTAIN).ok() } else { from };
        let is_open = slot.zip(self.through).is_some_and(|(slot, through)| slot > through);
        is_open || self.first.zip(until).is_some_and(|(first, until)| first <= until)
    }
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
    let undecided = Undecided::of(seen, before, now);
    let is_to_count = |run: &AutomationRun| objective::is_to_count(seen, before.slo.as_ref(), run);
    expired.retain(|run| ledger::order(run).0 <= recorded && !undecided.needs(run) && !is_to_count(run) && !is_needed(seen, run));
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
        let expires = expired.iter().any(|gone| gone.metadata.uid == run.metadata.uid);
        if !ledger::is_finished(run) || expires || undecided.needs(run) {
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(time: &str) -> Timestamp {
        format!("2026-11-26T{time}Z").parse().unwrap()
    }

    /// A run that began and ended then; one of no slot was made by hand. The Job of an adopted one is a CronJob's.
    fn run(slot: Option<&str>, (begun, ended): (&str, &str), adopted: bool) -> AutomationRun {
        let slot = slot.map(at);
        serde_json::from_value(json!({
            "metadata": {
                "name": "r", "namespace": "ns", "creationTimestamp": at(begun),
                "annotations": if adopted { json!({ label::ADOPTED_JOB: "j" }) } else { json!({}) },
            },
            "spec": { "taskRef": { "name": "t" }, "trigger": if slot.is_some() { "Schedule" } else { "Manual" }, "scheduledTime": slot },
            "status": { "phase": "Finished", "outcome": "NoData", "completionTime": at(ended) },
        }))
        .unwrap()
    }

    #[test]
    fn runs_stay_while_slots_that_they_tell_of_are_not_decided() {
        let by_hand = run(None, ("03:30:00", "03:31:00"), true);
        let held = run(Some("02:00:00"), ("02:00:00", "03:00:30"), true);
        let short = run(Some("02:00:00"), ("02:00:00", "02:01:00"), true);
        let open = Undecided { through: Some(at("02:00:00")), first: Some(at("03:00:00")), forbids: true, by_kubernetes: true };
        assert_eq!([&by_hand, &held, &short].map(|run| open.needs(run)), [true, true, false]);
        assert!(open.needs(&run(Some("03:00:00"), ("03:00:01", "03:00:09"), true)), "its own slot is not decided");
        assert!(!open.needs(&run(None, ("03:30:00", "03:31:00"), false)), "its Job is the operator's");
        let allows = Undecided { forbids: false, ..open };
        assert_eq!([&by_hand, &held].map(|run| allows.needs(run)), [true, false], "it has held nothing back");
        let ours = Undecided { by_kubernetes: false, ..allows };
        assert!(!ours.needs(&by_hand), "there is no history of Kubernetes to fill");
        let decided = Undecided { through: Some(at("03:00:00")), first: None, forbids: true, by_kubernetes: true };
        assert!([&by_hand, &held, &short].into_iter().all(|run| !decided.needs(run)));
    }
}
