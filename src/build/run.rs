//! Runs that the operator creates: the record of a Job that Kubernetes started, and the runs of slots.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{OwnerReference, Time};
use kube::api::ObjectMeta;

use super::{backfill_run_name, labels, owned_by_backfill, owned_by_task};
use crate::{
    api::{AutomationRun, AutomationRunSpec, AutomationTask, Backfill, ParameterValue, TaskRef, Trigger, label},
    outcome::JobSeen,
};

/// The run for a Job that a CronJob made: for a slot, or by hand (`kubectl create job --from=cronjob/…`).
#[must_use]
pub fn adopted_run(task: &AutomationTask, job: &JobSeen, name: String) -> AutomationRun {
    let trigger = if job.slot.is_some() { Trigger::Schedule } else { Trigger::Manual };
    let annotations = [(label::ADOPTED_JOB, job.name.clone()), (label::ADOPTED_UID, job.uid.clone())];
    run(task, name, owned_by_task(task), annotations, spec(task, trigger, job.slot, Vec::new()))
}

/// A run of a slot, as whoever creates it has decided it.
#[derive(Clone, Debug)]
pub struct SlotRun {
    /// Name of the run that the schedule itself has, or would have, for the slot. See [`super::slot_run_name`].
    pub name: String,
    /// The slot.
    pub slot: Timestamp,
    /// Name of the revision that holds the definition it is to run.
    pub revision: String,
    /// Values for the task's parameters.
    pub parameters: Vec<ParameterValue>,
}

/// The run of a slot of the task's schedule, where the operator is the clock.
#[must_use]
pub fn scheduled_run(task: &AutomationTask, of: SlotRun, trigger: Trigger) -> AutomationRun {
    let annotations = [(label::REVISION, of.revision)];
    run(task, of.name, owned_by_task(task), annotations, spec(task, trigger, Some(of.slot), of.parameters))
}

/// The run of a slot that a backfill asks for. It has the idempotency key of the slot's own run.
#[must_use]
pub fn backfill_run(task: &AutomationTask, backfill: &Backfill, of: SlotRun) -> AutomationRun {
    let by = backfill.metadata.name.clone().unwrap_or_default();
    let name = backfill_run_name(&by, of.slot);
    let key = super::idempotency_key(task.metadata.namespace.as_deref().unwrap_or_default(), &of.name);
    let uid = backfill.metadata.uid.clone().unwrap_or_default();
    let annotations = [(label::REVISION, of.revision), (label::IDEMPOTENCY_KEY, key), (label::BACKFILL_UID, uid)];
    let mut run = run(task, name, owned_by_backfill(backfill), annotations, spec(task, Trigger::Backfill, Some(of.slot), of.parameters));
    run.metadata.labels.get_or_insert_default().insert(label::BACKFILL.to_owned(), by);
    run
}

fn spec(task: &AutomationTask, trigger: Trigger, slot: Option<Timestamp>, parameters: Vec<ParameterValue>) -> AutomationRunSpec {
    AutomationRunSpec {
        task_ref: TaskRef { name: task.metadata.name.clone().unwrap_or_default() },
        parameters,
        trigger: Some(trigger),
        scheduled_time: slot.map(Time),
        rerun_of: None,
        definition: None,
        cancel: None,
    }
}

fn run<const N: usize>(
    task: &AutomationTask,
    name: String,
    owner: OwnerReference,
    annotations: [(&str, String); N],
    spec: AutomationRunSpec,
) -> AutomationRun {
    AutomationRun {
        metadata: ObjectMeta {
            name: Some(name),
            namespace: task.metadata.namespace.clone(),
            labels: Some(labels(task)),
            annotations: Some(annotations.into_iter().map(|(key, value)| (key.to_owned(), value)).collect::<BTreeMap<_, _>>()),
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        spec,
        status: None,
    }
}
