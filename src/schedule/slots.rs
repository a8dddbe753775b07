//! The slots of a schedule: which there are, how many, and which comes next.
//!
//! The time line is cut where the zone's offset changes. Within such a stretch the wall clock runs evenly, so a local day
//! is a set of minutes that is moved by one offset; the two clock changes of a year only decide where stretches begin and
//! end. Nothing here looks at single minutes except to return them, so a question costs by the day and not by the slot.

use jiff::{SignedDuration, Timestamp, ToSpan, civil::Date};

use super::{
    CronLine, Schedule,
    minutes::{DAY, Minutes},
};
use crate::api::{GapPolicy, OverlapPolicy};

#[cfg(test)]
mod tests;

const DAY_SECONDS: i64 = 86_400;

/// A day on which no line runs for so many days in a row is followed by no other: the rarest, 29 February, comes back
/// within eight years.
const IDLE_DAYS: u32 = 9 * 366;

/// Some time without a change of offset. All in seconds, instants as Unix time.
struct Stretch {
    /// Its first instant.
    from: i64,
    /// The first instant after it.
    end: i64,
    /// How far the wall clock is ahead of UTC.
    offset: i64,
    /// The offset that it had before, the same where there was none.
    before: i64,
    /// The offset that it has afterwards, the same where there is none.
    after: i64,
}

/// One end of a walk, and the way it goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum From {
    Oldest,
    Newest,
}

impl Schedule {
    /// Returns the first slot after `after`. None where there is no more, which is found out quickly.
    #[must_use]
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        self.oldest(1, after, Timestamp::MAX).pop()
    }

    /// Returns the last slot before `before`, whether or not the schedule was there already.
    #[must_use]
    pub fn previous(&self, before: Timestamp) -> Option<Timestamp> {
        let until = before.checked_sub(SignedDuration::from_nanos(1)).ok()?;
        self.newest(1, Timestamp::MIN, until).pop()
    }

    /// Returns the oldest slots after `after`, up to and with `until`, at most `limit` of them, in order.
    #[must_use]
    pub fn oldest(&self, limit: usize, after: Timestamp, until: Timestamp) -> Vec<Timestamp> {
        self.some(&self.lines, limit, after, until, From::Oldest)
    }

    /// Returns the newest slots after `after`, up to and with `until`, at most `limit` of them, in order. What lies between
    /// `after` and them is not looked at.
    #[must_use]
    pub fn newest(&self, limit: usize, after: Timestamp, until: Timestamp) -> Vec<Timestamp> {
        self.some(&self.lines, limit, after, until, From::Newest)
    }

    /// Returns how many slots there are after `after`, up to and with `until`. Costs by the day, not by the slot.
    #[must_use]
    pub fn count(&self, after: Timestamp, until: Timestamp) -> u64 {
        let mut count = 0;
        self.walk(&self.lines, (floor(after).saturating_add(1), floor(until)), From::Oldest, |_, minutes| {
            count += u64::from(minutes.count());
            true
        });
        count
    }

    /// Whether there is a slot at exactly this time.
    #[must_use]
    pub fn is_slot(&self, time: Timestamp) -> bool {
        self.has(&self.lines, time)
    }

    /// Returns the index of the first line that names this slot; none where it is no slot.
    #[must_use]
    pub fn line_of(&self, slot: Timestamp) -> Option<usize> {
        self.lines.chunks(1).position(|line| self.has(line, slot))
    }

    fn has(&self, lines: &[CronLine], time: Timestamp) -> bool {
        let before = time.checked_sub(SignedDuration::from_nanos(1)).unwrap_or(time);
        self.some(lines, 1, before, time, From::Oldest).first() == Some(&time)
    }

    fn some(&self, lines: &[CronLine], limit: usize, after: Timestamp, until: Timestamp, from: From) -> Vec<Timestamp> {
        let mut found = Vec::new();
        if limit == 0 {
            return found;
        }
        self.walk(lines, (floor(after).saturating_add(1), floor(until)), from, |midnight, minutes| {
            let instant = |minute: u32| Timestamp::from_second(midnight + i64::from(minute) * 60).ok();
            let room = limit - found.len();
            match from {
                From::Oldest => found.extend(minutes.iter().filter_map(instant).take(room)),
                From::Newest => found.extend(minutes.iter().rev().filter_map(instant).take(room)),
            }
            found.len() < limit
        });
        if from == From::Newest {
            found.reverse();
        }
        found
    }

    /// Goes through the days of a time, given in seconds with both ends, and hands `take` each one's slots: the instant of
    /// its midnight by the offset that holds, and the minutes. A day with a clock change comes once for each offset.
    /// Ends when `take` has enough, or when no line names a day any more.
    fn walk(&self, lines: &[CronLine], (first, last): (i64, i64), from: From, mut take: impl FnMut(i64, Minutes) -> bool) {
        let first = self.not_before.map_or(first, |bound| first.max(ceiling(bound))).max(Timestamp::MIN.as_second());
        let last = self.not_after.map_or(last, |bound| last.min(floor(bound))).min(Timestamp::MAX.as_second());
        let mut at = if from == From::Oldest { first } else { last };
        let mut idle = 0;
        while first <= at && at <= last {
            let Some(stretch) = self.stretch(at) else { return };
            let (begin, end) = (first.max(stretch.from), last.min(stretch.end - 1) + 1);
            let days = (day_of(begin + stretch.offset), day_of(end - 1 + stretch.offset));
            let mut day = if from == From::Oldest { days.0 } else { days.1 };
            let mut next = date_of(day);
            while let Some(date) = next.filter(|_| days.0 <= day && day <= days.1) {
                let midnight = day * DAY_SECONDS - stretch.offset;
                let named = named(lines, date);
                idle = if named.is_some() { 0 } else { idle + 1 };
                if idle > IDLE_DAYS {
                    return;
                }
                let minutes = cut(&self.in_stretch(lines, &stretch, date, named, midnight), midnight, begin, end);
                if !minutes.is_empty() && !take(midnight, minutes) {
                    return;
                }
                (next, day) = if from == From::Oldest { (date.tomorrow().ok(), day + 1) } else { (date.yesterday().ok(), day - 1) };
            }
            at = if from == From::Oldest { stretch.end } else { stretch.from - 1 };
        }
    }

    /// The minutes of a local day that are slots within a stretch.
    fn in_stretch(&self, lines: &[CronLine], stretch: &Stretch, date: Date, named: Option<Minutes>, midnight: i64) -> Minutes {
        let repeated = (stretch.before - stretch.offset).max(0);
        let to_repeat = (stretch.offset - stretch.after).max(0);
        let begin = if self.overlap == OverlapPolicy::First { stretch.from + repeated } else { stretch.from };
        let end = if self.overlap == OverlapPolicy::Last { stretch.end - to_repeat } else { stretch.end };
        let named = named.filter(|_| !self.exclude.contains(&date)).unwrap_or_default();
        let mut minutes = cut(&named, midnight, begin, end);
        // The first minute after a jump stands for all that were jumped over. What excludes them is their own day.
        let jumped = self.gap == GapPolicy::RunAfter && stretch.before < stretch.offset;
        if jumped && (midnight..midnight + DAY_SECONDS).contains(&stretch.from) && self.names(lines, stretch) {
            minutes.insert(minute_from(stretch.from - midnight));
        }
        minutes
    }

    /// Whether a line names a time that the clocks jump over at the beginning of the stretch.
    fn names(&self, lines: &[CronLine], stretch: &Stretch) -> bool {
        let (begin, end) = (stretch.from + stretch.before, stretch.from + stretch.offset);
        (day_of(begin)..=day_of(end - 1)).any(|day| {
            let date = date_of(day).filter(|date| !self.exclude.contains(date));
            date.and_then(|date| named(lines, date)).is_some_and(|named| !cut(&named, day * DAY_SECONDS, begin, end).is_empty())
        })
    }

    /// The stretch that an instant lies in.
    fn stretch(&self, second: i64) -> Option<Stretch> {
        let offset_at = |time: Timestamp| i64::from(self.zone.to_offset(time).seconds());
        let at = Timestamp::from_second(second).ok()?;
        let offset = offset_at(at);
        let behind =
            self.zone.preceding(at.checked_add(SignedDuration::from_secs(1)).unwrap_or(at)).next().map(|change| change.timestamp());
        let ahead = self.zone.following(at).next().map(|change| change.timestamp());
        let before = behind.and_then(|behind| behind.checked_sub(SignedDuration::from_secs(1)).ok());
        Some(Stretch {
            from: behind.map_or(Timestamp::MIN.as_second(), Timestamp::as_second),
            end: ahead.map_or(Timestamp::MAX.as_second() + 1, Timestamp::as_second),
            offset,
            before: before.map_or(offset, offset_at),
            after: ahead.map_or(offset, offset_at),
        })
    }
}

