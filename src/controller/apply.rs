//! Makes the changes of a plan, in order.
//!
//! Each change can be made twice without harm: names are locks, and what is changed or deleted is named by its UID too.
//! To crash after any of them is safe: the next plan is made from what is there then.

mod job;

use std::time::Duration;

use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::ControllerRevision,
    batch::v1::{CronJob, Job},
    core::v1::Pod,
};
use kube::{
    Api, Resource, ResourceExt,
    api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy},
    core::NamespaceResourceScope,
};
use serde_json::{Value, json};

use super::{
    Context, Error,
    applied::Applied,
    error::key,
    expectations::{Kind, Wrote},
    left::{Kept, Left},
};
use crate::{
    api::{AutomationRun, label},
    build::CronJobSpec,
    observe,
    plan::{Change, Refusal, RefusalKind, automation_task::CronJobSeen},
};

/// How long a write may take. The client itself would retry for minutes; the plan would be old by then.
const WRITE_SECONDS: u64 = 10;

/// How many runs of steps are created at once.
const AT_ONCE: usize = 8;

/// Awaits a write for as long as one may take.
pub(super) async fn in_time<T>(what: &str, write: impl Future<Output = T>) -> Result<T, Error> {
    let limit = Duration::from_secs(WRITE_SECONDS);
    tokio::time::timeout(limit, write).await.map_err(|_| Error::Timeout { what: what.to_owned(), seconds: WRITE_SECONDS })
}

/// Makes the changes that were planned for an object. A refusal ends the changes of that object but not the others. The
/// caches have to catch up with what was made before an error all the same.
pub(super) async fn apply(context: &Context, object: &impl Resource<DynamicType = ()>, changes: &[Change]) -> Result<Applied, Error> {
    let namespace = object.meta().namespace.as_deref().unwrap_or_default();
    let writer = Writer { context, namespace };
    let mut applied = Applied::default();
    for together in changes.chunk_by(|one, next| is_of_step(one) && is_of_step(next)) {
        for some in together.chunks(AT_ONCE) {
            let writes = some.iter().map(async |change| {
                let mut applied = Applied::default();
                let written = writer.write(change, &mut applied).await;
                (applied, written)
            });
            let (each, written): (Vec<Applied>, Vec<Result<(), Error>>) = join_all(writes).await.into_iter().unzip();
            for one in each {
                applied.extend(one);
            }
            if let Err(error) = written.into_iter().collect::<Result<(), Error>>() {
                context.expectations.expect(&key(object), applied.wrote, context.clock.now());
                return Err(error);
            }
        }
        if applied.ended {
            break;
        }
    }
    Ok(applied)
}

/// Whether the change creates the run of a step: those need no order among themselves, and come in hundreds.
fn is_of_step(change: &Change) -> bool {
    matches!(change, Change::CreateRun(run) if run.spec.step.is_some())
}

struct Writer<'a> {
    context: &'a Context,
    namespace: &'a str,
}

fn status_code(error: &kube::Error) -> u16 {
    match error {
        kube::Error::Api(status) => status.code,
        _ => 0,
    }
}

/// Whether the API server understood and said no, so that to ask again at once is useless.
fn refused(error: &kube::Error) -> Option<String> {
    match error {
        kube::Error::Api(status) if matches!(status.code, 400 | 403 | 413 | 422) => Some(status.message.clone()),
        // Somebody's webhook that is down and fails closed. The API server is well, and says so each time.
        kube::Error::Api(status) if status.code == 500 && status.message.contains("failed calling webhook") => Some(status.message.clone()),
        _ => None,
    }
}

/// What cancels a run: in one patch with the slot that replaces it, so no crash can separate the act from its reason.
fn cancel(uid: &str, replaced_by: Option<Timestamp>) -> Value {
    let mut patch = json!({ "metadata": { "uid": uid }, "spec": { "cancel": true } });
    if let Some(slot) = replaced_by {
        patch["metadata"]["annotations"] = json!({ label::REPLACED_BY: slot.to_string() });
    }
    patch
}

fn owned_by<K: ResourceExt>(object: &K, uid: &str) -> bool {
    object.owner_references().iter().any(|owner| owner.uid == uid)
}

