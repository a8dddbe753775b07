use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, civil::DateTime, tz::TimeZone};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::api;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn parse(written: serde_json::Value) -> Schedule {
    let written: api::Schedule = serde_json::from_value(written).unwrap();
    Schedule::parse(&written, "ns", "task").unwrap()
}

fn with(lines: &[&str], zone: &str, gap: &str, overlap: &str) -> Schedule {
    parse(json!({ "cron": lines, "timeZone": zone, "daylightSaving": { "gap": gap, "overlap": overlap } }))
}

/// What the wall clock shows at each minute of some time, and when it shows it first and last.
struct Wall {
    shown: Vec<(Timestamp, DateTime)>,
    first: BTreeMap<DateTime, Timestamp>,
    last: BTreeMap<DateTime, Timestamp>,
}

impl Wall {
    fn of(zone: &TimeZone, after: Timestamp, until: Timestamp) -> Self {
        // A day and more before and after: no clock change repeats or jumps over more.
        let first = (after.as_second() - 26 * 3600).div_euclid(60) * 60;
        let last = until.as_second() + 26 * 3600;
        let instants = (first..=last).step_by(60).map(|second| Timestamp::from_second(second).unwrap());
        let shown: Vec<_> = instants.map(|instant| (instant, zone.to_datetime(instant))).collect();
        let last = shown.iter().map(|(instant, wall)| (*wall, *instant)).collect();
        let first = shown.iter().rev().map(|(instant, wall)| (*wall, *instant)).collect();
        Self { shown, first, last }
    }

    /// Each minute at which one of the lines runs, by a look at each: nothing here knows of stretches or sets of minutes.
    /// Clock changes are seen by comparing what the wall clock shows at one minute with what it shows at the next.
    fn slots(&self, schedule: &Schedule, lines: &[CronLine], after: Timestamp, until: Timestamp) -> Vec<Timestamp> {
        let named = |wall: DateTime| {
            let minute = u32::try_from(i32::from(wall.hour()) * 60 + i32::from(wall.minute())).unwrap();
            !schedule.exclude.contains(&wall.date()) && lines.iter().any(|line| line.on(wall.date()) && line.minutes().has(minute))
        };
        let mut found = Vec::new();
        let place = |time: Timestamp| self.shown.partition_point(|(instant, _)| *instant <= time);
        for two in self.shown[place(after) - 1..place(until)].windows(2) {
            let (instant, wall) = two[1];
            let kept = match schedule.overlap {
                OverlapPolicy::Both => true,
                OverlapPolicy::First => self.first[&wall] == instant,
                OverlapPolicy::Last => self.last[&wall] == instant,
            };
            let jumped = std::iter::successors(Some(two[0].1), |jumped| jumped.checked_add(1.minute()).ok());
            let runs_after = schedule.gap == GapPolicy::RunAfter && jumped.skip(1).take_while(|jumped| *jumped < wall).any(named);
            let bounded = schedule.not_before.is_none_or(|b| instant >= b) && schedule.not_after.is_none_or(|b| instant <= b);
            if bounded && (runs_after || (kept && named(wall))) {
                found.push(instant);
            }
        }
        found
    }
}

