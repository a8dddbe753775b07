//! Which clock can keep a task's schedule.

use jiff::Timestamp;

use super::Schedule;
use crate::api::{self, CatchUpPolicy, ConcurrencyPolicy, Contract, GapPolicy, OverlapPolicy};

const NATIVE: &str = "kept by Kubernetes, also while the operator is down";

/// Who starts a task's slots, and why, to be read by people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClockChoice {
    /// Kubernetes' own controller, one CronJob for each line.
    CronJob {
        /// What that means.
        why: String,
    },
    /// The operator.
    Operator {
        /// Each thing that a CronJob cannot do, what it costs, and how to do without where that is a matter of numbers.
        why: String,
    },
}

impl ClockChoice {
    /// Why.
    #[must_use]
    pub fn why(&self) -> &str {
        match self {
            Self::CronJob { why } | Self::Operator { why } => why,
        }
    }
}

/// Chooses Kubernetes' clock where it can keep everything that the task says, and the operator's otherwise. `schedule` is
/// what was parsed from that of the `task`; `now` tells which clock changes lie ahead.
#[must_use]
pub fn choose(schedule: &Schedule, task: &api::AutomationTaskSpec, contract: &Contract, now: Timestamp) -> ClockChoice {
    let written = &task.schedule.clone().unwrap_or_default();
    let homeless = homeless(schedule, written, task);
    let policy = written.policy();
    let (mut reasons, mut ways_back) = (Vec::new(), Vec::new());
    if let Some((last, others)) = homeless.split_last() {
        let (fields, have) = if others.is_empty() { (last.clone(), "has") } else { (format!("{} and {last}", others.join(", ")), "have") };
        reasons.push(format!("{fields} {have} no place in a CronJob"));
    }
    if let Some((a, b)) = schedule.shared_slots() {
        reasons.push(format!("schedule.cron[{a}] and schedule.cron[{b}] share slots, which two CronJobs would each start"));
        ways_back.push("change one of these lines so that they never fall on the same minute".to_owned());
    }
    let ends_in_time = match reach(schedule, policy, contract, now) {
        Ok(ends_in_time) => ends_in_time,
        Err(reached) => {
            reasons.push(reached.told());
            ways_back.push(reached.way_back());
            None
        }
    };
    if reasons.is_empty() {
        return ClockChoice::CronJob { why: format!("{NATIVE}{}", ends_in_time.unwrap_or_default()) };
    }
    // Where a field stands in the way no number helps: whoever wants the other clock takes the field out.
    let way_back = if homeless.is_empty() { format!("; for Kubernetes' clock {}", ways_back.join(", and ")) } else { String::new() };
    ClockChoice::Operator {
        why: format!("kept by the operator: {}; while the operator is down no slot starts{way_back}", reasons.join("; ")),
    }
}

/// The fields that a CronJob has nothing for.
fn homeless(schedule: &Schedule, written: &api::Schedule, task: &api::AutomationTaskSpec) -> Vec<String> {
    let of_schedule = [
        (written.policy() == ConcurrencyPolicy::Queue, "concurrencyPolicy Queue"),
        (written.catch_up_policy() == CatchUpPolicy::All, "catchUp.policy All"),
        (!schedule.exclude.is_empty(), "exclude"),
        (schedule.not_before.is_some(), "notBefore"),
        (schedule.not_after.is_some(), "notAfter"),
        (schedule.gap == GapPolicy::RunAfter, "daylightSaving.gap RunAfter"),
        (schedule.overlap == OverlapPolicy::First, "daylightSaving.overlap First"),
        (schedule.overlap == OverlapPolicy::Last, "daylightSaving.overlap Last"),
    ];
    let fields = of_schedule.into_iter().filter(|(set, _)| *set).map(|(_, field)| format!("schedule.{field}"));
    let caps = task.concurrency.iter().flat_map(|concurrency| {
        let max = concurrency.max.is_some().then(|| "concurrency.max".to_owned());
        max.into_iter().chain((!concurrency.pools.is_empty()).then(|| "concurrency.pools".to_owned()))
    });
    let from_slot = task.parameters.iter().enumerate().filter(|(_, parameter)| parameter.from_slot.is_some());
    fields.chain(from_slot.map(|(index, _)| format!("parameters[{index}].fromSlot"))).chain(caps).collect()
}

