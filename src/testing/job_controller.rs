//! Kubernetes' Job controller, for Jobs as we render them: Indexed, one completion, `backoffLimitPerIndex`, a pod failure
//! policy, and pods that are replaced only once they have failed.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::{
        batch::v1::{Job, JobCondition, JobStatus, PodFailurePolicyRule},
        core::v1::Pod,
    },
    apimachinery::pkg::apis::meta::v1::Time,
};
use kube::ResourceExt;
use serde_json::json;

use super::{NAMESPACE, cluster::Cluster};
use crate::api::label;

/// What it remembers of a Job beside the Job's own status.
#[derive(Clone, Debug, Default)]
struct Progress {
    /// Pods whose end it has taken into account.
    counted: Vec<String>,
    ignored: i32,
    /// Pods made, for their names.
    made: u32,
    /// No new pod before this time.
    wait_until: Option<Timestamp>,
}

/// The controller, with its memory.
#[derive(Clone, Debug, Default)]
pub struct JobController {
    progress: BTreeMap<String, Progress>,
}

/// What a rule of the pod failure policy makes of a failed pod.
enum Verdict {
    Ignore,
    Count,
    FailJob(String),
}

pub fn is_finished(job: &Job) -> bool {
    condition(job.status.as_ref(), "Complete").is_some() || condition(job.status.as_ref(), "Failed").is_some()
}

pub fn has_ended(pod: &Pod) -> bool {
    matches!(pod.status.as_ref().and_then(|status| status.phase.as_deref()), Some("Succeeded" | "Failed"))
}

fn condition<'a>(status: Option<&'a JobStatus>, kind: &str) -> Option<&'a JobCondition> {
    status?.conditions.iter().flatten().find(|condition| condition.type_ == kind)
}

fn set(status: &mut JobStatus, kind: &str, (reason, message): (&str, &str), now: Timestamp) {
    status.conditions.get_or_insert_default().push(JobCondition {
        type_: kind.to_owned(),
        status: "True".to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_transition_time: Some(Time(now)),
        ..JobCondition::default()
    });
}

fn deadline(job: &Job) -> Option<Timestamp> {
    let seconds = job.spec.as_ref()?.active_deadline_seconds?;
    Some(job.status.as_ref()?.start_time.as_ref()?.0 + SignedDuration::from_secs(seconds))
}

impl JobController {
    pub fn sync(&mut self, cluster: &mut Cluster) {
        for job in cluster.jobs.all() {
            self.sync_job(cluster, &job);
        }
        // Pods whose Job is gone have nobody left who counts them.
        for pod in cluster.pods.all() {
            let job = pod.labels().get(label::CONTROLLER_UID).and_then(|uid| cluster.jobs.by_uid(uid));
            if job.is_none() && has_ended(&pod) {
                cluster.pods.remove(cluster.now, &pod.name_any());
            }
        }
    }

    /// When it has something to do by itself.
    pub fn next(&self, cluster: &Cluster) -> Option<Timestamp> {
        let unfinished = cluster.jobs.iter().filter(|job| !is_finished(job));
        let due = unfinished.flat_map(|job| {
            let waits = self.progress.get(&job.uid().unwrap_or_default()).and_then(|progress| progress.wait_until);
            [deadline(job), waits]
        });
        due.flatten().filter(|due| *due > cluster.now).min()
    }

    fn sync_job(&mut self, cluster: &mut Cluster, job: &Job) {
        let now = cluster.now;
        let uid = job.uid().unwrap_or_default();
        let progress = self.progress.entry(uid.clone()).or_default();
        let mut status = job.status.clone().unwrap_or_default();
        let finished = is_finished(job);
        if job.spec.as_ref().and_then(|spec| spec.suspend) != Some(true) {
            status.start_time.get_or_insert(Time(now));
        }
        let pods: Vec<_> = cluster.pods.all().into_iter().filter(|pod| pod.labels().get(label::CONTROLLER_UID) == Some(&uid)).collect();
        let mut fails = None;
        for pod in pods.iter().filter(|pod| has_ended(pod)) {
            let name = pod.name_any();
            if !finished && !progress.counted.contains(&name) {
                progress.counted.push(name.clone());
                count(job, pod, &mut status, progress, &mut fails);
            }
            // Its finalizer held it until it was counted.
            if pod.metadata.deletion_timestamp.is_some() {
                cluster.pods.remove(now, &name);
            }
        }
        if finished {
            return;
        }
        let live: Vec<String> = pods.iter().filter(|pod| !has_ended(pod)).map(|pod| pod.name_any()).collect();
        let spec = job.spec.clone().unwrap_or_default();
        if spec.suspend == Some(true)
            && fails.is_none()
            && condition(Some(&status), "FailureTarget").is_none()
            && status.succeeded.is_none()
        {
            for pod in &live {
                cluster.delete_pod(pod);
            }
            // Pods that go for this are no failures.
            progress.counted.extend(live);
            // Its time counts anew once it is resumed.
            status.start_time = None;
            cluster.jobs.edit(now, &job.name_any(), |job| job.status = Some(status));
            return;
        }
        if condition(Some(&status), "FailureTarget").is_none()
            && status.succeeded.is_none()
            && let Some((reason, message)) = fails.or_else(|| over(job, &status, now))
        {
            set(&mut status, "FailureTarget", (reason, &message), now);
        }
        if let Some(target) = condition(Some(&status), "FailureTarget").cloned() {
            for pod in &live {
                cluster.delete_pod(pod);
            }
            if live.is_empty() {
                let why = (target.reason.as_deref().unwrap_or_default(), target.message.as_deref().unwrap_or_default());
                set(&mut status, "Failed", why, now);
            }
        } else if status.succeeded.is_some() {
            if live.is_empty() {
                set(&mut status, "Complete", ("CompletionsReached", "Reached expected number of succeeded pods"), now);
                status.completion_time = Some(Time(now));
            }
        } else if spec.parallelism != Some(0) && live.is_empty() && progress.wait_until.is_none_or(|until| until <= now) {
            make_pod(cluster, job, &status, progress);
        }
        cluster.jobs.edit(now, &job.name_any(), |job| job.status = Some(status));
    }
}

