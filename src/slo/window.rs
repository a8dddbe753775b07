//! The slots that count just now: the last so many of them, in their order, or those of the last so many days.

use std::collections::BTreeMap;

use jiff::{Timestamp, ToSpan, civil::Date};
use k8s_openapi::ByteString;

use super::missed::{day, midnight};
use crate::api::{DayCount, Slo, SloStatus, Verdicts};

/// Neighbouring slots with one verdict, on the way into a window.
pub(super) struct Entry<'a> {
    pub(super) good: bool,
    pub(super) slots: i64,
    /// How many of them each day has.
    pub(super) days: &'a [(Date, i64)],
    /// How many later slots are in the window, or have been.
    pub(super) later: i64,
}

/// The slots that count just now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Window {
    /// The last so many, oldest first: whether each was good.
    Runs { limit: usize, verdicts: Vec<bool> },
    /// Those since the first day: how many of each day were good, and bad.
    Days { first: Date, length: i32, counts: BTreeMap<Date, (i64, i64)> },
}

impl Window {
    /// The window as the status has it, now. Empty where that has none of the kind.
    pub(super) fn read(slo: &Slo, before: Option<&SloStatus>, now: Timestamp) -> Self {
        if let Some(length) = slo.window_days {
            let length = length.max(1);
            let first = day(now).checked_sub((length - 1).days()).unwrap_or(Date::MIN);
            let known = before.into_iter().flat_map(|before| &before.days);
            let counts = known.filter_map(|count| Some((count.day.parse().ok()?, (count.good, count.bad))));
            let counts = counts.filter(|(day, _)| *day >= first).collect();
            return Self::Days { first, length, counts };
        }
        let limit = slo.window_runs.and_then(|runs| usize::try_from(runs).ok()).unwrap_or(1).max(1);
        let known = before.and_then(|before| before.verdicts.as_ref()).map(read).unwrap_or_default();
        let mut window = Self::Runs { limit, verdicts: known };
        window.trim();
        window
    }

    /// Takes slots in where they belong.
    pub(super) fn add(&mut self, entry: &Entry<'_>) {
        match self {
            Window::Runs { limit, verdicts } => {
                // One from before all that is known has no place: what lies between is not known.
                let Some(at) = usize::try_from(entry.later).ok().and_then(|later| verdicts.len().checked_sub(later)) else { return };
                let slots = usize::try_from(entry.slots).unwrap_or(*limit).min(*limit);
                verdicts.splice(at..at, std::iter::repeat_n(entry.good, slots));
                self.trim();
            }
            Window::Days { first, counts, .. } => {
                for (day, slots) in entry.days.iter().filter(|(day, _)| *day >= *first) {
                    let (good, bad) = counts.entry(*day).or_default();
                    let of_kind = if entry.good { good } else { bad };
                    *of_kind = of_kind.saturating_add(*slots);
                }
            }
        }
    }

    /// Whether a slot with so many later ones has left the window.
    pub(super) fn is_past(&self, slot: Timestamp, later: i64) -> bool {
        match self {
            Window::Runs { limit, .. } => usize::try_from(later).is_ok_and(|later| later >= *limit),
            Window::Days { first, .. } => day(slot) < *first,
        }
    }

    /// How many are good, and how many are bad.
    pub(super) fn counts(&self) -> (i64, i64) {
        match self {
            Window::Runs { verdicts, .. } => {
                let count = |good: bool| i64::try_from(verdicts.iter().filter(|verdict| **verdict == good).count()).unwrap_or(i64::MAX);
                (count(true), count(false))
            }
            Window::Days { counts, .. } => {
                counts.values().fold((0, 0), |sum: (i64, i64), day| (sum.0.saturating_add(day.0), sum.1.saturating_add(day.1)))
            }
        }
    }

    /// When something bad leaves it by itself.
    pub(super) fn mends_at(&self) -> Option<Timestamp> {
        let Window::Days { length, counts, .. } = self else { return None };
        let oldest = counts.iter().find(|(_, (_, bad))| *bad > 0).map(|(day, _)| *day)?;
        oldest.checked_add(length.days()).ok().map(midnight)
    }

    /// As the status has it.
    pub(super) fn write(&self) -> (Option<Verdicts>, Vec<DayCount>) {
        match self {
            Window::Runs { verdicts, .. } => (Some(write(verdicts)), Vec::new()),
            Window::Days { counts, .. } => {
                let count = |(day, (good, bad)): (&Date, &(i64, i64))| DayCount { day: day.to_string(), good: *good, bad: *bad };
                (None, counts.iter().map(count).collect())
            }
        }
    }

    fn trim(&mut self) {
        if let Window::Runs { limit, verdicts } = self {
            let over = verdicts.len().saturating_sub(*limit);
            verdicts.drain(..over);
        }
    }
}

fn read(verdicts: &Verdicts) -> Vec<bool> {
    let bits = verdicts.bits.0.iter().flat_map(|byte| (0..8).rev().map(move |bit| (byte >> bit) & 1 == 1));
    bits.take(usize::try_from(verdicts.count).unwrap_or(0)).collect()
}

fn write(verdicts: &[bool]) -> Verdicts {
    let byte = |eight: &[bool]| eight.iter().enumerate().fold(0, |byte, (bit, good)| byte | (u8::from(*good) << (7 - bit)));
    Verdicts { count: i64::try_from(verdicts.len()).unwrap_or(i64::MAX), bits: ByteString(verdicts.chunks(8).map(byte).collect()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_are_kept_as_bits_in_their_order() {
        for count in [0, 1, 7, 8, 9, 200] {
            let verdicts: Vec<bool> = (0..count).map(|n| n % 3 != 1).collect();
            assert_eq!(read(&write(&verdicts)), verdicts);
        }
        assert_eq!(write(&[true, false, true]).bits.0, [0b1010_0000]);
    }

    #[test]
    fn a_slot_that_is_told_late_goes_where_it_belongs_or_nowhere() {
        let now = "2026-11-27T12:00:00Z".parse().unwrap();
        let mut window = Window::read(&Slo { window_runs: Some(4), ..Slo::default() }, None, now);
        let add = |window: &mut Window, good: bool, slots: i64, later: i64| window.add(&Entry { good, slots, days: &[], later });
        let verdicts = |window: &Window| match window {
            Window::Runs { verdicts, .. } => verdicts.iter().map(|good| if *good { 'g' } else { 'b' }).collect(),
            Window::Days { .. } => String::new(),
        };
        add(&mut window, true, 2, 0);
        add(&mut window, false, 1, 1);
        assert_eq!(verdicts(&window), "gbg");
        add(&mut window, false, 1, 4);
        assert_eq!(verdicts(&window), "gbg", "what lies between is not known");
        add(&mut window, false, 2, 0);
        assert_eq!((verdicts(&window), window.counts()), ("bgbb".to_owned(), (1, 3)));
        add(&mut window, true, 1, 4);
        assert_eq!(verdicts(&window), "bgbb", "four are later");
        add(&mut window, false, 1_000_000_000_000, 0);
        assert_eq!(verdicts(&window), "bbbb", "a very long outage is no more than the window");
    }
}
