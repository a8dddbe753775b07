//! The API server: what it stores, what it refuses, and how it understands the patches and deletions that we send.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::{
        apps::v1::ControllerRevision,
        batch::v1::{CronJob, Job},
        core::v1::Pod,
    },
    apimachinery::pkg::apis::meta::v1::Time,
};
use kube::{Resource, ResourceExt};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::store::{Denied, Store};
use crate::{
    admission::Slots,
    api::{AutomationRun, AutomationTask, Backfill, Workflow},
    outcome::Trouble,
};

/// A warning Event about an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warned {
    pub about_uid: String,
    pub about_name: String,
    pub trouble: Trouble,
}

/// The whole cluster as the API server sees it.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    pub now: Timestamp,
    pub tasks: Store<AutomationTask>,
    pub workflows: Store<Workflow>,
    pub runs: Store<AutomationRun>,
    pub cron_jobs: Store<CronJob>,
    pub jobs: Store<Job>,
    pub pods: Store<Pod>,
    pub backfills: Store<Backfill>,
    pub revisions: Store<ControllerRevision>,
    pub warnings: Vec<Warned>,
    /// How many slots each pool has.
    pub pools: Slots,
    /// A quota leaves no room for another Job.
    pub jobs_refused: bool,
    /// Admission refuses pods, which only an Event on their Job tells.
    pub pods_refused: bool,
    /// When owners that are gone were last taken off. The real collector is slow: it does not argue with whoever puts one
    /// back at once because his view is old.
    pub owners_dropped: Option<Timestamp>,
}

