//! A workflow and all that it refers to, kept in one `ControllerRevision`: whatever becomes of the workflow, its tasks and
//! the workflows in it, a run goes on with what it began with.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{inline_task_name, name::hash, owned_by_workflow, revision::definition, workflow_labels};
use crate::api::{AutomationRun, AutomationTask, AutomationTaskSpec, Step, Workflow, WorkflowSpec};

/// How deep workflows may lie in one another, the outermost one counted.
const DEEPEST: usize = 5;

/// A workflow, the tasks and workflows of its steps, those of their steps, and so on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Bundle {
    /// Name of the outermost workflow.
    pub workflow: String,
    /// Its UID. One that is deleted and made again has bundles of its own.
    pub uid: String,
    /// The zone in which its expressions tell times: that of its schedule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// The workflows, by name.
    pub workflows: BTreeMap<String, WorkflowSpec>,
    /// The tasks, by name.
    pub tasks: BTreeMap<String, BundledTask>,
}

/// A task in a bundle.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BundledTask {
    uid: String,
    generation: i64,
    spec: AutomationTaskSpec,
}

/// What is missing of what a workflow refers to, or cannot be put together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unbundled {
    /// Whether it is only not there, and may come.
    pub is_missing: bool,
    /// The fields and the fixes.
    pub problems: Vec<String>,
}

impl Bundle {
    /// Puts together what the workflow refers to, as it is now.
    ///
    /// # Errors
    /// Tells what is not there, each with the field that names it, or the circle in which workflows refer to one another.
    pub fn gather(
        workflow: &Workflow,
        task: impl Fn(&str) -> Option<Arc<AutomationTask>>,
        other: impl Fn(&str) -> Option<Arc<Workflow>>,
    ) -> Result<Self, Unbundled> {
        let name = workflow.metadata.name.clone().unwrap_or_default();
        let bundle = Self {
            workflow: name.clone(),
            uid: workflow.metadata.uid.clone().unwrap_or_default(),
            time_zone: workflow.spec.schedule.as_ref().and_then(|schedule| schedule.time_zone.clone()),
            workflows: BTreeMap::new(),
            tasks: BTreeMap::new(),
        };
        let depths = BTreeMap::new();
        let mut gathering = Gathering { bundle, depths, task: &task, other: &other, missing: Vec::new(), wrong: Vec::new() };
        gathering.workflow(&name, &workflow.spec, &mut vec![name.clone()]);
        let Gathering { bundle, mut missing, mut wrong, .. } = gathering;
        missing.dedup();
        wrong.dedup();
        match (wrong.is_empty(), missing.is_empty()) {
            (true, true) => Ok(bundle),
            (true, false) => Err(Unbundled { is_missing: true, problems: missing }),
            _ => Err(Unbundled { is_missing: false, problems: wrong.into_iter().chain(missing).collect() }),
        }
    }

