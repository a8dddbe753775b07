//! How many runs may go on at once: the caps of one task, and what it takes of pools that tasks share.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::vocabulary::matching;

/// How many runs of a task may go on at once, whatever started them: its schedule, a person, a backfill, a workflow. A run
/// for which there is no room waits in phase `Queued`, and says for whom. It is never started beyond a cap, and what runs is
/// never stopped for one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.max) || (has(self.pools) && self.pools.size() > 0)").message("concurrency needs max or pools: priority alone has no effect"),
    validation = Rule::new("!has(self.pools) || self.pools.all(p, self.pools.exists_one(q, q.poolRef.name == p.poolRef.name))").message("two entries of concurrency.pools name the same pool; make them one, with the sum of their slots").field_path(".pools")
)]
pub struct Concurrency {
    /// How many runs of the task go on at once; as many as there are where unset.
    #[schemars(range(min = 1, max = 1000))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<i32>,
    /// What a run holds of pools, from before its first attempt until its end, also while it waits to be tried again. It gets all
    /// of it at once or nothing, so runs that need several pools cannot block one another.
    #[schemars(length(max = 8))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pools: Vec<PoolUse>,
    /// Which of the runs that wait is looked at first: that with the higher number, then the older one. 0 where unset. One that
    /// does not fit is passed over by those that do.
    #[schemars(range(min = -1000, max = 1000))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
}

/// What a run holds of one pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PoolUse {
    /// The pool, in the same namespace.
    pub pool_ref: PoolRef,
    /// How many of its slots; 1 where unset. More than the pool has can never be had: the run and the task's `Ready` say so.
    #[schemars(range(min = 1, max = 1000))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slots: Option<i32>,
}

/// A pool in the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PoolRef {
    /// Name of the `ConcurrencyPool`.
    #[schemars(length(min = 1, max = 40))]
    #[x_kube(validation = matching("^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "must be the name of a pool: lower case letters, digits and '-'"))]
    pub name: String,
}
