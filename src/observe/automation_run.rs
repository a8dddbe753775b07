//! What is known about a run.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::{apps::v1::ControllerRevision, batch::v1::Job, core::v1::Pod};
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DynamicObject, ListParams},
};
use serde_json::Value;

use super::{
    Caches, Error,
    caches::{is_evidence, key},
    reading,
};
use crate::{
    admission::{self, Needs},
    api::{AutomationRun, AutomationRunStatus, AutomationTask, Contract, Definition, Trigger, label},
    build, ledger,
    outcome::{JobEnd, JobSeen, PodPhase, PodSeen},
    plan::automation_run::{Frozen, Seen},
};

/// How old a Job is that has not begun before its Events are asked why.
const ASK_EVENTS_SECONDS: i64 = 3;

/// Reads all that is known about a run.
///
/// # Errors
/// Where the API server would not answer a live look.
pub async fn observe(client: &Client, caches: &Caches, run: Arc<AutomationRun>, now: Timestamp) -> Result<Seen, Error> {
    let namespace = run.namespace().unwrap_or_default();
    let name = run.name_any();
    let mut seen = Seen {
        task: caches.tasks.get(&namespace, run.spec.task_name()),
        run: run.clone(),
        caps: None,
        answer: None,
        frozen: None,
        siblings: Vec::new(),
        jobs: Vec::new(),
        first_job: None,
        troubles: Vec::new(),
        refusals: Vec::new(),
    };
    if ledger::is_finished(&run) {
        return Ok(seen);
    }
    let task = seen.task.clone();
    if run.spec.step_of().is_some() {
        bundled(client, caches, &mut seen).await?;
    }
    let mut jobs: Vec<Arc<Job>> = caches.jobs.group(&key("run", &namespace, &name)).into_iter().filter(|job| belongs(job, &run)).collect();
    for expected in expected_jobs(&run) {
        if jobs.iter().all(|job| job.name_any() != expected) {
            // One that is adopted is not marked with its run yet.
            let mut found = caches.jobs.get(&namespace, &expected).filter(|job| belongs(job, &run));
            if found.is_none() {
                // On record but not in the cache: gone, or the cache is behind. To say "gone" takes the server's word.
                let live: Api<Job> = Api::namespaced(client.clone(), &namespace);
                let there = live.get_opt(&expected).await.map_err(reading(format!("Job {expected}")))?;
                found = there.filter(|job| belongs(job, &run)).map(Arc::new);
            }
            jobs.extend(found);
        }
    }
    for job in &jobs {
        seen.jobs.push(read_job(client, caches, job).await?);
    }
    let repeats = run.spec.rerun_of.is_some() && run.status.as_ref().is_none_or(|status| status.idempotency_key.is_none());
    if seen.jobs.is_empty() || repeats {
        seen.siblings = siblings(client, caches, &run).await?;
    }
    if seen.jobs.is_empty() && seen.frozen.is_none() {
        seen.frozen = frozen(client, &seen).await?;
    }
    seen.caps = caps(task.as_deref(), &seen);
    seen.jobs.sort_by_key(|job| (job.attempt, job.created));
    let Some(last) = seen.jobs.last() else { return Ok(seen) };
    let begun = last.pods.iter().any(|pod| pod.begun);
    let deadline_passed = matches!(&last.end, Some(JobEnd::Failed { reason, .. }) if reason == "DeadlineExceeded");
    let slow_start = last.end.is_none() && now.as_second() - last.created.as_second() >= ASK_EVENTS_SECONDS;
    if !begun && (slow_start || deadline_passed) {
        seen.troubles = caches.warnings.about(client, &namespace, last, now).await?;
    }
    let may_retry = matches!(last.end, Some(JobEnd::Failed { .. }));
    let first = seen.jobs.first().filter(|first| may_retry && first.contract.as_ref().is_some_and(Contract::operator_makes_attempts));
    if let Some(first) = first {
        seen.first_job = raw_job(client, &namespace, &first.name).await?;
    }
    Ok(seen)
}

/// Caps are those of the task as it is now, also for a step, and for a run that starts from an older definition. Where there is
/// none any more they are those of that: a task may be deleted and made anew at once, and its runs must not all start meanwhile.
pub(crate) fn caps(task: Option<&AutomationTask>, seen: &Seen) -> Option<Arc<Needs>> {
    let frozen = match &seen.frozen {
        Some(Frozen::Task(task)) => Some(task),
        _ => None,
    };
    let of = task.or(seen.task.as_deref()).or(frozen.map(AsRef::as_ref))?;
    Needs::of(of).map(Arc::new)
}

