//! Who leads, where several run: one by a Lease writes, the others stand by with their caches filled.

mod decision;
mod election;
mod gate;

pub use election::{Election, LeaseName};
pub use gate::{Gate, Gated, NotLeading};

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::watch;

use crate::clock::Clock;

/// Whether this process leads. Cheap to ask, and to clone.
#[derive(Clone)]
pub struct Leadership(Arc<Inner>);

struct Inner {
    clock: Clock,
    /// How long a renewal is good for.
    term: Duration,
    /// Until when it leads, in microseconds of the monotonic time. That nobody has said it lost is not enough: a process
    /// that was frozen has to know by itself.
    until: AtomicU64,
    /// Whether it has given the lease up, for good.
    given_up: AtomicBool,
    /// Whether it has begun to lead, ever.
    begun: watch::Sender<bool>,
}

impl Leadership {
    /// Of the only one there is.
    #[must_use]
    pub fn always() -> Self {
        Self::new(Clock::system(), Duration::MAX, u64::MAX)
    }

    /// Of one that has yet to win. A renewal is good for `term`.
    pub(crate) fn standing_by(clock: Clock, term: Duration) -> Self {
        Self::new(clock, term, 0)
    }

    fn new(clock: Clock, term: Duration, until: u64) -> Self {
        let begun = watch::channel(until > 0).0;
        Self(Arc::new(Inner { clock, term, until: AtomicU64::new(until), given_up: AtomicBool::new(false), begun }))
    }

    /// Whether this process may write, at this moment.
    #[must_use]
    pub fn is_held(&self) -> bool {
        !self.0.given_up.load(Ordering::SeqCst) && micros(self.0.clock.monotonic()) < self.0.until.load(Ordering::SeqCst)
    }

    /// Returns when it begins to lead. It does so once: who loses the lease ends.
    pub async fn begins(&self) {
        // An error says that nobody can begin any more, and there is no such time: the sender lives as long as this.
        let _ = self.0.begun.subscribe().wait_for(|begun| *begun).await;
    }

    /// What a client's requests have to pass.
    #[must_use]
    pub fn gate(&self) -> Gate {
        Gate(self.clone())
    }

    /// The lease is ours, by a request that was begun then.
    pub(crate) fn renewed(&self, begun: Duration) {
        self.0.until.store(micros(begun.saturating_add(self.0.term)), Ordering::SeqCst);
        self.0.begun.send_replace(true);
    }

    /// It is not ours any more.
    fn give_up(&self) {
        self.0.given_up.store(true, Ordering::SeqCst);
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
