//! What a task says is to run, kept as a `ControllerRevision`: whatever becomes of the task, a run that waits or is run
//! again finds the definition that it was created with.

use serde_json::{Value, json};

use super::{labels, name::hash, owned_by_task};
use crate::api::{AutomationTask, AutomationTaskSpec, label};

/// What runs, without when and beside what: an edit of the schedule, of caps, or of how much history is kept, makes no new
/// definition.
pub(super) fn definition(task: &AutomationTask) -> AutomationTaskSpec {
    AutomationTaskSpec { schedule: None, concurrency: None, history: None, description: None, ..task.spec.clone() }
}

/// Name of the revision that holds the task's definition as it is: the task's name and a hash of the definition and of the
/// task's UID. A task that is deleted and made again has revisions of its own: those before it are on their way out.
#[must_use]
pub fn revision_name(task: &AutomationTask) -> String {
    let uid = task.metadata.uid.as_deref().unwrap_or_default();
    let text = format!("{uid} {}", serde_json::to_string(&definition(task)).unwrap_or_default());
    format!("{}-{:016x}", task.metadata.name.as_deref().unwrap_or_default(), hash(&text))
}

/// The revision that holds the task's definition as it is.
#[must_use]
pub fn revision(task: &AutomationTask) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": revision_name(task),
            "namespace": task.metadata.namespace,
            "labels": labels(task),
            // Where the task is deleted but its runs are kept (`--cascade=orphan`), they still find it.
            "ownerReferences": [owned_by_task(task)],
        },
        "revision": task.metadata.generation.unwrap_or(0),
        "data": { "spec": definition(task) },
    })
}

/// The task as the revision holds it, without a schedule. `None` where the revision does not hold one.
#[must_use]
pub fn frozen_task(revision: &Value) -> Option<AutomationTask> {
    let spec: AutomationTaskSpec = serde_json::from_value(revision.pointer("/data/spec")?.clone()).ok()?;
    let meta = revision.pointer("/metadata")?;
    let name = meta.pointer("/labels")?.get(label::TASK)?.as_str()?;
    let owner = meta.get("ownerReferences").and_then(|owners| owners.get(0));
    let mut task = AutomationTask::new(name, spec);
    task.metadata.namespace = meta.get("namespace").and_then(Value::as_str).map(str::to_owned);
    task.metadata.uid = owner.and_then(|owner| owner.get("uid")?.as_str()).map(str::to_owned);
    task.metadata.generation = revision.get("revision").and_then(Value::as_i64);
    Some(task)
}
