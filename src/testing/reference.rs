//! How a run must end, said once more and naively: from what its containers do and what the task promises, without Jobs,
//! caches or clocks.

use super::script::{End, Life, OnTerm};
use crate::api::{AttemptClass, Contract, Otherwise, Outcome};

/// The end of a run that nobody meddles with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    pub outcome: Outcome,
    pub classes: Vec<AttemptClass>,
}

/// Lives a run's pods one after the other.
pub fn expected(contract: &Contract, lives: &[Life]) -> Expected {
    let mut classes = Vec::new();
    let mut failures = 0;
    for nth in 0.. {
        let life = &lives[nth.min(lives.len() - 1)];
        let (class, code) = lived(contract, life);
        classes.push(class);
        let ended = match class {
            AttemptClass::Disrupted => continue,
            AttemptClass::Success => Some(Outcome::Succeeded),
            AttemptClass::NoData => Some(Outcome::NoData),
            AttemptClass::TimedOut => {
                // The Job controller goes by the code; who makes each attempt goes by the timeout.
                let by_code = code != 0 && matches!(of_code(contract, code), AttemptClass::Fatal | AttemptClass::NoData);
                let again = if contract.operator_makes_attempts() { contract.retry.on_timeout.unwrap_or(true) } else { !by_code };
                (!again).then_some(Outcome::TimedOut)
            }
            AttemptClass::Retryable => None,
            _ => Some(Outcome::Failed),
        };
        if let Some(outcome) = ended {
            return Expected { outcome, classes };
        }
        failures += 1;
        if failures > contract.retry.limit.unwrap_or(0) {
            let outcome = if class == AttemptClass::TimedOut { Outcome::TimedOut } else { Outcome::Failed };
            return Expected { outcome, classes };
        }
    }
    unreachable!("each run has an end")
}

/// Class of one pod's end, and the exit code of its container.
fn lived(contract: &Contract, life: &Life) -> (AttemptClass, i32) {
    let on_term = match life.on_term {
        OnTerm::Dies => 143,
        OnTerm::Exits { code, .. } => code,
        OnTerm::Ignores => 137,
    };
    let kill = |code: i32| match of_code(contract, code) {
        AttemptClass::NoData => AttemptClass::Retryable,
        class => class,
    };
    // The deadline counts from when the kubelet accepts the pod, a moment before its container begins.
    let begins = match life.start {
        super::script::Start::After(seconds) => seconds,
        _ => i64::MAX,
    };
    let late = |after: i64| begins + after > contract.attempt_seconds;
    // Who is slow to stop may end by himself before that.
    let stops_in = match life.on_term {
        OnTerm::Dies => 0,
        OnTerm::Exits { after, .. } => after,
        OnTerm::Ignores => contract.grace_seconds,
    };
    let stopped = |after: i64, code: i32| if begins + after <= contract.attempt_seconds + stops_in { code } else { on_term };
    match life.end {
        End::Never => (AttemptClass::TimedOut, on_term),
        End::Exit { after, code } if late(after) => (AttemptClass::TimedOut, stopped(after, code)),
        End::OutOfMemory { after } if late(after) => (AttemptClass::TimedOut, stopped(after, 137)),
        End::Exit { code: 0, .. } => (AttemptClass::Success, 0),
        End::Exit { code, .. } => (of_code(contract, code), code),
        End::OutOfMemory { .. } => (kill(137), 137),
        End::CannotStart => (kill(128), 128),
        End::Evicted { .. } if on_term == 0 => (AttemptClass::Success, 0),
        End::Evicted { .. } | End::NodeLost { .. } => (AttemptClass::Disrupted, on_term),
    }
}

fn of_code(contract: &Contract, code: i32) -> AttemptClass {
    let codes = &contract.exit_codes;
    if codes.no_data.contains(&code) {
        AttemptClass::NoData
    } else if codes.fatal.contains(&code) {
        AttemptClass::Fatal
    } else if codes.retryable.contains(&code) || codes.otherwise != Some(Otherwise::Fatal) {
        AttemptClass::Retryable
    } else {
        AttemptClass::Fatal
    }
}
