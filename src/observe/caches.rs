//! The eight watches of the operator.

use std::{fmt::Debug, sync::Arc};

use futures::{StreamExt, stream::BoxStream};
use k8s_openapi::api::{
    batch::v1::{CronJob, Job},
    core::v1::Pod,
};
use kube::{
    Api, Client, ResourceExt,
    core::NamespaceResourceScope,
    runtime::{
        WatchStreamExt,
        reflector::ObjectRef,
        watcher::{Config, Event, watcher},
    },
};
use tokio::sync::mpsc::UnboundedSender;

use super::{
    Cache,
    broken::Broken,
    definitions::Definitions,
    events::Warnings,
    held::Held,
    told::{Told, Watched},
    touched::{Touched, touched_run},
};
use crate::{
    admission::{is_marked, task_frees, waits_for_room},
    api::{AutomationRun, AutomationTask, Backfill, BackfillPhase, ConcurrencyPool, Step, Workflow, label},
    ledger,
    outcome::{self, JobSeen, PodSeen},
    plan::automation_task::CronJobSeen,
};

/// Objects in one answer of a list. The text of an answer is held as a whole: many small ones keep the start small.
const PAGE: u32 = 200;

/// All that is watched.
pub struct Caches {
    /// Tasks.
    pub tasks: Cache<AutomationTask>,
    /// Workflows, by the tasks and workflows of their steps.
    pub workflows: Cache<Workflow>,
    /// Runs, by task or workflow; those of steps by the workflow's run.
    pub runs: Cache<AutomationRun>,
    /// Backfills, by task or workflow.
    pub backfills: Cache<Backfill>,
    /// Pools, by namespace.
    pub pools: Cache<ConcurrencyPool>,
    /// CronJobs of ours, by task.
    pub cron_jobs: Cache<CronJob>,
    /// Jobs of ours, by task and by run.
    pub jobs: Cache<Job>,
    /// Pods of ours, by Job.
    pub pods: Cache<Pod>,
    pub(super) broken: Broken,
    pub(super) warnings: Warnings,
    pub(super) definitions: Definitions,
    /// Finished runs of workflows that are repeated, whole.
    pub(super) originals: Held<AutomationRun>,
}

/// Names a group: what it is of, and the namespaced name.
pub(super) fn key(of: &str, namespace: &str, name: &str) -> String {
    format!("{of}/{namespace}/{name}")
}

/// Whether the pod tells how an attempt ended: it has begun, and has ended.
pub(super) fn is_evidence(pod: &Pod) -> bool {
    let seen = PodSeen::read(pod);
    seen.begun && !seen.is_live()
}

/// Whether a backfill is not over.
pub(super) fn goes_on(backfill: &Backfill) -> bool {
    backfill.status.as_ref().is_none_or(|status| status.phase != Some(BackfillPhase::Finished))
}

/// Whether a CronJob says more than that its slots come and go.
fn cron_job_tells(before: Option<&CronJob>, now: &CronJob) -> bool {
    let read = |cron_job: &CronJob| CronJobSeen { resource_version: String::new(), last_slot: None, ..super::cron_job(cron_job) };
    let whose = |cron_job: &CronJob| cron_job.metadata.labels.clone();
    before.is_none_or(|before| read(before) != read(now) || whose(before) != whose(now))
}

/// Whether a Job says more than that its pods come and go.
fn job_tells(before: Option<&Job>, now: &Job) -> bool {
    let no_pods: [Arc<Pod>; 0] = [];
    before.is_none_or(|before| {
        let meta = |job: &Job| (job.metadata.labels.clone(), job.metadata.annotations.clone());
        meta(before) != meta(now) || JobSeen::read(before, &no_pods) != JobSeen::read(now, &no_pods)
    })
}

/// Whether a pod says more than where it is, or that it is about to start.
fn pod_tells(before: Option<&Pod>, now: &Pod) -> bool {
    let read = |pod: &Pod| PodSeen { node: None, ..PodSeen::read(pod) };
    let now = read(now);
    match before {
        Some(before) => read(before) != now,
        None => !now.is_live() || now.main.is_some() || now.init_waiting.is_some() || now.unschedulable.is_some(),
    }
}

fn label_key<K: ResourceExt>(object: &K, of: &str, label: &str) -> Option<String> {
    object.labels().get(label).map(|name| key(of, &object.namespace().unwrap_or_default(), name))
}

