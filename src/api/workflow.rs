//! `Workflow`: tasks in an order, with conditions, fan-out and a clean end.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    AutomationTaskSpec, ClockStatus, ConcurrencyPolicy, History, InlineTask, LastRun, NotRun, Outcome, Owner, Parameter, Retry, Schedule,
    Slo, SloStatus, TaskRef, Timeouts, WorkflowRef,
    vocabulary::{any_items, matching, no_nul, unwrapped},
};

/// Tasks in an order: each step is a run of its own.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "nightshift.dev",
    version = "v1alpha1",
    kind = "Workflow",
    namespaced,
    shortname = "awf",
    category = "nightshift",
    status = "WorkflowStatus",
    derive = "PartialEq",
    doc = "Tasks in an order, with conditions, fan-out and a clean end; each step is an AutomationRun. Create an AutomationRun with workflowRef to run it now.",
    printcolumn(name = "Schedule", type_ = "string", json_path = ".status.schedule", description = "When it runs by itself, as resolved"),
    printcolumn(name = "Next", type_ = "string", json_path = ".status.next", description = "The next slot, in the schedule's zone"),
    printcolumn(name = "Steps", type_ = "integer", json_path = ".status.stepCount", description = "How many steps it has, finally included"),
    printcolumn(name = "Last", type_ = "date", json_path = ".status.lastRun.completionTime", description = "When the last finished run ended"),
    printcolumn(name = "Outcome", type_ = "string", json_path = ".status.lastRun.outcome", description = "How the last finished run ended"),
    printcolumn(name = "SLO", type_ = "string", json_path = ".status.slo.summary", description = "How its objective stands, and how many slots may yet be bad"),
    printcolumn(name = "Owner", type_ = "string", json_path = ".spec.owner.team", description = "Team that owns it"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status", description = "Whether the spec is accepted and all that it refers to is there"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Active", type_ = "integer", json_path = ".status.activeCount", priority = 1, description = "Runs not finished"),
    printcolumn(name = "Status", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].message", priority = 1, description = "What Ready says"),
    selectable = ".spec.owner.team",
    validation = Rule::new("self.metadata.name.size() <= 40").message("metadata.name must be at most 40 characters, so that the names of its runs and Jobs fit"),
    validation = Rule::new("self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')").message("metadata.name must be lower case letters, digits and '-', without dots")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.steps.all(s, !has(s.dependsOn) || sets.contains(self.steps.map(t, t.name), s.dependsOn.map(d, d.step)))").message("steps[].dependsOn names a step that is not in steps; correct the name").field_path(".steps"),
    validation = Rule::new("!has(self.finally) || self.finally.all(f, !self.steps.exists(s, s.name == f.name))").message("steps and finally have an entry of the same name; rename one").field_path(".finally"),
    validation = Rule::new("!has(self.schedule) || !has(self.parameters) || self.parameters.all(p, !(has(p.required) && p.required) || has(p.fromSlot))").message("parameters with required: true cannot stand beside a schedule, which has nobody to ask; give them a default or fromSlot").field_path(".parameters"),
    validation = Rule::new("has(self.schedule) || !has(self.parameters) || self.parameters.all(p, !has(p.fromSlot))").message("parameters with fromSlot need a schedule, which has the slots; add one, or use default").field_path(".parameters"),
    validation = Rule::new("!has(self.slo) || has(self.schedule)").message("slo counts the slots of a schedule; add a schedule, or leave slo out").field_path(".slo"),
    validation = Rule::new("!has(self.finally) || self.finally.all(f, !has(f.dependsOn))").message("steps of finally all start when the others have ended; remove their dependsOn").field_path(".finally"),
    validation = Rule::new("!has(self.finally) || self.finally.all(f, !has(f.approval))").message("steps of finally wait for nobody; move the approval to steps").field_path(".finally")
)]
#[schemars(transform = unwrapped)]
pub struct WorkflowSpec {
    /// Who answers for it. Required.
    pub owner: Owner,
    /// What it is for, in a sentence.
    #[schemars(length(max = 1024))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Values that a run may set. Steps get them through expressions: `parameters.NAME`.
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parameters: Vec<Parameter>,
    /// When it runs by itself: as a task does, with the operator as its clock. Without it the workflow runs on demand only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
    /// The steps. Each starts as soon as those that it depends on have ended as it wants; those that depend on nothing start
    /// at once.
    #[schemars(length(min = 1, max = 200), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub steps: Vec<Step>,
    /// Steps that run after all others have ended, whatever their outcome: also when the run was cancelled or took too long.
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub finally: Vec<Step>,
    /// Whether no further step is started once a step ended badly and no other step takes care of it (true where unset). What
    /// runs may end. With false all that does not depend on the bad step still runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fail_fast: Option<bool>,
    /// How many runs of steps may go on at once, each item of a `forEach` counted; no limit where unset.
    #[schemars(range(min = 1, max = 1000))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parallelism: Option<i32>,
    /// How long things may take, in seconds. All are finite where unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<WorkflowTimeouts>,
    /// How many of the schedule's slots must end well and in time; no objective where unset. A slot whose run ends Succeeded or
    /// NoData in time is good; one whose run ends otherwise (also Cancelled, by a person or by `Replace`) or is late, and one that
    /// was Missed, is bad. Neither: slots that are Skipped or Unknown, and those whose run somebody deleted before its end. Runs
    /// by hand, reruns and backfills do not count, so none of them mends a slot. `status.slo` and the condition `ObjectiveMet`
    /// tell how it stands; `Ready` never does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slo: Option<Slo>,
    /// How many finished runs are kept. The runs of their steps go with them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<History>,
}

