//! What was promised to a run when its Job was rendered.

use serde::{Deserialize, Serialize};

use super::{ConcurrencyPolicy, ExitCodes, Retry};

/// The frozen terms of a run: every default resolved. It travels with the Job as an annotation, so a Job that ran while
/// the operator was down, or whose task has since changed or gone, is still judged by the terms it started under.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Contract {
    /// `metadata.generation` of the task.
    pub generation: i64,
    /// What exit codes mean.
    #[serde(default)]
    pub exit_codes: ExitCodes,
    /// Retries and their waits.
    #[serde(default)]
    pub retry: Retry,
    /// `timeouts.attemptSeconds`, resolved.
    pub attempt_seconds: i64,
    /// `timeouts.pendingSeconds`, resolved.
    pub pending_seconds: i64,
    /// `timeouts.runSeconds`, resolved.
    pub run_seconds: i64,
    /// The pod's grace period.
    pub grace_seconds: i64,
    /// Overlap policy, to tell a replaced run from a deleted one.
    #[serde(default)]
    pub concurrency_policy: ConcurrencyPolicy,
}

/// The terms of a task that says nothing, for a Job whose own are missing or spoilt.
impl Default for Contract {
    fn default() -> Self {
        Self::of(&super::AutomationTaskSpec::default(), 0)
    }
}

impl Contract {
    /// The terms of a task, every default resolved.
    #[must_use]
    pub fn of(task: &super::AutomationTaskSpec, generation: i64) -> Self {
        let retry = task.retry.clone().unwrap_or_default();
        let timeouts = task.timeouts.clone().unwrap_or_default();
        let attempt_seconds = timeouts.attempt_seconds.unwrap_or(3600);
        let pending_seconds = timeouts.pending_seconds.unwrap_or(900);
        let grace_seconds = task.template.as_ref().and_then(super::PodTemplate::grace_seconds).unwrap_or(30);
        let run_seconds = timeouts.run_seconds.unwrap_or_else(|| {
            let attempts = i64::from(retry.limit.unwrap_or(0)) + 1;
            pending_seconds + attempts * (attempt_seconds + grace_seconds) + retry.all_waits_seconds()
        });
        Self {
            generation,
            exit_codes: task.exit_codes.clone().unwrap_or_default(),
            attempt_seconds,
            pending_seconds,
            run_seconds,
            grace_seconds,
            concurrency_policy: task.policy(),
            retry,
        }
    }

    /// Whether each attempt is a Job that the operator makes; otherwise the Job controller retries within one Job.
    #[must_use]
    pub fn operator_makes_attempts(&self) -> bool {
        self.retry.operator_makes_attempts()
    }
}

impl Retry {
    /// Seconds to wait before the given retry (1 is the first), without jitter.
    #[must_use]
    pub fn wait_seconds(&self, retry: i32) -> i64 {
        let nth = retry.clamp(1, 1000) - 1;
        match &self.backoff {
            Some(backoff) => {
                let max = backoff.max_seconds.unwrap_or(3600).max(backoff.initial_seconds);
                let factor = i64::from(backoff.factor_percent.unwrap_or(200));
                // Stops growing once it is over the cap, so a thousandth retry cannot overflow.
                (0..nth).fold(backoff.initial_seconds, |wait, _| if wait >= max { max } else { wait * factor / 100 }).min(max)
            }
            // What the Job controller does by itself.
            None => (0..nth).fold(10, |wait: i64, _| (wait * 2).min(360)),
        }
    }

    /// Seconds of all waits together, jitter at its highest.
    #[must_use]
    pub fn all_waits_seconds(&self) -> i64 {
        let waits: i64 = (1..=self.limit.unwrap_or(0)).map(|retry| self.wait_seconds(retry)).sum();
        waits + waits * i64::from(self.jitter_percent()) / 100
    }

    /// `backoff.jitterPercent`, resolved.
    #[must_use]
    pub fn jitter_percent(&self) -> i32 {
        self.backoff.as_ref().and_then(|b| b.jitter_percent).unwrap_or(0)
    }

