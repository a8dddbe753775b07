//! What can be read from a Job and its pods, parsed once, so that later steps cannot fail on shape.

use jiff::Timestamp;
use k8s_openapi::api::{
    batch::v1::Job,
    core::v1::{ContainerStatus, Pod},
};

use crate::api::{Contract, label};

/// Why the operator stopped a Job. Spelt on the Job itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// `spec.cancel`.
    Cancelled,
    /// `timeouts.pendingSeconds`.
    PendingTimeout,
    /// `timeouts.runSeconds`.
    RunTimeout,
}

impl StopReason {
    /// As written on the Job.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            StopReason::Cancelled => super::reason::CANCELLED,
            StopReason::PendingTimeout => super::reason::PENDING_TIMEOUT,
            StopReason::RunTimeout => super::reason::RUN_TIMEOUT,
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [StopReason::Cancelled, StopReason::PendingTimeout, StopReason::RunTimeout].into_iter().find(|r| r.as_str() == text)
    }
}

/// How a Job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobEnd {
    /// Complete.
    Complete,
    /// Failed, with Kubernetes' reason and message.
    Failed {
        /// `PodFailurePolicy`, `FailedIndexes`, `BackoffLimitExceeded`, `DeadlineExceeded` …
        reason: String,
        /// Kubernetes' words.
        message: String,
    },
}

/// A Job as seen, with its pods, oldest first.
#[derive(Clone, Debug, PartialEq)]
pub struct JobSeen {
    /// Name.
    pub name: String,
    /// UID.
    pub uid: String,
    /// When it was created.
    pub created: Timestamp,
    /// The slot, where the CronJob controller made it for one.
    pub slot: Option<Timestamp>,
    /// Whether a CronJob controls it.
    pub by_cron_job: bool,
    /// The run that it is labelled with: absent on a native Job that is not adopted yet.
    pub run: Option<String>,
    /// UIDs of all owners.
    pub owners: Vec<String>,
    /// Which attempt of the run it is; 1 for native Jobs.
    pub attempt: u32,
    /// The terms that it was rendered with; `None` where the annotation is missing or spoilt.
    pub contract: Option<Contract>,
    /// Name of the revision that holds the definition that it runs.
    pub revision: Option<String>,
    /// Why the operator stopped it.
    pub stopped: Option<StopReason>,
    /// `spec.activeDeadlineSeconds`.
    pub deadline_seconds: Option<i64>,
    /// `spec.suspend`: by hand, or by a queue such as Kueue.
    pub suspended: bool,
    /// Since when.
    pub suspended_at: Option<Timestamp>,
    /// How it ended.
    pub end: Option<JobEnd>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// How many of its pods the Job controller has counted as ended.
    pub counted: i32,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Its pods, oldest first.
    pub pods: Vec<PodSeen>,
}

/// Whether the Job has ended, well or not.
#[must_use]
pub fn has_ended(job: &Job) -> bool {
    let mut conditions = job.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.any(|c| ["Complete", "Failed"].contains(&c.type_.as_str()) && c.status == "True")
}