impl WorkflowSpec {
    /// `schedule.concurrencyPolicy`, resolved.
    #[must_use]
    pub fn policy(&self) -> ConcurrencyPolicy {
        self.schedule.as_ref().map(Schedule::policy).unwrap_or_default()
    }
}

/// How long a run of a workflow may take.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(has(self.finallySeconds) ? self.finallySeconds : 600) < (has(self.runSeconds) ? self.runSeconds : 86400)").message("finallySeconds is a part of runSeconds and must be less (600 and 86400 where unset)").field_path(".finallySeconds")
)]
pub struct WorkflowTimeouts {
    /// Seconds from the run's start to its end, `finally` included. Where unset 86400 (a day), and as long as its approvals may
    /// wait, one after another.
    #[schemars(range(min = 1, max = 31_536_000))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_seconds: Option<i64>,
    /// Seconds of `runSeconds` that are kept for `finally`: the other steps are stopped so long before. Also what `finally`
    /// may take where the run is cancelled. 600 where unset; of no effect without `finally`.
    #[schemars(range(min = 1, max = 86400))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finally_seconds: Option<i64>,
}

/// A step of a workflow: a run of a task or of another workflow, or a wait for somebody's approval.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.taskRef), has(self.workflowRef), has(self.task), has(self.approval)].filter(one, one).size() == 1").message("a step needs exactly one of taskRef, workflowRef, task and approval"),
    validation = Rule::new("has(self.taskRef) || !has(self.retry) && !has(self.timeouts)").message("retry and timeouts of a step go with taskRef, and say otherwise than its task; write them in task, or in the workflow that workflowRef names"),
    validation = Rule::new("!has(self.approval) || !has(self.parameters) && !has(self.forEach)").message("a step with approval runs nothing; remove its parameters and forEach").field_path(".approval"),
    validation = Rule::new("!has(self.dependsOn) || self.dependsOn.all(d, d.step != self.name)").message("a step cannot depend on itself; remove it from dependsOn").field_path(".dependsOn")
)]
pub struct Step {
    /// Name of the step: unique among `steps` and `finally`.
    #[schemars(length(min = 1, max = 40))]
    #[x_kube(validation = matching("^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "must be lower case letters, digits and '-', starting and ending with a letter or digit"))]
    pub name: String,
    /// The task to run, in the same namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_ref: Option<TaskRef>,
    /// The workflow to run, in the same namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow_ref: Option<WorkflowRef>,
    /// A task that no other workflow needs, written here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<Box<InlineTask>>,
    /// Waits until somebody who may approve says yes or no, and runs nothing itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Approval>,
    /// Steps that must have ended before this one starts, each with an outcome that this one wants.
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["step"]))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<Dependency>,
    /// Whether the step is run at all, worked out when it could start: a CEL expression that gives true or false, such as
    /// `parameters.MODE == 'full' && steps.fetch.outputs.rows > 0`. With false the step is Skipped. Known are
    /// `parameters.NAME` (texts), `steps.NAME.outcome`, `steps.NAME.outputs` and `steps.NAME.results` of the steps that this
    /// one depends on, directly or not (`steps['my-step']` where the name has a '-'), `slot`, and in `finally`
    /// `workflow.outcome`.
    #[schemars(length(min = 1, max = 1024))]
    #[x_kube(validation = no_nul())]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// Values for the parameters of the task or workflow; its defaults where left out.
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parameters: Vec<StepParameter>,
    /// Runs the step once for each item of a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_each: Option<ForEach>,
    /// How often and when a failed attempt is tried again here: what is set stands instead of what the task in `taskRef` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    /// How long things may take here, in seconds: what is set stands instead of what the task in `taskRef` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<Timeouts>,
}

