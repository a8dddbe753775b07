//! A Job that has ended, or is gone: try again, wait to, or conclude.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::adopt;
use super::start::refused_job;
use super::{Draft, End, Seen, after, cancel_reason, cancelled, run_started, terms};
use crate::{
    api::{Attempt, AttemptClass, AutomationRunStatus, ConcurrencyPolicy, Outcome, Waiting},
    build,
    outcome::{self, JobSeen, reason},
    plan::Change,
    retry,
    schedule::Schedule,
};

/// How long after its pod's grace period a container that was stopped is waited for, to tell its exit code.
const TELL_SECONDS: i64 = 10;

/// The last Job has ended: try again, wait to, or conclude.
pub(super) fn after_job(seen: &Seen, job: &JobSeen, before: &AutomationRunStatus, now: Timestamp) -> Draft {
    let contract = terms(seen);
    let told_by = after(job.end_time(), contract.grace_seconds + TELL_SECONDS);
    // Of a container that went with its node nobody will tell.
    if now < told_by && job.pods.iter().any(|pod| pod.is_ending() && pod.disruption.is_none()) {
        return Draft { changes: adopt(seen, job), wake: Some(told_by), ..Draft::default() };
    }
    let attempts = outcome::record(&before.attempts, &seen.jobs);
    let last = last_of(&attempts, &job.name);
    let waited = told_wait(seen, job, before);
    let waited = waited.as_ref().map(|(reason, message)| (reason.as_str(), message.as_str()));
    let Some(conclusion) = outcome::conclude(job, last, waited, &contract) else { return Draft::default() };
    let run_started = run_started(seen, before, job);
    let run_deadline = after(run_started, contract.run_seconds);
    let uid = seen.run.metadata.uid.clone().unwrap_or_default();
    let mut changes = adopt(seen, job);
    let mut end = End { outcome: conclusion.outcome, reason: conclusion.reason, message: conclusion.message, at: Some(job.end_time()) };
    if end.reason == reason::CANCELLED {
        let (why, words) = cancel_reason(seen);
        (end.reason, end.message) = (why.to_owned(), if why == reason::REPLACED { words } else { end.message });
    }
    let next = retry::decide(retry::Failed {
        class: conclusion.class,
        attempt: job.attempt,
        ended: job.end_time(),
        run_deadline,
        contract: &contract,
        seed: &uid,
    });
    match next {
        retry::Next::At(_) if cancelled(seen) => {
            let (why, words) = cancel_reason(seen);
            let message = format!("{words} while it waited to be tried again; the last attempt: {}", end.message);
            end = End { outcome: Outcome::Cancelled, reason: why.to_owned(), message, at: Some(now) };
        }
        retry::Next::At(due) => return try_again(seen, job, changes, &end.message, (due, run_deadline), now),
        retry::Next::Nothing(Some(why)) => end.message = format!("{}; {why}", end.message),
        retry::Next::Nothing(None) => {
            let (limit, class) = (contract.retry.limit.unwrap_or(0), conclusion.class);
            if limit > 0 && matches!(class, AttemptClass::Retryable | AttemptClass::TimedOut) && !contract.operator_makes_attempts() {
                end.message = format!("{}; the Job made no further attempt (retry.limit {limit})", end.message);
            }
        }
    }
    if let (_, Some(note)) = outcome::outputs(job) {
        end.message = format!("{}; {note}", end.message);
    }
    changes.retain(|_| !job.deleting);
    Draft { changes, end: Some(end), ..Draft::default() }
}

