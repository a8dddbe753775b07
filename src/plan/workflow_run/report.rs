//! The status of a workflow's run, from what was seen and decided, and what of it is worth an Event.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{
    Seen,
    approvals::{self, Questions},
    facts::{self, place},
};
use crate::{
    api::{
        AutomationRunStatus, Items, Outcome, Phase, StepStatus, StepsEnd, Waiting,
        condition::{self, Set, Status},
        label,
    },
    graph::{At, Counts, Decision, StepState},
    ledger,
    outcome::{self, cut, reason},
    plan::{Change, Notice, Plan, automation_run::human_duration, identity::identity, standing},
};

/// How long after a run of a step came or ended that is told, where nothing else is: the next one is often told with it.
const TELL_LATER: SignedDuration = SignedDuration::from_secs(2);
/// What a run waits on whose workflow was created or edited together with it.
pub(in crate::plan) const DEFINITION_PENDING: &str = "DefinitionPending";
/// How much is told of a step.
const STEP_MESSAGE: usize = 256;
/// How many steps a message names.
const NAMED: usize = 3;

/// What the planner has decided; the rest of a status follows from what was seen.
#[derive(Default)]
pub(super) struct Draft {
    pub(super) changes: Vec<Change>,
    pub(super) decision: Option<Decision>,
    /// Names of the runs of steps that are kept, by step.
    pub(super) kept: BTreeMap<String, String>,
    /// What has been asked, by step.
    pub(super) questions: Questions,
    /// Name of the revision that holds what it runs.
    pub(super) definition: Option<String>,
    /// What it waits on before it can begin.
    pub(super) waiting: Option<Waiting>,
    /// How it ended without its steps.
    pub(super) end: Option<(Outcome, String, String)>,
    pub(super) again: Option<Timestamp>,
}

impl Draft {
    pub(super) fn end(outcome: Outcome, reason: &str, message: String) -> Self {
        Self { end: Some((outcome, reason.to_owned(), message)), ..Self::default() }
    }

    /// Whether it ends without its steps.
    pub(super) fn ends(&self) -> bool {
        self.end.is_some()
    }

    /// The same, but first its steps are stopped.
    pub(super) fn stopping(self, changes: Vec<Change>) -> Self {
        let Some((_, reason, message)) = self.end else { return self };
        Self { changes, ..Self::waiting(&reason, &format!("its steps are stopped first: {message}"), None) }
    }

    pub(super) fn waiting(reason: &str, message: &str, until: Option<Timestamp>) -> Self {
        let waiting = Waiting { reason: reason.to_owned(), message: cut(message, 2048), until: until.map(Time) };
        Self { waiting: Some(waiting), ..Self::default() }
    }

    pub(super) fn into_plan(self, seen: &Seen, before: &AutomationRunStatus, now: Timestamp) -> Plan<AutomationRunStatus> {
        let generation = seen.run.metadata.generation;
        let started = self.decision.is_some().then(|| facts::started(seen, before, now));
        let start = before.start_time.clone().or_else(|| started.map(Time));
        let steps = match &self.decision {
            Some(decision) => decision.steps.iter().map(|step| self.told(seen, before, step)).collect(),
            None => before.steps.clone(),
        };
        let steps_end = before.steps_end.clone().or_else(|| {
            let ended = self.decision.as_ref()?.steps_end.as_ref()?;
            Some(StepsEnd { outcome: ended.outcome, reason: ended.reason.clone(), message: cut(&ended.message, 1024), time: Time(now) })
        });
        let by_steps = self.decision.as_ref().and_then(|decision| decision.end.clone());
        let end = self.end.or_else(|| by_steps.map(|ended| (ended.outcome, ended.reason, ended.message)));
        let end = end.map(|(outcome, why, message)| match replaced_by(seen).filter(|_| outcome == Outcome::Cancelled) {
            Some(slot) => {
                let message = message.replace("spec.cancel was set", &format!("the slot of {slot} came, and concurrencyPolicy is Replace"));
                (outcome, reason::REPLACED.to_owned(), message)
            }
            None => (outcome, why, message),
        });
        let waiting = self.waiting.or_else(|| refused(seen)).or_else(|| approvals::waiting(seen, &steps));
        let waiting = waiting.or_else(|| held_up_by(&steps)).filter(|_| end.is_none());
        let phase = match (&end, &start) {
            (Some(_), _) => Phase::Finished,
            (None, Some(_)) => Phase::Running,
            (None, None) if waiting.as_ref().is_some_and(|waiting| waiting.reason == reason::QUEUED) => Phase::Queued,
            (None, None) => Phase::Pending,
        };
        let (word, message) = match (&end, &waiting) {
            (Some((_, reason, message)), _) => (reason.clone(), message.clone()),
            (None, Some(waiting)) => (waiting.reason.clone(), waiting.message.clone()),
            (None, None) => progress(seen, &steps),
        };
        let outcome = end.as_ref().map(|(outcome, ..)| *outcome);
        let last = seen.children.iter().filter_map(|child| child.status.as_ref()?.completion_time.clone()).max();
        // A run is not over before its steps are, whatever the clocks of others say.
        let completion = end.as_ref().map(|_| last.into_iter().chain(start.clone()).map(|time| time.0).fold(now, Timestamp::max));
        let succeeded = outcome.map_or(Status::Unknown, |outcome| Status::from(matches!(outcome, Outcome::Succeeded | Outcome::NoData)));
        let condition_reason = if outcome.is_some() { word.clone() } else { format!("{phase:?}") };
        let message = cut(&message, 4096);
        let set = Set { kind: condition::SUCCEEDED, status: succeeded, reason: &condition_reason, message: message.clone() };
        let mut status = AutomationRunStatus {
            observed_generation: generation,
            phase: Some(phase),
            outcome,
            result: outcome.and_then(Outcome::result),
            reason: Some(word),
            message: Some(message),
            waiting_on: waiting,
            steps,
            steps_end,
            slot: before.slot.clone(),
            idempotency_key: before.idempotency_key.clone(),
            rerun_chain: before.rerun_chain.clone(),
            parameters: before.parameters.clone(),
            revision: before.revision.clone().or(self.definition),
            duration: completion.zip(start.as_ref()).map(|(end, start)| human_duration(end.as_second() - start.0.as_second())),
            start_time: start,
            completion_time: completion.map(Time),
            conditions: condition::conditions(&before.conditions, vec![set], generation, now),
            ..AutomationRunStatus::default()
        };
        if let Ok(identity) = identity(&seen.run, before, &seen.siblings) {
            identity.record(seen.run.spec.rerun_of.is_some(), &mut status);
        }
        let later = may_be_told_later(seen, before, &status);
        let notices = notices(seen, before, &status);
        let wake = self.again.filter(|_| outcome.is_none());
        Plan { changes: self.changes, status, report_after: None, notices, wake }.reported_after(later, now)
    }

