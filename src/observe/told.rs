//! Objects as the watches tell them, with as much of their JSON as is ever looked at.
//!
//! Of thousands of objects, pod templates and managed fields are most of the weight. They are passed over where they
//! stand instead of being read and thrown away: that is most of what a watch costs. And one stored object that does not
//! parse must not stop the others: it is told of, and left out.

use std::{borrow::Cow, collections::BTreeMap};

use k8s_openapi::{
    api::{
        batch::v1::{CronJob, CronJobSpec, CronJobStatus, Job, JobSpec, JobStatus},
        core::v1::{ContainerState, ContainerStatus, Pod, PodCondition, PodSpec, PodStatus},
    },
    apimachinery::pkg::apis::meta::v1::{OwnerReference, Time},
};
use kube::{Resource, api::ObjectMeta};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::value::RawValue;

use crate::{
    api::{
        AutomationRun, AutomationRunSpec, AutomationRunStatus, AutomationTask, AutomationTaskSpec, AutomationTaskStatus, Backfill,
        BackfillSpec, BackfillStatus, ConcurrencyPool, ConcurrencyPoolSpec, ConcurrencyPoolStatus, Workflow, WorkflowSpec, WorkflowStatus,
        label,
    },
    ledger,
};

/// A kind that is watched.
pub(super) trait Watched: Resource<DynamicType = ()> + Sized {
    /// What is read of its JSON.
    type Read: DeserializeOwned + Into<Self>;
}

/// An object, or what stands in its place where it does not parse.
#[derive(Clone, Debug)]
pub(super) enum Told<K> {
    Whole(K),
    Broken { metadata: Box<ObjectMeta>, error: String },
}

impl<'de, K: Watched> Deserialize<'de> for Told<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Box::<RawValue>::deserialize(deserializer)?;
        match serde_json::from_str::<K::Read>(text.get()) {
            Ok(read) => Ok(Told::Whole(read.into())),
            Err(error) => {
                let named: Named = serde_json::from_str(text.get()).map_err(serde::de::Error::custom)?;
                Ok(Told::Broken { metadata: Box::new(named.metadata.into()), error: error.to_string() })
            }
        }
    }
}

impl<K: Watched> Resource for Told<K> {
    type DynamicType = ();
    type Scope = K::Scope;

    fn kind((): &()) -> Cow<'_, str> {
        K::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        K::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        K::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        K::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        match self {
            Told::Whole(object) => object.meta(),
            Told::Broken { metadata, .. } => metadata,
        }
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        match self {
            Told::Whole(object) => object.meta_mut(),
            Told::Broken { metadata, .. } => metadata,
        }
    }
}

/// Metadata without managed fields, and without labels and annotations that mean nothing to us.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Meta {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    generation: Option<i64>,
    creation_timestamp: Option<Time>,
    deletion_timestamp: Option<Time>,
    deletion_grace_period_seconds: Option<i64>,
    labels: Option<BTreeMap<String, String>>,
    annotations: Option<BTreeMap<String, String>>,
    owner_references: Option<Vec<OwnerReference>>,
}

impl From<Meta> for ObjectMeta {
    fn from(read: Meta) -> Self {
        let known = [label::JOB_NAME, label::CONTROLLER_UID, label::CRONJOB_SLOT];
        let ours = |all: Option<BTreeMap<String, String>>| {
            let mut all = all?;
            all.retain(|key, _| key.starts_with(label::PREFIX) || known.contains(&key.as_str()));
            Some(all)
        };
        Self {
            name: read.name,
            namespace: read.namespace,
            uid: read.uid,
            resource_version: read.resource_version,
            generation: read.generation,
            creation_timestamp: read.creation_timestamp,
            deletion_timestamp: read.deletion_timestamp,
            deletion_grace_period_seconds: read.deletion_grace_period_seconds,
            labels: ours(read.labels),
            annotations: ours(read.annotations),
            owner_references: read.owner_references,
            ..Self::default()
        }
    }
}

#[derive(Deserialize)]
struct Named {
    #[serde(default)]
    metadata: Meta,
}

/// One of our own kinds.
#[derive(Deserialize)]
pub(super) struct OurRead<Spec, Status> {
    #[serde(default)]
    metadata: Meta,
    spec: Spec,
    status: Option<Status>,
}

impl Watched for AutomationTask {
    type Read = OurRead<AutomationTaskSpec, AutomationTaskStatus>;
}

impl From<OurRead<AutomationTaskSpec, AutomationTaskStatus>> for AutomationTask {
    fn from(read: OurRead<AutomationTaskSpec, AutomationTaskStatus>) -> Self {
        Self { metadata: read.metadata.into(), spec: read.spec, status: read.status }
    }
}

