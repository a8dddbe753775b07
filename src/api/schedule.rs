//! When a task runs by itself, as its spec says it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::vocabulary::in_our_time;

/// When the task runs by itself. What Kubernetes' own CronJob controller can express it keeps, also while the operator is
/// down; the rest the operator starts itself. `status.clock` says which of the two, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.catchUp) || self.catchUp.policy != 'All' || (has(self.concurrencyPolicy) && self.concurrencyPolicy in ['Allow', 'Queue'])").message("catchUp.policy All needs concurrencyPolicy Queue or Allow: under Forbid and Replace no slot waits for another").field_path(".catchUp"),
    validation = Rule::new("!has(self.catchUp) || !has(self.catchUp.limit) || self.catchUp.limit <= 20 || (has(self.concurrencyPolicy) && self.concurrencyPolicy == 'Allow')").message("catchUp.limit must be at most 20 with concurrencyPolicy Queue, of which no more than 20 wait; lower it, or use Allow").field_path(".catchUp.limit"),
    validation = Rule::new("!has(self.notBefore) || !has(self.notAfter) || self.notBefore < self.notAfter").message("notAfter must lie after notBefore").field_path(".notAfter")
)]
pub struct Schedule {
    /// Cron lines; the task is due when any of them is. Five fields (minute, hour, day of month, month, day of week)
    /// or `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`. `H` stands for a value that is hashed from the task's
    /// namespace and name: it is always the same for one task and spreads the load of many, as in `H 2 * * *`
    /// (some minute after two), `H/15 * * * *` or `H(0-29) * * * *`. Sunday is 0 or 7. Where clocks are put forward a time
    /// that they jump over does not happen; where they are put back a time that they repeat happens twice, unless
    /// `daylightSaving` says otherwise. A minute that several lines name is one slot.
    #[schemars(schema_with = "cron_lines")]
    pub cron: Vec<String>,
    /// IANA name of the zone that the cron lines are meant in, for example `Europe/Berlin`. UTC where unset.
    #[schemars(schema_with = "time_zone")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// Pauses the schedule. Runs on demand still work. Slots of the pause are not run when it ends; `status.notRun` tells them.
    /// To pause by hand where Git keeps the spec, annotate the task: `nightshift.dev/paused-until=indefinite`, or a time such
    /// as `2026-12-01T06:00:00Z`, and `nightshift.dev/pause-reason`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,
    /// What happens when a slot is due while the run of an earlier slot goes on. `Forbid` (where unset) skips the slot,
    /// `Allow` runs both, `Replace` stops the earlier one, `Queue` lets it wait for its turn (20 at most; a slot that finds
    /// the queue full is skipped). It speaks of scheduled runs only: runs on demand are beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency_policy: Option<ConcurrencyPolicy>,
    /// How late a slot may start, in seconds; where unset 60, or a day with `catchUp` Latest or All. A slot that could not
    /// start in time (the cluster was down, or under Forbid the run before it went on) is dropped. Until then it may still
    /// start: under Forbid up to that long after its time, should the run before it end.
    #[schemars(range(min = 10, max = 31_622_400))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starting_deadline_seconds: Option<i64>,
    /// What becomes of slots that passed while nothing could start them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catch_up: Option<CatchUp>,
    /// Days without slots, in the schedule's zone, as `2026-12-25`: holidays, freezes.
    #[schemars(schema_with = "dates")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    /// What becomes of slots at the two clock changes of the year. Where unset, what Kubernetes' CronJob controller does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub daylight_saving: Option<DaylightSaving>,
    /// No slot before this time, as `2026-12-01T00:00:00Z`.
    #[x_kube(validation = in_our_time())]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Time>,
    /// No slot after this time, as `2027-01-31T23:59:59Z`.
    #[x_kube(validation = in_our_time())]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Time>,
}

impl Schedule {
    /// What decides when the slots are, and nothing else.
    #[must_use]
    pub fn slots_only(&self) -> Self {
        Self { suspend: None, concurrency_policy: None, starting_deadline_seconds: None, catch_up: None, ..self.clone() }
    }

    /// `concurrencyPolicy`, resolved.
    #[must_use]
    pub fn policy(&self) -> ConcurrencyPolicy {
        self.concurrency_policy.unwrap_or_default()
    }

    /// `catchUp.policy`, resolved.
    #[must_use]
    pub fn catch_up_policy(&self) -> CatchUpPolicy {
        self.catch_up.as_ref().map(|catch_up| catch_up.policy).unwrap_or_default()
    }

    /// `catchUp.limit`, resolved: how many of the slots that passed are still run.
    #[must_use]
    pub fn catch_up_limit(&self) -> usize {
        let limit = self.catch_up.as_ref().and_then(|catch_up| catch_up.limit).unwrap_or(10);
        if self.catch_up_policy() == CatchUpPolicy::All { usize::try_from(limit).unwrap_or(1).max(1) } else { 1 }
    }

