//! Looks at each write just before it is made, with the whole truth at hand that the operator may not have.

use kube::ResourceExt;

use super::cluster::Cluster;
use crate::{api::label, ledger, plan::Change};

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
