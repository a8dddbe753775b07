//! The slots that Kubernetes starts: nothing is done about them, it is only told what has become of each.
//!
//! A slot is decided once nothing starts it any more and a Job of it would have come into view. What remains: a Job that
//! comes later than that all the same (the clocks of two machines differ by more than [`CERTAIN`], or the CronJob controller
//! hung between its decision and its request). Its run then stands, and the slot is taken out of what did not run.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{GROUPS, SECOND, Slots, why};
use crate::{
    api::{self, NotRun, Outcome},
    outcome::JobSeen,
    plan::Notice,
    schedule::Schedule,
};

/// How long after nothing may start a slot any more its Job may still come into view: the clocks of two machines differ, and
/// the CronJob controller's request takes its time.
pub(in crate::plan) const CERTAIN: SignedDuration = SignedDuration::from_secs(20);

/// How long the CronJob controller takes to see that a run has ended, and that the next may start: where its deadline is over
/// by then, it was that run that held it back.
const TAKES: SignedDuration = SignedDuration::from_secs(5);

/// What is known of slots of which neither a run nor a Job is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::plan) struct Traces {
    /// What a slot up to here has brought may be gone.
    pub(in crate::plan) lost: Option<Timestamp>,
    /// Slots that a CronJob says it has started, whatever is left of it.
    pub(in crate::plan) started: Vec<Timestamp>,
}

