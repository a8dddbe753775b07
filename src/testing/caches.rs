//! What the operator's watches have told it: each kind as it was some while ago, and what each piece of news touches.
//! The routes are those of `observe::caches`.

use std::{collections::BTreeMap, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{
    batch::v1::{CronJob, Job},
    core::v1::Pod,
};
use kube::ResourceExt;

use super::{
    cluster::Cluster,
    store::{Entry, Store},
};
use crate::{
    admission::{self, Slots},
    api::{AutomationRun, AutomationTask, Backfill, Phase, Workflow, label},
    ledger,
    outcome::PodSeen,
};

/// What has to be looked at again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    Task(String),
    Workflow(String),
    /// Of a task or of a workflow.
    Run(String),
    Backfill(String),
}

/// One kind, as far as its watch has told.
#[derive(Clone, Debug)]
pub struct Cache<K> {
    objects: BTreeMap<String, Arc<K>>,
    told: usize,
}

impl<K> Default for Cache<K> {
    fn default() -> Self {
        Self { objects: BTreeMap::new(), told: 0 }
    }
}

/// Whether the pod tells how an attempt ended: it has begun, and has ended.
pub fn is_evidence(pod: &Pod) -> bool {
    let seen = PodSeen::read(pod);
    seen.begun && !seen.is_live()
}

/// How far behind a watch is: always by some seconds, and not a word in between two times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lag {
    pub seconds: i64,
    pub silent: Option<(Timestamp, Timestamp)>,
}

impl Lag {
    fn told_at(&self, happened: Timestamp) -> Timestamp {
        let told = happened + SignedDuration::from_secs(self.seconds);
        match self.silent {
            Some((from, until)) if (from..until).contains(&told) => until,
            _ => told,
        }
    }
}

impl<K: kube::Resource<DynamicType = ()> + Clone + PartialEq> Cache<K> {
    pub fn get(&self, name: &str) -> Option<&Arc<K>> {
        self.objects.get(name)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<K>> {
        self.objects.values()
    }

    /// What the watch has to tell by now.
    fn news(&mut self, store: &Store<K>, lag: Lag, now: Timestamp) -> Vec<Entry<K>> {
        let due = store.log()[self.told..].iter().take_while(|entry| lag.told_at(entry.at) <= now);
        let news: Vec<Entry<K>> = due.cloned().collect();
        self.told += news.len();
        news
    }

    fn take(&mut self, entry: &Entry<K>) {
        if entry.deleted {
            self.objects.remove(&entry.name);
        } else {
            self.objects.insert(entry.name.clone(), entry.object.clone());
        }
    }

    /// Takes what the watch tells by now, and returns it.
    fn take_all(&mut self, store: &Store<K>, lag: Lag, now: Timestamp) -> Vec<Arc<K>> {
        let news = self.news(store, lag, now);
        for entry in &news {
            self.take(entry);
        }
        news.into_iter().map(|entry| entry.object).collect()
    }

    /// Lists all there is, as a watch does when it begins.
    fn list(&mut self, store: &Store<K>) -> Vec<Arc<K>> {
        self.objects = store.iter().map(|object| (object.name_any(), object.clone())).collect();
        self.told = store.log().len();
        store.all()
    }

    fn next(&self, store: &Store<K>, lag: Lag) -> Option<Timestamp> {
        store.log().get(self.told).map(|entry| lag.told_at(entry.at))
    }
}

/// How far behind each watch is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lags {
    pub tasks: Lag,
    pub workflows: Lag,
    pub runs: Lag,
    pub cron_jobs: Lag,
    pub jobs: Lag,
    pub pods: Lag,
    pub backfills: Lag,
}

/// All kinds.
#[derive(Clone, Debug, Default)]
pub struct Caches {
    pub tasks: Cache<AutomationTask>,
    pub workflows: Cache<Workflow>,
    pub runs: Cache<AutomationRun>,
    pub cron_jobs: Cache<CronJob>,
    pub jobs: Cache<Job>,
    pub pods: Cache<Pod>,
    pub backfills: Cache<Backfill>,
    /// The pools: as they are, since nothing here is about how late that is told.
    pub pools: Slots,
    /// Whether something was told that may change who is let in under caps.
    pub frees: bool,
}