    /// How a step stands.
    fn told(&self, seen: &Seen, before: &AutomationRunStatus, step: &StepState) -> StepStatus {
        let of_step = || seen.children.iter().filter(|child| place(child).is_some_and(|(of, _)| of == step.name));
        let recorded = before.steps.iter().find(|recorded| recorded.name == step.name);
        let items = step.items.map(items).or_else(|| recorded.and_then(|recorded| recorded.items));
        let single = items.is_none().then(|| of_step().next()).flatten().and_then(|child| child.metadata.name.clone());
        let count = i32::try_from(of_step().count()).unwrap_or(i32::MAX);
        let question = self.questions.get(&step.name);
        let (phase, outcome, reason, message) = match &step.at {
            At::Waiting(why) => (Phase::Pending, None, None, Some(why.clone())),
            At::Running => {
                let asks = question.map(|question| (question.told.0.to_owned(), question.told.1.clone()));
                let waits = || held_up(seen, step).filter(|_| items.is_none()).map(|waits| (waits.reason.clone(), waits.message.clone()));
                let (reason, message) = asks.or_else(waits).unzip();
                (Phase::Running, None, reason, message)
            }
            At::Ended(ended) => (Phase::Finished, Some(ended.outcome), Some(ended.reason.clone()), Some(ended.message.clone())),
        };
        StepStatus {
            name: step.name.clone(),
            phase,
            run: single
                .or_else(|| self.kept.get(&step.name).filter(|_| items.is_none()).cloned())
                .or_else(|| recorded.and_then(|recorded| recorded.run.clone())),
            outcome,
            reason: reason.filter(|reason| !reason.is_empty()),
            message: message.map(|message| cut(&message, STEP_MESSAGE)).filter(|message| !message.is_empty()),
            started: count.max(recorded.map_or(0, |recorded| recorded.started)),
            items,
            approval: question.map(|question| question.status.clone()),
        }
    }
}

/// The later slot that replaces it.
fn replaced_by(seen: &Seen) -> Option<&String> {
    seen.run.metadata.annotations.as_ref()?.get(label::REPLACED_BY)
}

/// On what the run of a step waits, but for the usual way of a pod.
fn held_up<'a>(seen: &'a Seen, step: &StepState) -> Option<&'a Waiting> {
    let child = seen.children.iter().find(|child| place(child).is_some_and(|(of, _)| of == step.name))?;
    child.status.as_ref()?.waiting_on.as_ref().filter(|waiting| waiting.reason != outcome::starting().0)
}

/// On what it waits where every step that runs does.
fn held_up_by(steps: &[StepStatus]) -> Option<Waiting> {
    let running = || steps.iter().filter(|step| step.phase == Phase::Running);
    let first = running().next().filter(|_| running().all(|step| step.reason.is_some()))?;
    let message = format!("step {}: {}", first.name, first.message.as_deref().unwrap_or_default());
    Some(Waiting { reason: first.reason.clone()?, message: cut(&message, 2048), until: None })
}

fn items(counts: Counts) -> Items {
    let number = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
    Items {
        total: number(counts.total),
        running: number(counts.running),
        succeeded: number(counts.succeeded),
        no_data: number(counts.no_data),
        failed: number(counts.failed),
        skipped: number(counts.skipped),
    }
}

