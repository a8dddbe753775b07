//! Reads the world into what a planner sees: from caches, and live where a cache may be behind or does not hold it.

pub(crate) mod automation_run;
mod automation_task;
pub(crate) mod backfill;
mod broken;
mod cache;
mod caches;
mod concurrency_pool;
mod definitions;
mod events;
mod held;
mod listing;
mod slots;
mod told;
mod touched;
mod workflow;
mod workflow_run;

pub use automation_run::observe as automation_run;
pub use automation_task::{cron_job, observe as automation_task};
pub use backfill::observe as backfill;
pub use cache::Cache;
pub use caches::{Caches, start};
pub use concurrency_pool::observe as concurrency_pool;
pub use slots::InNamespace;
pub use touched::Touched;
pub use workflow::observe as workflow;
pub use workflow_run::observe as workflow_run;

/// The API server would not tell.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {what}: {source}")]
pub struct Error {
    /// What was to be read.
    pub what: String,
    /// Why not.
    #[source]
    pub source: Box<kube::Error>,
}

fn reading(what: impl Into<String>) -> impl FnOnce(kube::Error) -> Error {
    let what = what.into();
    move |source| Error { what, source: Box::new(source) }
}
