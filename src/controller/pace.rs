//! How soon one object is looked at again: the larger it is, the later.
//!
//! Each end of an item of a thousand would otherwise be a look at all thousand. Looked at a few times a second, such a run
//! loses nothing that anybody sees.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};

/// For each part that an object has, up to the longest.
const FOR_EACH: SignedDuration = SignedDuration::from_micros(100);
const LONGEST: SignedDuration = SignedDuration::from_millis(100);
/// Fewer parts cost nothing worth waiting for.
const FEW: usize = 50;

/// When large objects may be looked at next.
#[derive(Default)]
pub(super) struct Pace(Mutex<HashMap<String, Timestamp>>);

impl Pace {
    /// How long to wait before the object is looked at.
    pub(super) fn wait(&self, key: &str, now: Timestamp) -> Option<Duration> {
        let next = *self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key)?;
        Duration::try_from(next.duration_since(now)).ok().filter(|wait| !wait.is_zero())
    }

    /// The object was looked at, and need not be for so long.
    pub(super) fn rest(&self, key: &str, pause: SignedDuration, now: Timestamp) {
        let mut paces = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        paces.insert(key.to_owned(), now.checked_add(pause).unwrap_or(now));
    }

    /// The object was looked at, and has so many parts.
    pub(super) fn looked(&self, key: &str, parts: usize, now: Timestamp) {
        let mut paces = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if parts <= FEW {
            paces.remove(key);
            return;
        }
        if paces.len() % 256 == 255 {
            paces.retain(|_, next| *next > now);
        }
        let pause = FOR_EACH.checked_mul(i32::try_from(parts).unwrap_or(i32::MAX)).unwrap_or(LONGEST).min(LONGEST);
        paces.insert(key.to_owned(), now.checked_add(pause).unwrap_or(now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_objects_wait_and_small_ones_do_not() {
        let pace = Pace::default();
        let at = |milliseconds: i64| Timestamp::from_millisecond(1_000_000 + milliseconds).unwrap();
        for (parts, wait) in [(0, None), (50, None), (500, Some(Duration::from_millis(50))), (100_000, Some(Duration::from_millis(100)))] {
            pace.looked("run", parts, at(0));
            assert_eq!(pace.wait("run", at(0)), wait, "{parts}");
        }
        assert_eq!((pace.wait("run", at(40)), pace.wait("run", at(100))), (Some(Duration::from_millis(60)), None));
        pace.looked("run", 1, at(100));
        assert_eq!(pace.wait("run", at(0)), None, "it has become small");
        assert_eq!(pace.wait("other", at(0)), None);
    }
}
