//! Makes the changes of a plan with the requests that `controller::apply` sends for them, and writes statuses as
//! `controller::report` does.

use k8s_openapi::api::batch::v1::Job;
use kube::{Resource, ResourceExt};
use serde_json::json;

use super::{
    audit,
    caches::Caches,
    cluster::{Cluster, Patch},
    operator::{Operator, Write},
    store::Denied,
};
use crate::{
    admission::Answer,
    api::{
        AutomationRun, AutomationRunStatus, AutomationTask, AutomationTaskStatus, Backfill, BackfillStatus, Phase, Workflow,
        WorkflowStatus, label,
    },
    build::CronJobSpec,
    observe::{
        self,
        automation_run::{is_leaving, is_same},
    },
    plan::{Change, Refusal, RefusalKind, automation_task::CronJobSeen},
};

/// Why the work on an object stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The process is gone.
    Crashed { down_seconds: i64 },
    /// Our view was old.
    Conflict,
    /// The API server would not answer.
    NoAnswer,
}

/// What a write left, for the caches to catch up with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrote {
    kind: &'static str,
    name: String,
    version: String,
}

impl Wrote {
    fn of<K: Resource<DynamicType = ()>>(kind: &'static str, object: &K) -> Self {
        Self { kind, name: object.name_any(), version: object.resource_version().unwrap_or_default() }
    }

    pub fn is_seen(&self, caches: &Caches) -> bool {
        let name = &self.name;
        let seen = match self.kind {
            "task" => caches.tasks.get(name).and_then(|object| object.resource_version()),
            "run" => caches.runs.get(name).and_then(|object| object.resource_version()),
            "workflow" => caches.workflows.get(name).and_then(|object| object.resource_version()),
            "backfill" => caches.backfills.get(name).and_then(|object| object.resource_version()),
            "cronjob" => caches.cron_jobs.get(name).and_then(|object| object.resource_version()),
            _ => caches.jobs.get(name).and_then(|object| object.resource_version()),
        };
        let number = |version: &str| version.parse::<usize>().ok();
        seen.and_then(|version| number(&version)) >= number(&self.version)
    }
}

/// What the API server answered.
#[derive(Debug, Default)]
pub struct Applied {
    pub cron_jobs: Vec<CronJobSeen>,
    pub runs_made: Vec<String>,
    pub revisions_made: Vec<String>,
    pub refusals: Vec<Refusal>,
    pub wrote: Vec<Wrote>,
    pub answer: Option<Answer>,
    ended: bool,
}

impl Applied {
    /// Whether there is more to plan from than there was before.
    pub fn answers(&self) -> bool {
        !(self.refusals.is_empty() && self.cron_jobs.is_empty() && self.runs_made.is_empty() && self.revisions_made.is_empty())
    }

    /// The version of the run itself that a write left.
    pub fn version_of_run(&self, run: &AutomationRun) -> Option<String> {
        let own = |wrote: &&Wrote| wrote.kind == "run" && wrote.name == run.name_any();
        self.wrote.iter().find(own).map(|wrote| wrote.version.clone())
    }

    fn refuse(&mut self, name: &str, denied: Denied) -> Result<(), Failure> {
        if !matches!(denied.code, 400 | 403 | 413 | 422) {
            return Err(failure(&denied));
        }
        self.refusals.push(Refusal { name: name.to_owned(), kind: RefusalKind::Refused, message: denied.message });
        Ok(())
    }

    fn name_taken(&mut self, name: &str, denied: Denied) {
        self.refusals.push(Refusal { name: name.to_owned(), kind: RefusalKind::NameTaken, message: denied.message });
    }
}

fn failure(denied: &Denied) -> Failure {
    if denied.code == 409 { Failure::Conflict } else { Failure::NoAnswer }
}

/// A patch of what has gone meanwhile is no failure: the next plan will see it.
fn unless_gone<K>(answer: Result<K, Denied>) -> Result<Option<K>, Failure> {
    match answer {
        Ok(left) => Ok(Some(left)),
        Err(denied) if denied.code == 404 => Ok(None),
        Err(denied) => Err(failure(&denied)),
    }
}

