//! `slo`: how many of a schedule's slots must end well and in time, and how that stands.

use k8s_openapi::{ByteString, apimachinery::pkg::apis::meta::v1::Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::vocabulary::matching;

/// How many of a schedule's slots must end well and in time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.windowRuns) != has(self.windowDays)").message("slo needs exactly one of windowRuns (such as 200) and windowDays (such as 30)"))]
pub struct Slo {
    /// How much of the window must be good, in percent with at most three decimals, such as `99.5%`. What it allows to be bad is
    /// rounded down to whole slots: 99.5% of 30 slots allows none, of 200 slots one.
    #[schemars(length(min = 2, max = 8))]
    #[x_kube(validation = matching(r"^(100(\.0{1,3})?|[1-9]?[0-9](\.[0-9]{1,3})?)%$", "must be a percentage of at most 100% with at most three decimals, such as 99.5%"), validation = Rule::new(r"!self.matches('^0(\\.0{1,3})?%$')").message("must be more than 0%: an objective that nothing can miss says nothing"))]
    pub objective: String,
    /// Over how many slots it holds: the last so many that were good or bad. With fewer so far, what may be bad is that of the
    /// whole window.
    #[schemars(range(min = 1, max = 10000))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_runs: Option<i32>,
    /// Over how many days it holds: today, and the days before it, from midnight to midnight UTC. What may be bad is that of all
    /// slots that the schedule has in these days, without those that are neither good nor bad.
    #[schemars(range(min = 1, max = 90))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_days: Option<i32>,
    /// A run must end within so many seconds of its slot, waits and retries included. While it goes on past that it counts as
    /// bad, and so it does when it then ends well.
    #[schemars(range(min = 1, max = 2_592_000))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finish_within_seconds: Option<i64>,
    /// A run must end by this local time in the schedule's zone, as `06:30`: the first such time after its slot. With
    /// `finishWithinSeconds` too, the earlier of both counts.
    #[schemars(length(min = 5, max = 5))]
    #[x_kube(validation = matching("^([01][0-9]|2[0-3]):[0-5][0-9]$", "must be a time of day from 00:00 to 23:59, such as 06:30"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finish_by: Option<String>,
}

/// How an objective stands. It follows from the slots alone: what `history` deletes has been counted before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SloStatus {
    /// State and budget in a few words, for `kubectl get`.
    #[schemars(length(max = 64))]
    #[serde(default)]
    pub summary: String,
    /// How it stands.
    #[serde(default)]
    pub state: SloState,
    /// The objective as it was last taken up.
    #[schemars(length(max = 8))]
    #[serde(default)]
    pub objective: String,
    /// The window, such as `200 runs` or `30 days`.
    #[schemars(length(max = 32))]
    #[serde(default)]
    pub window: String,
    /// How much of what was counted is good, rounded down; unset while nothing was counted.
    #[schemars(length(max = 8))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attainment: Option<String>,
    /// How many slots of the window were good or bad so far.
    #[serde(default)]
    pub counted: i64,
    /// How many of them were good.
    #[serde(default)]
    pub good: i64,
    /// How many of them were bad, those that are late just now among them.
    #[serde(default)]
    pub bad: i64,
    /// How many slots a full window has: `windowRuns`, or what the schedule has in `windowDays` that can be good or bad.
    #[serde(default)]
    pub window_slots: i64,
    /// How many of a full window may be bad.
    #[serde(default)]
    pub budget: i64,
    /// How many more may be bad; below zero where it is overspent.
    #[serde(default)]
    pub budget_left: i64,
    /// The last bad slots, newest last: five, and up to five more that are late just now.
    #[schemars(length(max = 10))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub last_bad: Vec<BadSlot>,
    /// The first slot that was counted since the objective was set, or since `windowRuns` gave way to `windowDays` or the other
    /// way round. What lies before it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// Slots up to this one are counted for good and are not looked at again, those in `open` apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folded_through: Option<Time>,
    /// Slots up to `foldedThrough` whose runs go on. The newest hundred: of more, the older ones are neither good nor bad.
    #[schemars(length(max = 100))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub open: Vec<OpenSlot>,
    /// With `windowRuns`: the slots of the window, good or bad, in their order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdicts: Option<Verdicts>,
    /// With `windowDays`: how many slots of each day were good or bad, oldest first.
    #[schemars(length(max = 90))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub days: Vec<DayCount>,
}

/// How an objective stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(description = "")]
pub enum SloState {
    /// No slot was good or bad so far.
    #[default]
    InsufficientData,
    /// More than a quarter of what may be bad is left, or nothing was bad.
    Met,
    /// A quarter or less of what may be bad is left.
    AtRisk,
    /// More was bad than may be.
    Breached,
}

/// A slot that was bad, or some neighbours that were missed together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BadSlot {
    /// The slot; the last one of several.
    pub slot: Time,
    /// How many slots, where they are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slots: Option<i64>,
    /// Name of its run, where it has one.
    #[schemars(length(max = 63))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// What was bad about it.
    pub cause: BadCause,
    /// Why, in one word, as the run or `notRun` has it.
    #[schemars(length(max = 128))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What is bad about a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(description = "")]
pub enum BadCause {
    /// Its run failed.
    Failed,
    /// Its run took longer than its timeouts allow.
    TimedOut,
    /// Somebody stopped its run, or `Replace` did.
    Cancelled,
    /// Its run goes on, or ended well, after the time that `finishWithinSeconds` or `finishBy` gives it.
    Late,
    /// Nothing started it in time.
    Missed,
}

/// A slot whose run goes on while later ones are counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OpenSlot {
    /// The slot.
    pub slot: Time,
    /// How many later ones are counted.
    pub later: i64,
}

/// Slots that were good or bad, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Verdicts {
    /// How many.
    pub count: i64,
    /// A bit for each, 1 where it was good, the oldest one first; the last byte is filled up with zeros.
    #[schemars(schema_with = "bits")]
    // To the API server no text is no base64.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub bits: ByteString,
}

fn is_empty(bits: &ByteString) -> bool {
    bits.0.is_empty()
}

fn bits(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "type": "string", "format": "byte", "maxLength": 1668 })
}

/// The slots of a day that were good or bad.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DayCount {
    /// The day, from midnight to midnight UTC, as `2026-12-25`.
    #[schemars(length(max = 10))]
    pub day: String,
    /// How many were good.
    pub good: i64,
    /// How many were bad.
    pub bad: i64,
}
