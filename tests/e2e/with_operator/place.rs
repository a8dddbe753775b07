//! A namespace with the operator at work in it: what people write there, and what they then see.

use std::{ops::Deref, time::Duration};

use k8s_openapi::api::{
    batch::v1::Job,
    core::v1::{Event, Pod},
};
use kube::{
    ResourceExt,
    api::{ListParams, LogParams},
};
use nightshift::api::{Attempt, AutomationRun, AutomationRunStatus, AutomationTask, Phase, label};
use serde_json::{Value, json};

use crate::support::{Scene, await_condition, eventually, install_crds, kubectl_ok, operator_up, with_temp_namespace, yaml};

/// How long something may take that the operator does at once: pods start slowly where many tests share few cores.
const AT_ONCE: Duration = Duration::from_secs(120);

/// Where a story plays: a scene with the operator up.
pub struct Place(Scene);

impl Deref for Place {
    type Target = Scene;

    fn deref(&self) -> &Scene {
        &self.0
    }
}

/// Plays a story in a namespace of its own.
pub async fn story(play: impl AsyncFnOnce(&Place)) {
    with_temp_namespace(async |client, namespace| {
        install_crds(&client).await;
        let _up = operator_up(&client).await;
        play(&Place(Scene::new(&client, &namespace))).await;
    })
    .await;
}

impl Place {
    /// A namespace whose operator somebody else keeps up.
    pub fn new(client: &kube::Client, namespace: &str) -> Self {
        Self(Scene::new(client, namespace))
    }

    /// Creates a task that runs a script, from what its spec says beyond that.
    pub async fn script(&self, name: &str, source: &str, spec: &str) {
        let mut whole: Value = yaml(spec);
        whole["script"] = json!({ "source": source });
        self.task(name, &whole.to_string()).await;
    }

    /// Runs a task now.
    pub async fn run(&self, name: &str, task: &str) {
        self.run_with(name, task, &[]).await;
    }

    /// Runs a task now, with parameters.
    pub async fn run_with(&self, name: &str, task: &str, parameters: &[(&str, &str)]) {
        let parameters: Vec<Value> = parameters.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
        let run = json!({
            "apiVersion": "nightshift.dev/v1alpha1", "kind": "AutomationRun",
            "metadata": { "name": name }, "spec": { "taskRef": { "name": task }, "parameters": parameters },
        });
        self.create::<AutomationRun>(&yaml(&run.to_string())).await;
    }

    /// Stops a run, as people do.
    pub async fn cancel(&self, run: &str) {
        self.change::<AutomationRun>(run, json!({ "spec": { "cancel": true } })).await;
    }

    /// Creates whatever other objects a story needs.
    pub async fn given(&self, objects: &str) {
        self.kubectl_with(&["create", "--filename", "-"], objects).await;
    }

    /// Runs `kubectl` in the namespace.
    pub async fn kubectl(&self, args: &[&str]) -> String {
        self.kubectl_with(args, "").await
    }

    async fn kubectl_with(&self, args: &[&str], input: &str) -> String {
        kubectl_ok(&[&["--namespace", self.namespace.as_str()], args].concat(), Some(input)).await
    }

    /// The run's status once `holds`.
    #[track_caller]
    pub fn status(
        &self,
        run: &str,
        what: &str,
        holds: impl Fn(&AutomationRunStatus) -> bool + Send + Sync,
    ) -> impl Future<Output = AutomationRunStatus> {
        let holds = move |run: Option<&AutomationRun>| run.and_then(|run| run.status.as_ref()).is_some_and(&holds);
        let seen = await_condition(&self.api::<AutomationRun>(), run, what, AT_ONCE, holds);
        async { seen.await.and_then(|run| run.status).expect("it holds") }
    }

    /// The run's status at its end.
    #[track_caller]
    pub fn finished(&self, run: &str) -> impl Future<Output = AutomationRunStatus> {
        self.status(run, "to finish", |status| status.phase == Some(Phase::Finished))
    }

    /// The run's status once its container runs.
    #[track_caller]
    pub fn running(&self, run: &str) -> impl Future<Output = AutomationRunStatus> {
        self.status(run, "to run", |status| {
            status.phase == Some(Phase::Running) && status.attempts.last().is_some_and(|a| a.start_time.is_some() && a.class.is_none())
        })
    }

