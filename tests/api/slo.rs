//! `slo` of tasks and workflows.

use jiff::Timestamp;
use k8s_openapi::{ByteString, apimachinery::pkg::apis::meta::v1::Time};
use nightshift::api::{BadCause, BadSlot, DayCount, OpenSlot, SloStatus, Verdicts};

use crate::{
    case::{Case, accepts, check, rejects, task, workflow},
    server::{Keep, create, patch_status},
    support::{install_crds, operator_client, with_temp_namespace},
};

/// A daily task with an objective.
fn with(slo: &str) -> serde_json::Value {
    task(&format!("{{schedule: {{cron: ['@daily']}}, slo: {{{slo}}}}}"))
}

fn refuses(name: &str, slo: &str, field: &str, fix: &str) -> Case {
    rejects(name, with(slo), field, fix)
}

#[tokio::test]
async fn of_a_schedule_is_a_share_of_a_window_and_a_time_to_finish() {
    let percentage = "must be a percentage of at most 100% with at most three decimals, such as 99.5%";
    let objective = |text: &str| {
        refuses(&format!("objective {text:?}"), &format!("objective: {text:?}, windowRuns: 200"), "spec.slo.objective", percentage)
    };
    let time = |text: &str| {
        let slo = format!("objective: '99%', windowDays: 30, finishBy: {text:?}");
        refuses(&format!("finishBy {text:?}"), &slo, "spec.slo.finishBy", "must be a time of day from 00:00 to 23:59, such as 06:30")
    };
    let one = "slo needs exactly one of windowRuns (such as 200) and windowDays (such as 30)";
    let no_schedule = "slo counts the slots of a schedule; add a schedule, or leave slo out";
    let cases = vec![
        accepts("an objective over runs", with("objective: '99.5%', windowRuns: 200")),
        accepts("over days", with("objective: '99.999%', windowDays: 90")),
        accepts("all of it", with("objective: '100%', windowRuns: 1, finishWithinSeconds: 3600, finishBy: '06:30'")),
        accepts("very little", with("objective: '0.001%', windowRuns: 10000, finishBy: '00:00'")),
        accepts("of a workflow", workflow("{schedule: {cron: ['@daily']}, slo: {objective: '99.5%', windowRuns: 200, finishBy: '23:59'}}")),
        objective("99.5"),
        objective("100.1%"),
        objective("100.001%"),
        objective("99.9999%"),
        objective("099%"),
        objective(".5%"),
        objective("5.%"),
        objective("-5%"),
        objective("99,5%"),
        objective("99 %"),
        refuses("nothing of it", "objective: '0%', windowRuns: 200", "spec.slo.objective", "must be more than 0%"),
        refuses("nothing of it in full", "objective: '0.000%', windowRuns: 200", "spec.slo.objective", "must be more than 0%"),
        refuses("a number", "objective: 99.5, windowRuns: 200", "spec.slo.objective", "must be of type string"),
        refuses("no objective", "windowRuns: 200", "spec.slo.objective", "Required"),
        refuses("no window", "objective: '99.5%'", "spec.slo", one),
        refuses("two windows", "objective: '99.5%', windowRuns: 200, windowDays: 30", "spec.slo", one),
        refuses("a window of nothing", "objective: '99.5%', windowRuns: 0", "spec.slo.windowRuns", "greater than or equal to 1"),
        refuses("a large window", "objective: '99.5%', windowRuns: 10001", "spec.slo.windowRuns", "less than or equal to 10000"),
        refuses("a long window", "objective: '99.5%', windowDays: 91", "spec.slo.windowDays", "less than or equal to 90"),
        refuses(
            "no time",
            "objective: '99%', windowRuns: 9, finishWithinSeconds: 0",
            "spec.slo.finishWithinSeconds",
            "greater than or equal to 1",
        ),
        time("24:00"),
        time("6:300"),
        time("06:60"),
        time("06.30"),
        refuses(
            "a time with seconds",
            "objective: '99%', windowRuns: 9, finishBy: '06:30:00'",
            "spec.slo.finishBy",
            "may not be more than 5",
        ),
        refuses("a field that there is not", "objective: '99%', windowRuns: 9, target: 9", "spec.slo.target", "unknown field"),
        rejects("without a schedule", task("slo: {objective: '99.5%', windowRuns: 200}"), "spec.slo", no_schedule),
        rejects("of a workflow without a schedule", workflow("slo: {objective: '99.5%', windowRuns: 200}"), "spec.slo", no_schedule),
        rejects(
            "of a task inside a step",
            workflow("steps: [{name: a, task: {image: i, slo: {objective: '99%', windowRuns: 9}}}]"),
            "spec.steps[0].task.slo",
            "unknown field",
        ),
    ];
    with_temp_namespace(async move |client, namespace| {
        install_crds(&client).await;
        check(&client, &namespace, cases).await;
    })
    .await;
}

#[tokio::test]
async fn the_api_server_takes_every_status_that_is_written_from_the_first_to_the_largest() {
    let bad = || BadSlot {
        slot: Time(Timestamp::UNIX_EPOCH),
        slots: Some(i64::MAX),
        run: Some("r".repeat(63)),
        cause: BadCause::Missed,
        reason: Some("R".repeat(128)),
    };
    let first = SloStatus { verdicts: Some(Verdicts::default()), summary: "InsufficientData".to_owned(), ..SloStatus::default() };
    let verdicts = Verdicts { count: 10_000, bits: ByteString(vec![0b1010_0101; 1250]) };
    let largest = SloStatus {
        verdicts: Some(verdicts),
        open: (0..100).map(|n| OpenSlot { slot: Time(Timestamp::UNIX_EPOCH), later: n }).collect(),
        days: (0..90).map(|_| DayCount { day: "2026-12-25".to_owned(), good: 1440, bad: i64::MAX }).collect(),
        last_bad: (0..10).map(|_| bad()).collect(),
        ..first.clone()
    };
    with_temp_namespace(async move |client, namespace| {
        install_crds(&client).await;
        let operator = operator_client().await;
        for of in
            [with("objective: '99.5%', windowRuns: 200"), workflow("{schedule: {cron: ['@daily']}, slo: {objective: '1%', windowDays: 9}}")]
        {
            let stored = create(&client, &namespace, &of, Keep::Stored).await.expect("it is taken");
            for slo in [&first, &largest] {
                let status = serde_json::json!({ "slo": slo });
                let written = patch_status(&operator, &namespace, &stored, &status, Keep::Stored).await.expect("its status is taken");
                let read: SloStatus = serde_json::from_value(written["status"]["slo"].clone()).expect("a status");
                assert_eq!(read.verdicts, slo.verdicts, "and stored as it is");
                // An operator in the same cluster may have written its own, with which ours is merged.
                assert!(
                    read.open.len() >= slo.open.len() && read.days.len() >= slo.days.len() && read.last_bad.len() >= slo.last_bad.len()
                );
            }
        }
    })
    .await;
}