/// The run of a workflow's step has its task from the bundle that the workflow's run began with, whatever becomes of the
/// task meanwhile.
async fn bundled(client: &Client, caches: &Caches, seen: &mut Seen) -> Result<(), Error> {
    let namespace = seen.run.namespace().unwrap_or_default();
    let name = seen.run.annotations().get(label::REVISION).cloned().unwrap_or_default();
    let definition = caches.definitions.named(client, &namespace, &name).await?;
    seen.task = definition.and_then(|definition| definition.bundle.task_of_step(&seen.run)).map(Arc::new);
    seen.frozen = if seen.task.is_none() { Some(Frozen::Gone(name)) } else { None };
    Ok(())
}

/// The runs of its task. A rerun asks the server: what goes on of the same slot may be newer than the cache is.
async fn siblings(client: &Client, caches: &Caches, run: &AutomationRun) -> Result<Vec<Arc<AutomationRun>>, Error> {
    if run.spec.step_of().is_some() {
        return Ok(Vec::new());
    }
    let namespace = run.namespace().unwrap_or_default();
    let task = run.spec.task_name();
    if run.spec.rerun_of.is_none() {
        return Ok(caches.runs.group(&key("task", &namespace, task)));
    }
    let api: Api<AutomationRun> = Api::namespaced(client.clone(), &namespace);
    let params = ListParams::default().fields(&format!("spec.taskRef.name={task}"));
    let listed = api.list(&params).await.map_err(reading(format!("runs of task {task}")))?;
    Ok(listed.items.into_iter().map(Arc::new).collect())
}

/// The definition that the run is to start from, where that is not the task as it is.
async fn frozen(client: &Client, seen: &Seen) -> Result<Option<Frozen>, Error> {
    match wanted_revision(seen) {
        Some(name) => {
            let of = (seen.run.spec.task_name(), seen.task.as_deref());
            definition(client, &seen.run.namespace().unwrap_or_default(), of, name).await
        }
        None => Ok(None),
    }
}

/// The definition that the revision of this name holds, where that is not the task as it is. Asked for, and not watched.
pub(super) async fn definition(
    client: &Client,
    namespace: &str,
    (of, task): (&str, Option<&AutomationTask>),
    name: String,
) -> Result<Option<Frozen>, Error> {
    if task.is_some_and(|task| build::revision_name(task) == name) {
        return Ok(None);
    }
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &ApiResource::erase::<ControllerRevision>(&()));
    let found = api.get_opt(&name).await.map_err(reading(format!("revision {name}")))?;
    let found = found.and_then(|revision| serde_json::to_value(revision).ok());
    // The original of a step's run lies in a bundle.
    let in_bundle = |revision: &Value| build::Bundle::of_revision(revision)?.task(of, namespace);
    let task = found.and_then(|revision| build::frozen_task(&revision).or_else(|| in_bundle(&revision)));
    Ok(Some(task.map_or(Frozen::Gone(name), |task| Frozen::Task(Arc::new(task)))))
}

/// Name of the revision that the run is to start from, where it is not to take the task as it is.
pub(crate) fn wanted_revision(seen: &Seen) -> Option<String> {
    let run = &seen.run;
    if run.spec.definition == Some(Definition::Original) {
        // On record once the run was looked at: what it repeats may be gone by now.
        let recorded = run.status.as_ref().and_then(|status| status.revision.clone());
        let original = || admission::original(run, &seen.siblings)?.status.as_ref()?.revision.clone();
        return recorded.or_else(original).or_else(|| Some(format!("of run {}", run.spec.rerun_of.as_deref().unwrap_or_default())));
    }
    // What people write on a run of theirs says nothing.
    let ours = run.spec.triggered_by().is_scheduled() || run.spec.triggered_by() == Trigger::Backfill;
    run.annotations().get(label::REVISION).filter(|_| ours).cloned()
}

/// The Jobs that the run is on record to have, the one that it records among them.
pub(crate) fn expected_jobs(run: &AutomationRun) -> Vec<String> {
    let attempts = run.status.as_ref().map(|status: &AutomationRunStatus| status.attempts.as_slice()).unwrap_or_default();
    let adopted = run.annotations().get(label::ADOPTED_JOB).cloned();
    // A cancel must not be taken to have come first because the cache has not shown the Job yet.
    let may_be = ledger::is_started(run) || run.spec.cancel == Some(true) && attempts.is_empty() && adopted.is_none();
    let first = may_be.then(|| build::job_name(&run.name_any(), 1));
    let mut names: Vec<String> = adopted.into_iter().chain(first).chain(attempts.iter().map(|a| a.job.clone())).collect();
    names.dedup();
    names
}

