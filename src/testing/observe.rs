//! What a planner sees, read as `observe` reads it: from caches, and live where a cache may be behind.

use std::sync::Arc;

use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};
use kube::ResourceExt;
use serde_json::json;

use super::{
    caches::{Caches, is_evidence},
    cluster::Cluster,
};
use crate::{
    api::{AutomationRun, AutomationTask, Backfill, Contract, label},
    build, ledger,
    observe::{
        automation_run::{accounts_for_pods, belongs, expected_jobs, wanted_revision},
        backfill::slots_under_way,
        cron_job,
    },
    outcome::{JobEnd, JobSeen, Trouble},
    plan::{
        automation_run::{self, Frozen},
        automation_task::{self, RevisionSeen},
        backfill as plan_backfill,
    },
};

/// What is known about a task.
pub fn task(cluster: &Cluster, caches: &Caches, task: Arc<AutomationTask>) -> automation_task::Seen {
    let name = task.name_any();
    let no_pods: [Arc<Pod>; 0] = [];
    let of_task = caches.jobs.iter().filter(|job| job.labels().get(label::TASK) == Some(&name));
    let mut jobs: Vec<JobSeen> = of_task.map(|job| JobSeen::read(job, &no_pods)).collect();
    jobs.sort_by(|a, b| (a.created, &a.name).cmp(&(b.created, &b.name)));
    let marks = jobs.iter().filter(|job| job.by_cron_job).filter_map(|job| job.run.as_ref());
    let gone = |run: &&String| caches.runs.get(run).is_none() && cluster.runs.get(run).is_none();
    let unadopted = jobs.iter().filter(|job| job.by_cron_job && job.run.is_none());
    automation_task::Seen {
        cron_jobs: caches.cron_jobs.iter().filter(|c| c.labels().get(label::TASK) == Some(&name)).map(|c| cron_job(c)).collect(),
        runs: caches.runs_of(&name).cloned().collect(),
        runs_gone: marks.filter(gone).cloned().collect(),
        names_taken: unadopted.filter(|job| caches.runs.get(&job.name).is_some()).map(|job| job.name.clone()).collect(),
        revisions: revisions(cluster, &task),
        backfills: caches.backfills.iter().filter(|backfill| backfill.spec.task_ref.name == name).cloned().collect(),
        written: Vec::new(),
        runs_made: Vec::new(),
        revisions_made: Vec::new(),
        refusals: Vec::new(),
        task,
        jobs,
    }
}

fn revisions(cluster: &Cluster, task: &AutomationTask) -> Vec<RevisionSeen> {
    let known = task.status.as_ref().and_then(|status| status.revision.as_ref());
    if known == Some(&build::revision_name(task)) {
        return Vec::new();
    }
    let name = task.name_any();
    let runs = || cluster.runs.iter().filter(|run| run.spec.task_name() == name).map(AsRef::as_ref);
    cluster.revisions.iter().map(|revision| RevisionSeen::read(&**revision, runs())).collect()
}

/// The definition that a revision holds, where that is not the task as the cache has it.
fn definition(cluster: &Cluster, task: Option<&Arc<AutomationTask>>, name: String) -> Option<Frozen> {
    if task.is_some_and(|task| build::revision_name(task) == name) {
        return None;
    }
    let found = cluster.revisions.get(&name).and_then(|revision| build::frozen_task(&json!(**revision)));
    Some(found.map_or(Frozen::Gone(name), |task| Frozen::Task(Arc::new(task))))
}

/// What is known about a backfill.
pub fn backfill(cluster: &Cluster, caches: &Caches, backfill: &Arc<Backfill>) -> plan_backfill::Seen {
    let name = &backfill.spec.task_ref.name;
    let task = caches.tasks.get(name).cloned();
    let status = backfill.status.clone().unwrap_or_default();
    let gone = |run: &String| caches.runs.get(run).is_none() && cluster.runs.get(run).is_none();
    plan_backfill::Seen {
        frozen: status.revision.and_then(|revision| definition(cluster, task.as_ref(), revision)),
        task,
        runs: caches.runs_of(name).cloned().collect(),
        slots_under_way: slots_under_way(caches.jobs.iter().filter(|job| job.labels().get(label::TASK) == Some(name)).map(AsRef::as_ref)),
        gone: status.active.into_iter().map(|entry| entry.run).filter(gone).collect(),
        runs_made: Vec::new(),
        refusals: Vec::new(),
        backfill: backfill.clone(),
    }
}

