//! Times in expressions.

use std::sync::Arc;

use cel::{ExecutionError, Value};
use chrono::{DateTime, FixedOffset};
use jiff::{Timestamp, fmt::strtime, tz::TimeZone};

/// Longest text that `format` takes, in bytes.
const LONGEST_LETTERS: usize = 256;

/// A time with the offset of the zone at that time, so that `slot.getHours()` is the hour on the wall. `None` where CEL does
/// not know the year.
#[must_use]
pub fn in_zone(time: Timestamp, zone: &TimeZone) -> Option<DateTime<FixedOffset>> {
    let utc = DateTime::from_timestamp(time.as_second(), 0)?;
    Some(utc.with_timezone(&FixedOffset::east_opt(zone.to_offset(time).seconds())?))
}

/// `format(time, letters)`: strftime's letters, always by the zone.
pub(super) fn formatter(zone: TimeZone) -> impl Fn(DateTime<FixedOffset>, Arc<String>) -> Result<Value, ExecutionError> + Send + Sync {
    move |time, letters| format(time, &letters, &zone).map(Value::from).map_err(|problem| ExecutionError::function_error("format", problem))
}

fn format(time: DateTime<FixedOffset>, letters: &str, zone: &TimeZone) -> Result<String, String> {
    if letters.len() > LONGEST_LETTERS {
        return Err(format!("the letters are {} bytes long; at most {LONGEST_LETTERS} are allowed", letters.len()));
    }
    let nanosecond = i32::try_from(time.timestamp_subsec_nanos()).map_err(|error| error.to_string())?;
    let time = Timestamp::new(time.timestamp(), nanosecond).map_err(|error| error.to_string())?;
    strtime::format(letters, &time.to_zoned(zone.clone())).map_err(|error| error.to_string())
}
