//! When a task runs by itself, as its spec says it.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// When the task runs by itself. Kubernetes' own CronJob controller keeps this schedule, also while the operator is down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Schedule {
    /// Cron lines; the task is due when any of them is. Five fields (minute, hour, day of month, month, day of week)
    /// or `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`. `H` stands for a value that is hashed from the task's
    /// namespace and name: it is always the same for one task and spreads the load of many, as in `H 2 * * *`
    /// (some minute after two), `H/15 * * * *` or `H(0-29) * * * *`. Sunday is 0 or 7. Where clocks are put forward a time
    /// that they jump over does not happen; where they are put back a time that they repeat happens twice. With more than
    /// one line, `concurrencyPolicy` Forbid and Replace need runs that end before the next slot of any line: set
    /// `timeouts.runSeconds`.
    #[schemars(schema_with = "cron_lines")]
    pub cron: Vec<String>,
    /// IANA name of the zone that the cron lines are meant in, for example `Europe/Berlin`. UTC where unset.
    #[schemars(schema_with = "time_zone")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// Pauses the schedule. Runs on demand still work. Slots of the pause are not run when it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,
    /// What happens when a slot is due while the run of an earlier slot goes on. `Forbid` (where unset) skips the slot,
    /// `Allow` runs both, `Replace` stops the earlier one. It speaks of scheduled runs only: runs on demand are beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency_policy: Option<ConcurrencyPolicy>,
    /// How late a slot may start, in seconds; 60 where unset. A slot that could not start in time (the cluster was
    /// down, or under Forbid the run before it went on) is dropped. Until then it may still start: under Forbid up to
    /// that long after its time, should the run before it end.
    #[schemars(range(min = 10, max = 604_800))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starting_deadline_seconds: Option<i64>,
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
