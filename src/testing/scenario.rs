//! A scenario: everything that decides how a world goes. What a failing test prints of it is enough to play it again.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    NAMESPACE,
    caches::Lags,
    operator::Mishaps,
    people::Act,
    script::{Life, Script},
};
use crate::api::{AutomationTask, Contract, Workflow};

/// The name of the one task.
pub const TASK: &str = "t";
/// The name of the one workflow, where there is one.
pub const WORKFLOW: &str = "w";

/// When every world begins: half a minute before the first slot.
pub fn start() -> Timestamp {
    Timestamp::from_second(1_795_564_770).unwrap_or_default()
}

/// Everything that decides how a world goes.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Decides who is first where several could go on.
    pub seed: u64,
    /// The task's spec, without what all have.
    pub spec: Value,
    /// The workflow's spec, without what all have, where there is one.
    pub workflow: Option<Value>,
    pub script: Script,
    /// What people do, so many seconds after the beginning.
    pub acts: Vec<(i64, Act)>,
    pub lags: Lags,
    pub mishaps: Mishaps,
    /// After so many seconds task and workflow lose their schedule, and what goes on comes to its end.
    pub seconds: i64,
}

impl Scenario {
    /// A world without mishaps.
    pub fn new(spec: Value, lives: Vec<Life>) -> Self {
        Self {
            seed: 7,
            spec,
            workflow: None,
            script: Script(vec![lives]),
            acts: Vec::new(),
            lags: Lags::default(),
            mishaps: Mishaps::default(),
            seconds: 600,
        }
    }

    /// There is a workflow too.
    pub fn with_workflow(self, spec: Value) -> Self {
        Self { workflow: Some(spec), ..self }
    }

    /// Somebody creates a run at the beginning.
    pub fn on_demand(mut self) -> Self {
        self.acts.push((1, Act::CreateRun { name: "r1".to_owned(), parameters: Vec::new() }));
        self
    }

    pub fn with(mut self, seconds: i64, act: Act) -> Self {
        self.acts.push((seconds, act));
        self
    }

    pub fn during(self, seconds: i64) -> Self {
        Self { seconds, ..self }
    }

    pub fn crash(mut self, after_write: usize, down_seconds: i64) -> Self {
        self.mishaps.crashes.insert(after_write, down_seconds);
        self
    }

    /// The task as people create it.
    pub fn task(&self) -> AutomationTask {
        let mut spec = self.spec.clone();
        spec["owner"] = json!({ "team": "data" });
        spec["image"] = json!("registry/x:1");
        let meta = json!({ "name": TASK, "namespace": NAMESPACE });
        let task = json!({ "apiVersion": "nightshift.dev/v1alpha1", "kind": "AutomationTask", "metadata": meta, "spec": spec });
        serde_json::from_value(task).expect("a task")
    }

    /// The workflow as people create it.
    pub fn workflow(&self) -> Option<Workflow> {
        let mut spec = self.workflow.clone()?;
        spec["owner"] = json!({ "team": "data" });
        let meta = json!({ "name": WORKFLOW, "namespace": NAMESPACE });
        let workflow = json!({ "apiVersion": "nightshift.dev/v1alpha1", "kind": "Workflow", "metadata": meta, "spec": spec });
        Some(serde_json::from_value(workflow).expect("a workflow"))
    }

    pub fn contract(&self) -> Contract {
        Contract::of(&self.task().spec, 1)
    }
}
