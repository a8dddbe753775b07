//! What we create, as data: CronJobs, Jobs, pods and runs. Pure.
//!
//! Jobs and CronJobs are built as JSON and not as typed objects, because a pod template may hold fields that are newer
//! than our client library, and a typed object would drop them.

mod bundle;
mod cron_job;
mod inline;
mod job;
mod name;
pub(crate) mod parameters;
mod pod;
mod revision;
mod run;
#[cfg(test)]
mod tests;

pub use bundle::{Bundle, Unbundled};
pub use cron_job::{CronJobSpec, HISTORY_LIMIT, cron_job};
pub use inline::{check_adjusted, check_inline};
pub use job::{Told, first_job, next_job};
pub use name::{
    backfill_run_name, cron_job_name, idempotency_key, inline_task_name, job_name, manual_run_name, slot_run_name, step_key, step_run_name,
    workflow_slot_run_name,
};
pub use pod::check_template;
pub use revision::{frozen_task, revision, revision_name};
pub use run::{SlotRun, StepRun, adopted_run, backfill_run, scheduled_run, scheduled_workflow_run, step_run};

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use serde_json::{Value, json};

use crate::api::{AutomationRun, AutomationTask, Backfill, Owner, Workflow, label};

/// Labels of everything that belongs to the task. Never copied from the task's own, which tools use to mark what they manage.
fn labels(task: &AutomationTask) -> BTreeMap<String, String> {
    labels_of(label::TASK, task.metadata.name.as_deref().unwrap_or_default(), &task.spec.owner.team)
}

/// Labels of everything that belongs to a workflow.
fn workflow_labels(workflow: &str, owner: &Owner) -> BTreeMap<String, String> {
    labels_of(label::WORKFLOW, workflow, &owner.team)
}

/// The same, by the label that names the one and by who owns it.
fn labels_of(kind: &str, name: &str, team: &str) -> BTreeMap<String, String> {
    [(label::MANAGED_BY, label::NIGHTSHIFT), (kind, name), (label::TEAM, team)]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// The workflow as controlling owner.
#[must_use]
pub fn owned_by_workflow(workflow: &Workflow) -> OwnerReference {
    owner::<Workflow>("Workflow", &workflow.metadata, true)
}

/// The task as controlling owner: when it is deleted, so is what it owns.
#[must_use]
pub fn owned_by_task(task: &AutomationTask) -> OwnerReference {
    owner::<AutomationTask>("AutomationTask", &task.metadata, true)
}

/// The backfill as controlling owner.
#[must_use]
pub fn owned_by_backfill(backfill: &Backfill) -> OwnerReference {
    owner::<Backfill>("Backfill", &backfill.metadata, true)
}

/// The run as owner. It controls the Jobs that the operator makes for it; a Job made by a CronJob has its controller already.
#[must_use]
pub fn owned_by_run(run: &AutomationRun, controller: bool) -> OwnerReference {
    owner::<AutomationRun>("AutomationRun", &run.metadata, controller)
}

fn owner<K>(kind: &str, meta: &kube::api::ObjectMeta, controller: bool) -> OwnerReference
where
    K: kube::Resource<DynamicType = ()>,
{
    OwnerReference {
        api_version: K::api_version(&()).into_owned(),
        kind: kind.to_owned(),
        name: meta.name.clone().unwrap_or_default(),
        uid: meta.uid.clone().unwrap_or_default(),
        controller: controller.then_some(true),
        block_owner_deletion: controller.then_some(true),
    }
}

/// Annotations for people who look at a Job, and the terms that it runs under.
fn job_annotations(task: &AutomationTask, contract: &crate::api::Contract) -> Value {
    let mut annotations = json!({
        label::CONTRACT: serde_json::to_string(contract).unwrap_or_default(),
        label::REVISION: revision_name(task),
    });
    let owner = &task.spec.owner;
    let told = [(label::CONTACT, &owner.contact), (label::ON_CALL, &owner.on_call), (label::RUNBOOK, &owner.runbook)];
    for (key, value) in told {
        if let Some(value) = value {
            annotations[key] = json!(value);
        }
    }
    annotations
}
