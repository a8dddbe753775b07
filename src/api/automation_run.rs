//! `AutomationRun`: one execution of a task or workflow, and the record that outlives Jobs and pods.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    ApprovalDecision, Attempt, ParameterValue, StepOf, StepStatus, StepsEnd, TaskRef, WorkflowRef,
    vocabulary::{any_object, matching, unwrapped},
};

/// One execution of a task or workflow. Creating one is "run now"; deleting one that goes on ends it.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "nightshift.dev",
    version = "v1alpha1",
    kind = "AutomationRun",
    namespaced,
    shortname = "arun",
    category = "nightshift",
    status = "AutomationRunStatus",
    derive = "PartialEq",
    doc = "One execution of a task or workflow, and the record of it. Creating one is \"run now\"; deleting one that goes on ends it.",
    printcolumn(name = "Runs", type_ = "string", json_path = ".spec['taskRef','workflowRef'].name", description = "The task or workflow that it runs"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Outcome", type_ = "string", json_path = ".status.outcome", description = "How it ended"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.reason", description = "Why, in one word; while it waits: on what"),
    printcolumn(name = "Attempts", type_ = "integer", json_path = ".status.attemptCount"),
    printcolumn(name = "Duration", type_ = "string", json_path = ".status.duration"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Slot", type_ = "string", json_path = ".status.slot", priority = 1, description = "The slot that it is for"),
    printcolumn(name = "Of", type_ = "string", json_path = ".spec.step.workflowRun", priority = 1, description = "The run of a workflow that it is a step of"),
    printcolumn(name = "Trigger", type_ = "string", json_path = ".spec.trigger", priority = 1, description = "Why it exists"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.message", priority = 1),
    selectable = ".spec.taskRef.name",
    selectable = ".spec.workflowRef.name",
    selectable = ".spec.step.workflowRun",
    selectable = ".status.phase",
    selectable = ".status.outcome",
    selectable = ".status.result",
    validation = Rule::new("self.metadata.name.size() <= 55").message("metadata.name must be at most 55 characters, so that the names of its Jobs fit"),
    validation = Rule::new("self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')").message("metadata.name must be lower case letters, digits and '-', without dots"),
    validation = Rule::new("!has(self.spec.rerunOf) || self.spec.rerunOf != self.metadata.name").message("rerunOf: a run cannot repeat itself; name another run").field_path(".spec.rerunOf")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.taskRef) != has(self.workflowRef)").message("a run needs exactly one of taskRef and workflowRef: the task or the workflow to run"),
    validation = Rule::new("has(self.taskRef) == has(oldSelf.taskRef) && (!has(self.taskRef) || self.taskRef == oldSelf.taskRef)").message("taskRef of a run cannot change; create another AutomationRun"),
    validation = Rule::new("has(self.workflowRef) == has(oldSelf.workflowRef) && (!has(self.workflowRef) || self.workflowRef == oldSelf.workflowRef)").message("workflowRef of a run cannot change; create another AutomationRun"),
    validation = Rule::new("has(self.step) == has(oldSelf.step) && (!has(self.step) || self.step == oldSelf.step)").message("step of a run cannot change"),
    validation = Rule::new("has(self.step) == (has(self.trigger) && self.trigger == 'Step')").message("step goes with the trigger Step, which the operator sets; leave both out to run now").field_path(".step"),
    validation = Rule::new("has(self.parameters) == has(oldSelf.parameters) && (!has(self.parameters) || self.parameters == oldSelf.parameters)").message("parameters of a run cannot change; create another AutomationRun"),
    validation = Rule::new("has(self.trigger) == has(oldSelf.trigger) && (!has(self.trigger) || self.trigger == oldSelf.trigger)").message("trigger of a run cannot change"),
    validation = Rule::new("has(self.scheduledTime) == has(oldSelf.scheduledTime) && (!has(self.scheduledTime) || self.scheduledTime == oldSelf.scheduledTime)").message("scheduledTime of a run cannot change"),
    validation = Rule::new("!(has(oldSelf.cancel) && oldSelf.cancel) || (has(self.cancel) && self.cancel)").message("cancel cannot be taken back; create another AutomationRun"),
    validation = Rule::new("has(self.rerunOf) == has(oldSelf.rerunOf) && (!has(self.rerunOf) || self.rerunOf == oldSelf.rerunOf)").message("rerunOf of a run cannot change; create another AutomationRun"),
    validation = Rule::new("has(self.definition) == has(oldSelf.definition) && (!has(self.definition) || self.definition == oldSelf.definition)").message("definition of a run cannot change; create another AutomationRun"),
    validation = Rule::new("has(self.trigger) && self.trigger == 'Step' || has(self.scheduledTime) == (has(self.trigger) && self.trigger in ['Schedule', 'CatchUp', 'Backfill'])").message("scheduledTime goes with the triggers Schedule, CatchUp and Backfill, which the operator sets; leave both out to run now. A rerun takes the slot of the run in rerunOf").field_path(".scheduledTime"),
    validation = Rule::new("has(self.rerunOf) ? (!has(self.trigger) || self.trigger == 'Rerun') : (!has(self.trigger) || self.trigger != 'Rerun')").message("rerunOf and trigger Rerun go together; name the run to repeat in rerunOf and leave trigger out").field_path(".rerunOf"),
    validation = Rule::new("has(self.fromFailed) == has(oldSelf.fromFailed) && (!has(self.fromFailed) || self.fromFailed == oldSelf.fromFailed)").message("fromFailed of a run cannot change; create another AutomationRun"),
    validation = Rule::new("!has(self.fromFailed) || (has(self.rerunOf) && has(self.workflowRef))").message("fromFailed goes with a rerun of a workflow; name the run to repeat in rerunOf and the workflow in workflowRef, or leave fromFailed out").field_path(".fromFailed"),
    validation = Rule::new("!has(self.fromFailed) || !self.fromFailed || !has(self.parameters) || self.parameters.size() == 0").message("parameters cannot change where fromFailed keeps what was made with them; leave one of the two out").field_path(".parameters"),
    validation = Rule::new("!has(self.approvals) || self.approvals.size() == 0 || has(self.workflowRef)").message("approvals go with a run of a workflow, whose steps ask for them; leave them out").field_path(".approvals"),
    validation = Rule::new("!has(oldSelf.approvals) || sets.contains(has(self.approvals) ? self.approvals.map(a, a.step) : [], oldSelf.approvals.map(a, a.step))").message("an approval that is given cannot be taken away; add yours to those that are there: kubectl patch --type=json with op add and path /spec/approvals/- does that").field_path(".approvals"),
    validation = Rule::new("!has(self.definition) || has(self.rerunOf)").message("definition says which definition a rerun takes; name the run to repeat in rerunOf, or leave definition out").field_path(".definition")
)]
#[schemars(transform = unwrapped)]
pub struct AutomationRunSpec {
    /// The task to run, in the same namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_ref: Option<TaskRef>,
    /// The workflow to run, in the same namespace, instead of a task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow_ref: Option<WorkflowRef>,
    /// Values for the parameters of the task or workflow; its defaults where left out.
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parameters: Vec<ParameterValue>,
    /// Why the run exists: `Manual` (where unset), `Rerun` (where `rerunOf` is set), or what only the operator sets:
    /// `Schedule`, `CatchUp`, `Backfill`, `Step`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger: Option<Trigger>,
    /// The slot that a scheduled run belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduled_time: Option<Time>,
    /// The step that it is, of which run of a workflow. Set by the operator only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<StepOf>,
    /// The run to run again, of the same task: its slot, idempotency key and parameters are kept, unless `parameters` gives
    /// others. It does not start beside another run of the same slot: under the task's concurrencyPolicy Forbid it is
    /// refused while one goes on, otherwise it waits for it.
    #[schemars(length(min = 1, max = 55))]
    #[x_kube(validation = matching("^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "must be the name of a run: lower case letters, digits and '-'"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rerun_of: Option<String>,
    /// Which definition a rerun takes: `Current` (where unset), the task as it is now, or `Original`, the one that the run
    /// in `rerunOf` ran, whatever became of the task since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub definition: Option<Definition>,
    /// With true a rerun of a workflow's run keeps the steps that ended well, with their outputs, and begins with those that did
    /// not: what is written otherwise than it was, what follows a step that is run again, and `finally`, are run again too. Of a
    /// step with `forEach` the items that ended well are kept. The whole workflow is run again where unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_failed: Option<bool>,
    /// Set to true to stop the run. It cannot be taken back. Exit code and log tail of what ran are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel: Option<bool>,
    /// Answers to steps that ask for approval. One can be added while its step asks, by whoever may `approve` runs, in their own
    /// name, and never be changed: `status.waitingOn` tells the command.
    #[schemars(length(max = 200), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["step"], "default" = []))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approvals: Vec<ApprovalDecision>,
}

