//! `Backfill`: runs of a task or workflow for slots that lie in the past.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Outcome, ParameterValue, Schedule, TaskRef, WorkflowRef,
    vocabulary::{any_object, in_our_time, unwrapped},
};

/// Runs a task or workflow for slots that lie in the past: those of a range, or those listed.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "nightshift.dev",
    version = "v1alpha1",
    kind = "Backfill",
    namespaced,
    shortname = "abackfill",
    category = "nightshift",
    status = "BackfillStatus",
    derive = "PartialEq",
    doc = "Runs a task or workflow for slots that lie in the past: those of a range, or those listed. A few at a time, never beside another run of the same slot.",
    printcolumn(name = "Runs", type_ = "string", json_path = ".spec['taskRef','workflowRef'].name", description = "The task or workflow that it runs"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Progress", type_ = "string", json_path = ".status.progress", description = "Slots that are done, of all"),
    printcolumn(name = "Failed", type_ = "integer", json_path = ".status.failed", description = "Slots whose run ended badly"),
    printcolumn(name = "Outcome", type_ = "string", json_path = ".status.outcome", description = "How it ended"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.message", priority = 1),
    selectable = ".spec.taskRef.name",
    selectable = ".spec.workflowRef.name",
    selectable = ".status.phase",
    validation = Rule::new("self.metadata.name.size() <= 40").message("metadata.name must be at most 40 characters, so that the names of its runs fit"),
    validation = Rule::new("self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')").message("metadata.name must be lower case letters, digits and '-', without dots")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.taskRef) != has(self.workflowRef)").message("a backfill needs exactly one of taskRef and workflowRef: the task or the workflow to run"),
    validation = Rule::new("has(self.range) != has(self.slots)").message("want either range or slots: the slots of a span of time, or a list of them"),
    validation = Rule::new("has(self.taskRef) == has(oldSelf.taskRef) && (!has(self.taskRef) || self.taskRef == oldSelf.taskRef)").message("taskRef of a backfill cannot change; create another Backfill"),
    validation = Rule::new("has(self.workflowRef) == has(oldSelf.workflowRef) && (!has(self.workflowRef) || self.workflowRef == oldSelf.workflowRef)").message("workflowRef of a backfill cannot change; create another Backfill"),
    validation = Rule::new("has(self.range) == has(oldSelf.range) && (!has(self.range) || self.range == oldSelf.range)").message("range of a backfill cannot change; create another Backfill"),
    validation = Rule::new("has(self.slots) == has(oldSelf.slots) && (!has(self.slots) || self.slots.map(s, string(s)) == oldSelf.slots.map(s, string(s)))").message("slots of a backfill cannot change; create another Backfill"),
    validation = Rule::new("has(self.select) == has(oldSelf.select) && (!has(self.select) || self.select == oldSelf.select)").message("select of a backfill cannot change; create another Backfill"),
    validation = Rule::new("has(self.order) == has(oldSelf.order) && (!has(self.order) || self.order == oldSelf.order)").message("order of a backfill cannot change; create another Backfill"),
    validation = Rule::new("has(self.parameters) == has(oldSelf.parameters) && (!has(self.parameters) || self.parameters == oldSelf.parameters)").message("parameters of a backfill cannot change; create another Backfill"),
    validation = Rule::new("!(has(oldSelf.cancel) && oldSelf.cancel) || (has(self.cancel) && self.cancel)").message("cancel cannot be taken back; create another Backfill"),
    validation = Rule::new("!(has(self.dryRun) && self.dryRun) || !(has(oldSelf.dryRun) && !oldSelf.dryRun || !has(oldSelf.dryRun))").message("a backfill that has begun cannot become a dry run; create another Backfill").field_path(".dryRun")
)]
#[schemars(transform = unwrapped)]
pub struct BackfillSpec {
    /// The task to run, in the same namespace. It runs as it is when the backfill begins, whatever becomes of it meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_ref: Option<TaskRef>,
    /// The workflow to run, in the same namespace, instead of a task. It runs as it is when the backfill begins, with its tasks
    /// and the workflows in it, whatever becomes of them meanwhile. The backfill does not begin before the workflow can be run:
    /// until then `Ready` says what it lacks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow_ref: Option<WorkflowRef>,
    /// Every slot of its schedule in this span of time; 10,000 at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<SlotRange>,
    /// These slots. Each must be one of the schedule of the task or workflow.
    #[schemars(length(min = 1, max = 500), extend("x-kubernetes-list-type" = "set"))]
    #[x_kube(validation = Rule::new("self.all(s, s < timestamp('9999-01-01T00:00:00Z'))").message("one of the slots lies after all time; take it out"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slots: Option<Vec<Time>>,
    /// Which of the slots are run, by what is on record of them: `Missing` (where unset) those without a run, `Failed` those
    /// whose last run ended badly, `MissingOrFailed` both, `All` each of them, also where it went well. A run that `history` of
    /// the task or workflow has let go is not on record any more: `dryRun` shows what would run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub select: Option<SlotSelection>,
    /// `OldestFirst` (where unset) or `NewestFirst`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<SlotOrder>,
    /// How many of its runs go on at once; 1 where unset. Apart from the schedule's own.
    #[schemars(range(min = 1, max = 50))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<i32>,
    /// Values for the parameters of the task or workflow, the same for every run. The others come from the slot (`fromSlot`) or the defaults.
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parameters: Vec<ParameterValue>,
    /// Runs nothing: `status.planned` lists what would run. Set it to false to begin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dry_run: Option<bool>,
    /// Pauses: what runs goes on, and nothing more is started until it is taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,
    /// Set to true to end it: what runs is stopped, and nothing more is started. It cannot be taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel: Option<bool>,
}

