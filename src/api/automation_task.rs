//! `AutomationTask`: one automation, with its owner, container, schedule and limits.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Concurrency, ConcurrencyPolicy, EnvVar, ExitCodes, History, Outcome, Output, Owner, Parameter, PodTemplate, Resources, Retry, Schedule,
    Script, SecretInjection, Timeouts,
    vocabulary::{any_object, matching, no_nul_in_any, object_name, unwrapped},
};

/// One automation: who owns it, what runs, when, and within which limits.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "nightshift.dev",
    version = "v1alpha1",
    kind = "AutomationTask",
    namespaced,
    shortname = "atask",
    category = "nightshift",
    status = "AutomationTaskStatus",
    derive = "PartialEq",
    doc = "One automation: who owns it, what runs, when, and within which limits. Create an AutomationRun to run it now.",
    printcolumn(name = "Schedule", type_ = "string", json_path = ".status.schedule", description = "When it runs by itself, as resolved"),
    printcolumn(name = "Next", type_ = "string", json_path = ".status.next", description = "The next slot, in the schedule's zone"),
    printcolumn(name = "Last", type_ = "date", json_path = ".status.lastRun.completionTime", description = "When the last finished run ended"),
    printcolumn(name = "Outcome", type_ = "string", json_path = ".status.lastRun.outcome", description = "How the last finished run ended"),
    printcolumn(name = "Owner", type_ = "string", json_path = ".spec.owner.team", description = "Team that owns it"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status", description = "Whether the spec is accepted and the schedule armed"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Clock", type_ = "string", json_path = ".status.clock.type", priority = 1, description = "Who starts it: CronJob or Operator"),
    printcolumn(name = "Active", type_ = "integer", json_path = ".status.activeCount", priority = 1, description = "Runs not finished"),
    printcolumn(name = "Status", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].message", priority = 1, description = "What Ready says"),
    selectable = ".spec.owner.team",
    validation = Rule::new("self.metadata.name.size() <= 40").message("metadata.name must be at most 40 characters, so that the names of its runs and Jobs fit"),
    validation = Rule::new("self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')").message("metadata.name must be lower case letters, digits and '-', without dots")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.image) || (has(self.template) && self.template.spec.containers.exists(c, c.name == 'main' && has(c.image)))").message("image is required, unless template has a container named main with an image").field_path(".image"),
    validation = Rule::new("!has(self.script) || (!has(self.command) && !has(self.args))").message("script cannot stand beside command or args: the script is the command; remove one of them").field_path(".script"),
    validation = Rule::new("!has(self.schedule) || !has(self.parameters) || self.parameters.all(p, !(has(p.required) && p.required) || has(p.fromSlot))").message("parameters with required: true cannot stand beside a schedule, which has nobody to ask; give them a default or fromSlot").field_path(".parameters"),
    validation = Rule::new("has(self.schedule) || !has(self.parameters) || self.parameters.all(p, !has(p.fromSlot))").message("parameters with fromSlot need a schedule, which has the slots; add one, or use default").field_path(".parameters"),
    validation = Rule::new("!has(self.env) || !has(self.parameters) || self.env.all(e, self.parameters.all(p, p.name != e.name))").message("env and parameters have an entry of the same name; rename one").field_path(".env"),
    validation = Rule::new("!has(self.secrets) || !has(self.parameters) || self.secrets.all(s, self.parameters.all(p, p.name != s.name))").message("secrets and parameters have an entry of the same name; rename one").field_path(".secrets"),
    validation = Rule::new("!has(self.secrets) || !has(self.env) || self.secrets.all(s, self.env.all(e, e.name != s.name))").message("secrets and env have an entry of the same name; rename one").field_path(".secrets"),
    validation = Rule::new("!has(self.secrets) || self.secrets.all(s, !has(s.mountPath) || self.secrets.exists_one(t, has(t.mountPath) && t.mountPath == s.mountPath))").message("two secrets have the same mountPath; change one").field_path(".secrets"),
    validation = Rule::new("!has(self.secrets) || self.secrets.all(s, !has(s.mountPath) || !self.secrets.exists(t, has(t.mountPath) && t.mountPath.startsWith(s.mountPath + '/')))").message("the mountPath of one secret lies below that of another: a file cannot be a directory; change one").field_path(".secrets")
)]
#[schemars(transform = unwrapped)]
pub struct AutomationTaskSpec {
    /// Who answers for it. Required.
    pub owner: Owner,
    /// What it is for, in a sentence.
    #[schemars(length(max = 1024))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Image of the container, for example `registry.example.com/import:1.4`.
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = matching(r"^[!-~]+$", "must be the name of an image, without blanks, such as registry.example.com/import:1.4"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Command that runs instead of the image's entry point. `$(NAME)` is expanded by Kubernetes.
    #[schemars(length(min = 1, max = 64), inner(length(max = 32768)))]
    #[x_kube(validation = no_nul_in_any())]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    /// Arguments of the command, or of the image's entry point. `$(NAME)` is expanded by Kubernetes.
    #[schemars(length(max = 256), inner(length(max = 32768)))]
    #[x_kube(validation = no_nul_in_any())]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub args: Option<Vec<String>>,
    /// A script to run as it stands, instead of `command` and `args`: it arrives byte for byte, nothing in it is expanded
    /// or needs escaping.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script: Option<Script>,
    /// Environment variables with literal values.
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<EnvVar>,
    /// CPU and memory of the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Service account of the pod. Where unset the pod gets the namespace's default one without its token.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = object_name())]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account_name: Option<String>,
    /// The full way: a pod template, for volumes, sidecars, CSI secrets, Vault Agent annotations, node selection. It needs
    /// a container named `main`, or `image`, which makes one. The short fields are merged into `main`; what the template
    /// says wins over Nightshift's defaults. Every pod field is kept as written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<PodTemplate>,
    /// Values that a run may set.
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parameters: Vec<Parameter>,
    /// What the container tells at its end, as members of the JSON object that it writes to `/dev/termination-log`. A
    /// workflow's expressions may use what is declared here: `steps.NAME.outputs.OUTPUT`.
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<Output>,
    /// Secrets injected when the container starts.
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretInjection>,
    /// When it runs by itself. Without it the task runs on demand only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
    /// What the container's exit codes mean.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_codes: Option<ExitCodes>,
    /// How often and when a failed attempt is tried again. No retries where unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    /// How long things may take, in seconds. All are finite where unset: nothing hangs for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<Timeouts>,
    /// How many of its runs go on at once, and what they take of pools that tasks share. What the task says now counts for
    /// every run that waits, whatever it was created with. A CronJob cannot keep it: the operator starts the slots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<Concurrency>,
    /// How many finished runs are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<History>,
}

impl AutomationTaskSpec {
    /// The overlap policy of its schedule, resolved.
    #[must_use]
    pub fn policy(&self) -> ConcurrencyPolicy {
        self.schedule.as_ref().map(Schedule::policy).unwrap_or_default()
    }
}

/// What the operator has seen of a task. Written by the operator only.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = unwrapped)]
pub struct AutomationTaskStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready` (accepted and armed; says nothing of how runs end), `Suspended`, `LastRunSucceeded`; `Stalled` only while
    /// the spec needs a human.
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Which clock starts the task by itself, and why.
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
    /// Every slot up to this time has been decided: it was run, or is in `notRun`. Kept where the operator is the clock, and
    /// while the schedule is suspended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_through: Option<Time>,
    /// Slots that brought no run, newest last: neighbours that share outcome and reason are told together. The last twenty.
    #[schemars(length(max = 20))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_run: Vec<NotRun>,
    /// Name of the `ControllerRevision` that holds the definition as it is now. What a run was started from stays the same,
    /// whatever becomes of the task: see `status.revision` of the run.
    #[schemars(length(max = 63))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// The CronJobs that keep the schedule, as the operator last wrote them.
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cron_jobs: Vec<CronJobRecord>,
}

/// Which clock starts a task by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClockStatus {
    /// `CronJob` (keeps firing with the operator down), `Operator` (needs it) or `None` (on demand only).
    #[serde(rename = "type")]
    pub kind: ClockKind,
    /// Why this one.
    #[schemars(length(max = 1024))]
    pub reason: String,
    /// Since when this clock starts the slots: it started none before, and the one before it starts none after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// The first slot that was, or will be, this clock's to start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_slot: Option<Time>,
    /// Where the operator is the clock: what decides when the slots are, as it was last taken up. An edit of that runs no
    /// slot that lies before it.
    #[schemars(schema_with = "any_object")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
}

/// Neighbouring slots that brought no run, for the same reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NotRun {
    /// `Missed`: nothing could start it in time. `Skipped`: it was not to run.
    pub outcome: Outcome,
    /// Why, in one word. Missed: `DeadlinePassed` (nothing started it within `startingDeadlineSeconds`), `Superseded` (a later
    /// slot came first), `CatchUpLimit`, `InvalidParameters`, `NotReady` (of a workflow that could not be run). Skipped: `Suspended`, `Forbid`, `QueueFull`, `NameTaken`,
    /// `Edited` (the schedule was edited after its time).
    #[schemars(length(max = 64))]
    pub reason: String,
    /// The first slot.
    pub first_slot: Time,
    /// The last slot.
    pub last_slot: Time,
    /// How many slots.
    pub slots: i64,
}

/// The clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(description = "")]
pub enum ClockKind {
    /// Kubernetes' CronJob controller.
    CronJob,
    /// The operator.
    Operator,
    /// No schedule.
    None,
}

/// A CronJob as the operator last wrote it. A different generation on the object means that somebody edited it by hand,
/// and it is put right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CronJobRecord {
    /// Name of the CronJob.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// Its generation after our write.
    pub generation: i64,
}

/// The run that finished last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LastRun {
    /// Name of the `AutomationRun`.
    pub name: String,
    /// How it ended.
    pub outcome: Outcome,
    /// Why, in one word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Why, in a sentence.
    #[schemars(length(max = 1024))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// When its first Job was created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Time>,
}
