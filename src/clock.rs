//! The only file that reads the time. Everything else is told what time it is.

use jiff::Timestamp;

/// Where the shell gets the time from.
#[derive(Clone, Copy, Debug)]
pub struct Clock(fn() -> Timestamp);

impl Clock {
    /// The system's clock.
    #[must_use]
    pub fn system() -> Self {
        #[expect(clippy::disallowed_methods, reason = "the only clock")]
        Self(Timestamp::now)
    }

    /// The time now.
    #[must_use]
    pub fn now(self) -> Timestamp {
        (self.0)()
    }

    /// The time now in whole seconds, as Kubernetes writes times: a status planned with it reads back unchanged.
    #[must_use]
    pub fn now_in_seconds(self) -> Timestamp {
        Timestamp::from_second(self.now().as_second()).unwrap_or_default()
    }
}
