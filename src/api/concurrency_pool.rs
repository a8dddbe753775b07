//! `ConcurrencyPool`: slots that tasks share.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::vocabulary::unwrapped;

/// Slots that the runs of several tasks share: a database that takes eight connections, a partner's API.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "nightshift.dev",
    version = "v1alpha1",
    kind = "ConcurrencyPool",
    namespaced,
    shortname = "apool",
    category = "nightshift",
    status = "ConcurrencyPoolStatus",
    derive = "PartialEq",
    doc = "Slots that the runs of several tasks share: a database that takes eight connections, a partner's API. A task names it in concurrency.pools. A slot is held by a run that is not finished, and is free when that ends or is deleted.",
    printcolumn(name = "Slots", type_ = "integer", json_path = ".spec.slots", description = "How many slots there are"),
    printcolumn(name = "Used", type_ = "integer", json_path = ".status.used", description = "How many are held"),
    printcolumn(name = "Queued", type_ = "integer", json_path = ".status.queued", description = "Runs that wait for slots"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.message", priority = 1),
    validation = Rule::new("self.metadata.name.size() <= 40").message("metadata.name must be at most 40 characters"),
    validation = Rule::new("self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')").message("metadata.name must be lower case letters, digits and '-', without dots")
)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = unwrapped)]
pub struct ConcurrencyPoolSpec {
    /// How many slots there are. It may be changed at any time: more let waiting runs start at once; where it is less than what
    /// is held, nobody is stopped and nobody starts until enough have ended. 0 closes the pool.
    #[schemars(range(min = 0, max = 1000))]
    pub slots: i32,
    /// What it stands for, in a sentence.
    #[schemars(length(max = 1024))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// What the operator has seen of a pool. Written by the operator only, at most once in two seconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = unwrapped)]
pub struct ConcurrencyPoolStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// How many slots are held.
    #[serde(default)]
    pub used: i32,
    /// How many runs hold them.
    #[serde(default)]
    pub holding: i32,
    /// How many runs wait that need slots of this pool. What they wait for may be another cap of theirs.
    #[serde(default)]
    pub queued: i32,
    /// How it stands, in a sentence.
    #[schemars(length(max = 1024))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Runs that hold slots, by name; the first fifty.
    #[schemars(length(max = 50), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["run"]))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holders: Vec<PoolRun>,
    /// Runs that wait, in the order in which they are looked at; the first ten.
    #[schemars(length(max = 10), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["run"]))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub queue: Vec<PoolRun>,
    /// `Ready`: whether runs may take slots; False where the pool is closed (`slots: 0`).
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// A run that holds slots of a pool, or waits for them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PoolRun {
    /// Name of the `AutomationRun`.
    #[schemars(length(max = 63))]
    pub run: String,
    /// Its task.
    #[schemars(length(max = 63))]
    pub task: String,
    /// How many slots it holds, or needs.
    pub slots: i32,
}
