//! A Job that goes on: leave it alone, stop it in time, see a stop through, say what it waits on.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::adopt;
use super::{Draft, Seen, after, cancelled, run_started, terms};
use crate::{
    api::{AttemptClass, AutomationRunStatus, Waiting},
    outcome::{self, JobSeen, PodPhase, PodSeen, StopReason},
    plan::Change,
};

/// How long before `runSeconds` the operator begins to stop a run, so as to be there before Kubernetes, which would
/// take the pod and its evidence away.
const LEAD: SignedDuration = SignedDuration::from_secs(2);
/// How soon to look again at what may change without a sign.
const LOOK_AGAIN_SECONDS: i64 = 30;
/// How far behind it moves Kubernetes' own deadline while it stops the run itself. It still bounds a stop that hangs.
const STOP_MARGIN_SECONDS: i64 = 60;

/// A Job that has not ended: leave it alone, stop it, or see a stop through.
pub(super) fn during_job(seen: &Seen, job: &JobSeen, before: &AutomationRunStatus, now: Timestamp) -> Draft {
    let contract = terms(seen);
    let mut draft = Draft { changes: adopt(seen, job), ..Draft::default() };
    let run_started = run_started(seen, before, job);
    let run_deadline = after(run_started, contract.run_seconds);
    let live: Vec<_> = job.pods.iter().filter(|pod| pod.is_live()).collect();
    let begun = live.iter().any(|pod| pod.begun);
    // Its pods may have gone from view: what is on record, or counted, has been.
    let ran = job.counted > 0 || before.attempts.iter().any(|a| a.job == job.name && a.pod.is_some());
    let between = live.is_empty() && (ran || !job.pods.is_empty());
    if between && job.suspended && job.stopped.is_none() {
        let (reason, message) = outcome::waiting(job, &[]);
        draft.waiting = Some(Waiting { reason, message, until: Some(Time(run_deadline)) });
    } else if between && job.stopped.is_none() {
        between_pods(seen, job, before, &mut draft, now);
    } else if !begun {
        let pending_since = live.last().map_or(job.created, |pod| pod.created);
        let pending_until = after(pending_since, contract.pending_seconds);
        let (reason, message) = steady(outcome::waiting(job, &seen.troubles), before.waiting_on.as_ref());
        draft.waiting = Some(Waiting { reason, message, until: Some(Time(pending_until.min(run_deadline))) });
        draft.wake = Some(pending_until);
        if job.stopped.is_none() && now >= pending_until {
            draft.changes.push(stop(job, StopReason::PendingTimeout, 1));
            draft.wake = None;
            return draft;
        }
        // Why a pod does not start may be told by Events alone, and those wake nobody: look at doubling intervals.
        let waited = (now.as_second() - pending_since.as_second()).clamp(2, 60);
        draft.wake = Some(pending_until.min(after(now, waited)));
    }
    if job.stopped.is_some() {
        draft.wake = None;
        for pod in live.iter().filter(|pod| pod.begun && pod.accepted.is_some() && pod.deadline_seconds != Some(1)) {
            draft.changes.push(Change::EndPod { name: pod.name.clone(), uid: pod.uid.clone() });
        }
        let leftover = !begun && (!live.is_empty() || job.pods.is_empty());
        // Whoever suspended it may do so again: as long as it is, it does not end. Not at once, or two would fight.
        let held = job.suspended && live.is_empty();
        let again = job.suspended_at.is_none_or(|at| now >= after(at, LOOK_AGAIN_SECONDS));
        draft.wake = held.then(|| after(now, LOOK_AGAIN_SECONDS));
        if (leftover && job.deadline_seconds != Some(1) || held && again)
            && let Some(reason) = job.stopped
        {
            draft.changes.push(stop(job, reason, 1));
        }
        return draft;
    }
    let lead = if contract.run_seconds > 10 { LEAD } else { SignedDuration::from_secs(0) };
    let stop_at = run_deadline.checked_sub(lead).unwrap_or(run_deadline);
    let why = if cancelled(seen) {
        Some(StopReason::Cancelled)
    } else if now >= stop_at {
        Some(StopReason::RunTimeout)
    } else {
        draft.wake = Some(draft.wake.map_or(stop_at, |wake| wake.min(stop_at)));
        None
    };
    if let Some(why) = why {
        let since = now.as_second() - job.created.as_second();
        let deadline = if begun { since + contract.grace_seconds + STOP_MARGIN_SECONDS } else { 1 };
        draft.changes.push(stop(job, why, deadline));
        for pod in live.iter().filter(|pod| pod.begun && pod.accepted.is_some()) {
            draft.changes.push(Change::EndPod { name: pod.name.clone(), uid: pod.uid.clone() });
        }
        draft.wake = None;
    }
    draft
}

