//! Whether a failed attempt is tried again, and when. Only for attempts that the operator makes: others are retried by
//! the Job controller within one Job.

use jiff::{SignedDuration, Timestamp};

use crate::api::{AttemptClass, Contract};

/// What comes after a failed attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Another attempt, at that time or as soon after as the operator can.
    At(Timestamp),
    /// No other attempt, and why, where the failure itself does not say.
    Nothing(Option<String>),
}

/// What there is to decide on.
#[derive(Clone, Copy, Debug)]
pub struct Failed<'a> {
    /// What the end of the attempt means.
    pub class: AttemptClass,
    /// Which attempt it was; 1 is the first.
    pub attempt: u32,
    /// When it ended.
    pub ended: Timestamp,
    /// When the run must end.
    pub run_deadline: Timestamp,
    /// The terms of the run.
    pub contract: &'a Contract,
    /// The run's UID, from which jitter is derived: the same run always waits as long.
    pub seed: &'a str,
}

/// Decides what comes after a failed attempt.
#[must_use]
pub fn decide(failed: Failed<'_>) -> Next {
    let retry = &failed.contract.retry;
    let limit = retry.limit.unwrap_or(0);
    let used = i32::try_from(failed.attempt).unwrap_or(i32::MAX) - 1;
    let worth_it = match failed.class {
        AttemptClass::Retryable | AttemptClass::PodGone => true,
        AttemptClass::TimedOut => retry.on_timeout.unwrap_or(true),
        AttemptClass::Success | AttemptClass::NoData | AttemptClass::Fatal | AttemptClass::Disrupted | AttemptClass::Stopped => false,
    };
    if !worth_it || !failed.contract.operator_makes_attempts() {
        return Next::Nothing(None);
    }
    if used >= limit {
        return Next::Nothing(Some(format!("all {limit} retries are used up")));
    }
    let wait = retry.wait_seconds(used + 1);
    let extra = jitter(failed.seed, failed.attempt, wait * i64::from(retry.jitter_percent()) / 100);
    let due = failed.ended.checked_add(SignedDuration::from_secs(wait + extra)).unwrap_or(Timestamp::MAX);
    if due >= failed.run_deadline {
        return Next::Nothing(Some("the next retry would start after timeouts.runSeconds".to_owned()));
    }
    Next::At(due)
}