impl Caches {
    /// Takes the news of all watches and returns what they touch.
    pub fn take(&mut self, cluster: &Cluster, lags: &Lags) -> Vec<Key> {
        let now = cluster.now;
        let known = self.tasks.clone();
        let tasks = self.tasks.take_all(&cluster.tasks, lags.tasks, now);
        let gone = |task: &Arc<AutomationTask>| self.tasks.get(&task.name_any()).is_none();
        self.frees |= tasks.iter().any(|task| gone(task) || admission::task_frees(known.get(&task.name_any()).map(AsRef::as_ref), task));
        let workflows = self.workflows.take_all(&cluster.workflows, lags.workflows, now);
        let runs = self.runs.take_all(&cluster.runs, lags.runs, now);
        let cron_jobs = self.cron_jobs.take_all(&cluster.cron_jobs, lags.cron_jobs, now);
        let jobs = self.jobs.news(&cluster.jobs, lags.jobs, now);
        for entry in &jobs {
            self.take_job(entry);
        }
        let pods = self.pods.news(&cluster.pods, lags.pods, now);
        for entry in &pods {
            self.take_pod(entry);
        }
        let over = |run: &Arc<AutomationRun>| run.spec.task_ref.is_some() && (ledger::is_finished(run) || is_gone(&self.runs, run));
        let of = |job: &Job| self.runs.get(job.labels().get(label::RUN)?).map(AsRef::as_ref);
        let frees = |entry: &Entry<Job>| admission::job_frees(&entry.object, entry.deleted, of(&entry.object));
        self.frees |= runs.iter().any(over) || jobs.iter().any(frees);
        let jobs: Vec<Arc<Job>> = jobs.into_iter().map(|entry| entry.object).collect();
        let pods: Vec<Arc<Pod>> = pods.into_iter().map(|entry| entry.object).collect();
        let backfills = self.backfills.take_all(&cluster.backfills, lags.backfills, now);
        let rests =
            |run: &&Arc<AutomationRun>| admission::waits_for_room(run) && run.spec.cancel != Some(true) && !is_gone(&self.runs, run);
        let runs: Vec<Arc<AutomationRun>> = runs.into_iter().filter(|run| !rests(&run)).collect();
        let mut touched = self.touched(&tasks, &runs, &cron_jobs, &jobs, &pods);
        touched.extend(workflows.iter().flat_map(|workflow| self.workflow_touched(&workflow.name_any())));
        touched.extend(backfills.iter().map(|backfill| Key::Backfill(backfill.name_any())));
        touched
    }

    /// With a Job go the last views of its pods.
    fn take_job(&mut self, entry: &Entry<Job>) {
        self.jobs.take(entry);
        if entry.deleted {
            let of_job = |pod: &Pod| pod.labels().get(label::JOB_NAME) == Some(&entry.name);
            self.pods.objects.retain(|_, pod| !(of_job(pod) && pod.metadata.deletion_timestamp.is_some() && is_evidence(pod)));
        }
    }

    /// A pod that has ended and then goes while its Job stands stays as it was last seen. When a pod was first asked to
    /// go is kept too: the kubelet asks once more when the containers have ended.
    fn take_pod(&mut self, entry: &Entry<Pod>) {
        let mut entry = entry.clone();
        let known = self.pods.get(&entry.name).filter(|known| known.uid() == entry.object.uid());
        if let Some(known) = known.filter(|known| known.metadata.deletion_timestamp.is_some()) {
            let mut pod = (*entry.object).clone();
            pod.metadata.deletion_timestamp.clone_from(&known.metadata.deletion_timestamp);
            pod.metadata.deletion_grace_period_seconds = known.metadata.deletion_grace_period_seconds;
            entry.object = pod.into();
        }
        let stands = entry.object.labels().get(label::JOB_NAME).is_some_and(|job| self.jobs.get(job).is_some());
        entry.deleted &= !(is_evidence(&entry.object) && stands);
        self.pods.take(&entry);
    }

    /// Lists everything anew, as after a restart.
    pub fn list(&mut self, cluster: &Cluster) -> Vec<Key> {
        let tasks = self.tasks.list(&cluster.tasks);
        let workflows = self.workflows.list(&cluster.workflows);
        let runs = self.runs.list(&cluster.runs);
        let cron_jobs = self.cron_jobs.list(&cluster.cron_jobs);
        let jobs = self.jobs.list(&cluster.jobs);
        let pods = self.pods.list(&cluster.pods);
        let backfills = self.backfills.list(&cluster.backfills);
        let mut touched = self.touched(&tasks, &runs, &cron_jobs, &jobs, &pods);
        touched.extend(workflows.iter().flat_map(|workflow| self.workflow_touched(&workflow.name_any())));
        touched.extend(backfills.iter().map(|backfill| Key::Backfill(backfill.name_any())));
        touched
    }

    /// When a watch tells something next.
    pub fn next(&self, cluster: &Cluster, lags: &Lags) -> Option<Timestamp> {
        let next = [
            self.tasks.next(&cluster.tasks, lags.tasks),
            self.workflows.next(&cluster.workflows, lags.workflows),
            self.runs.next(&cluster.runs, lags.runs),
            self.cron_jobs.next(&cluster.cron_jobs, lags.cron_jobs),
            self.jobs.next(&cluster.jobs, lags.jobs),
            self.pods.next(&cluster.pods, lags.pods),
            self.backfills.next(&cluster.backfills, lags.backfills),
        ];
        next.into_iter().flatten().min()
    }

    /// The runs of a task, without those of steps.
    pub fn runs_of<'a>(&'a self, task: &'a str) -> impl Iterator<Item = &'a Arc<AutomationRun>> {
        self.runs.iter().filter(move |run| run.spec.task_name() == task && run.spec.step_of().is_none())
    }