/// Why a run exists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(description = "")]
pub enum Trigger {
    /// A person or a program asked for it.
    #[default]
    Manual,
    /// A slot of the task's schedule was due.
    Schedule,
    /// A slot had passed while nothing could start it.
    CatchUp,
    /// A `Backfill` asked for the slot.
    Backfill,
    /// Another run is run again.
    Rerun,
    /// It is a step of a workflow's run.
    Step,
}

impl Trigger {
    /// Whether it is the task's schedule that started the run.
    #[must_use]
    pub fn is_scheduled(self) -> bool {
        matches!(self, Trigger::Schedule | Trigger::CatchUp)
    }
}

/// Which definition a rerun takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(description = "")]
pub enum Definition {
    /// The task as it is now.
    #[default]
    Current,
    /// The one that the run that is repeated ran.
    Original,
}

impl AutomationRunSpec {
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

    /// The step that it is, where it is one: only the operator creates these.
    #[must_use]
    pub fn step_of(&self) -> Option<&StepOf> {
        self.step.as_ref().filter(|_| self.triggered_by() == Trigger::Step)
    }

    /// The slot that it was created for.
    #[must_use]
    pub fn slot(&self) -> Option<Timestamp> {
        self.scheduled_time.as_ref().map(|slot| slot.0)
    }