fn try_again(
    seen: &Seen,
    job: &JobSeen,
    mut changes: Vec<Change>,
    failure: &str,
    (due, deadline): (Timestamp, Timestamp),
    now: Timestamp,
) -> Draft {
    let attempt = job.attempt + 1;
    let run_name = seen.run.metadata.name.as_deref().unwrap_or_default();
    let name = build::job_name(run_name, attempt);
    if let Some(refused) = seen.refusals.iter().find(|r| r.name == name) {
        let until = after(due, terms(seen).pending_seconds).min(deadline);
        return Draft { changes, ..refused_job(refused, until, now) };
    }
    if now < due {
        let waiting = Waiting {
            reason: reason::BACKOFF.to_owned(),
            message: outcome::cut(&format!("attempt {} failed ({failure}); the next one is due", job.attempt), 2048),
            until: Some(Time(due)),
        };
        return Draft { changes, waiting: Some(waiting), wake: Some(due), ..Draft::default() };
    }
    let left = deadline.as_second() - now.as_second();
    let frozen = seen.first_job.as_ref().and_then(|first| build::next_job(first, &seen.run, attempt, left));
    let Some(object) = frozen.filter(|_| left > 0) else {
        let (outcome, reason) = if left > 0 { (Outcome::Failed, reason::JOB_GONE) } else { (Outcome::TimedOut, reason::RUN_TIMEOUT) };
        let message = format!(
            "{failure}; it could not be tried again: {}",
            if left > 0 { "the definition it started with is gone with its first Job" } else { "timeouts.runSeconds has passed" }
        );
        return Draft { changes, ..Draft::end(outcome, reason, message) };
    };
    changes.push(Change::CreateJob { name, run_uid: seen.run.metadata.uid.clone().unwrap_or_default(), object });
    let (reason, message) = outcome::starting();
    let waiting = Waiting { reason: reason.to_owned(), message: message.to_owned(), until: Some(Time(deadline)) };
    Draft { changes, waiting: Some(waiting), hold: true, ..Draft::default() }
}

/// The last attempt of a Job that says how it went: not one that the cluster took away.
fn last_of<'a>(attempts: &'a [Attempt], job: &str) -> Option<&'a Attempt> {
    attempts.iter().rev().find(|a| a.job == job && a.class.is_some_and(|c| c != AttemptClass::Disrupted))
}

/// What the Job was seen to wait on: from the record or, where it ended unseen, from Events.
fn told_wait(seen: &Seen, job: &JobSeen, before: &AutomationRunStatus) -> Option<(String, String)> {
    let generic = outcome::starting().0;
    let recorded = before.waiting_on.as_ref().filter(|w| ![generic, reason::BACKOFF, reason::QUEUED].contains(&w.reason.as_str()));
    if let Some(waiting) = recorded {
        return Some((waiting.reason.clone(), waiting.message.clone()));
    }
    let told = outcome::waited(job, &seen.troubles);
    told.filter(|(reason, _)| reason != generic)
}

/// A Job that was there is not there any more.
pub(super) fn job_gone(seen: &Seen, now: Timestamp) -> Draft {
    if cancelled(seen) {
        let (why, words) = cancel_reason(seen);
        return Draft::end(Outcome::Cancelled, why, format!("{words}, and the Job is gone"));
    }
    if let Some(slot) = replaced_by(seen, now) {
        let message = format!(
            "the slot of {slot} came while it went on, and concurrencyPolicy Replace stopped it; exit code and log went with its pod"
        );
        return Draft::end(Outcome::Cancelled, reason::REPLACED, message);
    }
    let message =
        "its Job was deleted before its end was seen: nobody can know how it went; create another AutomationRun to run it again".to_owned();
    Draft::end(Outcome::Unknown, reason::JOB_GONE, message)
}

/// The later slot for which the CronJob controller took the Job away, under Replace.
fn replaced_by(seen: &Seen, now: Timestamp) -> Option<Timestamp> {
    let schedule = seen.task.as_ref()?.spec.schedule.as_ref()?;
    let slot = seen.run.spec.slot()?;
    let meta = &seen.run.metadata;
    let parsed = Schedule::parse(schedule, meta.namespace.as_deref()?, seen.run.spec.task_name()).ok()?;
    let replaces = schedule.policy() == ConcurrencyPolicy::Replace;
    parsed.next(slot).filter(|next| replaces && *next <= now)
}