/// Every question has the answer that looking at each minute gives.
fn check(schedule: &Schedule, wall: &Wall, after: Timestamp, until: Timestamp) -> Result<(), TestCaseError> {
    let expected = wall.slots(schedule, &schedule.lines, after, until);
    let by_line: Vec<_> = schedule.lines.chunks(1).map(|line| wall.slots(schedule, line, after, until)).collect();
    let all = expected.len();
    prop_assert_eq!(&schedule.oldest(usize::MAX, after, until), &expected);
    prop_assert_eq!(&schedule.newest(usize::MAX, after, until), &expected);
    for limit in [0, 1, 3] {
        prop_assert_eq!(&schedule.oldest(limit, after, until), &expected[..limit.min(all)]);
        prop_assert_eq!(&schedule.newest(limit, after, until), &expected[all - limit.min(all)..]);
    }
    prop_assert_eq!(schedule.count(after, until), all as u64);
    for (n, slot) in expected.iter().enumerate().step_by(1 + all / 8) {
        let before = if n == 0 { after } else { expected[n - 1] };
        prop_assert_eq!(schedule.next(before), Some(*slot));
        prop_assert_eq!(schedule.next(*slot - SignedDuration::from_nanos(1)), Some(*slot));
        let following = expected.get(n + 1).copied().unwrap_or(until + SignedDuration::from_secs(1));
        prop_assert_eq!(schedule.previous(following), Some(*slot));
        prop_assert!(schedule.is_slot(*slot));
        let line = schedule.line_of(*slot);
        let first = by_line.iter().position(|slots| slots.contains(slot));
        prop_assert!(line.is_some() && line == first, "{:?} {:?}", line, first);
        prop_assert!(
            !schedule.is_slot(*slot + SignedDuration::from_secs(1)) && schedule.line_of(*slot + SignedDuration::from_secs(1)).is_none()
        );
    }
    let mut minute = Timestamp::from_second(after.as_second().div_euclid(60) * 60 + 60).unwrap();
    while minute <= until {
        prop_assert_eq!(schedule.is_slot(minute), expected.binary_search(&minute).is_ok());
        minute += SignedDuration::from_mins(11);
    }
    if expected.is_empty() {
        prop_assert!(schedule.next(after).is_none_or(|next| next > until));
        prop_assert!(schedule.previous(until).is_none_or(|previous| previous <= after));
    }
    Ok(())
}

/// The next two clock changes.
fn changes(zone: &TimeZone, from: &str) -> Vec<Timestamp> {
    zone.following(at(from)).take(2).map(|change| change.timestamp()).collect()
}

const ZONES: [(&str, &str); 8] = [
    ("Europe/Berlin", "2026-01-01T00:00:00Z"),
    ("America/New_York", "2026-01-01T00:00:00Z"),
    // Half an hour.
    ("Australia/Lord_Howe", "2026-01-01T00:00:00Z"),
    // At midnight.
    ("America/Havana", "2026-01-01T00:00:00Z"),
    ("Africa/Cairo", "2026-01-01T00:00:00Z"),
    ("Asia/Beirut", "2026-01-01T00:00:00Z"),
    // From 00:01 back to 23:01 of the day before.
    ("America/St_Johns", "2006-01-01T00:00:00Z"),
    // Over a whole day, 30 December.
    ("Pacific/Apia", "2011-12-01T00:00:00Z"),
];

#[test]
fn at_every_clock_change_and_under_every_policy_the_slots_are_those_that_a_look_at_each_minute_finds() {
    let lines: [&[&str]; 7] = [
        &["30 2 * * *"],
        &["*/10 1-3 * * *"],
        &["0 0 * * *"],
        &["15 * * * *"],
        &["30 1 * * 0"],
        &["30 0 * * *", "*/20 * * * *", "0 1 * * *"],
        &["59 23 * * 6", "45 1 * * *", "0 12 30 12 *"],
    ];
    for (zone, from) in ZONES {
        for change in changes(&TimeZone::get(zone).unwrap(), from) {
            let window = (change - SignedDuration::from_hours(3), change + SignedDuration::from_hours(3));
            let wall = Wall::of(&TimeZone::get(zone).unwrap(), window.0, window.1);
            for (lines, gap, overlap) in lines.iter().flat_map(|lines| {
                [("Skip", "Both"), ("RunAfter", "Both"), ("Skip", "First"), ("RunAfter", "Last")]
                    .map(|(gap, overlap)| (lines, gap, overlap))
            }) {
                let schedule = with(lines, zone, gap, overlap);
                if let Err(error) = check(&schedule, &wall, window.0, window.1) {
                    panic!("{lines:?} in {zone} around {change}, {gap} and {overlap}: {error}");
                }
            }
        }
    }
}

