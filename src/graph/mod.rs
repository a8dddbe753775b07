//! Which steps of a workflow may start, and what a run of it comes to.
//!
//! A [`Graph`] is made once from a definition; [`Graph::decide`] then says everything from the runs of its steps alone. It
//! has no memory: what was decided and never written is decided again, from the same evidence to the same end. Only what
//! cannot be seen any more, since somebody deleted the run of a step, is taken from what is on record.

mod build;
mod check;
mod decide;
mod definition;
mod each;
mod end;
#[cfg(test)]
mod model;
mod sample;
#[cfg(test)]
mod tests;
mod values;

use std::collections::BTreeMap;

use jiff::{Timestamp, tz::TimeZone};
use serde_json::Value;

pub use check::{Target, check};
pub use definition::Definition;

use crate::{
    api::{Outcome, ParameterValue},
    expression::Expression,
};

/// Why a step ended without a run, or a workflow as it did.
pub mod reason {
    /// A step that it depends on ended NoData.
    pub const UPSTREAM_NO_DATA: &str = "UpstreamNoData";
    /// A step that it depends on ended badly.
    pub const UPSTREAM_FAILED: &str = "UpstreamFailed";
    /// A step that it depends on was skipped.
    pub const UPSTREAM_SKIPPED: &str = "UpstreamSkipped";
    /// A step that it depends on Succeeded, and it wants another outcome.
    pub const UPSTREAM_SUCCEEDED: &str = "UpstreamSucceeded";
    /// Its `when` gave false.
    pub const WHEN_FALSE: &str = "WhenFalse";
    /// One of its expressions has no value, or a value of the wrong kind.
    pub const INVALID_EXPRESSION: &str = "InvalidExpression";
    /// Its list is longer than `forEach.maxItems`.
    pub const TOO_MANY_ITEMS: &str = "TooManyItems";
    /// Its list is empty.
    pub const NO_ITEMS: &str = "NoItems";
    /// More items ended badly than `forEach.maxFailed` allows.
    pub const ITEMS_FAILED: &str = "ItemsFailed";
    /// All items, or all but those that may fail, ended well.
    pub const ITEMS_ENDED: &str = "ItemsEnded";
    /// Another step ended badly and nothing is started any more.
    pub const FAIL_FAST: &str = "FailFast";
    /// Somebody said yes.
    pub const APPROVED: &str = "Approved";
    /// Somebody said no.
    pub const REJECTED: &str = "Rejected";
    /// Nobody said anything in time.
    pub const APPROVAL_TIMED_OUT: &str = "ApprovalTimedOut";
    /// The run of the workflow was cancelled before the step started.
    pub const WORKFLOW_CANCELLED: &str = "WorkflowCancelled";
    /// The time of the workflow's run was over before the step started.
    pub const WORKFLOW_TIMED_OUT: &str = "WorkflowTimedOut";
    /// The run of the step was deleted before it ended.
    pub const RUN_DELETED: &str = "RunDeleted";
    /// A step ended badly and no other step takes care of it.
    pub const STEP_FAILED: &str = "StepFailed";
    /// A step of `finally` ended badly.
    pub const FINALLY_FAILED: &str = "FinallyFailed";
    /// Every step ended well, or was rightly skipped.
    pub const STEPS_ENDED: &str = "StepsEnded";
    /// There was nothing to do.
    pub const NO_DATA: &str = "NoData";
    /// No step was run.
    pub const ALL_SKIPPED: &str = "AllSkipped";
}

/// A workflow's definition, ready to decide on: names resolved, expressions parsed, in an order in which each step comes
/// after those that it depends on.
#[derive(Clone, Debug)]
pub struct Graph {
    nodes: Vec<Node>,
    /// How many of the nodes are `steps`; the rest is `finally`.
    regular: usize,
    /// The nodes of `steps`, each after those that it depends on, otherwise as they are written.
    order: Vec<usize>,
    fail_fast: bool,
    parallelism: usize,
}

#[derive(Clone, Debug)]
struct Node {
    name: String,
    /// Where it stands, for messages: `steps[2]`.
    field: String,
    needs: Vec<Edge>,
    when: Option<Expression>,
    parameters: Vec<(String, Given)>,
    each: Option<Each>,
    /// Whether it asks somebody and runs nothing.
    asks: bool,
    /// Outputs that are declared to be numbers: JSON writes 2.0 as 2, which CEL would not multiply by 1.5.
    numbers: Vec<String>,
}

#[derive(Clone, Debug)]
struct Edge {
    node: usize,
    outcomes: Vec<Outcome>,
}

#[derive(Clone, Debug)]
enum Given {
    Value(String),
    Expression(Expression),
}

