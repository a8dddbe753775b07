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
    admission::{Source, is_marked, waits_for_room},
    api::{AutomationRun, AutomationTask, Backfill, ConcurrencyPool, ConcurrencyPoolSpec, Contract, Workflow, label},
    build::{self, Bundle},
    graph, ledger,
    observe::{
        automation_run::{accounts_for_pods, belongs, caps, expected_jobs, wanted_revision},
        backfill::slots_under_way,
        cron_job,
    },
    outcome::{JobEnd, JobSeen, Trouble, has_ended},
    plan::{
        automation_run::{self, Frozen},
        automation_task::{self, RevisionSeen},
        backfill::{self as plan_backfill, Definition, Subject, Wrong},
        workflow::{self as plan_workflow, Rejected},
        workflow_run::{self, Defined},
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
        pools: caches.pools.clone(),
        backfills: caches.backfills.iter().filter(|backfill| backfill.spec.task_name() == name).cloned().collect(),
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
    let of_task = cluster.revisions.iter().filter(|revision| revision.labels().get(label::TASK) == Some(&name));
    of_task.map(|revision| RevisionSeen::read(&**revision, runs())).collect()
}

/// The definition that a revision holds, where that is not the task as the cache has it.
fn definition(cluster: &Cluster, task: Option<&Arc<AutomationTask>>, name: String) -> Option<Frozen> {
    if task.is_some_and(|task| build::revision_name(task) == name) {
        return None;
    }
    let found = cluster.revisions.get(&name).and_then(|revision| build::frozen_task(&json!(**revision)));
    Some(found.map_or(Frozen::Gone(name), |task| Frozen::Task(Arc::new(task))))
}

/// What a workflow's runs would run now.
fn bundled(caches: &Caches, workflow: &Workflow) -> Result<Arc<graph::Definition>, Rejected> {
    let bundle = Bundle::gather(workflow, |name| caches.tasks.get(name).cloned(), |name| caches.workflows.get(name).cloned());
    let bundle = bundle.map_err(|unbundled| Rejected { is_missing: unbundled.is_missing, problems: unbundled.problems })?;
    let name = bundle.name();
    graph::Definition::of(bundle, name).map(Arc::new).map_err(|problems| Rejected { is_missing: false, problems })
}

/// What the revision of that name holds of workflows.
fn kept(cluster: &Cluster, name: &str) -> Option<Arc<graph::Definition>> {
    let bundle = cluster.revisions.get(name).and_then(|revision| Bundle::of_revision(&json!(**revision)))?;
    Some(Arc::new(graph::Definition::kept(bundle, name.to_owned())))
}

/// What is known about a workflow.
pub fn workflow(cluster: &Cluster, caches: &Caches, workflow: &Arc<Workflow>) -> plan_workflow::Seen {
    let name = workflow.name_any();
    let definition = bundled(caches, workflow);
    let known = workflow.status.as_ref().and_then(|status| status.revision.as_ref());
    let is_new = definition.as_ref().is_ok_and(|definition| known != Some(&definition.name));
    let of_workflow = cluster.revisions.iter().filter(|revision| is_new && revision.labels().get(label::WORKFLOW) == Some(&name));
    plan_workflow::Seen {
        revisions: of_workflow.map(|revision| RevisionSeen::read(&**revision, cluster.runs.iter().map(AsRef::as_ref))).collect(),
        workflow: workflow.clone(),
        definition,
        runs: caches.runs_of_workflow(&name).cloned().collect(),
        backfills: caches.backfills.iter().filter(|backfill| backfill.spec.workflow_name() == Some(&name)).cloned().collect(),
        runs_made: Vec::new(),
        revisions_made: Vec::new(),
        refusals: Vec::new(),
    }
}

/// What is known about a run of a workflow. Nobody repeats one in this world.
pub fn workflow_run(cluster: &Cluster, caches: &Caches, run: &Arc<AutomationRun>) -> workflow_run::Seen {
    let name = run.spec.workflow_name().unwrap_or_default();
    let workflow = caches.workflows.get(name).cloned();
    let is_child = |child: &&Arc<AutomationRun>| {
        child.spec.step_of().is_some() && child.owner_references().iter().any(|owner| Some(&owner.uid) == run.metadata.uid.as_ref())
    };
    let mut children: Vec<_> = caches.runs.iter().filter(is_child).cloned().collect();
    if run.spec.cancel == Some(true) && children.is_empty() {
        children = cluster.runs.iter().filter(is_child).cloned().collect();
    }
    let begun = !children.is_empty() || run.status.as_ref().is_some_and(|status| status.start_time.is_some());
    let recorded = run.status.as_ref().and_then(|status| status.revision.clone());
    let given = run.annotations().get(label::REVISION).cloned();
    let defined = match (recorded.or(given), &workflow) {
        (Some(revision), _) => kept(cluster, &revision).map_or(Defined::Gone(revision), Defined::Frozen),
        (None, Some(workflow)) => Defined::AsItIs(bundled(caches, workflow)),
        (None, None) => Defined::NoWorkflow,
    };
    workflow_run::Seen {
        siblings: if begun { Vec::new() } else { caches.runs_of_workflow(name).cloned().collect() },
        run: run.clone(),
        workflow,
        defined,
        children,
        originals: Vec::new(),
        answered: std::collections::BTreeMap::new(),
        refusals: Vec::new(),
    }
}