#[test]
fn times_that_the_clocks_jump_over_happen_once_at_the_end_of_the_jump() {
    let spring = (at("2026-03-29T00:00:00Z"), at("2026-03-29T03:00:00Z"));
    let slots = |lines: &[&str]| with(lines, "Europe/Berlin", "RunAfter", "Both").oldest(9, spring.0, spring.1);
    // 03:00 in Berlin, the first moment after 01:59.
    let jump = at("2026-03-29T01:00:00Z");
    assert_eq!(slots(&["30 2 * * *"]), [jump]);
    assert_eq!(slots(&["*/10 2 * * *"]), [jump], "all of them together");
    assert_eq!(slots(&["30 2 * * *", "0 3 * * *"]), [jump], "together with one that is there anyway");
    assert_eq!(slots(&["30 2 * * *", "15 3 * * *"]), [jump, at("2026-03-29T01:15:00Z")]);
    let schedule = with(&["0 5 * * *", "0 3 * * *", "30 2 * * *"], "Europe/Berlin", "RunAfter", "Both");
    assert_eq!(schedule.line_of(jump), Some(1), "the first that names it");
    assert_eq!(with(&["30 2 * * *"], "Europe/Berlin", "RunAfter", "Both").previous(at("2026-03-30T00:00:00Z")), Some(jump));
    let samoa = with(&["0 6,18 * * *"], "Pacific/Apia", "RunAfter", "Both");
    let days = (at("2011-12-30T09:00:00Z"), at("2011-12-30T20:00:00Z"));
    assert_eq!(
        samoa.oldest(9, days.0, days.1),
        [at("2011-12-30T10:00:00Z"), at("2011-12-30T16:00:00Z")],
        "30 December, and 31 December 06:00"
    );
}

#[test]
fn times_that_the_clocks_show_twice_happen_as_often_as_is_said() {
    let (first, second) = (at("2026-10-25T00:30:00Z"), at("2026-10-25T01:30:00Z"));
    let night = (at("2026-10-24T20:00:00Z"), at("2026-10-25T20:00:00Z"));
    for (overlap, expected) in [("Both", vec![first, second]), ("First", vec![first]), ("Last", vec![second])] {
        let schedule = with(&["30 2 * * *"], "Europe/Berlin", "Skip", overlap);
        assert_eq!(schedule.oldest(9, night.0, night.1), expected, "{overlap}");
        assert_eq!(schedule.count(night.0, night.1), expected.len() as u64, "{overlap}");
        assert_eq!(schedule.line_of(first).is_some(), expected.contains(&first), "{overlap}");
    }
}

#[test]
fn a_slot_is_excluded_by_the_day_that_names_it() {
    let excluding = |day: &str, gap: &str, lines: &[&str], zone: &str| {
        parse(json!({ "cron": lines, "timeZone": zone, "exclude": [day], "daylightSaving": { "gap": gap } }))
    };
    let berlin = excluding("2026-12-25", "Skip", &["30 0 * * *"], "Europe/Berlin");
    let slots = berlin.oldest(3, at("2026-12-23T12:00:00Z"), at("2026-12-28T00:00:00Z"));
    assert_eq!(
        slots,
        [at("2026-12-23T23:30:00Z"), at("2026-12-25T23:30:00Z"), at("2026-12-26T23:30:00Z")],
        "by Berlin's days, not by UTC's"
    );
    // 30 December does not happen in Samoa; what it names runs at the first moment of the 31st.
    let (jump, six) = (at("2011-12-30T10:00:00Z"), at("2011-12-30T16:00:00Z"));
    let samoa = |day: &str| {
        excluding(day, "RunAfter", &["0 6 * * *"], "Pacific/Apia").oldest(9, at("2011-12-30T09:00:00Z"), at("2011-12-30T20:00:00Z"))
    };
    assert_eq!(samoa("2011-12-29"), [jump, six]);
    assert_eq!(samoa("2011-12-30"), [six], "the day that was jumped over is the one that names the slot at the jump");
    assert_eq!(samoa("2011-12-31"), [jump]);
    let both = excluding("2011-12-30", "RunAfter", &["0 0,6 * * *"], "Pacific/Apia");
    assert_eq!(both.oldest(1, at("2011-12-30T09:00:00Z"), at("2011-12-30T20:00:00Z")), [jump], "midnight of the 31st is a slot of its own");
}