    /// The runs of a workflow.
    pub fn runs_of_workflow<'a>(&'a self, workflow: &'a str) -> impl Iterator<Item = &'a Arc<AutomationRun>> {
        self.runs.iter().filter(move |run| run.spec.workflow_name() == Some(workflow) && run.spec.step_of().is_none())
    }

    /// The runs of those UIDs.
    pub fn named(&self, uids: &[String]) -> Vec<Key> {
        let runs = self.runs.iter().filter(|run| run.uid().is_some_and(|uid| uids.contains(&uid)));
        runs.map(|run| Key::Run(run.name_any())).collect()
    }

    fn touched(
        &self,
        tasks: &[Arc<AutomationTask>],
        runs: &[Arc<AutomationRun>],
        cron_jobs: &[Arc<CronJob>],
        jobs: &[Arc<Job>],
        pods: &[Arc<Pod>],
    ) -> Vec<Key> {
        let by_task = tasks.iter().flat_map(|task| self.task_touched(&task.name_any()));
        let by_run = runs.iter().flat_map(|run| {
            let of = match (run.spec.step_of(), run.spec.workflow_name()) {
                (Some(step), _) => Key::Run(step.workflow_run.clone()),
                (None, Some(workflow)) => Key::Workflow(workflow.to_owned()),
                (None, None) => Key::Task(run.spec.task_name().to_owned()),
            };
            let gone = self.runs.get(&run.name_any()).is_none_or(|there| there.uid() != run.uid());
            if !ledger::is_finished(run) && !gone {
                return vec![of, Key::Run(run.name_any())];
            }
            let backfill = run.labels().get(label::BACKFILL).map(|name| Key::Backfill(name.clone()));
            let queued = |run: &&Arc<AutomationRun>| {
                run.status.as_ref().is_some_and(|status| status.phase == Some(Phase::Queued)) && !admission::waits_for_room(run)
            };
            let same = |other: &&Arc<AutomationRun>| {
                (&other.spec.task_ref, &other.spec.workflow_ref) == (&run.spec.task_ref, &run.spec.workflow_ref)
            };
            let queued = self.runs.iter().filter(same).filter(queued).map(|run| Key::Run(run.name_any()));
            std::iter::once(of).chain(backfill).chain(queued).collect()
        });
        let by_cron_job = cron_jobs.iter().filter_map(|cron_job| Some(Key::Task(cron_job.labels().get(label::TASK)?.clone())));
        let by_job = jobs.iter().filter_map(|job| run_of(job).or_else(|| Some(Key::Task(job.labels().get(label::TASK)?.clone()))));
        let by_pod = pods.iter().filter_map(|pod| run_of(self.jobs.get(pod.labels().get(label::JOB_NAME)?)?));
        by_task.chain(by_run).chain(by_cron_job).chain(by_job).chain(by_pod).collect()
    }

    fn task_touched(&self, task: &str) -> Vec<Key> {
        let is_gone = self.tasks.get(task).is_none();
        let waiting = self.runs_of(task).filter(|run| admission::is_waiting(run) && (is_gone || !admission::waits_for_room(run)));
        let waiting = waiting.map(|run| Key::Run(run.name_any()));
        let backfills = self.backfills.iter().filter(|backfill| backfill.spec.task_name() == task);
        let backfills = backfills.map(|backfill| Key::Backfill(backfill.name_any()));
        let names =
            |workflow: &&Arc<Workflow>| workflow.spec.steps.iter().any(|step| step.task_ref.as_ref().is_some_and(|t| t.name == task));
        let workflows = self.workflows.iter().filter(names);
        let outer = workflows.flat_map(|workflow| {
            let workflow = workflow.name_any();
            std::iter::once(Key::Workflow(workflow.clone())).chain(self.backfills_of_workflow(&workflow))
        });
        std::iter::once(Key::Task(task.to_owned())).chain(waiting).chain(backfills).chain(outer).collect()
    }

    fn workflow_touched(&self, workflow: &str) -> Vec<Key> {
        let waiting = self.runs_of_workflow(workflow).filter(|run| admission::is_waiting(run)).map(|run| Key::Run(run.name_any()));
        std::iter::once(Key::Workflow(workflow.to_owned())).chain(waiting).chain(self.backfills_of_workflow(workflow)).collect()
    }

    fn backfills_of_workflow(&self, workflow: &str) -> Vec<Key> {
        let backfills = self.backfills.iter().filter(|backfill| backfill.spec.workflow_name() == Some(workflow));
        backfills.map(|backfill| Key::Backfill(backfill.name_any())).collect()
    }
}

fn is_gone(runs: &Cache<AutomationRun>, run: &AutomationRun) -> bool {
    runs.get(&run.name_any()).is_none_or(|there| there.uid() != run.uid())
}

fn run_of(job: &Job) -> Option<Key> {
    Some(Key::Run(job.labels().get(label::RUN)?.clone()))
}