/// A patch, as `controller::apply` sends them.
#[derive(Clone, Copy, Debug)]
pub enum Patch<'a> {
    Merge(&'a Value),
    Strategic(&'a Value),
}

impl Cluster {
    /// Rises with everything that becomes of any object.
    pub fn version(&self) -> usize {
        let ours = self.tasks.log().len() + self.runs.log().len() + self.backfills.log().len() + self.revisions.log().len();
        ours + self.workflows.log().len() + self.cron_jobs.log().len() + self.jobs.log().len() + self.pods.log().len()
    }

    pub fn warn(&mut self, about: &impl ResourceExt, reason: &str, message: &str) {
        let trouble = Trouble { reason: reason.to_owned(), message: message.to_owned() };
        let warned = Warned { about_uid: about.uid().unwrap_or_default(), about_name: about.name_any(), trouble };
        if !self.warnings.contains(&warned) {
            self.warnings.push(warned);
        }
    }

    pub fn create_job(&mut self, object: &Value) -> Result<Arc<Job>, Denied> {
        let job: Job = parse(object)?;
        let name = job.name_any();
        if self.jobs_refused && self.jobs.get(&name).is_none() {
            return Err(Denied::new(
                403,
                format!("jobs.batch \"{name}\" is forbidden: exceeded quota: jobs, requested: count/jobs.batch=1"),
            ));
        }
        self.jobs.create(self.now, job)
    }

    pub fn create_revision(&mut self, object: &Value) -> Result<Arc<ControllerRevision>, Denied> {
        self.revisions.create(self.now, parse(object)?)
    }

    pub fn delete_revision(&mut self, name: &str, uid: &str) -> Result<(), Denied> {
        present(&self.revisions, name, uid, None)?;
        self.revisions.remove(self.now, name);
        Ok(())
    }

    /// Writes a backfill's status where the backfill is still as it was seen.
    pub fn report_backfill(&mut self, seen: &Backfill, status: crate::api::BackfillStatus) -> Result<Arc<Backfill>, Denied> {
        let version = seen.resource_version();
        let mut backfill = (**present(&self.backfills, &seen.name_any(), &seen.uid().unwrap_or_default(), version.as_deref())?).clone();
        backfill.status = Some(status);
        Ok(self.backfills.put(self.now, backfill))
    }

    pub fn create_cron_job(&mut self, object: &Value) -> Result<Arc<CronJob>, Denied> {
        self.cron_jobs.create(self.now, parse(object)?)
    }

    /// Moves a CronJob past old slots: refused where it is not the one, or not as it was seen.
    pub fn forget_slots(&mut self, name: &str, (uid, version): (&str, &str), until: Timestamp) -> Result<Arc<CronJob>, Denied> {
        let mut cron_job = (**present(&self.cron_jobs, name, uid, Some(version))?).clone();
        cron_job.status.get_or_insert_default().last_schedule_time = Some(Time(until));
        Ok(self.cron_jobs.put(self.now, cron_job))
    }

    pub fn replace_cron_job(&mut self, object: &Value, (uid, version): (&str, &str)) -> Result<Arc<CronJob>, Denied> {
        let wanted: CronJob = parse(object)?;
        let there = present(&self.cron_jobs, &wanted.name_any(), uid, Some(version))?;
        let mut replaced = (**there).clone();
        replaced.metadata.labels.clone_from(&wanted.metadata.labels);
        replaced.metadata.annotations.clone_from(&wanted.metadata.annotations);
        replaced.metadata.owner_references.clone_from(&wanted.metadata.owner_references);
        if replaced.spec != wanted.spec {
            replaced.spec = wanted.spec;
            replaced.metadata.generation = replaced.metadata.generation.map(|generation| generation + 1);
        }
        Ok(self.cron_jobs.put(self.now, replaced))
    }

    pub fn patch_run(&mut self, name: &str, patch: Patch<'_>) -> Result<Arc<AutomationRun>, Denied> {
        let run = patched(&self.runs, name, patch)?;
        Ok(self.runs.put(self.now, run))
    }

    pub fn patch_job(&mut self, name: &str, patch: Patch<'_>) -> Result<Arc<Job>, Denied> {
        let job = patched(&self.jobs, name, patch)?;
        Ok(self.jobs.put(self.now, job))
    }

    /// A pod's deadline may only fall.
    pub fn patch_pod(&mut self, name: &str, patch: Patch<'_>) -> Result<Arc<Pod>, Denied> {
        let deadline = |pod: &Pod| pod.spec.as_ref().and_then(|spec| spec.active_deadline_seconds).unwrap_or(i64::MAX);
        let pod = patched(&self.pods, name, patch)?;
        if self.pods.get(name).is_some_and(|there| deadline(&pod) > deadline(there)) {
            return Err(Denied::new(422, "spec.activeDeadlineSeconds: must be less than or equal to previous value"));
        }
        Ok(self.pods.put(self.now, pod))
    }

    /// Writes a run's status where the run is still as it was seen.
    pub fn report_run(
        &mut self,
        seen: &AutomationRun,
        version: &str,
        status: crate::api::AutomationRunStatus,
    ) -> Result<Arc<AutomationRun>, Denied> {
        let mut run = (**present(&self.runs, &seen.name_any(), &seen.uid().unwrap_or_default(), Some(version))?).clone();
        run.status = Some(status);
        Ok(self.runs.put(self.now, run))
    }

    /// Writes a task's status where the task is still as it was seen.
    pub fn report_task(&mut self, seen: &AutomationTask, status: crate::api::AutomationTaskStatus) -> Result<Arc<AutomationTask>, Denied> {
        let version = seen.resource_version();
        let mut task = (**present(&self.tasks, &seen.name_any(), &seen.uid().unwrap_or_default(), version.as_deref())?).clone();
        task.status = Some(status);
        Ok(self.tasks.put(self.now, task))
    }

    /// Writes a workflow's status where the workflow is still as it was seen.
    pub fn report_workflow(&mut self, seen: &Workflow, status: crate::api::WorkflowStatus) -> Result<Arc<Workflow>, Denied> {
        let version = seen.resource_version();
        let mut workflow = (**present(&self.workflows, &seen.name_any(), &seen.uid().unwrap_or_default(), version.as_deref())?).clone();
        workflow.status = Some(status);
        Ok(self.workflows.put(self.now, workflow))
    }

    pub fn suspend_cron_job(&mut self, name: &str, uid: &str) -> Result<(), Denied> {
        let mut cron_job = (**present(&self.cron_jobs, name, uid, None)?).clone();
        cron_job.metadata.annotations.get_or_insert_default().remove(crate::api::label::DESIRED);
        if let Some(spec) = cron_job.spec.as_mut().filter(|spec| spec.suspend != Some(true)) {
            spec.suspend = Some(true);
            cron_job.metadata.generation = cron_job.metadata.generation.map(|generation| generation + 1);
        }
        self.cron_jobs.put(self.now, cron_job);
        Ok(())
    }

    pub fn delete_cron_job(&mut self, name: &str, uid: &str) -> Result<(), Denied> {
        present(&self.cron_jobs, name, uid, None)?;
        self.cron_jobs.remove(self.now, name);
        Ok(())
    }

    pub fn delete_job(&mut self, name: &str, uid: &str) -> Result<(), Denied> {
        present(&self.jobs, name, uid, None)?;
        self.jobs.remove(self.now, name);
        Ok(())
    }

    pub fn delete_run(&mut self, name: &str, uid: &str) -> Result<(), Denied> {
        present(&self.runs, name, uid, None)?;
        self.runs.remove(self.now, name);
        Ok(())
    }

    /// Asks for a pod's deletion, which the kubelet sees through. The first to ask sets the time.
    pub fn delete_pod(&mut self, name: &str) {
        let now = self.now;
        self.pods.edit(now, name, |pod| {
            let grace = pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds).unwrap_or(30);
            if pod.metadata.deletion_timestamp.is_none() {
                pod.metadata.deletion_timestamp = Some(Time(now + SignedDuration::from_secs(grace)));
                pod.metadata.deletion_grace_period_seconds = Some(grace);
            }
        });
    }

    fn exists(&self, uid: &str) -> bool {
        self.tasks.by_uid(uid).is_some()
            || self.runs.by_uid(uid).is_some()
            || self.cron_jobs.by_uid(uid).is_some()
            || self.jobs.by_uid(uid).is_some()
            || self.backfills.by_uid(uid).is_some()
            || self.workflows.by_uid(uid).is_some()
    }

    /// The garbage collector: what has owners and none of them left goes; owners that are gone are taken off the rest.
    pub fn collect_garbage(&mut self) {
        let drops_owners = self.owners_dropped != Some(self.now);
        self.owners_dropped = Some(self.now);
        for run in self.runs.all() {
            match self.orphaned(&*run) {
                Orphaned::Wholly => self.runs.remove(self.now, &run.name_any()),
                Orphaned::Partly if drops_owners => self.drop_owners(&run.name_any(), |cluster| &mut cluster.runs),
                Orphaned::Not | Orphaned::Partly => {}
            }
        }
        for cron_job in self.cron_jobs.all() {
            if matches!(self.orphaned(&*cron_job), Orphaned::Wholly) {
                self.cron_jobs.remove(self.now, &cron_job.name_any());
            }
        }
        for revision in self.revisions.all() {
            if matches!(self.orphaned(&*revision), Orphaned::Wholly) {
                self.revisions.remove(self.now, &revision.name_any());
            }
        }
        for job in self.jobs.all() {
            match self.orphaned(&*job) {
                Orphaned::Wholly => self.jobs.remove(self.now, &job.name_any()),
                Orphaned::Partly if drops_owners => self.drop_owners(&job.name_any(), |cluster| &mut cluster.jobs),
                Orphaned::Not | Orphaned::Partly => {}
            }
        }
        for pod in self.pods.all() {
            if matches!(self.orphaned(&*pod), Orphaned::Wholly) {
                self.delete_pod(&pod.name_any());
            }
        }
    }

    fn orphaned(&self, object: &impl ResourceExt) -> Orphaned {
        let owners = object.owner_references();
        let gone = owners.iter().filter(|owner| !self.exists(&owner.uid)).count();
        match gone {
            0 => Orphaned::Not,
            _ if gone == owners.len() => Orphaned::Wholly,
            _ => Orphaned::Partly,
        }
    }

    fn drop_owners<K: Resource<DynamicType = ()> + Clone + PartialEq>(&mut self, name: &str, store: fn(&mut Self) -> &mut Store<K>) {
        let Some(mut object) = store(self).get(name).map(|object| (**object).clone()) else { return };
        object.owner_references_mut().retain(|owner| self.exists(&owner.uid));
        let now = self.now;
        store(self).put(now, object);
    }
}

