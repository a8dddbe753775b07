//! The only file that reads the time. Everything else is told what time it is.

use std::{
    sync::OnceLock,
    time::{Duration, Instant},
};

use jiff::Timestamp;

/// Where the shell gets the time from.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    now: fn() -> Timestamp,
    monotonic: fn() -> Duration,
}

impl Clock {
    /// The system's clock.
    #[must_use]
    pub fn system() -> Self {
        #[expect(clippy::disallowed_methods, reason = "the only clock")]
        Self { now: Timestamp::now, monotonic: since_first_asked }
    }

    /// The system's clock, but for the monotonic time.
    #[cfg(test)]
    pub(crate) fn with_monotonic(monotonic: fn() -> Duration) -> Self {
        Self { monotonic, ..Self::system() }
    }

    /// The time now.
    #[must_use]
    pub fn now(self) -> Timestamp {
        (self.now)()
    }

    /// The time now in whole seconds, as Kubernetes writes times: a status planned with it reads back unchanged.
    #[must_use]
    pub fn now_in_seconds(self) -> Timestamp {
        Timestamp::from_second(self.now().as_second()).unwrap_or_default()
    }

    /// Time that only goes forward, counted from some moment of this process. Nobody can set it, and it goes on while the
    /// process is frozen. It stands while the machine sleeps.
    #[must_use]
    pub fn monotonic(self) -> Duration {
        (self.monotonic)()
    }
}

#[expect(clippy::disallowed_methods, reason = "the only clock")]
fn since_first_asked() -> Duration {
    static FIRST: OnceLock<Instant> = OnceLock::new();
    FIRST.get_or_init(Instant::now).elapsed()
}
