//! The slots of a schedule that Kubernetes keeps: what has become of each is told, over pauses, edits and changes of clocks.
//!
//! `decidedThrough` says how far that is done. An edit ends one schedule and begins another: for some seconds a Job of the
//! old one may still come into view, so its slots stay open that long, in `clock.previous`. All of this follows from the
//! status and from what is there, so a crash anywhere is made good by the next look.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{
    CronJobSeen, Seen,
    clock::{Case, owned},
    cron_jobs::{suspend, timing},
};
use crate::{
    api::{self, AutomationTaskStatus, ClockKind, ClockStatus, ConcurrencyPolicy, NotRun, Outcome, PreviousSchedule, condition},
    build, ledger,
    outcome::{JobEnd, JobSeen},
    plan::{
        pause::pause,
        slots::{CERTAIN, Kept, Of, SECOND, Slots, Traces, parsed, why},
    },
};

/// The clock as the status had it, where that was Kubernetes'.
pub(super) fn native(before: &AutomationTaskStatus) -> Option<&ClockStatus> {
    before.clock.as_ref().filter(|clock| clock.kind == ClockKind::CronJob)
}

/// Whether slots are about to be told to have brought no run. That is no matter for a cache, which may be behind.
#[must_use]
pub fn is_to_tell(seen: &Seen, now: Timestamp) -> bool {
    let Some(before) = &seen.task.status else { return false };
    let Some(through) = &before.decided_through else { return false };
    let clock = before.clock.as_ref();
    let kept = clock.and_then(|clock| clock.previous.as_ref()).map(|previous| &previous.schedule);
    let kept = kept.or_else(|| native(before)?.schedule.as_ref());
    let due = kept.and_then(|kept| parsed(&seen.task.metadata, kept)).and_then(|kept| kept.next(through.0));
    let told = |not_run: &[NotRun]| not_run.iter().filter(|group| group.reason != why::SUSPENDED).cloned().collect::<Vec<_>>();
    due.is_some_and(|slot| slot <= now) && told(&super::plan(seen, now).status.not_run) != told(&before.not_run)
}

/// When the pause began that the status tells of; none where it tells of none.
pub(super) fn paused_since(before: &AutomationTaskStatus) -> Option<Timestamp> {
    let suspended = condition::find(&before.conditions, condition::SUSPENDED).filter(|suspended| suspended.status == "True");
    suspended.map(|suspended| suspended.last_transition_time.0)
}

/// Since when all the CronJobs are there as they are wanted, and up to which slot they were told to forget.
pub(super) fn armed(of: Case<'_>, since: impl Fn(&CronJobSeen) -> Timestamp) -> Option<Timestamp> {
    let there = of.accepted.wanted.iter().map(|wanted| {
        let there = in_view(of.seen).find(|there| there.name == wanted.name)?;
        (there.timing == timing(wanted)).then(|| since(there))
    });
    there.collect::<Option<Vec<_>>>().and_then(|there| there.into_iter().max())
}

/// Since when all the CronJobs are as they are wanted, where that was so before this pass: an earlier one has written them,
/// and died before it could write the status. What is due by the new schedule since then is no slot of the old one.
fn written_before(of: Case<'_>) -> Option<Timestamp> {
    let there = of.accepted.wanted.iter().map(|wanted| {
        let there = owned(of.seen).find(|there| there.name == wanted.name && there.timing == timing(wanted))?;
        Some(there.last_slot.map_or(there.created, |last| last.max(there.created)))
    });
    there.collect::<Option<Vec<_>>>().and_then(|there| there.into_iter().max()).filter(|since| *since <= of.now)
}

/// The task's CronJobs, those that this pass has written as they are now.
fn in_view(seen: &Seen) -> impl Iterator<Item = &CronJobSeen> {
    seen.written.iter().chain(owned(seen).filter(|there| seen.written.iter().all(|written| written.name != there.name)))
}

