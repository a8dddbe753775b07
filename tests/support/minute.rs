//! The wall clock: slots are minutes, and some tests depend on where in a minute they act.

use std::{ops::Range, time::Duration};

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use nightshift::clock::Clock;

/// The time now.
pub fn now() -> Timestamp {
    Clock::system().now()
}

/// Waits until the wall clock shows a second of that range, and returns the minute it is in.
pub async fn await_second(seconds: Range<i64>) -> Timestamp {
    loop {
        let now = now().as_second();
        if seconds.contains(&(now % 60)) {
            return Timestamp::from_second(now - now % 60).expect("a time");
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Waits until that moment.
pub async fn await_moment(moment: Timestamp) {
    tokio::time::sleep(Duration::try_from(moment.duration_since(now())).unwrap_or_default()).await;
}

/// The first full minute that is at least so many seconds away.
pub fn slot_after(seconds: i64) -> Timestamp {
    let from = (now() + SignedDuration::from_secs(seconds)).as_second();
    Timestamp::from_second((from + 59) / 60 * 60).expect("a time")
}

/// The cron line, in UTC, that is due at that minute of each day.
pub fn daily_at(slot: Timestamp) -> String {
    let slot = slot.to_zoned(TimeZone::UTC);
    format!("{} {} * * *", slot.minute(), slot.hour())
}
