//! Scheduler and kubelet: pods are placed, begin, wait, end, are evicted or lost, as their script says.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::core::v1::{
        ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus, Pod, PodCondition,
        PodStatus,
    },
    apimachinery::pkg::apis::meta::v1::Time,
};
use kube::ResourceExt;

use super::{
    cluster::Cluster,
    job_controller::has_ended,
    script::{End, Life, OnTerm, Script, Start},
};
use crate::api::label;

/// A pod that has been given its part.
#[derive(Clone, Debug)]
pub struct Cast {
    pub run: String,
    pub life: Life,
    /// What the container was told of retries before it.
    pub retry: String,
    /// Since when it is being stopped. A deadline that was moved into the past counts from when the kubelet noticed.
    term: Option<Timestamp>,
}

/// The node.
#[derive(Clone, Debug)]
pub struct Kubelet {
    script: Script,
    /// By UID of the pod.
    cast: BTreeMap<String, Cast>,
    /// By run, as the container knows it.
    seen: BTreeMap<String, usize>,
}

impl Kubelet {
    pub fn new(script: Script) -> Self {
        Self { script, cast: BTreeMap::new(), seen: BTreeMap::new() }
    }

    pub fn cast(&self) -> impl Iterator<Item = &Cast> {
        self.cast.values()
    }

    pub fn sync(&mut self, cluster: &mut Cluster) {
        for pod in cluster.pods.all() {
            if has_ended(&pod) {
                continue;
            }
            let uid = pod.uid().unwrap_or_default();
            if !self.cast.contains_key(&uid) {
                let part = self.part(&pod);
                self.cast.insert(uid.clone(), part);
            }
            let Some(cast) = self.cast.get_mut(&uid) else { continue };
            let life = &cast.life;
            if let Some((reason, message)) = warning(life.start) {
                cluster.warn(&*pod, reason, message);
            }
            if life.evicted_at(&pod).is_some_and(|at| at <= cluster.now) && !disrupted(&pod) {
                evict(cluster, &pod);
                continue;
            }
            if cast.term.is_none() && stopping_since(&pod).is_some_and(|since| since <= cluster.now) {
                cast.term = Some(cluster.now);
            }
            let status = cast.status(&pod, cluster.now);
            let life = &cast.life;
            cluster.pods.edit(cluster.now, &pod.name_any(), |pod| {
                if life.start != Start::Unschedulable {
                    pod.spec.get_or_insert_default().node_name = Some("node-1".to_owned());
                }
                pod.status = Some(status);
            });
            if matches!(life.end, End::NodeLost { .. }) && cluster.pods.get(&pod.name_any()).is_some_and(|pod| has_ended(pod)) {
                cluster.delete_pod(&pod.name_any());
            }
        }
    }

    /// When something happens to a pod next.
    pub fn next(&self, cluster: &Cluster) -> Option<Timestamp> {
        let live = cluster.pods.iter().filter(|pod| !has_ended(pod));
        let cast = live.filter_map(|pod| Some((pod, self.cast.get(&pod.uid()?)?)));
        let times = cast.flat_map(|(pod, cast)| {
            [cast.life.begins(pod), cast.ends(pod).map(|(at, _)| at), cast.life.evicted_at(pod), stopping_since(pod)]
        });
        times.flatten().filter(|at| *at > cluster.now).min()
    }

    fn part(&mut self, pod: &Pod) -> Cast {
        let run = variable(pod, "NIGHTSHIFT_RUN");
        let nth = self.seen.entry(run.clone()).or_default();
        let life = self.script.life(&run, *nth).clone();
        *nth += 1;
        Cast { life, retry: variable(pod, "NIGHTSHIFT_RETRY"), run, term: None }
    }
}

/// A variable of the container main as it arrives there: written out, or by the downward API.
fn variable(pod: &Pod, name: &str) -> String {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let all = containers.filter(|container| container.name == "main").flat_map(|container| container.env.iter().flatten());
    let Some(found) = all.into_iter().find(|variable| variable.name == name) else { return String::new() };
    let path = found.value_from.as_ref().and_then(|from| Some(from.field_ref.as_ref()?.field_path.as_str()));
    match (&found.value, path) {
        (Some(value), _) => value.clone(),
        (None, Some(path)) if path.contains(label::JOB_NAME) => pod.labels().get(label::JOB_NAME).cloned().unwrap_or_default(),
        (None, Some(path)) if path.contains(label::FAILURE_COUNT) => {
            pod.annotations().get(label::FAILURE_COUNT).cloned().unwrap_or_default()
        }
        _ => String::new(),
    }
}

