//! Which objects a change concerns: what has to be looked at again.

use std::sync::Arc;

use k8s_openapi::api::{
    batch::v1::{CronJob, Job},
    core::v1::Pod,
};
use kube::{ResourceExt, runtime::reflector::ObjectRef};

use super::{
    Caches,
    caches::{goes_on, key},
};
use crate::{
    admission,
    api::{AutomationRun, AutomationTask, Backfill, ConcurrencyPool, Phase, Workflow, label},
    ledger,
};

/// What has to be looked at again.
#[derive(Clone, Debug)]
pub enum Touched {
    /// A task.
    Task(ObjectRef<AutomationTask>),
    /// A workflow.
    Workflow(ObjectRef<Workflow>),
    /// A run of a task.
    Run(ObjectRef<AutomationRun>),
    /// A run of a workflow.
    WorkflowRun(ObjectRef<AutomationRun>),
    /// A backfill.
    Backfill(ObjectRef<Backfill>),
    /// A pool.
    Pool(ObjectRef<ConcurrencyPool>),
    /// Who waits for room under caps in this namespace.
    Room(String),
}

/// The run, for whichever planner it is.
pub(super) fn touched_run(run: &AutomationRun) -> Touched {
    let run_ref = ObjectRef::from_obj(run);
    if run.spec.workflow_ref.is_some() { Touched::WorkflowRun(run_ref) } else { Touched::Run(run_ref) }
}

/// Whether the run waits for room, and somebody else looks when there is some: that it says so now is no news.
fn rests(run: &AutomationRun) -> bool {
    admission::waits_for_room(run) && !ledger::has_begun(run) && run.spec.cancel != Some(true)
}

impl Caches {
    /// A workflow concerns its backfills, its runs that have not begun, and the workflows that name it.
    pub(super) fn workflow_touched(&self, workflow: &Workflow) -> Vec<Touched> {
        let (namespace, name) = (workflow.namespace().unwrap_or_default(), workflow.name_any());
        let of_workflow = key("workflow", &namespace, &name);
        let waiting = self.runs.group(&of_workflow).into_iter().filter(|run| admission::is_waiting(run)).map(|run| touched_run(&run));
        let itself = Touched::Workflow(ObjectRef::from_obj(workflow));
        std::iter::once(itself).chain(waiting).chain(self.backfills_of(&of_workflow)).chain(self.outer(&of_workflow)).collect()
    }

    /// The backfills of a task or workflow that are not over.
    fn backfills_of(&self, of: &str) -> impl Iterator<Item = Touched> + use<> {
        let backfills = self.backfills.group(of).into_iter().filter(|backfill| goes_on(backfill));
        backfills.map(|backfill| Touched::Backfill(ObjectRef::from_obj(&*backfill)))
    }

    /// The workflows that name a task or workflow, directly or not, and their backfills: what one of these lacked may have come
    /// and gone between two looks at the workflow, which then has nothing to tell.
    fn outer(&self, of: &str) -> Vec<Touched> {
        let (mut found, mut backfills, mut next) = (Vec::new(), Vec::new(), vec![of.to_owned()]);
        while let Some(of) = next.pop() {
            for workflow in self.workflows.group(&of) {
                let workflow_ref = ObjectRef::from_obj(&*workflow);
                if !found.contains(&workflow_ref) {
                    let outer = key("workflow", &workflow.namespace().unwrap_or_default(), &workflow.name_any());
                    backfills.extend(self.backfills_of(&outer));
                    next.push(outer);
                    found.push(workflow_ref);
                }
            }
        }
        found.into_iter().map(Touched::Workflow).chain(backfills).collect()
    }

    /// A task concerns its backfills too, the workflows that name it, and the runs that wait for it to exist, or to be corrected.
    ///
    /// `frees` tells whether it may change who is let in under caps.
    pub(super) fn task_touched(&self, task: &AutomationTask, frees: bool) -> Vec<Touched> {
        let (namespace, name) = (task.namespace().unwrap_or_default(), task.name_any());
        let of_task = key("task", &namespace, &name);
        let there = self.tasks.get(&namespace, &name);
        let is_gone = there.is_none_or(|there| there.uid() != task.uid() || there.metadata.deletion_timestamp.is_some());
        // Those that wait for room are many, maybe: who of them may go is decided for all at once. Without a task none may, and
        // each says so.
        let is_touched = |run: &Arc<AutomationRun>| admission::is_waiting(run) && (is_gone || !admission::waits_for_room(run));
        let waiting = self.runs.group(&of_task).into_iter().filter(is_touched).map(|run| touched_run(&run));
        let itself = Touched::Task(ObjectRef::from_obj(task));
        let room = frees.then(|| Touched::Room(namespace.clone()));
        std::iter::once(itself).chain(room).chain(waiting).chain(self.backfills_of(&of_task)).chain(self.outer(&of_task)).collect()
    }

