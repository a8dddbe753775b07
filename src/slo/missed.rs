//! Slots that brought no run, by days.

use jiff::{SignedDuration, Timestamp, civil::Date, tz::TimeZone};

use crate::{api::NotRun, schedule::Schedule};

/// The longest window: what lies further back is in none.
const DAYS: usize = 91;

/// Neighbouring slots that were missed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missed {
    /// As they are told.
    pub(super) group: NotRun,
    /// How many of them each day has.
    pub(super) days: Vec<(Date, i64)>,
}

impl Missed {
    /// Counts slots of a schedule by days. Costs by the day, and no more than a window has.
    #[must_use]
    pub fn of(group: &NotRun, schedule: &Schedule) -> Self {
        let (first, last) = (group.first_slot.0, group.last_slot.0);
        if count(schedule, first - SECOND, last) != group.slots {
            // They were another schedule's, or some of a longer group have run: on which days they lie is not known.
            return Self { group: group.clone(), days: vec![(day(last), group.slots)] };
        }
        let mut days = Vec::new();
        let mut at = Some(day(last));
        while let Some(date) = at.filter(|date| *date >= day(first) && days.len() < DAYS) {
            let (begin, end) = (midnight(date).max(first), date.tomorrow().map_or(Timestamp::MAX, midnight).min(last + SECOND));
            let slots = if day(first) == day(last) { group.slots } else { count(schedule, begin - SECOND, end - SECOND) };
            days.push((date, slots));
            at = date.yesterday().ok();
        }
        days.reverse();
        Self { group: group.clone(), days }
    }
}

pub(super) const SECOND: SignedDuration = SignedDuration::from_secs(1);

/// The day of a time, from midnight to midnight UTC.
pub(super) fn day(time: Timestamp) -> Date {
    time.to_zoned(TimeZone::UTC).date()
}

/// The beginning of a day.
pub(super) fn midnight(day: Date) -> Timestamp {
    day.to_zoned(TimeZone::UTC).map_or(Timestamp::MAX, |midnight| midnight.timestamp())
}

/// How many slots the schedule has after `from`, up to and with `until`.
pub(super) fn count(schedule: &Schedule, from: Timestamp, until: Timestamp) -> i64 {
    i64::try_from(schedule.count(from, until)).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;
    use crate::api::{self, Outcome};

    #[test]
    fn missed_slots_are_told_by_days_and_a_year_of_them_as_far_as_a_window_goes() {
        let written = api::Schedule { cron: vec!["*/20 * * * *".to_owned()], ..api::Schedule::default() };
        let schedule = Schedule::parse(&written, "ns", "t").unwrap();
        let missed = |first: &str, last: &str| {
            let (first, last): (Timestamp, Timestamp) = (first.parse().unwrap(), last.parse().unwrap());
            let slots = count(&schedule, first - SECOND, last);
            let group = NotRun { outcome: Outcome::Missed, reason: "R".to_owned(), first_slot: Time(first), last_slot: Time(last), slots };
            Missed::of(&group, &schedule)
        };
        let days = |missed: &Missed| missed.days.iter().map(|(day, slots)| (day.to_string(), *slots)).collect::<Vec<_>>();
        let of = |day: &str, slots: i64| (day.to_owned(), slots);
        assert_eq!(days(&missed("2026-11-27T10:00:00Z", "2026-11-27T10:40:00Z")), [of("2026-11-27", 3)]);
        let nights = missed("2026-11-26T23:20:00Z", "2026-11-28T00:00:00Z");
        assert_eq!(days(&nights), [of("2026-11-26", 2), of("2026-11-27", 72), of("2026-11-28", 1)]);
        let other = Schedule::parse(&api::Schedule { cron: vec!["* * * * *".to_owned()], ..api::Schedule::default() }, "ns", "t").unwrap();
        let of_another = Missed::of(&missed("2026-11-26T00:00:00Z", "2026-11-28T00:00:00Z").group, &other);
        assert_eq!(days(&of_another), [of("2026-11-28", 145)], "the schedule was edited since");
        let year = missed("2025-11-27T00:00:00Z", "2026-11-26T23:40:00Z");
        assert_eq!((year.days.len(), year.days.iter().map(|(_, slots)| slots).sum::<i64>()), (91, 91 * 72));
    }
}