/// A run of an earlier slot that the CronJob controller does not see can go on when a slot is due.
struct Reached {
    policy: ConcurrencyPolicy,
    what: &'static str,
    run_seconds: i64,
    deadline_seconds: i64,
    grace_seconds: i64,
    gap_seconds: i64,
}

impl Reached {
    fn reach_seconds(&self) -> i64 {
        self.run_seconds + self.deadline_seconds + self.grace_seconds
    }

    fn told(&self) -> String {
        format!(
            "a CronJob cannot keep concurrencyPolicy {:?} with {}, as it does not see all runs: a run may go on for {} s after its slot (timeouts.runSeconds {}, startingDeadlineSeconds {} and {} s of grace), and slots can be {} s apart",
            self.policy,
            self.what,
            self.reach_seconds(),
            self.run_seconds,
            self.deadline_seconds,
            self.grace_seconds,
            self.gap_seconds
        )
    }

    fn way_back(&self) -> String {
        let run_below = self.gap_seconds - self.deadline_seconds - self.grace_seconds;
        let both_below = self.gap_seconds - self.grace_seconds;
        if run_below > 1 {
            format!("lower timeouts.runSeconds below {run_below} or use concurrencyPolicy Allow")
        } else if both_below > 60 {
            format!("bring timeouts.runSeconds and startingDeadlineSeconds together below {both_below} or use concurrencyPolicy Allow")
        } else {
            "use concurrencyPolicy Allow".to_owned()
        }
    }
}

