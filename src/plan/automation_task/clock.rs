//! Which clock starts a task's slots, and the way from one to the other: the old clock is seen to be stopped before the new
//! one starts anything, so no slot is run twice, and those in between are the new one's.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{
    Accepted, CronJobSeen, Seen,
    cron_jobs::{cron_jobs, schedule_of, suspend_all, unwanted},
    native::{armed, native, paused_since},
};
use crate::{
    admission,
    api::{self, AutomationRun, AutomationTaskStatus, ClockKind, ClockStatus, ConcurrencyPolicy, Outcome, PreviousSchedule},
    ledger,
    outcome::cut,
    plan::{
        Change,
        slots::{DOUBTFUL, Kept, Of, SECOND, why},
    },
    schedule::Schedule,
};

/// How long after a CronJob was seen to be suspended the CronJob controller may still start a slot from an older view.
const SETTLE: SignedDuration = SignedDuration::from_secs(10);

/// All that a decision about a task's clock looks at.
#[derive(Clone, Copy)]
pub(super) struct Case<'a> {
    pub(super) seen: &'a Seen,
    pub(super) before: &'a AutomationTaskStatus,
    pub(super) accepted: &'a Accepted,
    pub(super) schedule: &'a Schedule,
    pub(super) now: Timestamp,
}

impl<'a> Case<'a> {
    /// The same, as far as it is about slots.
    pub(super) fn slots(self) -> Of<'a> {
        let Case { seen, before, accepted, schedule, now } = self;
        Of {
            seen,
            schedule,
            known: before.clock.as_ref(),
            was_paused: paused_since(before).is_some(),
            pause: accepted.pause.as_ref(),
            by_operator: accepted.clock == ClockKind::Operator,
            now,
        }
    }
}

/// Keeps the schedule.
pub(super) fn keep(seen: &Seen, before: &AutomationTaskStatus, accepted: &Accepted, now: Timestamp) -> Kept {
    let was = before.clock.as_ref();
    let previous = was.and_then(|was| was.previous.clone());
    let clock =
        ClockStatus { kind: accepted.clock, reason: cut(&accepted.why, 1024), since: None, first_slot: None, schedule: None, previous };
    let mut kept = Kept::of(clock, before.decided_through.as_ref(), &before.not_run);
    let Some(schedule) = &accepted.schedule else {
        (kept.changes, kept.wake) = unwanted(seen, accepted, now);
        kept.unscheduled(seen, before, now);
        return kept;
    };
    if let Some(was) = was.filter(|was| was.kind == accepted.clock) {
        (kept.clock.since, kept.clock.first_slot) = (was.since.clone(), was.first_slot.clone());
    }
    if was.is_some_and(|was| was.kind == ClockKind::None) {
        // What a schedule before has left open ends here: this one is another.
        kept.close(seen, before, true, now);
        kept.decided_through = None;
    }
    let of = Case { seen, before, accepted, schedule, now };
    match (accepted.clock, was.map(|was| was.kind)) {
        (ClockKind::Operator, Some(ClockKind::Operator)) => kept.by_operator(of),
        (ClockKind::Operator, _) => kept.begin_by_operator(of),
        (_, Some(ClockKind::Operator)) => kept.hand_to_cron_jobs(of),
        _ => {
            (kept.changes, kept.wake) = cron_jobs(seen, before, accepted, now);
            kept.by_cron_jobs(of);
        }
    }
    kept
}

pub(super) fn owned(seen: &Seen) -> impl Iterator<Item = &CronJobSeen> {
    let uid = seen.task.metadata.uid.clone().unwrap_or_default();
    seen.cron_jobs.iter().filter(move |there| there.owners.contains(&uid))
}

impl Kept {
    /// There is no schedule. Slots of the one that Kubernetes has kept until now may still be open.
    fn unscheduled(&mut self, seen: &Seen, before: &AutomationTaskStatus, now: Timestamp) {
        let known = native(before).and_then(|was| was.schedule.clone());
        let at_once = native(before).is_some() || before.clock.as_ref().is_some_and(|was| was.kind == ClockKind::Operator);
        let closed = self.close(seen, before, at_once, now);
        if let Some(known) = known.filter(|_| closed && self.decided_through.is_some()) {
            self.end(seen, before, (known, now, true), now);
        }
        self.decided_through = self.decided_through.filter(|_| self.clock.previous.is_some());
    }

    /// The operator is the clock.
    fn by_operator(&mut self, of: Case<'_>) {
        let since = self.clock.since.as_ref().map_or(of.now, |since| since.0);
        let Some(through) = self.decided_through.filter(|_| self.clock.previous.is_none()) else {
            // The CronJobs are there still, to tell which slots they have started.
            if of.now < since + SETTLE {
                self.arm(of.slots(), since);
                return self.look_again(since + SETTLE);
            }
            // What was told of a slot stands, also where the new schedule would start it later than the old one.
            let from = taken_over(of.seen, of.schedule, since).max(self.decided_through.unwrap_or(Timestamp::MIN));
            self.close_through((of.seen, of.before), from, false, of.now);
            self.clock.first_slot = of.schedule.next(from).map(Time);
            return self.decide(of.slots(), from, of.now);
        };
        (self.changes, self.wake) = unwanted(of.seen, of.accepted, of.now);
        self.decide(of.slots(), through, of.now);
    }

