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
        "concurrencyPolicy {policy:?} cannot be kept with {what}: a run may go on for {reach_seconds} s after its slot (timeouts.runSeconds {run_seconds}, startingDeadlineSeconds and the grace period), and slots can be {gap_seconds} s apart; {}use concurrencyPolicy Allow",
        lower_run_seconds(gap_seconds - (reach_seconds - run_seconds))
    )]
    RunsReachNextSlot {
        /// Forbid or Replace.
        policy: ConcurrencyPolicy,
        /// Which feature makes runs that the CronJob controller does not see.
        what: &'static str,
        /// How long a run may take.
        run_seconds: i64,
        /// How long after its slot a run may go on: it may start late, and its last container has a grace period.
        reach_seconds: i64,
        /// How close two slots can be.
        gap_seconds: i64,
    },
    /// Two lines would each start a run for the same slot.
    #[error(
        "schedule.cron[{0}] and schedule.cron[{1}] share slots, which would each run twice; change one so that they never fall on the same minute"
    )]
    SharedSlots(usize, usize),
}

/// The other way out, where there is one: slots can be too close for any run.
fn lower_run_seconds(below: i64) -> String {
    if below > 1 { format!("lower timeouts.runSeconds below {below}, or ") } else { String::new() }
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
        let run_seconds = contract.run_seconds;
        let reach_seconds = run_seconds + schedule.starting_deadline_seconds + contract.grace_seconds;
        if reach_seconds >= gap_seconds {
            return Err(NeedsOperatorClock::RunsReachNextSlot { policy, what, run_seconds, reach_seconds, gap_seconds });
        }
        return Ok(format!(
            "kept by Kubernetes, also while the operator is down; a run ends within {reach_seconds} s of its slot, before the next one"
        ));
    }
    Ok("kept by Kubernetes, also while the operator is down".to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{api::AutomationTaskSpec, schedule::tests::schedule};

    fn choose(lines: &[&str], task: Value) -> Result<String, String> {
        let mut task = task;
        task["owner"] = json!({ "team": "data" });
        task["schedule"]["cron"] = json!(lines);
        let task: AutomationTaskSpec = serde_json::from_value(task).unwrap();
        let policy = task.schedule.as_ref().unwrap().concurrency_policy.unwrap_or_default();
        let now = "2026-01-15T00:00:00Z".parse().unwrap();
        native(&schedule(lines, Some("Europe/Berlin")), policy, &Contract::of(&task, 1), now).map_err(|error| error.to_string())
    }

    const NATIVE: &str = "kept by Kubernetes, also while the operator is down";

    #[test]
    fn what_the_cron_job_controller_sees_is_always_native() {
        for policy in ["Allow", "Forbid", "Replace"] {
            let own_retries =
                json!({ "schedule": { "concurrencyPolicy": policy }, "retry": { "limit": 5 }, "timeouts": { "runSeconds": 9000 } });
            assert_eq!(choose(&["*/5 * * * *"], own_retries), Ok(NATIVE.to_owned()), "the Job's own retries, {policy}");
        }
        let under_allow =
            json!({ "schedule": { "concurrencyPolicy": "Allow" }, "retry": { "limit": 9, "backoff": { "initialSeconds": 600 } } });
        assert_eq!(choose(&["*/5 * * * *", "1 2 * * *"], under_allow), Ok(NATIVE.to_owned()));
        let no_effect = json!({ "schedule": {}, "retry": { "onTimeout": false }, "timeouts": { "runSeconds": 90000 } });
        assert_eq!(choose(&["0 5 * * *"], no_effect), Ok(NATIVE.to_owned()), "onTimeout: false without retries");
    }

    #[test]
    fn a_nightly_import_with_back_off_is_native_and_says_that_its_runs_end_in_time() {
        let nightly = json!({ "schedule": {}, "retry": { "limit": 3, "backoff": { "initialSeconds": 300 } }, "timeouts": { "attemptSeconds": 3600 } });
        // 900 + 4 x (3600 + 30) + 300 + 600 + 1200
        assert_eq!(choose(&["0 5 * * *"], nightly), Ok(format!("{NATIVE}; a run ends within 17610 s of its slot, before the next one")));
    }

    #[test]
    fn what_could_go_on_at_the_next_slot_is_not_and_field_and_fix_are_named() {
        let told = |what: &str, policy: &str, run: i64, gap: i64| {
            Err(format!(
                "concurrencyPolicy {policy} cannot be kept with {what}: a run may go on for {} s after its slot (timeouts.runSeconds {run}, startingDeadlineSeconds and the grace period), and slots can be {gap} s apart; lower timeouts.runSeconds below {}, or use concurrencyPolicy Allow",
                run + 90,
                gap - 90
            ))
        };
        let back_off = |run: i64| json!({ "schedule": {}, "retry": { "limit": 8, "backoff": { "initialSeconds": 600 } }, "timeouts": { "attemptSeconds": 60, "runSeconds": run } });
        assert_eq!(choose(&["*/5 * * * *"], back_off(18_000)), told("retry.backoff", "Forbid", 18_000, 300));
        assert_eq!(
            choose(&["0 5 * * *"], back_off(82_710)),
            told("retry.backoff", "Forbid", 82_710, 82_800),
            "the night in spring has 23 hours"
        );
        assert!(choose(&["0 5 * * *"], back_off(82_709)).is_ok());
        let no_retry = json!({ "schedule": { "concurrencyPolicy": "Replace" }, "retry": { "limit": 1, "onTimeout": false }, "timeouts": { "runSeconds": 4000 } });
        assert_eq!(choose(&["@hourly"], no_retry), told("retry.onTimeout: false", "Replace", 4000, 3600));
        let each_minute = choose(&["* * * * *"], back_off(60)).unwrap_err();
        assert!(each_minute.ends_with("slots can be 60 s apart; use concurrencyPolicy Allow"), "no run is short enough: {each_minute}");
        let lines = json!({ "schedule": {}, "timeouts": { "runSeconds": 7200 } });
        assert_eq!(choose(&["0 5 * * *", "0 6 * * *"], lines), told("several cron lines", "Forbid", 7200, 3600));
    }

    #[test]
    fn lines_that_share_slots_are_refused_under_every_policy() {
        for policy in ["Allow", "Forbid"] {
            assert_eq!(
                choose(&["0 5 * * *", "30 5 * * *", "0 5 1 * *"], json!({ "schedule": { "concurrencyPolicy": policy } })),
                Err("schedule.cron[0] and schedule.cron[2] share slots, which would each run twice; change one so that they never fall on the same minute".to_owned())
            );
        }
    }
}
