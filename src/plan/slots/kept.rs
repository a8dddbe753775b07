//! What becomes of the slots that the operator keeps, over pauses and edits.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::ObjectMeta;

use super::{Scheduled, Slots, why};
use crate::{
    api::{self, ClockKind, ClockStatus, NotRun, Outcome},
    plan::{
        Change, Notice,
        pause::{self, Pause},
    },
    schedule::Schedule,
    slo::Missed,
};

/// How often it is told which slots a suspended schedule has skipped. Also told when it goes on.
const TELL_SKIPPED: SignedDuration = SignedDuration::from_secs(3600);
pub(in crate::plan) const SECOND: SignedDuration = SignedDuration::from_secs(1);
/// How many slots at most a clock may have left undone while it was being stopped.
pub(in crate::plan) const DOUBTFUL: usize = 100;

/// What is to be done about the slots of a schedule, and how its clock stands.
pub(in crate::plan) struct Kept {
    pub(in crate::plan) changes: Vec<Change>,
    pub(in crate::plan) clock: ClockStatus,
    pub(in crate::plan) decided_through: Option<Timestamp>,
    pub(in crate::plan) not_run: Vec<NotRun>,
    /// Slots of them that were missed and are told now, where they count.
    pub(in crate::plan) missed: Vec<Missed>,
    pub(in crate::plan) notices: Vec<Notice>,
    pub(in crate::plan) wake: Option<Timestamp>,
}

/// All that a decision about the slots of a schedule looks at.
#[derive(Clone, Copy)]
pub(in crate::plan) struct Of<'a> {
    pub(in crate::plan) seen: &'a dyn Scheduled,
    pub(in crate::plan) schedule: &'a Schedule,
    /// How the clock stood when the status was written.
    pub(in crate::plan) known: Option<&'a ClockStatus>,
    /// Whether the schedule was paused then.
    pub(in crate::plan) was_paused: bool,
    /// Whether it is now.
    pub(in crate::plan) pause: Option<&'a Pause>,
    /// Whether the operator is to be the clock.
    pub(in crate::plan) by_operator: bool,
    pub(in crate::plan) now: Timestamp,
}

impl Kept {
    /// As the status has it.
    pub(in crate::plan) fn of(clock: ClockStatus, decided_through: Option<&Time>, not_run: &[NotRun]) -> Self {
        Self {
            changes: Vec::new(),
            clock,
            decided_through: decided_through.map(|time| time.0),
            not_run: not_run.to_vec(),
            missed: Vec::new(),
            notices: Vec::new(),
            wake: None,
        }
    }

    /// Writes down since when this clock is on, unless that is known.
    pub(in crate::plan) fn arm(&mut self, of: Of<'_>, since: Timestamp) {
        self.clock.schedule = match self.clock.kind {
            ClockKind::Operator => of.seen.written().map(api::Schedule::slots_only),
            // Its policy and its deadline decide, too, what becomes of the slots that it leaves.
            ClockKind::CronJob => of.seen.written().map(|written| api::Schedule { suspend: None, ..written.clone() }),
            ClockKind::None => None,
        };
        if self.clock.since.is_none() {
            self.clock.since = Some(Time(since));
            self.clock.first_slot = of.schedule.next(since).map(Time);
        }
    }

    pub(in crate::plan) fn take(&mut self, slots: Slots<'_>) {
        self.decided_through = Some(slots.through);
        self.not_run = slots.not_run;
        self.missed.extend(slots.missed);
        self.changes.extend(slots.changes);
        self.notices.extend(slots.notices);
        if let Some(wake) = slots.wake {
            self.look_again(wake);
        }
    }