fn warning(start: Start) -> Option<(&'static str, &'static str)> {
    match start {
        Start::After(_) => None,
        Start::Unschedulable => Some(("FailedScheduling", "0/1 nodes are available: 1 Insufficient memory.")),
        Start::NoImage => Some(("Failed", "Failed to pull image \"registry/x:1\": not found")),
        Start::NoSecret => Some(("Failed", "Error: secret \"nosuch\" not found")),
        Start::NoMount => Some(("FailedMount", "MountVolume.SetUp failed for volume \"s\" : secret \"nosuch\" not found")),
    }
}

fn disrupted(pod: &Pod) -> bool {
    pod.status.iter().flat_map(|status| status.conditions.iter().flatten()).any(|condition| condition.type_ == "DisruptionTarget")
}

fn evict(cluster: &mut Cluster, pod: &Pod) {
    let name = pod.name_any();
    cluster.pods.edit(cluster.now, &name, |pod| {
        let condition = condition("DisruptionTarget", "True", "EvictionByEvictionAPI", "Eviction API: evicting");
        pod.status.get_or_insert_default().conditions.get_or_insert_default().push(condition);
    });
    cluster.delete_pod(&name);
}

fn condition(kind: &str, status: &str, reason: &str, message: &str) -> PodCondition {
    PodCondition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        ..PodCondition::default()
    }
}

fn after(time: Timestamp, seconds: i64) -> Timestamp {
    time + SignedDuration::from_secs(seconds)
}

fn grace(pod: &Pod) -> i64 {
    pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds).unwrap_or(30)
}

/// When the kubelet accepted the pod: its deadline counts from here.
fn accepted(pod: &Pod) -> Option<Timestamp> {
    Some(pod.status.as_ref()?.start_time.as_ref()?.0)
}

fn deadline(pod: &Pod) -> Option<Timestamp> {
    Some(after(accepted(pod)?, pod.spec.as_ref()?.active_deadline_seconds?))
}

fn deletion_asked(pod: &Pod) -> Option<Timestamp> {
    let by = pod.metadata.deletion_timestamp.as_ref()?.0;
    Some(after(by, -pod.metadata.deletion_grace_period_seconds.unwrap_or(0)))
}

/// When the container is to get SIGTERM: at its deadline or when its deletion was asked for.
fn stopping_since(pod: &Pod) -> Option<Timestamp> {
    deadline(pod).into_iter().chain(deletion_asked(pod)).min()
}

/// Why a container ends.
#[derive(Clone, Copy)]
enum Because {
    ItsOwn { code: i32, reason: &'static str },
    Term { code: i32 },
    LostNode,
}

impl Life {
    fn began(pod: &Pod) -> Option<Timestamp> {
        let containers = pod.status.as_ref()?.container_statuses.as_ref()?;
        Some(containers.first()?.state.as_ref()?.running.as_ref()?.started_at.as_ref()?.0)
    }

    fn begins(&self, pod: &Pod) -> Option<Timestamp> {
        let created = pod.metadata.creation_timestamp.as_ref()?.0;
        match self.start {
            Start::After(seconds) => Some(after(created, seconds)),
            _ => None,
        }
    }

    fn evicted_at(&self, pod: &Pod) -> Option<Timestamp> {
        match self.end {
            End::Evicted { after: seconds } => Some(after(Self::began(pod)?, seconds)),
            _ => None,
        }
    }

    fn waits(&self) -> (&'static str, Option<String>) {
        match self.start {
            Start::NoImage => ("ImagePullBackOff", Some("Back-off pulling image \"registry/x:1\"".to_owned())),
            Start::NoSecret => ("CreateContainerConfigError", Some("secret \"nosuch\" not found".to_owned())),
            _ => ("ContainerCreating", None),
        }
    }
}

impl Cast {
    /// When a pod that has begun ends, and why: by itself or by SIGTERM, whichever is first.
    fn ends(&self, pod: &Pod) -> Option<(Timestamp, Because)> {
        let began = Life::began(pod)?;
        let by_itself = match self.life.end {
            End::Exit { after: seconds, code } => {
                let reason = if code == 0 { "Completed" } else { "Error" };
                Some((after(began, seconds), Because::ItsOwn { code, reason }))
            }
            End::OutOfMemory { after: seconds } => Some((after(began, seconds), Because::ItsOwn { code: 137, reason: "OOMKilled" })),
            End::CannotStart => Some((began, Because::ItsOwn { code: 128, reason: "StartError" })),
            End::NodeLost { after: seconds } => Some((after(began, seconds), Because::LostNode)),
            End::Evicted { .. } | End::Never => None,
        };
        let by_term = self.term.map(|since| match self.life.on_term {
            OnTerm::Dies => (since, Because::Term { code: 143 }),
            OnTerm::Exits { after: seconds, code } if seconds < grace(pod) => (after(since, seconds), Because::Term { code }),
            OnTerm::Exits { .. } | OnTerm::Ignores => (after(since, grace(pod)), Because::Term { code: 137 }),
        });
        by_itself.into_iter().chain(by_term).min_by_key(|(at, _)| *at)
    }