impl Watched for Workflow {
    type Read = OurRead<WorkflowSpec, WorkflowStatus>;
}

impl From<OurRead<WorkflowSpec, WorkflowStatus>> for Workflow {
    fn from(read: OurRead<WorkflowSpec, WorkflowStatus>) -> Self {
        Self { metadata: read.metadata.into(), spec: read.spec, status: read.status }
    }
}

impl Watched for AutomationRun {
    type Read = OurRead<AutomationRunSpec, AutomationRunStatus>;
}

impl From<OurRead<AutomationRunSpec, AutomationRunStatus>> for AutomationRun {
    fn from(read: OurRead<AutomationRunSpec, AutomationRunStatus>) -> Self {
        let mut run = Self { metadata: read.metadata.into(), spec: read.spec, status: read.status };
        if ledger::is_finished(&run) {
            slim(&mut run);
        }
        run
    }
}

/// A finished run is never written again: what the ledger does not look at is left on the server.
fn slim(run: &mut AutomationRun) {
    // A backfill counts its runs once they have ended.
    let backfill = run.metadata.labels.take().and_then(|mut labels| labels.remove_entry(label::BACKFILL));
    run.metadata.labels = backfill.map(|(key, name)| BTreeMap::from([(key, name)]));
    // What a step came to is looked at until the workflow's run is over.
    let is_step = run.spec.step_of().is_some();
    run.metadata.owner_references = run.metadata.owner_references.take().filter(|_| is_step);
    let adopted = [label::ADOPTED_JOB, label::ADOPTED_UID, label::BACKFILL_UID, label::IDEMPOTENCY_KEY];
    if let Some(mut annotations) = run.metadata.annotations.take() {
        annotations.retain(|key, _| adopted.contains(&key.as_str()));
        run.metadata.annotations = Some(annotations).filter(|left| !left.is_empty());
    }
    run.spec.parameters = Vec::new();
    if let Some(status) = run.status.take() {
        run.status = Some(AutomationRunStatus {
            phase: status.phase,
            outcome: status.outcome,
            result: status.result,
            reason: status.reason,
            message: status.message,
            start_time: status.start_time,
            completion_time: status.completion_time,
            outputs: status.outputs.filter(|_| is_step),
            // That of others is made from their own names, or stands in an annotation.
            idempotency_key: status.idempotency_key.filter(|_| run.spec.rerun_of.is_some()),
            ..AutomationRunStatus::default()
        });
    }
}

