//! How soon one object is looked at again: the longer a look takes, the later.
//!
//! Each end of an item of a thousand would otherwise be a look at all thousand. Looked at a few times a second, such a run
//! loses nothing that anybody sees; on a busy machine, where a look takes longer, it makes room for the others.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;

/// How many times as long as it took to look at an object it is left alone: it takes a hundredth of a core at the most.
const TIMES: u32 = 100;
const LONGEST: Duration = Duration::from_millis(250);
/// A shorter pause saves nothing worth waiting for.
const SHORTEST: Duration = Duration::from_millis(20);

/// When objects that are slow to look at may be looked at next.
#[derive(Default)]
pub(super) struct Pace(Mutex<HashMap<String, Timestamp>>);

impl Pace {
    /// How long to wait before the object is looked at.
    pub(super) fn wait(&self, key: &str, now: Timestamp) -> Option<Duration> {
        let next = *self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key)?;
        Duration::try_from(next.duration_since(now)).ok().filter(|wait| !wait.is_zero())
    }

    /// The object was looked at, which took so long.
    pub(super) fn looked(&self, key: &str, took: Duration, now: Timestamp) {
        let mut paces = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let pause = took.saturating_mul(TIMES).min(LONGEST);
        if pause < SHORTEST {
            paces.remove(key);
            return;
        }
        if paces.len() % 256 == 255 {
            paces.retain(|_, next| *next > now);
        }
        paces.insert(key.to_owned(), now.checked_add(pause).unwrap_or(now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_slow_to_look_at_waits_and_the_rest_does_not() {
        let pace = Pace::default();
        let at = |milliseconds: i64| Timestamp::from_millisecond(1_000_000 + milliseconds).unwrap();
        for (took, wait) in [(0, None), (199, None), (200, Some(20)), (900, Some(90)), (80_000, Some(250))] {
            pace.looked("run", Duration::from_micros(took), at(0));
            assert_eq!(pace.wait("run", at(0)), wait.map(Duration::from_millis), "{took} µs");
        }
        assert_eq!((pace.wait("run", at(200)), pace.wait("run", at(250))), (Some(Duration::from_millis(50)), None));
        pace.looked("run", Duration::ZERO, at(200));
        assert_eq!(pace.wait("run", at(0)), None, "it is over");
        assert_eq!(pace.wait("other", at(0)), None);
    }
}