/// How many of an object's owners are gone.
enum Orphaned {
    Not,
    Partly,
    Wholly,
}

fn parse<K: DeserializeOwned>(object: &Value) -> Result<K, Denied> {
    serde_json::from_value(object.clone()).map_err(|error| Denied::new(400, error.to_string()))
}

/// The object of that name, where it is of that UID and, if asked, that version.
fn present<'a, K>(store: &'a Store<K>, name: &str, uid: &str, version: Option<&str>) -> Result<&'a Arc<K>, Denied>
where
    K: Resource<DynamicType = ()> + Clone + PartialEq,
{
    let there = store.get(name).ok_or_else(|| Denied::new(404, format!("{name} not found")))?;
    let meta = there.meta();
    let same = meta.uid.as_deref() == Some(uid) && version.is_none_or(|version| meta.resource_version.as_deref() == Some(version));
    if same { Ok(there) } else { Err(Denied::new(409, format!("{name}: the object has been modified"))) }
}

fn patched<K>(store: &Store<K>, name: &str, patch: Patch<'_>) -> Result<K, Denied>
where
    K: Resource<DynamicType = ()> + Clone + PartialEq + Serialize + DeserializeOwned,
{
    let (patch, strategic) = match patch {
        Patch::Merge(patch) => (patch, false),
        Patch::Strategic(patch) => (patch, true),
    };
    let text = |path: &str| patch.pointer(path).and_then(Value::as_str);
    let there = present(store, name, text("/metadata/uid").unwrap_or_default(), text("/metadata/resourceVersion"))?;
    let mut object = json!(**there);
    merge(&mut object, patch, strategic);
    parse(&object)
}

/// RFC 7386; the strategic kind merges lists of owners by UID instead of replacing them.
fn merge(object: &mut Value, patch: &Value, strategic: bool) {
    let Value::Object(patch) = patch else {
        *object = patch.clone();
        return;
    };
    if !object.is_object() {
        *object = json!({});
    }
    for (key, value) in patch {
        let field = &mut object[key.as_str()];
        match value {
            Value::Null => *field = Value::Null,
            Value::Array(items) if strategic && key == "ownerReferences" => {
                let mut owners = field.as_array().cloned().unwrap_or_default();
                owners.retain(|owner| items.iter().all(|item| item["uid"] != owner["uid"]));
                owners.extend(items.iter().cloned());
                *field = Value::Array(owners);
            }
            _ => merge(field, value, strategic),
        }
    }
}
