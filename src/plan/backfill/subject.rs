//! What a backfill runs: a task or a workflow, of which it looks at no more than this.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::api::ObjectMeta;

use super::Wrong;
use crate::{
    api::{AutomationTask, BackfillSpec, ClockKind, ClockStatus, Parameter, Schedule, Workflow, condition},
    build, graph,
    plan::{
        automation_run::Frozen,
        automation_task,
        workflow::{self, Rejected},
        workflow_run::DEFINITION_PENDING,
    },
};

/// A task or workflow as it is now.
#[derive(Clone, Debug, PartialEq)]
pub struct Subject {
    /// When it was created.
    pub created: Option<Timestamp>,
    /// Its schedule, as it is written.
    pub schedule: Option<Schedule>,
    /// Which clock starts its slots; `None` where none does now.
    pub clock: Option<ClockKind>,
    /// Where the operator is the clock: every slot up to here is decided.
    pub decided_through: Option<Timestamp>,
}

impl Subject {
    /// A task.
    #[must_use]
    pub fn of_task(task: &AutomationTask) -> Self {
        let status = task.status.clone().unwrap_or_default();
        Self::of(&task.metadata, task.spec.schedule.clone(), status.clock.as_ref(), &status.conditions, status.decided_through)
    }

    /// A workflow.
    #[must_use]
    pub fn of_workflow(workflow: &Workflow) -> Self {
        let status = workflow.status.clone().unwrap_or_default();
        Self::of(&workflow.metadata, workflow.spec.schedule.clone(), status.clock.as_ref(), &status.conditions, status.decided_through)
    }

    fn of(
        meta: &ObjectMeta,
        schedule: Option<Schedule>,
        clock: Option<&ClockStatus>,
        conditions: &[Condition],
        decided_through: Option<Time>,
    ) -> Self {
        let paused = condition::is_true(conditions, condition::SUSPENDED);
        Self {
            created: meta.creation_timestamp.as_ref().map(|time| time.0),
            schedule,
            clock: clock.map(|clock| clock.kind).filter(|_| !paused),
            decided_through: decided_through.map(|time| time.0),
        }
    }
}

/// What its runs take, frozen when the backfill begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    /// Name of the revision that holds it.
    pub revision: String,
    /// The team that owns the task or workflow.
    pub team: String,
    /// The parameters that it has.
    pub parameters: Vec<Parameter>,
}

impl Definition {
    /// The one that a task has now.
    ///
    /// # Errors
    /// Why it cannot be run.
    pub fn of_task(spec: &BackfillSpec, task: Option<&AutomationTask>, now: Timestamp) -> Result<Self, Wrong> {
        let present = task.filter(|task| task.metadata.deletion_timestamp.is_none()).ok_or_else(|| Wrong::not_found(spec))?;
        automation_task::accept(present, now)
            .map_err(|rejected| Wrong::of(rejected.reason, format!("task {}: {}", spec.name(), rejected.message)))?;
        Ok(Self::kept_task(present))
    }

    /// The one that a workflow has now. It must be kept: a run of a workflow takes what a revision holds, and no other.
    ///
    /// # Errors
    /// Why it cannot be run.
    pub fn of_workflow(
        spec: &BackfillSpec,
        workflow: Option<&Workflow>,
        definition: impl FnOnce(&Workflow) -> Result<std::sync::Arc<graph::Definition>, Rejected>,
        now: Timestamp,
    ) -> Result<Self, Wrong> {
        let present = workflow.filter(|workflow| workflow.metadata.deletion_timestamp.is_none()).ok_or_else(|| Wrong::not_found(spec))?;
        let name = spec.name();
        let told = |message: String| format!("workflow {name}: {message}");
        let definition = definition(present).map_err(|rejected| Wrong {
            // What is only not there may come, and the workflow's status tells when.
            stalled: !rejected.is_missing,
            ..Wrong::of(rejected.reason(), told(rejected.message()))
        })?;
        workflow::accept(present, now).map_err(|(reason, message)| Wrong::of(reason, told(message)))?;
        if !workflow::is_kept(present, &definition) {
            return Err(Wrong { stalled: false, ..Wrong::of(DEFINITION_PENDING, workflow::not_kept(name)) });
        }
        Self::kept_workflow(name, &definition)
    }

    /// The one that a backfill of a task began with.
    ///
    /// # Errors
    /// It is not there any more.
    pub fn frozen_task(frozen: &Frozen) -> Result<Self, Wrong> {
        match frozen {
            Frozen::Task(task) => Ok(Self::kept_task(task)),
            Frozen::Gone(revision) => Err(Wrong::gone(revision)),
        }
    }

    /// What a task says.
    #[must_use]
    pub fn kept_task(task: &AutomationTask) -> Self {
        Self { revision: build::revision_name(task), team: task.spec.owner.team.clone(), parameters: task.spec.parameters.clone() }
    }

    /// What a revision holds of a workflow.
    ///
    /// # Errors
    /// It holds none of that name.
    pub fn kept_workflow(name: &str, definition: &graph::Definition) -> Result<Self, Wrong> {
        let spec = definition.bundle.workflows.get(name).ok_or_else(|| Wrong::gone(&definition.name))?;
        Ok(Self { revision: definition.name.clone(), team: spec.owner.team.clone(), parameters: spec.parameters.clone() })
    }
}
