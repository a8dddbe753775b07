//! What to do about the lease: pure, from what was seen of it and when.
//!
//! All times are this process's own monotonic time. The times that stand in the Lease are by another machine's clock: they
//! are compared with one another, to see that something has changed, and never with ours.

use std::time::Duration;

/// How long things take, in an election.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// A Lease that has not changed for so long is free.
    pub lease: Duration,
    /// A leader whose last renewal was begun so long ago leads no longer. Shorter than `lease` by what a write may still
    /// need to arrive.
    pub deadline: Duration,
    /// From one renewal to the next.
    pub renew: Duration,
    /// From one look of a standby to the next.
    pub look: Duration,
    /// From a request that failed to the next.
    pub again: Duration,
    /// How long a request may take.
    pub request: Duration,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(10),
            deadline: Duration::from_secs(7),
            renew: Duration::from_secs(2),
            look: Duration::from_secs(1),
            again: Duration::from_millis(500),
            request: Duration::from_secs(2),
        }
    }
}

/// What a Lease says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Who holds it; empty where nobody does.
    pub holder: String,
    /// How long its holder wants others to wait.
    pub duration: Duration,
    /// When it was renewed, by the holder's clock: good for nothing but to see a change.
    pub renewed: String,
}

/// What this process knows.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// When our last renewal that succeeded was begun, while we lead: before the request was sent, since nobody can tell
    /// when the server made the write.
    pub held: Option<Duration>,
    /// The Lease as it was last seen. One that was deleted counts as it was, until it has run out: its holder may not have
    /// noticed yet.
    pub record: Option<Record>,
    /// Since when it has looked like this, to us.
    pub since: Duration,
    /// When a request failed, after which none has succeeded.
    pub failed: Option<Duration>,
}

impl Known {
    /// Takes a look at the Lease; `None` where there is none.
    pub fn seen(&mut self, record: Option<Record>, now: Duration) {
        self.failed = None;
        if record.is_some() && record != self.record {
            self.record = record;
            self.since = now;
        }
    }
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Make the lease ours: nobody has it, or who had it may not write any more.
    Take,
    /// Say that we are still there.
    Renew,
    /// Nothing for so long. A standby then looks at the Lease again.
    Wait(Duration),
    /// We led and do no longer.
    Lost(String),
}

