//! How an objective stands: counted in slots, from what is seen, and kept when runs are deleted.
//!
//! A slot is judged by the run that its schedule gave it, or by the ledger, which tells that it was missed. Each verdict is
//! counted once, when it is final: a run has ended, or a slot was told to be missed. That is *folding*: the verdict goes into
//! the window on status, and `foldedThrough` moves to its slot. Slots are taken in their order; one whose run goes on while
//! later ones are folded is put down in `open`, with how many have gone past it, so that its verdict finds its place. Nothing
//! beyond what the ledger has decided is folded, so no run comes up later with a slot that was passed by.
//!
//! What follows from that:
//! - A run may be deleted once its slot is folded on the status that is *seen*: [`is_to_count`]. A crash between the two writes
//!   loses nothing, since the run is there still; and counts nothing twice, since its slot lies before `foldedThrough`. An old
//!   view of the runs counts nothing twice for the same reason.
//! - Missed slots are folded in the write that tells them, from the untruncated groups.
//! - The window is exact. `windowRuns` keeps a bit for each of its slots, in their order. `windowDays` is whole days in UTC, of
//!   which two numbers are kept.
//! - A run that goes on past its time is bad while it does, and folded only at its end: until then it may turn out to have ended
//!   in time, and only the record of it came late. Once it has ended late it is bad for good.
//! - A slot that was told to be missed stays bad where its run comes into view after all: nobody could know of it in time. One
//!   that was told to be Skipped or Unknown then counts as its run does, unless later ones were counted before.
//! - A run that somebody deletes before it has ended is neither good nor bad. Its place in `open` is given up when it leaves
//!   the window.
//! - Verdicts are kept as they were found: `finishBy` and `finishWithinSeconds`, when edited, hold for what ends after that.
//!   Objective and length of the window hold at once, for what is known.
//!
//! Where an objective is new, counting begins with what `history` has left of the past, as far as that is complete.

mod begin;
mod fold;
mod missed;
mod objective;
mod state;
#[cfg(test)]
mod tests;
mod verdict;
mod window;

pub use missed::Missed;
pub use objective::{Objective, attainment};
pub use state::sentence;
pub use verdict::{Verdict, due, judge};

use std::{collections::BTreeMap, sync::Arc};

use jiff::{Timestamp, tz::TimeZone};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use self::{
    fold::{Folded, Judged},
    missed::{SECOND, count, day, midnight},
    window::Window,
};
use crate::{
    api::{AutomationRun, BadCause, BadSlot, History, Slo, SloStatus},
    schedule::Schedule,
};

/// How many slots that are late just now are told.
const LATE: usize = 5;

/// What an objective is judged by.
#[derive(Clone, Copy)]
pub struct Of<'a> {
    /// As it is written.
    pub slo: &'a Slo,
    /// How it stood.
    pub before: Option<&'a SloStatus>,
    /// The runs that are there.
    pub runs: &'a [Arc<AutomationRun>],
    /// Names of runs that have done their work, though they do not say so yet.
    pub done: &'a [String],
    /// Slots that are told to be missed now; where [`begins`], all that are known to have been.
    pub missed: &'a [Missed],
    /// Every slot up to here is decided.
    pub decided: Option<Timestamp>,
    /// The schedule, where it can be kept.
    pub schedule: Option<&'a Schedule>,
    /// The schedule's zone.
    pub zone: &'a TimeZone,
    /// How many finished runs are kept.
    pub history: &'a History,
    /// What was before that is not known in full, or is another object's.
    pub known_since: Option<Timestamp>,
    /// The time.
    pub now: Timestamp,
}

/// How it stands, and when it may stand otherwise by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// As the status has it.
    pub status: SloStatus,
    /// When a run that goes on will be late, or something bad leaves the window.
    pub wake: Option<Timestamp>,
}

/// Whether counting begins: there was no objective so far, or one with another kind of window.
#[must_use]
pub fn begins(slo: &Slo, before: Option<&SloStatus>) -> bool {
    before.is_none_or(|before| before.verdicts.is_some() != slo.window_runs.is_some())
}