/// What a backfill runs: as it is now, and as its runs take it.
fn runs_of(cluster: &Cluster, caches: &Caches, backfill: &Backfill) -> (Option<Subject>, Result<Definition, Wrong>) {
    let (spec, now) = (&backfill.spec, cluster.now);
    let began_with = backfill.status.as_ref().and_then(|status| status.revision.clone());
    if let Some(name) = spec.workflow_name() {
        let workflow = caches.workflows.get(name);
        let definition = match began_with {
            Some(revision) => kept(cluster, &revision)
                .map_or_else(|| Err(Wrong::gone(&revision)), |definition| Definition::kept_workflow(name, &definition)),
            None => Definition::of_workflow(spec, workflow.map(AsRef::as_ref), |workflow| bundled(caches, workflow), now),
        };
        return (workflow.map(|workflow| Subject::of_workflow(workflow)), definition);
    }
    let task = caches.tasks.get(spec.task_name());
    let definition = match began_with {
        Some(revision) => match (definition(cluster, task, revision.clone()), task) {
            (Some(frozen), _) => Definition::frozen_task(&frozen),
            (None, Some(task)) => Ok(Definition::kept_task(task)),
            (None, None) => Err(Wrong::gone(&revision)),
        },
        None => Definition::of_task(spec, task.map(AsRef::as_ref), now),
    };
    (task.map(|task| Subject::of_task(task)), definition)
}

/// What is known about a backfill.
pub fn backfill(cluster: &Cluster, caches: &Caches, backfill: &Arc<Backfill>) -> plan_backfill::Seen {
    let spec = &backfill.spec;
    let name = spec.task_name();
    let status = backfill.status.clone().unwrap_or_default();
    let gone = |run: &String| caches.runs.get(run).is_none() && cluster.runs.get(run).is_none();
    let (subject, definition) = runs_of(cluster, caches, backfill);
    plan_backfill::Seen {
        subject,
        definition,
        runs: match spec.workflow_name() {
            Some(workflow) => caches.runs_of_workflow(workflow).cloned().collect(),
            None => caches.runs_of(name).cloned().collect(),
        },
        slots_under_way: slots_under_way(
            caches.jobs.iter().filter(|job| job.labels().get(label::TASK).is_some_and(|task| task == name)).map(AsRef::as_ref),
        ),
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
        caps: None,
        answer: None,
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
    if run.spec.step_of().is_some() {
        let revision = run.annotations().get(label::REVISION).cloned().unwrap_or_default();
        seen.task = kept(cluster, &revision).and_then(|kept| kept.bundle.task_of_step(run)).map(Arc::new);
        seen.frozen = if seen.task.is_none() { Some(Frozen::Gone(revision)) } else { None };
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
    if (seen.jobs.is_empty() || repeats) && run.spec.step_of().is_none() {
        let task = run.spec.task_name();
        let live = cluster.runs.iter().filter(|other| other.spec.task_name() == task);
        let is_rerun = run.spec.rerun_of.is_some();
        seen.siblings = if is_rerun { live.cloned().collect() } else { caches.runs_of(task).cloned().collect() };
    }
    if seen.jobs.is_empty() && seen.frozen.is_none() {
        seen.frozen = wanted_revision(&seen).and_then(|name| definition(cluster, seen.task.as_ref(), name));
    }
    seen.caps = caps(caches.tasks.get(run.spec.task_name()).map(AsRef::as_ref), &seen);
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

impl Source for Caches {
    fn live_runs(&self) -> Vec<Arc<AutomationRun>> {
        self.runs.iter().filter(|run| run.spec.task_ref.is_some() && !ledger::is_finished(run)).cloned().collect()
    }

    fn run(&self, name: &str) -> Option<Arc<AutomationRun>> {
        self.runs.get(name).cloned()
    }

    fn task(&self, name: &str) -> Option<Arc<AutomationTask>> {
        self.tasks.get(name).filter(|task| task.metadata.deletion_timestamp.is_none()).cloned()
    }

    fn marked_jobs(&self) -> Vec<Arc<Job>> {
        self.jobs.iter().filter(|job| is_marked(job) && !has_ended(job)).cloned().collect()
    }

    fn jobs_of(&self, run: &AutomationRun) -> Vec<Arc<Job>> {
        let of_run = |job: &&Arc<Job>| job.labels().get(label::RUN) == run.metadata.name.as_ref() && belongs(job, run);
        self.jobs.iter().filter(of_run).cloned().collect()
    }

    fn has_queue(&self) -> bool {
        self.live_runs().iter().any(|run| waits_for_room(run))
    }

    fn pools(&self) -> Vec<Arc<ConcurrencyPool>> {
        let pool = |(name, slots): (&String, &i64)| {
            let spec = ConcurrencyPoolSpec { slots: i32::try_from(*slots).unwrap_or(i32::MAX), description: None };
            Arc::new(ConcurrencyPool::new(name, spec))
        };
        self.pools.iter().map(pool).collect()
    }
}

fn troubles(cluster: &Cluster, job: &JobSeen) -> Vec<Trouble> {
    let prefix = format!("{}-", job.name);
    let of_job = |uid: &String| *uid == job.uid || job.pods.iter().any(|pod| !pod.begun && pod.uid == *uid);
    let of_gone = |name: &String| job.pods.is_empty() && name.starts_with(&prefix);
    let told = cluster.warnings.iter().filter(|warned| of_job(&warned.about_uid) || of_gone(&warned.about_name));
    told.map(|warned| warned.trouble.clone()).collect()
}