/// Why a run of a step cannot be created.
fn refused(seen: &Seen) -> Option<Waiting> {
    let refused = seen.refusals.first()?;
    let (reason, message) = crate::outcome::refusal(&refused.message);
    Some(Waiting { reason, message: cut(&format!("the API server refuses run {}: {message}", refused.name), 2048), until: None })
}

/// How far it has come: what runs, or else what waits.
fn progress(seen: &Seen, steps: &[StepStatus]) -> (String, String) {
    let names = |phase: Phase| -> Vec<&str> { steps.iter().filter(|step| step.phase == phase).map(|step| step.name.as_str()).collect() };
    let ended = names(Phase::Finished).len();
    let going = match names(Phase::Running).as_slice() {
        [] => String::new(),
        running => {
            let first = &running[..running.len().min(NAMED)];
            let more = running.len() - first.len();
            let more = if more == 0 { String::new() } else { format!(" and {more} more") };
            format!("; running: {}{more}", first.join(", "))
        }
    };
    let reason = if seen.run.spec.cancel == Some(true) { "Stopping" } else { "Running" };
    (reason.to_owned(), format!("{ended} of {} steps ended{going}", steps.len()))
}

/// Until when nothing needs to be said of steps that come and end: a status for each would cost as much as a step's own.
/// What later decisions stand on is told at once: the list of a `forEach` once it is known, the end of the steps, the end.
fn may_be_told_later(seen: &Seen, before: &AutomationRunStatus, after: &AutomationRunStatus) -> Option<Timestamp> {
    let created = seen.run.metadata.creation_timestamp.as_ref().map(|time| time.0);
    let soon = |since: Timestamp| since.checked_add(TELL_LATER).ok();
    if after.waiting_on.as_ref().is_some_and(|waiting| waiting.reason == DEFINITION_PENDING) {
        return created.and_then(soon);
    }
    let lists = |status: &AutomationRunStatus| status.steps.iter().filter(|step| step.items.is_some()).count();
    let asked = |status: &AutomationRunStatus| {
        let asked = status.steps.iter().filter(|step| step.approval.is_some());
        asked.map(|step| (step.approval.clone(), step.outcome)).collect::<Vec<_>>()
    };
    let news = |status: &AutomationRunStatus| {
        (status.observed_generation, status.phase, status.outcome, status.steps_end.clone(), status.waiting_on.clone(), lists(status))
    };
    let first = before.phase == Some(Phase::Pending) && after.phase == Some(Phase::Running) && after.waiting_on.is_none();
    let usual = news(before) == news(after) && asked(before) == asked(after)
        || first && lists(after) == 0 && after.outcome.is_none() && after.steps_end.is_none();
    if !usual {
        return None;
    }
    let known = |name: &str| before.steps.iter().find(|step| step.name == name);
    let changes = seen.children.iter().filter_map(|child| {
        let (step, _) = place(child)?;
        let ended = child.status.as_ref().filter(|_| ledger::is_finished(child)).and_then(|status| status.completion_time.as_ref());
        match (known(step), ended) {
            (Some(recorded), _) if recorded.outcome.is_some() => None,
            (Some(recorded), ended) if recorded.started > 0 && recorded.items.is_none() => ended,
            (Some(recorded), Some(ended)) if recorded.started > 0 => Some(ended),
            _ => child.metadata.creation_timestamp.as_ref(),
        }
    });
    // The runs that have just been created come into view with the next look.
    changes.map(|time| time.0).min().or(created.filter(|_| first)).and_then(soon)
}

/// What is worth an Event: how it ended, and what keeps it from beginning.
fn notices(seen: &Seen, before: &AutomationRunStatus, after: &AutomationRunStatus) -> Vec<Notice> {
    let notice = |warning, reason: &str, action, message: String| Notice { warning, reason: reason.to_owned(), action, message };
    if let Some(outcome) = after.outcome {
        let good = matches!(outcome, Outcome::Succeeded | Outcome::NoData);
        let took = after.duration.as_ref().map_or(String::new(), |duration| format!(" after {duration}"));
        let owner = if good { String::new() } else { standing::answerable(seen.workflow.as_deref().map(|workflow| &workflow.spec.owner)) };
        let message = format!("{outcome:?}{took}: {}{owner}", after.message.as_deref().unwrap_or_default());
        return vec![notice(!good, &format!("{outcome:?}"), "Conclude", cut(&message, 1000))];
    }
    let waits = |status: &AutomationRunStatus| status.waiting_on.as_ref().map(|waiting| waiting.reason.clone());
    let asked = approvals::open(&after.steps).any(|step| approvals::open(&before.steps).all(|known| known.name != step.name));
    match &after.waiting_on {
        Some(waiting) if (asked || waits(before) != waits(after)) && waiting.reason != DEFINITION_PENDING => {
            vec![notice(
                ![reason::QUEUED, reason::BACKOFF, approvals::PENDING].contains(&waiting.reason.as_str()),
                &waiting.reason,
                "Wait",
                cut(&waiting.message, 1000),
            )]
        }
        _ => Vec::new(),
    }
}