impl Writer<'_> {
    fn api<K: Resource<DynamicType = (), Scope = NamespaceResourceScope>>(&self) -> Api<K> {
        Api::namespaced(self.context.client.clone(), self.namespace)
    }

    /// For objects with a pod template, of which our types might not know every field.
    fn raw<K: Resource<DynamicType = ()>>(&self) -> Api<DynamicObject> {
        Api::namespaced_with(self.context.client.clone(), self.namespace, &ApiResource::erase::<K>(&()))
    }

    async fn send<T>(
        &self,
        verb: &str,
        kind: &str,
        name: &str,
        write: impl Future<Output = kube::Result<T>>,
    ) -> Result<kube::Result<T>, Error> {
        self.context.writes(verb, kind)?;
        tracing::debug!(namespace = self.namespace, verb, kind, name, "write");
        in_time(&format!("{verb} {kind} {name}"), write).await
    }

    fn error(what: String) -> impl FnOnce(kube::Error) -> Error {
        move |source| Error::Apply { what, source: Box::new(source) }
    }

    async fn write(&self, change: &Change, applied: &mut Applied) -> Result<(), Error> {
        match change {
            Change::CreateCronJob(wanted) => self.create_cron_job(wanted, applied).await,
            Change::ReplaceCronJob { wanted, seen, forget_slots_until } => {
                let mut version = seen.1.clone();
                if let Some(until) = forget_slots_until {
                    let patch = json!({
                        "metadata": { "uid": seen.0, "resourceVersion": version },
                        "status": { "lastScheduleTime": k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(*until) },
                    });
                    let api = self.api::<CronJob>();
                    let params = PatchParams::default();
                    let patch = Patch::Merge(&patch);
                    let write = api.patch_status(&wanted.name, &params, &patch);
                    let patched = self.send("patch", "cronjobs/status", &wanted.name, write).await?;
                    let patched = patched.map_err(Self::error(format!("move CronJob {} past old slots", wanted.name)))?;
                    version = patched.resource_version().unwrap_or_default();
                }
                self.replace_cron_job(wanted, &seen.0, &version, applied).await
            }
            Change::SuspendCronJob { name, uid } => {
                let patch = json!({
                    "metadata": { "uid": uid, "annotations": { label::DESIRED: null } },
                    "spec": { "suspend": true },
                });
                applied
                    .wrote
                    .extend(self.patch::<CronJob>(name, &Patch::Merge(&patch)).await?.and_then(|left| Wrote::of(Kind::CronJob, &left)));
                Ok(())
            }
            Change::DeleteCronJob { name, uid } => self.delete::<CronJob>(name, uid).await,
            Change::ExpireJob { name, uid, seconds } => {
                let patch = json!({ "metadata": { "uid": uid }, "spec": { "ttlSecondsAfterFinished": seconds } });
                self.patch::<Job>(name, &Patch::Merge(&patch)).await.map(drop)
            }
            Change::DeleteJob { name, uid } => self.delete::<Job>(name, uid).await,
            Change::DeleteRun { name, uid } => self.delete::<AutomationRun>(name, uid).await,
            Change::CreateRun(run) => self.create_run(run, applied).await,
            Change::CancelRun { name, uid, replaced_by } => {
                let patch = cancel(uid, *replaced_by);
                let left = self.patch::<AutomationRun>(name, &Patch::Merge(&patch)).await?;
                applied.wrote.extend(left.and_then(|left| Wrote::of(Kind::Run, &left)));
                Ok(())
            }
            Change::CreateRevision { name, object } => self.create_revision(name, object, applied).await,
            Change::DeleteRevision { name, uid } => self.delete::<ControllerRevision>(name, uid).await,
            Change::OwnRun { name, uid, resource_version, owners, started } => {
                let mut patch = json!({ "metadata": { "uid": uid, "resourceVersion": resource_version, "ownerReferences": owners } });
                if *started {
                    patch["metadata"]["annotations"] = json!({ label::STARTED: uid });
                }
                let left = match self.patch::<AutomationRun>(name, &Patch::Merge(&patch)).await {
                    // The run goes on without: it only will not go with its task.
                    Err(Error::Apply { source, .. }) if refused(&source).is_some() => {
                        tracing::warn!(namespace = self.namespace, name, error = %source, "the run cannot be marked");
                        return Ok(());
                    }
                    left => left?,
                };
                applied.ended = left.is_none();
                applied.wrote.extend(left.and_then(|left| Wrote::of(Kind::Run, &left)));
                Ok(())
            }
            Change::OwnJob { name, uid, owner } => {
                let patch = json!({ "metadata": { "uid": uid, "labels": { label::RUN: owner.name }, "ownerReferences": [owner] } });
                applied
                    .wrote
                    .extend(self.patch::<Job>(name, &Patch::Strategic(&patch)).await?.and_then(|left| Wrote::of(Kind::Job, &left)));
                Ok(())
            }
            Change::AskForRoom { run_uid, needs, is_queued } => {
                applied.answer = Some(self.context.room.ask(&self.context.caches, self.namespace, (run_uid, needs, *is_queued))?);
                Ok(())
            }
            Change::CreateJob { name, run_uid, object, let_in: None } => self.create_job(name, run_uid, object, applied).await.map(drop),
            Change::CreateJob { name, run_uid, object, let_in: Some(needs) } => {
                self.create_let_in((name, run_uid), needs, object, applied).await
            }
            Change::StopJob { name, uid, reason, backoff_limit, deadline_seconds, suspended } => {
                let mut patch = json!({
                    "metadata": { "uid": uid, "annotations": { label::STOPPED: reason.as_str() } },
                    "spec": { "backoffLimit": backoff_limit, "activeDeadlineSeconds": deadline_seconds },
                });
                if *suspended {
                    patch["spec"]["suspend"] = json!(false);
                    patch["spec"]["parallelism"] = json!(0);
                }
                applied.wrote.extend(self.patch::<Job>(name, &Patch::Merge(&patch)).await?.and_then(|left| Wrote::of(Kind::Job, &left)));
                Ok(())
            }
            Change::EndPod { name, uid } => {
                let patch = json!({ "metadata": { "uid": uid }, "spec": { "activeDeadlineSeconds": 1 } });
                self.patch::<Pod>(name, &Patch::Merge(&patch)).await.map(drop)
            }
        }
    }

    async fn create_cron_job(&self, wanted: &CronJobSpec, applied: &mut Applied) -> Result<(), Error> {
        let name = &wanted.name;
        let what = || format!("create CronJob {name}");
        let object = Self::object(&wanted.object, name)?;
        let params = PostParams { field_manager: Some(label::NIGHTSHIFT.to_owned()), ..PostParams::default() };
        let api = self.raw::<CronJob>();
        match self.send("create", "cronjobs", name, api.create(&params, &object)).await? {
            Ok(created) => {
                applied.wrote.extend(Wrote::of_object(Kind::CronJob, &created));
                applied.cron_jobs.extend(written(&created));
                Ok(())
            }
            Err(error) if status_code(&error) == 409 => {
                // Ours, but out of our sight (somebody took its label off), or made by a write whose answer was lost.
                let there = self.api::<CronJob>().get(name).await.map_err(Self::error(what()))?;
                let task = object.owner_references().first().map(|owner| owner.uid.clone()).unwrap_or_default();
                if owned_by(&there, &task) {
                    let there = observe::cron_job(&there);
                    return self.replace_cron_job(wanted, &there.uid, &there.resource_version, applied).await;
                }
                applied.refusals.push(Refusal { name: name.clone(), kind: RefusalKind::NameTaken, message: error.to_string() });
                Ok(())
            }
            Err(error) => self.refusal(name, error, what(), applied),
        }
    }

    async fn replace_cron_job(&self, wanted: &CronJobSpec, uid: &str, version: &str, applied: &mut Applied) -> Result<(), Error> {
        let name = &wanted.name;
        let mut object = Self::object(&wanted.object, name)?;
        object.metadata.uid = Some(uid.to_owned());
        object.metadata.resource_version = Some(version.to_owned());
        let params = PostParams { field_manager: Some(label::NIGHTSHIFT.to_owned()), ..PostParams::default() };
        let api = self.raw::<CronJob>();
        match self.send("update", "cronjobs", name, api.replace(name, &params, &object)).await? {
            Ok(replaced) => {
                applied.wrote.extend(Wrote::of_object(Kind::CronJob, &replaced));
                applied.cron_jobs.extend(written(&replaced));
                Ok(())
            }
            Err(error) => self.refusal(name, error, format!("update CronJob {name}"), applied),
        }
    }

    async fn create_run(&self, run: &AutomationRun, applied: &mut Applied) -> Result<(), Error> {
        let name = run.name_any();
        let what = format!("create run {name}");
        let runs = Kept::of::<AutomationRun>(&self.context.client, self.namespace);
        match self.send("create", "automationruns", &name, runs.create(run)).await? {
            Ok(created) => {
                applied.wrote.extend(Wrote::of(Kind::Run, &created));
                applied.runs_made.push(name);
                Ok(())
            }
            Err(error) if status_code(&error) == 409 => {
                let there = self.api::<AutomationRun>().get(&name).await.map_err(Self::error(what))?;
                if observe::automation_run::is_same(&there, run) {
                    applied.runs_made.push(name);
                } else {
                    let leaving = observe::automation_run::is_leaving(&there, run);
                    let kind = if leaving { RefusalKind::Leaving } else { RefusalKind::NameTaken };
                    applied.refusals.push(Refusal { name, kind, message: error.to_string() });
                }
                Ok(())
            }
            Err(error) => self.refusal(&name, error, what, applied),
        }
    }

    async fn create_revision(&self, name: &str, object: &Value, applied: &mut Applied) -> Result<(), Error> {
        let revisions = Kept::of::<ControllerRevision>(&self.context.client, self.namespace);
        match self.send("create", "controllerrevisions", name, revisions.create_as_go_writes(object)).await? {
            Ok(_) => applied.revisions_made.push(name.to_owned()),
            // The name is made from what it holds.
            Err(error) if status_code(&error) == 409 => applied.revisions_made.push(name.to_owned()),
            Err(error) => self.refusal(name, error, format!("create revision {name}"), applied)?,
        }
        Ok(())
    }

    fn object(value: &Value, name: &str) -> Result<DynamicObject, Error> {
        serde_json::from_value(value.clone())
            .map_err(|error| Error::Apply { what: format!("build {name}"), source: Box::new(kube::Error::SerdeError(error)) })
    }

    fn refusal(&self, name: &str, error: kube::Error, what: String, applied: &mut Applied) -> Result<(), Error> {
        let Some(message) = refused(&error) else { return Err(Self::error(what)(error)) };
        tracing::warn!(namespace = self.namespace, name, message, "refused: {what}");
        applied.refusals.push(Refusal { name: name.to_owned(), kind: RefusalKind::Refused, message });
        Ok(())
    }

    /// Patches an object that may have gone meanwhile, which the next plan will see.
    async fn patch<K>(&self, name: &str, patch: &Patch<&Value>) -> Result<Option<Left>, Error>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        let kind = K::plural(&());
        let objects = Kept::of::<K>(&self.context.client, self.namespace);
        match self.send("patch", &kind, name, objects.patch(name, patch)).await? {
            Ok(left) => Ok(Some(left)),
            Err(error) if status_code(&error) == 404 => Ok(None),
            Err(error) => Err(Self::error(format!("patch {kind} {name}"))(error)),
        }
    }

    /// Deletes the object of that UID. One of the same name that came after it is left alone.
    async fn delete<K>(&self, name: &str, uid: &str) -> Result<(), Error>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + serde::de::DeserializeOwned + std::fmt::Debug,
    {
        let kind = K::plural(&());
        let params = DeleteParams {
            propagation_policy: Some(PropagationPolicy::Background),
            preconditions: Some(Preconditions { uid: Some(uid.to_owned()), resource_version: None }),
            ..DeleteParams::default()
        };
        let api = self.api::<K>();
        match self.send("delete", &kind, name, api.delete(name, &params)).await? {
            Ok(_) => Ok(()),
            Err(error) if matches!(status_code(&error), 404 | 409) => Ok(()),
            Err(error) => Err(Self::error(format!("delete {kind} {name}"))(error)),
        }
    }
}

fn written(object: &DynamicObject) -> Option<CronJobSeen> {
    let typed: CronJob = serde_json::to_value(object).ok().and_then(|value| serde_json::from_value(value).ok())?;
    Some(observe::cron_job(&typed))
}