/// What is known of slots of which nothing is there. `made` says whether a CronJob that was made anew meanwhile took the
/// traces of the one before it along.
fn traces(seen: &Seen, written: &api::Schedule, made: bool) -> Traces {
    let mut lost: Vec<Timestamp> = Vec::new();
    for there in owned(seen) {
        let ended = |good: bool| {
            let jobs = seen.jobs.iter().filter(|job| job.by_cron_job && job.owners.contains(&there.uid));
            let jobs = jobs.filter(move |job| job.end.as_ref().is_some_and(|end| (*end == JobEnd::Complete) == good));
            jobs.map(|job: &JobSeen| job.slot.unwrap_or(job.created))
        };
        lost.extend([true, false].into_iter().filter_map(|good| ledger::lost_through(ended(good), build::HISTORY_LIMIT)));
        lost.extend(made.then_some(there.created));
    }
    if made && owned(seen).next().is_none() {
        lost.push(Timestamp::MAX);
    }
    if written.policy() == ConcurrencyPolicy::Replace {
        // A later slot takes the Job of the one before along, whether or not that had ended.
        let begun = seen.runs.iter().filter_map(|run| run.spec.schedule_slot()).chain(seen.jobs.iter().filter_map(|job| job.slot));
        let newest = begun.chain(owned(seen).filter_map(|there| there.last_slot)).max();
        lost.extend(newest.and_then(|newest| newest.checked_sub(SECOND).ok()));
    }
    Traces { lost: lost.into_iter().max(), started: owned(seen).filter_map(|there| there.last_slot).collect() }
}

/// What kept the CronJob controller from starting these slots: its Events name the Job that it could not create. Where none
/// does, nobody has tried.
pub(super) fn kept_from(seen: &Seen, slots: &NotRun) -> Option<String> {
    let minutes = slots.first_slot.0.as_second() / 60..=slots.last_slot.0.as_second() / 60;
    let is_of = |message: &str, name: &str| {
        let after = message.split_once(&format!("\"{name}-")).map(|(_, after)| after);
        let digits = after.and_then(|after| after.split('"').next()).and_then(|digits| digits.parse().ok());
        digits.is_some_and(|minute: i64| minutes.contains(&minute))
    };
    let refused = seen.troubles.iter().rev().find(|trouble| owned(seen).any(|there| is_of(&trouble.message, &there.name)));
    let nobody = "Kubernetes' CronJob controller has not started it within startingDeadlineSeconds: it was down, or behind";
    refused
        .map(|refused| format!("Kubernetes could not start it ({}): {}", refused.reason, refused.message))
        .or_else(|| (slots.reason == why::DEADLINE_PASSED).then(|| nobody.to_owned()))
}

/// Goes on accounting for the schedule that was accepted last, while the spec cannot be carried out.
pub(super) fn go_on(seen: &Seen, before: &AutomationTaskStatus, now: Timestamp) -> Option<Kept> {
    let clock = native(before)?.clone();
    let written = clock.schedule.clone()?;
    let schedule = parsed(&seen.task.metadata, &written)?;
    let mut kept = Kept::of(clock, before.decided_through.as_ref(), &before.not_run);
    kept.changes = suspend(seen, now);
    let paused = pause(&seen.task.metadata, seen.task.spec.schedule.as_ref(), now).ok().flatten();
    let of = Of {
        seen,
        schedule: &schedule,
        known: None,
        was_paused: condition::is_true(&before.conditions, condition::SUSPENDED),
        pause: paused.as_ref(),
        by_operator: false,
        now,
    };
    if kept.close(seen, before, of.was_paused, now) && kept.decided_through.is_some() {
        kept.account(of, (seen, before), &written, now);
    }
    Some(kept)
}

impl Kept {
    /// Kubernetes is the clock.
    pub(super) fn by_cron_jobs(&mut self, of: Case<'_>) {
        let Case { seen, before, now, .. } = of;
        let written = seen.task.spec.schedule.clone().unwrap_or_default();
        let was = native(before);
        let known = was.and_then(|was| was.schedule.clone());
        let is_edited =
            |known: &api::Schedule| parsed(&seen.task.metadata, known).is_none_or(|known| known.slots_hash() != of.schedule.slots_hash());
        let edited = known.clone().filter(is_edited);
        let is_closed = self.close(seen, before, edited.is_some() || of.slots().was_paused, now);
        if let (true, Some(_), Some(known)) = (is_closed, self.decided_through, edited) {
            self.end(seen, before, (known, written_before(of).unwrap_or(now)), now);
        } else if self.decided_through.is_none() {
            // From a release that told nothing of them: they count from now on.
            let begun = if was.is_some() && known.is_none() { Some(now) } else { armed(of, |there| there.created) };
            self.decided_through = begun;
        }
        self.arm(of.slots(), self.decided_through.unwrap_or(now));
        // While a CronJob is missing, nobody knows whether this view is old or somebody has just deleted it.
        let there = of.accepted.wanted.iter().all(|wanted| in_view(seen).any(|there| there.name == wanted.name));
        if self.clock.previous.is_none() && self.decided_through.is_some() && there {
            self.account(of.slots(), (seen, before), &written, written_before(of).unwrap_or(now));
        }
    }

