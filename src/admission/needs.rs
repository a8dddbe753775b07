//! What a run needs before it may start, and what it holds until its end.

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::Job;

use crate::api::{AutomationTask, label};

/// As many slots of one pool as a task can ask for.
const MARKED: std::ops::RangeInclusive<i64> = 1..=1000;

/// Slots of pools, by name of the pool.
pub type Slots = BTreeMap<String, i64>;

/// What the caps of a task ask of each of its runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// The task.
    pub task: String,
    /// How many of its runs go on at once.
    pub max: Option<i64>,
    /// What a run takes of pools.
    pub pools: Slots,
    /// Who is looked at first.
    pub priority: i32,
}

impl Needs {
    /// Those of a task, where it has caps.
    #[must_use]
    pub fn of(task: &AutomationTask) -> Option<Self> {
        let concurrency = task.spec.concurrency.as_ref()?;
        Some(Self {
            task: task.metadata.name.clone().unwrap_or_default(),
            max: concurrency.max.map(i64::from),
            pools: concurrency.pools.iter().map(|of| (of.pool_ref.name.clone(), i64::from(of.slots.unwrap_or(1)))).collect(),
            priority: concurrency.priority.unwrap_or(0),
        })
    }

    /// What its Job is marked with: whoever comes after us knows by it that the run was let in, and with what.
    #[must_use]
    pub fn mark(&self) -> String {
        serde_json::to_string(&self.pools).unwrap_or_default()
    }
}

/// Whether the Job bears a mark, whatever it says.
#[must_use]
pub fn is_marked(job: &Job) -> bool {
    job.metadata.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(label::HOLDS))
}

/// What the mark of a Job says that its run holds. `None` where it has none, or a spoilt one: people can write there what they like.
#[must_use]
pub fn marked(job: &Job) -> Option<Slots> {
    let mark = job.metadata.annotations.as_ref()?.get(label::HOLDS)?;
    let slots: Slots = serde_json::from_str(mark).ok()?;
    slots.values().all(|slots| MARKED.contains(slots)).then_some(slots)
}