impl JobSeen {
    /// Reads a Job and its pods.
    #[must_use]
    pub fn read(job: &Job, pods: &[impl AsRef<Pod>]) -> Self {
        let meta = &job.metadata;
        let annotation = |key: &str| meta.annotations.as_ref()?.get(key);
        let label = |key: &str| meta.labels.as_ref()?.get(key);
        let owners = meta.owner_references.as_deref().unwrap_or_default();
        let status = job.status.clone().unwrap_or_default();
        let mut pods: Vec<PodSeen> = pods.iter().map(|pod| PodSeen::read(pod.as_ref())).collect();
        pods.sort_by(|a, b| (a.created, &a.name).cmp(&(b.created, &b.name)));
        let condition = |kind: &str| status.conditions.iter().flatten().find(|c| c.type_ == kind && c.status == "True");
        let (end, ended_at) = if let Some(complete) = condition("Complete") {
            (Some(JobEnd::Complete), complete.last_transition_time.as_ref())
        } else if let Some(failed) = condition("Failed") {
            let end =
                JobEnd::Failed { reason: failed.reason.clone().unwrap_or_default(), message: failed.message.clone().unwrap_or_default() };
            (Some(end), failed.last_transition_time.as_ref())
        } else {
            (None, None)
        };
        let ended_at = status.completion_time.as_ref().or(ended_at).map(|time| time.0);
        Self {
            name: meta.name.clone().unwrap_or_default(),
            uid: meta.uid.clone().unwrap_or_default(),
            created: meta.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0),
            slot: annotation(label::CRONJOB_SLOT).and_then(|slot| slot.parse().ok()),
            by_cron_job: owners.iter().any(|o| o.controller == Some(true) && o.kind == "CronJob"),
            run: label(label::RUN).cloned(),
            owners: owners.iter().map(|owner| owner.uid.clone()).collect(),
            attempt: label(label::ATTEMPT).and_then(|n| n.parse().ok()).unwrap_or(1),
            contract: annotation(label::CONTRACT).and_then(|text| serde_json::from_str(text).ok()),
            revision: annotation(label::REVISION).cloned(),
            stopped: annotation(label::STOPPED).and_then(|text| StopReason::parse(text)),
            deadline_seconds: job.spec.as_ref().and_then(|spec| spec.active_deadline_seconds),
            suspended_at: condition("Suspended").and_then(|suspended| suspended.last_transition_time.as_ref()).map(|time| time.0),
            suspended: job.spec.as_ref().is_some_and(|spec| spec.suspend == Some(true)),
            end,
            ended_at,
            counted: status.failed.unwrap_or(0) + status.succeeded.unwrap_or(0),
            deleting: meta.deletion_timestamp.is_some(),
            pods,
        }
    }

    /// When it ended; when it was created where Kubernetes did not say.
    #[must_use]
    pub fn end_time(&self) -> Timestamp {
        self.ended_at.unwrap_or(self.created)
    }
}

/// A pod's phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodPhase {
    /// Not ended.
    Live,
    /// All containers ended with 0.
    Succeeded,
    /// Ended otherwise.
    Failed,
}

/// The state of the container named `main`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContainerSeen {
    /// Not begun.
    Waiting {
        /// The kubelet's reason.
        reason: String,
        /// The kubelet's message.
        message: String,
    },
    /// Running.
    Running {
        /// Since when.
        since: Timestamp,
    },
    /// Ended.
    Terminated {
        /// Exit code.
        code: i32,
        /// The kubelet's reason.
        reason: String,
        /// The termination message: what the container wrote, else the tail of its log where it failed.
        message: String,
        /// When it started.
        started: Option<Timestamp>,
        /// When it ended.
        finished: Option<Timestamp>,
    },
}

/// A pod as seen.
#[derive(Clone, Debug, PartialEq)]
pub struct PodSeen {
    /// Name.
    pub name: String,
    /// UID.
    pub uid: String,
    /// Node, once scheduled.
    pub node: Option<String>,
    /// When it was created.
    pub created: Timestamp,
    /// When the kubelet accepted it: `activeDeadlineSeconds` counts from here, and never fires without it.
    pub accepted: Option<Timestamp>,
    /// Whether it has ended, and how.
    pub phase: PodPhase,
    /// `status.reason`, for example `DeadlineExceeded` or `Evicted`.
    pub reason: Option<String>,
    /// `status.message`.
    pub message: Option<String>,
    /// Why the cluster took it away (condition `DisruptionTarget`).
    pub disruption: Option<String>,
    /// When somebody asked for its deletion.
    pub delete_requested: Option<Timestamp>,
    /// `spec.activeDeadlineSeconds`.
    pub deadline_seconds: Option<i64>,
    /// Why it cannot be scheduled.
    pub unschedulable: Option<String>,
    /// The container named `main`.
    pub main: Option<ContainerSeen>,
    /// An init container that holds the pod up: name, reason, message.
    pub init_waiting: Option<(String, String, String)>,
    /// A container other than `main` that failed: name and exit code.
    pub other_failed: Option<(String, i32)>,
    /// Whether any container, init containers included, has begun.
    pub begun: bool,
}

