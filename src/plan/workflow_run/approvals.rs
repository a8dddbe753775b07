//! Steps that ask somebody: what they have asked, what was answered, and what to tell of it.
//!
//! A question is on record in the run's status before an answer counts. What was answered stands in the run's spec, where the
//! API server keeps each answer as it was given; the operator only copies it. Killed before it is copied, it finds it again.
//! That nobody answered is on record before anything comes of it: written against the run as it was seen, it is refused where
//! an answer has come meanwhile.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};

use super::{Seen, facts::place, kept::Kept};
use crate::{
    api::{Approval, ApprovalStatus, AutomationRun, AutomationRunStatus, Outcome, Phase, Step, StepStatus, Verdict, Waiting, WorkflowSpec},
    graph::{Decision, Facts, RunFacts, reason},
    ledger,
    outcome::cut,
    plan::after,
};

/// What a run waits on whose step asks somebody.
pub(super) const PENDING: &str = "ApprovalPending";

/// The questions of a run, by step, each with what came of it.
pub(super) type Questions = BTreeMap<String, Question>;

/// What a step has asked.
pub(super) struct Question {
    pub(super) status: ApprovalStatus,
    outcome: Option<Outcome>,
    /// Why it ended so, in one word and in a sentence; while it is open: that, and what is to be approved.
    pub(super) told: (&'static str, String),
    outputs: Option<Value>,
    /// It was answered in the run that this one repeats.
    kept: bool,
}

/// What has been asked, and what is known of it at this time.
pub(super) fn questions(seen: &Seen, before: &AutomationRunStatus, spec: &WorkflowSpec, kept: &Kept, now: Timestamp) -> Questions {
    let written = |name: &str| spec.steps.iter().find(|step| step.name == name);
    let kept = kept.approvals.iter().filter_map(|(step, approval)| {
        let question = question(seen, written(step)?, approval, true, now);
        Some(((*step).to_owned(), question))
    });
    let own = before.steps.iter().filter_map(|step| {
        let approval = step.approval.clone()?;
        // Whoever answers a step that has ended comes too late.
        let open = approval.decision.is_none() && step.outcome.is_none();
        Some((step.name.clone(), if open { answered(seen, &step.name, approval, now) } else { approval }))
    });
    let mut questions: Questions = kept.collect();
    for (name, approval) in own {
        let Some(step) = written(&name) else { continue };
        questions.entry(name).or_insert_with(|| question(seen, step, &approval, false, now));
    }
    questions
}

/// The steps whose questions are open, of which the answer is there although their time is over. Whether it was given in time
/// is for the API server to say.
#[must_use]
pub fn late(run: &AutomationRun, now: Timestamp) -> Vec<&str> {
    let steps = run.status.iter().flat_map(|status| &status.steps);
    let open =
        steps.filter(|step| step.outcome.is_none() && step.approval.as_ref().is_some_and(|a| a.decision.is_none() && a.until.0 <= now));
    open.map(|step| step.name.as_str()).filter(|step| run.spec.approvals.iter().any(|answer| answer.step == *step)).collect()
}

/// An open question with its answer, where that has come in time.
fn answered(seen: &Seen, step: &str, asked: ApprovalStatus, now: Timestamp) -> ApprovalStatus {
    let Some(answer) = seen.run.spec.approvals.iter().find(|answer| answer.step == step) else { return asked };
    let given = if now < asked.until.0 { now } else { seen.answered.get(step).copied().unwrap_or(now) };
    if given > asked.until.0 {
        return asked;
    }
    ApprovalStatus {
        decision: Some(answer.decision),
        by: Some(answer.by.clone()),
        reason: answer.reason.clone(),
        decided_time: Some(Time(given)),
        ..asked
    }
}

fn question(seen: &Seen, step: &Step, approval: &ApprovalStatus, kept: bool, now: Timestamp) -> Question {
    let by = approval.by.clone().unwrap_or_default();
    let why = approval.reason.as_ref().map_or(String::new(), |reason| format!(": {reason}"));
    let (outcome, told) = match approval.decision {
        Some(Verdict::Approve) => (Some(Outcome::Succeeded), (reason::APPROVED, format!("approved by {by}{why}"))),
        Some(Verdict::Reject) => (Some(Outcome::Failed), (reason::REJECTED, format!("rejected by {by}{why}"))),
        None if now >= approval.until.0 => {
            let late = seen.run.spec.approvals.iter().find(|answer| answer.step == step.name);
            let late = late.map_or(String::new(), |answer| format!("; {} did, too late", answer.by));
            let message = format!("nobody answered between {} and {}{late}", approval.asked_time.0, approval.until.0);
            (Some(Outcome::TimedOut), (reason::APPROVAL_TIMED_OUT, message))
        }
        None => (None, (PENDING, step.approval.as_ref().and_then(|approval| approval.message.clone()).unwrap_or_default())),
    };
    let outputs = approval.decision.map(|_| json!({ "by": by, "reason": approval.reason.as_deref().unwrap_or_default() }));
    Question { status: approval.clone(), outcome, told, outputs, kept }
}

/// Whether nobody answered a question in time, and that is not on record yet.
pub(super) fn is_unrecorded(questions: &Questions, before: &AutomationRunStatus) -> bool {
    let ended = |step: &str| before.steps.iter().any(|told| told.name == step && told.outcome.is_some());
    questions.iter().any(|(step, question)| question.outcome == Some(Outcome::TimedOut) && !ended(step))
}

/// Adds them to what the graph is asked about.
pub(super) fn add<'a>(facts: &mut Facts<'a>, questions: &'a Questions) {
    for (step, question) in questions {
        let run = RunFacts {
            outcome: question.outcome,
            told: (question.told.0, &question.told.1),
            outputs: question.outputs.as_ref(),
            kept: question.kept,
        };
        facts.steps.entry(step).or_default().runs.insert(0, run);
    }
}

