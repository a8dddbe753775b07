//! The slots of a backfill, in its order.

use jiff::{SignedDuration, Timestamp};

use super::Wrong;
use crate::{
    api::{BackfillSpec, SlotOrder},
    schedule::Schedule,
};

/// The most slots of a range.
const MOST: u64 = 10_000;
const SECOND: SignedDuration = SignedDuration::from_secs(1);

/// The slots of a backfill: those of a range, which are computed, or a list.
pub(super) struct Span {
    /// After `from`, up to `until`.
    range: Option<(Timestamp, Timestamp)>,
    /// In order.
    listed: Vec<Timestamp>,
    order: SlotOrder,
    pub(super) total: i32,
}

/// Checks which slots the spec asks for.
pub(super) fn span(spec: &BackfillSpec, schedule: &Schedule, now: Timestamp) -> Result<Span, Wrong> {
    let order = spec.order.unwrap_or_default();
    if let Some(range) = &spec.range {
        if range.to.0 > now {
            return Err(not_passed(range.to.0, &format!("spec.range.to: {} lies in the future", range.to.0)));
        }
        let from = range.from.0.checked_sub(SECOND).unwrap_or(Timestamp::MIN);
        let slots = schedule.count(from, range.to.0);
        if slots > MOST {
            let message = format!("spec.range: {slots} slots lie in it, and a backfill takes at most {MOST}; split it");
            return Err(Wrong::of("RangeTooLarge", message));
        }
        let total = i32::try_from(slots).unwrap_or(i32::MAX);
        return Ok(Span { range: Some((from, range.to.0)), listed: Vec::new(), order, total });
    }
    let mut listed: Vec<Timestamp> = spec.slots.iter().flatten().map(|slot| slot.0).collect();
    listed.sort_unstable();
    listed.dedup();
    if let Some(slot) = listed.iter().find(|slot| !schedule.is_slot(**slot)) {
        let near = schedule.next(*slot).map_or(String::new(), |next| format!("; the next one after it is {next}"));
        return Err(Wrong::of("NotASlot", format!("spec.slots: {slot} is not a slot of the {}'s schedule{near}", spec.kind())));
    }
    if let Some(slot) = listed.last().filter(|slot| **slot > now) {
        return Err(not_passed(*slot, &format!("spec.slots: {slot} lies in the future")));
    }
    if order == SlotOrder::NewestFirst {
        listed.reverse();
    }
    let total = i32::try_from(listed.len()).unwrap_or(i32::MAX);
    Ok(Span { range: None, listed, order, total })
}

/// A backfill is for slots that have passed: it waits until they have.
fn not_passed(until: Timestamp, what: &str) -> Wrong {
    let message = format!("{what}; a backfill is for slots that have passed, so it begins then");
    Wrong { reason: "RangeNotPassed", message, stalled: false, until: Some(until) }
}

impl Span {
    /// The next `limit` slots after the one that was decided last.
    pub(super) fn after(&self, schedule: &Schedule, through: Option<Timestamp>, limit: usize) -> Vec<Timestamp> {
        let newest_first = self.order == SlotOrder::NewestFirst;
        let Some((from, until)) = self.range else {
            let left = self
                .listed
                .iter()
                .copied()
                .filter(|slot| through.is_none_or(|done| if newest_first { *slot < done } else { *slot > done }));
            return left.take(limit).collect();
        };
        match (newest_first, through) {
            (false, through) => schedule.oldest(limit, through.unwrap_or(from), until),
            (true, through) => {
                let mut slots = schedule.newest(limit, from, through.map_or(until, |done| done - SECOND));
                slots.reverse();
                slots
            }
        }
    }

    /// All of them.
    pub(super) fn all(&self, schedule: &Schedule) -> Vec<Timestamp> {
        self.after(schedule, None, usize::try_from(MOST).unwrap_or(usize::MAX))
    }
}
