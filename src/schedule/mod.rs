//! When a task is due: cron lines in a zone, their slots, and which clock can keep them.

mod clock_choice;
mod cron;
mod minutes;
mod slot_values;
mod slots;
#[cfg(test)]
mod tests;

pub use clock_choice::{ClockChoice, choose};
pub use cron::{CronError, CronLine};
pub use slot_values::{check_slot_values, slot_value, slot_values};

use std::collections::BTreeSet;

use jiff::{Span, Timestamp, civil::Date, tz::TimeZone};

use self::minutes::Minutes;
use crate::api::{self, GapPolicy, OverlapPolicy};

/// A schedule whose every part has been parsed.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// The cron lines, `H` resolved.
    pub lines: Vec<CronLine>,
    /// The zone they are meant in.
    pub zone: TimeZone,
    /// Name of the zone.
    pub zone_name: String,
    /// How late a slot may start.
    pub starting_deadline_seconds: i64,
    /// Days of the zone whose slots do not happen.
    pub exclude: BTreeSet<Date>,
    /// No slot before this time; one at it is.
    pub not_before: Option<Timestamp>,
    /// No slot after this time; one at it is.
    pub not_after: Option<Timestamp>,
    /// What becomes of a time that the clocks jump over.
    pub gap: GapPolicy,
    /// What becomes of a time that the clocks show twice.
    pub overlap: OverlapPolicy,
}

/// What is wrong with a schedule: the field and the fix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// A cron line.
    #[error("schedule.cron[{index}] {line:?}: {error}")]
    Cron {
        /// Which one.
        index: usize,
        /// As written.
        line: String,
        /// What is wrong with it.
        error: CronError,
    },
    /// The zone.
    #[error("schedule.timeZone: {0:?} is not a time zone that this release knows; use an IANA name such as Europe/Berlin")]
    TimeZone(String),
    /// A day without slots.
    #[error("schedule.exclude[{index}] {text:?}: want a day that exists, as 2026-12-25")]
    Exclude {
        /// Which one.
        index: usize,
        /// As written.
        text: String,
    },
}

impl Schedule {
    /// Parses the schedule of the task `namespace/name`, which is also what `H` is hashed from.
    ///
    /// # Errors
    /// Tells the first line, the zone or the first excluded day that does not parse.
    pub fn parse(schedule: &api::Schedule, namespace: &str, name: &str) -> Result<Self, ScheduleError> {
        let seed = format!("{namespace}/{name}");
        let lines = schedule
            .cron
            .iter()
            .enumerate()
            .map(|(index, line)| CronLine::parse(line, &seed).map_err(|error| ScheduleError::Cron { index, line: line.clone(), error }))
            .collect::<Result<_, _>>()?;
        let zone_name = schedule.time_zone.clone().unwrap_or_else(|| "UTC".to_owned());
        let zone = TimeZone::get(&zone_name).map_err(|_| ScheduleError::TimeZone(zone_name.clone()))?;
        let starting_deadline_seconds = schedule.deadline_seconds();
        let excluded = |(index, text): (usize, &String)| excluded(text).ok_or_else(|| ScheduleError::Exclude { index, text: text.clone() });
        let daylight_saving = schedule.daylight_saving.clone().unwrap_or_default();
        Ok(Self {
            lines,
            zone,
            zone_name,
            starting_deadline_seconds,
            exclude: schedule.exclude.iter().enumerate().map(excluded).collect::<Result<_, _>>()?,
            not_before: schedule.not_before.as_ref().map(|time| time.0),
            not_after: schedule.not_after.as_ref().map(|time| time.0),
            gap: daylight_saving.gap.unwrap_or_default(),
            overlap: daylight_saving.overlap.unwrap_or_default(),
        })
    }

