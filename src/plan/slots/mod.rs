//! The slots of a schedule: each is decided once. Where the operator is the clock it gets its run, or it is told why not;
//! where Kubernetes is, it is told what has become of it.

mod account;
mod kept;

pub(super) use account::{CERTAIN, Traces};
pub(super) use kept::{DOUBTFUL, Kept, Of, SECOND, parsed};

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::ObjectMeta;

use super::{Change, Notice, Refusal, RefusalKind};
use crate::{
    admission,
    api::{self, AutomationRun, CatchUpPolicy, ConcurrencyPolicy, History, NotRun, Outcome, Slo, Trigger},
    outcome::{JobSeen, cut},
    schedule::Schedule,
    slo::Missed,
};

/// How late a run may start and still be said to be on schedule.
const ON_TIME: SignedDuration = SignedDuration::from_secs(60);
/// How soon to ask again for a run that the API server refuses.
const REFUSED_AGAIN: SignedDuration = SignedDuration::from_secs(15);
/// How many groups of slots without a run are on status.
pub(super) const GROUPS: usize = 20;

/// Why slots brought no run.
pub(super) mod why {
    pub const SUSPENDED: &str = "Suspended";
    pub const EDITED: &str = "Edited";
    pub const FORBID: &str = "Forbid";
    pub const QUEUE_FULL: &str = "QueueFull";
    pub const NAME_TAKEN: &str = "NameTaken";
    pub const DEADLINE_PASSED: &str = "DeadlinePassed";
    pub const SUPERSEDED: &str = "Superseded";
    pub const CATCH_UP_LIMIT: &str = "CatchUpLimit";
    pub const INVALID_PARAMETERS: &str = "InvalidParameters";
    pub const NOT_READY: &str = "NotReady";
    pub const NO_TRACE: &str = "NoTrace";
}

/// What has a schedule, as it was seen: a task or a workflow.
pub(super) trait Scheduled {
    /// Its metadata.
    fn meta(&self) -> &ObjectMeta;
    /// Its schedule, as it is written.
    fn written(&self) -> Option<&api::Schedule>;
    /// Its objective.
    fn slo(&self) -> Option<&Slo>;
    /// How many finished runs are kept.
    fn history(&self) -> Option<&History>;
    /// Its runs.
    fn runs(&self) -> &[Arc<AutomationRun>];
    /// Its Jobs, where CronJobs start some.
    fn jobs(&self) -> &[JobSeen];
    /// The run of a slot, of either clock.
    fn recorded(&self, slot: Timestamp) -> Option<&AutomationRun> {
        self.runs().iter().map(AsRef::as_ref).find(|run| run.spec.schedule_slot() == Some(slot))
    }
    /// Names of runs that this pass has made, or found to be there.
    fn runs_made(&self) -> &[String];
    /// What the API server refused in this pass.
    fn refusals(&self) -> &[Refusal];
    /// Name of the run of a slot: the lock for it.
    fn name_of(&self, slot: Timestamp, schedule: &Schedule) -> String;
    /// What kept Kubernetes from starting these slots, as far as its Events tell.
    fn kept_from(&self, slots: &NotRun) -> Option<String>;
    /// The run of a slot, of that name.
    ///
    /// # Errors
    /// Tells which value cannot be computed from the slot.
    fn run_of(&self, slot: Timestamp, name: String, schedule: &Schedule, trigger: Trigger) -> Result<AutomationRun, String>;
}

/// What has become of the slots, and what has to be done about those that are due.
pub(super) struct Slots<'a> {
    seen: &'a dyn Scheduled,
    schedule: &'a Schedule,
    written: api::Schedule,
    now: Timestamp,
    pub(super) changes: Vec<Change>,
    /// Whether a run is to be made that is not seen to be there yet: its slot is decided only then, and none after it.
    open: bool,
    /// Whether Kubernetes was to start them.
    by_kubernetes: bool,
    /// When the schedule was paused or ended, where that was before the slots' deadlines.
    ended: Option<Timestamp>,
    /// Every slot up to here is decided.
    pub(super) through: Timestamp,
    pub(super) not_run: Vec<NotRun>,
    /// Those that were missed, where they count.
    pub(super) missed: Vec<Missed>,
    pub(super) notices: Vec<Notice>,
    pub(super) wake: Option<Timestamp>,
}

