//! The attempts of a run: what is on record already, and what the pods say now.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::Value;

use super::{ContainerSeen, JobEnd, JobSeen, PodPhase, PodSeen, classify, reason};
use crate::api::{Attempt, AttemptClass};

/// How many attempts a status keeps; older ones are only counted.
const KEPT: usize = 20;

/// Returns the attempts of a run, oldest first: those on record in `before`, brought up to date by the pods of `jobs`.
///
/// An attempt whose end is on record with its exit code never changes: the pod may since have gone. One on record without
/// a code gives way to a later view that has it. One whose pod went before its end was seen says `PodGone`, and so does
/// each that the Job controller counted but whose pod nobody saw. What is older than a full record was on it once, and
/// does not come back.
#[must_use]
pub fn record(before: &[Attempt], jobs: &[JobSeen]) -> Vec<Attempt> {
    let mut attempts: Vec<Attempt> = before.to_vec();
    let full_since = before.iter().filter(|_| before.len() >= KEPT).find_map(|a| a.start_time.as_ref()).map(|time| time.0);
    let forgotten = |created: Timestamp| full_since.is_some_and(|since| created < since);
    for job in jobs {
        // The entry without a pod stands for a Job whose pod was not there yet.
        attempts.retain(|a| !(a.job == job.name && a.pod.is_none() && a.class.is_none()));
        let on_record = attempts.iter().filter(|a| a.job == job.name).count();
        // A pod that has not begun is none yet: its steps to that point pass faster than it pays to write them down.
        for pod in job.pods.iter().filter(|pod| pod.begun || !pod.is_live()) {
            let now = attempt(job, pod);
            match attempts.iter_mut().find(|a| a.job == job.name && a.pod.as_deref() == Some(&pod.name)) {
                Some(known) if known.class.is_some() && (known.exit_code.is_some() || now.exit_code.is_none()) => {}
                Some(known) => *known = now,
                None if forgotten(pod.created) => {}
                None => attempts.push(now),
            }
        }
        let counted = attempts.iter().filter(|a| a.job == job.name && a.class.is_some_and(|c| c != AttemptClass::Disrupted)).count();
        let expected = usize::try_from(job.counted).unwrap_or(0);
        if job.end.is_some() && counted < expected && !forgotten(job.created) {
            let unseen = attempts.iter().filter(|a| a.job == job.name && a.pod.is_some() && a.class.is_none()).count();
            // Those that we saw begin are marked below; only the rest is unseen altogether.
            // The Job's own deadline takes the last pod away, and leaves those that had failed before.
            let last_went = matches!(&job.end, Some(JobEnd::Failed { reason, .. }) if reason == "DeadlineExceeded");
            for _ in 0..(expected - counted).saturating_sub(unseen) {
                // What is on record was seen in time, so it is older; the pods that are left are the latest.
                let of_job = |n: &usize| attempts[*n].job == job.name;
                let newer = (0..attempts.len()).filter(of_job).nth(on_record).filter(|_| !last_went);
                let place = newer.or_else(|| (0..attempts.len()).rfind(of_job).map(|n| n + 1)).unwrap_or(attempts.len());
                attempts.insert(place, gone(&job.name, None));
            }
        }
        if job.end.is_none() && !attempts.iter().any(|a| a.job == job.name) {
            attempts.push(Attempt { job: job.name.clone(), ..Attempt::default() });
        }
    }
    for attempt in attempts.iter_mut().filter(|a| a.class.is_none()) {
        let job = jobs.iter().find(|job| job.name == attempt.job);
        let present = job.is_some_and(|job| {
            job.pods.iter().any(|pod| Some(&pod.name) == attempt.pod.as_ref()) || (attempt.pod.is_none() && job.end.is_none())
        });
        if !present {
            let known = std::mem::take(attempt);
            *attempt = Attempt { node: known.node, start_time: known.start_time, ..gone(&known.job, known.pod) };
        }
    }
    attempts
}

fn gone(job: &str, pod: Option<String>) -> Attempt {
    Attempt {
        job: job.to_owned(),
        pod,
        class: Some(AttemptClass::PodGone),
        reason: Some(reason::POD_GONE.to_owned()),
        message: Some("the pod was gone before its end was seen: exit code and log are not known".to_owned()),
        ..Attempt::default()
    }
}

fn attempt(job: &JobSeen, pod: &PodSeen) -> Attempt {
    let contract = job.contract.clone().unwrap_or_default();
    let ended = classify(pod, &contract.exit_codes, job.stopped);
    let (start_time, finish_time, exit_code, log_tail) = match &pod.main {
        Some(ContainerSeen::Running { since }) => (Some(*since), None, None, None),
        Some(ContainerSeen::Terminated { code, started, finished, message, .. }) => {
            let tail = (pod.phase == PodPhase::Failed && !message.is_empty() && object(message).is_none()).then(|| cut(message, 4096));
            // Kubernetes gives the epoch for a container that never started.
            let started = started.filter(|t| t.as_second() > 0);
            (started, finished.filter(|t| t.as_second() > 0), Some(*code), tail)
        }
        _ => (None, None, None, None),
    };
    // A container that was never found has no code of its own: what stands there is made up by the kubelet.
    let exit_code = exit_code.filter(|_| {
        start_time.is_some() || !matches!(&pod.main, Some(ContainerSeen::Terminated { reason, .. }) if reason == "ContainerStatusUnknown")
    });
    Attempt {
        job: job.name.clone(),
        pod: Some(pod.name.clone()),
        node: pod.node.clone(),
        start_time: start_time.map(Time),
        finish_time: finish_time.map(Time),
        exit_code,
        class: ended.as_ref().map(|e| e.class),
        reason: ended.as_ref().map(|e| cut(&e.reason, 128)),
        message: ended.map(|e| cut(&e.message, 1024)),
        log_tail,
    }
}

/// What the last pod of the last Job wrote as a JSON object; where it wrote something else on success, why that is not kept.
#[must_use]
pub fn outputs(job: &JobSeen) -> (Option<Value>, Option<&'static str>) {
    let Some(pod) = job.pods.iter().rev().find(|pod| !pod.is_live()) else { return (None, None) };
    match &pod.main {
        Some(ContainerSeen::Terminated { message, .. }) if !message.trim().is_empty() => match object(message) {
            Some(value) => (Some(value), None),
            None if pod.phase == PodPhase::Succeeded => (
                None,
                Some("the termination message is kept as outputs only where it is a JSON object of at most 4096 bytes; this one is not"),
            ),
            None => (None, None),
        },
        _ => (None, None),
    }
}

fn object(text: &str) -> Option<Value> {
    serde_json::from_str(text).ok().filter(Value::is_object)
}

/// At most `max` characters, for the limits of the CRD.
#[must_use]
pub(crate) fn cut(text: &str, max: usize) -> String {
    if text.chars().count() <= max {
        return text.to_owned();
    }
    text.chars().take(max - 1).chain(['…']).collect()
}