/// What is known about a run.
pub fn run(cluster: &Cluster, caches: &Caches, run: &Arc<AutomationRun>) -> automation_run::Seen {
    let mut seen = automation_run::Seen {
        task: caches.tasks.get(run.spec.task_name()).cloned(),
        run: run.clone(),
        frozen: None,
        siblings: Vec::new(),
        jobs: Vec::new(),
        first_job: None,
        troubles: Vec::new(),
        refusals: Vec::new(),
    };
    if ledger::is_finished(run) {
        return seen;
    }
    let marked = caches.jobs.iter().filter(|job| job.labels().get(label::RUN) == run.metadata.name.as_ref());
    let mut jobs: Vec<Arc<Job>> = marked.filter(|job| belongs(job, run)).cloned().collect();
    for expected in expected_jobs(run) {
        if jobs.iter().all(|job| job.name_any() != expected) {
            jobs.extend(cluster.jobs.get(&expected).filter(|job| belongs(job, run)).cloned());
        }
    }
    seen.jobs = jobs.iter().map(|job| read_job(cluster, caches, job)).collect();
    let repeats = run.spec.rerun_of.is_some() && run.status.as_ref().is_none_or(|status| status.idempotency_key.is_none());
    if seen.jobs.is_empty() || repeats {
        let task = run.spec.task_name();
        let live = cluster.runs.iter().filter(|other| other.spec.task_name() == task);
        let is_rerun = run.spec.rerun_of.is_some();
        seen.siblings = if is_rerun { live.cloned().collect() } else { caches.runs_of(task).cloned().collect() };
    }
    if seen.jobs.is_empty() {
        seen.frozen = wanted_revision(&seen).and_then(|name| definition(cluster, seen.task.as_ref(), name));
    }
    seen.jobs.sort_by_key(|job| (job.attempt, job.created));
    let Some(last) = seen.jobs.last() else { return seen };
    let begun = last.pods.iter().any(|pod| pod.begun);
    let deadline_passed = matches!(&last.end, Some(JobEnd::Failed { reason, .. }) if reason == "DeadlineExceeded");
    let slow_start = last.end.is_none() && cluster.now.as_second() - last.created.as_second() >= 3;
    if !begun && (slow_start || deadline_passed) {
        seen.troubles = troubles(cluster, last);
    }
    let may_retry = matches!(last.end, Some(JobEnd::Failed { .. }));
    let first = seen.jobs.first().filter(|first| may_retry && first.contract.as_ref().is_some_and(Contract::operator_makes_attempts));
    seen.first_job = first.and_then(|first| cluster.jobs.get(&first.name)).map(|job| json!(**job));
    seen
}

/// Pods come from the cache and, where the Job has ended and the cache cannot account for them all, from the server.
fn read_job(cluster: &Cluster, caches: &Caches, job: &Job) -> JobSeen {
    let uid = job.uid();
    let is_its = |pod: &&Arc<Pod>| pod.labels().get(label::CONTROLLER_UID) == uid.as_ref();
    let mut pods: Vec<Arc<Pod>> = caches.pods.iter().filter(is_its).cloned().collect();
    let seen = JobSeen::read(job, &pods);
    if seen.end.is_none() || accounts_for_pods(&seen) {
        return seen;
    }
    let listed: Vec<Arc<Pod>> = cluster.pods.iter().filter(is_its).cloned().collect();
    pods.retain(|pod| is_evidence(pod) && listed.iter().all(|there| there.uid() != pod.uid()));
    pods.extend(listed);
    JobSeen::read(job, &pods)
}

fn troubles(cluster: &Cluster, job: &JobSeen) -> Vec<Trouble> {
    let prefix = format!("{}-", job.name);
    let of_job = |uid: &String| *uid == job.uid || job.pods.iter().any(|pod| !pod.begun && pod.uid == *uid);
    let of_gone = |name: &String| job.pods.is_empty() && name.starts_with(&prefix);
    let told = cluster.warnings.iter().filter(|warned| of_job(&warned.about_uid) || of_gone(&warned.about_name));
    told.map(|warned| warned.trouble.clone()).collect()
}