#[derive(Clone, Debug)]
struct Each {
    items: Items,
    parallelism: usize,
    max_items: usize,
    max_failed: usize,
    fail_fast: bool,
}

#[derive(Clone, Debug)]
enum Items {
    List(Vec<Value>),
    Expression(Expression),
}

/// What a run of the workflow is known to have come to so far.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// The run's parameters, resolved.
    pub parameters: &'a BTreeMap<String, String>,
    /// The slot that it is for.
    pub slot: Option<Timestamp>,
    /// The zone in which times are told.
    pub zone: &'a TimeZone,
    /// What has been seen of each step, by name. A step that is not in it has not begun.
    pub steps: BTreeMap<&'a str, StepFacts<'a>>,
    /// Why `steps` are to end.
    pub stop: Option<Stop>,
    /// What `steps` came to, where it is on record: what comes while `finally` runs does not change it.
    pub steps_end: Option<Ended>,
    /// Whether the time that is kept for `finally` is over too.
    pub finally_over: bool,
}

/// What has been seen of a step.
#[derive(Clone, Debug, Default)]
pub struct StepFacts<'a> {
    /// Its runs, by index of the item; 0 for a step without `forEach`. A rerun that keeps what went well gives the runs that
    /// it keeps. What a step with `approval` has asked, and was answered, stands here as its run.
    pub runs: BTreeMap<usize, RunFacts<'a>>,
    /// What is on record of it.
    pub recorded: Option<Recorded>,
}

/// The run of a step, or of an item.
#[derive(Clone, Copy, Debug)]
pub struct RunFacts<'a> {
    /// How it ended; `None` while it goes on.
    pub outcome: Option<Outcome>,
    /// Why, in one word and in a sentence.
    pub told: (&'a str, &'a str),
    /// Its outputs.
    pub outputs: Option<&'a Value>,
    /// Whether it is one of the run that this one repeats, whose end is kept.
    pub kept: bool,
}

/// What an earlier look wrote down of a step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// How many runs it had: those of the first items.
    pub started: usize,
    /// How many items its list has, once the first of them began.
    pub items: Option<usize>,
    /// How it ended, and why.
    pub ended: Option<Ended>,
}

/// Why the steps of a workflow are to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Somebody cancelled the run.
    Cancelled,
    /// Its time is over.
    TimedOut,
}

/// The end of a step, or of the workflow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// How.
    pub outcome: Outcome,
    /// Why, in one word.
    pub reason: String,
    /// The same in a sentence.
    pub message: String,
}

/// What is to be done, and how everything stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The steps, then those of `finally`, as they are written.
    pub steps: Vec<StepState>,
    /// Runs to create, in this order.
    pub start: Vec<Start>,
    /// Steps that begin to ask for approval.
    pub ask: Vec<String>,
    /// Runs to cancel: step and index.
    pub stop: Vec<(String, usize)>,
    /// What `steps` came to, once they have ended; to be recorded before a step of `finally` is started.
    pub steps_end: Option<Ended>,
    /// What the workflow's run came to, once all has ended.
    pub end: Option<Ended>,
}

/// How a step stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepState {
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub at: At,
    /// Its items, where it has `forEach` and its list is known.
    pub items: Option<Counts>,
}

/// Where a step stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum At {
    /// It has not begun; on what it waits.
    Waiting(String),
    /// It has begun, or begins now.
    Running,
    /// It is over.
    Ended(Ended),
}

/// What became of the items of a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// How many there are.
    pub total: usize,
    /// How many go on, those that begin now among them.
    pub running: usize,
    /// How many Succeeded.
    pub succeeded: usize,
    /// How many ended NoData.
    pub no_data: usize,
    /// How many ended badly.
    pub failed: usize,
    /// How many were skipped by themselves.
    pub skipped: usize,
}

/// A run to create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// The step.
    pub step: String,
    /// The index of the item, in a step with `forEach`.
    pub index: Option<usize>,
    /// The values that it is given.
    pub parameters: Vec<ParameterValue>,
}

/// Whether an outcome is one that a workflow must not end well with, where nothing takes care of it.
fn is_bad(outcome: Outcome) -> bool {
    !matches!(outcome, Outcome::Succeeded | Outcome::NoData | Outcome::Skipped)
}

impl Ended {
    fn new(outcome: Outcome, reason: &str, message: impl Into<String>) -> Self {
        Self { outcome, reason: reason.to_owned(), message: message.into() }
    }
}

impl At {
    /// How the step ended, where it has.
    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        match self {
            At::Ended(ended) => Some(ended.outcome),
            At::Waiting(_) | At::Running => None,
        }
    }
}
