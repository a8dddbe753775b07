//! One cron line: parsing, resolving `H`, and the slots it names.
//!
//! What a line means is what the CronJob controller makes of it, since that controller starts the Jobs: five fields; a
//! day matches by day of month *or* day of week where both are restricted, by both where one is `*`; a time that the
//! clocks jump over does not happen, one that they repeat happens twice. Written for that reason instead of using a
//! cron library: those differ from it, and from one another, exactly where it matters.

use jiff::{
    Timestamp, ToSpan,
    civil::{Date, DateTime, date},
    tz::{AmbiguousOffset, TimeZone},
};

use super::minutes::Minutes;

#[cfg(test)]
mod tests;

/// What is wrong with a cron line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    /// Not five fields.
    #[error("has {0} fields; want five (minute hour day-of-month month day-of-week) or @hourly, @daily, @weekly, @monthly, @yearly")]
    FieldCount(usize),
    /// An unknown `@word`.
    #[error("unknown word; want @hourly, @daily, @weekly, @monthly or @yearly")]
    UnknownWord,
    /// A field that does not parse.
    #[error("{field} {item:?}: {problem}")]
    Field {
        /// Which field.
        field: &'static str,
        /// The part of it.
        item: String,
        /// What is wrong.
        problem: String,
    },
    /// A line that names no day that exists, such as 30 February.
    #[error("names no day that exists")]
    Never,
}

struct Field {
    name: &'static str,
    low: u32,
    high: u32,
    hash_high: u32,
    names: &'static [&'static str],
}

const MONTHS: [&str; 12] = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const DAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

const FIELDS: [Field; 5] = [
    Field { name: "minute", low: 0, high: 59, hash_high: 59, names: &[] },
    Field { name: "hour", low: 0, high: 23, hash_high: 23, names: &[] },
    Field { name: "day-of-month", low: 1, high: 31, hash_high: 28, names: &[] },
    Field { name: "month", low: 1, high: 12, hash_high: 12, names: &MONTHS },
    Field { name: "day-of-week", low: 0, high: 7, hash_high: 6, names: &DAYS },
];

/// The values that a field matches, and whether it was written as `*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Matches {
    bits: u64,
    star: bool,
}

impl Matches {
    fn has(self, value: i8) -> bool {
        u32::try_from(value).is_ok_and(|value| self.bits & (1 << value) != 0)
    }

    fn values(self) -> impl Iterator<Item = i8> {
        (0..60i8).filter(move |value| self.has(*value))
    }
}

/// A cron line, parsed once, with `H` resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CronLine {
    text: String,
    minute: Matches,
    hour: Matches,
    day_of_month: Matches,
    month: Matches,
    day_of_week: Matches,
    minutes: Minutes,
}

impl CronLine {
    /// Parses a line. `seed` is what `H` is hashed from: the same seed always gives the same line.
    ///
    /// # Errors
    /// Tells the field and what is wrong with it.
    pub fn parse(text: &str, seed: &str) -> Result<Self, CronError> {
        let text = match text.trim().to_ascii_lowercase().as_str() {
            "@hourly" => "0 * * * *",
            "@daily" | "@midnight" => "0 0 * * *",
            "@weekly" => "0 0 * * 0",
            "@monthly" => "0 0 1 * *",
            "@yearly" | "@annually" => "0 0 1 1 *",
            word if word.starts_with('@') => return Err(CronError::UnknownWord),
            _ => text,
        };
        let written: Vec<&str> = text.split_ascii_whitespace().collect();
        if written.len() != FIELDS.len() {
            return Err(CronError::FieldCount(written.len()));
        }
        let mut resolved = Vec::with_capacity(FIELDS.len());
        let mut matches = Vec::with_capacity(FIELDS.len());
        for (field, written) in FIELDS.iter().zip(written) {
            let (text, matched) = field.parse(written, hash(&format!("{seed} {}", field.name)))?;
            resolved.push(text);
            matches.push(matched);
        }
        let mut line = Self {
            text: resolved.join(" "),
            minute: matches[0],
            hour: matches[1],
            day_of_month: matches[2],
            month: matches[3],
            day_of_week: matches[4],
            minutes: Minutes::default(),
        };
        for minute in line.minutes_of_day().collect::<Vec<_>>() {
            line.minutes.insert(minute);
        }
        // 2000 to 2027 holds each combination of date and weekday that the calendar has.
        let exists = (0..28 * 366).any(|n| line.on(date(2000, 1, 1) + n.days()));
        if exists { Ok(line) } else { Err(CronError::Never) }
    }

