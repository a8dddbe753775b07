//! The status of a run, from what was seen and what a step decided, and what of it is worth an Event.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{Draft, Seen, after, created};
use crate::{
    api::{
        Attempt, AutomationRunStatus, Outcome, Phase,
        condition::{self, Set, Status},
        label,
    },
    outcome::{self, PodSeen, reason},
    plan::{Notice, Plan, identity::identity, standing},
};

/// How long a container has run when it is told that it runs.
const TELL_RUNNING_SECONDS: i64 = 3;
/// How old a Job is when it is told that nothing keeps it from starting, and that it has not started.
const TELL_STARTING_SECONDS: i64 = 10;

impl Draft {
    pub(super) fn into_plan(self, seen: &Seen, before: &AutomationRunStatus, now: Timestamp) -> Plan<AutomationRunStatus> {
        let told = before.observed_generation.is_some();
        if self.hold && self.end.is_none() && (told || !self.changes.is_empty()) {
            return Plan { changes: self.changes, wake: self.wake, ..Plan::nothing(before.clone()) };
        }
        let generation = seen.run.metadata.generation;
        let merged = outcome::record(&before.attempts, &seen.jobs);
        // A Job whose pod has not begun stands in the list, to be known again, but is no attempt yet.
        let begun = |attempts: &[Attempt]| attempts.iter().filter(|a| a.pod.is_some() || a.class.is_some()).count();
        let number = |attempts: &[Attempt]| i32::try_from(begun(attempts)).unwrap_or(i32::MAX);
        let forgotten = before.attempt_count.unwrap_or(0) - number(&before.attempts);
        let count = forgotten + number(&merged);
        let attempts = merged[merged.len().saturating_sub(20)..].to_vec();
        let start = before.start_time.clone().or_else(|| seen.jobs.first().map(|job| Time(job.created)));
        let finished = self.end.is_some();
        let running =
            seen.jobs.iter().any(|job| job.pods.iter().any(|pod| pod.begun || !pod.is_live())) || before.phase == Some(Phase::Running);
        let last_job = seen.jobs.last();
        let phase = match (finished, running) {
            (true, _) => Phase::Finished,
            (false, true) => Phase::Running,
            (false, false) if self.waiting.as_ref().is_some_and(|waiting| waiting.reason == reason::QUEUED) => Phase::Queued,
            (false, false) => Phase::Pending,
        };
        let (reason, message) = match (&self.end, &self.waiting) {
            (Some(end), _) => (end.reason.clone(), end.message.clone()),
            (None, Some(waiting)) => (waiting.reason.clone(), waiting.message.clone()),
            (None, None) => match last_job.and_then(|job| job.stopped) {
                Some(stop) => ("Stopping".to_owned(), format!("being stopped: {}", stop.as_str())),
                None => ("Running".to_owned(), format!("attempt {} runs", count.max(1))),
            },
        };
        let completion = self.end.as_ref().map(|end| {
            let earliest = start.as_ref().map_or_else(|| created(&seen.run, now), |start| start.0);
            end.at.unwrap_or(now).max(earliest)
        });
        let duration = completion.zip(start.as_ref()).map(|(end, start)| human_duration(end.as_second() - start.0.as_second()));
        let outcome = self.end.as_ref().map(|end| end.outcome);
        let succeeded = match outcome {
            None => Status::Unknown,
            Some(outcome) => Status::from(matches!(outcome, Outcome::Succeeded | Outcome::NoData)),
        };
        let condition_reason = match outcome {
            Some(_) => reason.clone(),
            None => format!("{phase:?}"),
        };
        let message = outcome::cut(&message, 4096);
        let set = Set { kind: condition::SUCCEEDED, status: succeeded, reason: &condition_reason, message: message.clone() };
        let task_generation = seen.jobs.first().and_then(|job| job.contract.as_ref()).map(|c| c.generation);
        let mut status = AutomationRunStatus {
            observed_generation: generation,
            phase: Some(phase),
            outcome,
            result: outcome.and_then(Outcome::result),
            reason: Some(reason),
            message: Some(message),
            waiting_on: self.waiting.filter(|_| !finished),
            attempts,
            attempt_count: Some(count),
            outputs: if finished { last_job.and_then(|job| outcome::outputs(job).0) } else { None },
            slot: before.slot.clone(),
            idempotency_key: before.idempotency_key.clone(),
            rerun_chain: before.rerun_chain.clone(),
            parameters: before.parameters.clone(),
            steps: Vec::new(),
            steps_end: None,
            revision: before.revision.clone().or_else(|| of_step(seen)).or_else(|| seen.jobs.first().and_then(|job| job.revision.clone())),
            task_generation: before.task_generation.or(task_generation),
            start_time: start,
            completion_time: completion.map(Time),
            duration,
            conditions: condition::conditions(&before.conditions, vec![set], generation, now),
        };
        if let Ok(identity) = identity(&seen.run, before, &seen.siblings) {
            identity.record(seen.run.spec.rerun_of.is_some(), &mut status);
        }
        let notices = notices(seen, before, &status);
        let later = may_be_told_later(seen, before, &status);
        let wake = self.wake.filter(|_| !finished);
        Plan { changes: self.changes, status, report_after: None, notices, wake }.reported_after(later, now)
    }
}