#[test]
fn a_day_without_slots_has_none_and_both_bounds_belong_to_the_schedule() {
    let schedule = parse(json!({
        "cron": ["0 */6 * * *"], "exclude": ["2026-12-02"],
        "notBefore": "2026-12-01T06:00:00Z", "notAfter": "2026-12-03T06:00:00Z",
    }));
    let all =
        ["2026-12-01T06:00:00Z", "2026-12-01T12:00:00Z", "2026-12-01T18:00:00Z", "2026-12-03T00:00:00Z", "2026-12-03T06:00:00Z"].map(at);
    assert_eq!(schedule.oldest(99, Timestamp::MIN, Timestamp::MAX), all);
    assert_eq!(schedule.newest(99, Timestamp::MIN, Timestamp::MAX), all);
    assert_eq!(schedule.newest(2, Timestamp::MIN, Timestamp::MAX), all[3..]);
    assert_eq!(schedule.count(Timestamp::MIN, Timestamp::MAX), 5);
    assert_eq!((schedule.next(all[4]), schedule.previous(all[0])), (None, None));
    assert_eq!((schedule.next(at("2020-01-01T00:00:00Z")), schedule.previous(at("2030-01-01T00:00:00Z"))), (Some(all[0]), Some(all[4])));
    assert!(!schedule.is_slot(at("2026-12-02T06:00:00Z")) && !schedule.is_slot(at("2026-12-01T00:00:00Z")));
}

#[test]
fn a_search_ends_where_there_is_nothing_to_find() {
    let days =
        |from: jiff::civil::Date, step: jiff::Span| -> Vec<String> { from.series(step).take(366).map(|day| day.to_string()).collect() };
    let now = at("2026-01-01T00:00:00Z");
    let yearly = parse(json!({ "cron": ["0 0 1 1 *"], "exclude": days(jiff::civil::date(2026, 1, 1), 1.year()) }));
    assert_eq!(yearly.next(now), Some(at("2392-01-01T00:00:00Z")), "beyond all that is excluded");
    assert_eq!(yearly.previous(at("2392-01-01T00:00:00Z")), Some(at("2025-01-01T00:00:00Z")));
    let leap = parse(json!({ "cron": ["0 0 29 2 *"] }));
    assert_eq!(leap.next(at("2096-03-01T00:00:00Z")), Some(at("2104-02-29T00:00:00Z")));
    assert_eq!(leap.previous(at("2104-02-29T00:00:00Z")), Some(at("2096-02-29T00:00:00Z")));
    let over = parse(json!({ "cron": ["* * * * *"], "notAfter": "2025-01-01T00:00:00Z" }));
    assert_eq!((over.next(now), over.count(now, Timestamp::MAX)), (None, 0));
    let to_come = parse(json!({ "cron": ["* * * * *"], "notBefore": "2125-01-01T00:00:00Z" }));
    assert_eq!((to_come.next(now), to_come.previous(now)), (Some(at("2125-01-01T00:00:00Z")), None));
    let never =
        Schedule { exclude: yearly.exclude.clone(), not_after: Some(at("2392-01-01T00:00:00Z") - SignedDuration::from_secs(1)), ..yearly };
    assert_eq!(never.next(now), None);
    let end = parse(json!({ "cron": ["0 0 1 1 *"] }));
    assert_eq!((end.next(Timestamp::MAX), end.previous(Timestamp::MIN)), (None, None));
}

#[test]
fn ten_years_of_minutes_are_counted_by_the_day() {
    let (after, until) = (at("2026-01-01T00:00:00Z"), at("2036-01-01T00:00:00Z"));
    let minutes = u64::try_from((until.as_second() - after.as_second()) / 60).unwrap();
    for zone in ["UTC", "Europe/Berlin", "Australia/Lord_Howe", "Asia/Kolkata"] {
        let minutely = with(&["* * * * *", "*/5 * * * *"], zone, "Skip", "Both");
        assert_eq!(minutely.count(after, until), minutes, "{zone}: each minute of the wall clock is one of the world's");
        let mut days = 0u64;
        minutely.walk(&minutely.lines, (after.as_second(), until.as_second()), From::Oldest, |_, _| {
            days += 1;
            true
        });
        assert!(days < 3652 + 50, "{zone}: {days} steps");
        let mut steps = 0;
        minutely.walk(&minutely.lines, (after.as_second(), until.as_second()), From::Newest, |_, minutes| {
            steps += minutes.count();
            steps < 20
        });
        assert!(steps <= 2 * 1440, "{zone}: the newest are found at the end");
        // Ten hours are shown twice, and half-hours in Lord Howe; each of them once leaves as many out.
        let once = with(&["* * * * *"], zone, "Skip", "First").count(after, until);
        let twice = match zone {
            "Europe/Berlin" => 10 * 60,
            "Australia/Lord_Howe" => 10 * 30,
            _ => 0,
        };
        assert_eq!(once + twice, minutes, "{zone}");
    }
}