    /// The line as the CronJob controller gets it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the line runs on a day.
    pub(super) fn on(&self, day: Date) -> bool {
        let by_month_day = self.day_of_month.has(day.day());
        let by_weekday = self.day_of_week.has(day.weekday().to_sunday_zero_offset());
        let both_restricted = !self.day_of_month.star && !self.day_of_week.star;
        self.month.has(day.month()) && if both_restricted { by_month_day || by_weekday } else { by_month_day && by_weekday }
    }

    fn times(&self) -> impl Iterator<Item = (i8, i8)> {
        let minute = self.minute;
        self.hour.values().flat_map(move |hour| minute.values().map(move |minute| (hour, minute)))
    }

    /// Returns the first slot after `after`: an instant at which the wall clock in `zone` shows a matching minute.
    #[must_use]
    pub fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        // A repeated hour can put an instant of yesterday's wall clock after one of today's, never of the day before that.
        let today = after.to_zoned(zone.clone()).date();
        let first = today.yesterday().unwrap_or(today);
        (0..8 * 366).map_while(|n| first.checked_add(n.days()).ok()).find_map(|day| {
            let slot = self.first_on(day, after, zone)?;
            // Clocks that go back over midnight show a time of the next day before they show this one again.
            let next_day = day.tomorrow().ok().filter(|next| next.to_zoned(zone.clone()).is_ok_and(|next| next.timestamp() < slot));
            let earlier = next_day.and_then(|next| self.first_on(next, after, zone));
            Some(earlier.map_or(slot, |earlier| slot.min(earlier)))
        })
    }

    fn first_on(&self, day: Date, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        if self.on(day) { self.slots_on(day, zone).filter(|slot| *slot > after).min() } else { None }
    }

    /// The slots after `after`, up to `until`, in order.
    pub(super) fn between(&self, after: Timestamp, until: Timestamp, zone: &TimeZone) -> Vec<Timestamp> {
        let date = |time: Timestamp| time.to_zoned(zone.clone()).date();
        let first = date(after).yesterday().unwrap_or(date(after));
        let last = date(until).tomorrow().unwrap_or(date(until));
        let days = first.series(1.day()).take_while(|day| *day <= last).filter(|day| self.on(*day));
        let mut slots: Vec<Timestamp> =
            days.flat_map(|day| self.slots_on(day, zone)).filter(|slot| *slot > after && *slot <= until).collect();
        slots.sort_unstable();
        slots
    }

    fn slots_on<'a>(&'a self, day: Date, zone: &'a TimeZone) -> impl Iterator<Item = Timestamp> + 'a {
        self.times().flat_map(move |(hour, minute)| instants(day.at(hour, minute, 0, 0), zone)).flatten()
    }

    /// The minutes that the line names on each day that it runs on.
    pub(super) fn minutes(&self) -> &Minutes {
        &self.minutes
    }

    fn minutes_of_day(&self) -> impl Iterator<Item = u32> {
        self.times().map(|(hour, minute)| u32::try_from(i32::from(hour) * 60 + i32::from(minute)).unwrap_or(0))
    }

    /// The same times on every day.
    pub(super) fn on_every_day(&self) -> Self {
        let any = Matches { bits: u64::MAX, star: true };
        Self { day_of_month: any, month: any, day_of_week: any, ..self.clone() }
    }

    /// Whether some slot is one of both lines.
    pub(super) fn may_coincide(&self, other: &Self) -> bool {
        self.minute.bits & other.minute.bits != 0
            && self.hour.bits & other.hour.bits != 0
            && (0..28 * 366).map(|n| date(2000, 1, 1) + n.days()).any(|day| self.on(day) && other.on(day))
    }
}

/// The instants at which the wall clock shows `time`: none where it is jumped over, two where it is repeated.
fn instants(time: DateTime, zone: &TimeZone) -> [Option<Timestamp>; 2] {
    let at = |offset: jiff::tz::Offset| offset.to_timestamp(time).ok();
    match zone.to_ambiguous_timestamp(time).offset() {
        AmbiguousOffset::Unambiguous { offset } => [at(offset), None],
        AmbiguousOffset::Gap { .. } => [None, None],
        AmbiguousOffset::Fold { before, after } => [at(before), at(after)],
    }
}

