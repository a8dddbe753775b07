//! The slots of a schedule that Kubernetes keeps: what has become of each is told, over pauses, edits and changes of clocks.
//!
//! `decidedThrough` says how far that is done. An edit ends one schedule and begins another: for some seconds a Job of the
//! old one may still come into view, so its slots stay open that long, in `clock.previous`. All of this follows from the
//! status and from what is there, so a crash anywhere is made good by the next look.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{
    AFTER_SLOT, Accepted, CronJobSeen, Rejected, Seen, Timing,
    clock::{Case, owned},
    cron_jobs::{schedule_of, suspend, timing},
};
use crate::{
    api::{self, AutomationTaskStatus, ClockKind, ClockStatus, ConcurrencyPolicy, Contract, NotRun, Outcome, PreviousSchedule, condition},
    build, ledger,
    outcome::{JobEnd, JobSeen, Trouble},
    plan::{
        pause::{Pause, pause},
        slots::{CERTAIN, Kept, Of, SECOND, Scheduled, Slots, Traces, parsed, why},
    },
    schedule::Schedule,
};

/// How long a CronJob may be missing in a view that is only old.
const ABSENT: SignedDuration = SignedDuration::from_secs(3600);

/// The clock as the status had it, where that was Kubernetes'.
pub(super) fn native(before: &AutomationTaskStatus) -> Option<&ClockStatus> {
    before.clock.as_ref().filter(|clock| clock.kind == ClockKind::CronJob)
}

/// The schedule of the slots that are not decided yet: what an edit has left open counts by the one before it.
pub(super) fn open_schedule(before: &AutomationTaskStatus) -> Option<&api::Schedule> {
    let clock = before.clock.as_ref()?;
    clock.previous.as_ref().map(|previous| &previous.schedule).or(clock.schedule.as_ref())
}

/// Whether Kubernetes was to start them.
pub(super) fn is_native(before: &AutomationTaskStatus) -> bool {
    native(before).is_some() || before.clock.as_ref().is_some_and(|clock| clock.previous.is_some())
}