/// Takes up the questions that are asked from now on. Returns whether one of them has its answer already, and there is more to
/// decide.
pub(super) fn ask(
    questions: &mut Questions,
    seen: &Seen,
    spec: &WorkflowSpec,
    decision: &Decision,
    (now, steps_until): (Timestamp, Timestamp),
) -> bool {
    let mut is_answered = false;
    for step in spec.steps.iter().filter(|step| decision.ask.contains(&step.name)) {
        let seconds = step.approval.as_ref().map_or(0, Approval::timeout);
        let asked = ApprovalStatus {
            asked_time: Time(now),
            until: Time(after(now, seconds).min(steps_until)),
            decision: None,
            by: None,
            reason: None,
            decided_time: None,
        };
        let question = question(seen, step, &answered(seen, &step.name, asked, now), false, now);
        is_answered |= question.outcome.is_some();
        questions.insert(step.name.clone(), question);
    }
    is_answered
}

/// When the next question has waited long enough.
pub(super) fn wake(decision: &Decision, questions: &Questions) -> Option<Timestamp> {
    let open = decision.steps.iter().filter(|step| step.at.outcome().is_none()).filter_map(|step| questions.get(&step.name));
    open.map(|question| question.status.until.0).min()
}

/// That somebody is waited for, and what they can do about it: for a step of this run, or of a workflow in it.
pub(super) fn waiting(seen: &Seen, steps: &[StepStatus]) -> Option<Waiting> {
    let mut open = open(steps);
    let Some(first) = open.next() else { return inner(seen) };
    let more = match open.count() {
        0 => String::new(),
        more => format!(" ({more} more {} too)", if more == 1 { "asks" } else { "ask" }),
    };
    let meta = &seen.run.metadata;
    let (run, namespace) = (meta.name.as_deref().unwrap_or_default(), meta.namespace.as_deref().unwrap_or_default());
    let answer = json!([{ "op": "add", "path": "/spec/approvals/-", "value": { "step": first.name, "decision": "Approve", "by": "YOU" } }]);
    let what = first.message.as_deref().map_or(String::new(), |message| format!(": {message}"));
    let message = format!(
        "step {} asks for approval{what}{more}; answer with kubectl patch arun {run} -n {namespace} --type=json -p '{answer}', where YOU is what kubectl auth whoami says, or with Reject",
        first.name
    );
    Some(Waiting {
        reason: PENDING.to_owned(),
        message: cut(&message, 2048),
        until: first.approval.as_ref().map(|approval| approval.until.clone()),
    })
}

/// What a workflow in this one asks, word for word: the answer is given to its own run.
fn inner(seen: &Seen) -> Option<Waiting> {
    let mut going = seen.children.iter().filter(|child| !ledger::is_finished(child));
    let asks = |child: &Arc<AutomationRun>| {
        let waiting = child.status.as_ref()?.waiting_on.as_ref().filter(|waiting| waiting.reason == PENDING)?;
        let (step, _) = place(child)?;
        Some(Waiting { message: cut(&format!("step {step}: {}", waiting.message), 2048), ..waiting.clone() })
    };
    going.find_map(asks)
}

/// The steps whose questions are open.
pub(super) fn open(steps: &[StepStatus]) -> impl Iterator<Item = &StepStatus> {
    steps.iter().filter(|step| step.phase == Phase::Running && step.approval.is_some())
}
