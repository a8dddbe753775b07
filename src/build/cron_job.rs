//! The CronJob of a cron line.

use serde_json::{Value, json};

use super::{cron_job_name, job::job_spec, job_annotations, labels, name::hash, owned_by_task, pod::Identity};
use crate::{
    api::{AutomationTask, ConcurrencyPolicy, Contract, label},
    schedule::CronLine,
};

/// How many ended Jobs Kubernetes keeps of a CronJob: so many that succeeded, and so many that failed.
pub const HISTORY_LIMIT: usize = 100;

/// A CronJob as we want it.
#[derive(Clone, Debug, PartialEq)]
pub struct CronJobSpec {
    /// Its name.
    pub name: String,
    /// The whole object.
    pub object: Value,
    /// Hash of its spec, for [`label::DESIRED`].
    pub hash: String,
}

/// The CronJob of one cron line and its index, which counts from 0. The Jobs it starts need no operator: they retry, time out and
/// tell exit codes apart by themselves.
#[must_use]
pub fn cron_job(task: &AutomationTask, (index, line): (usize, &CronLine), contract: &Contract, suspended: bool) -> CronJobSpec {
    let schedule = task.spec.schedule.clone().unwrap_or_default();
    let task_name = task.metadata.name.as_deref().unwrap_or_default();
    let namespace = task.metadata.namespace.as_deref().unwrap_or_default();
    let name = cron_job_name(task_name, index, line.as_str());
    let defaults: Vec<(String, String)> = task.spec.parameters.iter().filter_map(|p| Some((p.name.clone(), p.default.clone()?))).collect();
    let policy = match schedule.policy() {
        ConcurrencyPolicy::Allow => "Allow",
        // A schedule with Queue is the operator's to keep: no CronJob is made of it.
        ConcurrencyPolicy::Forbid | ConcurrencyPolicy::Queue => "Forbid",
        ConcurrencyPolicy::Replace => "Replace",
    };
    let spec = json!({
        "schedule": line.as_str(),
        "timeZone": schedule.time_zone.as_deref().unwrap_or("UTC"),
        // Always set: without it Forbid starts a slot late instead of skipping it.
        "startingDeadlineSeconds": schedule.deadline_seconds(),
        "concurrencyPolicy": policy,
        "suspend": suspended,
        // High, so that what ran during an outage of the operator is still there to be recorded; the operator prunes.
        "successfulJobsHistoryLimit": HISTORY_LIMIT,
        "failedJobsHistoryLimit": HISTORY_LIMIT,
        "jobTemplate": {
            "metadata": { "labels": labels(task), "annotations": job_annotations(task, contract) },
            "spec": job_spec(task, &defaults, Identity::FromJob { namespace }, contract),
        },
    });
    let hash = format!("{:016x}", hash(&spec.to_string()));
    let object = json!({
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": labels(task),
            "annotations": { label::DESIRED: hash },
            "ownerReferences": [owned_by_task(task)],
        },
        "spec": spec,
    });
    CronJobSpec { name, object, hash }
}