    /// `startingDeadlineSeconds`, resolved.
    #[must_use]
    pub fn deadline_seconds(&self) -> i64 {
        let unset = if self.catch_up_policy() == CatchUpPolicy::None { 60 } else { 86_400 };
        self.starting_deadline_seconds.unwrap_or(unset)
    }
}

/// What becomes of slots that passed while nothing could start them: the operator or the cluster was down.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.limit) || self.policy == 'All'").message("limit goes with policy All; Latest runs one slot, None runs none").field_path(".limit")
)]
pub struct CatchUp {
    /// `None` runs none that is later than `startingDeadlineSeconds` (60 where unset), `Latest` the newest of them, `All`
    /// each of them, oldest first. None and Latest keep to Kubernetes' own clock, where nothing else is in the way.
    pub policy: CatchUpPolicy,
    /// With `All`: how many at most, the newest; the rest is recorded as missed. 10 where unset.
    #[schemars(range(min = 1, max = 100))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<i32>,
}

/// Which of the slots that passed are run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(description = "")]
pub enum CatchUpPolicy {
    /// None.
    #[default]
    None,
    /// The newest.
    Latest,
    /// All of them, up to a limit.
    All,
}

/// What becomes of slots at clock changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.gap) || has(self.overlap)").message("daylightSaving: set gap, overlap or both; leave it out for what Kubernetes does"))]
pub struct DaylightSaving {
    /// A time that the clocks jump over: `Skip` (where unset) has no slot there, `RunAfter` has it at the moment the clocks
    /// have jumped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gap: Option<GapPolicy>,
    /// A time that the clocks show twice: `Both` (where unset) has two slots, `First` and `Last` one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlap: Option<OverlapPolicy>,
}

/// What becomes of a time that the clocks jump over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(description = "")]
pub enum GapPolicy {
    /// It does not happen.
    #[default]
    Skip,
    /// It happens at the first moment after the jump.
    RunAfter,
}

/// What becomes of a time that the clocks show twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(description = "")]
pub enum OverlapPolicy {
    /// It happens twice.
    #[default]
    Both,
    /// It happens the first time.
    First,
    /// It happens the second time.
    Last,
}

/// What happens when a slot is due while the run of an earlier slot goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(description = "")]
pub enum ConcurrencyPolicy {
    /// Skip the slot.
    #[default]
    Forbid,
    /// Run both.
    Allow,
    /// Stop the earlier run.
    Replace,
    /// Wait for the earlier run to end.
    Queue,
}

fn dates(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "array", "maxItems": 366, "x-kubernetes-list-type": "set",
        "items": {
            "type": "string", "maxLength": 10,
            "x-kubernetes-validations": [
                { "rule": "self.matches('^[0-9]{4}-[0-9]{2}-[0-9]{2}$')", "message": "schedule.exclude: want a day as 2026-12-25" },
                { "rule": "!self.matches('^[0-9]{4}-[0-9]{2}-[0-9]{2}$') || timestamp(self + 'T00:00:00Z').getFullYear() > 0", "message": "schedule.exclude: there is no such day; correct it or take it out" }
            ]
        }
    })
}

fn time_zone(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "string", "minLength": 1, "maxLength": 64,
        "x-kubernetes-validations": [
            {
                "rule": "self.matches('^[A-Z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*$') && self != 'Local'",
                "message": "timeZone must be an IANA name such as UTC or Europe/Berlin"
            },
            { "rule": "timestamp('2026-01-01T00:00:00Z').getHours(self) >= 0", "message": "timeZone is not known; use an IANA name such as Europe/Berlin" }
        ]
    })
}

fn cron_lines(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let field = |value: &str| {
        let item = format!(r"(\*|\?|H(\([0-9]{{1,2}}-[0-9]{{1,2}}\))?|({value})(-({value}))?)(/[1-9][0-9]?)?");
        format!("{item}(,{item})*")
    };
    let (minute, hour, dom) = (field("[0-5]?[0-9]"), field("[01]?[0-9]|2[0-3]"), field("0?[1-9]|[12][0-9]|3[01]"));
    let month = field("0?[1-9]|1[0-2]|JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC");
    let dow = field("[0-7]|SUN|MON|TUE|WED|THU|FRI|SAT");
    let pattern = format!("(?i)^(@(hourly|daily|midnight|weekly|monthly|yearly|annually)|{minute} +{hour} +{dom} +{month} +{dow})$")
        .replace('\\', r"\\");
    schemars::json_schema!({
        "type": "array", "minItems": 1, "maxItems": 8, "x-kubernetes-list-type": "set",
        "items": {
            "type": "string", "minLength": 5, "maxLength": 128,
            "x-kubernetes-validations": [{
                "rule": format!("self.matches('{pattern}')"),
                "message": "schedule.cron: want five fields (minute hour day-of-month month day-of-week, such as '30 2 * * 1-5' or 'H 2 * * *') or @hourly, @daily, @weekly, @monthly, @yearly; the zone goes into schedule.timeZone, and @every and @reboot have no slots to account for"
            }]
        }
    })
}