/// Which group a run belongs to.
fn run_group(run: &AutomationRun) -> String {
    let namespace = run.namespace().unwrap_or_default();
    match (run.spec.step_of(), run.spec.workflow_name()) {
        (Some(step), _) => key("parent", &namespace, &step.workflow_run),
        (None, Some(workflow)) => key("workflow", &namespace, workflow),
        (None, None) => key("task", &namespace, run.spec.task_name()),
    }
}

/// The groups that a run belongs to: that of what it runs and, while it goes on, those of its namespace.
fn run_groups(run: &AutomationRun) -> Vec<String> {
    let mut groups = vec![run_group(run)];
    if run.spec.task_ref.is_some() && !ledger::is_finished(run) {
        let namespace = run.namespace().unwrap_or_default();
        groups.push(key("live", &namespace, ""));
        groups.extend(waits_for_room(run).then(|| key("queue", &namespace, "")));
    }
    groups
}

/// The groups that a task belongs to: those of the pools that it names.
fn task_groups(task: &AutomationTask) -> Vec<String> {
    let namespace = task.namespace().unwrap_or_default();
    let concurrency = task.spec.concurrency.iter();
    concurrency.flat_map(|concurrency| &concurrency.pools).map(|of| key("pool", &namespace, &of.pool_ref.name)).collect()
}

/// The groups that a Job belongs to. Of those that are marked the ones that go on: of the others there are ever more.
fn job_groups(job: &Job) -> Vec<String> {
    let holds = is_marked(job) && !outcome::has_ended(job);
    let marked = holds.then(|| key("marked", &job.namespace().unwrap_or_default(), ""));
    label_key(job, "task", label::TASK).into_iter().chain(label_key(job, "run", label::RUN)).chain(marked).collect()
}

/// Whether a pool says more than how it is used.
fn pool_tells(before: Option<&ConcurrencyPool>, now: &ConcurrencyPool) -> bool {
    before.is_none_or(|before| (before.uid(), &before.spec) != (now.uid(), &now.spec))
}

/// The tasks and workflows that a workflow's steps name.
fn named_by(workflow: &Workflow) -> Vec<String> {
    let namespace = workflow.namespace().unwrap_or_default();
    let steps = workflow.spec.steps.iter().chain(&workflow.spec.finally);
    let names = |step: &Step| {
        let task = step.task_ref.as_ref().map(|task| key("task", &namespace, &task.name));
        task.into_iter().chain(step.workflow_ref.as_ref().map(|workflow| key("workflow", &namespace, &workflow.name)))
    };
    let mut all: Vec<String> = steps.flat_map(names).collect();
    all.sort();
    all.dedup();
    all
}

impl Caches {
    pub(super) fn new(watches: usize) -> Self {
        Self {
            tasks: Cache::new(watches, task_groups),
            workflows: Cache::new(watches, named_by),
            runs: Cache::new(watches, run_groups),
            backfills: Cache::new(watches, |b| vec![key(b.spec.kind(), &b.namespace().unwrap_or_default(), b.spec.name())]),
            pools: Cache::new(watches, |pool: &ConcurrencyPool| vec![key("pools", &pool.namespace().unwrap_or_default(), "")])
                .that(pool_tells),
            cron_jobs: Cache::new(watches, |c| label_key(c, "task", label::TASK).into_iter().collect()).that(cron_job_tells),
            jobs: Cache::new(watches, job_groups).that(job_tells),
            pods: Cache::new(watches, |p| label_key(p, "job", label::JOB_NAME).into_iter().collect()).that(pod_tells),
            broken: Broken::default(),
            warnings: Warnings::default(),
            definitions: Definitions::default(),
            originals: Held::default(),
        }
    }