impl Step {
    /// What the step says otherwise than the task that it runs.
    pub fn adjust(&self, task: &mut AutomationTaskSpec) {
        if let Some(here) = &self.retry {
            let there = task.retry.take().unwrap_or_default();
            let limit = here.limit.or(there.limit);
            // Where the step takes the retries away, the task's waits between them go too.
            let backoff = here.backoff.clone().or(there.backoff.filter(|_| limit.is_some_and(|limit| limit > 0)));
            task.retry = Some(Retry { limit, backoff, on_timeout: here.on_timeout.or(there.on_timeout) });
        }
        if let Some(here) = &self.timeouts {
            let there = task.timeouts.take().unwrap_or_default();
            task.timeouts = Some(Timeouts {
                attempt_seconds: here.attempt_seconds.or(there.attempt_seconds),
                pending_seconds: here.pending_seconds.or(there.pending_seconds),
                run_seconds: here.run_seconds.or(there.run_seconds),
            });
        }
    }
}

/// A wait for somebody's approval. With yes the step is Succeeded, with no it is Failed (`Rejected`). Its outputs are `by` and
/// `reason`, as whoever answered wrote them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Approval {
    /// What is to be approved, in a sentence, for whoever is asked.
    #[schemars(length(max = 256))]
    #[x_kube(validation = no_nul())]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// How long it waits, in seconds; 86400 (a day) where unset. Then the step is `TimedOut`. Less than the workflow's
    /// `timeouts.runSeconds`, where that is set.
    #[schemars(range(min = 1, max = 31_536_000))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<i64>,
}

impl Approval {
    /// `timeoutSeconds`, resolved.
    #[must_use]
    pub fn timeout(&self) -> i64 {
        self.timeout_seconds.unwrap_or(86_400)
    }
}

/// What a step waits for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Dependency {
    /// Name of the step that must have ended.
    #[schemars(length(min = 1, max = 40))]
    pub step: String,
    /// The outcomes with which this step is run; `[Succeeded]` where unset. With another one this step is Skipped.
    #[schemars(length(min = 1, max = 8), extend("x-kubernetes-list-type" = "set"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcomes: Option<Vec<Outcome>>,
}