impl Field {
    fn parse(&self, written: &str, hash: u64) -> Result<(String, Matches), CronError> {
        let mut text = Vec::new();
        let mut matched = Matches { bits: 0, star: false };
        for item in written.split(',') {
            let wrong = |problem: &str| CronError::Field { field: self.name, item: item.to_owned(), problem: problem.to_owned() };
            let (range, step) = match item.split_once('/') {
                Some((range, step)) => {
                    let step = step.parse().ok().filter(|step| *step > 0);
                    (range, Some(step.ok_or_else(|| wrong("the step after '/' must be a number above 0"))?))
                }
                None => (item, None),
            };
            let (low, high) = match range {
                "*" | "?" => {
                    // As the CronJob controller has it: `*/1` is still `*`, `*/2` is a restriction.
                    matched.star |= step.unwrap_or(1) == 1;
                    (self.low, self.last())
                }
                _ if range.starts_with(['H', 'h']) => self.hashed(&range[1..], step, hash).map_err(|p| wrong(&p))?,
                _ => match range.split_once('-') {
                    Some((low, high)) => (self.value(low).map_err(|p| wrong(&p))?, self.value(high).map_err(|p| wrong(&p))?),
                    None => {
                        let low = self.value(range).map_err(|p| wrong(&p))?;
                        // From Sunday on, whether it is written 0 or 7.
                        let low = if step.is_some() && low > self.last() { self.low } else { low };
                        (low, if step.is_some() { self.last() } else { low })
                    }
                },
            };
            if low > high {
                return Err(wrong("the range runs backwards; put the lower value first"));
            }
            let step_size = step.unwrap_or(1);
            let star = matches!(range, "*" | "?");
            let mut value = low;
            while value <= high {
                // Sunday is 0 and 7; the CronJob API takes 0 only.
                matched.bits |= 1 << if self.name == "day-of-week" { value % 7 } else { value };
                value = value.saturating_add(step_size);
            }
            text.extend(self.written(low, high, step, star));
        }
        Ok((text.join(","), matched))
    }

    /// The highest value as the CronJob API knows it.
    fn last(&self) -> u32 {
        if self.name == "day-of-week" { 6 } else { self.high }
    }

    /// An item as the CronJob API takes it. A range that ends in 7 (Sunday) is written without it, and Sunday added.
    fn written(&self, low: u32, high: u32, step: Option<u32>, star: bool) -> Vec<String> {
        let step_text = step.map_or(String::new(), |step| format!("/{step}"));
        if star {
            return vec![format!("*{step_text}")];
        }
        if self.name == "day-of-week" && high == 7 {
            let mut days: Vec<u32> = (low..=high).step_by(step.unwrap_or(1) as usize).map(|day| day % 7).collect();
            days.sort_unstable();
            days.dedup();
            return days.iter().map(u32::to_string).collect();
        }
        if low == high { vec![low.to_string()] } else { vec![format!("{low}-{high}{step_text}")] }
    }

    fn value(&self, text: &str) -> Result<u32, String> {
        if let Some(index) = self.names.iter().position(|name| name.eq_ignore_ascii_case(text)) {
            return u32::try_from(index).map(|index| index + self.low).map_err(|_| "out of range".to_owned());
        }
        let parsed = if text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { None };
        parsed
            .filter(|value| (self.low..=self.high).contains(value))
            .ok_or_else(|| format!("want a value from {} to {}", self.low, self.high))
    }

    /// `H`, `H(low-high)` and either with a step.
    fn hashed(&self, bounds: &str, step: Option<u32>, hash: u64) -> Result<(u32, u32), String> {
        let (low, high) = if bounds.is_empty() {
            (self.low, self.hash_high)
        } else {
            let inner = bounds.strip_prefix('(').and_then(|inner| inner.strip_suffix(')'));
            let (low, high) = inner.and_then(|inner| inner.split_once('-')).ok_or("want H, H(low-high), H/step or H(low-high)/step")?;
            (self.value(low)?, self.value(high)?)
        };
        if low > high {
            return Err("the range runs backwards; put the lower value first".to_owned());
        }
        let width = step.unwrap_or(u32::MAX).min(high - low + 1);
        let start = low + u32::try_from(hash % u64::from(width)).unwrap_or(0);
        Ok(if step.is_some() { (start, high) } else { (start, start) })
    }
}

/// FNV-1a with a final mix, so that names which differ in the last letter only are spread as well. Part of the API: a
/// change here would move every `H` of every user.
pub(super) fn hash(text: &str) -> u64 {
    let folded = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let mixed = (folded ^ (folded >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
