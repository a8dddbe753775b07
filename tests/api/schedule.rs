//! `AutomationTask.spec.schedule` beyond its cron lines, and the parameters that a slot gives.

use serde_json::{Value, json};

use crate::{
    case::{Case, accepts, check, rejects, task},
    server::{Keep, create, patch},
    support::{install_crds, with_temp_namespace},
};

/// A daily schedule, and what is added to it.
fn daily(add: &str) -> Value {
    task(&format!("schedule: {{cron: ['@daily'], {add}}}"))
}

fn refuses(name: &str, add: &str, field: &str, fix: &str) -> Case {
    rejects(name, daily(add), &format!("spec.schedule.{field}"), fix)
}

async fn try_all(cases: Vec<Case>) {
    with_temp_namespace(async move |client, namespace| {
        install_crds(&client).await;
        check(&client, &namespace, cases).await;
    })
    .await;
}

#[tokio::test]
async fn refuses_to_catch_up_where_that_says_nothing() {
    let queue = "concurrencyPolicy Queue or Allow";
    try_all(vec![
        refuses("catchUp as a word", "catchUp: Latest", "catchUp", "must be of type object"),
        refuses("catchUp without a policy", "catchUp: {limit: 3}", "catchUp.policy", "Required"),
        refuses("an unknown policy", "catchUp: {policy: Oldest}", "catchUp.policy", "supported values: \"None\", \"Latest\", \"All\""),
        refuses("a limit with Latest", "catchUp: {policy: Latest, limit: 3}", "catchUp.limit", "limit goes with policy All"),
        refuses("a limit with None", "catchUp: {policy: None, limit: 1}", "catchUp.limit", "limit goes with policy All"),
        refuses(
            "a limit of 0",
            "concurrencyPolicy: Queue, catchUp: {policy: All, limit: 0}",
            "catchUp.limit",
            "greater than or equal to 1",
        ),
        refuses(
            "a limit of 101",
            "concurrencyPolicy: Queue, catchUp: {policy: All, limit: 101}",
            "catchUp.limit",
            "less than or equal to 100",
        ),
        refuses(
            "more than can wait in the queue",
            "concurrencyPolicy: Queue, catchUp: {policy: All, limit: 21}",
            "catchUp.limit",
            "at most 20 with concurrencyPolicy Queue",
        ),
        refuses("All where the overlap policy is unset", "catchUp: {policy: All}", "catchUp", queue),
        refuses("All under Forbid", "concurrencyPolicy: Forbid, catchUp: {policy: All}", "catchUp", queue),
        refuses("All under Replace", "concurrencyPolicy: Replace, catchUp: {policy: All}", "catchUp", queue),
        refuses("an unknown field", "catchUp: {policy: Latest, max: 3}", "catchUp.max", "unknown field"),
        refuses(
            "an unknown overlap policy",
            "concurrencyPolicy: Wait",
            "concurrencyPolicy",
            "supported values: \"Forbid\", \"Allow\", \"Replace\", \"Queue\"",
        ),
    ])
    .await;
}

#[tokio::test]
async fn refuses_days_that_there_are_not() {
    let day = |day: &str, fix: &str| {
        let spec = json!({ "schedule": { "cron": ["@daily"], "exclude": [day] } }).to_string();
        rejects(&format!("day {day:?}"), task(&spec), "spec.schedule.exclude[0]", fix)
    };
    let days: Vec<String> = (0..367).map(|n| format!("{}-{:02}-{:02}", 2026 + n / 336, n / 28 % 12 + 1, n % 28 + 1)).collect();
    let (form, none) = ("want a day as 2026-12-25", "there is no such day; correct it or take it out");
    try_all(vec![
        day("25.12.2026", form),
        day("2026-12-5", form),
        day("12-25", form),
        day("2026/12/25", form),
        day("26-12-25", form),
        day("Christmas", form),
        day("", form),
        day("2026-12-2\n", form),
        day("٢٠٢٦-١٢-٢٥", form),
        day("2026-02-30", none),
        day("2026-13-01", none),
        day("2026-00-10", none),
        day("2027-02-29", none),
        rejects("a day with its time", daily("exclude: ['2026-12-25T00:00:00Z']"), "spec.schedule.exclude[0]", "may not be more than 10"),
        rejects("a day as a number", daily("exclude: [20261225]"), "spec.schedule.exclude[0]", "must be of type string"),
        rejects("a day twice", daily("exclude: ['2026-12-25', '2026-12-25']"), "spec.schedule.exclude[1]", "Duplicate value"),
        rejects("days as a text", daily("exclude: '2026-12-25'"), "spec.schedule.exclude", "must be of type array"),
        rejects(
            "more days than a year has",
            task(&json!({ "schedule": { "cron": ["@daily"], "exclude": days } }).to_string()),
            "spec.schedule.exclude",
            "at most 366 items",
        ),
    ])
    .await;
}