    /// The schedule that Kubernetes has kept ended at `until`: another begins, or another clock, or none.
    pub(super) fn end(&mut self, seen: &Seen, before: &AutomationTaskStatus, (known, until): (api::Schedule, Timestamp), now: Timestamp) {
        let paused = paused_since(before);
        if let (Some(through), Some(schedule), None) = (self.decided_through, parsed(&seen.task.metadata, &known), paused) {
            // The CronJobs are there still that tell more than those to come.
            let mut slots = Slots::new(seen, &schedule, through, &self.not_run, now).under(known.clone());
            slots.account_due(until, &traces(seen, &known, true));
            let open = slots.is_open(until);
            self.take(slots);
            if !open {
                self.decided_through = Some(until.max(through));
                return;
            }
        }
        self.clock.previous = Some(PreviousSchedule { schedule: known, until: Time(until) });
        self.close(seen, before, paused.is_some(), now);
    }

    /// Accounts for what the schedule before has left open, once nothing of it comes any more; or at once. Returns whether
    /// that is done.
    pub(super) fn close(&mut self, seen: &Seen, before: &AutomationTaskStatus, at_once: bool, now: Timestamp) -> bool {
        let Some(previous) = self.clock.previous.clone() else { return true };
        let until = previous.until.0;
        let due = until.checked_add(CERTAIN).unwrap_or(until);
        if now < due && !at_once {
            self.look_again(due);
            return false;
        }
        self.close_through((seen, before), until, false, now);
        true
    }

    /// Accounts at once for the slots up to `until` of the schedule that Kubernetes kept before. Its CronJobs are gone by now, or
    /// others are there; `made` says that it is these that tell.
    pub(super) fn close_through(&mut self, (seen, before): (&Seen, &AutomationTaskStatus), until: Timestamp, made: bool, now: Timestamp) {
        let Some(PreviousSchedule { schedule: written, .. }) = self.clock.previous.take() else { return };
        let (Some(through), Some(schedule)) = (self.decided_through, parsed(&seen.task.metadata, &written)) else { return };
        let ended = paused_since(before).map_or(until, |since| since.min(until));
        let mut slots = Slots::new(seen, &schedule, through, &self.not_run, now).under(written.clone()).ended(ended);
        slots.account(ended, &traces(seen, &written, made));
        if paused_since(before).is_some() {
            slots.skip(until, (Outcome::Skipped, why::SUSPENDED));
        }
        slots.through = slots.through.max(until);
        self.take(slots);
    }