/// A value for a parameter of a step's task or workflow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.value) != has(self.expression)").message("a parameter of a step needs exactly one of value and expression"))]
pub struct StepParameter {
    /// Name of the parameter.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// Its value, as it stands.
    #[schemars(length(max = 1024))]
    #[x_kube(validation = no_nul())]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// A CEL expression that gives its value, such as `steps.fetch.outputs.file` or `item.region`. A number or truth value
    /// becomes text, a list or map JSON. Known is what `when` knows, and in a step with `forEach` also `item` and `index`.
    #[schemars(length(min = 1, max = 1024))]
    #[x_kube(validation = no_nul())]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expression: Option<String>,
}

/// A run for each item of a list: exactly one of `items` and `expression` gives it, which `Ready` tells, since the API server
/// has no eyes for a list of anything.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ForEach {
    /// The items, of any kind: texts, numbers, objects.
    #[schemars(schema_with = "any_items")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub items: Option<Vec<Value>>,
    /// A CEL expression that gives the list, such as `steps.fetch.outputs.files`.
    #[schemars(length(min = 1, max = 1024))]
    #[x_kube(validation = no_nul())]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expression: Option<String>,
    /// How many items may run at once; no limit but the workflow's where unset.
    #[schemars(range(min = 1, max = 1000))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parallelism: Option<i32>,
    /// The longest list that is taken; 100 where unset. With a longer one the step fails before an item runs.
    #[schemars(range(min = 1, max = 1000))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_items: Option<i32>,
    /// Whether no further item is started once one ended badly (false where unset): the others run all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fail_fast: Option<bool>,
    /// How many items may end badly and the step still counts as Succeeded; 0 where unset.
    #[schemars(range(min = 0, max = 1000))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_failed: Option<i32>,
}

/// An output of a task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    /// Name of the member.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = matching("^[A-Za-z_][A-Za-z0-9_]*$", "must be letters, digits and '_', not starting with a digit: expressions name it"))]
    pub name: String,
    /// Kind of its value: `String` where unset.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<OutputType>,
    /// What it means.
    #[schemars(length(max = 1024))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// Kind of an output's value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(description = "")]
pub enum OutputType {
    /// A text.
    #[default]
    String,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// True or false.
    Boolean,
    /// A JSON array, of anything.
    List,
    /// A JSON object, of anything.
    Object,
}

/// What the operator has seen of a workflow. Written by the operator only.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = unwrapped)]
pub struct WorkflowStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready` (accepted, and all that it refers to is there; says nothing of how runs end), `Suspended`, `LastRunSucceeded`, `ObjectiveMet` (with `slo`); `Stalled`
    /// only while the spec needs a human.
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Which clock starts it by itself: `Operator`, or `None` without a schedule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<ClockStatus>,
    /// The schedule as resolved (`H` replaced), with its zone, or `on demand`.
    #[schemars(length(max = 2048))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    /// The next slot, in the schedule's zone, to be read by people; unset while nothing is due.
    #[schemars(length(max = 64))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// The next slot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_schedule_time: Option<Time>,
    /// Every slot up to this time has been decided: it was run, or is in `notRun`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_through: Option<Time>,
    /// Slots that brought no run, newest last: neighbours that share outcome and reason are told together. The last twenty.
    #[schemars(length(max = 20))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_run: Vec<NotRun>,
    /// How many steps it has, `finally` included.
    #[serde(default)]
    pub step_count: i32,
    /// Runs that are not finished, oldest first; the first ten.
    #[schemars(length(max = 10))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub active: Vec<String>,
    /// How many runs are not finished.
    #[serde(default)]
    pub active_count: i32,
    /// The run that finished last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_run: Option<LastRun>,
    /// When a run last ended well (Succeeded or NoData).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_successful_time: Option<Time>,
    /// How its objective stands; unset where it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slo: Option<SloStatus>,
    /// Name of the `ControllerRevision` that holds the workflow and all that it refers to as they are now.
    #[schemars(length(max = 63))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
}
