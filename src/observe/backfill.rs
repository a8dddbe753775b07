//! What is known about a backfill.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};
use kube::{Api, Client, ResourceExt};

use super::{Caches, Error, automation_run::definition, caches::key, reading};
use crate::{
    api::{AutomationRun, Backfill, BackfillPhase},
    outcome::JobSeen,
    plan::backfill::Seen,
};

/// Reads all that is known about a backfill.
///
/// # Errors
/// Where the API server would not answer a live look.
pub async fn observe(client: &Client, caches: &Caches, backfill: Arc<Backfill>) -> Result<Seen, Error> {
    let namespace = backfill.namespace().unwrap_or_default();
    let name = &backfill.spec.task_ref.name;
    let task = caches.tasks.get(&namespace, name);
    let status = backfill.status.clone().unwrap_or_default();
    let over = status.phase == Some(BackfillPhase::Finished);
    let frozen = match status.revision.filter(|_| !over) {
        Some(revision) => definition(client, &namespace, (name, task.as_deref()), revision).await?,
        None => None,
    };
    let mut gone = Vec::new();
    for entry in status.active.iter().filter(|entry| caches.runs.get(&namespace, &entry.run).is_none()) {
        // That it is over is counted once, so the cache's word is not enough.
        let api: Api<AutomationRun> = Api::namespaced(client.clone(), &namespace);
        if api.get_metadata_opt(&entry.run).await.map_err(reading(format!("run {}", entry.run)))?.is_none() {
            gone.push(entry.run.clone());
        }
    }
    Ok(Seen {
        task,
        frozen,
        runs: caches.runs.group(&key("task", &namespace, name)),
        slots_under_way: slots_under_way(caches.jobs.group(&key("task", &namespace, name)).iter().map(AsRef::as_ref)),
        gone,
        runs_made: Vec::new(),
        refusals: Vec::new(),
        backfill,
    })
}

/// Slots that Kubernetes has started and that have no run yet: theirs is still to come.
pub(crate) fn slots_under_way<'a>(jobs: impl Iterator<Item = &'a Job>) -> Vec<Timestamp> {
    let no_pods: [Arc<Pod>; 0] = [];
    let unrecorded = |job: &Job| Some(JobSeen::read(job, &no_pods)).filter(|job| job.by_cron_job && job.run.is_none())?.slot;
    jobs.filter_map(unrecorded).collect()
}