/// What `me` does next.
pub fn decide(me: &str, known: &Known, terms: &Terms, now: Duration) -> Decision {
    let due = |at: Duration, then: Decision| {
        let at = known.failed.map_or(at, |failed| at.max(failed + terms.again));
        if at <= now { then } else { Decision::Wait(at.saturating_sub(now)) }
    };
    let holder = known.record.as_ref().map(|record| record.holder.as_str()).unwrap_or_default();
    if let Some(begun) = known.held {
        if now >= begun + terms.deadline {
            let age = now.saturating_sub(begun).as_millis();
            return Decision::Lost(format!("it was last renewed {age} ms ago, and {} ms is the longest", terms.deadline.as_millis()));
        }
        if holder != me {
            let whose = if holder.is_empty() { "nobody holds it" } else { holder };
            return Decision::Lost(format!("somebody changed it: now {whose}"));
        }
        return match due(begun + terms.renew, Decision::Renew) {
            Decision::Wait(wait) => Decision::Wait(wait.min((begun + terms.deadline).saturating_sub(now))),
            decision => decision,
        };
    }
    // Under our own name it was held by a process before this one, which has ended: Kubernetes starts no container of a pod
    // beside the one that it replaces.
    if holder.is_empty() || holder == me {
        return due(now, Decision::Take);
    }
    let duration = known.record.as_ref().map_or(terms.lease, |record| record.duration);
    match due(known.since + duration, Decision::Take) {
        Decision::Wait(wait) => Decision::Wait(wait.min(terms.look)),
        decision => decision,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn record(holder: &str, renewed: &str) -> Record {
        Record { holder: holder.to_owned(), duration: at(10_000), renewed: renewed.to_owned() }
    }

    fn decided(known: &Known, now: u64) -> Decision {
        decide("me", known, &Terms::default(), at(now))
    }

    fn leader(begun: u64) -> Known {
        Known { held: Some(at(begun)), record: Some(record("me", "1")), ..Known::default() }
    }

    #[test]
    fn what_nobody_holds_is_taken_at_once() {
        assert_eq!(decided(&Known::default(), 5), Decision::Take, "no Lease");
        let mut known = Known::default();
        known.seen(Some(record("", "1")), at(5));
        assert_eq!(decided(&known, 5), Decision::Take, "released");
        known.seen(Some(record("me", "1")), at(5));
        assert_eq!(decided(&known, 5), Decision::Take, "held by the process before this one, in the same pod");
    }

    #[test]
    fn a_standby_waits_until_the_record_has_stood_still_for_as_long_as_it_says_by_its_own_clock() {
        let mut known = Known::default();
        known.seen(Some(record("other", "1970-01-01T00:00:00Z")), at(1000));
        assert_eq!(decided(&known, 1000), Decision::Wait(at(1000)), "however old it says that it is");
        known.seen(Some(record("other", "1970-01-01T00:00:00Z")), at(2000));
        assert_eq!(decided(&known, 10_600), Decision::Wait(at(400)), "to look again does not make it younger");
        assert_eq!(decided(&known, 11_000), Decision::Take);
        known.seen(Some(record("other", "1969-12-31T00:00:00Z")), at(10_900));
        assert_eq!(decided(&known, 11_000), Decision::Wait(at(1000)), "any change is a sign of life, also back in time");
        known.seen(Some(record("third", "1969-12-31T00:00:00Z")), at(20_000));
        assert_eq!(decided(&known, 21_000), Decision::Wait(at(1000)));
    }

    #[test]
    fn a_deleted_lease_is_not_free_before_its_holder_can_have_noticed() {
        let mut known = Known::default();
        known.seen(Some(record("other", "1")), at(1000));
        known.seen(None, at(2000));
        assert_eq!(decided(&known, 2000), Decision::Wait(at(1000)));
        assert_eq!(decided(&known, 11_000), Decision::Take);
    }

    #[test]
    fn a_leader_renews_every_two_seconds_and_tries_again_soon_where_it_could_not() {
        let mut known = leader(1000);
        assert_eq!(decided(&known, 1500), Decision::Wait(at(1500)));
        assert_eq!(decided(&known, 3000), Decision::Renew);
        known.failed = Some(at(3100));
        assert_eq!(decided(&known, 3100), Decision::Wait(at(500)));
        assert_eq!(decided(&known, 3600), Decision::Renew);
        known.failed = Some(at(7900));
        assert_eq!(decided(&known, 7900), Decision::Wait(at(100)), "and never sleeps past the end");
    }

    #[test]
    fn a_leader_has_lost_when_it_could_not_renew_in_time_or_sees_another() {
        assert_eq!(decided(&leader(1000), 7999), Decision::Renew);
        assert!(matches!(decided(&leader(1000), 8000), Decision::Lost(_)));
        assert!(matches!(decided(&leader(1000), 60_000), Decision::Lost(_)), "frozen meanwhile");
        for holder in ["other", ""] {
            let known = Known { record: Some(record(holder, "2")), ..leader(1000) };
            assert!(matches!(decided(&known, 1500), Decision::Lost(_)), "{holder:?}");
        }
    }

    #[test]
    fn a_leader_has_stopped_before_any_standby_may_begin() {
        let terms = Terms::default();
        // A standby sees a renewal after it was begun, at the earliest.
        assert!(terms.deadline + terms.request <= terms.lease);
        assert!(terms.renew + terms.request + terms.again + terms.request < terms.deadline, "one renewal may fail");
    }

    #[test]
    fn a_request_that_failed_is_not_repeated_at_once() {
        let mut known = Known { failed: Some(at(1000)), ..Known::default() };
        assert_eq!(decided(&known, 1000), Decision::Wait(at(500)));
        assert_eq!(decided(&known, 1500), Decision::Take);
        known.seen(Some(record("other", "1")), at(2000));
        known.failed = Some(at(11_900));
        assert_eq!(decided(&known, 12_000), Decision::Wait(at(400)));
        assert_eq!(decided(&known, 12_400), Decision::Take);
    }
}
