//! What to do about a run of a workflow: start the runs of its steps, stop them, conclude it.
//!
//! It only decides "create this run" and "cancel that one". Attempts, their classes and their timeouts are the business of
//! the steps' own runs; which step may start is the graph's.

pub mod approvals;
mod facts;
mod kept;
mod report;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, sync::Arc};

use jiff::{SignedDuration, Timestamp};

use approvals::Questions;
use facts::{Times, facts};
pub use kept::Original;
use kept::kept;
pub(super) use report::DEFINITION_PENDING;
use report::Draft;

use super::{
    Change, Plan, Refusal,
    identity::{Identity, identity},
    workflow::{self, Rejected},
};
use crate::{
    admission,
    api::{AutomationRun, AutomationRunStatus, Outcome, Phase, Step, Workflow, WorkflowSpec},
    build,
    graph::{Decision, Definition, Start},
    ledger,
    outcome::reason,
};

/// How long a run may wait for a workflow that does not exist, or lacks something: as long as a task's run for its task.
const NOT_READY_SECONDS: i64 = 900;
/// How soon to try again what was refused.
const AGAIN: SignedDuration = SignedDuration::from_secs(15);

/// All that is known about a run of a workflow when it is planned.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The run.
    pub run: Arc<AutomationRun>,
    /// Its workflow as it is now.
    pub workflow: Option<Arc<Workflow>>,
    /// What it runs.
    pub defined: Defined,
    /// The runs of its steps.
    pub children: Vec<Arc<AutomationRun>>,
    /// The runs of its workflow, where it is not on record what it repeats.
    pub siblings: Vec<Arc<AutomationRun>>,
    /// When answers were given that are seen only after their time, by step.
    pub answered: BTreeMap<String, Timestamp>,
    /// The runs that it repeats from their failed steps: the one in `rerunOf` first.
    pub originals: Vec<Original>,
    /// What the API server refused in this pass.
    pub refusals: Vec<Refusal>,
}

/// What a run of a workflow runs.
#[derive(Clone, Debug)]
pub enum Defined {
    /// What it has begun with, or was created for.
    Frozen(Arc<Definition>),
    /// The same, but its revision, of this name, is not there any more.
    Gone(String),
    /// It has not begun, and runs the workflow as it is.
    AsItIs(Result<Arc<Definition>, Rejected>),
    /// It has not begun, and there is no workflow of that name.
    NoWorkflow,
}

/// Plans a run of a workflow.
#[must_use]
pub fn plan(seen: &Seen, now: Timestamp) -> Plan<AutomationRunStatus> {
    let before = seen.run.status.clone().unwrap_or_default();
    // A run of a task may have come in the place of one of a workflow.
    let is_workflow = seen.run.spec.workflow_ref.is_some();
    if !is_workflow || seen.run.metadata.deletion_timestamp.is_some() || before.phase == Some(Phase::Finished) {
        return Plan::nothing(before);
    }
    let mut draft = draft(seen, &before, now);
    let mut going = seen.children.iter().filter(|child| !ledger::is_finished(child)).peekable();
    if draft.ends() && going.peek().is_some() {
        // It is not over before its steps are, whatever has become of what it was to run.
        draft = draft.stopping(going.filter(|child| child.spec.cancel != Some(true)).map(|child| cancel(child)).collect());
    }
    // Last: nothing that the run needs waits for it.
    draft.changes.extend(own(seen));
    draft.into_plan(seen, &before, now)
}

/// Makes the workflow the owner of a run that somebody created, so that it goes when that goes.
fn own(seen: &Seen) -> Option<Change> {
    let owners = seen.run.metadata.owner_references.iter().flatten();
    let owned = owners.into_iter().any(|owner| ["Workflow", "AutomationRun", "Backfill"].contains(&owner.kind.as_str()));
    let workflow = seen.workflow.as_deref().filter(|workflow| workflow.metadata.deletion_timestamp.is_none() && !owned)?;
    Some(Change::own_run(&seen.run, Some(build::owned_by_workflow(workflow)), false))
}

fn cancel(child: &AutomationRun) -> Change {
    Change::CancelRun {
        name: child.metadata.name.clone().unwrap_or_default(),
        uid: child.metadata.uid.clone().unwrap_or_default(),
        replaced_by: None,
    }
}

