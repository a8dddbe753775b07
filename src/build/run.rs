//! Runs that the operator creates: the record of a Job that Kubernetes started, and the runs of slots.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{OwnerReference, Time};
use kube::api::ObjectMeta;

use super::{
    Bundle, backfill_run_name, inline_task_name, labels, labels_of, name::step_key, owned_by_backfill, owned_by_run, owned_by_task,
    owned_by_workflow, step_run_name, workflow_labels,
};
use crate::{
    api::{
        AutomationRun, AutomationRunSpec, AutomationTask, Backfill, ParameterValue, Step, StepOf, TaskRef, Trigger, Workflow, WorkflowRef,
        label,
    },
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
    /// Values for the parameters of the task or workflow.
    pub parameters: Vec<ParameterValue>,
}

/// The run of a slot of the task's schedule, where the operator is the clock.
#[must_use]
pub fn scheduled_run(task: &AutomationTask, of: SlotRun, trigger: Trigger) -> AutomationRun {
    let annotations = [(label::REVISION, of.revision)];
    run(task, of.name, owned_by_task(task), annotations, spec(task, trigger, Some(of.slot), of.parameters))
}

/// The run of a slot of the workflow's schedule. `of.revision` holds the bundle.
#[must_use]
pub fn scheduled_workflow_run(workflow: &Workflow, of: SlotRun, trigger: Trigger) -> AutomationRun {
    let name = workflow.metadata.name.clone().unwrap_or_default();
    AutomationRun {
        metadata: ObjectMeta {
            name: Some(of.name),
            namespace: workflow.metadata.namespace.clone(),
            labels: Some(workflow_labels(&name, &workflow.spec.owner)),
            annotations: Some(BTreeMap::from([(label::REVISION.to_owned(), of.revision)])),
            owner_references: Some(vec![owned_by_workflow(workflow)]),
            ..ObjectMeta::default()
        },
        spec: AutomationRunSpec {
            workflow_ref: Some(WorkflowRef { name }),
            parameters: of.parameters,
            trigger: Some(trigger),
            scheduled_time: Some(Time(of.slot)),
            ..AutomationRunSpec::default()
        },
        status: None,
    }
}

/// The run of a slot that a backfill asks for, of the task or workflow that the backfill names and `team` owns. It has the
/// idempotency key of the slot's own run.
#[must_use]
pub fn backfill_run(backfill: &Backfill, team: &str, of: SlotRun) -> AutomationRun {
    let by = backfill.metadata.name.clone().unwrap_or_default();
    let key = super::idempotency_key(backfill.metadata.namespace.as_deref().unwrap_or_default(), &of.name);
    let uid = backfill.metadata.uid.clone().unwrap_or_default();
    let annotations = [(label::REVISION, of.revision), (label::IDEMPOTENCY_KEY, key), (label::BACKFILL_UID, uid)];
    let runs = &backfill.spec;
    let mut labels = labels_of(if runs.workflow_ref.is_some() { label::WORKFLOW } else { label::TASK }, runs.name(), team);
    labels.insert(label::BACKFILL.to_owned(), by.clone());
    AutomationRun {
        metadata: ObjectMeta {
            name: Some(backfill_run_name(&by, of.slot)),
            namespace: backfill.metadata.namespace.clone(),
            labels: Some(labels),
            annotations: Some(annotations.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
            owner_references: Some(vec![owned_by_backfill(backfill)]),
            ..ObjectMeta::default()
        },
        spec: AutomationRunSpec {
            task_ref: runs.task_ref.clone(),
            workflow_ref: runs.workflow_ref.clone(),
            parameters: of.parameters,
            trigger: Some(Trigger::Backfill),
            scheduled_time: Some(Time(of.slot)),
            ..AutomationRunSpec::default()
        },
        status: None,
    }
}

/// A run of a step of a workflow, as the planner of the workflow's run has decided it.
#[derive(Clone, Debug)]
pub struct StepRun<'a> {
    /// The step.
    pub step: &'a Step,
    /// The index of the item, in a step with `forEach`.
    pub item: Option<usize>,
    /// Values for the parameters of its task or workflow.
    pub parameters: Vec<ParameterValue>,
    /// The slot that the workflow's run is for.
    pub slot: Option<Timestamp>,
    /// The idempotency key of the workflow's run.
    pub key: &'a str,
    /// Name of the revision that holds the bundle.
    pub revision: &'a str,
}

/// The run of a step. It belongs to the workflow's run alone, and goes with it.
#[must_use]
pub fn step_run(of: &AutomationRun, bundle: &Bundle, run: StepRun) -> AutomationRun {
    let (workflow_run, uid) = (of.metadata.name.clone().unwrap_or_default(), of.metadata.uid.as_deref().unwrap_or_default());
    let StepRun { step, item, parameters, slot, key, revision } = run;
    let namespace = of.metadata.namespace.as_deref().unwrap_or_default();
    let inline = || TaskRef { name: inline_task_name(of.spec.workflow_name().unwrap_or_default(), &step.name) };
    let task_ref = step.task_ref.clone().or_else(|| step.task.as_ref().map(|_| inline()));
    let mut marks = match (&task_ref, &step.workflow_ref) {
        (Some(task), _) => bundle.task(&task.name, namespace).map(|task| labels(&task)),
        (None, Some(workflow)) => bundle.workflows.get(&workflow.name).map(|spec| workflow_labels(&workflow.name, &spec.owner)),
        (None, None) => None,
    }
    .unwrap_or_default();
    marks.insert(label::WORKFLOW_RUN.to_owned(), workflow_run.clone());
    marks.insert(label::STEP.to_owned(), step.name.clone());
    let annotations = [(label::REVISION, revision.to_owned()), (label::IDEMPOTENCY_KEY, step_key(key, &step.name, item))];
    AutomationRun {
        metadata: ObjectMeta {
            name: Some(step_run_name(&workflow_run, uid, &step.name, item)),
            namespace: of.metadata.namespace.clone(),
            labels: Some(marks),
            annotations: Some(annotations.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
            owner_references: Some(vec![owned_by_run(of, true)]),
            ..ObjectMeta::default()
        },
        spec: AutomationRunSpec {
            task_ref,
            workflow_ref: step.workflow_ref.clone(),
            parameters,
            trigger: Some(Trigger::Step),
            scheduled_time: slot.map(Time),
            step: Some(StepOf {
                workflow_run,
                workflow: of.spec.workflow_name().map(str::to_owned),
                name: step.name.clone(),
                item: item.map(|item| i32::try_from(item).unwrap_or(i32::MAX)),
            }),
            ..AutomationRunSpec::default()
        },
        status: None,
    }
}

fn spec(task: &AutomationTask, trigger: Trigger, slot: Option<Timestamp>, parameters: Vec<ParameterValue>) -> AutomationRunSpec {
    AutomationRunSpec {
        task_ref: Some(TaskRef { name: task.metadata.name.clone().unwrap_or_default() }),
        parameters,
        trigger: Some(trigger),
        scheduled_time: slot.map(Time),
        ..AutomationRunSpec::default()
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