#[tokio::test]
async fn refuses_clock_changes_and_bounds_that_say_nothing() {
    try_all(vec![
        refuses("daylightSaving without a word", "daylightSaving: {}", "daylightSaving", "set gap, overlap or both"),
        refuses("a gap that is none", "daylightSaving: {gap: RunBefore}", "daylightSaving.gap", "supported values: \"Skip\", \"RunAfter\""),
        refuses(
            "an overlap that is none",
            "daylightSaving: {overlap: Once}",
            "daylightSaving.overlap",
            "supported values: \"Both\", \"First\", \"Last\"",
        ),
        refuses("daylightSaving as a word", "daylightSaving: Skip", "daylightSaving", "must be of type object"),
        refuses(
            "an end before the start",
            "notBefore: '2027-01-02T00:00:00Z', notAfter: '2027-01-01T00:00:00Z'",
            "notAfter",
            "must lie after notBefore",
        ),
        refuses(
            "an end at the start",
            "notBefore: '2027-01-01T00:00:00Z', notAfter: '2027-01-01T00:00:00Z'",
            "notAfter",
            "must lie after notBefore",
        ),
        refuses(
            "an end before the start, to who knows zones",
            "notBefore: '2027-01-01T00:00:00Z', notAfter: '2027-01-01T00:30:00+01:00'",
            "notAfter",
            "must lie after notBefore",
        ),
        refuses("a start that is a day", "notBefore: '2027-01-01'", "notBefore", "date-time"),
        refuses("an end without a zone", "notAfter: '2027-01-01T00:00:00'", "notAfter", "date-time"),
        refuses("an end on a day that there is not", "notAfter: '2027-02-29T00:00:00Z'", "notAfter", "date-time"),
        refuses("a start in words", "notBefore: tomorrow", "notBefore", "date-time"),
        refuses("an end after all time", "notAfter: '9999-12-31T23:59:59Z'", "notAfter", "take a year before 9999"),
        refuses("a start after all time", "notBefore: '9999-01-01T00:00:00Z'", "notBefore", "take a year before 9999"),
        refuses("a start in the wrong case", "notbefore: '2027-01-01T00:00:00Z'", "notbefore", "unknown field"),
    ])
    .await;
}

