//! What to do about a run: start it, try it again, stop it, conclude it.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::Value;

use super::{Change, Notice, Plan, Refusal, RefusalKind, parameters};
use crate::{
    api::{
        Attempt, AttemptClass, AutomationRun, AutomationRunStatus, AutomationTask, ConcurrencyPolicy, Contract, Outcome, Phase, Waiting,
        condition::{self, Set, Status},
        label,
    },
    build,
    outcome::{self, JobSeen, StopReason, Trouble, reason},
    retry,
    schedule::Schedule,
};

/// All that is known about a run when it is planned.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The run.
    pub run: Arc<AutomationRun>,
    /// Its task as it is now; `None` where there is none. Only a run that has not started looks at it.
    pub task: Option<Arc<AutomationTask>>,
    /// Its Jobs, in the order of attempts.
    pub jobs: Vec<JobSeen>,
    /// The first Job as it stands on the server, where another attempt may have to be made from it.
    pub first_job: Option<Value>,
    /// What Events say about the last Job, where it does not begin.
    pub troubles: Vec<Trouble>,
    /// What the API server refused in this pass.
    pub refusals: Vec<Refusal>,
}

/// How long before `runSeconds` the operator begins to stop a run, so as to be there before Kubernetes, which would
/// take the pod and its evidence away.
const LEAD: SignedDuration = SignedDuration::from_secs(2);
/// How far behind it moves Kubernetes' own deadline while it stops the run itself. It still bounds a stop that hangs.
const STOP_MARGIN_SECONDS: i64 = 60;
/// What a run waits on whose task does not exist.
const TASK_NOT_FOUND: &str = "TaskNotFound";
/// How long after its pod's grace period a container that was stopped is waited for, to tell its exit code.
const TELL_SECONDS: i64 = 10;
/// How long a run may wait for a task that does not exist: as long as for a pod, where a task says nothing else.
const NO_TASK_SECONDS: i64 = 900;

/// Plans a run.
#[must_use]
pub fn plan(seen: &Seen, now: Timestamp) -> Plan<AutomationRunStatus> {
    let before = seen.run.status.clone().unwrap_or_default();
    let leave = |status: AutomationRunStatus| Plan { changes: Vec::new(), status, notices: Vec::new(), wake: None };
    if seen.run.metadata.deletion_timestamp.is_some() || before.phase == Some(Phase::Finished) {
        return leave(before);
    }
    let draft = match seen.jobs.last() {
        Some(_) if lost_job(seen, &before).is_some() => job_gone(seen, now),
        Some(last) if last.end.is_some() => after_job(seen, last, &before, now),
        Some(last) => during_job(seen, last, &before, now),
        None if has_started(seen, &before) => job_gone(seen, now),
        None => start(seen, &before, now),
    };
    draft.into_plan(seen, &before, now)
}

/// What a planner step decides; the rest of a status follows from what was seen.
#[derive(Default)]
struct Draft {
    changes: Vec<Change>,
    waiting: Option<Waiting>,
    end: Option<End>,
    wake: Option<Timestamp>,
    /// Leave the status as it is: what follows at once is worth more than this moment.
    hold: bool,
}

struct End {
    outcome: Outcome,
    reason: String,
    message: String,
    at: Option<Timestamp>,
}

impl Draft {
    fn end(outcome: Outcome, reason: &str, message: String) -> Self {
        Self { end: Some(End { outcome, reason: reason.to_owned(), message, at: None }), ..Self::default() }
    }
}

fn after(time: Timestamp, seconds: i64) -> Timestamp {
    time.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX)
}

fn created(run: &AutomationRun, now: Timestamp) -> Timestamp {
    run.metadata.creation_timestamp.as_ref().map_or(now, |time| time.0)
}

fn adopted_job(run: &AutomationRun) -> Option<&String> {
    run.metadata.annotations.as_ref()?.get(label::ADOPTED_JOB)
}

/// Whether a Job of the run has been seen before, or is known to have been there.
fn has_started(seen: &Seen, before: &AutomationRunStatus) -> bool {
    before.start_time.is_some() || adopted_job(&seen.run).is_some()
}