    /// A pool concerns those that wait, and the tasks that name it, whose `Ready` tells where it is not there.
    pub(super) fn pool_touched(&self, pool: &ConcurrencyPool) -> Vec<Touched> {
        let (namespace, name) = (pool.namespace().unwrap_or_default(), pool.name_any());
        let tasks = self.tasks.group(&key("pool", &namespace, &name)).into_iter().map(|task| Touched::Task(ObjectRef::from_obj(&*task)));
        [Touched::Pool(ObjectRef::from_obj(pool)), Touched::Room(namespace.clone())].into_iter().chain(tasks).collect()
    }

    /// The runs of a task that wait for another to end. Those that wait for room are not asked one by one.
    fn queued(&self, of_task: &str) -> Vec<Touched> {
        let queued = |run: &Arc<AutomationRun>| {
            run.status.as_ref().is_some_and(|status| status.phase == Some(Phase::Queued)) && !admission::waits_for_room(run)
        };
        self.runs.group(of_task).into_iter().filter(queued).map(|run| touched_run(&run)).collect()
    }

    /// A run concerns itself until it is finished, and its task when it comes, ends or goes: not when it goes on, of which
    /// `update` is a sign where its first Job was made before. When it ends or goes it concerns those that wait for it.
    pub(super) fn run_touched(&self, run: &AutomationRun, update: bool) -> Vec<Touched> {
        let namespace = run.namespace().unwrap_or_default();
        let gone = self.runs.get(&namespace, &run.name_any()).is_none_or(|there| there.uid() != run.uid());
        let over = ledger::is_finished(run) || gone;
        let itself = touched_run(run);
        if let Some(step) = run.spec.step_of() {
            let parent = Touched::WorkflowRun(ObjectRef::new(&step.workflow_run).within(&namespace));
            if over {
                // A rerun of the step alone waits for it.
                let of = match run.spec.workflow_name() {
                    Some(workflow) => key("workflow", &namespace, workflow),
                    None => key("task", &namespace, run.spec.task_name()),
                };
                return [parent, Touched::Room(namespace.clone())].into_iter().chain(self.queued(&of)).collect();
            }
            // What a step waits on is told of the whole too: from when its run has told until it ends.
            let told = run.status.as_ref().is_some_and(|status| status.reason.is_some()) && step.item.is_none();
            let itself = (!update || !rests(run)).then_some(itself);
            return itself.into_iter().chain(told.then_some(parent)).collect();
        }
        let backfill = run.labels().get(label::BACKFILL).map(|name| Touched::Backfill(ObjectRef::new(name).within(&namespace)));
        if let Some(workflow) = run.spec.workflow_name() {
            let workflow = Touched::Workflow(ObjectRef::new(workflow).within(&namespace));
            let first = !update || run.status.as_ref().is_none_or(|status| status.start_time.is_none());
            if over {
                let queued = self.queued(&key("workflow", &namespace, run.spec.workflow_name().unwrap_or_default()));
                return std::iter::once(workflow).chain(backfill).chain(queued).collect();
            }
            return std::iter::once(itself).chain(first.then_some(workflow)).collect();
        }
        let task = Touched::Task(ObjectRef::new(run.spec.task_name()).within(&namespace));
        if over {
            let queued = self.queued(&key("task", &namespace, run.spec.task_name()));
            return [task, Touched::Room(namespace.clone())].into_iter().chain(backfill).chain(queued).collect();
        }
        match (update, rests(run)) {
            (true, true) => Vec::new(),
            (true, false) if ledger::is_started(run) => vec![itself],
            _ => vec![itself, task],
        }
    }

    fn labelled_task<K: ResourceExt>(object: &K) -> Option<Touched> {
        let task = object.labels().get(label::TASK)?;
        Some(Touched::Task(ObjectRef::new(task).within(&object.namespace()?)))
    }

    fn labelled_run<K: ResourceExt>(object: &K) -> Option<Touched> {
        let run = object.labels().get(label::RUN)?;
        Some(Touched::Run(ObjectRef::new(run).within(&object.namespace()?)))
    }

    /// A CronJob concerns the task that owns it, also where somebody took its label off, and the one that it is labelled
    /// with, whose name it may take.
    pub(super) fn cron_job_touched(cron_job: &CronJob) -> Vec<Touched> {
        let namespace = cron_job.namespace().unwrap_or_default();
        let owners = cron_job.owner_references().iter().filter(|owner| owner.kind == "AutomationTask");
        let owners = owners.map(|owner| Touched::Task(ObjectRef::new(&owner.name).within(&namespace)));
        owners.chain(Self::labelled_task(cron_job)).collect()
    }

