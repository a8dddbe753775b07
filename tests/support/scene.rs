//! A namespace, and what tests do and look for in it: tasks, runs, CronJobs, Jobs, pods.

use std::{fmt::Debug, time::Duration};

use k8s_openapi::api::{
    batch::v1::{CronJob, Job},
    core::v1::Pod,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, ListParams, LogParams, Patch, PatchParams, PostParams},
    core::NamespaceResourceScope,
};
use nightshift::api::{AutomationRun, AutomationRunStatus, AutomationTask, Phase, condition, label};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{await_condition, eventually, kubectl_ok, yaml};

/// An image with a shell, present on every node.
pub const IMAGE: &str = "localhost/nightshift/shell:1";

/// A kind that lives in namespaces and can be awaited.
pub trait Kind:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + Send + Sync + Serialize + DeserializeOwned + 'static
{
}

impl<K> Kind for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + Send + Sync + Serialize + DeserializeOwned + 'static
{
}

/// A namespace, and what tests do and look for in it.
#[derive(Clone)]
pub struct Scene {
    pub client: Client,
    pub namespace: String,
}

impl Scene {
    pub fn new(client: &Client, namespace: &str) -> Self {
        Self { client: client.clone(), namespace: namespace.to_owned() }
    }

    pub fn api<K: Kind>(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Creates a task whose container has a shell and a grace period of one second. `spec` adds to it.
    pub async fn task(&self, name: &str, spec: &str) -> AutomationTask {
        let mut whole = json!({
            "owner": { "team": "tests" },
            "image": IMAGE,
            "template": { "spec": { "terminationGracePeriodSeconds": 1, "containers": [{ "name": "main" }] } },
        });
        merge(&mut whole, yaml(spec));
        let object = json!({
            "apiVersion": "nightshift.dev/v1alpha1", "kind": "AutomationTask",
            "metadata": { "name": name, "namespace": self.namespace }, "spec": whole,
        });
        let task: AutomationTask = serde_json::from_value(object).expect("a task");
        self.create(&task).await
    }

    /// Creates a task and returns it when it is accepted and armed.
    pub async fn armed_task(&self, name: &str, spec: &str) -> AutomationTask {
        self.task(name, spec).await;
        self.armed(name).await
    }

    /// Creates a run on demand.
    pub async fn run(&self, name: &str, task: &str) -> AutomationRun {
        self.create(&yaml(&format!(
            "{{apiVersion: nightshift.dev/v1alpha1, kind: AutomationRun, metadata: {{name: {name}}}, spec: {{taskRef: {{name: {task}}}}}}}"
        )))
        .await
    }

    /// Starts a Job by hand, as people do.
    pub async fn job_from_cron_job(&self, job: &str, cron_job: &str) -> Job {
        let from = format!("--from=cronjob/{cron_job}");
        kubectl_ok(&["--namespace", &self.namespace, "create", "job", job, &from], None).await;
        self.get(job).await
    }

    pub async fn create<K: Kind>(&self, object: &K) -> K {
        let created = self.api::<K>().create(&PostParams::default(), object).await;
        created.unwrap_or_else(|e| panic!("creating {} {}: {e}", K::kind(&()), object.name_any()))
    }

    pub async fn get<K: Kind>(&self, name: &str) -> K {
        self.api::<K>().get(name).await.unwrap_or_else(|e| panic!("{} {name}: {e}", K::kind(&())))
    }

    pub async fn find<K: Kind>(&self, name: &str) -> Option<K> {
        self.api::<K>().get_opt(name).await.unwrap_or_else(|e| panic!("{} {name}: {e}", K::kind(&())))
    }

    /// Merges `patch` into the object, as somebody who is not the operator.
    pub async fn change<K: Kind>(&self, name: &str, patch: Value) -> K {
        let patched = self.api::<K>().patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await;
        patched.unwrap_or_else(|e| panic!("changing {} {name} by {patch}: {e}", K::kind(&())))
    }

    pub async fn delete<K: Kind>(&self, name: &str) {
        let deleted = self.api::<K>().delete(name, &DeleteParams::background()).await;
        deleted.unwrap_or_else(|e| panic!("deleting {} {name}: {e}", K::kind(&())));
    }

    /// Awaits that the object holds.
    #[track_caller]
    pub fn until<K, Holds>(&self, name: &str, what: &str, seconds: u64, holds: Holds) -> impl Future<Output = K> + use<K, Holds>
    where
        K: Kind,
        Holds: Fn(&K) -> bool + Send + Sync,
    {
        let awaited =
            await_condition(&self.api::<K>(), name, what, Duration::from_secs(seconds), move |o: Option<&K>| o.is_some_and(&holds));
        async move { awaited.await.expect("it holds, so it is there") }
    }

    /// Awaits that the object is gone.
    #[track_caller]
    pub fn gone<K: Kind>(&self, name: &str, seconds: u64) -> impl Future<Output = ()> + use<K> {
        let awaited = await_condition(&self.api::<K>(), name, "to be gone", Duration::from_secs(seconds), |o: Option<&K>| o.is_none());
        async move { drop(awaited.await) }
    }

    /// Awaits that the task's spec as it is now is accepted and armed.
    #[track_caller]
    pub fn armed(&self, task: &str) -> impl Future<Output = AutomationTask> + use<> {
        self.ready(task, "True", "Accepted")
    }

    /// Awaits what Ready says of the task's spec as it is now.
    #[track_caller]
    pub fn ready(&self, task: &str, status: &str, reason: &str) -> impl Future<Output = AutomationTask> + use<> {
        let (what, wanted) = (format!("to be Ready={status} ({reason})"), (status.to_owned(), reason.to_owned()));
        self.until(task, &what, 30, move |task: &AutomationTask| ready(task).is_some_and(|(status, reason, _)| (status, reason) == wanted))
    }

    /// Awaits the end of a run and returns how it ended.
    #[track_caller]
    pub fn finished(&self, run: &str, seconds: u64) -> impl Future<Output = AutomationRun> + use<> {
        self.until(run, "to be finished", seconds, |run: &AutomationRun| status(run).phase == Some(Phase::Finished))
    }

    /// Awaits that a container of the Job runs.
    #[track_caller]
    pub fn pod_running(&self, job: &str, seconds: u64) -> impl Future<Output = Pod> + use<> {
        self.pod_of(job, "runs", seconds, |pod| {
            let statuses = pod.status.as_ref().and_then(|s| s.container_statuses.as_ref());
            statuses.into_iter().flatten().any(|c| c.state.as_ref().is_some_and(|s| s.running.is_some()))
        })
    }

    /// Awaits that the newest pod of the Job holds.
    #[track_caller]
    pub fn pod_of<Holds>(&self, job: &str, what: &str, seconds: u64, holds: Holds) -> impl Future<Output = Pod> + use<Holds>
    where
        Holds: Fn(&Pod) -> bool,
    {
        let scene = self.clone();
        let job = job.to_owned();
        let what = format!("a pod of Job {job} {what}");
        let limit = Duration::from_secs(seconds);
        let ask = async move || {
            let pods = scene.pods(&job).await;
            let last = pods.last().cloned();
            last.filter(&holds).ok_or_else(|| format!("{:?}", pods.iter().map(|p| (p.name_any(), &p.status)).collect::<Vec<_>>()))
        };
        eventually(&what, limit, ask)
    }

    /// Awaits the first Job, oldest first, that holds.
    #[track_caller]
    pub fn job_that<Holds>(&self, what: &str, seconds: u64, holds: Holds) -> impl Future<Output = Job> + use<Holds>
    where
        Holds: Fn(&Job) -> bool,
    {
        let scene = self.clone();
        eventually(what, Duration::from_secs(seconds), async move || {
            let jobs = scene.ours::<Job>().await;
            let found = jobs.iter().find(|job| holds(job)).cloned();
            found.ok_or_else(|| format!("{:?}", jobs.iter().map(ResourceExt::name_any).collect::<Vec<_>>()))
        })
    }

    /// Awaits the run that records the Job.
    #[track_caller]
    pub fn run_of_job(&self, job: &str, seconds: u64) -> impl Future<Output = AutomationRun> + use<> {
        let (scene, job) = (self.clone(), job.to_owned());
        let what = format!("there is one run of Job {job}");
        eventually(&what, Duration::from_secs(seconds), async move || {
            let mut runs = scene.runs().await;
            runs.retain(|run| run.annotations().get(label::ADOPTED_JOB) == Some(&job));
            if runs.len() == 1 { Ok(runs.remove(0)) } else { Err(format!("{} runs", runs.len())) }
        })
    }

    /// The objects that bear our label, oldest first.
    pub async fn ours<K: Kind>(&self) -> Vec<K> {
        self.list(&ListParams::default().labels(label::SELECTOR)).await
    }

    /// All runs, oldest first.
    pub async fn runs(&self) -> Vec<AutomationRun> {
        self.list(&ListParams::default()).await
    }

    /// All CronJobs, oldest first.
    pub async fn cron_jobs(&self) -> Vec<CronJob> {
        self.list(&ListParams::default()).await
    }

    /// The pods of a Job, oldest first.
    pub async fn pods(&self, job: &str) -> Vec<Pod> {
        self.list(&ListParams::default().labels(&format!("{}={job}", label::JOB_NAME))).await
    }

    /// All objects of a kind, oldest first.
    pub async fn all<K: Kind>(&self) -> Vec<K> {
        self.list(&ListParams::default()).await
    }

    async fn list<K: Kind>(&self, params: &ListParams) -> Vec<K> {
        let mut items = self.api::<K>().list(params).await.unwrap_or_else(|e| panic!("listing {}: {e}", K::plural(&()))).items;
        items.sort_by_key(|item| (item.creation_timestamp(), item.name_any()));
        items
    }

    /// What the container of a pod wrote.
    pub async fn log(&self, pod: &Pod) -> String {
        let name = pod.name_any();
        self.api::<Pod>().logs(&name, &LogParams::default()).await.unwrap_or_else(|e| panic!("log of {name}: {e}"))
    }
}

/// The run's status; empty where it has none yet.
pub fn status(run: &AutomationRun) -> AutomationRunStatus {
    run.status.clone().unwrap_or_default()
}

/// What Ready says of the task's spec as it is now: status, reason, message.
pub fn ready(task: &AutomationTask) -> Option<(String, String, String)> {
    let status = task.status.as_ref()?;
    let ready = condition::find(&status.conditions, condition::READY)?;
    let current = status.observed_generation == task.metadata.generation;
    current.then(|| (ready.status.clone(), ready.reason.clone(), ready.message.clone()))
}

/// Merges as RFC 7386 says: null removes.
fn merge(into: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *into = patch;
        return;
    };
    if !into.is_object() {
        *into = json!({});
    }
    let into = into.as_object_mut().expect("made an object above");
    for (key, value) in patch {
        if value.is_null() {
            into.remove(&key);
        } else {
            merge(into.entry(key).or_insert(Value::Null), value);
        }
    }
}