    /// From CronJobs, or from no schedule, to the operator.
    fn begin_by_operator(&mut self, of: Case<'_>) {
        let stopping = suspend_all(owned(of.seen));
        if !stopping.is_empty() {
            self.changes = stopping;
            let was = of.before.clock.clone().unwrap_or(ClockStatus { kind: ClockKind::CronJob, ..self.clock.clone() });
            self.clock = ClockStatus { reason: cut(&format!("until the CronJobs have stopped; then {}", of.accepted.why), 1024), ..was };
            return;
        }
        // What they have kept so far ends here.
        if let (true, Some(_), Some(known)) =
            (self.close(of.seen, of.before, true, of.now), self.decided_through, native(of.before).and_then(|was| was.schedule.clone()))
        {
            self.clock.previous = Some(PreviousSchedule { schedule: known, until: Time(of.now) });
        }
        if owned(of.seen).next().is_none() {
            self.close_through((of.seen, of.before), of.now, true, of.now);
            // A task that nobody has seen before is due from its creation on.
            let created = of.seen.task.metadata.creation_timestamp.as_ref().map_or(of.now, |time| time.0);
            let from = if of.before.observed_generation.is_none() { created } else { of.now };
            return self.decide(of.slots(), from, of.now);
        }
        if paused_since(of.before).is_some() || of.accepted.pause.is_some() {
            // They were suspended long before: none of them is about to start anything.
            self.close_through((of.seen, of.before), paused_since(of.before).unwrap_or(of.now), false, of.now);
            let from = self.decided_through.unwrap_or(of.now);
            return self.decide(of.slots(), from, of.now);
        }
        self.decided_through = self.decided_through.filter(|_| self.clock.previous.is_some());
        self.arm(of.slots(), of.now);
        self.look_again(of.now + SETTLE);
    }

    /// From the operator to CronJobs: what is due up to the moment at which a CronJob is there is the operator's.
    fn hand_to_cron_jobs(&mut self, of: Case<'_>) {
        // Where it has not yet begun, it has to do what they have left undone.
        let since = of.before.clock.as_ref().and_then(|clock| clock.since.as_ref()).map_or(of.now, |since| since.0);
        let begun = self.decided_through.filter(|_| self.clock.previous.is_none());
        let through = begun.unwrap_or_else(|| taken_over(of.seen, of.schedule, since).max(self.decided_through.unwrap_or(Timestamp::MIN)));
        self.close_through((of.seen, of.before), through, false, of.now);
        // The CronJob controller would not see the runs that go on, nor one that is due just now.
        let begun = owned(of.seen).next().is_some() || !of.seen.written.is_empty();
        let due = of.schedule.next(through).is_some_and(|slot| slot <= of.now);
        let (changes, wake) =
            if begun || !(due || goes_on(of)) { cron_jobs(of.seen, of.before, of.accepted, of.now) } else { (Vec::new(), None) };
        let armed = armed(of, |there| there.last_slot.map_or(there.created, |last| last.max(there.created)));
        // This look may have begun before they were there: up to then the slots are the operator's.
        let ahead = armed.filter(|armed| *armed > of.now);
        let armed = armed.filter(|armed| *armed <= of.now);
        self.decide(of.slots(), through, armed.unwrap_or(of.now));
        if let Some(ahead) = ahead {
            self.look_again(ahead);
        }
        let open = self.changes.iter().any(|change| matches!(change, Change::CreateRun(_)));
        self.changes = changes.into_iter().chain(std::mem::take(&mut self.changes)).collect();
        self.wake = [self.wake, wake].into_iter().flatten().min();
        let Some(armed) = armed.filter(|_| !open) else {
            // They are not there yet, or its own runs go on: the slots are the operator's.
            let was = of.before.clock.clone().unwrap_or(self.clock.clone());
            self.clock = ClockStatus {
                reason: cut(&format!("until the CronJobs are there; then {}", of.accepted.why), 1024),
                schedule: self.clock.schedule.clone().or_else(|| of.seen.task.spec.schedule.as_ref().map(api::Schedule::slots_only)),
                ..was
            };
            return;
        };
        if of.accepted.pause.is_none() {
            // Nobody waits for what Forbid still held back, or the API server refused.
            let mut slots = self.slots(of.slots());
            let forbids = of.seen.task.spec.policy() == ConcurrencyPolicy::Forbid;
            slots.skip(armed, if forbids { (Outcome::Skipped, why::FORBID) } else { (Outcome::Missed, why::SUPERSEDED) });
            self.take(slots);
            self.decided_through = Some(armed);
        }
        (self.clock.since, self.clock.first_slot) = (None, None);
        self.arm(of.slots(), armed);
    }
}

/// Whether a run that the operator started goes on, beside which a slot must not start.
fn goes_on(of: Case<'_>) -> bool {
    let ours = |run: &Arc<AutomationRun>| admission::is_live_slot(run) && !ledger::is_adopted(run);
    of.seen.task.spec.policy() != ConcurrencyPolicy::Allow && of.seen.runs.iter().any(ours)
}

/// Up to where the CronJobs have decided the slots: those after it are the operator's. What they would have started while
/// they were being stopped, and have not, is the operator's where its own schedule has that slot too.
fn taken_over(seen: &Seen, schedule: &Schedule, since: Timestamp) -> Timestamp {
    let deadline = SignedDuration::from_secs(schedule.starting_deadline_seconds);
    let started = |slot: Timestamp| {
        let run = seen.runs.iter().any(|run| run.spec.slot() == Some(slot));
        run || seen.jobs.iter().any(|job| job.by_cron_job && job.slot == Some(slot))
    };
    let doubtful = owned(seen).filter_map(|there| {
        let known = there.last_slot.unwrap_or(there.created).max(there.created).max(since - deadline);
        let slots = schedule_of(there)?.newest(DOUBTFUL, known, since);
        slots.into_iter().find(|slot| schedule.is_slot(*slot) && !started(*slot))
    });
    doubtful.min().map_or(since, |slot| slot - SECOND)
}