#[tokio::test]
async fn refuses_values_that_no_slot_can_give() {
    let parameter =
        |name: &str, parameter: &str, field: &str, fix: &str| rejects(name, task(&format!("parameters: [{parameter}]")), field, fix);
    try_all(vec![
        parameter("an empty expression", "{name: DAY, fromSlot: ''}", "spec.parameters[0].fromSlot", "at least 1"),
        parameter("an expression that is a number", "{name: DAY, fromSlot: 5}", "spec.parameters[0].fromSlot", "must be of type string"),
        parameter(
            "an expression of 1025 characters",
            &format!("{{name: DAY, fromSlot: '{}'}}", "a".repeat(1025)),
            "spec.parameters[0].fromSlot",
            "may not be more than 1024",
        ),
        parameter("an expression with a NUL", r#"{name: DAY, fromSlot: "slot\0"}"#, "spec.parameters[0].fromSlot", "NUL character"),
        parameter("an expression, and no schedule that has slots", "{name: DAY, fromSlot: slot}", "spec.parameters", "need a schedule"),
        parameter("an expression in the wrong case", "{name: DAY, fromslot: slot}", "spec.parameters[0].fromslot", "unknown field"),
        rejects(
            "one of two required parameters without a slot's value",
            task("{parameters: [{name: DAY, required: true, fromSlot: slot}, {name: MODE, required: true}], schedule: {cron: ['@daily']}}"),
            "spec.parameters",
            "give them a default or fromSlot",
        ),
    ])
    .await;
}

#[tokio::test]
async fn accepts_what_people_write() {
    let schedule = |add: &str| accepts(add, daily(add));
    let days: Vec<String> = (0..366).map(|n| format!("{}-{:02}-{:02}", 2026 + n / 336, n / 28 % 12 + 1, n % 28 + 1)).collect();
    try_all(vec![
        schedule("concurrencyPolicy: Queue"),
        schedule("catchUp: {policy: None}"),
        schedule("catchUp: {policy: Latest}, concurrencyPolicy: Replace"),
        schedule("catchUp: {policy: All}, concurrencyPolicy: Queue"),
        schedule("catchUp: {policy: All, limit: 100}, concurrencyPolicy: Allow"),
        schedule("exclude: ['2026-12-25', '2028-02-29', '0001-01-01', '9999-12-31']"),
        schedule("exclude: []"),
        schedule("daylightSaving: {gap: RunAfter}"),
        schedule("daylightSaving: {overlap: First}"),
        schedule("daylightSaving: {gap: Skip, overlap: Last}, timeZone: Europe/Berlin"),
        schedule("notBefore: '2026-12-01T00:00:00Z'"),
        schedule("notAfter: '2027-01-31T23:59:59.999+01:00'"),
        schedule("notBefore: '2026-12-01T00:00:00Z', notAfter: '2026-12-01T00:00:01Z'"),
        schedule("catchUp: null, exclude: null, daylightSaving: null, notBefore: null, notAfter: null"),
        schedule("catchUp: {policy: Latest, limit: null}, daylightSaving: {overlap: Both}"),
        accepts("a holiday on every day of a year", task(&json!({ "schedule": { "cron": ["@daily"], "exclude": days } }).to_string())),
        accepts("a slot's day", task(r#"{parameters: [{name: DAY, fromSlot: "format(slot, '%Y-%m-%d')"}], schedule: {cron: ['@daily']}}"#)),
        accepts(
            "a slot's day, and one for runs on demand",
            task("{parameters: [{name: DAY, fromSlot: slot, default: today}], schedule: {cron: ['@daily']}}"),
        ),
        accepts(
            "a required parameter that a slot gives",
            task("{parameters: [{name: DAY, required: true, fromSlot: slot}], schedule: {cron: ['@daily']}}"),
        ),
    ])
    .await;
}

/// Git owns a task: whatever it says next must be possible, also back.
#[tokio::test]
async fn a_schedule_can_change_to_anything_and_back() {
    with_temp_namespace(async |client, namespace| {
        install_crds(&client).await;
        let stored = create(&client, &namespace, &daily("suspend: true"), Keep::Stored).await.expect("a task");
        for next in [
            json!({ "concurrencyPolicy": "Queue", "catchUp": { "policy": "All", "limit": 5 } }),
            json!({ "catchUp": { "policy": "Latest", "limit": null }, "concurrencyPolicy": "Forbid", "exclude": ["2026-12-25"] }),
            json!({ "catchUp": null, "notBefore": "2026-12-01T00:00:00Z", "daylightSaving": { "gap": "RunAfter" } }),
            json!({ "exclude": null, "notBefore": null, "daylightSaving": null, "concurrencyPolicy": null }),
        ] {
            let patched = patch(&client, &namespace, &stored, &json!({ "spec": { "schedule": next.clone() } }), Keep::Stored).await;
            patched.unwrap_or_else(|e| panic!("{next}: {e}"));
        }
        let half = json!({ "spec": { "schedule": { "catchUp": { "policy": "All" } } } });
        let said = patch(&client, &namespace, &stored, &half, Keep::DryRun).await.expect_err("half a change is refused");
        assert!(said.contains("spec.schedule.catchUp") && said.contains("concurrencyPolicy Queue or Allow"), "{said}");
    })
    .await;
}