    /// See [`Contract::operator_makes_attempts`].
    #[must_use]
    pub fn operator_makes_attempts(&self) -> bool {
        self.limit.unwrap_or(0) > 0 && (self.backoff.is_some() || self.on_timeout == Some(false))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn of(mut spec: Value) -> Contract {
        spec["owner"] = json!({ "team": "data" });
        Contract::of(&serde_json::from_value(spec).unwrap(), 7)
    }

    #[test]
    fn a_task_that_says_nothing_has_finite_terms() {
        let terms = of(json!({ "image": "i" }));
        assert_eq!((terms.attempt_seconds, terms.pending_seconds, terms.grace_seconds), (3600, 900, 30));
        assert_eq!(terms.run_seconds, 900 + 3600 + 30);
        assert_eq!((terms.retry.clone(), terms.generation, terms.operator_makes_attempts()), (Retry::default(), 7, false));
        assert_eq!(terms.concurrency_policy, ConcurrencyPolicy::Forbid);
        assert_eq!(Contract::default(), Contract { generation: 0, ..terms });
    }

    #[test]
    fn run_seconds_is_the_wait_to_start_and_every_attempt_with_its_grace_and_all_back_offs() {
        let grace = json!({ "spec": { "containers": [{ "name": "main" }], "terminationGracePeriodSeconds": 10 } });
        for (spec, seconds) in [
            (json!({ "timeouts": { "attemptSeconds": 60 } }), 900 + 90),
            (json!({ "timeouts": { "attemptSeconds": 60, "pendingSeconds": 5 }, "template": grace }), 5 + 70),
            // The Job controller's own waits: 10 + 20 + 40, and no more than 6 minutes each.
            (json!({ "timeouts": { "attemptSeconds": 60 }, "retry": { "limit": 3 } }), 900 + 4 * 90 + 70),
            (
                json!({ "timeouts": { "attemptSeconds": 60 }, "retry": { "limit": 8 } }),
                900 + 9 * 90 + 10 + 20 + 40 + 80 + 160 + 320 + 360 + 360,
            ),
            (
                json!({ "timeouts": { "attemptSeconds": 60 }, "retry": { "limit": 2, "backoff": { "initialSeconds": 100, "jitterPercent": 50 } } }),
                900 + 3 * 90 + 450,
            ),
            (json!({ "timeouts": { "attemptSeconds": 60, "runSeconds": 61 }, "retry": { "limit": 9 } }), 61),
        ] {
            assert_eq!(of(spec.clone()).run_seconds, seconds, "{spec}");
        }
    }

    #[test]
    fn the_operator_makes_the_attempts_where_kubernetes_cannot_keep_the_terms() {
        for (retry, operator) in [
            (json!({ "limit": 3 }), false),
            (json!({ "limit": 3, "onTimeout": true }), false),
            (json!({ "limit": 3, "onTimeout": false }), true),
            (json!({ "limit": 1, "backoff": { "initialSeconds": 1 } }), true),
            (json!({ "onTimeout": false }), false),
            (json!({ "limit": 0, "backoff": { "initialSeconds": 1 } }), false),
        ] {
            assert_eq!(of(json!({ "retry": retry })).operator_makes_attempts(), operator, "{retry}");
        }
    }

    #[test]
    fn terms_survive_the_trip_through_an_annotation() {
        let terms = of(json!({
            "exitCodes": { "noData": [2], "fatal": [3], "otherwise": "Fatal" },
            "retry": { "limit": 2, "backoff": { "initialSeconds": 60, "factorPercent": 150, "maxSeconds": 600, "jitterPercent": 5 }, "onTimeout": false },
            "schedule": { "cron": ["@daily"], "concurrencyPolicy": "Replace" },
        }));
        assert_eq!(serde_json::from_str::<Contract>(&serde_json::to_string(&terms).unwrap()).unwrap(), terms);
    }
}