/// Takes the end of a pod into account.
fn count(job: &Job, pod: &Pod, status: &mut JobStatus, progress: &mut Progress, fails: &mut Option<(&'static str, String)>) {
    if pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Succeeded") {
        status.succeeded = Some(1);
        return;
    }
    match verdict(job, pod) {
        Verdict::Ignore => progress.ignored += 1,
        Verdict::Count => status.failed = Some(status.failed.unwrap_or(0) + 1),
        Verdict::FailJob(message) => {
            status.failed = Some(status.failed.unwrap_or(0) + 1);
            *fails = Some(("PodFailurePolicy", message));
        }
    }
    let ends = status.failed.unwrap_or(0) + progress.ignored;
    let wait = (1..ends).fold(10, |wait: i64, _| (wait * 2).min(360));
    // Counted from the pod's end, which is when it is seen here.
    progress.wait_until = terminated(pod).and_then(|(_, finished)| finished).map(|finished| finished + SignedDuration::from_secs(wait));
}

/// Exit code of the container main, and when it ended.
fn terminated(pod: &Pod) -> Option<(i32, Option<Timestamp>)> {
    let containers = pod.status.as_ref()?.container_statuses.as_ref()?;
    let ended = containers.iter().find(|container| container.name == "main")?.state.as_ref()?.terminated.as_ref()?;
    Some((ended.exit_code, ended.finished_at.as_ref().map(|time| time.0)))
}

fn verdict(job: &Job, pod: &Pod) -> Verdict {
    let policy = job.spec.as_ref().and_then(|spec| spec.pod_failure_policy.as_ref());
    let rules = policy.map(|policy| policy.rules.as_slice()).unwrap_or_default();
    let Some((index, rule)) = rules.iter().enumerate().find(|(_, rule)| matches(rule, pod)) else { return Verdict::Count };
    if rule.action == "Ignore" {
        return Verdict::Ignore;
    }
    let code = terminated(pod).map_or(0, |(code, _)| code);
    Verdict::FailJob(format!(
        "Container main for pod {NAMESPACE}/{} failed with exit code {code} matching FailJob rule at index {index}",
        pod.name_any()
    ))
}

fn matches(rule: &PodFailurePolicyRule, pod: &Pod) -> bool {
    let has =
        |kind: &str| pod.status.iter().flat_map(|status| status.conditions.iter().flatten()).any(|c| c.type_ == kind && c.status == "True");
    if rule.on_pod_conditions.iter().flatten().any(|pattern| has(&pattern.type_)) {
        return true;
    }
    // 0 never matches: a container that ended well did not fail the pod.
    let code = terminated(pod).map(|(code, _)| code).filter(|code| *code != 0);
    rule.on_exit_codes.as_ref().zip(code).is_some_and(|(rule, code)| rule.values.contains(&code) == (rule.operator == "In"))
}

/// Why the Job is over though no rule of the policy failed it.
fn over(job: &Job, status: &JobStatus, now: Timestamp) -> Option<(&'static str, String)> {
    let spec = job.spec.as_ref()?;
    let failed = status.failed.unwrap_or(0);
    if spec.backoff_limit.is_some_and(|limit| failed > limit) {
        return Some(("BackoffLimitExceeded", "Job has reached the specified backoff limit".to_owned()));
    }
    if deadline(job).is_some_and(|deadline| deadline <= now) {
        return Some(("DeadlineExceeded", "Job was active longer than specified deadline".to_owned()));
    }
    (failed > spec.backoff_limit_per_index.unwrap_or(0)).then(|| ("FailedIndexes", "Job has failed indexes".to_owned()))
}

fn make_pod(cluster: &mut Cluster, job: &Job, status: &JobStatus, progress: &mut Progress) {
    if cluster.pods_refused {
        cluster.warn(job, "FailedCreate", "Error creating: pods \"x\" is forbidden: violates PodSecurity \"restricted:latest\"");
        progress.wait_until = Some(cluster.now + SignedDuration::from_secs(10));
        return;
    }
    let template = json!(job.spec.as_ref().map(|spec| &spec.template));
    let (name, uid) = (job.name_any(), job.uid().unwrap_or_default());
    let mut pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": template["metadata"], "spec": template["spec"] });
    progress.made += 1;
    pod["metadata"]["name"] = json!(format!("{name}-0-p{}", progress.made));
    pod["metadata"]["labels"][label::JOB_NAME] = json!(name);
    pod["metadata"]["labels"][label::CONTROLLER_UID] = json!(uid);
    pod["metadata"]["annotations"][label::FAILURE_COUNT] = json!(status.failed.unwrap_or(0).to_string());
    pod["metadata"]["ownerReferences"] = json!([{ "apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": uid, "controller": true }]);
    pod["status"] = json!({ "phase": "Pending" });
    progress.wait_until = None;
    if let Ok(pod) = serde_json::from_value(pod) {
        // The name is new, since the count is in it.
        drop(cluster.pods.create(cluster.now, pod));
    }
}