/// Whether the verdict of a run has yet to be counted: it must not be deleted before.
#[must_use]
pub fn is_to_count(slo: &Slo, before: Option<&SloStatus>, run: &AutomationRun) -> bool {
    let Some(slot) = run.spec.schedule_slot() else { return false };
    let is_counted = before.filter(|_| !begins(slo, before)).is_some_and(|before| {
        let is_passed = before.folded_through.as_ref().is_some_and(|through| slot <= through.0);
        is_passed && before.open.iter().all(|open| open.slot.0 != slot)
    });
    !is_counted && Objective::parse(&slo.objective).is_some() && matches!(judge(run, None), Verdict::Good | Verdict::Bad(..))
}

/// Counts what is to be counted, and says how the objective stands. None where it cannot be read.
#[must_use]
pub fn stand(of: &Of<'_>) -> Option<Standing> {
    let Of { slo, now, .. } = *of;
    let objective = Objective::parse(&slo.objective)?;
    let anew = begins(slo, of.before);
    let before = of.before.filter(|_| !anew);
    let mut folded = Folded::read(slo, before, now);
    if anew {
        folded.through = begin::lost_through(of.runs, of.history, of.decided).max(of.known_since);
    }
    let is_new = |missed: &&Missed| folded.through.is_none_or(|through| missed.group.first_slot.0 > through);
    let missed: Vec<&Missed> = of.missed.iter().filter(is_new).collect();
    let until = missed.iter().map(|missed| missed.group.last_slot.0).max().max(of.decided);

    let mut judged: Vec<Judged> = missed.into_iter().map(judged_missed).collect();
    let mut live = Vec::new();
    let runs: Vec<_> = by_slot(of.runs).into_iter().filter(|(slot, _)| !folded.has(*slot)).collect();
    for (slot, run) in runs {
        let is_decided = until.is_some_and(|until| slot <= until);
        let due = due(slo, slot, of.zone);
        match judge(run, due) {
            Verdict::Good if is_decided => judged.push(judged_run(slot, run, None)),
            Verdict::Bad(cause, why) if is_decided => judged.push(judged_run(slot, run, Some((cause, why)))),
            Verdict::Good | Verdict::Bad(..) => {}
            Verdict::Neither => folded.open.retain(|open| open.slot.0 != slot),
            Verdict::Open => live.push(Live { slot, run, due, is_decided }),
        }
    }
    judged.sort_by_key(|judged| judged.slot);
    let decided: Vec<Timestamp> = live.iter().filter(|live| live.is_decided).map(|live| live.slot).collect();
    folded.take(&judged, &decided);

    // Those that have left the window meanwhile are no matter any more.
    live.retain(|live| !folded.has(live.slot) && !folded.window.is_past(live.slot, 0));
    let late: Vec<Judged> = live.iter().filter(|live| live.is_late(of)).map(Live::judged).collect();
    let wake = live.iter().filter_map(Live::is_late_at).chain(folded.window.mends_at()).filter(|wake| *wake > now).min();
    let in_time = live.iter().filter(|live| live.is_decided).count() - late.len();
    Some(Standing { status: status(of, objective, folded, (&late, in_time)), wake })
}

/// A run that goes on.
struct Live<'a> {
    slot: Timestamp,
    run: &'a AutomationRun,
    due: Option<Timestamp>,
    is_decided: bool,
}

impl Live<'_> {
    /// Whether it goes on past its time, just now.
    fn is_late(&self, of: &Of<'_>) -> bool {
        let is_done = self.run.metadata.name.as_ref().is_some_and(|name| of.done.contains(name));
        self.is_decided && !is_done && self.due.is_some_and(|due| due < of.now)
    }

    /// When its time is over: ends are told by the second.
    fn is_late_at(&self) -> Option<Timestamp> {
        self.due.and_then(|due| due.checked_add(SECOND).ok())
    }

    fn judged(&self) -> Judged {
        judged_run(self.slot, self.run, Some((BadCause::Late, None)))
    }
}