    /// Returns a name for the slots of this schedule, 16 hexadecimal digits: two schedules with the same name have the same
    /// slots at all times. It names lines, zone, excluded days, bounds and what becomes of slots at clock changes, in the
    /// order that they are in by themselves, and nothing that only decides what becomes of a slot. Part of what is stored: a
    /// change here would make every schedule look edited.
    #[must_use]
    pub fn slots_hash(&self) -> String {
        let lines: BTreeSet<&str> = self.lines.iter().map(CronLine::as_str).collect();
        let bound = |time: Option<Timestamp>| time.map_or(String::new(), |time| time.as_nanosecond().to_string());
        let gap = match self.gap {
            GapPolicy::Skip => "skip",
            GapPolicy::RunAfter => "run-after",
        };
        let overlap = match self.overlap {
            OverlapPolicy::Both => "both",
            OverlapPolicy::First => "first",
            OverlapPolicy::Last => "last",
        };
        let mut parts: Vec<String> = lines.into_iter().map(str::to_owned).collect();
        parts.push(self.zone_name.clone());
        parts.extend([bound(self.not_before), bound(self.not_after), gap.to_owned(), overlap.to_owned()]);
        parts.extend(self.exclude.iter().map(|day| format!("{:04}-{:02}-{:02}", day.year(), day.month(), day.day())));
        format!("{:016x}", cron::hash(&parts.join("\n")))
    }

    /// Returns a lower bound of the seconds between two slots, and never more than the true shortest gap that lies in the
    /// two years after `now`. Days are taken as adjacent whether or not the lines run on them, so a weekly line counts as
    /// a daily one; clock changes, which shorten a gap, are looked at one by one.
    #[must_use]
    pub fn shortest_gap_seconds(&self, now: Timestamp) -> i64 {
        const DAY: i64 = 24 * 60;
        let mut named = Minutes::default();
        self.lines.iter().for_each(|line| named.join(line.minutes()));
        let minutes: Vec<i64> = named.iter().map(i64::from).collect();
        let around_midnight = minutes.first().zip(minutes.last()).map(|(first, last)| first + DAY - last);
        let ordinary = minutes.windows(2).map(|w| w[1] - w[0]).chain(around_midnight).min().unwrap_or(DAY) * 60;
        self.zone
            .following(now)
            .take_while(|change| change.timestamp().as_second() < now.as_second() + 2 * 366 * 86_400)
            .map(|change| self.shortest_gap_around(change.timestamp()))
            .min()
            .map_or(ordinary, |around| ordinary.min(around))
    }

    /// The shortest gap between slots within a day of a clock change, as if the lines ran on every day.
    fn shortest_gap_around(&self, change: Timestamp) -> i64 {
        let day = Span::new().hours(25);
        let mut slots: Vec<Timestamp> =
            self.lines.iter().flat_map(|line| line.on_every_day().between(change - day, change + day, &self.zone)).collect();
        slots.sort_unstable();
        slots.dedup();
        slots.windows(2).map(|two| two[1].as_second() - two[0].as_second()).min().unwrap_or(i64::MAX)
    }

    /// Returns two lines that share slots, where there are such.
    #[must_use]
    pub fn shared_slots(&self) -> Option<(usize, usize)> {
        (0..self.lines.len())
            .flat_map(|a| (a + 1..self.lines.len()).map(move |b| (a, b)))
            .find(|&(a, b)| self.lines[a].may_coincide(&self.lines[b]))
    }

    /// The lines and the zone, to be read by people.
    #[must_use]
    pub fn describe(&self) -> String {
        let lines: Vec<&str> = self.lines.iter().map(CronLine::as_str).collect();
        let lines = lines.join(" | ");
        if self.zone_name == "UTC" { lines } else { format!("{lines} ({})", self.zone_name) }
    }

    /// A slot in the schedule's zone, to be read by people.
    #[must_use]
    pub fn describe_slot(&self, slot: Timestamp) -> String {
        slot.to_zoned(self.zone.clone()).strftime("%Y-%m-%d %H:%M %Z").to_string()
    }
}

/// A day as `2026-12-25`, and in no other of the ways that a day can be written.
fn excluded(text: &str) -> Option<Date> {
    let plain =
        text.len() == 10 && text.bytes().enumerate().all(|(n, byte)| if n == 4 || n == 7 { byte == b'-' } else { byte.is_ascii_digit() });
    text.parse().ok().filter(|_| plain)
}