impl<'a> Slots<'a> {
    pub(super) fn new(seen: &'a dyn Scheduled, schedule: &'a Schedule, through: Timestamp, not_run: &[NotRun], now: Timestamp) -> Self {
        let written = seen.written().cloned().unwrap_or_default();
        Self {
            seen,
            schedule,
            written,
            now,
            changes: Vec::new(),
            open: false,
            by_kubernetes: false,
            ended: None,
            through,
            not_run: not_run.to_vec(),
            missed: Vec::new(),
            notices: Vec::new(),
            wake: None,
        }
    }

    /// None of the slots up to `until` is to run. Those that have their run have it.
    pub(super) fn skip(&mut self, until: Timestamp, what: (Outcome, &'static str)) {
        self.around_runs(self.through, until, |slots, from, until| slots.leave(from, until, what));
        self.through = self.through.max(until);
    }

    /// Decides the slots up to `until`, as far as they can be decided now. Work does not grow with the number of slots.
    pub(super) fn decide(&mut self, until: Timestamp) {
        let deadline = SignedDuration::from_secs(self.schedule.starting_deadline_seconds);
        let too_late = self.now.checked_sub(deadline + SignedDuration::from_secs(1)).unwrap_or(Timestamp::MIN).min(until);
        if too_late > self.through {
            self.pass_over(self.through, too_late, deadline, why::DEADLINE_PASSED);
        }
        let from = self.through.max(too_late);
        let eligible = self.schedule.newest(self.written.catch_up_limit(), from, until);
        let oldest = eligible.first().copied();
        if let Some(before) = oldest.map(|oldest| oldest - SignedDuration::from_secs(1)).filter(|before| *before > from) {
            let reason = if self.written.catch_up_policy() == CatchUpPolicy::All { why::CATCH_UP_LIMIT } else { why::SUPERSEDED };
            self.pass_over(from, before, SignedDuration::ZERO, reason);
        }
        // Not further than the last slot that is decided: time that passes alone is no news.
        self.through = self
            .schedule
            .newest(1, self.through, oldest.map_or(until, |oldest| oldest - SignedDuration::from_secs(1)))
            .first()
            .copied()
            .unwrap_or(self.through);
        for slot in eligible {
            if !self.start(slot, slot.checked_add(deadline).unwrap_or(slot)) {
                break;
            }
        }
        if self.written.policy() == ConcurrencyPolicy::Replace {
            self.replace();
        }
    }

    /// Has the slot its run? Says whether the slots after it can be decided too.
    fn start(&mut self, slot: Timestamp, deadline: Timestamp) -> bool {
        let name = self.name(slot);
        if self.has_run(slot) || self.seen.runs_made().contains(&name) {
            if !self.open {
                self.through = slot;
            }
            return true;
        }
        if let Some(refused) = self.seen.refusals().iter().find(|refused| refused.name == name) {
            if refused.kind == RefusalKind::NameTaken {
                return self.leave_one(slot, (Outcome::Skipped, why::NAME_TAKEN));
            }
            // The API server may change its mind, or the run of a task before this one may be gone.
            self.look_again(self.now + REFUSED_AGAIN);
            return false;
        }
        let live = self.seen.runs().iter().any(|run| admission::is_live_slot(run) && run.spec.slot().is_some_and(|other| other < slot));
        let unrecorded = self
            .seen
            .jobs()
            .iter()
            .any(|job| job.by_cron_job && job.slot.is_some() && job.run.is_none() && job.end.is_none() && !job.deleting);
        match self.written.policy() {
            // As the CronJob controller has it: until its deadline it may still start.
            ConcurrencyPolicy::Forbid if live || unrecorded => {
                self.look_again(deadline + SignedDuration::from_secs(1));
                return false;
            }
            ConcurrencyPolicy::Queue => {
                let waiting = self.seen.runs().iter().filter(|run| admission::is_live_slot(run) && admission::is_waiting(run)).count();
                if waiting + self.changes.len() >= admission::LONGEST_QUEUE {
                    return self.leave_one(slot, (Outcome::Skipped, why::QUEUE_FULL));
                }
            }
            _ => {}
        }
        let late = self.now.duration_since(slot) > ON_TIME;
        let trigger = if late { Trigger::CatchUp } else { Trigger::Schedule };
        match self.seen.run_of(slot, name, self.schedule, trigger) {
            Ok(run) => {
                self.changes.push(Change::CreateRun(Box::new(run)));
                self.open = true;
                true
            }
            Err(problem) => {
                self.notices.push(Notice {
                    warning: true,
                    reason: why::INVALID_PARAMETERS.to_owned(),
                    action: "Schedule",
                    message: cut(&problem, 1000),
                });
                self.leave_one(slot, (Outcome::Missed, why::INVALID_PARAMETERS))
            }
        }
    }

    /// Stops the runs of slots that a later one replaces. What follows from what is there is done also after a crash.
    fn replace(&mut self) {
        let made = self.changes.iter().filter_map(|change| match change {
            Change::CreateRun(run) => run.spec.schedule_slot(),
            _ => None,
        });
        let Some(newest) = self.seen.runs().iter().filter_map(|run| run.spec.schedule_slot()).chain(made).max() else { return };
        let mut over: Vec<&AutomationRun> = self.seen.runs().iter().map(AsRef::as_ref).filter(|run| admission::is_live_slot(run)).collect();
        over.retain(|run| run.spec.schedule_slot() < Some(newest) && run.spec.cancel != Some(true));
        over.sort_by_key(|run| run.metadata.name.clone());
        let stopped = over.into_iter().map(|run| Change::CancelRun {
            name: run.metadata.name.clone().unwrap_or_default(),
            uid: run.metadata.uid.clone().unwrap_or_default(),
            replaced_by: Some(newest),
        });
        self.changes.extend(stopped);
    }

    fn name(&self, slot: Timestamp) -> String {
        self.seen.name_of(slot, self.schedule)
    }

    /// Whether the slot has a run, of either clock, or a Job that will get one.
    fn has_run(&self, slot: Timestamp) -> bool {
        let by_cron_job = self.seen.jobs().iter().any(|job| job.by_cron_job && job.slot == Some(slot));
        by_cron_job || self.seen.recorded(slot).is_some()
    }

    /// Slots in `(from, until]` that will not be run any more, those apart that have been.
    fn pass_over(&mut self, from: Timestamp, until: Timestamp, hold: SignedDuration, otherwise: &'static str) {
        self.around_runs(from, until, |slots, from, until| slots.pass_over_gap(from, until, hold, (Outcome::Missed, otherwise)));
    }

    /// The parts of `(from, until]` in which no slot has a run.
    fn around_runs(&mut self, from: Timestamp, until: Timestamp, mut part: impl FnMut(&mut Self, Timestamp, Timestamp)) {
        let second = SignedDuration::from_secs(1);
        let mut have_run: Vec<Timestamp> = self.seen.runs().iter().filter_map(|run| run.spec.schedule_slot()).collect();
        // What goes before it has a run gets none.
        let lost = |job: &JobSeen| self.by_kubernetes && job.deleting && job.run.is_none();
        have_run.extend(self.seen.jobs().iter().filter(|job| job.by_cron_job && !lost(job)).filter_map(|job| job.slot));
        have_run.retain(|slot| *slot > from && *slot <= until);
        have_run.sort_unstable();
        have_run.dedup();
        let mut at = from;
        for slot in have_run {
            part(self, at, slot - second);
            at = slot;
        }
        part(self, at, until);
    }

    /// Slots in `(from, until]`, none of which has a run: under Forbid because another went on, or for the other reason.
    fn pass_over_gap(&mut self, from: Timestamp, until: Timestamp, hold: SignedDuration, otherwise: (Outcome, &'static str)) {
        let mut at = from;
        for (begun, ended) in self.busy() {
            let last = ended.checked_sub(hold).unwrap_or(ended).min(until);
            let first = at.max(begun);
            if last > first {
                self.leave(at, first, otherwise);
                self.leave(first, last, (Outcome::Skipped, why::FORBID));
                at = last;
            }
        }
        self.leave(at, until, otherwise);
    }

    /// When runs of the schedule went on, under Forbid, oldest first.
    fn busy(&self) -> Vec<(Timestamp, Timestamp)> {
        if self.written.policy() != ConcurrencyPolicy::Forbid {
            return Vec::new();
        }
        let mut busy: Vec<(Timestamp, Timestamp)> = self
            .seen
            .runs()
            .iter()
            .filter_map(|run| {
                let begun = run.spec.schedule_slot()?;
                let ended = run.status.as_ref().and_then(|status| status.completion_time.as_ref()).map(|time| time.0);
                // It may be about to be recorded how it ended, long ago.
                let of_job = || self.seen.jobs().iter().find(|job| job.by_cron_job && job.slot == Some(begun))?.ended_at;
                let ended = ended.or_else(of_job).unwrap_or(self.now);
                // What it held back until the schedule was paused was not to start after that.
                let held = self.ended.is_some_and(|schedule_ended| ended >= schedule_ended);
                Some((begun, if held { Timestamp::MAX } else { ended }))
            })
            .collect();
        busy.sort_unstable();
        busy
    }

    fn leave_one(&mut self, slot: Timestamp, (outcome, reason): (Outcome, &'static str)) -> bool {
        if !self.open {
            self.leave(slot - SignedDuration::from_secs(1), slot, (outcome, reason));
            self.through = slot;
        }
        !self.open
    }

    /// Writes down that the slots in `(from, until]` brought no run.
    fn leave(&mut self, from: Timestamp, until: Timestamp, (outcome, reason): (Outcome, &'static str)) {
        if from >= until {
            return;
        }
        let slots = i64::try_from(self.schedule.count(from, until)).unwrap_or(i64::MAX);
        let (Some(first), Some(last)) = (self.schedule.next(from), self.schedule.newest(1, from, until).first().copied()) else { return };
        if slots == 0 {
            return;
        }
        let group = NotRun { outcome, reason: reason.to_owned(), first_slot: Time(first), last_slot: Time(last), slots };
        let kept_from = if self.by_kubernetes { self.seen.kept_from(&group) } else { None };
        self.notices.push(told(&group, kept_from));
        if outcome == Outcome::Missed && self.seen.slo().is_some() {
            self.missed.push(Missed::of(&group, self.schedule));
        }
        match self.not_run.last_mut() {
            Some(before)
                if (before.outcome, before.reason.as_str()) == (outcome, reason)
                    && self.schedule.previous(first) == Some(before.last_slot.0) =>
            {
                before.last_slot = group.last_slot;
                before.slots += slots;
            }
            _ => self.not_run.push(group),
        }
        let over = self.not_run.len().saturating_sub(GROUPS);
        self.not_run.drain(..over);
    }

    fn look_again(&mut self, at: Timestamp) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }
}

/// What is told of slots that brought no run. `kept_from` says more where Kubernetes did not start them.
fn told(group: &NotRun, kept_from: Option<String>) -> Notice {
    let which = if group.slots == 1 {
        format!("the slot of {}", group.first_slot.0)
    } else {
        format!("{} slots from {} to {}", group.slots, group.first_slot.0, group.last_slot.0)
    };
    if group.outcome == Outcome::Unknown {
        let message = format!("whether {which} ran is not known: no run is on record, and a Job would be gone by now");
        return Notice { warning: false, reason: format!("{:?}", group.outcome), action: "Schedule", message };
    }
    let because = match group.reason.as_str() {
        why::SUSPENDED => "the schedule was suspended",
        why::EDITED => "the schedule was edited after their time",
        why::FORBID => "an earlier run went on, and concurrencyPolicy is Forbid",
        why::QUEUE_FULL => "20 runs wait in the queue already",
        why::NAME_TAKEN => "another object has the name of its run",
        why::DEADLINE_PASSED => {
            "nothing could start it within startingDeadlineSeconds: the operator was down, or the API server refused it"
        }
        why::SUPERSEDED => "a later slot came before it could be started",
        why::NOT_READY => "the workflow could not be run, as its Ready told",
        why::CATCH_UP_LIMIT => "catchUp.limit runs no more of them",
        _ => "its parameters could not be computed",
    };
    let missed = group.outcome == Outcome::Missed;
    let because = kept_from.filter(|_| missed).unwrap_or_else(|| because.to_owned());
    Notice {
        warning: missed,
        reason: format!("{:?}", group.outcome),
        action: "Schedule",
        message: cut(&format!("{which} brought no run: {because}"), 1000),
    }
}