/// A Job on record that is later than all that are left: somebody deleted it. It must not be made again.
fn lost_job<'a>(seen: &Seen, before: &'a AutomationRunStatus) -> Option<&'a str> {
    let recorded = before.attempts.last()?.job.as_str();
    let present = seen.jobs.iter().any(|job| job.name == recorded);
    (!present).then_some(recorded)
}

/// The terms of the run: those its first Job was rendered with.
fn terms(seen: &Seen) -> Contract {
    seen.jobs.first().and_then(|job| job.contract.clone()).unwrap_or_default()
}

/// When the run's time began to count. On record, since its first Job may have been deleted by now.
fn run_started(seen: &Seen, before: &AutomationRunStatus, job: &JobSeen) -> Timestamp {
    let first = seen.jobs.first().unwrap_or(job);
    before.start_time.as_ref().map_or(first.created, |recorded| recorded.0)
}

fn cancelled(seen: &Seen) -> bool {
    seen.run.spec.cancel == Some(true)
}

/// No Job yet: make the first one, or say why not.
fn start(seen: &Seen, before: &AutomationRunStatus, now: Timestamp) -> Draft {
    if cancelled(seen) {
        return Draft::end(Outcome::Cancelled, reason::CANCELLED, "spec.cancel was set before the run started".to_owned());
    }
    let name = &seen.run.spec.task_ref.name;
    let Some(task) = seen.task.as_deref().filter(|task| task.metadata.deletion_timestamp.is_none()) else {
        let until = after(created(&seen.run, now), NO_TASK_SECONDS);
        let message = format!("spec.taskRef: there is no AutomationTask {name} in this namespace; create it, or correct the name");
        return wait_or_fail(TASK_NOT_FOUND, message, until, now);
    };
    if let Err(problem) = build::check_template(task) {
        return Draft::end(Outcome::Failed, "TaskInvalid", format!("task {name}: {problem}"));
    }
    let values = match parameters::resolve(&task.spec.parameters, &seen.run.spec.parameters) {
        Ok(values) => values,
        Err(problem) => return Draft::end(Outcome::Failed, "InvalidParameters", problem),
    };
    let contract = Contract::of(&task.spec, task.metadata.generation.unwrap_or(0));
    let until = after(created(&seen.run, now), contract.pending_seconds);
    let run_name = seen.run.metadata.name.as_deref().unwrap_or_default();
    let job = build::job_name(run_name, 1);
    if let Some(refused) = seen.refusals.iter().find(|r| r.name == job) {
        return refused_job(refused, until, now);
    }
    // What was refused until the time ran out is not tried once more. A task that has come at last is worth a try.
    if now >= until
        && let Some(waiting) = before.waiting_on.as_ref().filter(|waiting| waiting.reason != TASK_NOT_FOUND)
    {
        let message = format!("could not start within timeouts.pendingSeconds ({} s): {}", contract.pending_seconds, waiting.message);
        return Draft::end(Outcome::TimedOut, &waiting.reason, message);
    }
    let mut changes = Vec::new();
    let mut owners = seen.run.metadata.owner_references.clone().unwrap_or_default();
    if owners.iter().all(|owner| Some(&owner.uid) != task.metadata.uid.as_ref()) {
        let controlled = owners.iter().any(|owner| owner.controller == Some(true));
        let mut owner = build::owned_by_task(task);
        if controlled {
            (owner.controller, owner.block_owner_deletion) = (None, None);
        }
        owners.push(owner);
        changes.push(Change::OwnRun {
            name: run_name.to_owned(),
            uid: seen.run.metadata.uid.clone().unwrap_or_default(),
            resource_version: seen.run.metadata.resource_version.clone().unwrap_or_default(),
            owners,
        });
    }
    changes.push(Change::CreateJob {
        name: job,
        run_uid: seen.run.metadata.uid.clone().unwrap_or_default(),
        object: build::first_job(task, &seen.run, &values),
    });
    let (reason, message) = outcome::starting();
    Draft {
        changes,
        waiting: Some(Waiting { reason: reason.to_owned(), message: message.to_owned(), until: Some(Time(until)) }),
        hold: true,
        ..Draft::default()
    }
}

