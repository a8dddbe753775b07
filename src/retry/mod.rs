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