impl PodSeen {
    /// Reads a pod.
    #[must_use]
    pub fn read(pod: &Pod) -> Self {
        let meta = &pod.metadata;
        let status = pod.status.clone().unwrap_or_default();
        let condition = |kind: &str, value: &str| status.conditions.iter().flatten().find(|c| c.type_ == kind && c.status == value);
        let main = status.container_statuses.iter().flatten().find(|c| c.name == "main").and_then(read_container);
        let containers: Vec<&ContainerStatus> =
            status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten()).collect();
        let begun = containers.iter().any(|c| {
            c.state.as_ref().is_some_and(|s| s.running.is_some() || s.terminated.as_ref().is_some_and(really_ran))
                || c.last_state.as_ref().is_some_and(|s| s.terminated.is_some())
        });
        let init_waiting = status.init_container_statuses.iter().flatten().find_map(|c| {
            let waiting = c.state.as_ref()?.waiting.as_ref()?;
            let reason = waiting.reason.clone().unwrap_or_default();
            (reason != "PodInitializing").then(|| (c.name.clone(), reason, waiting.message.clone().unwrap_or_default()))
        });
        let other_failed = containers.iter().filter(|c| c.name != "main").find_map(|c| {
            let code = c.state.as_ref()?.terminated.as_ref()?.exit_code;
            (code != 0).then(|| (c.name.clone(), code))
        });
        Self {
            name: meta.name.clone().unwrap_or_default(),
            uid: meta.uid.clone().unwrap_or_default(),
            node: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
            created: meta.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0),
            accepted: status.start_time.as_ref().map(|time| time.0),
            phase: match status.phase.as_deref() {
                Some("Succeeded") => PodPhase::Succeeded,
                Some("Failed") => PodPhase::Failed,
                _ => PodPhase::Live,
            },
            reason: status.reason.clone(),
            message: status.message.clone(),
            disruption: condition("DisruptionTarget", "True").map(|c| c.message.clone().or_else(|| c.reason.clone()).unwrap_or_default()),
            delete_requested: meta.deletion_timestamp.as_ref().map(|time| {
                let grace = jiff::SignedDuration::from_secs(meta.deletion_grace_period_seconds.unwrap_or(0));
                time.0.checked_sub(grace).unwrap_or(time.0)
            }),
            deadline_seconds: pod.spec.as_ref().and_then(|spec| spec.active_deadline_seconds),
            unschedulable: condition("PodScheduled", "False")
                .filter(|c| c.reason.as_deref() == Some("Unschedulable"))
                .map(|c| c.message.clone().unwrap_or_default()),
            main,
            init_waiting,
            other_failed,
            begun,
        }
    }

    /// When it began, as far as that is known.
    #[must_use]
    pub fn began(&self) -> Timestamp {
        match &self.main {
            Some(ContainerSeen::Running { since }) => *since,
            Some(ContainerSeen::Terminated { started: Some(started), .. }) => *started,
            _ => self.accepted.unwrap_or(self.created),
        }
    }

    /// Whether it has not ended.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.phase == PodPhase::Live
    }

    /// Whether it is called failed while its container still ends: the kubelet says so as soon as the pod's time is up,
    /// and tells exit code and log later.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        self.phase == PodPhase::Failed && matches!(self.main, Some(ContainerSeen::Running { .. }))
    }
}

/// The kubelet reports a container that it never found (its pod was stopped while it waited) as terminated too.
fn really_ran(state: &k8s_openapi::api::core::v1::ContainerStateTerminated) -> bool {
    state.started_at.is_some() || state.reason.as_deref() != Some("ContainerStatusUnknown")
}

fn read_container(status: &ContainerStatus) -> Option<ContainerSeen> {
    let state = status.state.as_ref()?;
    if let Some(ended) = &state.terminated {
        Some(ContainerSeen::Terminated {
            code: ended.exit_code,
            reason: ended.reason.clone().unwrap_or_default(),
            message: ended.message.clone().unwrap_or_default(),
            started: ended.started_at.as_ref().map(|time| time.0),
            finished: ended.finished_at.as_ref().map(|time| time.0),
        })
    } else if let Some(running) = &state.running {
        Some(ContainerSeen::Running { since: running.started_at.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0) })
    } else {
        let waiting = state.waiting.as_ref()?;
        Some(ContainerSeen::Waiting {
            reason: waiting.reason.clone().unwrap_or_default(),
            message: waiting.message.clone().unwrap_or_default(),
        })
    }
}
