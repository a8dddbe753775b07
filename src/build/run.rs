//! The run that records a Job which Kubernetes started.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::ObjectMeta;

use super::{labels, owned_by_task};
use crate::{
    api::{AutomationRun, AutomationRunSpec, AutomationTask, TaskRef, Trigger, label},
    outcome::JobSeen,
};

/// The run for a Job that a CronJob made: for a slot, or by hand (`kubectl create job --from=cronjob/…`).
#[must_use]
pub fn adopted_run(task: &AutomationTask, job: &JobSeen, name: String) -> AutomationRun {
    let annotations = [(label::ADOPTED_JOB, &job.name), (label::ADOPTED_UID, &job.uid)];
    let trigger = if job.slot.is_some() { Trigger::Schedule } else { Trigger::Manual };
    AutomationRun {
        metadata: ObjectMeta {
            name: Some(name),
            namespace: task.metadata.namespace.clone(),
            labels: Some(labels(task)),
            annotations: Some(annotations.into_iter().map(|(k, v)| (k.to_owned(), v.clone())).collect::<BTreeMap<_, _>>()),
            owner_references: Some(vec![owned_by_task(task)]),
            ..ObjectMeta::default()
        },
        spec: AutomationRunSpec {
            task_ref: TaskRef { name: task.metadata.name.clone().unwrap_or_default() },
            parameters: Vec::new(),
            trigger: Some(trigger),
            scheduled_time: job.slot.map(Time),
            rerun_of: None,
            definition: None,
            cancel: None,
        },
        status: None,
    }
}