fn refused_job(refused: &Refusal, until: Timestamp, now: Timestamp) -> Draft {
    if refused.kind == RefusalKind::NameTaken {
        let message = format!("a Job {} exists and is not this run's; delete it, or create the run under another name", refused.name);
        return Draft::end(Outcome::Failed, "NameTaken", message);
    }
    let (reason, message) = outcome::refusal(&refused.message);
    let mut draft = wait_or_fail(&reason, message, until, now);
    // The quota may have room again at any time, and nothing tells us.
    draft.wake = draft.wake.map(|wake| wake.min(after(now, 15)));
    draft
}

fn wait_or_fail(reason: &str, message: String, until: Timestamp, now: Timestamp) -> Draft {
    if now >= until {
        return Draft::end(Outcome::TimedOut, reason, message);
    }
    let waiting = Waiting { reason: reason.to_owned(), message, until: Some(Time(until)) };
    Draft { waiting: Some(waiting), wake: Some(until), ..Draft::default() }
}

/// A Job that has not ended: leave it alone, stop it, or see a stop through.
fn during_job(seen: &Seen, job: &JobSeen, before: &AutomationRunStatus, now: Timestamp) -> Draft {
    let contract = terms(seen);
    let mut draft = Draft { changes: own(seen, job), ..Draft::default() };
    let run_started = run_started(seen, before, job);
    let run_deadline = after(run_started, contract.run_seconds);
    let live: Vec<_> = job.pods.iter().filter(|pod| pod.is_live()).collect();
    let begun = live.iter().any(|pod| pod.begun);
    let between = live.is_empty() && !job.pods.is_empty();
    if between && job.stopped.is_none() {
        between_pods(seen, job, before, &mut draft);
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
        if leftover
            && job.deadline_seconds != Some(1)
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
fn between_pods(seen: &Seen, job: &JobSeen, before: &AutomationRunStatus, draft: &mut Draft) {
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
        return;
    }
    let failure = last.and_then(|a| a.message.as_deref()).unwrap_or("it ended");
    let message =
        outcome::cut(&format!("attempt {} ended ({failure}); Kubernetes' Job controller tries again by itself", attempts.len()), 2048);
    draft.waiting = Some(Waiting { reason: "Backoff".to_owned(), message, until: None });
}

fn stop(job: &JobSeen, reason: StopReason, deadline_seconds: i64) -> Change {
    Change::StopJob { name: job.name.clone(), uid: job.uid.clone(), reason, backoff_limit: job.counted, deadline_seconds }
}

/// Keeps what was told first for the same reason: the kubelet words one trouble in several ways, in turn.
fn steady((reason, message): (String, String), before: Option<&Waiting>) -> (String, String) {
    let generic = outcome::starting().0;
    match before {
        Some(known) if known.reason == reason => (known.reason.clone(), known.message.clone()),
        // A known trouble is not forgotten because one look in between said nothing.
        Some(known) if reason == generic && known.reason != generic && known.reason != "Backoff" => {
            (known.reason.clone(), known.message.clone())
        }
        _ => (reason, outcome::cut(&message, 2048)),
    }
}

/// An adopted Job that does not bear its run's mark yet.
fn own(seen: &Seen, job: &JobSeen) -> Vec<Change> {
    let uid = seen.run.metadata.uid.clone().unwrap_or_default();
    if job.owners.contains(&uid) && job.run.is_some() {
        return Vec::new();
    }
    vec![Change::OwnJob { name: job.name.clone(), uid: job.uid.clone(), owner: build::owned_by_run(&seen.run, false) }]
}

/// The last Job has ended: try again, wait to, or conclude.
fn after_job(seen: &Seen, job: &JobSeen, before: &AutomationRunStatus, now: Timestamp) -> Draft {
    let contract = terms(seen);
    let told_by = after(job.end_time(), contract.grace_seconds + TELL_SECONDS);
    if now < told_by && job.pods.iter().any(outcome::PodSeen::is_ending) {
        return Draft { changes: own(seen, job), wake: Some(told_by), ..Draft::default() };
    }
    let attempts = outcome::record(&before.attempts, &seen.jobs);
    let last = last_of(&attempts, &job.name);
    let waited = told_wait(seen, job, before);
    let waited = waited.as_ref().map(|(reason, message)| (reason.as_str(), message.as_str()));
    let Some(conclusion) = outcome::conclude(job, last, waited, &contract) else { return Draft::default() };
    let run_started = run_started(seen, before, job);
    let run_deadline = after(run_started, contract.run_seconds);
    let uid = seen.run.metadata.uid.clone().unwrap_or_default();
    let mut changes = own(seen, job);
    let mut end = End { outcome: conclusion.outcome, reason: conclusion.reason, message: conclusion.message, at: Some(job.end_time()) };
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
            let message = format!("spec.cancel was set while it waited to be tried again; the last attempt: {}", end.message);
            end = End { outcome: Outcome::Cancelled, reason: reason::CANCELLED.to_owned(), message, at: Some(now) };
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
            reason: "Backoff".to_owned(),
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
    let recorded = before.waiting_on.as_ref().filter(|w| w.reason != generic && w.reason != "Backoff");
    if let Some(waiting) = recorded {
        return Some((waiting.reason.clone(), waiting.message.clone()));
    }
    let told = outcome::waited(job, &seen.troubles);
    told.filter(|(reason, _)| reason != generic)
}

/// A Job that was there is not there any more.
fn job_gone(seen: &Seen, now: Timestamp) -> Draft {
    if cancelled(seen) {
        return Draft::end(Outcome::Cancelled, reason::CANCELLED, "spec.cancel was set, and the Job is gone".to_owned());
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
    let slot = seen.run.spec.scheduled_time.as_ref()?.0;
    let meta = &seen.run.metadata;
    let parsed = Schedule::parse(schedule, meta.namespace.as_deref()?, &seen.run.spec.task_ref.name).ok()?;
    let replaces = schedule.concurrency_policy == Some(ConcurrencyPolicy::Replace);
    parsed.next(slot).filter(|next| replaces && *next <= now)
}

impl Draft {
    fn into_plan(self, seen: &Seen, before: &AutomationRunStatus, now: Timestamp) -> Plan<AutomationRunStatus> {
        if self.hold && self.end.is_none() && (before.phase.is_some() || !self.changes.is_empty()) {
            return Plan { changes: self.changes, status: before.clone(), notices: Vec::new(), wake: self.wake };
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
        let status = AutomationRunStatus {
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
            task_generation: before.task_generation.or(task_generation),
            start_time: start,
            completion_time: completion.map(Time),
            duration,
            conditions: condition::conditions(&before.conditions, vec![set], generation, now),
        };
        let notices = notices(seen, before, &status);
        Plan { changes: self.changes, status, notices, wake: self.wake.filter(|_| !finished) }
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
        let owner = if good { String::new() } else { answerable(seen) };
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
        if waiting.reason == "Backoff" {
            let until = waiting.until.as_ref().map_or(String::new(), |until| format!(" at {}", until.0));
            tell(false, "Retrying", "Retry", format!("{}{until}", waiting.message));
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

/// Who is to be asked, for the Event of a bad end.
fn answerable(seen: &Seen) -> String {
    let Some(task) = &seen.task else { return String::new() };
    let owner = &task.spec.owner;
    let more = |what: &str, value: &Option<String>| value.as_ref().map_or(String::new(), |value| format!(", {what} {value}"));
    format!(" (owner {}{}{})", owner.team, more("on call", &owner.on_call), more("runbook", &owner.runbook))
}

/// `2h13m`, `4m07s`, `12s`: two units at most.
fn human_duration(seconds: i64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        ..60 => format!("{}s", seconds.max(0)),
        60..3600 => format!("{minutes}m{:02}s", seconds % 60),
        3600..86_400 => format!("{hours}h{:02}m", minutes % 60),
        _ => format!("{days}d{:02}h", hours % 24),
    }
}
