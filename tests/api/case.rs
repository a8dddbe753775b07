//! One input and what the server must say to it.

use futures::{StreamExt, stream};
use kube::Client;
use nightshift::api::{AutomationRun, AutomationTask, Backfill, ConcurrencyPool, Workflow};
use serde_json::Value;

use crate::{
    server::{Keep, create},
    support::yaml,
};

/// One input and what the server must say to it.
pub struct Case {
    name: String,
    object: Value,
    /// The field and the words of the fix that the refusal must show.
    refusal: Option<(String, String)>,
}

/// The server takes it, and the operator can read it.
pub fn accepts(name: &str, object: Value) -> Case {
    Case { name: name.to_owned(), object, refusal: None }
}

/// The server refuses it, and names `field` and the words of the `fix`.
pub fn rejects(name: &str, object: Value, field: &str, fix: &str) -> Case {
    Case { name: name.to_owned(), object, refusal: Some((field.to_owned(), fix.to_owned())) }
}

/// Tries every case, as a dry run, and fails with the list of those that went wrong.
pub async fn check(client: &Client, namespace: &str, cases: Vec<Case>) {
    assert!(!cases.is_empty());
    let count = cases.len();
    let results = stream::iter(cases.into_iter().map(|case| run(client, namespace, case)));
    let wrong: Vec<String> = results.buffer_unordered(8).filter_map(|result| async { result.err() }).collect().await;
    assert!(wrong.is_empty(), "{} of {count} cases:\n{}", wrong.len(), wrong.join("\n"));
}

async fn run(client: &Client, namespace: &str, case: Case) -> Result<(), String> {
    let Case { name, object, refusal } = case;
    match (create(client, namespace, &object, Keep::DryRun).await, refusal) {
        (Ok(stored), None) => readable(stored).map_err(|e| format!("- {name}: accepted, but unreadable: {e}")),
        (Err(said), Some((field, fix))) if said.contains(&field) && said.contains(&fix) => Ok(()),
        (Err(said), Some((field, fix))) => Err(format!("- {name}: refused without naming {field:?} and {fix:?}: {said}")),
        (Ok(_), Some(_)) => Err(format!("- {name}: accepted")),
        (Err(said), None) => Err(format!("- {name}: refused: {said}")),
    }
}

fn readable(stored: Value) -> Result<(), serde_json::Error> {
    match stored["kind"].as_str() {
        Some("AutomationTask") => serde_json::from_value::<AutomationTask>(stored).map(drop),
        Some("Workflow") => serde_json::from_value::<Workflow>(stored).map(drop),
        Some("Backfill") => serde_json::from_value::<Backfill>(stored).map(drop),
        Some("ConcurrencyPool") => serde_json::from_value::<ConcurrencyPool>(stored).map(drop),
        _ => serde_json::from_value::<AutomationRun>(stored).map(drop),
    }
}

/// A task with nothing but what every task needs, changed by a merge patch of its spec.
pub fn task(spec: &str) -> Value {
    task_named("nightly-import", spec)
}

/// The same under another name.
pub fn task_named(name: &str, spec: &str) -> Value {
    object("AutomationTask", name, "{owner: {team: data-platform}, image: 'registry.example.com/import:1.4'}", spec)
}

/// A run of that task, changed by a merge patch of its spec.
pub fn run_of(spec: &str) -> Value {
    run_named("nightly-import-1", spec)
}

/// The same under another name.
pub fn run_named(name: &str, spec: &str) -> Value {
    object("AutomationRun", name, "{taskRef: {name: nightly-import}}", spec)
}

/// A workflow of two steps, changed by a merge patch of its spec.
pub fn workflow(spec: &str) -> Value {
    workflow_named("nightly-import", spec)
}

/// The same under another name.
pub fn workflow_named(name: &str, spec: &str) -> Value {
    let minimal = "{owner: {team: data-platform}, steps: [{name: fetch, taskRef: {name: fetch}}, {name: load, taskRef: {name: load}, dependsOn: [{step: fetch}]}]}";
    object("Workflow", name, minimal, spec)
}

/// A backfill of that task over a month, changed by a merge patch of its spec.
pub fn backfill(spec: &str) -> Value {
    backfill_named("november", spec)
}

/// The same under another name.
pub fn backfill_named(name: &str, spec: &str) -> Value {
    let minimal = "{taskRef: {name: nightly-import}, range: {from: '2026-11-01T00:00:00Z', to: '2026-11-30T23:59:59Z'}}";
    object("Backfill", name, minimal, spec)
}

/// A pool, changed by a merge patch of its spec.
pub fn pool(spec: &str) -> Value {
    pool_named("warehouse", spec)
}

/// The same under another name.
pub fn pool_named(name: &str, spec: &str) -> Value {
    object("ConcurrencyPool", name, "{slots: 8}", spec)
}

fn object(kind: &str, name: &str, minimal: &str, patch: &str) -> Value {
    let mut spec: Value = yaml(minimal);
    merge(&mut spec, yaml(patch));
    serde_json::json!({ "apiVersion": "nightshift.dev/v1alpha1", "kind": kind, "metadata": { "name": name }, "spec": spec })
}

/// Merges as RFC 7386 says: null removes.
fn merge(into: &mut Value, patch: Value) {
    match (into, patch) {
        (Value::Object(fields), Value::Object(patch)) => {
            for (key, value) in patch {
                if value.is_null() {
                    fields.remove(&key);
                } else {
                    merge(fields.entry(key).or_insert(Value::Null), value);
                }
            }
        }
        (_, Value::Null) => {}
        (into, patch) => *into = patch,
    }
}