impl BackfillSpec {
    /// Name of the task that it runs; empty where it runs a workflow, which no task's name is.
    #[must_use]
    pub fn task_name(&self) -> &str {
        self.task_ref.as_ref().map_or("", |task| task.name.as_str())
    }

    /// Name of the workflow that it runs.
    #[must_use]
    pub fn workflow_name(&self) -> Option<&str> {
        self.workflow_ref.as_ref().map(|workflow| workflow.name.as_str())
    }

    /// Which of the two it runs, in a word: `task` or `workflow`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        if self.workflow_ref.is_some() { "workflow" } else { "task" }
    }

    /// Name of the one that it runs.
    #[must_use]
    pub fn name(&self) -> &str {
        self.workflow_name().unwrap_or_else(|| self.task_name())
    }
}

/// A span of time, both ends included.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.from <= self.to").message("range.from must not lie after range.to").field_path(".from"))]
pub struct SlotRange {
    /// The first moment of it, as `2026-11-01T00:00:00Z`.
    #[x_kube(validation = in_our_time())]
    pub from: Time,
    /// The last moment of it. Until it has passed the backfill waits.
    #[x_kube(validation = in_our_time())]
    pub to: Time,
}

/// Which slots a backfill runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(description = "")]
pub enum SlotSelection {
    /// No run of it is on record.
    #[default]
    Missing,
    /// Its last run ended badly.
    Failed,
    /// Either.
    MissingOrFailed,
    /// Each.
    All,
}

/// In which order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(description = "")]
pub enum SlotOrder {
    /// The oldest slot first.
    #[default]
    OldestFirst,
    /// The newest slot first.
    NewestFirst,
}

/// What the operator has seen of a backfill. Written by the operator only.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = unwrapped)]
pub struct BackfillStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `DryRun`, `Pending`, `Running`, `Paused` or `Finished`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<BackfillPhase>,
    /// Succeeded, Failed or Cancelled; unset until it is finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// How it stands, in a sentence; while it waits: on what.
    #[schemars(length(max = 2048))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// `3/10`: slots that are done, of all, to be read by people.
    #[schemars(length(max = 32))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<String>,
    /// How many slots there are.
    #[serde(default)]
    pub total: i32,
    /// Slots whose run ended well.
    #[serde(default)]
    pub succeeded: i32,
    /// Slots whose run did not.
    #[serde(default)]
    pub failed: i32,
    /// Slots that were left alone, since `select` does not ask for them.
    #[serde(default)]
    pub skipped: i32,
    /// The slot that was decided last, in the order of the backfill: what comes after it is still to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_through: Option<Time>,
    /// Its runs that go on.
    #[schemars(length(max = 50))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub active: Vec<BackfillRun>,
    /// Slots whose run did not end well, the last twenty.
    #[schemars(length(max = 20))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<BackfillFailure>,
    /// With `dryRun`: the slots that would run, in order. The first hundred.
    #[schemars(length(max = 100))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub planned: Vec<Time>,
    /// With `dryRun`: how many slots would run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub planned_count: Option<i32>,
    /// Name of the `ControllerRevision` that its runs take.
    #[schemars(length(max = 63))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// The schedule whose slots it runs, as it was when the backfill began.
    #[schemars(schema_with = "any_object")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
    /// When its first run was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    /// When it was finished. Written once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Time>,
    /// `Ready`: whether the spec can be carried out. `Succeeded`: Unknown while it goes on, then True or False. `Stalled`
    /// only while the spec needs a human.
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// Where a backfill stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(description = "")]
pub enum BackfillPhase {
    /// It shows what it would run.
    DryRun,
    /// It has not begun, and waits for something.
    Pending,
    /// Its runs go on.
    Running,
    /// `suspend` is set.
    Paused,
    /// It is over, and will not change.
    Finished,
}

/// A run of a backfill that goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackfillRun {
    /// The slot.
    pub slot: Time,
    /// Name of the `AutomationRun`.
    #[schemars(length(max = 55))]
    pub run: String,
}

/// A slot of a backfill whose run did not end well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackfillFailure {
    /// The slot.
    pub slot: Time,
    /// Name of the `AutomationRun`.
    #[schemars(length(max = 55))]
    pub run: String,
    /// How it ended.
    pub outcome: Outcome,
    /// Why, in one word.
    #[schemars(length(max = 128))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}