/// A deletion that finds another object, or none, has nothing left to do.
fn unless_done(answer: Result<(), Denied>) -> Result<(), Failure> {
    match answer {
        Err(denied) if !matches!(denied.code, 404 | 409) => Err(failure(&denied)),
        _ => Ok(()),
    }
}

impl Operator {
    /// Makes the changes one by one.
    pub fn apply(&mut self, cluster: &mut Cluster, changes: &[Change]) -> Result<Applied, Failure> {
        let mut applied = Applied::default();
        for change in changes {
            if !matches!(change, Change::CreateJob { .. }) {
                self.broken.extend(audit::before(cluster, change));
            }
            self.change(cluster, change, &mut applied)?;
            if applied.ended {
                break;
            }
        }
        Ok(applied)
    }

    /// Sends one write, after which the process may be gone or the answer lost.
    fn send<T>(&mut self, cluster: &mut Cluster, what: String, write: impl FnOnce(&mut Cluster) -> T) -> Result<T, Failure> {
        let answer = write(cluster);
        self.writes.push(Write { at: cluster.now, what });
        let nth = self.writes.len();
        if let Some(down_seconds) = self.mishaps.crashes.get(&nth) {
            return Err(Failure::Crashed { down_seconds: *down_seconds });
        }
        if self.mishaps.lost_answers.contains(&nth) { Err(Failure::NoAnswer) } else { Ok(answer) }
    }

    fn change(&mut self, cluster: &mut Cluster, change: &Change, applied: &mut Applied) -> Result<(), Failure> {
        match change {
            Change::CreateCronJob(wanted) => self.create_cron_job(cluster, wanted, applied),
            Change::ReplaceCronJob { wanted, seen: (uid, version), forget_slots_until } => {
                let mut version = version.clone();
                if let Some(until) = forget_slots_until {
                    let what = format!("patch cronjobs/status {}", wanted.name);
                    let patched = self.send(cluster, what, |c| c.forget_slots(&wanted.name, (uid, &version), *until))?;
                    version = patched.map_err(|denied| failure(&denied))?.resource_version().unwrap_or_default();
                }
                self.replace_cron_job(cluster, wanted, (uid, &version), applied)
            }
            Change::SuspendCronJob { name, uid } => {
                unless_done(self.send(cluster, format!("suspend cronjob {name}"), |c| c.suspend_cron_job(name, uid))?)
            }
            Change::DeleteCronJob { name, uid } => {
                unless_done(self.send(cluster, format!("delete cronjob {name}"), |c| c.delete_cron_job(name, uid))?)
            }
            // No Job of this world is deleted by its age.
            Change::ExpireJob { .. } => Ok(()),
            Change::DeleteJob { name, uid } => unless_done(self.send(cluster, format!("delete job {name}"), |c| c.delete_job(name, uid))?),
            Change::DeleteRun { name, uid } => unless_done(self.send(cluster, format!("delete run {name}"), |c| c.delete_run(name, uid))?),
            Change::CreateRun(run) => self.create_run(cluster, run, applied),
            Change::CancelRun { name, uid, replaced_by } => {
                let mut patch = json!({ "metadata": { "uid": uid }, "spec": { "cancel": true } });
                if let Some(slot) = replaced_by {
                    patch["metadata"]["annotations"] = json!({ label::REPLACED_BY: slot.to_string() });
                }
                let left = unless_gone(self.send(cluster, format!("cancel run {name}"), |c| c.patch_run(name, Patch::Merge(&patch)))?)?;
                applied.wrote.extend(left.map(|left| Wrote::of("run", &*left)));
                Ok(())
            }
            Change::CreateRevision { name, object } => {
                match self.send(cluster, format!("create revision {name}"), |c| c.create_revision(object))? {
                    Err(denied) if denied.code != 409 => applied.refuse(name, denied)?,
                    _ => applied.revisions_made.push(name.clone()),
                }
                Ok(())
            }
            Change::DeleteRevision { name, uid } => {
                unless_done(self.send(cluster, format!("delete revision {name}"), |c| c.delete_revision(name, uid))?)
            }
            Change::OwnRun { name, uid, resource_version, owners, started } => {
                let mut patch = json!({ "metadata": { "uid": uid, "resourceVersion": resource_version, "ownerReferences": owners } });
                if *started {
                    patch["metadata"]["annotations"] = json!({ label::STARTED: uid });
                }
                let left = unless_gone(self.send(cluster, format!("patch run {name}"), |c| c.patch_run(name, Patch::Merge(&patch)))?)?;
                applied.ended = left.is_none();
                applied.wrote.extend(left.map(|left| Wrote::of("run", &*left)));
                Ok(())
            }
            Change::OwnJob { name, uid, owner } => {
                let patch = json!({ "metadata": { "uid": uid, "labels": { label::RUN: owner.name }, "ownerReferences": [owner] } });
                self.patch_job(cluster, name, Patch::Strategic(&patch), applied)
            }
            Change::AskForRoom { run_uid, needs, is_queued } => {
                applied.answer = Some(self.ask_for_room(run_uid, needs, *is_queued)?);
                Ok(())
            }
            Change::CreateJob { .. } => self.create_job(cluster, change, applied),
            Change::StopJob { name, uid, reason, backoff_limit, deadline_seconds, suspended } => {
                let mut patch = json!({
                    "metadata": { "uid": uid, "annotations": { label::STOPPED: reason.as_str() } },
                    "spec": { "backoffLimit": backoff_limit, "activeDeadlineSeconds": deadline_seconds },
                });
                if *suspended {
                    patch["spec"]["suspend"] = json!(false);
                    patch["spec"]["parallelism"] = json!(0);
                }
                self.patch_job(cluster, name, Patch::Merge(&patch), applied)
            }
            Change::EndPod { name, uid } => {
                let patch = json!({ "metadata": { "uid": uid }, "spec": { "activeDeadlineSeconds": 1 } });
                unless_gone(self.send(cluster, format!("patch pod {name}"), |c| c.patch_pod(name, Patch::Merge(&patch)))?).map(drop)
            }
        }
    }

