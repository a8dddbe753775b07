//! The steps of a workflow's run, as the run and the runs of its steps tell of them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Outcome, Phase,
    vocabulary::{matching, one_line},
};

/// A step of a run of a workflow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepOf {
    /// Name of the run of the workflow.
    #[schemars(length(min = 1, max = 55))]
    pub workflow_run: String,
    /// Name of the workflow that has the step.
    #[schemars(length(min = 1, max = 40))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow: Option<String>,
    /// Name of the step.
    #[schemars(length(min = 1, max = 40))]
    pub name: String,
    /// Index of the item, counted from 0, in a step with `forEach`.
    #[schemars(range(min = 0, max = 1000))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<i32>,
}

/// How a step of a workflow's run stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepStatus {
    /// Name of the step.
    pub name: String,
    /// Pending, Running or Finished.
    pub phase: Phase,
    /// Its run; unset before it began, in a step with `forEach`, of which `items` tells, and in one with `approval`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// How it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// Why, in one word; while it runs: on what its run waits, where that is out of the ordinary.
    #[schemars(length(max = 128))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The same in a sentence; before it begins: what it waits for.
    #[schemars(length(max = 256))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// How many runs it has had.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub started: i32,
    /// What became of the items of a step with `forEach`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub items: Option<Items>,
    /// Who was asked when, and what the answer was, in a step with `approval`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<ApprovalStatus>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_zero(number: &i32) -> bool {
    *number == 0
}

/// Somebody's answer to a step with `approval`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self == oldSelf").message("an approval cannot change once it is given; cancel the run to stop what follows"))]
pub struct ApprovalDecision {
    /// Name of the step that asks.
    #[schemars(length(min = 1, max = 40))]
    #[x_kube(validation = matching("^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "must be the name of a step: lower case letters, digits and '-'"))]
    pub step: String,
    /// `Approve` or `Reject`.
    pub decision: Verdict,
    /// Who says so: the user name of whoever writes this, as `kubectl auth whoami` tells it.
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = one_line())]
    pub by: String,
    /// Why, in a sentence.
    #[schemars(length(max = 512))]
    #[x_kube(validation = one_line())]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Yes or no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(description = "")]
pub enum Verdict {
    /// What follows may run.
    Approve,
    /// It must not: the step is Failed.
    Reject,
}

/// How an approval stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalStatus {
    /// When the step began to ask.
    pub asked_time: Time,
    /// Until when it waits for an answer.
    pub until: Time,
    /// The answer; unset while there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Verdict>,
    /// Who gave it.
    #[schemars(length(max = 512))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Why, as they wrote.
    #[schemars(length(max = 512))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When it was given, or seen by the operator in time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_time: Option<Time>,
}

/// What became of the items of a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Items {
    /// How many there are.
    pub total: i32,
    /// How many go on.
    pub running: i32,
    /// How many Succeeded.
    pub succeeded: i32,
    /// How many ended NoData.
    pub no_data: i32,
    /// How many ended badly.
    pub failed: i32,
    /// How many were skipped by themselves.
    pub skipped: i32,
}

/// What the steps of a workflow's run came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepsEnd {
    /// How they ended together.
    pub outcome: Outcome,
    /// Why, in one word.
    #[schemars(length(max = 128))]
    pub reason: String,
    /// The same in a sentence.
    #[schemars(length(max = 1024))]
    pub message: String,
    /// When that was seen.
    pub time: Time,
}