    pub(in crate::plan) fn look_again(&mut self, at: Timestamp) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }

    /// Decides the slots after `through`, up to `until`.
    pub(in crate::plan) fn decide(&mut self, of: Of<'_>, through: Timestamp, until: Timestamp) {
        self.decided_through = Some(through);
        if self.pause(of) {
            return self.arm(of, through);
        }
        if let Some(known) = edited(of) {
            // An edit runs no slot that lies before it, but for the one that was due anyway.
            let due = before_edit(of, &known).and_then(|old| {
                let slots = old.newest(DOUBTFUL, self.decided_through.unwrap_or(through), until);
                slots.into_iter().rev().find(|slot| of.schedule.is_slot(*slot))
            });
            if let Some(slot) = due {
                self.skip(of, slot - SECOND, why::EDITED);
                let mut slots = self.slots(of);
                slots.decide(slot);
                self.take(slots);
                if self.decided_through < Some(slot) {
                    self.arm(of, through);
                    self.clock.schedule = Some(known);
                    return;
                }
            }
            self.skip(of, until, why::EDITED);
        }
        self.arm(of, through);
        let mut slots = self.slots(of);
        slots.decide(until);
        self.take(slots);
    }

    pub(in crate::plan) fn slots<'a>(&self, of: Of<'a>) -> Slots<'a> {
        Slots::new(of.seen, of.schedule, self.decided_through.unwrap_or(of.now), &self.not_run, of.now)
    }

    pub(in crate::plan) fn skip(&mut self, of: Of<'_>, until: Timestamp, reason: &'static str) {
        let mut slots = self.slots(of);
        slots.skip(until, (Outcome::Skipped, reason));
        self.take(slots);
    }

    /// Decides no slot, since nothing could be run, until it can be started no more.
    pub(in crate::plan) fn hold(&mut self, of: Of<'_>, through: Timestamp) {
        self.decided_through = Some(through);
        if self.pause(of) {
            return self.arm(of, through);
        }
        let deadline = SignedDuration::from_secs(of.schedule.starting_deadline_seconds) + SECOND;
        if let Some(until) = of.now.checked_sub(deadline).ok().filter(|until| *until > through) {
            let mut slots = self.slots(of);
            slots.skip(until, (Outcome::Missed, why::NOT_READY));
            self.take(slots);
        }
        self.arm(of, through);
        if let Some(slot) = of.schedule.next(self.decided_through.unwrap_or(through)) {
            self.look_again(slot.checked_add(deadline + SECOND).unwrap_or(slot));
        }
    }

    /// Accounts for the slots of a pause, also when it is over. Returns whether it goes on.
    pub(in crate::plan) fn pause(&mut self, of: Of<'_>) -> bool {
        let Of { schedule, now, .. } = of;
        let (paused, pauses) = (of.was_paused, of.pause.is_some());
        let through = *self.decided_through.get_or_insert(now);
        let tell = through.checked_add(TELL_SKIPPED).unwrap_or(Timestamp::MAX);
        // What was due after a pause that ended by itself, while the operator was down, is due still.
        let over = if of.by_operator && !pauses { pause::ended(of.seen.meta(), now) } else { None };
        let until = over.map_or(now, |over| over - SECOND).max(through);
        let passed = schedule.next(through).is_some_and(|slot| slot <= until);
        if passed && (paused || pauses) && !(paused && pauses && now < tell) {
            self.skip(of, until, why::SUSPENDED);
        }
        if pauses {
            let from = self.decided_through.unwrap_or(now);
            let tell = from.checked_add(TELL_SKIPPED).unwrap_or(Timestamp::MAX);
            if let Some(slot) = schedule.next(from) {
                self.look_again(slot.max(tell).max(now + SECOND));
            }
        }
        pauses
    }
}

/// The schedule that was last taken up, where that has other slots than the one there is now.
fn edited(of: Of<'_>) -> Option<api::Schedule> {
    let known = of.known.filter(|clock| clock.kind == ClockKind::Operator)?.schedule.clone()?;
    let old = before_edit(of, &known);
    old.is_none_or(|old| old.slots_hash() != of.schedule.slots_hash()).then_some(known)
}

fn before_edit(of: Of<'_>, known: &api::Schedule) -> Option<Schedule> {
    parsed(of.seen.meta(), known)
}

/// A schedule that the object had, or has.
pub(in crate::plan) fn parsed(meta: &ObjectMeta, written: &api::Schedule) -> Option<Schedule> {
    Schedule::parse(written, meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default()).ok()
}
