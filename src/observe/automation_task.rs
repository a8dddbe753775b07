//! What is known about a task.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::ControllerRevision,
    batch::v1::{CronJob, Job},
};
use kube::{Api, Client, ResourceExt, api::ListParams};

use super::{Caches, Error, caches::key, reading};
use crate::{
    api::{AutomationRun, AutomationTask, label},
    build,
    outcome::JobSeen,
    plan::automation_task::{CronJobSeen, RevisionSeen, Seen, Timing},
};

/// Reads all that is known about a task.
///
/// # Errors
/// Where the API server would not answer a live look.
pub async fn observe(client: &Client, caches: &Caches, task: Arc<AutomationTask>) -> Result<Seen, Error> {
    let namespace = task.namespace().unwrap_or_default();
    let of_task = key("task", &namespace, &task.name_any());
    let no_pods: [Arc<k8s_openapi::api::core::v1::Pod>; 0] = [];
    let mut jobs: Vec<JobSeen> = caches.jobs.group(&of_task).iter().map(|job: &Arc<Job>| JobSeen::read(job, &no_pods)).collect();
    jobs.sort_by(|a, b| (a.created, &a.name).cmp(&(b.created, &b.name)));
    let runs = caches.runs.group(&of_task);
    let mut runs_gone = Vec::new();
    // Jobs that the operator made go with their run by themselves.
    for name in jobs.iter().filter(|job| job.by_cron_job).filter_map(|job| job.run.as_ref()) {
        if caches.runs.get(&namespace, name).is_none() {
            // A deletion follows from this, so the cache's word is not enough.
            let api: Api<AutomationRun> = Api::namespaced(client.clone(), &namespace);
            if api.get_metadata_opt(name).await.map_err(reading(format!("run {name}")))?.is_none() {
                runs_gone.push(name.clone());
            }
        }
    }
    let unadopted = jobs.iter().filter(|job| job.by_cron_job && job.run.is_none());
    let names_taken = unadopted.filter(|job| caches.runs.get(&namespace, &job.name).is_some()).map(|job| job.name.clone()).collect();
    let known = task.status.as_ref().and_then(|status| status.revision.clone());
    let revisions = if known == Some(build::revision_name(&task)) { Vec::new() } else { revisions(client, &task).await? };
    let named = task.spec.concurrency.iter().flat_map(|concurrency| &concurrency.pools).map(|of| &of.pool_ref.name);
    let pools = named.filter_map(|name| Some((name.clone(), i64::from(caches.pools.get(&namespace, name)?.spec.slots)))).collect();
    Ok(Seen {
        pools,
        cron_jobs: caches.cron_jobs.group(&of_task).iter().map(|cron_job| self::cron_job(cron_job)).collect(),
        task,
        jobs,
        runs,
        runs_gone,
        names_taken,
        revisions,
        backfills: caches.backfills.group(&of_task),
        written: Vec::new(),
        runs_made: Vec::new(),
        revisions_made: Vec::new(),
        refusals: Vec::new(),
    })
}

/// The definitions of the task that are kept, where one has to be made: asked for then, and not watched.
async fn revisions(client: &Client, task: &AutomationTask) -> Result<Vec<RevisionSeen>, Error> {
    let (namespace, name) = (task.namespace().unwrap_or_default(), task.name_any());
    let revisions: Api<ControllerRevision> = Api::namespaced(client.clone(), &namespace);
    let of_task = ListParams::default().labels(&format!("{},{}={name}", label::SELECTOR, label::TASK));
    let listed = revisions.list_metadata(&of_task).await.map_err(reading("revisions"))?.items;
    if listed.is_empty() {
        return Ok(Vec::new());
    }
    let runs: Api<AutomationRun> = Api::namespaced(client.clone(), &namespace);
    let runs = runs.list(&ListParams::default().fields(&format!("spec.taskRef.name={name}"))).await.map_err(reading("runs"))?.items;
    Ok(listed.iter().map(|revision| RevisionSeen::read(revision, runs.iter())).collect())
}

impl RevisionSeen {
    /// Reads a revision, among all runs of its task.
    pub(crate) fn read<'a>(revision: &impl ResourceExt, mut runs: impl Iterator<Item = &'a AutomationRun>) -> Self {
        let name = revision.name_any();
        let needs = |run: &AutomationRun| {
            let ran = run.status.as_ref().and_then(|status| status.revision.as_ref());
            ran == Some(&name) || run.annotations().get(label::REVISION) == Some(&name)
        };
        Self {
            needed: runs.any(needs),
            uid: revision.uid().unwrap_or_default(),
            created: revision.creation_timestamp().map_or(Timestamp::UNIX_EPOCH, |time| time.0),
            name,
        }
    }
}

/// Reads a CronJob.
#[must_use]
pub fn cron_job(cron_job: &CronJob) -> CronJobSeen {
    let spec = cron_job.spec.clone().unwrap_or_default();
    CronJobSeen {
        name: cron_job.name_any(),
        uid: cron_job.uid().unwrap_or_default(),
        resource_version: cron_job.resource_version().unwrap_or_default(),
        generation: cron_job.metadata.generation.unwrap_or(0),
        owners: cron_job.owner_references().iter().map(|owner| owner.uid.clone()).collect(),
        desired: cron_job.annotations().get(label::DESIRED).cloned(),
        created: cron_job.metadata.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0),
        last_slot: cron_job.status.as_ref().and_then(|status| status.last_schedule_time.as_ref()).map(|time| time.0),
        timing: Timing {
            line: spec.schedule,
            zone: spec.time_zone.unwrap_or_default(),
            suspended: spec.suspend.unwrap_or(false),
            policy: spec.concurrency_policy.unwrap_or_default(),
            deadline_seconds: spec.starting_deadline_seconds.unwrap_or(0),
        },
    }
}