/// The status: what is folded, and beside it what is late just now, and how many runs go on that may still end well.
fn status(of: &Of<'_>, objective: Objective, folded: Folded, (late, in_time): (&[Judged], usize)) -> SloStatus {
    let mut now = folded.clone();
    now.take(late, &[]);
    let (good, bad) = now.window.counts();
    let counted = good.saturating_add(bad);
    let (window, full) = match &folded.window {
        Window::Runs { limit, .. } => {
            let runs = i64::try_from(*limit).unwrap_or(i64::MAX);
            (state::many(runs, "run"), runs)
        }
        Window::Days { first, length, .. } => {
            let from = midnight(*first) - SECOND;
            let open = i64::try_from(in_time).unwrap_or(i64::MAX);
            let slots = of.schedule.map(|schedule| uncounted(of, &folded, schedule, from).saturating_add(counted).saturating_add(open));
            (state::many((*length).into(), "day"), slots.or(of.before.map(|before| before.window_slots)).unwrap_or(0))
        }
    };
    let window_slots = full.max(counted);
    let budget = objective.budget(window_slots);
    let state = state::state(counted, bad, budget);
    let (verdicts, days) = folded.window.write();
    let late = late[late.len().saturating_sub(LATE)..].iter().filter_map(|late| late.bad.clone());
    let mut last_bad: Vec<BadSlot> = folded.last_bad.into_iter().chain(late).collect();
    last_bad.sort_by_key(|bad| bad.slot.0);
    SloStatus {
        summary: state::summary(state, budget, budget.saturating_sub(bad)),
        state,
        objective: of.slo.objective.clone(),
        window,
        attainment: attainment(good, counted),
        counted,
        good,
        bad,
        window_slots,
        budget,
        budget_left: budget.saturating_sub(bad),
        last_bad,
        since: folded.since.map(Time),
        folded_through: folded.through.map(Time),
        open: folded.open,
        verdicts,
        days,
    }
}

/// How many slots the schedule has after `from` that may be in the window of today and are not decided: those before counting
/// began, and those to come. What was decided and not counted is neither good nor bad, and gives no budget.
fn uncounted(of: &Of<'_>, folded: &Folded, schedule: &Schedule, from: Timestamp) -> i64 {
    let end = day(of.now).tomorrow().map_or(Timestamp::MAX, midnight) - SECOND;
    let Some(since) = folded.since else { return count(schedule, from, end) };
    let before = if since > from { count(schedule, from, since - SECOND) } else { 0 };
    let decided = folded.through.max(of.decided).unwrap_or(from).max(from);
    before.saturating_add(if end > decided { count(schedule, decided, end) } else { 0 })
}

/// The run of each slot: its name is the lock, so there is one. Should there be more, the first one.
fn by_slot(runs: &[Arc<AutomationRun>]) -> BTreeMap<Timestamp, &AutomationRun> {
    let mut by_slot: BTreeMap<Timestamp, &AutomationRun> = BTreeMap::new();
    let order = |run: &AutomationRun| (run.metadata.creation_timestamp.clone(), run.metadata.name.clone());
    for (slot, run) in runs.iter().filter_map(|run| Some((run.spec.schedule_slot()?, run.as_ref()))) {
        let first = by_slot.entry(slot).or_insert(run);
        if order(run) < order(first) {
            *first = run;
        }
    }
    by_slot
}

fn judged_run(slot: Timestamp, run: &AutomationRun, bad: Option<(BadCause, Option<String>)>) -> Judged {
    let tell = |(cause, reason)| BadSlot { slot: Time(slot), slots: None, run: run.metadata.name.clone(), cause, reason };
    Judged { first: slot, slot, slots: 1, days: vec![(day(slot), 1)], bad: bad.map(tell) }
}

fn judged_missed(missed: &Missed) -> Judged {
    let group = &missed.group;
    let bad = BadSlot {
        slot: group.last_slot.clone(),
        slots: Some(group.slots).filter(|slots| *slots > 1),
        run: None,
        cause: BadCause::Missed,
        reason: Some(group.reason.clone()),
    };
    Judged { first: group.first_slot.0, slot: group.last_slot.0, slots: group.slots, days: missed.days.clone(), bad: Some(bad) }
}