    /// The pod's status at this time.
    fn status(&self, pod: &Pod, now: Timestamp) -> PodStatus {
        let mut status = pod.status.clone().unwrap_or_default();
        if self.life.start == Start::Unschedulable {
            if deletion_asked(pod).is_some() {
                status.phase = Some("Failed".to_owned());
            } else if status.conditions.is_none() {
                status.conditions =
                    Some(vec![condition("PodScheduled", "False", "Unschedulable", "0/1 nodes are available: 1 Insufficient memory.")]);
            }
            return status;
        }
        status.start_time.get_or_insert(Time(now));
        if Life::began(pod).is_none() {
            if self.term.is_some() {
                return never_began(pod, status, now);
            }
            if self.life.begins(pod).is_some_and(|begins| begins <= now) {
                status.phase = Some("Running".to_owned());
                let running = ContainerStateRunning { started_at: Some(Time(now)) };
                status.container_statuses = Some(main(ContainerState { running: Some(running), ..ContainerState::default() }));
            } else {
                let (reason, message) = self.life.waits();
                let waiting = ContainerStateWaiting { reason: Some(reason.to_owned()), message };
                status.container_statuses = Some(main(ContainerState { waiting: Some(waiting), ..ContainerState::default() }));
            }
            return status;
        }
        match self.ends(pod).filter(|(at, _)| *at <= now) {
            Some((_, because)) => ended(pod, status, because, now),
            None => status,
        }
    }
}

/// The kubelet makes up an end for a container that it never found.
fn never_began(pod: &Pod, mut status: PodStatus, now: Timestamp) -> PodStatus {
    status.phase = Some("Failed".to_owned());
    status.reason = by_deadline(pod, now);
    status.container_statuses = Some(main(ContainerState {
        terminated: Some(ContainerStateTerminated {
            exit_code: 137,
            reason: Some("ContainerStatusUnknown".to_owned()),
            message: Some("The container could not be located when the pod was terminated".to_owned()),
            ..ContainerStateTerminated::default()
        }),
        ..ContainerState::default()
    }));
    status
}

fn by_deadline(pod: &Pod, now: Timestamp) -> Option<String> {
    let first = deadline(pod).filter(|deadline| *deadline <= now)?;
    deletion_asked(pod).is_none_or(|asked| first <= asked).then(|| "DeadlineExceeded".to_owned())
}

fn ended(pod: &Pod, mut status: PodStatus, because: Because, now: Timestamp) -> PodStatus {
    let (code, reason) = match because {
        Because::ItsOwn { code, reason } => (code, reason),
        Because::Term { code: 0 } => (0, "Completed"),
        Because::Term { code } => (code, "Error"),
        Because::LostNode => {
            // Nobody is left there to say how the container ended.
            status.phase = Some("Failed".to_owned());
            let lost = condition("DisruptionTarget", "True", "DeletionByPodGC", "PodGC: node no longer exists");
            status.conditions.get_or_insert_default().push(lost);
            return status;
        }
    };
    // Also where the container ended by itself while it was being stopped.
    let by_deadline = by_deadline(pod, now).filter(|_| matches!(because, Because::Term { .. }) || deadline(pod).is_some_and(|at| at < now));
    // A pod that passed its deadline has failed, whatever its container answered.
    let phase = if code == 0 && by_deadline.is_none() { "Succeeded" } else { "Failed" };
    status.phase = Some(phase.to_owned());
    status.reason = by_deadline;
    let started = if reason == "StartError" { Timestamp::UNIX_EPOCH } else { Life::began(pod).unwrap_or(now) };
    let message = match reason {
        "Completed" => "{\"rows\":7}",
        "StartError" => "exec: \"nosuch\": executable file not found in $PATH",
        "OOMKilled" => "",
        _ => "bye",
    };
    status.container_statuses = Some(main(ContainerState {
        terminated: Some(ContainerStateTerminated {
            exit_code: code,
            reason: Some(reason.to_owned()),
            message: Some(message.to_owned()),
            started_at: Some(Time(started)),
            finished_at: Some(Time(now)),
            ..ContainerStateTerminated::default()
        }),
        ..ContainerState::default()
    }));
    status
}

fn main(state: ContainerState) -> Vec<ContainerStatus> {
    vec![ContainerStatus { name: "main".to_owned(), state: Some(state), ..ContainerStatus::default() }]
}
