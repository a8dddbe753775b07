//! Looks at each write just before it is made, with the whole truth at hand that the operator may not have.

use std::sync::Arc;

use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt;

use super::{cluster::Cluster, job_controller};
use crate::{
    admission,
    api::{AutomationRun, label},
    ledger,
    plan::Change,
};

/// What is wrong with calling this run finished now: a Job of it that nobody has stopped would go on with nobody to stop it.
pub fn finished(cluster: &Cluster, run: &AutomationRun) -> Option<String> {
    let of_run = |job: &&Arc<Job>| job.owner_references().iter().any(|owner| Some(&owner.uid) == run.metadata.uid.as_ref());
    let goes_on = |job: &&Arc<Job>| !job_controller::is_finished(job) && !job.annotations().contains_key(label::STOPPED);
    let job = cluster.jobs.iter().find(|job| of_run(job) && goes_on(job))?;
    Some(format!("run {} is finished, and its Job {} goes on", run.name_any(), job.name_any()))
}

/// What would be wrong with making this change now.
pub fn before(cluster: &Cluster, change: &Change) -> Option<String> {
    match change {
        Change::DeleteJob { name, uid } => {
            let job = cluster.jobs.get(name).filter(|job| job.uid().as_ref() == Some(uid))?;
            let run = job.labels().get(label::RUN).and_then(|run| cluster.runs.get(run))?;
            (!ledger::is_finished(run)).then(|| format!("Job {name} is deleted before its run {} is finished", run.name_any()))
        }
        Change::DeleteRun { name, uid } => {
            let run = cluster.runs.get(name).filter(|run| run.uid().as_ref() == Some(uid))?;
            if !ledger::is_finished(run) {
                return Some(format!("run {name} is deleted before it is finished"));
            }
            // It would be adopted again, and its night recorded twice.
            let left = cluster
                .jobs
                .iter()
                .find(|job| run.annotations().get(label::ADOPTED_UID) == job.uid().as_ref() && job.metadata.deletion_timestamp.is_none())?;
            Some(format!("run {name} is deleted before the Job {} that it records", left.name_any()))
        }
        // One that is there is not made again.
        Change::CreateJob { name, run_uid, .. } if cluster.jobs.get(name).is_none() => beside_another(cluster, run_uid),
        _ => None,
    }
}

/// What is wrong with starting this run now: another of the same slot has a Job that goes on or, where the operator is the
/// clock and lets no two slots run at once, another slot has.
fn beside_another(cluster: &Cluster, run_uid: &str) -> Option<String> {
    let run = cluster.runs.by_uid(run_uid)?;
    let runs: Vec<Arc<AutomationRun>> = cluster.runs.all();
    let owned =
        |other: &AutomationRun, job: &Job| job.owner_references().iter().any(|owner| Some(&owner.uid) == other.metadata.uid.as_ref());
    let goes_on = |other: &Arc<AutomationRun>| {
        let live = |job: &&Arc<Job>| owned(other, job) && !job_controller::is_finished(job) && job.metadata.deletion_timestamp.is_none();
        other.uid() != run.uid() && !ledger::is_finished(other) && cluster.jobs.iter().any(|job| live(&job))
    };
    let key = admission::key(run, &runs)?;
    if let Some(other) = runs.iter().find(|other| goes_on(other) && admission::key(other, &runs).as_ref() == Some(&key)) {
        return Some(format!("run {} starts beside {}, of the same slot", run.name_any(), other.name_any()));
    }
    let policy =
        |task: &Arc<crate::api::AutomationTask>| task.spec.schedule.as_ref().and_then(|s| s.concurrency_policy).unwrap_or_default();
    let in_turn = cluster.tasks.iter().all(|task| policy(task) != crate::api::ConcurrencyPolicy::Allow);
    let scheduled = |run: &AutomationRun| run.spec.triggered_by().is_scheduled();
    let adopted = |run: &AutomationRun| run.annotations().contains_key(label::ADOPTED_UID);
    let first = cluster.jobs.iter().all(|job| !owned(run, job));
    if in_turn && first && scheduled(run) && !adopted(run) {
        // What a CronJob starts it starts beside everything.
        let other = runs.iter().find(|other| goes_on(other) && scheduled(other) && !adopted(other));
        return other.map(|other| format!("run {} starts beside {}, of another slot", run.name_any(), other.name_any()));
    }
    None
}