    /// Accounts for the slots of a schedule that goes on, as far as that can be done now. A pause that nobody has told of so
    /// far began at `paused`.
    fn account(&mut self, of: Of<'_>, (seen, before): (&Seen, &AutomationTaskStatus), written: &api::Schedule, paused: Timestamp) {
        let found = traces(seen, written, true);
        let fresh = |kept: &Self| kept.slots(of).under(written.clone());
        if of.was_paused || of.pause.is_some() {
            let since = paused_since(before).unwrap_or(paused);
            let quiet = since.checked_add(CERTAIN).unwrap_or(since);
            let mut slots = fresh(self).ended(since);
            match (of.pause.is_none(), of.now < quiet) {
                // It is over, and nothing starts what lies before that.
                (true, _) => slots.account(since, &found),
                (false, true) => slots.account_due(since, &found),
                (false, false) => slots.account_recorded(since, &found),
            }
            slots.correct();
            let open = slots.is_open(since);
            self.take(slots);
            if open {
                if of.now < quiet {
                    self.look_again(quiet);
                }
                return;
            }
            if self.pause(of) {
                return;
            }
        }
        let mut slots = fresh(self);
        slots.account_due(of.now, &found);
        slots.correct();
        slots.wake = slots.decided_at();
        self.take(slots);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;
    use crate::{
        api::AutomationTask,
        plan::{Plan, automation_task::plan},
    };

    fn at(time: &str) -> Timestamp {
        format!("2026-11-26T{time}Z").parse().unwrap()
    }

    fn seen(status: &Value, schedule: &Value, runs: &[&str]) -> Seen {
        let task: AutomationTask = serde_json::from_value(json!({
            "metadata": { "name": "t", "namespace": "ns", "uid": "u", "generation": 1, "creationTimestamp": "2026-11-01T00:00:00Z" },
            "spec": { "owner": { "team": "data" }, "image": "i", "schedule": schedule },
            "status": status,
        }))
        .unwrap();
        let run = |slot: &&str| {
            let name = format!("t-{}", at(slot).as_second() / 60);
            let run = json!({
                "metadata": { "name": name, "namespace": "ns", "uid": name, "creationTimestamp": at(slot) },
                "spec": { "taskRef": { "name": "t" }, "trigger": "Schedule", "scheduledTime": at(slot) },
            });
            Arc::new(serde_json::from_value(run).unwrap())
        };
        let cron_job = CronJobSeen {
            name: "t".to_owned(),
            uid: "c".to_owned(),
            resource_version: "1".to_owned(),
            generation: 1,
            owners: vec!["u".to_owned()],
            desired: None,
            created: "2026-11-01T00:00:00Z".parse().unwrap(),
            last_slot: None,
            timing: super::super::Timing { line: "0 * * * *".to_owned(), zone: "UTC".to_owned(), ..super::super::Timing::default() },
        };
        Seen {
            task: Arc::new(task),
            cron_jobs: vec![cron_job],
            jobs: Vec::new(),
            runs: runs.iter().map(run).collect(),
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

    fn not_run(plan: &Plan<AutomationTaskStatus>) -> Vec<(String, String, i64)> {
        let time = |time: &Time| time.0.to_string()[11..16].to_owned();
        plan.status.not_run.iter().map(|group| (time(&group.first_slot), time(&group.last_slot), group.slots)).collect()
    }

    fn groups(groups: &[(&str, &str, i64)]) -> Vec<(String, String, i64)> {
        groups.iter().map(|(first, last, slots)| ((*first).to_owned(), (*last).to_owned(), *slots)).collect()
    }

    /// Hourly, and decided through three o'clock; none of the first three slots is known to have run.
    fn status(schedule: &Value) -> Value {
        json!({
            "clock": { "type": "CronJob", "reason": "", "since": "2026-11-01T00:00:00Z", "schedule": schedule },
            "decidedThrough": at("03:00:00"),
            "notRun": [{ "outcome": "Missed", "reason": "DeadlinePassed", "firstSlot": at("01:00:00"), "lastSlot": at("03:00:00"), "slots": 3 }],
        })
    }

    #[test]
    fn a_run_that_comes_late_takes_its_slot_out_of_what_did_not_run() {
        let hourly = json!({ "cron": ["0 * * * *"], "timeZone": "UTC" });
        for (runs, left) in [
            (vec!["02:00:00"], vec![("01:00", "01:00", 1), ("03:00", "03:00", 1)]),
            (vec!["01:00:00"], vec![("02:00", "03:00", 2)]),
            (vec!["01:00:00", "03:00:00"], vec![("02:00", "02:00", 1)]),
            (vec!["01:00:00", "02:00:00", "03:00:00"], vec![]),
        ] {
            let late = plan(&seen(&status(&hourly), &hourly, &runs), at("03:30:00"));
            assert_eq!(not_run(&late), groups(&left), "{runs:?}");
            let told = late.notices.iter().filter(|notice| notice.reason == "RunCameLate" && !notice.warning).count();
            assert_eq!(told, runs.len());
            // Written once, and not again.
            let again = plan(&seen(&json!(late.status), &hourly, &runs), at("03:30:00"));
            assert_eq!((not_run(&again), again.notices.len()), (groups(&left), 0));
        }
    }

    #[test]
    fn a_spec_that_is_not_accepted_keeps_nobody_from_telling_what_goes_on_to_be_missed() {
        let hourly = json!({ "cron": ["0 * * * *"], "timeZone": "UTC" });
        let wrong = json!({ "cron": ["0 25 * * *"], "timeZone": "UTC" });
        let missed = plan(&seen(&status(&hourly), &wrong, &[]), at("04:01:20"));
        assert_eq!(not_run(&missed), groups(&[("01:00", "04:00", 4)]));
        let early = plan(&seen(&status(&hourly), &wrong, &[]), at("04:01:19"));
        assert_eq!((not_run(&early), early.wake), (groups(&[("01:00", "03:00", 3)]), Some(at("04:01:20"))), "it may still come");
    }

    #[test]
    fn the_api_server_is_asked_only_where_slots_are_about_to_be_told() {
        let hourly = json!({ "cron": ["0 * * * *"], "timeZone": "UTC" });
        assert!(is_to_tell(&seen(&status(&hourly), &hourly, &[]), at("04:01:20")));
        assert!(!is_to_tell(&seen(&status(&hourly), &hourly, &[]), at("04:01:19")), "its time is not over");
        assert!(!is_to_tell(&seen(&status(&hourly), &hourly, &["04:00:00"]), at("04:30:00")), "it has its run");
    }
}
