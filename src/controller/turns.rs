//! Turns for what can wait: statuses that only say that all goes its usual way, and the records of Jobs that Kubernetes has
//! just started.
//!
//! Where a thousand runs begin at once, telling of each that it runs would take from the API server what it needs to start
//! and end them. So these take turns, ten a second; what says anything else needs none. Alone, a run has its turn at once.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use jiff::{SignedDuration, Timestamp};

/// From one turn to the next.
const EVERY: SignedDuration = SignedDuration::from_millis(100);
/// Nobody waits longer: what is told late must not be told never.
const LONGEST: SignedDuration = SignedDuration::from_secs(30);
/// A turn that was not taken for so long belongs to an object that is gone.
const KEPT: SignedDuration = SignedDuration::from_secs(60);

/// Who has which turn.
#[derive(Default)]
pub(super) struct Turns(Mutex<Queue>);

#[derive(Default)]
struct Queue {
    next: Timestamp,
    waiting: HashMap<String, Timestamp>,
}

impl Turns {
    /// When it is the object's turn: now, where it is its turn, which it has then had.
    pub(super) fn of(&self, key: &str, now: Timestamp) -> Timestamp {
        let mut queue = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turn) = queue.waiting.get(key).copied() {
            if turn <= now {
                queue.waiting.remove(key);
            }
            return turn.max(now);
        }
        let turn = queue.next.clamp(now, now.checked_add(LONGEST).unwrap_or(now));
        queue.next = turn.checked_add(EVERY).unwrap_or(turn);
        if turn > now {
            if queue.waiting.len() % 256 == 255 {
                queue.waiting.retain(|_, turn| now.duration_since(*turn) < KEPT);
            }
            queue.waiting.insert(key.to_owned(), turn);
        }
        turn
    }

    /// Whether the object waits for its turn.
    pub(super) fn is_waiting(&self, key: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).waiting.contains_key(key)
    }

    /// The object has told more than that, and needs no turn any more: those who come next have it.
    pub(super) fn give_up(&self, key: &str) {
        let mut queue = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.waiting.remove(key).is_some() {
            queue.next = queue.next.checked_sub(EVERY).unwrap_or(queue.next);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: i64) -> Timestamp {
        Timestamp::from_millisecond(1_000_000 + milliseconds).unwrap()
    }

    #[test]
    fn alone_it_is_ones_turn_at_once_and_together_one_after_another() {
        let turns = Turns::default();
        assert_eq!([turns.of("a", at(0)), turns.of("b", at(0)), turns.of("c", at(0))], [at(0), at(100), at(200)]);
        assert_eq!(turns.of("c", at(50)), at(200), "who asks again keeps the turn");
        assert!(turns.is_waiting("b") && !turns.is_waiting("a"));
        assert_eq!(turns.of("b", at(130)), at(130), "and has it when it comes");
        assert_eq!(turns.of("b", at(130)), at(300), "once");
        turns.give_up("c");
        assert_eq!(turns.of("c", at(250)), at(300), "a turn that was given up is free again");
        assert_eq!(turns.of("d", at(9000)), at(9000), "turns of the past are not saved up");
        let last = (0..5000).map(|n| turns.of(&format!("run-{n}"), at(20_000))).max();
        assert_eq!(last, Some(at(50_000)), "and none is further away than half a minute");
    }
}