    /// The run's status once it waits for that reason.
    #[track_caller]
    pub fn waiting(&self, run: &str, reason: &'static str) -> impl Future<Output = AutomationRunStatus> {
        self.status(run, reason, move |status| status.waiting_on.as_ref().is_some_and(|w| w.reason == reason))
    }

    /// The task once its status speaks of its spec and `holds`.
    #[track_caller]
    pub fn task_seen(
        &self,
        task: &str,
        what: &str,
        holds: impl Fn(&AutomationTask) -> bool + Send + Sync,
    ) -> impl Future<Output = AutomationTask> {
        let current = |task: &AutomationTask| task.status.as_ref().is_some_and(|s| s.observed_generation == task.metadata.generation);
        let holds = move |task: Option<&AutomationTask>| task.is_some_and(|task| current(task) && holds(task));
        let seen = await_condition(&self.api::<AutomationTask>(), task, what, AT_ONCE, holds);
        async { seen.await.expect("it holds") }
    }

    /// The Jobs of a run, first attempt first.
    pub async fn jobs(&self, run: &str) -> Vec<Job> {
        let of_run = ListParams::default().labels(&format!("{}={run}", label::RUN));
        let mut jobs = self.api::<Job>().list(&of_run).await.expect("listing Jobs").items;
        jobs.sort_by_key(|job| job.labels().get(label::ATTEMPT).and_then(|n| n.parse::<u32>().ok()));
        jobs
    }

    /// What the container of the run's last attempt printed.
    pub async fn log_of(&self, status: &AutomationRunStatus) -> String {
        let pod = status.attempts.last().and_then(|a| a.pod.clone()).expect("there was an attempt");
        let params = LogParams { container: Some("main".to_owned()), ..LogParams::default() };
        self.api::<Pod>().logs(&pod, &params).await.unwrap_or_else(|e| panic!("the log of pod {pod}: {e}"))
    }

    /// What is told of an object of ours, oldest first, once there is an event of that reason: `Normal Started attempt 1 …`.
    pub async fn events(&self, name: &str, until: &str) -> Vec<String> {
        let of_object = ListParams::default().fields(&format!("involvedObject.name={name}"));
        eventually(&format!("{until} is told of {name}"), Duration::from_secs(20), async || {
            let listed = self.api::<Event>().list(&of_object).await.map_err(|e| e.to_string())?;
            let is_ours = |event: &Event| event.involved_object.kind.as_deref().is_some_and(|kind| kind.starts_with("Automation"));
            let mut events: Vec<Event> = listed.items.into_iter().filter(is_ours).collect();
            events.sort_by_key(|event| event.event_time.as_ref().map(|time| time.0));
            let told = |event: &Event| [&event.type_, &event.reason, &event.message].map(|part| part.clone().unwrap_or_default()).join(" ");
            let all = events.iter().map(told).collect::<Vec<_>>();
            if events.iter().any(|event| event.reason.as_deref() == Some(until)) { Ok(all) } else { Err(format!("{all:?}")) }
        })
        .await
    }
}

/// How a run ended, in short, to compare: `Failed ExitCodeFatal: Fatal 3`.
pub fn end(status: &AutomationRunStatus) -> String {
    let outcome = status.outcome.map_or("-".to_owned(), |outcome| format!("{outcome:?}"));
    let attempts: Vec<String> = status.attempts.iter().map(attempt).collect();
    format!("{outcome} {}: {}", status.reason.as_deref().unwrap_or("-"), attempts.join(", "))
}

fn attempt(attempt: &Attempt) -> String {
    let class = attempt.class.map_or("-".to_owned(), |class| format!("{class:?}"));
    attempt.exit_code.map_or(class.clone(), |code| format!("{class} {code}"))
}

/// The run's sentence.
pub fn message(status: &AutomationRunStatus) -> &str {
    status.message.as_deref().unwrap_or_default()
}

/// Asserts that `text` has all the `parts`.
#[track_caller]
pub fn says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not said in: {text}");
    }
}