/// A number from 0 to `max`, the same for the same run and attempt.
fn jitter(seed: &str, attempt: u32, max: i64) -> i64 {
    let text = format!("{seed}/{attempt}");
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    i64::try_from((hash >> 8) % (max.unsigned_abs() + 1)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::api::Retry;

    fn contract(retry: Value) -> Contract {
        Contract { retry: serde_json::from_value(retry).unwrap(), ..Contract::default() }
    }

    fn after(contract: &Contract, class: AttemptClass, attempt: u32) -> Next {
        let ended = Timestamp::from_second(1_000_000).unwrap();
        decide(Failed { class, attempt, ended, run_deadline: Timestamp::from_second(1_100_000).unwrap(), contract, seed: "uid-run" })
    }

    fn wait(next: &Next) -> i64 {
        match next {
            Next::At(due) => due.as_second() - 1_000_000,
            Next::Nothing(_) => -1,
        }
    }

    #[test]
    fn waits_start_at_the_first_grow_by_the_factor_and_stop_at_the_cap() {
        for (backoff, waits) in [
            (json!({ "initialSeconds": 60 }), [60, 120, 240, 480, 960, 1920, 3600, 3600]),
            (json!({ "initialSeconds": 60, "factorPercent": 100 }), [60; 8]),
            (json!({ "initialSeconds": 100, "factorPercent": 150, "maxSeconds": 400 }), [100, 150, 225, 337, 400, 400, 400, 400]),
            (json!({ "initialSeconds": 7200 }), [7200; 8]),
        ] {
            let contract = contract(json!({ "limit": 8, "backoff": backoff }));
            let told: Vec<i64> = (1..=8).map(|attempt| wait(&after(&contract, AttemptClass::Retryable, attempt))).collect();
            assert_eq!(told, waits, "{backoff}");
        }
    }

    #[test]
    fn only_what_may_pass_is_tried_again_and_only_while_retries_are_left() {
        let contract = contract(json!({ "limit": 2, "backoff": { "initialSeconds": 10 } }));
        for (class, again) in [
            (AttemptClass::Retryable, true),
            (AttemptClass::TimedOut, true),
            (AttemptClass::PodGone, true),
            (AttemptClass::Success, false),
            (AttemptClass::NoData, false),
            (AttemptClass::Fatal, false),
            (AttemptClass::Disrupted, false),
            (AttemptClass::Stopped, false),
        ] {
            assert_eq!(matches!(after(&contract, class, 1), Next::At(_)), again, "{class:?}");
        }
        assert_eq!(wait(&after(&contract, AttemptClass::Retryable, 2)), 20);
        assert_eq!(after(&contract, AttemptClass::Retryable, 3), Next::Nothing(Some("all 2 retries are used up".to_owned())));
    }

    #[test]
    fn on_timeout_false_ends_at_a_timeout_and_waits_like_kubernetes_otherwise() {
        let contract = contract(json!({ "limit": 2, "onTimeout": false }));
        assert_eq!(after(&contract, AttemptClass::TimedOut, 1), Next::Nothing(None));
        assert_eq!([1, 2].map(|attempt| wait(&after(&contract, AttemptClass::Retryable, attempt))), [10, 20]);
    }

    #[test]
    fn what_the_job_controller_retries_is_left_to_it() {
        for retry in [json!({}), json!({ "limit": 3 }), json!({ "limit": 3, "onTimeout": true }), json!({ "onTimeout": false })] {
            assert_eq!(after(&contract(retry), AttemptClass::Retryable, 1), Next::Nothing(None));
        }
    }

    #[test]
    fn no_attempt_starts_at_or_after_the_runs_deadline() {
        let contract = contract(json!({ "limit": 2, "backoff": { "initialSeconds": 100 } }));
        let ended = Timestamp::from_second(1000).unwrap();
        let by = |deadline| {
            let run_deadline = Timestamp::from_second(deadline).unwrap();
            decide(Failed { class: AttemptClass::Retryable, attempt: 1, ended, run_deadline, contract: &contract, seed: "u" })
        };
        assert_eq!(by(1101), Next::At(Timestamp::from_second(1100).unwrap()));
        assert_eq!(by(1100), Next::Nothing(Some("the next retry would start after timeouts.runSeconds".to_owned())));
    }

    #[test]
    fn runs_that_failed_together_do_not_return_together() {
        let contract = contract(json!({ "limit": 2, "backoff": { "initialSeconds": 1000, "jitterPercent": 50 } }));
        let ended = Timestamp::from_second(0).unwrap();
        let due = |seed: &str| {
            decide(Failed { class: AttemptClass::Retryable, attempt: 1, ended, run_deadline: Timestamp::MAX, contract: &contract, seed })
        };
        let dues: std::collections::BTreeSet<String> = (0..200).map(|n| format!("{:?}", due(&format!("uid-{n}")))).collect();
        assert!(dues.len() > 100, "{} different times of 200", dues.len());
        assert_eq!(due("uid-1"), due("uid-1"), "the same run waits as long each time it is asked");
    }

    proptest! {
        #[test]
        fn waits_are_within_the_jitter_and_their_sum_within_what_run_seconds_allows_for(
            initial in 1i64..86_400, factor in 100i32..=1000, max in 1i64..604_800, jitter in 0i32..=100, limit in 1i32..=100, seed in "[a-f0-9]{8}",
        ) {
            let backoff = json!({ "initialSeconds": initial, "factorPercent": factor, "maxSeconds": max.max(initial), "jitterPercent": jitter });
            let retry: Retry = serde_json::from_value(json!({ "limit": limit, "backoff": backoff })).unwrap();
            let contract = Contract { retry: retry.clone(), ..Contract::default() };
            let ended = Timestamp::from_second(0).unwrap();
            let mut sum = 0;
            for attempt in 1..=limit {
                let failed = Failed { class: AttemptClass::Retryable, attempt: u32::try_from(attempt).unwrap(), ended, run_deadline: Timestamp::MAX, contract: &contract, seed: &seed };
                let Next::At(due) = decide(failed) else { return Err(TestCaseError::fail("no retry")) };
                let plain = retry.wait_seconds(attempt);
                prop_assert!((plain..=plain + plain * i64::from(jitter) / 100).contains(&due.as_second()));
                sum += due.as_second();
            }
            prop_assert!(sum <= retry.all_waits_seconds());
        }
    }
}