fn any_schedule() -> impl Strategy<Value = (Schedule, Timestamp)> {
    let line = (
        "(\\*|[0-5]?[0-9](,[0-5]?[0-9])?|\\*/[1-9]|\\*/[1-3][0-9])",
        "(\\*|[0-3]|0-4|1-3|23|0,23|\\*/2)",
        "(\\*|\\*|[1-9]|2[0-9]|30)",
        "(\\*|\\*|[0-6]|1-5|6,0)",
    )
        .prop_map(|(minute, hour, day, weekday)| format!("{minute} {hour} {day} * {weekday}"));
    let lines = prop::collection::btree_set(line, 1..4);
    let policies = (prop::sample::select(vec!["Skip", "RunAfter"]), prop::sample::select(vec!["Both", "First", "Last"]));
    let change = (prop::sample::select(ZONES.to_vec()), 0usize..2);
    // Seconds around the change: where the question begins, and where the schedule begins and ends, if it does.
    let seconds = (-40_000i64..20_000, prop::option::weighted(0.3, -20_000i64..20_000), prop::option::weighted(0.3, 0i64..40_000));
    (lines, policies, change, prop::collection::btree_set(-2i64..3, 0..2), seconds).prop_map(
        |(lines, policies, (zone, n), excluded, seconds)| {
            let (zone, from) = zone;
            let change = changes(&TimeZone::get(zone).unwrap(), from)[n];
            let of_day = |n: i64| change.to_zoned(TimeZone::UTC).date().checked_add(n.days()).unwrap().to_string();
            let moved = |seconds: i64| (change + SignedDuration::from_secs(seconds)).to_string();
            let mut written = json!({
                "cron": lines, "timeZone": zone, "exclude": excluded.into_iter().map(of_day).collect::<Vec<_>>(),
                "daylightSaving": { "gap": policies.0, "overlap": policies.1 },
            });
            if let Some(seconds) = seconds.1 {
                written["notBefore"] = json!(moved(seconds));
            }
            if let Some(seconds) = seconds.2 {
                written["notAfter"] = json!(moved(seconds));
            }
            (parse(written), change + SignedDuration::from_secs(seconds.0))
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_schedule_has_the_slots_that_a_look_at_each_minute_finds((schedule, after) in any_schedule()) {
        let until = after + SignedDuration::from_hours(14);
        check(&schedule, &Wall::of(&schedule.zone, after, until), after, until)?;
    }

    #[test]
    fn where_nothing_is_said_the_slots_are_what_the_lines_have_under_kubernetes_clock((schedule, after) in any_schedule(), days in 1i64..40) {
        let unset = Schedule {
            exclude: BTreeSet::new(), not_before: None, not_after: None, gap: GapPolicy::Skip, overlap: OverlapPolicy::Both, ..schedule
        };
        let until = after + SignedDuration::from_hours(24 * days);
        let of_lines: BTreeSet<Timestamp> = unset.lines.iter().flat_map(|line| line.between(after, until, &unset.zone)).collect();
        prop_assert_eq!(unset.count(after, until), of_lines.len() as u64);
        prop_assert_eq!(unset.oldest(usize::MAX, after, until), of_lines.into_iter().collect::<Vec<_>>());
        prop_assert_eq!(unset.next(after), unset.lines.iter().filter_map(|line| line.next(after, &unset.zone)).min());
    }

    #[test]
    fn counts_of_parts_add_up((schedule, after) in any_schedule(), first in 0i64..100_000_000, second in 0i64..100_000_000) {
        let (middle, until) = (after + SignedDuration::from_secs(first), after + SignedDuration::from_secs(first + second));
        prop_assert_eq!(schedule.count(after, middle) + schedule.count(middle, until), schedule.count(after, until));
    }
}