impl Slots<'_> {
    /// The same, where the slots were another schedule's: its policy and its deadline hold.
    pub(in crate::plan) fn under(self, written: api::Schedule) -> Self {
        Self { written, ..self }
    }

    /// The same, where the schedule was paused or has ended at that time.
    pub(in crate::plan) fn ended(self, at: Timestamp) -> Self {
        Self { ended: Some(at), ..self }
    }

    /// Accounts for the slots that nothing starts any more, as far as they are on record or their time is over; at most up
    /// to `until`.
    pub(in crate::plan) fn account_due(&mut self, until: Timestamp, traces: &Traces) {
        self.account_recorded(self.over().min(until), traces);
        self.pass_recorded(until);
    }

    /// Accounts for the slots up to `until`, which nothing starts any more, as far as what was started is on record.
    pub(in crate::plan) fn account_recorded(&mut self, until: Timestamp, traces: &Traces) {
        // What has a Job will have a run: that is its outcome, and not before it is on record, or the Job could go without one.
        let unrecorded = self.unrecorded().filter_map(|job| job.slot).filter(|slot| *slot > self.through).min();
        self.account(unrecorded.map_or(until, |slot| until.min(slot - SECOND)), traces);
    }

    /// Accounts for the slots up to `until`, which nothing starts any more. Work does not grow with their number.
    pub(in crate::plan) fn account(&mut self, until: Timestamp, traces: &Traces) {
        let from = self.through;
        if until <= from {
            return;
        }
        self.by_kubernetes = true;
        self.around_runs(from, until, |slots, from, until| slots.account_gap(from, until, traces));
        // Not further than the last slot that is decided: time that passes alone is no news.
        self.through = self.schedule.newest(1, from, until).first().copied().unwrap_or(from);
        // What is told in one pass is no more than what is kept.
        let over = self.notices.len().saturating_sub(GROUPS);
        self.notices.drain(..over);
    }

    /// Whether a slot up to `until` has yet to be decided.
    pub(in crate::plan) fn is_open(&self, until: Timestamp) -> bool {
        self.schedule.next(self.through).is_some_and(|slot| slot <= until)
    }

    /// When a slot that is due and of which nothing is seen will be decided: there is nothing else to look again for.
    pub(in crate::plan) fn decided_at(&self) -> Option<Timestamp> {
        let slot = self.schedule.next(self.through).filter(|slot| *slot <= self.now)?;
        if self.unrecorded().any(|job| job.slot == Some(slot)) {
            return None;
        }
        let too_late = slot.checked_add(self.patience()).ok();
        // A later slot that was started in the meantime decides it too.
        let overtaken = self.started_after(slot).filter_map(|(_, at)| at.checked_add(CERTAIN).ok()).filter(|at| *at > self.now).min();
        [too_late, overtaken].into_iter().flatten().min()
    }

    /// A run that has come into view late stands: its slot is none of those that brought no run. Slots of a schedule that was
    /// edited since are taken out where they stand alone: where the others of their group were is not known any more.
    pub(in crate::plan) fn correct(&mut self) {
        let mut late: Vec<(Timestamp, String)> = Vec::new();
        for run in self.seen.runs() {
            let slot = run.spec.schedule_slot().filter(|slot| self.not_run.iter().any(|group| is_within(group, *slot)));
            late.extend(slot.zip(run.metadata.name.clone()));
        }
        late.sort();
        late.dedup_by_key(|(slot, _)| *slot);
        for (slot, run) in late {
            let Some(index) = self.not_run.iter().position(|group| is_within(group, slot)) else { continue };
            let group = self.not_run[index].clone();
            let alone = group.slots == 1 && group.first_slot.0 == slot;
            if !alone && (!self.schedule.is_slot(slot) || self.counted(group.first_slot.0 - SECOND, group.last_slot.0) != group.slots) {
                continue;
            }
            let parts = [(group.first_slot.0 - SECOND, slot - SECOND), (slot, group.last_slot.0)];
            let parts: Vec<NotRun> = parts.into_iter().filter_map(|(from, until)| self.part(&group, from, until)).collect();
            self.not_run.splice(index..=index, parts.into_iter().filter(|_| !alone));
            self.notices.push(Notice {
                warning: false,
                reason: "RunCameLate".to_owned(),
                action: "Schedule",
                message: format!("the slot of {slot} has a run after all: {run} came into view late"),
            });
        }
        let over = self.not_run.len().saturating_sub(GROUPS);
        self.not_run.drain(..over);
    }

    /// What lies of a group in `(from, until]`.
    fn part(&self, group: &NotRun, from: Timestamp, until: Timestamp) -> Option<NotRun> {
        let slots = self.counted(from, until);
        let first = self.schedule.next(from).filter(|_| slots > 0)?;
        let last = self.schedule.newest(1, from, until).first().copied()?;
        Some(NotRun { first_slot: Time(first), last_slot: Time(last), slots, ..group.clone() })
    }

    fn counted(&self, from: Timestamp, until: Timestamp) -> i64 {
        i64::try_from(self.schedule.count(from, until)).unwrap_or(i64::MAX)
    }

    /// From a slot on, how long it is until nothing starts it any more and a Job of it would have been seen.
    fn patience(&self) -> SignedDuration {
        self.deadline() + CERTAIN
    }

    fn deadline(&self) -> SignedDuration {
        SignedDuration::from_secs(self.written.deadline_seconds())
    }

    /// Up to when no slot is started any more: its deadline is over, or a later one of its line was started.
    fn over(&self) -> Timestamp {
        let too_late = self.now.checked_sub(self.patience()).unwrap_or(Timestamp::MIN).max(self.through);
        let started: Vec<Timestamp> =
            self.started_after(too_late).filter(|(_, at)| *at + CERTAIN <= self.now).map(|(slot, _)| slot).collect();
        // Each line has a CronJob of its own, which knows nothing of the others.
        let undecided = self.schedule.lines.iter().filter_map(|line| {
            let of_line = Schedule { lines: vec![line.clone()], ..self.schedule.clone() };
            let newest = started.iter().copied().filter(|slot| of_line.is_slot(*slot)).max();
            of_line.next(newest.map_or(too_late, |newest| newest.max(too_late)))
        });
        undecided.min().map_or(self.now, |slot| self.now.min(slot - SECOND))
    }

    /// Slots after this one that were started, and when.
    fn started_after(&self, slot: Timestamp) -> impl Iterator<Item = (Timestamp, Timestamp)> {
        let runs = self.seen.runs().iter().filter_map(|run| run.spec.schedule_slot().zip(run.metadata.creation_timestamp.clone()));
        let jobs = self.seen.jobs().iter().filter(|job| job.by_cron_job).filter_map(|job| Some((job.slot?, job.created)));
        runs.map(|(slot, at)| (slot, at.0)).chain(jobs).filter(move |(other, _)| *other > slot)
    }

    /// Jobs of slots that have no run so far, and will have one.
    fn unrecorded(&self) -> impl Iterator<Item = &JobSeen> {
        let has_run = |job: &JobSeen| job.run.is_some() || job.slot.is_none_or(|slot| self.seen.recorded(slot).is_some());
        self.seen.jobs().iter().filter(move |job| job.by_cron_job && !job.deleting && !has_run(job))
    }

    /// Moves on over slots that have their run already, though others may still come.
    fn pass_recorded(&mut self, until: Timestamp) {
        while let Some(slot) = self.schedule.next(self.through).filter(|slot| *slot <= self.now.min(until)) {
            let marked = |job: &JobSeen| job.by_cron_job && job.slot == Some(slot) && job.run.is_some();
            if self.seen.recorded(slot).is_none() && !self.seen.jobs().iter().any(marked) {
                return;
            }
            self.through = slot;
        }
    }

    /// Slots in `(from, until]`, of which neither runs nor Jobs are there.
    fn account_gap(&mut self, from: Timestamp, until: Timestamp, traces: &Traces) {
        if from >= until {
            return;
        }
        // Those whose time was not over when the next one was started have made way for it.
        let next = self.begun(until + SECOND);
        let made_way = next.and_then(|begun| begun.checked_sub(self.deadline()).ok());
        let cut = made_way.map_or(until, |cut| cut.clamp(from, until));
        for (from, until, hold, reason) in
            [(from, cut, self.deadline() - TAKES, why::DEADLINE_PASSED), (cut, until, SignedDuration::ZERO, why::SUPERSEDED)]
        {
            let mut started: Vec<Timestamp> = traces.started.iter().copied().filter(|slot| *slot > from && *slot <= until).collect();
            started.sort_unstable();
            let mut at = from;
            for slot in started {
                self.account_untold(at, slot - SECOND, (hold, reason), traces);
                self.leave(slot - SECOND, slot, (Outcome::Unknown, why::NO_TRACE));
                at = slot;
            }
            self.account_untold(at, until, (hold, reason), traces);
        }
    }

    /// The same, where no CronJob says that it has started them.
    fn account_untold(&mut self, from: Timestamp, until: Timestamp, (hold, reason): (SignedDuration, &'static str), traces: &Traces) {
        if from >= until {
            return;
        }
        let lost = traces.lost.map_or(from, |lost| lost.clamp(from, until));
        self.pass_over_gap(from, lost, hold, (Outcome::Unknown, why::NO_TRACE));
        self.pass_over_gap(lost, until, hold, (Outcome::Missed, reason));
    }

    /// When the run or the Job of a slot began.
    fn begun(&self, slot: Timestamp) -> Option<Timestamp> {
        let job = self.seen.jobs().iter().find(|job| job.by_cron_job && job.slot == Some(slot)).map(|job| job.created);
        job.or_else(|| {
            let run = self.seen.recorded(slot)?;
            let started = run.status.as_ref().and_then(|status| status.start_time.clone());
            started.or(run.metadata.creation_timestamp.clone()).map(|time| time.0)
        })
    }
}

fn is_within(group: &NotRun, slot: Timestamp) -> bool {
    (group.first_slot.0..=group.last_slot.0).contains(&slot)
}
