use std::collections::BTreeSet;

use jiff::{SignedDuration, Zoned};
use proptest::prelude::*;

use super::*;

fn line(text: &str) -> CronLine {
    CronLine::parse(text, "ns/task").unwrap()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// What the CronJob controller's parser makes of a line of plain numbers, written down from its documentation and not from
/// our code. Panics on whatever it would refuse.
struct Reference {
    fields: Vec<(BTreeSet<u32>, bool)>,
}

impl Reference {
    fn parse(text: &str) -> Self {
        let bounds = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 6)];
        let written: Vec<&str> = text.split(' ').collect();
        assert_eq!(written.len(), 5, "{text:?} has no five fields");
        let fields = written.iter().zip(bounds).map(|(field, bounds)| Self::field(field, bounds)).collect();
        Self { fields }
    }

    fn field(text: &str, (low, high): (u32, u32)) -> (BTreeSet<u32>, bool) {
        let (mut values, mut star) = (BTreeSet::new(), false);
        for item in text.split(',') {
            let mut parts = item.split('/');
            let range = parts.next().unwrap();
            let step: usize = parts.next().map_or(1, |step| step.parse().unwrap());
            assert!(parts.next().is_none() && step > 0, "{item:?}");
            let (from, to) = match range.split_once('-') {
                _ if range == "*" => {
                    star |= step == 1;
                    (low, high)
                }
                Some((from, to)) => (from.parse().unwrap(), to.parse().unwrap()),
                None => (range.parse().unwrap(), if item.contains('/') { high } else { range.parse().unwrap() }),
            };
            assert!(low <= from && from <= to && to <= high, "{item:?} is not within {low} to {high}");
            values.extend((from..=to).step_by(step));
        }
        (values, star)
    }

    fn matches(&self, wall: &Zoned) -> bool {
        let has = |field: usize, value: i8| self.fields[field].0.contains(&u32::try_from(value).unwrap());
        let (month_day, weekday) = (has(2, wall.day()), has(4, wall.weekday().to_sunday_zero_offset()));
        let day = if self.fields[2].1 || self.fields[4].1 { month_day && weekday } else { month_day || weekday };
        has(0, wall.minute()) && has(1, wall.hour()) && has(3, wall.month()) && day
    }

    /// Every minute in `(after, until]` at which the wall clock matches, by looking at each.
    fn walk(&self, after: Timestamp, until: Timestamp, zone: &TimeZone) -> Vec<Timestamp> {
        let first = after.as_second().div_euclid(60) + 1;
        let minutes = (first..=until.as_second().div_euclid(60)).map(|minute| Timestamp::from_second(minute * 60).unwrap());
        minutes.filter(|minute| self.matches(&minute.to_zoned(zone.clone()))).collect()
    }
}

#[test]
fn every_form_is_resolved_to_what_the_cron_job_api_takes() {
    for (written, resolved) in [
        ("30 2 * * 1-5", "30 2 * * 1-5"),
        ("  0   6  1 1 *  ", "0 6 1 1 *"),
        ("@hourly", "0 * * * *"),
        ("@daily", "0 0 * * *"),
        ("@midnight", "0 0 * * *"),
        ("@Weekly", "0 0 * * 0"),
        ("@monthly", "0 0 1 * *"),
        ("@yearly", "0 0 1 1 *"),
        ("@annually", "0 0 1 1 *"),
        ("*/15 ? * * ?", "*/15 * * * *"),
        ("*/1 * * * *", "*/1 * * * *"),
        ("5/20 * * * *", "5-59/20 * * * *"),
        ("0,30,45-50/2 8-18/2 * * *", "0,30,45-50/2 8-18/2 * * *"),
        ("0 0 1 jan,FEB Mon-Fri", "0 0 1 1,2 1-5"),
        ("0 0 * * 7", "0 0 * * 0"),
        ("0 0 * * sun", "0 0 * * 0"),
        ("0 0 * * 5-7", "0 0 * * 0,5,6"),
        ("0 0 * * 1-7/2", "0 0 * * 0,1,3,5"),
        ("0 0 * * 7/2", "0 0 * * 0-6/2"),
        ("0 0 * * 7,3", "0 0 * * 0,3"),
        ("59/4294967295 0 * * *", "59 0 * * *"),
    ] {
        let parsed = line(written);
        assert_eq!(parsed.as_str(), resolved, "{written:?}");
        Reference::parse(parsed.as_str());
        assert_eq!(line(resolved), parsed, "{written:?} does not stay what it is when it is parsed again");
    }
}