    /// The kinds that have not been listed yet.
    #[must_use]
    pub fn unsynced(&self) -> Vec<&'static str> {
        let kinds = [
            ("automationtasks", self.tasks.is_synced()),
            ("workflows", self.workflows.is_synced()),
            ("automationruns", self.runs.is_synced()),
            ("backfills", self.backfills.is_synced()),
            ("concurrencypools", self.pools.is_synced()),
            ("cronjobs", self.cron_jobs.is_synced()),
            ("jobs", self.jobs.is_synced()),
            ("pods", self.pods.is_synced()),
        ];
        kinds.into_iter().filter(|(_, synced)| !synced).map(|(kind, _)| kind).collect()
    }

    /// Waits until every kind has been listed.
    pub async fn synced(&self) {
        // A store that will never be ready belongs to an operator that is being dropped.
        let _ = self.tasks.store().wait_until_ready().await;
        let _ = self.workflows.store().wait_until_ready().await;
        let _ = self.runs.store().wait_until_ready().await;
        let _ = self.backfills.store().wait_until_ready().await;
        let _ = self.pools.store().wait_until_ready().await;
        let _ = self.cron_jobs.store().wait_until_ready().await;
        let _ = self.jobs.store().wait_until_ready().await;
        let _ = self.pods.store().wait_until_ready().await;
    }

    /// All that there is to look at, for whoever has not listened so far.
    #[must_use]
    pub fn everything(&self) -> Vec<Touched> {
        let tasks = self.tasks.store().state().into_iter().map(|task| Touched::Task(ObjectRef::from_obj(&*task)));
        let runs = self.runs.store().state().into_iter().filter(|run| !ledger::is_finished(run));
        let backfills = self.backfills.store().state().into_iter().filter(|backfill| goes_on(backfill));
        let backfills = backfills.map(|backfill| Touched::Backfill(ObjectRef::from_obj(&*backfill)));
        let workflows = self.workflows.store().state().into_iter().map(|workflow| Touched::Workflow(ObjectRef::from_obj(&*workflow)));
        let pools = self.pools.store().state().into_iter().map(|pool| Touched::Pool(ObjectRef::from_obj(&*pool)));
        tasks.chain(workflows).chain(runs.map(|run| touched_run(&run))).chain(backfills).chain(pools).collect()
    }

    /// Most updates of a task are of its status, and change nothing for those that wait for room.
    pub(super) fn take_task(&self, watch: usize, event: Event<AutomationTask>) -> Vec<Touched> {
        let frees = match &event {
            Event::Apply(now) => task_frees(self.tasks.get(&now.namespace().unwrap_or_default(), &now.name_any()).as_deref(), now),
            _ => true,
        };
        self.tasks.take(watch, event).iter().flat_map(|task| self.task_touched(task, frees)).collect()
    }

    /// A pod that has ended and then goes while its Job stands (evicted, deleted by somebody) stays as it was last seen:
    /// it can be gone before anybody has looked at how it ended.
    fn take_pod(&self, watch: usize, event: Event<Pod>) -> Vec<Arc<Pod>> {
        match event {
            Event::Apply(pod) => self.pods.take(watch, Event::Apply(self.first_deletion(pod))),
            Event::Delete(pod) if is_evidence(&pod) && self.job_stands(&pod) => {
                self.pods.take(watch, Event::Apply(self.first_deletion(pod)))
            }
            event => self.pods.take(watch, event),
        }
    }

    /// Keeps when a pod was first asked to go: the kubelet asks once more when the containers have ended, and that time
    /// would look as if nobody had asked before.
    fn first_deletion(&self, mut pod: Pod) -> Pod {
        let known = self.pods.get(&pod.namespace().unwrap_or_default(), &pod.name_any());
        if let Some(known) = known.filter(|known| known.uid() == pod.uid() && known.metadata.deletion_timestamp.is_some()) {
            pod.metadata.deletion_timestamp.clone_from(&known.metadata.deletion_timestamp);
            pod.metadata.deletion_grace_period_seconds = known.metadata.deletion_grace_period_seconds;
        }
        pod
    }

    fn job_stands(&self, pod: &Pod) -> bool {
        let job = pod.labels().get(label::JOB_NAME).and_then(|job| self.jobs.get(&pod.namespace()?, job));
        job.is_some_and(|job| job.metadata.deletion_timestamp.is_none())
    }

    /// With a Job go the last views of its pods.
    fn take_job(&self, watch: usize, event: Event<Job>) -> Vec<Arc<Job>> {
        if let Event::Delete(job) = &event {
            let pods = self.pods.group(&key("job", &job.namespace().unwrap_or_default(), &job.name_any()));
            for pod in pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_some() && is_evidence(pod)) {
                self.pods.take(watch, Event::Delete((**pod).clone()));
            }
        }
        self.jobs.take(watch, event)
    }
}