/// The minutes that any of the lines names on a day; none where no line runs on it.
fn named(lines: &[CronLine], date: Date) -> Option<Minutes> {
    let mut on = lines.iter().filter(|line| line.on(date));
    let mut minutes = *on.next()?.minutes();
    for line in on {
        minutes.join(line.minutes());
    }
    Some(minutes)
}

/// The minutes of the day that begins at `midnight` which begin at `begin` or later and before `end`.
fn cut(minutes: &Minutes, midnight: i64, begin: i64, end: i64) -> Minutes {
    minutes.within(minute_from(begin - midnight), minute_from(end - midnight))
}

/// The first whole minute that is not before so many seconds of a day.
fn minute_from(seconds: i64) -> u32 {
    u32::try_from((seconds.max(0) + 59) / 60).unwrap_or(DAY).min(DAY)
}

fn day_of(local_second: i64) -> i64 {
    local_second.div_euclid(DAY_SECONDS)
}

fn date_of(day: i64) -> Option<Date> {
    Date::constant(1970, 1, 1).checked_add(i32::try_from(day).ok()?.days()).ok()
}

/// The last whole second that is not after the time.
fn floor(time: Timestamp) -> i64 {
    time.as_second() - i64::from(time.subsec_nanosecond() < 0)
}

/// The first whole second that is not before the time.
fn ceiling(time: Timestamp) -> i64 {
    time.as_second() + i64::from(time.subsec_nanosecond() > 0)
}
