//! Looks at each write just before it is made, with the whole truth at hand that the operator may not have.

use std::sync::Arc;

use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt;

use super::{cluster::Cluster, job_controller};
use crate::{
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
        _ => None,
    }
}