#[derive(Deserialize)]
pub(super) struct CronJobRead {
    #[serde(default)]
    metadata: Meta,
    #[serde(default)]
    spec: CronJobSpecRead,
    #[serde(default)]
    status: CronJobStatusRead,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct CronJobStatusRead {
    last_schedule_time: Option<Time>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct CronJobSpecRead {
    schedule: String,
    time_zone: Option<String>,
    suspend: Option<bool>,
    concurrency_policy: Option<String>,
    starting_deadline_seconds: Option<i64>,
}

impl Watched for CronJob {
    type Read = CronJobRead;
}

impl From<CronJobRead> for CronJob {
    fn from(CronJobRead { metadata, spec, status }: CronJobRead) -> Self {
        let spec = CronJobSpec {
            schedule: spec.schedule,
            time_zone: spec.time_zone,
            suspend: spec.suspend,
            concurrency_policy: spec.concurrency_policy,
            starting_deadline_seconds: spec.starting_deadline_seconds,
            ..CronJobSpec::default()
        };
        let status = CronJobStatus { last_schedule_time: status.last_schedule_time, ..CronJobStatus::default() };
        Self { metadata: metadata.into(), spec: Some(spec), status: Some(status) }
    }
}

impl Watched for Backfill {
    type Read = OurRead<BackfillSpec, BackfillStatus>;
}

impl From<OurRead<BackfillSpec, BackfillStatus>> for Backfill {
    fn from(read: OurRead<BackfillSpec, BackfillStatus>) -> Self {
        Self { metadata: read.metadata.into(), spec: read.spec, status: read.status }
    }
}

impl Watched for ConcurrencyPool {
    type Read = OurRead<ConcurrencyPoolSpec, ConcurrencyPoolStatus>;
}

impl From<OurRead<ConcurrencyPoolSpec, ConcurrencyPoolStatus>> for ConcurrencyPool {
    fn from(read: OurRead<ConcurrencyPoolSpec, ConcurrencyPoolStatus>) -> Self {
        Self { metadata: read.metadata.into(), spec: read.spec, status: read.status }
    }
}

#[derive(Deserialize)]
pub(super) struct JobRead {
    #[serde(default)]
    metadata: Meta,
    #[serde(default)]
    spec: JobSpecRead,
    status: Option<JobStatus>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct JobSpecRead {
    active_deadline_seconds: Option<i64>,
    suspend: Option<bool>,
}

impl Watched for Job {
    type Read = JobRead;
}

impl From<JobRead> for Job {
    fn from(JobRead { metadata, spec, status }: JobRead) -> Self {
        let spec = JobSpec { active_deadline_seconds: spec.active_deadline_seconds, suspend: spec.suspend, ..JobSpec::default() };
        Self { metadata: metadata.into(), spec: Some(spec), status }
    }
}

#[derive(Deserialize)]
pub(super) struct PodRead {
    #[serde(default)]
    metadata: Meta,
    #[serde(default)]
    spec: PodSpecRead,
    #[serde(default)]
    status: PodStatusRead,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PodSpecRead {
    active_deadline_seconds: Option<i64>,
    node_name: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PodStatusRead {
    phase: Option<String>,
    reason: Option<String>,
    message: Option<String>,
    start_time: Option<Time>,
    conditions: Vec<PodCondition>,
    container_statuses: Vec<ContainerRead>,
    init_container_statuses: Vec<ContainerRead>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ContainerRead {
    name: String,
    state: Option<ContainerState>,
    last_state: Option<ContainerState>,
}

impl Watched for Pod {
    type Read = PodRead;
}

impl From<PodRead> for Pod {
    fn from(PodRead { metadata, spec, mut status }: PodRead) -> Self {
        let spec = PodSpec { active_deadline_seconds: spec.active_deadline_seconds, node_name: spec.node_name, ..PodSpec::default() };
        status.conditions.retain(|condition| matches!(condition.type_.as_str(), "DisruptionTarget" | "PodScheduled"));
        let containers = |all: Vec<ContainerRead>| (!all.is_empty()).then(|| all.into_iter().map(Into::into).collect());
        let status = PodStatus {
            phase: status.phase,
            reason: status.reason,
            message: status.message,
            start_time: status.start_time,
            conditions: Some(status.conditions),
            container_statuses: containers(status.container_statuses),
            init_container_statuses: containers(status.init_container_statuses),
            ..PodStatus::default()
        };
        Self { metadata: ObjectMeta { owner_references: None, ..metadata.into() }, spec: Some(spec), status: Some(status) }
    }
}

impl From<ContainerRead> for ContainerStatus {
    fn from(read: ContainerRead) -> Self {
        Self { name: read.name, state: read.state, last_state: read.last_state, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use kube::ResourceExt;
    use serde_json::{Value, json};

    use super::*;
    use crate::outcome::JobSeen;

    fn told<K: Watched>(object: &Value) -> K {
        // As it comes in a watch: behind the type, and in the middle of the line.
        let line = format!("{{\"type\":\"MODIFIED\",\"object\":{object}}}");
        match serde_json::from_str(&line).unwrap() {
            kube::api::WatchEvent::Modified(Told::Whole(object)) => object,
            _ => panic!("not whole"),
        }
    }

    fn metadata() -> Value {
        json!({
            "name": "n", "namespace": "ns", "uid": "u", "resourceVersion": "7", "generation": 3, "creationTimestamp": "2026-11-24T01:00:00Z",
            "deletionTimestamp": "2026-11-24T02:00:00Z", "deletionGracePeriodSeconds": 30,
            "labels": { "nightshift.dev/task": "t", "nightshift.dev/run": "n", "batch.kubernetes.io/job-name": "j", "batch.kubernetes.io/controller-uid": "c", "app": "x" },
            "annotations": { "nightshift.dev/adopted-uid": "a", "batch.kubernetes.io/cronjob-scheduled-timestamp": "2026-11-24T01:00:00Z", "kubectl.kubernetes.io/last-applied-configuration": "{}" },
            "ownerReferences": [{ "apiVersion": "batch/v1", "kind": "CronJob", "name": "o", "uid": "ou", "controller": true }],
            "managedFields": [{ "manager": "m", "operation": "Update", "fieldsV1": { "f:spec": {} } }],
        })
    }

    #[test]
    fn a_job_and_its_pod_say_the_same_as_when_read_in_full() {
        let job = json!({
            "apiVersion": "batch/v1", "kind": "Job", "metadata": metadata(),
            "spec": { "activeDeadlineSeconds": 60, "suspend": true, "template": { "spec": { "containers": [{ "name": "main" }] } } },
            "status": { "failed": 1, "conditions": [{ "type": "Failed", "status": "True", "reason": "FailedIndexes", "message": "m", "lastTransitionTime": "2026-11-24T01:05:00Z" }] },
        });
        let container = |name: &str, state: Value| json!({ "name": name, "image": "i", "imageID": "x", "ready": false, "restartCount": 0, "state": state });
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": metadata(),
            "spec": { "nodeName": "node", "activeDeadlineSeconds": 5, "containers": [{ "name": "main", "image": "i" }] },
            "status": {
                "phase": "Failed", "reason": "DeadlineExceeded", "message": "m", "startTime": "2026-11-24T01:00:01Z", "podIP": "10.0.0.1",
                "conditions": [
                    { "type": "DisruptionTarget", "status": "True", "reason": "r", "message": "m" }, { "type": "Ready", "status": "False" },
                    { "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no node" },
                ],
                "initContainerStatuses": [container("init", json!({ "waiting": { "reason": "ErrImagePull", "message": "m" } }))],
                "containerStatuses": [
                    container("main", json!({ "terminated": { "exitCode": 3, "reason": "Error", "message": "tail", "startedAt": "2026-11-24T01:00:02Z", "finishedAt": "2026-11-24T01:00:05Z" } })),
                    container("proxy", json!({ "terminated": { "exitCode": 1 } })),
                ],
            },
        });
        let in_full = JobSeen::read(
            &serde_json::from_value(job.clone()).unwrap(),
            &[std::sync::Arc::new(serde_json::from_value(pod.clone()).unwrap())],
        );
        let trimmed = JobSeen::read(&told(&job), &[std::sync::Arc::new(told(&pod))]);
        assert_eq!(trimmed, in_full);
        assert!(
            trimmed.suspended && trimmed.pods[0].disruption.is_some() && trimmed.pods[0].unschedulable.is_some() && trimmed.slot.is_some()
        );
        let job: Job = told(&job);
        assert_eq!((job.managed_fields().len(), job.labels().len(), job.annotations().len()), (0, 4, 2));
    }

    #[test]
    fn a_cron_job_says_the_same_as_when_read_in_full() {
        let cron_job = json!({
            "metadata": metadata(),
            "spec": { "schedule": "1 2 * * *", "timeZone": "Etc/UTC", "suspend": true, "concurrencyPolicy": "Forbid", "startingDeadlineSeconds": 60, "jobTemplate": { "spec": { "template": {} } } },
        });
        assert_eq!(super::super::cron_job(&told(&cron_job)), super::super::cron_job(&serde_json::from_value(cron_job).unwrap()));
    }

    #[test]
    fn a_run_is_whole_until_it_is_finished() {
        let run = |phase: &str| {
            json!({
                "metadata": metadata(), "spec": { "taskRef": { "name": "t" }, "parameters": [{ "name": "P", "value": "v" }] },
                "status": { "phase": phase, "outcome": "Failed", "result": "Bad", "message": "m", "completionTime": "2026-11-24T01:00:00Z", "attempts": [{ "job": "j" }] },
            })
        };
        let going: AutomationRun = told(&run("Running"));
        assert_eq!((going.spec.parameters.len(), going.status.as_ref().map(|status| status.attempts.len())), (1, Some(1)));
        let finished: AutomationRun = told(&run("Finished"));
        let status = finished.status.clone().unwrap();
        assert_eq!((status.attempts.len(), status.message.as_deref(), finished.annotations().len()), (0, Some("m"), 1));
        assert!(finished.annotations().contains_key(label::ADOPTED_UID), "the Job that it records is not recorded again");
        assert!(ledger::is_finished(&finished) && ledger::order(&finished) == ledger::order(&going));
    }

    #[test]
    fn what_does_not_parse_keeps_its_name_and_stops_nobody() {
        let list = json!({ "apiVersion": "v1", "kind": "List", "metadata": {}, "items": [
            { "metadata": metadata(), "spec": { "taskRef": 7 } },
            { "metadata": metadata(), "spec": { "taskRef": { "name": "t" } } },
        ] });
        let list: kube::api::ObjectList<Told<AutomationRun>> = serde_json::from_str(&list.to_string()).unwrap();
        let [Told::Broken { metadata, error }, Told::Whole(_)] = list.items.as_slice() else { panic!("{list:?}") };
        assert_eq!((metadata.name.as_deref(), metadata.resource_version.as_deref()), (Some("n"), Some("7")));
        assert!(error.contains("taskRef") || error.contains("TaskRef"), "{error}");
    }
}