/// Whether slots are about to be told to have brought no run. That is no matter for a cache, which may be behind.
#[must_use]
pub fn is_to_tell(seen: &Seen, now: Timestamp) -> bool {
    let Some(before) = &seen.task.status else { return false };
    let Some(through) = &before.decided_through else { return false };
    let kept = open_schedule(before).filter(|_| is_native(before)).and_then(|kept| parsed(&seen.task.metadata, kept));
    let Some(kept) = kept else { return false };
    // Most slots that are due have their run: what the whole plan would tell is asked for another one only.
    let has_run = |slot: Timestamp| seen.recorded(slot).is_some() || seen.jobs.iter().any(|job| job.slot == Some(slot));
    let mut due = kept.next(through.0);
    while let Some(slot) = due.filter(|slot| *slot <= now && has_run(*slot)) {
        due = kept.next(slot);
    }
    // What a pause or a run in sight keeps from starting needs no other look.
    let told = |not_run: &[NotRun]| {
        let unexplained = |group: &&NotRun| ![why::SUSPENDED, why::FORBID].contains(&group.reason.as_str());
        not_run.iter().filter(unexplained).cloned().collect::<Vec<_>>()
    };
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

/// When a CronJob was last told to forget what was due, or was made, and whether that is sure: once it has started a slot
/// since, nothing tells it any more.
fn written_at(there: &CronJobSeen) -> (Timestamp, bool) {
    let Some(last) = there.last_slot.filter(|last| *last > there.created) else { return (there.created, true) };
    (last, schedule_of(there).is_some_and(|own| !own.is_slot(last)))
}

/// Since when the CronJobs that the known schedule had otherwise are as they are wanted, where that was so before this pass:
/// an earlier one has written them, and died before it could write the status. What is due by the new schedule since then
/// is no slot of the old one. Also says whether that time is sure.
fn written_before(of: Case<'_>, known: &api::Schedule) -> Option<(Timestamp, bool)> {
    let old = as_known(of, known);
    let changed = of.accepted.wanted.iter().map(|wanted| (&wanted.name, timing(wanted)));
    let changed = changed.filter(|(name, timing)| !old.iter().any(|(known, was)| known == *name && was == timing));
    let there = changed.map(|(name, timing)| {
        let there = owned(of.seen).find(|there| there.name == *name && there.timing == timing)?;
        let is_new = old.iter().all(|(known, _)| known != name);
        Some(if is_new { (there.created, true) } else { written_at(there) })
    });
    let there = there.collect::<Option<Vec<_>>>()?;
    let since = there.iter().map(|(since, _)| *since).max().filter(|since| *since <= of.now)?;
    Some((since, there.iter().all(|(_, sure)| *sure)))
}

/// The CronJobs that the known schedule had: their names, and what they started.
fn as_known(of: Case<'_>, known: &api::Schedule) -> Vec<(String, Timing)> {
    let Some(schedule) = parsed(&of.seen.task.metadata, known) else { return Vec::new() };
    let mut task = (*of.seen.task).clone();
    task.spec.schedule = Some(known.clone());
    let contract = Contract::of(&task.spec, 0);
    let of_line = |line| build::cron_job(&task, line, &contract, of.slots().was_paused);
    schedule.lines.iter().enumerate().map(of_line).map(|spec| (spec.name.clone(), timing(&spec))).collect()
}

/// The task's CronJobs, those that this pass has written as they are now.
fn in_view(seen: &Seen) -> impl Iterator<Item = &CronJobSeen> {
    seen.written.iter().chain(owned(seen).filter(|there| seen.written.iter().all(|written| written.name != there.name)))
}

/// Whether one of the CronJobs of a schedule is not among these.
fn is_gone(seen: &Seen, schedule: &Schedule, cron_jobs: &[&CronJobSeen]) -> bool {
    let task = seen.task.metadata.name.as_deref().unwrap_or_default();
    let mut lines = schedule.lines.iter().enumerate().map(|(index, line)| build::cron_job_name(task, index, line.as_str()));
    lines.any(|name| cron_jobs.iter().all(|there| there.name != name))
}

/// What these CronJobs of a schedule let know of slots of which nothing is there. `made` says whether one that was made anew
/// meanwhile took the traces of the one before it along.
fn traces(seen: &Seen, (written, schedule): (&api::Schedule, &Schedule), cron_jobs: &[&CronJobSeen], made: bool) -> Traces {
    let mut lost: Vec<Timestamp> = Vec::new();
    for there in cron_jobs {
        let ended = |good: bool| {
            let jobs = seen.jobs.iter().filter(|job| job.by_cron_job && job.owners.contains(&there.uid));
            let jobs = jobs.filter(move |job| job.end.as_ref().is_some_and(|end| (*end == JobEnd::Complete) == good));
            jobs.map(|job: &JobSeen| job.slot.unwrap_or(job.created))
        };
        lost.extend([true, false].into_iter().filter_map(|good| ledger::lost_through(ended(good), build::HISTORY_LIMIT)));
        lost.extend(made.then_some(there.created));
    }
    if made && is_gone(seen, schedule, cron_jobs) {
        // Where a CronJob is gone, so are its Jobs.
        lost.push(Timestamp::MAX);
    }
    if written.policy() == ConcurrencyPolicy::Replace {
        // A later slot takes the Job of the one before along, whether or not that had ended.
        let begun = seen.runs.iter().filter_map(|run| run.spec.schedule_slot()).chain(seen.jobs.iter().filter_map(|job| job.slot));
        let newest = begun.chain(cron_jobs.iter().filter_map(|there| there.last_slot)).max();
        lost.extend(newest.and_then(|newest| newest.checked_sub(SECOND).ok()));
    }
    // One that somebody deletes before it has a run gets none.
    let lost_jobs = seen.jobs.iter().filter(|job| job.by_cron_job && job.deleting && job.run.is_none()).filter_map(|job| job.slot);
    let started = cron_jobs.iter().filter_map(|there| there.last_slot).chain(lost_jobs).collect();
    Traces { lost: lost.into_iter().max(), started }
}

/// What kept the CronJob controller from starting these slots, as its Events tell. They name the Job that the API server
/// refused; where it was a webhook that refused it, they do not, and their time tells.
pub(super) fn kept_from(seen: &Seen, slots: &NotRun) -> Option<String> {
    let minutes = slots.first_slot.0.as_second() / 60..=slots.last_slot.0.as_second() / 60;
    let minute_of = |message: &str, name: &str| {
        let after = message.split_once(&format!("\"{name}-")).map(|(_, after)| after);
        after.and_then(|after| after.split('"').next()).and_then(|digits| digits.parse::<i64>().ok())
    };
    let deadline = seen.task.spec.schedule.as_ref().map_or(0, api::Schedule::deadline_seconds);
    let until = slots.last_slot.0.checked_add(SignedDuration::from_secs(deadline) + CERTAIN).unwrap_or(Timestamp::MAX);
    let named = |trouble: &Trouble| owned(seen).find_map(|there| minute_of(&trouble.message, &there.name));
    let tells = |trouble: &&Trouble| match named(trouble) {
        Some(minute) => minutes.contains(&minute),
        None => trouble.reason == "FailedCreate" && trouble.last.is_some_and(|last| (slots.first_slot.0..=until).contains(&last)),
    };
    let refused = seen.troubles.iter().rev().find(tells);
    let nobody = "Kubernetes' CronJob controller has not started it within startingDeadlineSeconds, and no Event says why";
    refused
        .map(|refused| format!("Kubernetes could not start it ({}): {}", refused.reason, refused.message))
        .or_else(|| (slots.reason == why::DEADLINE_PASSED).then(|| nobody.to_owned()))
}

/// The task's pause, also where its spec cannot be carried out: what was paused before then stays so.
pub(super) fn paused(seen: &Seen, accepted: &Result<Accepted, Rejected>, now: Timestamp) -> Option<Pause> {
    match accepted {
        Ok(accepted) => accepted.pause.clone(),
        Err(_) => {
            let mut cron_jobs = owned(seen).peekable();
            let stay = cron_jobs.peek().is_some() && cron_jobs.all(|there| there.timing.suspended);
            let written = pause(&seen.task.metadata, seen.task.spec.schedule.as_ref(), now).ok().flatten();
            written.or_else(|| stay.then_some(Pause::Stays))
        }
    }
}

/// Goes on accounting for the schedule that was accepted last, while the spec cannot be carried out.
pub(super) fn go_on(seen: &Seen, before: &AutomationTaskStatus, paused: Option<&Pause>, now: Timestamp) -> Option<Kept> {
    let clock = native(before)?.clone();
    let written = clock.schedule.clone()?;
    let schedule = parsed(&seen.task.metadata, &written)?;
    let mut kept = Kept::of(clock, before.decided_through.as_ref(), &before.not_run);
    kept.changes = suspend(seen, now);
    let of =
        Of { seen, schedule: &schedule, known: None, was_paused: paused_since(before).is_some(), pause: paused, by_operator: false, now };
    if kept.close(seen, before, of.was_paused, now) && kept.decided_through.is_some() {
        kept.account(of, (seen, before), &written, (now, now));
    }
    let next = schedule.next(now).and_then(|slot| slot.checked_add(AFTER_SLOT).ok()).filter(|_| paused.is_none());
    for at in [next, paused.and_then(Pause::until)].into_iter().flatten() {
        kept.look_again(at);
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
        // Its policy and its deadline say what becomes of a slot: those that are open are the old one's to judge.
        let judges = |schedule: &api::Schedule| (schedule.policy(), schedule.deadline_seconds());
        let is_edited = |known: &api::Schedule| {
            let slots = parsed(&seen.task.metadata, known).map(|known| known.slots_hash());
            slots != Some(of.schedule.slots_hash()) || judges(known) != judges(&written)
        };
        let edited = known.clone().filter(is_edited);
        let is_closed = self.close(seen, before, edited.is_some() || of.slots().was_paused, now);
        if let (true, Some(_), Some(known)) = (is_closed, self.decided_through, edited) {
            let (until, sure) = written_before(of, &known).unwrap_or((now, true));
            self.end(seen, before, (known, until, sure), now);
        } else if self.decided_through.is_none() {
            // From a release that told nothing of them: they count from now on. Others count from their creation, or from
            // the edit that they were written with.
            let since = |there: &CronJobSeen| {
                let is_known = before.cron_jobs.iter().any(|record| record.uid == there.uid);
                let (written, sure) = written_at(there);
                if sure || is_known { written } else { there.created }
            };
            let begun = if was.is_some() && known.is_none() { Some(now) } else { armed(of, since) };
            self.decided_through = begun;
        }
        self.arm(of.slots(), self.decided_through.unwrap_or(now));
        if self.clock.previous.is_some() || self.decided_through.is_none() {
            return;
        }
        // An earlier pass may have suspended them and died.
        let begins = of.accepted.pause.is_some() && paused_since(before).is_none();
        let paused = known.filter(|_| begins).and_then(|known| written_before(of, &known)).map_or(now, |(since, _)| since);
        // While a CronJob is missing, this view may be old. In the end somebody must have deleted it, and it cannot be made.
        let there = of.accepted.wanted.iter().all(|wanted| owned(seen).any(|there| there.name == wanted.name));
        let until = if there { now } else { now.checked_sub(ABSENT).unwrap_or(now) };
        self.account(of.slots(), (seen, before), &written, (paused, until));
        let open = self.decided_through.and_then(|through| of.schedule.next(through)).filter(|_| !there);
        let patience = (SignedDuration::from_secs(of.schedule.starting_deadline_seconds) + CERTAIN).max(ABSENT);
        if let Some(told) = open.and_then(|slot| slot.checked_add(patience).ok()).filter(|told| *told > now) {
            self.look_again(told);
        }
    }

    /// The schedule that Kubernetes has kept ended at `until`, as far as that is sure: another begins, or another clock, or none.
    pub(super) fn end(
        &mut self,
        seen: &Seen,
        before: &AutomationTaskStatus,
        (known, until, sure): (api::Schedule, Timestamp, bool),
        now: Timestamp,
    ) {
        let paused = paused_since(before);
        if let (Some(through), Some(schedule), None) = (self.decided_through, parsed(&seen.task.metadata, &known), paused) {
            // The CronJobs are there still that tell more than those to come.
            let mut slots = Slots::new(seen, &schedule, through, &self.not_run, now).under(known.clone());
            let there: Vec<&CronJobSeen> = owned(seen).collect();
            let mut found = traces(seen, (&known, &schedule), &there, true);
            if sure && !is_gone(seen, &schedule, &there) {
                slots.account_due(until, &found);
            } else {
                // Nobody will ever tell more of them, nor which were due before the edit.
                found.lost = Some(Timestamp::MAX);
                slots.account(until, &found);
            }
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
        slots.account(ended, &traces(seen, (&written, &schedule), &in_view(seen).collect::<Vec<_>>(), made));
        if paused_since(before).is_some() {
            slots.skip(until, (Outcome::Skipped, why::SUSPENDED));
        }
        slots.through = slots.through.max(until);
        self.take(slots);
    }

    /// Accounts for the slots of a schedule that goes on, up to `until` and as far as that can be done now. A pause that nobody
    /// has told of so far began at `paused`.
    fn account(
        &mut self,
        of: Of<'_>,
        (seen, before): (&Seen, &AutomationTaskStatus),
        written: &api::Schedule,
        (paused, until): (Timestamp, Timestamp),
    ) {
        let found = traces(seen, (written, of.schedule), &in_view(seen).collect::<Vec<_>>(), true);
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
        slots.account_due(until, &found);
        slots.correct();
        // Where it lies behind, it is not time that is lacking.
        slots.wake = slots.decided_at().filter(|at| *at > of.now);
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
        Seen { cron_jobs: vec![cron_job], runs: runs.iter().map(run).collect(), ..Seen::of(task) }
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
        let quiet = plan(&seen(&status(&hourly), &wrong, &[]), at("03:30:00"));
        assert_eq!(quiet.wake, Some(at("04:00:05")), "nothing else wakes it for the next slot");
    }

    #[test]
    fn what_is_suspended_stays_so_while_the_spec_is_not_accepted_and_misses_nothing() {
        let hourly = json!({ "cron": ["0 * * * *"], "timeZone": "UTC" });
        let wrong = json!({ "cron": ["0 25 * * *"], "timeZone": "UTC" });
        let mut before = status(&hourly);
        before["conditions"] = json!([{
            "type": "Suspended", "status": "True", "reason": "SpecSuspended", "message": "", "lastTransitionTime": at("03:10:00"),
        }]);
        let mut seen = seen(&before, &wrong, &[]);
        seen.cron_jobs[0].timing.suspended = true;
        let after = plan(&seen, at("06:30:00"));
        let reasons: Vec<&str> = after.status.not_run.iter().map(|group| group.reason.as_str()).collect();
        assert_eq!(reasons, ["DeadlinePassed", "Suspended"]);
        let suspended = condition::find(&after.status.conditions, condition::SUSPENDED).unwrap();
        assert_eq!((suspended.status.as_str(), suspended.message.contains("until the spec can be carried out")), ("True", true));
        assert_eq!(suspended.last_transition_time.0, at("03:10:00"));
    }

    #[test]
    fn slots_of_a_cron_job_that_stays_missing_are_told_in_the_end() {
        let hourly = json!({ "cron": ["0 * * * *"], "timeZone": "UTC" });
        let mut seen = seen(&status(&hourly), &hourly, &[]);
        seen.cron_jobs[0].owners = vec!["of somebody else".to_owned()];
        let early = plan(&seen, at("04:30:00"));
        assert_eq!(not_run(&early), groups(&[("01:00", "03:00", 3)]), "this view may be old");
        assert_eq!(early.wake, Some(at("05:00:00")), "and not each second until then");
        let late = plan(&seen, at("05:00:00"));
        assert_eq!(not_run(&late), groups(&[("01:00", "03:00", 3), ("04:00", "04:00", 1)]));
        assert_eq!(late.status.not_run[1].outcome, Outcome::Unknown);
    }

    #[test]
    fn a_slot_that_was_held_back_before_an_edit_of_the_policy_is_judged_by_the_old_one() {
        let forbid = json!({ "cron": ["0 * * * *"], "timeZone": "UTC", "catchUp": { "policy": "Latest" } });
        let allow = json!({ "cron": ["0 * * * *"], "timeZone": "UTC", "catchUp": { "policy": "Latest" }, "concurrencyPolicy": "Allow" });
        let mut before = status(&forbid);
        before["decidedThrough"] = json!(at("00:00:00"));
        before["notRun"] = json!([]);
        // The run of midnight goes on.
        let mut seen = seen(&before, &allow, &["00:00:00"]);
        let edited = plan(&seen, at("03:10:00"));
        seen.task = Arc::new(AutomationTask { status: Some(edited.status), ..(*seen.task).clone() });
        let told = plan(&seen, at("03:10:20"));
        assert_eq!(not_run(&told), groups(&[("01:00", "03:00", 3)]));
        assert_eq!(told.status.not_run[0].reason, why::FORBID);
    }

    #[test]
    fn of_slots_around_an_edit_whose_time_nobody_knows_nothing_is_said_to_be_missed() {
        let old = json!({ "cron": ["5 * * * *"], "timeZone": "UTC" });
        let new = json!({ "cron": ["*/10 * * * *"], "timeZone": "UTC" });
        // The CronJob was written at two minutes past, and has started ten past; then the operator died.
        let mut seen = seen(&status(&old), &new, &["04:10:00"]);
        let timing = &mut seen.cron_jobs[0].timing;
        (timing.line, timing.policy, timing.deadline_seconds) = ("*/10 * * * *".to_owned(), "Forbid".to_owned(), 60);
        seen.cron_jobs[0].last_slot = Some(at("04:10:00"));
        let told = plan(&seen, at("04:12:00"));
        let outcomes: Vec<Outcome> = told.status.not_run.iter().skip(1).map(|group| group.outcome).collect();
        assert_eq!((outcomes, told.status.clock.and_then(|clock| clock.previous)), (vec![Outcome::Unknown], None));
        // A line was taken out together with its CronJob.
        let two = json!({ "cron": ["*/10 * * * *", "5 * * * *"], "timeZone": "UTC" });
        seen.task = Arc::new(AutomationTask { status: serde_json::from_value(status(&two)).unwrap(), ..(*seen.task).clone() });
        let told = plan(&seen, at("04:12:00"));
        assert!(told.status.not_run.iter().skip(1).all(|group| group.outcome == Outcome::Unknown), "{:?}", told.status.not_run);
    }

    #[test]
    fn a_job_that_goes_before_it_has_a_run_holds_nothing_back() {
        let hourly = json!({ "cron": ["0 * * * *"], "timeZone": "UTC" });
        let mut seen = seen(&status(&hourly), &hourly, &[]);
        let job: k8s_openapi::api::batch::v1::Job = serde_json::from_value(json!({
            "metadata": {
                "name": "t-1", "namespace": "ns", "uid": "j", "creationTimestamp": at("04:00:00"), "deletionTimestamp": at("04:00:30"),
                "annotations": { "batch.kubernetes.io/cronjob-scheduled-timestamp": at("04:00:00") },
                "ownerReferences": [{ "apiVersion": "batch/v1", "kind": "CronJob", "name": "t", "uid": "c", "controller": true }],
            },
        }))
        .unwrap();
        let no_pods: [Arc<k8s_openapi::api::core::v1::Pod>; 0] = [];
        seen.jobs = vec![JobSeen::read(&job, &no_pods)];
        let told = plan(&seen, at("04:02:00"));
        assert_eq!(not_run(&told), groups(&[("01:00", "03:00", 3), ("04:00", "04:00", 1)]));
        assert_eq!(told.status.not_run[1].outcome, Outcome::Unknown);
    }

    #[test]
    fn a_line_that_is_taken_out_leaves_its_open_slots_to_be_told() {
        let both = json!({ "cron": ["0 * * * *", "30 * * * *"], "timeZone": "UTC", "concurrencyPolicy": "Allow" });
        let one = json!({ "cron": ["0 * * * *"], "timeZone": "UTC", "concurrencyPolicy": "Allow" });
        let mut seen = seen(&status(&both), &one, &[]);
        seen.cron_jobs[0].timing = Timing { policy: "Allow".to_owned(), deadline_seconds: 60, ..seen.cron_jobs[0].timing.clone() };
        let mut other = seen.cron_jobs[0].clone();
        other.name = build::cron_job_name("t", 1, "30 * * * *");
        other.timing.line = "30 * * * *".to_owned();
        seen.cron_jobs.push(other);
        let edited = plan(&seen, at("03:30:30"));
        let previous = edited.status.clock.as_ref().and_then(|clock| clock.previous.clone()).unwrap();
        assert_eq!(previous.until.0, at("03:30:30"), "and not when the other line was written");
        seen.task = Arc::new(AutomationTask { status: Some(edited.status), ..(*seen.task).clone() });
        assert_eq!(not_run(&plan(&seen, at("03:31:00"))), groups(&[("01:00", "03:30", 4)]));
    }

    #[test]
    fn what_was_told_under_one_clock_is_not_started_by_the_other() {
        let hourly = json!({ "cron": ["0 * * * *"], "timeZone": "UTC" });
        let longer = json!({ "cron": ["0 * * * *"], "timeZone": "UTC", "startingDeadlineSeconds": 7200, "notBefore": at("00:00:00") });
        let mut seen = seen(&status(&hourly), &longer, &[]);
        seen.cron_jobs[0].timing.suspended = true;
        let begun = plan(&seen, at("03:30:00"));
        seen.task = Arc::new(AutomationTask { status: Some(begun.status), ..(*seen.task).clone() });
        let armed = plan(&seen, at("03:30:10"));
        assert!(!armed.changes.iter().any(|change| matches!(change, crate::plan::Change::CreateRun(_))), "{:#?}", armed.changes);
        assert_eq!(armed.status.clock.as_ref().map(|clock| clock.kind), Some(ClockKind::Operator));
        assert_eq!(not_run(&armed), groups(&[("01:00", "03:00", 3)]));
    }

    #[test]
    fn a_schedule_that_comes_back_counts_from_its_return() {
        let hourly = json!({ "cron": ["0 * * * *"], "timeZone": "UTC" });
        let mut seen = seen(&json!({ "clock": { "type": "None", "reason": "" } }), &hourly, &[]);
        seen.cron_jobs[0].timing = Timing { policy: "Forbid".to_owned(), deadline_seconds: 60, ..seen.cron_jobs[0].timing.clone() };
        seen.cron_jobs[0].last_slot = Some(at("03:10:00"));
        let back = plan(&seen, at("03:10:05"));
        assert_eq!((back.status.decided_through.map(|time| time.0), back.status.not_run.len()), (Some(at("03:10:00")), 0));
    }

    #[test]
    fn an_event_that_names_no_job_is_known_by_its_time() {
        let hourly = json!({ "cron": ["0 * * * *"], "timeZone": "UTC" });
        let mut seen = seen(&status(&hourly), &hourly, &[]);
        let denied = "Error creating job: admission webhook \"images\" denied the request: no such registry";
        for (last, words) in [("04:00:01", "denied the request"), ("03:59:00", "no Event says why")] {
            seen.troubles = vec![Trouble { reason: "FailedCreate".to_owned(), message: denied.to_owned(), last: Some(at(last)) }];
            let told = plan(&seen, at("04:01:20"));
            assert!(told.notices.iter().any(|notice| notice.warning && notice.message.contains(words)), "{words}: {:#?}", told.notices);
        }
    }

    #[test]
    fn the_api_server_is_asked_only_where_slots_are_about_to_be_told() {
        let hourly = json!({ "cron": ["0 * * * *"], "timeZone": "UTC" });
        assert!(is_to_tell(&seen(&status(&hourly), &hourly, &[]), at("04:01:20")));
        assert!(!is_to_tell(&seen(&status(&hourly), &hourly, &[]), at("04:01:19")), "its time is not over");
        assert!(!is_to_tell(&seen(&status(&hourly), &hourly, &["04:00:00"]), at("04:30:00")), "it has its run");
    }
}
