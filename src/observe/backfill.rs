//! What is known about a backfill.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::{apps::v1::ControllerRevision, batch::v1::Job, core::v1::Pod};
use kube::{Api, Client, ResourceExt};

use super::{Caches, Error, automation_run, caches::key, reading, workflow};
use crate::{
    api::{AutomationRun, Backfill, BackfillPhase, BackfillSpec},
    outcome::JobSeen,
    plan::backfill::{Definition, Seen, Subject, Wrong},
};

/// What there is now to run, and what the runs of the backfill take of it.
type Runs = (Option<Subject>, Result<Definition, Wrong>);

/// Reads all that is known about a backfill.
///
/// # Errors
/// Where the API server would not answer a live look.
pub async fn observe(client: &Client, caches: &Caches, backfill: Arc<Backfill>, now: Timestamp) -> Result<Seen, Error> {
    let namespace = backfill.namespace().unwrap_or_default();
    let spec = &backfill.spec;
    let status = backfill.status.clone().unwrap_or_default();
    let over = status.phase == Some(BackfillPhase::Finished);
    let began_with = status.revision.filter(|_| !over);
    let (subject, definition) = match spec.workflow_name() {
        Some(_) => of_workflow(client, caches, (&namespace, spec), began_with, now).await?,
        None => of_task(client, caches, (&namespace, spec), began_with, now).await?,
    };
    let mut gone = Vec::new();
    for entry in status.active.iter().filter(|entry| caches.runs.get(&namespace, &entry.run).is_none()) {
        // That it is over is counted once, so the cache's word is not enough.
        let api: Api<AutomationRun> = Api::namespaced(client.clone(), &namespace);
        if api.get_metadata_opt(&entry.run).await.map_err(reading(format!("run {}", entry.run)))?.is_none() {
            gone.push(entry.run.clone());
        }
    }
    let of = key(spec.kind(), &namespace, spec.name());
    Ok(Seen {
        subject,
        definition,
        runs: caches.runs.group(&of),
        // No Job is of a workflow: Kubernetes starts none of its slots.
        slots_under_way: slots_under_way(caches.jobs.group(&of).iter().map(AsRef::as_ref)),
        gone,
        runs_made: Vec::new(),
        refusals: Vec::new(),
        backfill,
    })
}

async fn of_task(
    client: &Client,
    caches: &Caches,
    (namespace, spec): (&str, &BackfillSpec),
    began_with: Option<String>,
    now: Timestamp,
) -> Result<Runs, Error> {
    let task = caches.tasks.get(namespace, spec.task_name());
    let definition = match began_with {
        Some(revision) => {
            let frozen = automation_run::definition(client, namespace, (spec.task_name(), task.as_deref()), revision.clone()).await?;
            match (frozen, task.as_deref()) {
                (Some(frozen), _) => Definition::frozen_task(&frozen),
                (None, Some(task)) => Ok(Definition::kept_task(task)),
                (None, None) => Err(Wrong::gone(&revision)),
            }
        }
        None => Definition::of_task(spec, task.as_deref(), now),
    };
    Ok((task.as_deref().map(Subject::of_task), definition))
}

async fn of_workflow(
    client: &Client,
    caches: &Caches,
    (namespace, spec): (&str, &BackfillSpec),
    began_with: Option<String>,
    now: Timestamp,
) -> Result<Runs, Error> {
    let seen = caches.workflows.get(namespace, spec.name());
    let definition = match began_with {
        Some(revision) => {
            let mut found = caches.definitions.named(client, namespace, &revision).await?;
            let owner = seen.as_ref().and_then(|workflow| workflow.uid());
            if found.as_ref().is_some_and(|found| owner.as_ref() != Some(&found.bundle.uid)) {
                // It goes with its workflow, which the memory of it does not tell: another process would find nothing.
                let revisions: Api<ControllerRevision> = Api::namespaced(client.clone(), namespace);
                let there = revisions.get_metadata_opt(&revision).await.map_err(reading(format!("revision {revision}")))?;
                found = found.filter(|_| there.is_some());
            }
            found.map_or_else(|| Err(Wrong::gone(&revision)), |found| Definition::kept_workflow(spec.name(), &found))
        }
        None => Definition::of_workflow(spec, seen.as_deref(), |workflow| workflow::definition(caches, workflow), now),
    };
    Ok((seen.as_deref().map(Subject::of_workflow), definition))
}

/// Slots that Kubernetes has started and that have no run yet: theirs is still to come.
pub(crate) fn slots_under_way<'a>(jobs: impl Iterator<Item = &'a Job>) -> Vec<Timestamp> {
    let no_pods: [Arc<Pod>; 0] = [];
    let unrecorded = |job: &Job| Some(JobSeen::read(job, &no_pods)).filter(|job| job.by_cron_job && job.run.is_none())?.slot;
    jobs.filter_map(unrecorded).collect()
}
