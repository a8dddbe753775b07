//! Which clock can keep a task's schedule.

use jiff::Timestamp;

use super::Schedule;
use crate::api::{ConcurrencyPolicy, Contract};

/// Why a schedule cannot be kept by Kubernetes' own CronJobs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NeedsOperatorClock {
    /// A retry made by the operator, or a run of another line, could still go on at the next slot, which the CronJob
    /// controller would not see.
    #[error(
        "concurrencyPolicy {policy:?} cannot be kept with {what}: a run may take {run_seconds} s (timeouts.runSeconds), and slots can be {gap_seconds} s apart; lower timeouts.runSeconds below {gap_seconds}, or use concurrencyPolicy Allow"
    )]
    RunsReachNextSlot {
        /// Forbid or Replace.
        policy: ConcurrencyPolicy,
        /// Which feature makes runs that the CronJob controller does not see.
        what: &'static str,
        /// How long a run may take.
        run_seconds: i64,
        /// How close two slots can be.
        gap_seconds: i64,
    },
    /// Two lines would each start a run for the same slot.
    #[error(
        "schedule.cron[{0}] and schedule.cron[{1}] share slots, which would each run twice; change one so that they never fall on the same minute"
    )]
    SharedSlots(usize, usize),
}

/// Checks that Kubernetes' CronJob controller can keep the schedule, one CronJob for each line, and returns why it can.
///
/// # Errors
/// Tells what stands in the way and how to get it out.
pub fn native(schedule: &Schedule, policy: ConcurrencyPolicy, contract: &Contract, now: Timestamp) -> Result<String, NeedsOperatorClock> {
    if let Some((a, b)) = schedule.shared_slots() {
        return Err(NeedsOperatorClock::SharedSlots(a, b));
    }
    let unseen = if contract.operator_makes_attempts() {
        Some(if contract.retry.backoff.is_some() { "retry.backoff" } else { "retry.onTimeout: false" })
    } else {
        (schedule.lines.len() > 1).then_some("several cron lines")
    };
    if let Some(what) = unseen.filter(|_| policy != ConcurrencyPolicy::Allow) {
        let gap_seconds = schedule.shortest_gap_seconds(now);
        if contract.run_seconds >= gap_seconds {
            return Err(NeedsOperatorClock::RunsReachNextSlot { policy, what, run_seconds: contract.run_seconds, gap_seconds });
        }
        return Ok(format!(
            "kept by Kubernetes, also while the operator is down; a run ends within {} s, before the next slot",
            contract.run_seconds
        ));
    }
    Ok("kept by Kubernetes, also while the operator is down".to_owned())
}