/// Whether the run that is there is the one that was to be made: it records the same Job, or is for the same slot.
pub(crate) fn is_same(there: &AutomationRun, wanted: &AutomationRun) -> bool {
    let recorded = |run: &AutomationRun| run.annotations().get(label::ADOPTED_UID).cloned();
    let by = |run: &AutomationRun| run.annotations().get(label::BACKFILL_UID).cloned();
    let of = |run: &AutomationRun| (run.spec.task_ref.clone(), run.spec.workflow_ref.clone(), run.spec.scheduled_time.clone(), by(run));
    if wanted.spec.step.is_some() {
        let owners = |run: &AutomationRun| run.owner_references().iter().map(|owner| owner.uid.clone()).collect::<Vec<_>>();
        return (&there.spec.step, of(there), owners(there)) == (&wanted.spec.step, of(wanted), owners(wanted));
    }
    recorded(there) == recorded(wanted) && of(there) == of(wanted) && (wanted.spec.scheduled_time.is_some() || recorded(wanted).is_some())
}

/// Whether a Job is the run's: made for it, or the one that it records and no other run has taken. A name alone proves nothing.
pub(crate) fn belongs(job: &Job, run: &AutomationRun) -> bool {
    let uid = run.uid();
    let owned = job.owner_references().iter().any(|owner| Some(&owner.uid) == uid.as_ref());
    let marked = job.labels().get(label::RUN);
    let free = marked.is_none() || marked == run.metadata.name.as_ref();
    let recorded = free && run.annotations().get(label::ADOPTED_UID).is_some_and(|recorded| Some(recorded) == job.uid().as_ref());
    let of_task = job.labels().get(label::TASK) == run.spec.task_ref.as_ref().map(|task| &task.name);
    of_task && (owned || recorded)
}

/// Whether the Job that has the name of the one `wanted` is being removed: it is deleted, or its run is, since a run of the
/// same name is there again.
pub(crate) fn is_leaving(there: &impl ResourceExt, wanted: &impl ResourceExt) -> bool {
    let run = wanted.owner_references().iter().find(|owner| owner.controller == Some(true));
    let of_namesake = there.owner_references().iter().any(|owner| {
        owner.controller == Some(true)
            && run.is_some_and(|run| (&run.kind, &run.name) == (&owner.kind, &owner.name) && run.uid != owner.uid)
    });
    there.meta().deletion_timestamp.is_some() || of_namesake
}

/// Whether the pods of an ended Job are all that the Job controller has counted, and have ended too.
pub(crate) fn accounts_for_pods(job: &JobSeen) -> bool {
    // The Job controller counts a pod that it was told to ignore only where it has done its work.
    let is_counted = |pod: &&PodSeen| !pod.is_live() && (pod.disruption.is_none() || pod.phase == PodPhase::Succeeded);
    let ended_pods = i32::try_from(job.pods.iter().filter(is_counted).count()).unwrap_or(i32::MAX);
    ended_pods >= job.counted && job.pods.iter().all(|pod| !pod.is_live())
}

/// Reads a Job with its pods: from the cache and, where the Job has ended and the cache cannot account for all its pods
/// (it may lag behind the Job's watch), from the server.
async fn read_job(client: &Client, caches: &Caches, job: &Job) -> Result<JobSeen, Error> {
    let (namespace, name, uid) = (job.namespace().unwrap_or_default(), job.name_any(), job.uid().unwrap_or_default());
    let mut pods = caches.pods.group(&key("job", &namespace, &name));
    pods.retain(|pod| pod.labels().get(label::CONTROLLER_UID) == Some(&uid));
    let seen = JobSeen::read(job, &pods);
    if seen.end.is_none() || accounts_for_pods(&seen) {
        return Ok(seen);
    }
    let live: Api<Pod> = Api::namespaced(client.clone(), &namespace);
    let params = ListParams::default().labels(&format!("{}={name}", label::JOB_NAME));
    let mut listed = live.list(&params).await.map_err(reading(format!("pods of Job {name}")))?.items;
    listed.retain(|pod| pod.labels().get(label::CONTROLLER_UID) == Some(&uid));
    // One that ended and is gone from the server is still known by its last view.
    pods.retain(|pod| is_evidence(pod) && listed.iter().all(|there| there.uid() != pod.uid()));
    pods.extend(listed.into_iter().map(Arc::new));
    Ok(JobSeen::read(job, &pods))
}

/// A Job as it stands on the server, with fields that our client library does not know.
async fn raw_job(client: &Client, namespace: &str, name: &str) -> Result<Option<Value>, Error> {
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &ApiResource::erase::<Job>(&()));
    let found = api.get_opt(name).await.map_err(reading(format!("Job {name}")))?;
    Ok(found.and_then(|job| serde_json::to_value(job).ok()))
}