/// Starts the watches, for all namespaces or for those given, and returns the caches that they feed. What each event
/// touches is sent on. The returned future drives them and never ends by itself.
pub fn start(client: &Client, namespaces: &[String], touched: UnboundedSender<Touched>) -> (Arc<Caches>, impl Future<Output = ()> + use<>) {
    let caches = Arc::new(Caches::new(namespaces.len().max(1)));
    let scopes: Vec<Option<String>> = if namespaces.is_empty() { vec![None] } else { namespaces.iter().cloned().map(Some).collect() };
    let mut watches: Vec<BoxStream<'static, Vec<Touched>>> = Vec::new();
    for (index, scope) in scopes.iter().enumerate() {
        let scope = scope.as_deref();
        let ours = Config::default().labels(label::SELECTOR);
        let own = caches.clone();
        watches.push(told(client, scope, Config::default(), caches.clone()).map(move |event| own.take_task(index, event)).boxed());
        let own = caches.clone();
        watches.push(
            told(client, scope, Config::default(), caches.clone())
                .map(move |event| own.workflows.take(index, event).iter().flat_map(|workflow| own.workflow_touched(workflow)).collect())
                .boxed(),
        );
        let own = caches.clone();
        watches.push(
            told(client, scope, Config::default(), caches.clone())
                .map(move |event| {
                    let update = matches!(event, Event::Apply(_));
                    own.runs.take(index, event).iter().flat_map(|run| own.run_touched(run, update)).collect()
                })
                .boxed(),
        );
        let own = caches.clone();
        watches.push(
            told(client, scope, Config::default(), caches.clone())
                .map(move |event| {
                    let touched = own.backfills.take(index, event);
                    touched.iter().map(|backfill| Touched::Backfill(ObjectRef::from_obj(&**backfill))).collect()
                })
                .boxed(),
        );
        let own = caches.clone();
        watches.push(
            told(client, scope, Config::default(), caches.clone())
                .map(move |event| own.pools.take(index, event).iter().flat_map(|pool| own.pool_touched(pool)).collect())
                .boxed(),
        );
        let own = caches.clone();
        watches.push(
            told(client, scope, ours.clone(), caches.clone())
                .map(move |event| own.cron_jobs.take(index, event).iter().flat_map(|c| Caches::cron_job_touched(c)).collect())
                .boxed(),
        );
        let own = caches.clone();
        watches.push(
            told(client, scope, ours.clone(), caches.clone())
                .map(move |event| own.take_job(index, event).iter().flat_map(|job| own.job_touched(job)).collect())
                .boxed(),
        );
        let own = caches.clone();
        watches.push(
            told(client, scope, ours, caches.clone())
                .map(move |event| own.take_pod(index, event).iter().flat_map(|pod| own.pod_touched(pod)).collect())
                .boxed(),
        );
    }
    let drive = async move {
        let mut events = futures::stream::select_all(watches);
        while let Some(all) = events.next().await {
            for one in all {
                // Nobody listens any more only while the process ends.
                let _ = touched.send(one);
            }
        }
    };
    (caches, drive)
}

/// What a watch tells of a kind.
fn told<K>(client: &Client, namespace: Option<&str>, config: Config, caches: Arc<Caches>) -> impl futures::Stream<Item = Event<K>> + use<K>
where
    K: Watched<Scope = NamespaceResourceScope> + Clone + Debug + Send + 'static,
{
    let api: Api<Told<K>> = namespace.map_or_else(|| Api::all(client.clone()), |namespace| Api::namespaced(client.clone(), namespace));
    watcher(api, config.page_size(PAGE)).default_backoff().filter_map(move |event| {
        let whole = |told, is_gone| caches.broken.sort_out(told, is_gone);
        std::future::ready(match event {
            Ok(Event::Init) => Some(Event::Init),
            Ok(Event::InitDone) => Some(Event::InitDone),
            Ok(Event::InitApply(told)) => whole(told, false).map(Event::InitApply),
            Ok(Event::Apply(told)) => whole(told, false).map(Event::Apply),
            Ok(Event::Delete(told)) => whole(told, true).map(Event::Delete),
            Err(error) => {
                tracing::warn!(kind = %K::kind(&()), %error, "the watch broke and starts again");
                None
            }
        })
    })
}
