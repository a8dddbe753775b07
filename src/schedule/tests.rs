use proptest::prelude::*;

use super::*;

pub(super) fn schedule(lines: &[&str], zone: Option<&str>) -> Schedule {
    Schedule::parse(&spec(lines, zone), "etl", "import").unwrap()
}

fn spec(lines: &[&str], zone: Option<&str>) -> api::Schedule {
    serde_json::from_value(serde_json::json!({ "cron": lines, "timeZone": zone })).unwrap()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

#[test]
fn the_first_wrong_line_or_zone_is_told_with_its_place() {
    let told = |lines: &[&str], zone| Schedule::parse(&spec(lines, zone), "ns", "task").unwrap_err().to_string();
    assert_eq!(told(&["@daily", "0 25 * * *"], None), r#"schedule.cron[1] "0 25 * * *": hour "25": want a value from 0 to 23"#);
    assert_eq!(
        told(&["@daily"], Some("Mars/Phobos")),
        r#"schedule.timeZone: "Mars/Phobos" is not a time zone that this release knows; use an IANA name such as Europe/Berlin"#
    );
}

#[test]
fn an_excluded_day_that_does_not_exist_is_told_with_its_place() {
    for day in ["2026-02-30", "2026-1-01", "20260101", "2026-01-01T00:00", "+02026-01-01", "", "2026-01-0x"] {
        let written = serde_json::from_value(serde_json::json!({ "cron": ["@daily"], "exclude": ["2026-12-25", day] })).unwrap();
        let told = Schedule::parse(&written, "ns", "task").unwrap_err().to_string();
        assert_eq!(told, format!("schedule.exclude[1] {day:?}: want a day that exists, as 2026-12-25"));
    }
}

#[test]
fn the_hash_of_the_slots_is_stable_for_ever_and_names_what_decides_them() {
    let hash = |written: serde_json::Value| {
        Schedule::parse(&serde_json::from_value(written).unwrap(), "etl", "nightly-import").unwrap().slots_hash()
    };
    let full = serde_json::json!({
        "cron": ["H 2 * * *", "@hourly"], "timeZone": "Europe/Berlin", "exclude": ["2026-12-25", "2026-01-01"],
        "notBefore": "2026-01-01T00:00:00Z", "notAfter": "2027-01-01T00:00:00Z", "daylightSaving": { "gap": "RunAfter", "overlap": "First" },
    });
    // Stored on every task: a change here would make each schedule look edited when the operator is updated.
    assert_eq!(hash(serde_json::json!({ "cron": ["0 0 * * *"] })), "dde88386e4a41705");
    assert_eq!(hash(serde_json::json!({ "cron": ["30 2 * * 1-5"], "timeZone": "America/New_York" })), "96dcac089faf1197");
    assert_eq!(hash(full.clone()), "e3821a3b63bd6169");
    let daily = hash(serde_json::json!({ "cron": ["0 0 * * *"] }));
    for same in [
        serde_json::json!({ "cron": ["@daily"], "timeZone": "UTC", "daylightSaving": { "gap": "Skip" } }),
        serde_json::json!({ "cron": ["0 0 * * *", "@daily"], "suspend": true, "concurrencyPolicy": "Queue", "startingDeadlineSeconds": 9000, "catchUp": { "policy": "All" } }),
    ] {
        assert_eq!(hash(same.clone()), daily, "{same}");
    }
    let mut seen: std::collections::BTreeSet<String> = [daily, hash(full.clone())].into();
    for (field, value) in [
        ("cron", serde_json::json!(["H 2 * * *"])),
        ("timeZone", serde_json::json!("Europe/Paris")),
        ("exclude", serde_json::json!(["2026-12-25"])),
        ("notBefore", serde_json::json!("2026-01-01T00:00:01Z")),
        ("notBefore", serde_json::Value::Null),
        ("notAfter", serde_json::json!("2026-01-01T00:00:00Z")),
        ("notAfter", serde_json::Value::Null),
        ("daylightSaving", serde_json::json!({ "gap": "RunAfter", "overlap": "Last" })),
        ("daylightSaving", serde_json::json!({ "overlap": "First" })),
    ] {
        let mut other = full.clone();
        other[field] = value.clone();
        assert!(seen.insert(hash(other)), "{field} {value} changes nothing");
    }
    let mut ordered = full.clone();
    (ordered["cron"], ordered["exclude"]) = (serde_json::json!(["@hourly", "H 2 * * *"]), serde_json::json!(["2026-01-01", "2026-12-25"]));
    assert_eq!(hash(ordered), hash(full), "the order in which things are written decides nothing");
}

#[test]
fn a_task_is_due_when_any_line_is() {
    let schedule = schedule(&["0 6 * * *", "30 22 * * *"], Some("Europe/Berlin"));
    let first = schedule.next(at("2026-01-10T06:00:00Z")).unwrap();
    assert_eq!(first, at("2026-01-10T21:30:00Z"));
    assert_eq!(schedule.next(first), Some(at("2026-01-11T05:00:00Z")));
}

#[test]
fn a_schedule_is_described_with_its_zone_where_that_is_not_utc() {
    assert_eq!(schedule(&["@daily", "0 12 * * 7"], None).describe(), "0 0 * * * | 0 12 * * 0");
    let berlin = schedule(&["30 2 * * *"], Some("Europe/Berlin"));
    assert_eq!(berlin.describe(), "30 2 * * * (Europe/Berlin)");
    assert_eq!(berlin.describe_slot(at("2026-07-01T00:30:00Z")), "2026-07-01 02:30 CEST");
}

#[test]
fn shared_slots_are_found_and_only_those() {
    for (lines, shared) in [
        (vec!["0 2 * * *"], None),
        (vec!["0 2 * * *", "0 3 * * *"], None),
        (vec!["0 2 * * *", "*/30 * * * *"], Some((0, 1))),
        (vec!["0 2 * * 1-5", "0 2 * * 6,7"], None),
        (vec!["0 2 * * 1-5", "0 4 * * *", "0 2 1 * *"], Some((0, 2))),
        (vec!["0 2 1 1 *", "0 2 1 2 *"], None),
        (vec!["0 2 29 2 *", "0 2 * * 3"], Some((0, 1))),
        (vec!["0 2 31 * *", "0 2 30 * *"], None),
        (vec!["@daily", "0 0 * * *"], Some((0, 1))),
    ] {
        assert_eq!(schedule(&lines, None).shared_slots(), shared, "{lines:?}");
    }
}

#[test]
fn the_shortest_gap_is_what_people_expect() {
    let now = at("2026-01-15T00:00:00Z");
    for (lines, zone, hours) in [
        (vec!["0 2 * * *"], "UTC", 24.0),
        (vec!["30 2 * * *"], "Asia/Kolkata", 24.0),
        // The night in spring is an hour shorter.
        (vec!["0 5 * * *"], "Europe/Berlin", 23.0),
        // In the hour that is repeated in autumn the night's slot comes twice.
        (vec!["30 2 * * *"], "Europe/Berlin", 1.0),
        (vec!["45 1 * * *"], "Australia/Lord_Howe", 0.5),
        (vec!["*/5 * * * *"], "UTC", 1.0 / 12.0),
        (vec!["0 23 * * *", "0 1 * * *"], "UTC", 2.0),
    ] {
        #[expect(clippy::cast_possible_truncation, reason = "a few hours")]
        let seconds = (hours * 3600.0) as i64;
        assert_eq!(schedule(&lines, Some(zone)).shortest_gap_seconds(now), seconds, "{lines:?} in {zone}");
    }
    assert_eq!(schedule(&["0 2 * * 1"], None).shortest_gap_seconds(now), 86_400, "a bound, not the gap: a weekly line counts as daily");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn the_shortest_gap_is_never_more_than_the_true_one_of_a_year(
        lines in prop::collection::vec(("[0-5]?[05](,[0-5]?7)?", "(\\*/4|0,23|2|1-3|2,14)", "(\\*|1-7)", "(\\*|1-5|7)"), 1..3),
        zone in prop::sample::select(vec!["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Sao_Paulo", "UTC"]),
        start in 0i64..300,
    ) {
        let lines: Vec<String> = lines.into_iter().map(|(m, h, dom, dow)| format!("{m} {h} {dom} * {dow}")).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let schedule = schedule(&lines, Some(zone));
        // 2018 has clock changes in Sao Paulo, too.
        let now = at("2018-01-01T00:00:00Z") + jiff::SignedDuration::from_hours(24 * start);
        let year = now + jiff::SignedDuration::from_hours(24 * 365);
        let mut slots: Vec<Timestamp> = schedule.lines.iter().flat_map(|line| line.between(now, year, &schedule.zone)).collect();
        slots.sort_unstable();
        slots.dedup();
        let shortest = slots.windows(2).map(|two| two[1].as_second() - two[0].as_second()).min();
        prop_assert!(shortest.is_none_or(|shortest| schedule.shortest_gap_seconds(now) <= shortest), "{shortest:?}");
    }
}
