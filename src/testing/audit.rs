//! Looks at each write just before it is made, with the whole truth at hand that the operator may not have.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt;
use serde_json::Value;

use super::{cluster::Cluster, job_controller};
use crate::{
    admission::{self, Slots},
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
        Change::CreateJob { name, run_uid, object, .. } if cluster.jobs.get(name).is_none() => {
            over_a_cap(cluster, run_uid, object).or_else(|| beside_another(cluster, run_uid))
        }
        _ => None,
    }
}

/// What is wrong with starting this run now: with those that have a Job and are not finished, or whose Job goes on although they
/// are gone or finished, there would be more than a cap allows. It must have been let in with what it holds.
fn over_a_cap(cluster: &Cluster, run_uid: &str, object: &Value) -> Option<String> {
    let run = cluster.runs.by_uid(run_uid)?;
    let task = cluster.tasks.get(run.spec.task_name())?;
    let needs = admission::Needs::of(task)?;
    let job: Job = serde_json::from_value(object.clone()).ok()?;
    let Some(own) = admission::marked(&job) else { return Some(format!("run {} starts and was not let in", run.name_any())) };
    let mut held: BTreeMap<String, Slots> = BTreeMap::new();
    for job in cluster.jobs.iter() {
        let Some(owner) = job.owner_references().iter().find(|owner| owner.controller == Some(true)) else { continue };
        let run = cluster.runs.by_uid(&owner.uid);
        let goes_on = run.is_some_and(|run| !ledger::is_finished(run)) || !job_controller::is_finished(job);
        if goes_on && owner.uid != run_uid {
            held.insert(owner.uid.clone(), admission::marked(job).unwrap_or_default());
        }
    }
    let beside = i64::try_from(held.len()).unwrap_or(i64::MAX);
    if needs.max.is_some_and(|max| beside >= max) {
        return Some(format!("run {} starts beside {beside} others of its task", run.name_any()));
    }
    own.iter().find_map(|(pool, slots)| {
        let used: i64 = held.values().filter_map(|held| held.get(pool)).sum();
        let there = cluster.pools.get(pool).copied().unwrap_or(0);
        (used + slots > there).then(|| format!("run {} takes {slots} of pool {pool}, of which {used} of {there} are held", run.name_any()))
    })
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
