//! How a run ends, from the end of its last Job.

use super::{JobEnd, JobSeen, StopReason, classify::by_code, reason};
use crate::api::{Attempt, AttemptClass, Contract, Outcome};

/// How a run would end if nothing came after this Job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conclusion {
    /// The outcome.
    pub outcome: Outcome,
    /// The class that decides about another attempt.
    pub class: AttemptClass,
    /// Why, in one word.
    pub reason: String,
    /// The same in a sentence.
    pub message: String,
}

/// Concludes from an ended Job. `last` is the Job's last attempt that was not a disruption; `waited_on` what it was last
/// seen to wait on. `None` while the Job has not ended.
#[must_use]
pub fn conclude(job: &JobSeen, last: Option<&Attempt>, waited_on: Option<(&str, &str)>, contract: &Contract) -> Option<Conclusion> {
    let conclusion =
        |outcome, class, reason: &str, message: String| Some(Conclusion { outcome, class, reason: reason.to_owned(), message });
    let last_reason = last.and_then(|a| a.reason.clone());
    let (why, words) = match job.end.as_ref()? {
        JobEnd::Complete => {
            let last = last.filter(|a| a.class == Some(AttemptClass::Success));
            let reason = last.and_then(|a| a.reason.clone()).unwrap_or_else(|| reason::COMPLETED.to_owned());
            let message = match last {
                Some(last) => last.message.clone().unwrap_or_else(|| "exit code 0".to_owned()),
                None => "the Job completed; its pod was gone before it was seen".to_owned(),
            };
            return conclusion(Outcome::Succeeded, AttemptClass::Success, &reason, message);
        }
        JobEnd::Failed { reason, message } => (reason.as_str(), message.as_str()),
    };
    // What ended by itself in the moment before the stop has its own end, which no retry could have changed.
    let killed = |a: &Attempt| a.reason.as_deref() == Some(reason::POD_DELETED);
    let by_itself = last.is_some_and(|a| matches!(a.class, Some(AttemptClass::NoData | AttemptClass::Fatal)) && !killed(a));
    match job.stopped.filter(|_| !by_itself) {
        Some(StopReason::Cancelled) => {
            return conclusion(
                Outcome::Cancelled,
                AttemptClass::Stopped,
                reason::CANCELLED,
                "stopped because spec.cancel was set".to_owned(),
            );
        }
        Some(StopReason::RunTimeout) => {
            return conclusion(Outcome::TimedOut, AttemptClass::Stopped, reason::RUN_TIMEOUT, run_timeout(contract, waited_on));
        }
        Some(StopReason::PendingTimeout) => {
            let (reason, on) = waited_on.unwrap_or((reason::PENDING_TIMEOUT, "the pod did not start"));
            let message = format!("did not start within timeouts.pendingSeconds ({} s): {on}", contract.pending_seconds);
            return conclusion(Outcome::TimedOut, AttemptClass::Stopped, reason, message);
        }
        None => {}
    }
    if why == "DeadlineExceeded" {
        // Only what never ran can be blamed for the whole wait.
        let reason = match (last, waited_on) {
            (None, Some((waiting, _))) => waiting,
            _ => reason::RUN_TIMEOUT,
        };
        return conclusion(Outcome::TimedOut, AttemptClass::Stopped, reason, run_timeout(contract, waited_on));
    }
    let recorded = if why == "PodFailurePolicy" { exit_code_in(words) } else { None };
    // The pod that a rule matched may have gone unseen while one before it is on record.
    let of_another = |a: &Attempt| {
        let named = a.pod.as_ref().is_some_and(|pod| words.contains(&format!("/{pod} ")));
        !named && recorded.is_some() && a.exit_code.is_some() && a.exit_code != recorded
    };
    let class = last.filter(|a| !of_another(a)).and_then(|a| a.class).unwrap_or(AttemptClass::PodGone);
    if class == AttemptClass::PodGone {
        // The pod is gone, but the Job controller wrote the code down when a rule of ours matched it.
        if let Some(code) = recorded {
            let (class, rule, sentence) = by_code(code, &contract.exit_codes);
            let outcome = if class == AttemptClass::NoData { Outcome::NoData } else { Outcome::Failed };
            return conclusion(outcome, class, rule, format!("{sentence}; the pod is gone, this is from the Job's own record"));
        }
        return conclusion(
            Outcome::Failed,
            AttemptClass::PodGone,
            reason::POD_GONE,
            format!("the Job failed ({why}: {words}) and its pod was gone before its exit code was seen"),
        );
    }
    let reason = last_reason.unwrap_or_else(|| reason::JOB_FAILED.to_owned());
    let message = last.and_then(|a| a.message.clone()).unwrap_or_else(|| words.to_owned());
    match class {
        AttemptClass::NoData => conclusion(Outcome::NoData, class, &reason, message),
        AttemptClass::TimedOut => conclusion(Outcome::TimedOut, class, &reason, message),
        _ => conclusion(Outcome::Failed, class, &reason, message),
    }
}

fn run_timeout(contract: &Contract, waited_on: Option<(&str, &str)>) -> String {
    let waited = waited_on.map_or(String::new(), |(_, on)| format!("; it was last seen to wait: {on}"));
    format!("did not end within timeouts.runSeconds ({} s){waited}", contract.run_seconds)
}

/// The code in the Job controller's "… failed with exit code 3 matching `FailJob` rule at index 1".
fn exit_code_in(message: &str) -> Option<i32> {
    let digits = message.split_once("exit code ")?.1;
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    digits[..end].parse().ok()
}