/// All pods of the Job have ended and it has not: either the Job controller makes another, or it is about to say how it ended.
fn between_pods(seen: &Seen, job: &JobSeen, before: &AutomationRunStatus, draft: &mut Draft, now: Timestamp) {
    let attempts = outcome::record(&before.attempts, &seen.jobs);
    let last = attempts.iter().rev().find(|a| a.job == job.name);
    let failures = attempts.iter().filter(|a| a.job == job.name && a.class.is_some_and(|c| c != AttemptClass::Disrupted)).count();
    let contract = terms(seen);
    let limit = if contract.operator_makes_attempts() { 0 } else { contract.retry.limit.unwrap_or(0) };
    let another = match last.and_then(|a| a.class) {
        Some(AttemptClass::Disrupted) => true,
        Some(AttemptClass::Retryable | AttemptClass::TimedOut | AttemptClass::PodGone) => {
            i64::try_from(failures).unwrap_or(0) <= i64::from(limit)
        }
        _ => false,
    };
    if !another {
        draft.hold = true;
        if job.pods.is_empty() {
            // The Job's watch has told that its pod ended before that of the pods has told that there was one.
            let (reason, message) = outcome::starting();
            draft.waiting = Some(Waiting { reason: reason.to_owned(), message: message.to_owned(), until: None });
        }
        return;
    }
    let failure = last.and_then(|a| a.message.as_deref()).unwrap_or("it ended");
    let message =
        outcome::cut(&format!("attempt {} ended ({failure}); Kubernetes' Job controller tries again by itself", attempts.len()), 2048);
    draft.waiting = Some(Waiting { reason: outcome::reason::BACKOFF.to_owned(), message, until: None });
    // That the next pod does not start may be told by nothing.
    draft.wake = Some(after(now, LOOK_AGAIN_SECONDS));
}

fn stop(job: &JobSeen, reason: StopReason, deadline_seconds: i64) -> Change {
    // The Job controller counts a failed pod only when it has made the next one, so for a moment its pods tell more.
    let counts = |pod: &&PodSeen| pod.phase == PodPhase::Failed && pod.disruption.is_none() && pod.delete_requested.is_none();
    let failed = job.pods.iter().filter(counts).count();
    Change::StopJob {
        name: job.name.clone(),
        uid: job.uid.clone(),
        reason,
        backoff_limit: job.counted.max(i32::try_from(failed).unwrap_or(0)),
        deadline_seconds,
        suspended: job.suspended,
    }
}

/// Keeps what was told first for the same reason: the kubelet words one trouble in several ways, in turn.
fn steady((reason, message): (String, String), before: Option<&Waiting>) -> (String, String) {
    let generic = outcome::starting().0;
    match before {
        Some(known) if known.reason == reason => (known.reason.clone(), known.message.clone()),
        // A known trouble is not forgotten because one look in between said nothing.
        Some(known)
            if reason == generic && ![generic, outcome::reason::BACKOFF, outcome::reason::QUEUED].contains(&known.reason.as_str()) =>
        {
            (known.reason.clone(), known.message.clone())
        }
        _ => (reason, outcome::cut(&message, 2048)),
    }
}