    /// Name of the revision that holds it: the workflow's name and a hash of all that it holds.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}-{:016x}", self.workflow, hash(&serde_json::to_string(self).unwrap_or_default()))
    }

    /// How much text it is.
    #[must_use]
    pub fn size(&self) -> usize {
        serde_json::to_string(self).map_or(0, |text| text.len())
    }

    /// The revision that holds it. `of` is the outermost workflow.
    #[must_use]
    pub fn revision(&self, of: &Workflow) -> Value {
        json!({
            "apiVersion": "apps/v1",
            "kind": "ControllerRevision",
            "metadata": {
                "name": self.name(),
                "namespace": of.metadata.namespace,
                "labels": workflow_labels(&self.workflow, &of.spec.owner),
                "ownerReferences": [owned_by_workflow(of)],
            },
            "revision": of.metadata.generation.unwrap_or(0),
            "data": { "bundle": self },
        })
    }

    /// The bundle that the revision holds, where it holds one.
    #[must_use]
    pub fn of_revision(revision: &Value) -> Option<Self> {
        serde_json::from_value(revision.pointer("/data/bundle")?.clone()).ok()
    }

    /// A task as it was when the bundle was made, without a schedule.
    #[must_use]
    pub fn task(&self, name: &str, namespace: &str) -> Option<AutomationTask> {
        let bundled = self.tasks.get(name)?;
        let mut task = AutomationTask::new(name, bundled.spec.clone());
        task.metadata.namespace = Some(namespace.to_owned());
        task.metadata.uid = Some(bundled.uid.clone());
        task.metadata.generation = Some(bundled.generation);
        Some(task)
    }

    /// The task that a run of a step runs, as the step would have it.
    #[must_use]
    pub fn task_of_step(&self, run: &AutomationRun) -> Option<AutomationTask> {
        let mut task = self.task(run.spec.task_name(), run.metadata.namespace.as_deref().unwrap_or_default())?;
        let of = run.spec.step_of();
        let workflow = of.and_then(|of| self.workflows.get(of.workflow.as_deref()?));
        let steps = workflow.into_iter().flat_map(|spec| spec.steps.iter().chain(&spec.finally));
        if let Some(step) = steps.into_iter().find(|step| of.is_some_and(|of| of.name == step.name)) {
            step.adjust(&mut task.spec);
        }
        Some(task)
    }

    /// What a task says, where it holds one of that name.
    #[must_use]
    pub fn task_spec(&self, name: &str) -> Option<&AutomationTaskSpec> {
        self.tasks.get(name).map(|task| &task.spec)
    }
}

struct Gathering<'a, T, W> {
    bundle: Bundle,
    /// How deep each workflow lies, where it lies deepest.
    depths: BTreeMap<String, usize>,
    task: &'a T,
    other: &'a W,
    missing: Vec<String>,
    wrong: Vec<String>,
}

impl<T, W> Gathering<'_, T, W>
where
    T: Fn(&str) -> Option<Arc<AutomationTask>>,
    W: Fn(&str) -> Option<Arc<Workflow>>,
{
    /// Takes up a workflow and what its steps refer to. `path` leads to it.
    fn workflow(&mut self, name: &str, spec: &WorkflowSpec, path: &mut Vec<String>) {
        if self.depths.get(name).is_some_and(|known| *known >= path.len()) {
            return;
        }
        self.depths.insert(name.to_owned(), path.len());
        // When it runs, how much history is kept, and what it is for, makes no new definition.
        let kept = WorkflowSpec { schedule: None, slo: None, history: None, description: None, ..spec.clone() };
        self.bundle.workflows.insert(name.to_owned(), kept);
        for (list, steps) in [("steps", &spec.steps), ("finally", &spec.finally)] {
            for (at, step) in steps.iter().enumerate() {
                let field = format!("{}{list}[{at}]", inside(path));
                self.step(&field, step, path);
                if let Some(task) = &step.task {
                    let parameters = step.parameters.iter().map(|parameter| parameter.name.as_str());
                    let spec = task.spec(&spec.owner, parameters);
                    // It is as old as the workflow.
                    let bundled = BundledTask { uid: self.bundle.uid.clone(), generation: 0, spec };
                    self.bundle.tasks.insert(inline_task_name(name, &step.name), bundled);
                }
            }
        }
    }

    fn step(&mut self, field: &str, step: &Step, path: &mut Vec<String>) {
        if let Some(task) = &step.task_ref {
            match (self.task)(&task.name).filter(|task| task.metadata.deletion_timestamp.is_none()) {
                Some(found) => {
                    let bundled = || BundledTask {
                        uid: found.metadata.uid.clone().unwrap_or_default(),
                        generation: found.metadata.generation.unwrap_or(0),
                        spec: definition(&found),
                    };
                    self.bundle.tasks.entry(task.name.clone()).or_insert_with(bundled);
                }
                None => self.missing.push(format!(
                    "{field}.taskRef: there is no AutomationTask {} in this namespace; create it, or correct the name",
                    task.name
                )),
            }
        }
        let Some(workflow) = &step.workflow_ref else { return };
        if let Some(begin) = path.iter().position(|name| *name == workflow.name) {
            let circle: Vec<&str> = path[begin..].iter().map(String::as_str).chain([workflow.name.as_str()]).collect();
            self.wrong.push(format!("{field}.workflowRef: the workflow would run itself: {}; remove one of these", circle.join(" → ")));
            return;
        }
        if path.len() >= DEEPEST {
            self.wrong.push(format!("{field}.workflowRef: workflows lie more than {DEEPEST} deep in one another: {}", path.join(" → ")));
            return;
        }
        match (self.other)(&workflow.name).filter(|workflow| workflow.metadata.deletion_timestamp.is_none()) {
            Some(found) => {
                path.push(workflow.name.clone());
                self.workflow(&workflow.name, &found.spec, path);
                path.pop();
            }
            None => self.missing.push(format!(
                "{field}.workflowRef: there is no Workflow {} in this namespace; create it, or correct the name",
                workflow.name
            )),
        }
    }
}

