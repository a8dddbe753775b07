//! An attempt of a run: one pod.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One try: a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    /// The Job that the pod belongs to.
    pub job: String,
    /// The pod; unset where it was gone before it was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// The node that it ran on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// When the container started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    /// When the container ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finish_time: Option<Time>,
    /// Exit code of the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// What the end means; unset while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<AttemptClass>,
    /// The rule or fact that decided the class, for example `exitCodes.fatal`, `OOMKilled`, `PodGone`.
    #[schemars(length(max = 128))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The same in a sentence.
    #[schemars(length(max = 1024))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The end of a failed container's log, as Kubernetes kept it: at most 80 lines and 2 KiB.
    #[schemars(length(max = 4096))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_tail: Option<String>,
}

/// What the end of an attempt means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(description = "")]
pub enum AttemptClass {
    /// It did its work.
    Success,
    /// There was nothing to do.
    NoData,
    /// It failed in a way that may pass: tried again while `retry.limit` allows.
    Retryable,
    /// It failed in a way that will not pass.
    Fatal,
    /// It ran into `timeouts.attemptSeconds`.
    TimedOut,
    /// The cluster took its pod away (eviction, drain, lost node). Does not use up a retry.
    Disrupted,
    /// The operator stopped it, for the run's timeout or a cancel.
    Stopped,
    /// Its pod was gone before its end was seen.
    PodGone,
}