    /// A Job that has a run concerns that run; one that has none concerns the task, which adopts it. The name of a run
    /// that is being adopted is the Job's own, mostly.
    ///
    /// One that goes on after its run was deleted, or has finished, holds room under caps until it ends or goes too.
    pub(super) fn job_touched(&self, job: &Job) -> Vec<Touched> {
        let namespace = job.namespace().unwrap_or_default();
        let is_gone = self.jobs.get(&namespace, &job.name_any()).is_none_or(|there| there.uid() != job.uid());
        let run = job.labels().get(label::RUN).and_then(|run| self.runs.get(&namespace, run));
        let room = admission::job_frees(job, is_gone, run.as_deref()).then(|| Touched::Room(namespace.clone()));
        Self::labelled_run(job).or_else(|| Self::labelled_task(job)).into_iter().chain(room).collect()
    }

    pub(super) fn pod_touched(&self, pod: &Pod) -> Vec<Touched> {
        let job = pod.labels().get(label::JOB_NAME).and_then(|job| self.jobs.get(&pod.namespace()?, job));
        job.and_then(|job| Self::labelled_run(&*job)).into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use kube::runtime::watcher::Event;
    use serde_json::{Value, json};

    use super::*;

    fn object<K: serde::de::DeserializeOwned>(name: &str, spec: &Value) -> K {
        serde_json::from_value(json!({ "metadata": { "name": name, "namespace": "ns", "uid": name }, "spec": spec })).unwrap()
    }

    fn workflow(name: &str, step: &Value) -> Workflow {
        object(
            name,
            &json!({ "owner": { "team": "a" }, "steps": [{ "name": "a", "taskRef": step["task"], "workflowRef": step["workflow"] }] }),
        )
    }

    fn names(touched: &[Touched]) -> Vec<String> {
        let mut names: Vec<String> = touched
            .iter()
            .map(|one| match one {
                Touched::Task(one) => format!("task {}", one.name),
                Touched::Workflow(one) => format!("workflow {}", one.name),
                Touched::Run(one) | Touched::WorkflowRun(one) => format!("run {}", one.name),
                Touched::Backfill(one) => format!("backfill {}", one.name),
                Touched::Pool(one) => format!("pool {}", one.name),
                Touched::Room(namespace) => format!("room in {namespace}"),
            })
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_thousand_runs_that_wait_for_room_are_not_looked_at_one_by_one() {
        let caches = Caches::new(1);
        let capped = json!({ "owner": { "team": "a" }, "image": "i", "concurrency": { "pools": [{ "poolRef": { "name": "db" } }] } });
        let task: AutomationTask = object("t", &capped);
        caches.tasks.take(0, Event::Apply(task.clone()));
        let run = |name: &str, status: Value| {
            let mut run: AutomationRun = object(name, &json!({ "taskRef": { "name": "t" } }));
            run.status = serde_json::from_value(status).unwrap();
            caches.runs.take(0, Event::Apply(run.clone()));
            run
        };
        let waiting = |name: &str| run(name, json!({ "phase": "Queued", "waitingOn": { "reason": "PoolFull", "message": "" } }));
        let told = waiting("w");
        assert!(caches.run_touched(&told, true).is_empty(), "it has told that it waits");
        assert_eq!(names(&caches.run_touched(&told, false)), ["run w", "task t"], "whoever begins looks at all");
        let mut cancelled = told.clone();
        cancelled.spec.cancel = Some(true);
        assert_eq!(names(&caches.run_touched(&cancelled, true)), ["run w", "task t"]);
        let over = run("over", json!({ "phase": "Finished" }));
        assert_eq!(names(&caches.run_touched(&over, true)), ["room in ns", "task t"]);
        assert_eq!(names(&caches.task_touched(&task, true)), ["room in ns", "task t"]);
        let mut job = Job::default();
        (job.metadata.namespace, job.metadata.name) = (Some("ns".to_owned()), Some("w-1".to_owned()));
        job.labels_mut().insert(label::RUN.to_owned(), "w".to_owned());
        job.annotations_mut().insert(label::HOLDS.to_owned(), "{}".to_owned());
        assert_eq!(names(&caches.job_touched(&job)), ["room in ns", "run w"], "of another run of that name, which is gone");
        job.owner_references_mut().push(crate::build::owned_by_run(&told, true));
        assert_eq!(names(&caches.job_touched(&job)), ["run w"]);
        job.owner_references_mut().clear();
        caches.jobs.take(0, Event::Apply(job.clone()));
        assert_eq!(names(&caches.job_touched(&job)), ["run w"], "it goes on");
        job.status = serde_json::from_value(json!({ "conditions": [{ "type": "Failed", "status": "True" }] })).unwrap();
        assert_eq!(names(&caches.job_touched(&job)), ["room in ns", "run w"], "it has ended");
        caches.jobs.take(0, Event::Delete(job.clone()));
        assert_eq!(names(&caches.job_touched(&job)), ["run w"], "it had ended");
        run("w", json!({ "phase": "Finished" }));
        job.owner_references_mut().push(crate::build::owned_by_run(&told, true));
        job.status = None;
        assert_eq!(names(&caches.job_touched(&job)), ["room in ns", "run w"], "it outlived its run");
        let pool: ConcurrencyPool = object("db", &json!({ "slots": 1 }));
        assert_eq!(names(&caches.pool_touched(&pool)), ["pool db", "room in ns", "task t"], "Ready of the task may tell of it");
        let mut status = pool.clone();
        caches.pools.take(0, Event::Apply(pool));
        status.status = serde_json::from_value(json!({ "used": 1 })).unwrap();
        assert!(caches.pools.take(0, Event::Apply(status)).is_empty(), "how it is used is no news to anybody");
    }

    #[test]
    fn a_status_of_a_task_is_no_news_to_those_that_wait_and_its_end_is_to_each() {
        let caches = Caches::new(1);
        let capped =
            |max: i32| -> AutomationTask { object("t", &json!({ "owner": { "team": "a" }, "image": "i", "concurrency": { "max": max } })) };
        assert_eq!(names(&caches.take_task(0, Event::Apply(capped(1)))), ["room in ns", "task t"]);
        let mut run: AutomationRun = object("w", &json!({ "taskRef": { "name": "t" } }));
        run.status = serde_json::from_value(json!({ "phase": "Queued", "waitingOn": { "reason": "MaxReached", "message": "" } })).unwrap();
        caches.runs.take(0, Event::Apply(run));
        let mut told = capped(1);
        told.status = serde_json::from_value(json!({ "observedGeneration": 1 })).unwrap();
        assert_eq!(names(&caches.take_task(0, Event::Apply(told))), ["task t"]);
        assert_eq!(names(&caches.take_task(0, Event::Apply(capped(2)))), ["room in ns", "task t"]);
        assert_eq!(names(&caches.take_task(0, Event::Delete(capped(2)))), ["room in ns", "run w", "task t"], "it says that there is none");
    }

    #[test]
    fn a_backfill_is_touched_by_what_it_runs_by_what_that_refers_to_and_by_the_end_of_its_runs() {
        let caches = Caches::new(1);
        let task: AutomationTask = object("t", &json!({ "owner": { "team": "a" }, "image": "i" }));
        let inner = workflow("inner", &json!({ "task": { "name": "t" } }));
        let outer = workflow("outer", &json!({ "workflow": { "name": "inner" } }));
        caches.tasks.take(0, Event::Apply(task.clone()));
        caches.workflows.take(0, Event::Apply(inner.clone()));
        caches.workflows.take(0, Event::Apply(outer.clone()));
        for (name, spec) in [
            ("of-t", json!({ "taskRef": { "name": "t" } })),
            ("of-outer", json!({ "workflowRef": { "name": "outer" } })),
            // A task and a workflow may have the same name.
            ("of-task-outer", json!({ "taskRef": { "name": "outer" } })),
        ] {
            caches.backfills.take(0, Event::Apply(object(name, &spec)));
        }
        let mut over: Backfill = object("over", &json!({ "workflowRef": { "name": "outer" } }));
        over.status = serde_json::from_value(json!({ "phase": "Finished" })).unwrap();
        caches.backfills.take(0, Event::Apply(over));
        assert_eq!(names(&caches.workflow_touched(&outer)), ["backfill of-outer", "workflow outer"]);
        assert_eq!(names(&caches.workflow_touched(&inner)), ["backfill of-outer", "workflow inner", "workflow outer"]);
        assert_eq!(
            names(&caches.task_touched(&task, true)),
            ["backfill of-outer", "backfill of-t", "room in ns", "task t", "workflow inner", "workflow outer"]
        );

        let mut run: AutomationRun = object("of-outer-bf-1", &json!({ "workflowRef": { "name": "outer" }, "trigger": "Backfill" }));
        run.labels_mut().insert(label::BACKFILL.to_owned(), "of-outer".to_owned());
        caches.runs.take(0, Event::Apply(run.clone()));
        assert_eq!(names(&caches.run_touched(&run, false)), ["run of-outer-bf-1", "workflow outer"]);
        run.status = serde_json::from_value(json!({ "phase": "Finished" })).unwrap();
        caches.runs.take(0, Event::Apply(run.clone()));
        assert_eq!(names(&caches.run_touched(&run, true)), ["backfill of-outer", "workflow outer"]);
        caches.runs.take(0, Event::Delete(run.clone()));
        assert_eq!(names(&caches.run_touched(&run, false)), ["backfill of-outer", "workflow outer"], "one that is deleted has an end too");
    }
}