#[test]
fn every_refusal_names_the_field_and_the_fix() {
    let five = "want five (minute hour day-of-month month day-of-week) or @hourly, @daily, @weekly, @monthly, @yearly";
    let word = "unknown word; want @hourly, @daily, @weekly, @monthly or @yearly".to_owned();
    let backwards = "the range runs backwards; put the lower value first";
    let step = "the step after '/' must be a number above 0";
    for (written, told) in [
        ("", format!("has 0 fields; {five}")),
        ("0 2 * *", format!("has 4 fields; {five}")),
        ("0 0 2 * * *", format!("has 6 fields; {five}")),
        ("TZ=UTC 0 2 * * *", format!("has 6 fields; {five}")),
        ("@every 1h", word.clone()),
        ("@reboot", word),
        ("60 * * * *", r#"minute "60": want a value from 0 to 59"#.to_owned()),
        ("-1 * * * *", r#"minute "-1": want a value from 0 to 59"#.to_owned()),
        ("+1 * * * *", r#"minute "+1": want a value from 0 to 59"#.to_owned()),
        ("1,,2 * * * *", r#"minute "": want a value from 0 to 59"#.to_owned()),
        ("0 24 * * *", r#"hour "24": want a value from 0 to 23"#.to_owned()),
        ("0 0 0 * *", r#"day-of-month "0": want a value from 1 to 31"#.to_owned()),
        ("0 0 L * *", r#"day-of-month "L": want a value from 1 to 31"#.to_owned()),
        ("0 0 * 13 *", r#"month "13": want a value from 1 to 12"#.to_owned()),
        ("0 0 * MON *", r#"month "MON": want a value from 1 to 12"#.to_owned()),
        ("0 0 * * 8", r#"day-of-week "8": want a value from 0 to 7"#.to_owned()),
        ("0 0 * * 1#2", r#"day-of-week "1#2": want a value from 0 to 7"#.to_owned()),
        ("0 0 * * 5-1", format!(r#"day-of-week "5-1": {backwards}"#)),
        ("0 0 * * FRI-MON", format!(r#"day-of-week "FRI-MON": {backwards}"#)),
        ("H(30-10) * * * *", format!(r#"minute "H(30-10)": {backwards}"#)),
        ("*/0 * * * *", format!(r#"minute "*/0": {step}"#)),
        ("*/x * * * *", format!(r#"minute "*/x": {step}"#)),
        ("*/ * * * *", format!(r#"minute "*/": {step}"#)),
        ("1-5/2/3 * * * *", format!(r#"minute "1-5/2/3": {step}"#)),
        ("H3 * * * *", r#"minute "H3": want H, H(low-high), H/step or H(low-high)/step"#.to_owned()),
        ("H(0-99) * * * *", r#"minute "H(0-99)": want a value from 0 to 59"#.to_owned()),
        ("0 0 30 2 *", "names no day that exists".to_owned()),
        ("0 0 31 2,4,6,9,11 *", "names no day that exists".to_owned()),
    ] {
        assert_eq!(CronLine::parse(written, "ns/task").unwrap_err().to_string(), told, "{written:?}");
    }
}

#[test]
fn h_is_stable_for_ever_and_stays_within_its_bounds() {
    // These values are part of the API: a change would move every `H` of every user.
    for (written, resolved) in [
        ("H 2 * * *", "5 2 * * *"),
        ("H H H H H", "5 3 1 9 2"),
        ("H/15 * * * *", "5-59/15 * * * *"),
        ("H(0-29)/10 * * * *", "5-29/10 * * * *"),
        ("0 H(1-5) * * *", "0 4 * * *"),
        ("h 0 * * h(6-7)", "5 0 * * 6"),
    ] {
        assert_eq!(CronLine::parse(written, "etl/nightly-import").unwrap().as_str(), resolved, "{written:?}");
    }
    for n in 0..500 {
        let resolved = CronLine::parse("H(10-20) H(1-5) H * H", &format!("ns/task-{n}")).unwrap();
        let fields: Vec<u32> = resolved.as_str().split(' ').filter_map(|field| field.parse().ok()).collect();
        assert!((10..=20).contains(&fields[0]) && (1..=5).contains(&fields[1]) && (1..=28).contains(&fields[2]) && fields[3] <= 6);
    }
}

#[test]
fn h_spreads_a_thousand_names_evenly_and_each_field_on_its_own() {
    let mut minutes = [0; 60];
    let mut hours = [0; 24];
    let mut both = BTreeSet::new();
    for n in 0..1000 {
        let resolved = CronLine::parse("H H * * *", &format!("team-{}/job-{n}", n % 7)).unwrap();
        let fields: Vec<usize> = resolved.as_str().split(' ').take(2).map(|field| field.parse().unwrap()).collect();
        minutes[fields[0]] += 1;
        hours[fields[1]] += 1;
        both.insert((fields[0], fields[1]));
    }
    // 17 and 42 are expected; a fair hash is hardly ever further off than four standard deviations.
    assert!(minutes.iter().all(|n| (2..=34).contains(n)), "{minutes:?}");
    assert!(hours.iter().all(|n| (16..=68).contains(n)), "{hours:?}");
    // 1000 fair draws from 1440 hit about 720 different ones; dependent fields would hit a few dozen.
    assert!(both.len() > 650, "{}", both.len());
}

#[test]
fn a_day_matches_by_either_field_where_both_are_restricted_and_by_both_otherwise() {
    let days = |text: &str| -> Vec<i8> {
        let (line, zone) = (line(text), TimeZone::UTC);
        line.between(at("2026-06-01T00:00:00Z") - 1.second(), at("2026-06-30T23:59:00Z"), &zone)
            .iter()
            .map(|slot| slot.to_zoned(zone.clone()).day())
            .collect()
    };
    assert_eq!(days("0 0 13 * 5"), [5, 12, 13, 19, 26], "the 13th or a Friday");
    assert_eq!(days("0 0 * * 5"), [5, 12, 19, 26]);
    assert_eq!(days("0 0 13 * *"), [13]);
    assert_eq!(days("0 0 13 * ?"), [13]);
    assert_eq!(days("0 0 10-14 * */1"), [10, 11, 12, 13, 14], "*/1 is still *");
    assert_eq!(days("0 0 */10 * 5"), [1, 5, 11, 12, 19, 21, 26], "*/10 is a restriction");
    assert_eq!(days("0 0 30 2,6 *"), [30]);
}

#[test]
fn rare_days_are_found_and_what_is_jumped_over_does_not_happen() {
    let utc = TimeZone::UTC;
    assert_eq!(line("0 0 29 2 *").next(at("2096-03-01T00:00:00Z"), &utc), Some(at("2104-02-29T00:00:00Z")), "2100 is no leap year");
    assert_eq!(line("* * * * *").next(at("2026-01-01T00:00:30Z"), &utc), Some(at("2026-01-01T00:01:00Z")));
    assert_eq!(line("0 0 * * *").next(at("2026-01-01T00:00:00Z"), &utc), Some(at("2026-01-02T00:00:00Z")), "after is not at");
    let berlin = TimeZone::get("Europe/Berlin").unwrap();
    let nightly = line("30 2 * * *");
    assert_eq!(nightly.next(at("2026-03-28T12:00:00Z"), &berlin), Some(at("2026-03-30T00:30:00Z")), "02:30 does not happen on the 29th");
    let first = nightly.next(at("2026-10-24T12:00:00Z"), &berlin).unwrap();
    assert_eq!(first, at("2026-10-25T00:30:00Z"));
    assert_eq!(nightly.next(first, &berlin), Some(at("2026-10-25T01:30:00Z")), "02:30 happens twice on the 25th");
}

#[test]
fn slots_are_in_order_where_clocks_go_back_over_midnight() {
    // Until 2011 the clocks of Newfoundland went back from 00:01 to 23:01: the next day had begun, and ended again.
    let zone = TimeZone::get("America/St_Johns").unwrap();
    let every_quarter = line("*/15 * * * *");
    let reference = Reference::parse(every_quarter.as_str());
    let (mut slot, until) = (at("2006-10-29T00:00:00Z"), at("2006-10-29T06:00:00Z"));
    for expected in reference.walk(slot, until, &zone) {
        slot = every_quarter.next(slot, &zone).unwrap();
        assert_eq!(slot, expected);
    }
}

/// A field of a line: mostly what lets slots fall into a short window.
fn field(low: u32, high: u32, names: &'static [&'static str]) -> impl Strategy<Value = String> {
    let number = (low..=high).boxed();
    let plain = number.clone().prop_map(move |n| match names.get((n - low) as usize) {
        Some(name) if n % 2 == 0 => (*name).to_owned(),
        _ => n.to_string(),
    });
    let range = (number.clone(), number).prop_map(|(a, b)| format!("{}-{}", a.min(b), a.max(b)));
    let hashed = Just("H".to_owned());
    let base = prop_oneof![3 => Just("*".to_owned()), 1 => Just("?".to_owned()), 2 => plain, 2 => range, 1 => hashed];
    let item = (base, prop::option::weighted(0.3, 1u32..20)).prop_map(|(base, step)| match step {
        Some(step) => format!("{base}/{step}"),
        None => base,
    });
    prop::collection::vec(item, 1..3).prop_map(|items| items.join(","))
}

fn any_line() -> impl Strategy<Value = String> {
    let day = prop_oneof![3 => Just("*".to_owned()), 1 => field(1, 31, &[])];
    let month = prop_oneof![5 => Just("*".to_owned()), 1 => field(1, 12, &MONTHS)];
    let weekday = prop_oneof![3 => Just("*".to_owned()), 1 => field(0, 7, &DAYS)];
    (field(0, 59, &[]), field(0, 23, &[]), day, month, weekday).prop_map(|(a, b, c, d, e)| format!("{a} {b} {c} {d} {e}"))
}

/// A time near a clock change: Sao Paulo has had none since 2019, so all of them are taken from before.
fn any_window() -> impl Strategy<Value = (TimeZone, Timestamp)> {
    let zones = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Sao_Paulo", "Asia/Kolkata", "UTC"];
    (prop::sample::select(zones.to_vec()), 0usize..3, -50_000i64..20_000).prop_map(|(name, change, seconds)| {
        let zone = TimeZone::get(name).unwrap();
        let from = at("2017-12-01T00:00:00Z");
        let change = zone.following(from).nth(change).map_or(from, |change| change.timestamp());
        (zone, change + SignedDuration::from_secs(seconds))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn slots_are_exactly_the_minutes_at_which_the_wall_clock_matches(text in any_line(), (zone, from) in any_window()) {
        let Ok(line) = CronLine::parse(&text, "ns/task") else { return Ok(()) };
        let until = from + SignedDuration::from_hours(14);
        let expected = Reference::parse(line.as_str()).walk(from, until, &zone);
        prop_assert_eq!(&line.between(from, until, &zone), &expected, "{}", line.as_str());
        let mut slot = from;
        for expected in expected.iter().take(4) {
            slot = line.next(slot, &zone).unwrap();
            prop_assert_eq!(slot, *expected, "{}", line.as_str());
        }
        if expected.is_empty() {
            prop_assert!(line.next(from, &zone).is_none_or(|next| next > until));
        }
    }

    #[test]
    fn what_parses_is_taken_by_the_cron_job_api_and_parses_again_to_the_same(text in any_line(), seed in "[a-z]{1,8}/[a-z]{1,8}") {
        if let Ok(line) = CronLine::parse(&text, &seed) {
            Reference::parse(line.as_str());
            prop_assert_eq!(&CronLine::parse(line.as_str(), "another/seed").unwrap(), &line);
            prop_assert_eq!(&CronLine::parse(&text, &seed).unwrap(), &line);
        }
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC{0,40}", pieces in prop::collection::vec("[0-9*?/,()Hh@-]{1,12}", 5)) {
        let _ = CronLine::parse(&text, "ns/task");
        let _ = CronLine::parse(&pieces.join(" "), "ns/task");
    }
}