    /// The slot for which the task's schedule itself started it.
    #[must_use]
    pub fn schedule_slot(&self) -> Option<Timestamp> {
        self.slot().filter(|_| self.triggered_by().is_scheduled())
    }

    /// `trigger`, resolved.
    #[must_use]
    pub fn triggered_by(&self) -> Trigger {
        if self.rerun_of.is_some() { Trigger::Rerun } else { self.trigger.unwrap_or_default() }
    }
}

/// What the operator has seen of a run. Written by the operator only.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = unwrapped)]
pub struct AutomationRunStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Pending, Queued, Running or Finished. A summary for people and selectors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// How it ended; unset until it is finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// `Good` or `Bad`, to select what needs a look; unset until it is finished, and where nobody can know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<RunResult>,
    /// Why, in one word: the rule that decided the end or, while the run goes on, what it waits for.
    #[schemars(length(max = 128))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The same in a sentence, with what to do about it.
    #[schemars(length(max = 4096))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What a run that does not run waits on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_on: Option<Waiting>,
    /// The attempts, oldest first: one for each pod. The last twenty.
    #[schemars(length(max = 20))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<Attempt>,
    /// How many attempts there were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt_count: Option<i32>,
    /// What the container wrote as a JSON object to its termination-message path (`/dev/termination-log`), at most 4 KiB.
    #[schemars(schema_with = "any_object")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outputs: Option<Value>,
    /// The slot that it is for, also of a rerun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<Time>,
    /// What its containers get as `NIGHTSHIFT_IDEMPOTENCY_KEY`: the same for a slot's run, its attempts and its reruns.
    #[schemars(length(max = 128))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// The runs that this one repeats, the first one first. The last ten.
    #[schemars(length(max = 10))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rerun_chain: Vec<String>,
    /// Values that a rerun took for the task's parameters: its own, and those of the run that it repeats.
    #[schemars(length(max = 32))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parameters: Vec<ParameterValue>,
    /// How the steps of a workflow's run stand, as they are written; those of `finally` come last.
    #[schemars(length(max = 216), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<StepStatus>,
    /// What the steps of a workflow's run came to, before those of `finally` began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps_end: Option<StepsEnd>,
    /// Name of the `ControllerRevision` that holds the definition that it ran.
    #[schemars(length(max = 63))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// The generation of the task that it ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_generation: Option<i64>,
    /// When its first Job was created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    /// When it ended. Written once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Time>,
    /// From start to end, to be read by people; unset until it is finished.
    #[schemars(length(max = 32))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<String>,
    /// `Succeeded`: Unknown while it goes on, then True (Succeeded, NoData) or False.
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(description = "")]
pub enum Phase {
    /// No attempt has begun to run.
    Pending,
    /// It waits for another run to end, or for room under a cap.
    Queued,
    /// An attempt runs, or waits to be tried again.
    Running,
    /// It is over, and will not change.
    Finished,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(description = "")]
pub enum Outcome {
    /// It did its work.
    Succeeded,
    /// There was nothing to do. A good end.
    NoData,
    /// It failed, after the retries that it was allowed.
    Failed,
    /// It took too long: the last attempt, the whole run, or the wait to start.
    TimedOut,
    /// Somebody stopped it, or `Replace` did.
    Cancelled,
    /// It was not to run: its reason says why.
    Skipped,
    /// Nothing could start it in time.
    Missed,
    /// Nobody can know any more: its Job was gone before its end was seen.
    Unknown,
}

impl Outcome {
    /// Whether the outcome is good, bad, or neither.
    #[must_use]
    pub fn result(self) -> Option<RunResult> {
        match self {
            Outcome::Succeeded | Outcome::NoData => Some(RunResult::Good),
            Outcome::Failed | Outcome::TimedOut | Outcome::Cancelled | Outcome::Missed => Some(RunResult::Bad),
            Outcome::Skipped | Outcome::Unknown => None,
        }
    }
}

/// Good or bad, for the single pane of what needs a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(description = "")]
pub enum RunResult {
    /// Succeeded or NoData.
    Good,
    /// Every other known end.
    Bad,
}

/// What a run waits on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Waiting {
    /// In one word, for example `ImagePullBackOff`, `SecretMissing`, `Unschedulable`, `Backoff`.
    #[schemars(length(max = 128))]
    pub reason: String,
    /// In a sentence.
    #[schemars(length(max = 2048))]
    pub message: String,
    /// When the wait ends by itself at the latest: the retry is due, or `timeouts` stop the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
}