/// Whether runs that the CronJob controller does not see end before the next slot, which is told; nothing where it sees all.
fn reach(schedule: &Schedule, policy: ConcurrencyPolicy, contract: &Contract, now: Timestamp) -> Result<Option<String>, Reached> {
    let what = if contract.operator_makes_attempts() {
        if contract.retry.backoff.is_some() { "retry.backoff" } else { "retry.onTimeout: false" }
    } else if schedule.lines.len() > 1 {
        "several cron lines"
    } else {
        return Ok(None);
    };
    if !matches!(policy, ConcurrencyPolicy::Forbid | ConcurrencyPolicy::Replace) {
        return Ok(None);
    }
    let reached = Reached {
        policy,
        what,
        run_seconds: contract.run_seconds,
        deadline_seconds: schedule.starting_deadline_seconds,
        grace_seconds: contract.grace_seconds,
        gap_seconds: schedule.shortest_gap_seconds(now),
    };
    if reached.reach_seconds() >= reached.gap_seconds {
        return Err(reached);
    }
    Ok(Some(format!("; a run ends within {} s of its slot, before the next one", reached.reach_seconds())))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::api::AutomationTaskSpec;

    fn choice(lines: &[&str], task: Value) -> ClockChoice {
        let mut task = task;
        task["owner"] = json!({ "team": "data" });
        task["schedule"]["cron"] = json!(lines);
        task["schedule"]["timeZone"] = json!("Europe/Berlin");
        let task: AutomationTaskSpec = serde_json::from_value(task).unwrap();
        let written = task.schedule.as_ref().unwrap();
        let schedule = Schedule::parse(written, "etl", "import").unwrap();
        choose(&schedule, &task, &Contract::of(&task, 1), "2026-01-15T00:00:00Z".parse().unwrap())
    }

    fn cron_job(why: &str) -> ClockChoice {
        ClockChoice::CronJob { why: why.to_owned() }
    }

    fn operator(reasons: &str, way_back: &str) -> ClockChoice {
        ClockChoice::Operator { why: format!("kept by the operator: {reasons}; while the operator is down no slot starts{way_back}") }
    }

    #[test]
    fn what_the_cron_job_controller_sees_is_always_native() {
        for policy in ["Allow", "Forbid", "Replace"] {
            let own_retries =
                json!({ "schedule": { "concurrencyPolicy": policy }, "retry": { "limit": 5 }, "timeouts": { "runSeconds": 9000 } });
            assert_eq!(choice(&["*/5 * * * *"], own_retries), cron_job(NATIVE), "the Job's own retries, {policy}");
        }
        let under_allow =
            json!({ "schedule": { "concurrencyPolicy": "Allow" }, "retry": { "limit": 9, "backoff": { "initialSeconds": 600 } } });
        assert_eq!(choice(&["*/5 * * * *", "1 2 * * *"], under_allow), cron_job(NATIVE));
        let no_effect = json!({ "schedule": {}, "retry": { "onTimeout": false }, "timeouts": { "runSeconds": 90000 } });
        assert_eq!(choice(&["0 5 * * *"], no_effect), cron_job(NATIVE), "onTimeout: false without retries");
    }

    #[test]
    fn what_only_says_in_words_what_kubernetes_does_anyway_is_native() {
        for schedule in [
            json!({ "daylightSaving": { "gap": "Skip", "overlap": "Both" } }),
            json!({ "catchUp": { "policy": "None" } }),
            json!({ "catchUp": { "policy": "Latest" } }),
            json!({ "suspend": true, "startingDeadlineSeconds": 7200, "exclude": [] }),
        ] {
            let task = json!({ "schedule": schedule, "parameters": [{ "name": "DAY", "default": "today" }] });
            assert_eq!(choice(&["30 2 * * *"], task), cron_job(NATIVE), "{schedule}");
        }
    }

    #[test]
    fn a_nightly_import_with_back_off_is_native_and_says_that_its_runs_end_in_time() {
        let nightly = json!({ "schedule": {}, "retry": { "limit": 3, "backoff": { "initialSeconds": 300 } }, "timeouts": { "attemptSeconds": 3600 } });
        // 900 + 4 x (3600 + 30) + 300 + 600 + 1200
        assert_eq!(
            choice(&["0 5 * * *"], nightly),
            cron_job(&format!("{NATIVE}; a run ends within 17610 s of its slot, before the next one"))
        );
    }

    #[test]
    fn caps_are_the_operators() {
        let capped = json!({ "schedule": {}, "concurrency": { "max": 2, "pools": [{ "poolRef": { "name": "db" } }] } });
        assert_eq!(choice(&["0 5 * * *"], capped), operator("concurrency.max and concurrency.pools have no place in a CronJob", ""));
    }

    #[test]
    fn each_field_that_a_cron_job_has_nothing_for_is_named() {
        for (schedule, field) in [
            (json!({ "concurrencyPolicy": "Queue" }), "concurrencyPolicy Queue"),
            (json!({ "concurrencyPolicy": "Allow", "catchUp": { "policy": "All" } }), "catchUp.policy All"),
            (json!({ "exclude": ["2026-12-25"] }), "exclude"),
            (json!({ "notBefore": "2026-12-01T00:00:00Z" }), "notBefore"),
            (json!({ "notAfter": "2026-12-01T00:00:00Z" }), "notAfter"),
            (json!({ "daylightSaving": { "gap": "RunAfter" } }), "daylightSaving.gap RunAfter"),
            (json!({ "daylightSaving": { "overlap": "First" } }), "daylightSaving.overlap First"),
            (json!({ "daylightSaving": { "gap": "Skip", "overlap": "Last" } }), "daylightSaving.overlap Last"),
        ] {
            let expected = operator(&format!("schedule.{field} has no place in a CronJob"), "");
            assert_eq!(choice(&["30 2 * * *"], json!({ "schedule": schedule })), expected);
        }
        let parameters = json!([{ "name": "A", "default": "a" }, { "name": "DAY", "fromSlot": "format(slot, '%F')" }]);
        assert_eq!(
            choice(&["30 2 * * *"], json!({ "schedule": {}, "parameters": parameters })),
            operator("parameters[1].fromSlot has no place in a CronJob", "")
        );
    }

    #[test]
    fn all_reasons_are_told_and_no_way_back_where_a_field_bars_it() {
        let task = json!({
            "schedule": { "exclude": ["2026-12-25"], "notAfter": "2026-12-31T00:00:00Z", "daylightSaving": { "gap": "RunAfter" } },
            "timeouts": { "runSeconds": 7200 },
        });
        assert_eq!(
            choice(&["0 5 * * *", "0 5,6 * * *"], task),
            operator(
                "schedule.exclude, schedule.notAfter and schedule.daylightSaving.gap RunAfter have no place in a CronJob; schedule.cron[0] and schedule.cron[1] share slots, which two CronJobs would each start; a CronJob cannot keep concurrencyPolicy Forbid with several cron lines, as it does not see all runs: a run may go on for 7290 s after its slot (timeouts.runSeconds 7200, startingDeadlineSeconds 60 and 30 s of grace), and slots can be 3600 s apart",
                ""
            )
        );
    }

    #[test]
    fn what_could_go_on_at_the_next_slot_is_the_operators_and_the_way_back_is_told() {
        let told = |what: &str, policy: &str, run: i64, gap: i64| {
            operator(
                &format!(
                    "a CronJob cannot keep concurrencyPolicy {policy} with {what}, as it does not see all runs: a run may go on for {} s after its slot (timeouts.runSeconds {run}, startingDeadlineSeconds 60 and 30 s of grace), and slots can be {gap} s apart",
                    run + 90,
                ),
                &format!("; for Kubernetes' clock lower timeouts.runSeconds below {} or use concurrencyPolicy Allow", gap - 90),
            )
        };
        let back_off = |run: i64| json!({ "schedule": {}, "retry": { "limit": 8, "backoff": { "initialSeconds": 600 } }, "timeouts": { "attemptSeconds": 60, "runSeconds": run } });
        assert_eq!(choice(&["*/5 * * * *"], back_off(18_000)), told("retry.backoff", "Forbid", 18_000, 300));
        assert_eq!(
            choice(&["0 5 * * *"], back_off(82_710)),
            told("retry.backoff", "Forbid", 82_710, 82_800),
            "the night in spring has 23 hours"
        );
        assert!(matches!(choice(&["0 5 * * *"], back_off(82_709)), ClockChoice::CronJob { .. }));
        let no_retry = json!({ "schedule": { "concurrencyPolicy": "Replace" }, "retry": { "limit": 1, "onTimeout": false }, "timeouts": { "runSeconds": 4000 } });
        assert_eq!(choice(&["@hourly"], no_retry), told("retry.onTimeout: false", "Replace", 4000, 3600));
        let lines = json!({ "schedule": {}, "timeouts": { "runSeconds": 7200 } });
        assert_eq!(choice(&["0 5 * * *", "0 6 * * *"], lines), told("several cron lines", "Forbid", 7200, 3600));
        let each_minute = choice(&["* * * * *"], back_off(60));
        assert!(
            each_minute.why().ends_with("; for Kubernetes' clock use concurrencyPolicy Allow"),
            "no run is short enough: {each_minute:?}"
        );
    }

    #[test]
    fn a_long_deadline_is_named_where_no_run_would_be_short_enough() {
        let task = json!({ "schedule": { "catchUp": { "policy": "Latest" } }, "retry": { "limit": 1, "backoff": { "initialSeconds": 60 } }, "timeouts": { "runSeconds": 7200 } });
        let way_back = "; for Kubernetes' clock bring timeouts.runSeconds and startingDeadlineSeconds together below 82770 or use concurrencyPolicy Allow";
        let why = choice(&["0 5 * * *"], task);
        assert!(why.why().ends_with(way_back), "{why:?}");
    }

    #[test]
    fn lines_that_share_slots_are_the_operators_under_every_policy() {
        for policy in ["Allow", "Forbid"] {
            assert_eq!(
                choice(
                    &["0 5 * * *", "30 5 * * *", "0 5 1 * *"],
                    json!({ "schedule": { "concurrencyPolicy": policy }, "timeouts": { "attemptSeconds": 60, "runSeconds": 60 } })
                ),
                operator(
                    "schedule.cron[0] and schedule.cron[2] share slots, which two CronJobs would each start",
                    "; for Kubernetes' clock change one of these lines so that they never fall on the same minute"
                )
            );
        }
    }
}
