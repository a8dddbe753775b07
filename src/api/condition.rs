//! Conditions: their types, and the one way to set one.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// Accepted and armed. Never about how runs end: GitOps tools wait for it.
pub const READY: &str = "Ready";
/// Present, and True, only while the spec needs a human.
pub const STALLED: &str = "Stalled";
/// Whether the schedule is paused.
pub const SUSPENDED: &str = "Suspended";
/// Whether the run that finished last ended well.
pub const LAST_RUN_SUCCEEDED: &str = "LastRunSucceeded";
/// Whether `slo` holds. Present only where there is one.
pub const OBJECTIVE_MET: &str = "ObjectiveMet";
/// On a run: whether it ended well.
pub const SUCCEEDED: &str = "Succeeded";

/// True, False or Unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It is so.
    True,
    /// It is not so.
    False,
    /// It cannot be told yet.
    Unknown,
}

impl Status {
    fn text(self) -> &'static str {
        match self {
            Status::True => "True",
            Status::False => "False",
            Status::Unknown => "Unknown",
        }
    }
}

impl From<bool> for Status {
    fn from(so: bool) -> Self {
        if so { Status::True } else { Status::False }
    }
}

/// One condition to set.
#[derive(Clone, Debug)]
pub struct Set<'a> {
    /// Its type.
    pub kind: &'static str,
    /// Its status.
    pub status: Status,
    /// Why, in one CamelCase word.
    pub reason: &'a str,
    /// The same in a sentence.
    pub message: String,
}

/// Whether the condition of that type is there and True.
#[must_use]
pub fn is_true(conditions: &[Condition], kind: &str) -> bool {
    find(conditions, kind).is_some_and(|condition| condition.status == "True")
}

/// Returns the conditions that `wanted` describes. The transition time moves only where the status differs from that in
/// `before`, so planning again from what was written gives the same conditions.
#[must_use]
pub fn conditions(before: &[Condition], wanted: Vec<Set<'_>>, generation: Option<i64>, now: Timestamp) -> Vec<Condition> {
    wanted
        .into_iter()
        .map(|set| {
            let since = before.iter().find(|c| c.type_ == set.kind && c.status == set.status.text());
            Condition {
                type_: set.kind.to_owned(),
                status: set.status.text().to_owned(),
                reason: set.reason.to_owned(),
                message: set.message,
                observed_generation: generation,
                last_transition_time: since.map_or(Time(now), |c| c.last_transition_time.clone()),
            }
        })
        .collect()
}

/// The condition of that type, where there is one.
#[must_use]
pub fn find<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|c| c.type_ == kind)
}
