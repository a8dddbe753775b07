//! Counting slots for good.

use jiff::{Timestamp, civil::Date};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::window::{Entry, Window};
use crate::api::{BadSlot, OpenSlot, Slo, SloStatus};

/// How many bad slots are told.
const LAST_BAD: usize = 5;
/// How many slots at most wait for the end of their runs while later ones are counted.
const OPEN: usize = 100;

/// A slot, or neighbouring ones, that have been judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Judged {
    /// The first of them.
    pub(super) first: Timestamp,
    /// The last of them.
    pub(super) slot: Timestamp,
    pub(super) slots: i64,
    pub(super) days: Vec<(Date, i64)>,
    /// What was bad, where it was.
    pub(super) bad: Option<BadSlot>,
}

/// What has been counted for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Folded {
    pub(super) through: Option<Timestamp>,
    pub(super) since: Option<Timestamp>,
    pub(super) open: Vec<OpenSlot>,
    pub(super) window: Window,
    pub(super) last_bad: Vec<BadSlot>,
}

impl Folded {
    /// As the status has it, now.
    pub(super) fn read(slo: &Slo, before: Option<&SloStatus>, now: Timestamp) -> Self {
        let window = Window::read(slo, before, now);
        let Some(before) = before else {
            return Self { through: None, since: None, open: Vec::new(), window, last_bad: Vec::new() };
        };
        let mut folded = Self {
            through: before.folded_through.as_ref().map(|time| time.0),
            since: before.since.as_ref().map(|time| time.0),
            open: before.open.clone(),
            window,
            last_bad: Vec::new(),
        };
        // Those that are late just now are judged anew each time.
        folded.last_bad = before.last_bad.iter().filter(|bad| folded.has(bad.slot.0)).cloned().collect();
        folded
    }

    /// Whether the slot is counted for good, or will never be.
    pub(super) fn has(&self, slot: Timestamp) -> bool {
        self.through.is_some_and(|through| slot <= through) && !self.is_open(slot)
    }

    pub(super) fn is_open(&self, slot: Timestamp) -> bool {
        self.open.iter().any(|open| open.slot.0 == slot)
    }

    /// Counts slots, in their order. Those whose runs go on, `live`, have their place kept.
    pub(super) fn take(&mut self, judged: &[Judged], live: &[Timestamp]) {
        let new = live.iter().filter(|slot| !self.has(**slot) && !self.is_open(**slot));
        let new: Vec<OpenSlot> = new.map(|slot| OpenSlot { slot: Time(*slot), later: 0 }).collect();
        self.open.extend(new);
        self.open.sort_by_key(|open| open.slot.0);
        for judged in judged {
            let later = self.open.iter().find(|open| open.slot.0 == judged.slot).map_or(0, |open| open.later);
            self.window.add(&Entry { good: judged.bad.is_none(), slots: judged.slots, days: &judged.days, later });
            self.open.retain(|open| open.slot.0 != judged.slot);
            for open in self.open.iter_mut().filter(|open| open.slot.0 < judged.slot) {
                open.later = open.later.saturating_add(judged.slots);
            }
            self.through = self.through.max(Some(judged.slot));
            self.since = Some(self.since.map_or(judged.first, |since| since.min(judged.first)));
            self.last_bad.extend(judged.bad.clone());
        }
        // What is not passed by is found again by itself.
        let through = self.through.unwrap_or(Timestamp::MIN);
        self.open.retain(|open| open.slot.0 <= through && !self.window.is_past(open.slot.0, open.later));
        let over = self.open.len().saturating_sub(OPEN);
        self.open.drain(..over);
        self.last_bad = self.newest_bad();
    }

    /// The last bad slots that are in the window: the newest ones, as many as it has.
    fn newest_bad(&self) -> Vec<BadSlot> {
        let mut bad = self.last_bad.clone();
        bad.sort_by_key(|bad| std::cmp::Reverse(bad.slot.0));
        let mut room = self.window.counts().1;
        let is_in = move |bad: &BadSlot| {
            let is_in = room > 0;
            room = room.saturating_sub(bad.slots.unwrap_or(1));
            is_in
        };
        let mut newest: Vec<BadSlot> = bad.into_iter().take(LAST_BAD).take_while(is_in).collect();
        newest.reverse();
        newest
    }
}