fn draft(seen: &Seen, before: &AutomationRunStatus, now: Timestamp) -> Draft {
    let begun = before.start_time.is_some() || !seen.children.is_empty();
    let cancelled = seen.run.spec.cancel == Some(true);
    if cancelled && !begun {
        return Draft::end(Outcome::Cancelled, reason::CANCELLED, "spec.cancel was set before the run started".to_owned());
    }
    let identity = match identity(&seen.run, before, &seen.siblings) {
        Ok(identity) => identity,
        Err(problem) => return Draft::end(Outcome::Failed, reason::INVALID_RERUN, problem),
    };
    let policy = seen.workflow.as_ref().map(|workflow| workflow.spec.policy()).unwrap_or_default();
    if let Some(ahead) = admission::ahead(&seen.run, &seen.siblings, policy).filter(|_| !begun) {
        return match admission::turn(&seen.run, &ahead, policy) {
            Ok(message) => Draft::waiting(reason::QUEUED, &message, None),
            Err(message) => Draft::end(Outcome::Skipped, reason::SLOT_TAKEN, message),
        };
    }
    let definition = match definition(seen, before, now) {
        Ok(definition) => definition,
        Err(draft) => return *draft,
    };
    let nothing_kept = seen.originals.first().is_none_or(|original| original.definition.is_none());
    if seen.run.spec.from_failed == Some(true) && nothing_kept && !begun {
        let message = "spec.fromFailed: the run in rerunOf, or what it ran, is not there any more, so none of its steps can be kept; create a rerun without fromFailed".to_owned();
        return Draft::end(Outcome::Failed, reason::INVALID_RERUN, message);
    }
    let name = seen.run.spec.workflow_name().unwrap_or_default();
    let Some((spec, graph)) = definition.workflow(name) else {
        let message = format!("revision {} does not hold workflow {name}; create another AutomationRun", definition.name);
        return Draft::end(Outcome::Failed, reason::REVISION_GONE, message);
    };
    let parameters = match parameters(spec, &identity, &seen.run) {
        Ok(parameters) => parameters,
        Err(problem) => return Draft::end(Outcome::Failed, "InvalidParameters", problem),
    };
    let times = Times::of(seen, before, definition.seconds(name), now);
    let zone = definition.zone();
    let kept = kept(spec, &definition.name, &seen.originals);
    let mut questions = approvals::questions(seen, before, spec, &kept, now);
    loop {
        let mut facts = facts(seen, before, &parameters, (identity.slot, zone), &times);
        facts::keep(&mut facts, &kept);
        approvals::add(&mut facts, &questions);
        let decision = match graph.decide(&facts) {
            Ok(decision) => decision,
            // The machine has no room for it now; what runs goes on.
            Err(problem) => return Draft { again: Some(now + AGAIN), ..Draft::waiting("CannotDecide", &problem, None) },
        };
        if !approvals::ask(&mut questions, seen, spec, &decision, (now, times.steps_until)) {
            let known = Known { definition, spec, identity: &identity, times: &times, kept: kept::names(&kept), questions };
            return carry_out(seen, before, known, decision, now);
        }
    }
}

/// What a run is about to be carried out with.
struct Known<'a> {
    definition: &'a Definition,
    spec: &'a WorkflowSpec,
    identity: &'a Identity,
    times: &'a Times,
    /// Names of the runs of steps that are kept, by step.
    kept: BTreeMap<String, String>,
    questions: Questions,
}