/// How a field of an inner workflow is introduced.
fn inside(path: &[String]) -> String {
    path.get(1..).filter(|inner| !inner.is_empty()).map_or(String::new(), |inner| format!("workflow {}: ", inner.join(" → ")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn task(name: &str) -> Option<Arc<AutomationTask>> {
        let task =
            json!({ "metadata": { "name": name, "uid": name, "generation": 1 }, "spec": { "owner": { "team": "a" }, "image": "i" } });
        (name != "gone").then(|| Arc::new(serde_json::from_value(task).unwrap()))
    }

    fn workflow(name: &str, steps: &Value) -> Workflow {
        let metadata = json!({ "name": name, "namespace": "ns", "uid": name });
        serde_json::from_value(json!({ "metadata": metadata, "spec": { "owner": { "team": "a" }, "steps": steps } })).unwrap()
    }

    fn step(name: &str, of: &str, to: &str) -> Value {
        json!({ "name": name, of: { "name": to } })
    }

    /// Gathers the first of these workflows.
    fn gather(all: &[Workflow]) -> Result<Bundle, Unbundled> {
        let other = |name: &str| all.iter().find(|workflow| workflow.metadata.name.as_deref() == Some(name)).cloned().map(Arc::new);
        Bundle::gather(&all[0], task, other)
    }

    #[test]
    fn all_that_is_referred_to_is_in_it_once_and_what_is_written_inside_too() {
        let inner = workflow(
            "inner",
            &json!([step("x", "taskRef", "t"), { "name": "own", "task": { "image": "j" }, "parameters": [{ "name": "P", "value": "v" }] }]),
        );
        let outer =
            workflow("outer", &json!([step("a", "taskRef", "t"), step("b", "workflowRef", "inner"), step("c", "workflowRef", "inner")]));
        let bundle = gather(&[outer.clone(), inner.clone()]).unwrap();
        let own = inline_task_name("inner", "own");
        assert!(own.starts_with("inner-own-") && own.len() <= 40);
        assert_eq!(bundle.tasks.keys().collect::<Vec<_>>(), [&own, "t"]);
        assert_eq!(bundle.task(&own, "ns").unwrap().spec.parameters[0].name, "P");
        let revision = bundle.revision(&outer);
        assert_eq!(Bundle::of_revision(&revision), Some(bundle.clone()));
        let mut other = outer.clone();
        other.spec.history = Some(crate::api::History::default());
        other.spec.schedule = Some(crate::api::Schedule { cron: vec!["@daily".to_owned()], ..crate::api::Schedule::default() });
        assert_eq!(gather(&[other.clone(), inner.clone()]).unwrap().name(), bundle.name(), "when it runs makes no new definition");
        other.spec.schedule.as_mut().unwrap().time_zone = Some("Europe/Berlin".to_owned());
        assert_ne!(gather(&[other, inner.clone()]).unwrap().name(), bundle.name(), "but the zone in which it tells times");
        let mut edited = inner;
        edited.spec.steps[0].when = Some("true".to_owned());
        assert_ne!(gather(&[outer, edited]).unwrap().name(), bundle.name(), "and an edit of what it refers to");
    }

    #[test]
    fn what_a_step_says_otherwise_than_its_task_stands_for_its_runs_alone() {
        let steps = json!([
            { "name": "a", "taskRef": { "name": "t" }, "retry": { "limit": 2 }, "timeouts": { "attemptSeconds": 5 } },
            { "name": "b", "taskRef": { "name": "t" } }, { "name": "c", "taskRef": { "name": "t" }, "retry": { "limit": 0 } },
        ]);
        let told = |name: &str| {
            let spec = json!({ "owner": { "team": "a" }, "image": "i", "timeouts": { "pendingSeconds": 9 },
                "retry": { "limit": 1, "backoff": { "initialSeconds": 3 }, "onTimeout": false } });
            let task = json!({ "metadata": { "name": name, "uid": name, "generation": 1 }, "spec": spec });
            Some(Arc::new(serde_json::from_value(task).unwrap()))
        };
        let bundle = Bundle::gather(&workflow("w", &steps), told, |_| None).unwrap();
        let of = |step: &str| {
            let of = json!({ "workflowRun": "r", "workflow": "w", "name": step });
            let run = json!({ "metadata": { "name": "r-1", "namespace": "ns" },
                "spec": { "taskRef": { "name": "t" }, "trigger": "Step", "step": of } });
            let spec = bundle.task_of_step(&serde_json::from_value(run).unwrap()).unwrap().spec;
            json!({ "retry": spec.retry, "timeouts": spec.timeouts })
        };
        let there = json!({ "limit": 1, "backoff": { "initialSeconds": 3 }, "onTimeout": false });
        assert_eq!(of("b"), json!({ "retry": there, "timeouts": { "pendingSeconds": 9 } }));
        let here = json!({ "limit": 2, "backoff": { "initialSeconds": 3 }, "onTimeout": false });
        assert_eq!(of("a"), json!({ "retry": here, "timeouts": { "attemptSeconds": 5, "pendingSeconds": 9 } }));
        assert_eq!(of("c")["retry"], json!({ "limit": 0, "onTimeout": false }), "without retries there is no back-off");
    }

    #[test]
    fn what_is_not_there_is_told_with_the_field_that_names_it() {
        let inner = workflow("inner", &json!([step("x", "taskRef", "gone")]));
        let outer = workflow("outer", &json!([step("a", "workflowRef", "inner"), step("b", "workflowRef", "none")]));
        let told = gather(&[outer, inner]).unwrap_err();
        assert!(told.is_missing);
        assert_eq!(
            told.problems,
            [
                "workflow inner: steps[0].taskRef: there is no AutomationTask gone in this namespace; create it, or correct the name",
                "steps[1].workflowRef: there is no Workflow none in this namespace; create it, or correct the name",
            ]
        );
    }

    #[test]
    fn circles_and_depths_are_told_with_the_path() {
        let a = workflow("a", &json!([step("x", "workflowRef", "b")]));
        let b = workflow("b", &json!([step("x", "workflowRef", "c")]));
        let c = workflow("c", &json!([step("x", "workflowRef", "b")]));
        let told = gather(&[a, b, c]).unwrap_err();
        assert_eq!(
            (told.is_missing, told.problems),
            (false, vec!["workflow b → c: steps[0].workflowRef: the workflow would run itself: b → c → b; remove one of these".to_owned()])
        );
        let deep: Vec<Workflow> =
            (0..7).map(|n| workflow(&format!("w{n}"), &json!([step("x", "workflowRef", &format!("w{}", n + 1))]))).collect();
        let told = gather(&deep).unwrap_err();
        assert!(told.problems[0].contains("more than 5 deep in one another: w0 → w1 → w2 → w3 → w4"), "{:?}", told.problems);
        // The short way to the same does not hide the long one.
        let mut short = deep.clone();
        short[0].spec.steps.insert(0, serde_json::from_value(step("y", "workflowRef", "w3")).unwrap());
        assert!(gather(&short).unwrap_err().problems[0].contains("more than 5 deep"));
    }
}