    fn create_job(&mut self, cluster: &mut Cluster, change: &Change, applied: &mut Applied) -> Result<(), Failure> {
        let Change::CreateJob { name, run_uid, object, let_in } = change else { return Ok(()) };
        let again = match let_in {
            Some(needs) => Some(self.memory.send(run_uid, needs, cluster.now).ok_or(Failure::Conflict)?),
            None => None,
        };
        self.broken.extend(audit::before(cluster, change));
        match self.send(cluster, format!("create job {name}"), |c| c.create_job(object))? {
            Ok(created) => applied.wrote.push(Wrote::of("job", &*created)),
            Err(denied) if denied.code == 409 => {
                let there = cluster.jobs.get(name).ok_or(Failure::NoAnswer)?;
                if there.owner_references().iter().all(|owner| owner.uid != *run_uid) {
                    let wanted: Job = serde_json::from_value(object.clone()).map_err(|_| Failure::NoAnswer)?;
                    let kind = if is_leaving(&**there, &wanted) { RefusalKind::Leaving } else { RefusalKind::NameTaken };
                    applied.refusals.push(Refusal { name: name.clone(), kind, message: denied.message });
                    applied.ended = true;
                    self.memory.refused(run_uid);
                }
            }
            Err(denied) => {
                applied.ended = true;
                applied.refuse(name, denied)?;
                if again == Some(false) {
                    self.memory.refused(run_uid);
                }
            }
        }
        Ok(())
    }

    fn patch_job(&mut self, cluster: &mut Cluster, name: &str, patch: Patch<'_>, applied: &mut Applied) -> Result<(), Failure> {
        let left = self.send(cluster, format!("patch job {name}"), |c| c.patch_job(name, patch))?;
        applied.wrote.extend(unless_gone(left)?.map(|left| Wrote::of("job", &*left)));
        Ok(())
    }