/// What it runs, or why it cannot run yet, or at all.
fn definition<'a>(seen: &'a Seen, before: &AutomationRunStatus, now: Timestamp) -> Result<&'a Definition, Box<Draft>> {
    // Counted from when it was first found to wait for that: the operator may have been away, or another run first.
    let waits = before.waiting_on.as_ref().filter(|waiting| waiting.reason != reason::QUEUED);
    let since = waits.and_then(|waiting| waiting.until.as_ref()).map(|until| until.0);
    let until = since.unwrap_or_else(|| now.checked_add(SignedDuration::from_secs(NOT_READY_SECONDS)).unwrap_or(Timestamp::MAX));
    let wait = |why: &str, message: String| {
        if now >= until {
            return Box::new(Draft::end(Outcome::TimedOut, why, message));
        }
        Box::new(Draft { again: Some(until), ..Draft::waiting(why, &message, Some(until)) })
    };
    let name = seen.run.spec.workflow_name().unwrap_or_default();
    match &seen.defined {
        Defined::Frozen(definition) => Ok(definition),
        Defined::Gone(revision) => {
            let message = format!(
                "the definition that it was to run is gone: there is no ControllerRevision {revision}; create another AutomationRun"
            );
            Err(Box::new(Draft::end(Outcome::Failed, reason::REVISION_GONE, message)))
        }
        Defined::NoWorkflow => Err(wait(workflow::NOT_FOUND, workflow::not_found(name))),
        Defined::AsItIs(Err(rejected)) if rejected.is_missing => {
            Err(wait("WorkflowNotReady", format!("workflow {name} lacks something: {}", rejected.message())))
        }
        Defined::AsItIs(Err(rejected)) => {
            let message = format!("workflow {name}: {}", rejected.message());
            Err(Box::new(Draft::end(Outcome::Failed, "WorkflowInvalid", message)))
        }
        Defined::AsItIs(Ok(definition)) => {
            if seen.workflow.as_ref().is_some_and(|workflow| workflow::is_kept(workflow, definition)) {
                return Ok(definition);
            }
            Err(wait(DEFINITION_PENDING, workflow::not_kept(name)))
        }
    }
}

/// The values of its parameters. What a rerun inherits, and the workflow does not have any more, is nobody's mistake.
fn parameters(spec: &WorkflowSpec, identity: &Identity, run: &AutomationRun) -> Result<BTreeMap<String, String>, String> {
    let known = |name: &String| spec.parameters.iter().any(|parameter| parameter.name == *name);
    let own = |name: &String| run.spec.parameters.iter().any(|value| value.name == *name);
    let given: Vec<_> = identity.parameters.iter().filter(|value| known(&value.name) || own(&value.name)).cloned().collect();
    Ok(build::parameters::resolve("workflow", &spec.parameters, &given)?.into_iter().collect())
}

/// From what the graph says to what is written.
fn carry_out(seen: &Seen, before: &AutomationRunStatus, known: Known, decision: Decision, now: Timestamp) -> Draft {
    // What the steps came to is on record before the first step of `finally` begins: it is judged by nothing else.
    let unrecorded = before.steps_end.is_none() && decision.steps_end.is_some() && !known.spec.finally.is_empty();
    let is_finally = |start: &Start| known.spec.finally.iter().any(|step| step.name == start.step);
    // So is that nobody answered in time: an answer that comes now must not go another way than what has begun.
    let unheard = approvals::is_unrecorded(&known.questions, before);
    let held = |start: &Start| unheard || unrecorded && is_finally(start);
    let starts: Vec<&Start> = decision.start.iter().filter(|start| !held(start)).collect();
    let mut changes: Vec<Change> = starts.iter().filter_map(|start| create(seen, &known, start)).collect();
    for (step, item) in &decision.stop {
        let child = seen.children.iter().find(|child| facts::place(child).is_some_and(|(of, index)| of == step && index == *item));
        if let Some(child) = child.filter(|child| child.spec.cancel != Some(true)) {
            changes.push(cancel(child));
        }
    }
    let again = (!seen.refusals.is_empty()).then(|| now + AGAIN);
    let wake = [known.times.wake(&decision, now), approvals::wake(&decision, &known.questions), again].into_iter().flatten().min();
    Draft {
        changes,
        questions: known.questions,
        decision: Some(decision),
        kept: known.kept,
        definition: Some(known.definition.name.clone()),
        again: wake,
        ..Draft::default()
    }
}

fn create(seen: &Seen, known: &Known, start: &Start) -> Option<Change> {
    let step: &Step = known.spec.steps.iter().chain(&known.spec.finally).find(|step| step.name == start.step)?;
    let run = build::StepRun {
        step,
        item: start.index,
        parameters: start.parameters.clone(),
        slot: known.identity.slot,
        key: &known.identity.key,
        revision: &known.definition.name,
    };
    Some(Change::CreateRun(Box::new(build::step_run(&seen.run, &known.definition.bundle, run))))
}