/// Until when nothing needs to be said of a first attempt that goes its usual way. Most are over by then, and a status that
/// says no more than that costs as much as the one that says how the run ended.
fn may_be_told_later(seen: &Seen, before: &AutomationRunStatus, status: &AutomationRunStatus) -> Option<Timestamp> {
    let [job] = seen.jobs.as_slice() else { return None };
    let first = status.attempt_count.is_none_or(|count| count <= 1) && job.end.is_none() && job.stopped.is_none();
    match status.reason.as_deref().filter(|_| first && status.outcome.is_none())? {
        // That a trouble is over is told at once.
        "Running"
            if before.phase != Some(Phase::Running) && before.waiting_on.as_ref().is_none_or(|w| w.reason == outcome::starting().0) =>
        {
            let begun = job.pods.iter().filter(|pod| pod.begun).map(PodSeen::began).max()?;
            Some(after(begun, TELL_RUNNING_SECONDS))
        }
        reason if reason == outcome::starting().0 && before.start_time.is_none() => Some(after(job.created, TELL_STARTING_SECONDS)),
        _ => None,
    }
}

/// What is worth an Event: the run began, waits for something out of the ordinary, will be tried again, or ended.
fn notices(seen: &Seen, before: &AutomationRunStatus, after: &AutomationRunStatus) -> Vec<Notice> {
    let mut notices = Vec::new();
    let mut tell = |warning: bool, reason: &str, action: &'static str, message: String| {
        notices.push(Notice { warning, reason: reason.to_owned(), action, message: outcome::cut(&message, 1000) });
    };
    if let Some(outcome) = after.outcome {
        let good = matches!(outcome, Outcome::Succeeded | Outcome::NoData);
        let attempts = after.attempt_count.unwrap_or(0);
        let took = after
            .duration
            .as_ref()
            .map_or(String::new(), |d| format!(" after {d}, {attempts} attempt{}", if attempts == 1 { "" } else { "s" }));
        let owner = if good { String::new() } else { standing::answerable(seen.task.as_deref().map(|task| &task.spec.owner)) };
        tell(
            !good,
            &format!("{outcome:?}"),
            "Conclude",
            format!("{outcome:?}{took}: {}{owner}", after.message.as_deref().unwrap_or_default()),
        );
        return notices;
    }
    let waits_on = |status: &AutomationRunStatus| status.waiting_on.as_ref().map(|w| (w.reason.clone(), w.until.clone()));
    if let Some(waiting) = after.waiting_on.as_ref().filter(|_| waits_on(before) != waits_on(after)) {
        let known = before.waiting_on.as_ref().is_some_and(|w| w.reason == waiting.reason);
        if waiting.reason == reason::BACKOFF {
            let until = waiting.until.as_ref().map_or(String::new(), |until| format!(" at {}", until.0));
            tell(false, "Retrying", "Retry", format!("{}{until}", waiting.message));
        } else if waiting.reason == reason::QUEUED && !known {
            tell(false, reason::QUEUED, "Queue", waiting.message.clone());
        } else if waiting.reason != outcome::starting().0 && !known {
            tell(true, &waiting.reason, "Wait", waiting.message.clone());
        }
    }
    let begun = seen.jobs.iter().any(|job| job.pods.iter().any(|pod| pod.begun));
    if begun && after.phase == Some(Phase::Running) && before.phase != Some(Phase::Running) {
        let last = after.attempts.last();
        let place =
            last.map_or(String::new(), |a| format!(" in pod {} on {}", a.pod.as_deref().unwrap_or("?"), a.node.as_deref().unwrap_or("?")));
        tell(false, "Started", "Run", format!("attempt {} runs{place}", after.attempt_count.unwrap_or(1)));
    }
    notices
}

/// The revision that the run of a step starts from.
fn of_step(seen: &Seen) -> Option<String> {
    seen.run.spec.step_of()?;
    seen.run.metadata.annotations.as_ref()?.get(label::REVISION).cloned()
}

/// `2h13m`, `4m07s`, `12s`: two units at most.
pub(in crate::plan) fn human_duration(seconds: i64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        ..60 => format!("{}s", seconds.max(0)),
        60..3600 => format!("{minutes}m{:02}s", seconds % 60),
        3600..86_400 => format!("{hours}h{:02}m", minutes % 60),
        _ => format!("{days}d{:02}h", hours % 24),
    }
}