    fn create_cron_job(&mut self, cluster: &mut Cluster, wanted: &CronJobSpec, applied: &mut Applied) -> Result<(), Failure> {
        let name = &wanted.name;
        match self.send(cluster, format!("create cronjob {name}"), |c| c.create_cron_job(&wanted.object))? {
            Ok(created) => {
                applied.wrote.push(Wrote::of("cronjob", &*created));
                applied.cron_jobs.push(observe::cron_job(&created));
                Ok(())
            }
            Err(denied) if denied.code == 409 => {
                let there = cluster.cron_jobs.get(name).cloned().ok_or(Failure::NoAnswer)?;
                let task = wanted.object.pointer("/metadata/ownerReferences/0/uid").and_then(|uid| uid.as_str());
                if there.owner_references().iter().any(|owner| Some(owner.uid.as_str()) == task) {
                    let there = observe::cron_job(&there);
                    return self.replace_cron_job(cluster, wanted, (&there.uid, &there.resource_version), applied);
                }
                applied.name_taken(name, denied);
                Ok(())
            }
            Err(denied) => applied.refuse(name, denied),
        }
    }

    fn replace_cron_job(
        &mut self,
        cluster: &mut Cluster,
        wanted: &CronJobSpec,
        seen: (&str, &str),
        applied: &mut Applied,
    ) -> Result<(), Failure> {
        let name = &wanted.name;
        match self.send(cluster, format!("replace cronjob {name}"), |c| c.replace_cron_job(&wanted.object, seen))? {
            Ok(replaced) => {
                applied.wrote.push(Wrote::of("cronjob", &*replaced));
                applied.cron_jobs.push(observe::cron_job(&replaced));
                Ok(())
            }
            Err(denied) => applied.refuse(name, denied),
        }
    }

    fn create_run(&mut self, cluster: &mut Cluster, run: &AutomationRun, applied: &mut Applied) -> Result<(), Failure> {
        let name = run.name_any();
        let now = cluster.now;
        match self.send(cluster, format!("create run {name}"), |c| c.runs.create(now, run.clone()))? {
            Ok(created) => {
                applied.wrote.push(Wrote::of("run", &*created));
                applied.runs_made.push(name);
            }
            Err(denied) => {
                let there = cluster.runs.get(&name).ok_or(Failure::NoAnswer)?;
                if is_same(there, run) {
                    applied.runs_made.push(name);
                } else if is_leaving(&**there, run) {
                    applied.refusals.push(Refusal { name, kind: RefusalKind::Leaving, message: denied.message });
                } else {
                    applied.name_taken(&name, denied);
                }
            }
        }
        Ok(())
    }

    pub fn report_task(
        &mut self,
        cluster: &mut Cluster,
        task: &AutomationTask,
        status: AutomationTaskStatus,
    ) -> Result<Option<Wrote>, Failure> {
        let what = format!("patch task/status {}", task.name_any());
        let left = self.send(cluster, what, |c| c.report_task(task, status))?;
        Ok(unless_gone(left)?.map(|left| Wrote::of("task", &*left)))
    }

    pub fn report_workflow(
        &mut self,
        cluster: &mut Cluster,
        workflow: &Workflow,
        status: WorkflowStatus,
    ) -> Result<Option<Wrote>, Failure> {
        let what = format!("patch workflow/status {}", workflow.name_any());
        let left = self.send(cluster, what, |c| c.report_workflow(workflow, status))?;
        Ok(unless_gone(left)?.map(|left| Wrote::of("workflow", &*left)))
    }

    pub fn report_backfill(
        &mut self,
        cluster: &mut Cluster,
        backfill: &Backfill,
        status: BackfillStatus,
    ) -> Result<Option<Wrote>, Failure> {
        let what = format!("patch backfill/status {}", backfill.name_any());
        let left = self.send(cluster, what, |c| c.report_backfill(backfill, status))?;
        Ok(unless_gone(left)?.map(|left| Wrote::of("backfill", &*left)))
    }

    pub fn report_run(
        &mut self,
        cluster: &mut Cluster,
        run: &AutomationRun,
        version: Option<String>,
        status: AutomationRunStatus,
    ) -> Result<Option<Wrote>, Failure> {
        let version = version.or_else(|| run.resource_version()).unwrap_or_default();
        if status.phase == Some(Phase::Finished) {
            self.broken.extend(audit::finished(cluster, run));
        }
        let what = format!("patch run/status {}", run.name_any());
        let left = self.send(cluster, what, |c| c.report_run(run, &version, status))?;
        Ok(unless_gone(left)?.map(|left| Wrote::of("run", &*left)))
    }
}
