//! Slots of the past, run a few at a time.

mod course;
mod many;
mod refused;
mod select;
mod slots;
mod workflows;

use jiff::Timestamp;
use kube::ResourceExt;
use nightshift::api::{AutomationRun, Backfill, BackfillPhase, BackfillStatus, condition};
use serde_json::{Value, json};

use crate::{support::yaml, with_operator::place::Place};

/// A schedule whose slots lie in the first hours of January the first, so that none comes while a story plays.
pub const PAST: &str = "{schedule: {cron: ['*/10 * 1 1 *'], concurrencyPolicy: Allow}";

/// Creates a backfill. `spec` is added to its task.
pub async fn backfill(place: &Place, name: &str, task: &str, spec: &str) {
    create(place, name, json!({ "taskRef": { "name": task } }), spec).await;
}

/// Creates a backfill of a workflow. `spec` is added to it.
async fn backfill_workflow(place: &Place, name: &str, workflow: &str, spec: &str) {
    create(place, name, json!({ "workflowRef": { "name": workflow } }), spec).await;
}

async fn create(place: &Place, name: &str, mut whole: Value, spec: &str) {
    let more: Value = yaml(spec);
    whole.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    let object = json!({ "apiVersion": "nightshift.dev/v1alpha1", "kind": "Backfill", "metadata": { "name": name }, "spec": whole });
    place.create::<Backfill>(&serde_json::from_value(object).expect("a backfill")).await;
}

/// The status of a backfill once it speaks of its spec and `holds`.
pub async fn seen(place: &Place, name: &str, what: &str, holds: impl Fn(&BackfillStatus) -> bool + Send + Sync) -> BackfillStatus {
    let current = move |backfill: &Backfill| {
        let status = backfill.status.as_ref();
        status.is_some_and(|status| status.observed_generation == backfill.metadata.generation && holds(status))
    };
    let api = place.api::<Backfill>();
    let limit = std::time::Duration::from_secs(120);
    let seen = crate::support::await_condition(&api, name, what, limit, move |backfill: Option<&Backfill>| backfill.is_some_and(&current));
    seen.await.and_then(|backfill| backfill.status).expect("it holds")
}

/// The status of a backfill at its end.
pub async fn finished(place: &Place, name: &str) -> BackfillStatus {
    seen(place, name, "to finish", |status| status.phase == Some(BackfillPhase::Finished)).await
}

/// How a backfill stands, to compare: done well, badly, left alone, of all.
pub fn tally(status: &BackfillStatus) -> (i32, i32, i32, i32) {
    (status.succeeded, status.failed, status.skipped, status.total)
}

/// What Ready says: status, reason, message.
pub fn ready(status: &BackfillStatus) -> (String, String, String) {
    let ready = condition::find(&status.conditions, condition::READY).expect("Ready");
    (ready.status.clone(), ready.reason.clone(), ready.message.clone())
}

/// The minutes after midnight of the slots that the backfill's runs are for, in the order in which they were made.
pub async fn made(place: &Place, name: &str) -> Vec<i64> {
    let runs = runs(place, name).await;
    runs.iter().map(|run| minutes(run.spec.scheduled_time.as_ref().expect("a slot").0)).collect()
}

/// The runs of a backfill, in the order in which they were made.
pub async fn runs(place: &Place, name: &str) -> Vec<AutomationRun> {
    let mut runs = place.runs().await;
    runs.retain(|run| run.labels().get(nightshift::api::label::BACKFILL).is_some_and(|by| by == name));
    // Within a second their versions tell; those of one server can be compared once the runs are over.
    runs.sort_by_key(|run| (run.creation_timestamp(), run.status.as_ref().and_then(|status| status.start_time.clone())));
    runs
}

pub fn minutes(slot: Timestamp) -> i64 {
    slot.as_second().rem_euclid(86_400) / 60
}

/// A range within the first of January.
pub fn range(from: &str, to: &str) -> String {
    format!("range: {{from: '2026-01-01T{from}:00Z', to: '2026-01-01T{to}:00Z'}}")
}
