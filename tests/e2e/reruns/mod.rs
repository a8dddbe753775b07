//! Runs that are run again: by whoever has mended what was wrong.

mod clash;
mod definition;
mod slot;

use serde_json::{Value, json};

use nightshift::api::AutomationRun;

use crate::{support::yaml, with_operator::place::Place};

/// Prints what a rerun must have in common with the run that it repeats, and what it may change.
const TELLS: &str = r#"printf '{"key": "%s", "at": "%s", "day": "%s", "mode": "%s", "version": "%s"}' "$NIGHTSHIFT_IDEMPOTENCY_KEY" "$NIGHTSHIFT_SCHEDULED_TIME" "$DAY" "$MODE" "$VERSION" > /dev/termination-log"#;

/// A task with slots each first of January only, so that none comes while a story plays. What else it says is added.
fn past(spec: &str) -> String {
    let mut whole: Value = yaml(
        r#"{
            schedule: {cron: ['*/10 * 1 1 *'], concurrencyPolicy: Queue},
            env: [{name: VERSION, value: '1'}],
            parameters: [{name: DAY, fromSlot: "format(slot, '%F %H:%M')"}, {name: MODE, default: usual}]
        }"#,
    );
    let more: Value = yaml(spec);
    whole.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    whole.to_string()
}

/// Runs one slot by a backfill, and returns the name of its run.
async fn backfilled(place: &Place, task: &str, slot: &str) -> String {
    let backfill = json!({
        "apiVersion": "nightshift.dev/v1alpha1", "kind": "Backfill",
        "metadata": { "name": "first" }, "spec": { "taskRef": { "name": task }, "slots": [slot] },
    });
    place.given(&backfill.to_string()).await;
    let minutes = slot.parse::<jiff::Timestamp>().expect("a time").as_second() / 60;
    format!("first-bf-{minutes}")
}

/// Runs a run again. `more` is added to its spec.
async fn rerun(place: &Place, name: &str, task: &str, of: &str, more: &str) -> AutomationRun {
    place.create(&rerun_object(name, task, of, more)).await
}

fn rerun_object(name: &str, task: &str, of: &str, more: &str) -> AutomationRun {
    let mut spec = json!({ "taskRef": { "name": task }, "rerunOf": of });
    let more: Value = yaml(more);
    spec.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    let run = json!({ "apiVersion": "nightshift.dev/v1alpha1", "kind": "AutomationRun", "metadata": { "name": name }, "spec": spec });
    serde_json::from_value(run).expect("a run")
}
