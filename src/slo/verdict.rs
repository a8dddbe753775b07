//! What a run says of its slot: good, bad or neither, and until when it may still be good.

use jiff::{SignedDuration, Timestamp, civil::Time, tz::TimeZone};

use crate::{
    api::{AutomationRun, BadCause, Outcome, Slo},
    ledger,
};

/// What a run says of its slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It ended well, and in time.
    Good,
    /// It did not, and why in one word.
    Bad(BadCause, Option<String>),
    /// It ended, and nobody can be blamed or praised for it.
    Neither,
    /// It goes on.
    Open,
}

/// When the run of a slot must have ended at the latest.
#[must_use]
pub fn due(slo: &Slo, slot: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
    let within = slo.finish_within_seconds.and_then(|seconds| slot.checked_add(SignedDuration::from_secs(seconds)).ok());
    let by = slo.finish_by.as_deref().and_then(|by| first_after(by, slot, zone));
    [within, by].into_iter().flatten().min()
}

/// The first time after the slot at which the clocks show `by`. Where they jump over it, as long after the jump as it would have been
/// after the hour that is left out; where they show it twice, the first one that is after the slot.
fn first_after(by: &str, slot: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
    let (hour, minute) = by.split_once(':')?;
    let by = Time::new(hour.parse().ok()?, minute.parse().ok()?, 0, 0).ok()?;
    let today = slot.to_zoned(zone.clone()).date();
    [Some(today), today.tomorrow().ok()].into_iter().flatten().find_map(|day| {
        let shown = zone.to_ambiguous_timestamp(day.to_datetime(by));
        [shown.compatible(), shown.later()].into_iter().flatten().find(|time| *time > slot)
    })
}

/// What the run says of its slot, where it must end by `due`. That the operator told late of an end does not make the end late.
#[must_use]
pub fn judge(run: &AutomationRun, due: Option<Timestamp>) -> Verdict {
    let Some(status) = run.status.as_ref().filter(|_| ledger::is_finished(run)) else { return Verdict::Open };
    let why = status.reason.clone().filter(|why| !why.is_empty());
    let late = due.zip(status.completion_time.as_ref()).is_some_and(|(due, ended)| ended.0 > due);
    match status.outcome.unwrap_or(Outcome::Unknown) {
        Outcome::Succeeded | Outcome::NoData if late => Verdict::Bad(BadCause::Late, why),
        Outcome::Succeeded | Outcome::NoData => Verdict::Good,
        Outcome::Failed => Verdict::Bad(BadCause::Failed, why),
        Outcome::TimedOut => Verdict::Bad(BadCause::TimedOut, why),
        // Whoever stopped it, a person or `Replace`, the work of the slot was not done: what is replaced each time must not look
        // as if all were well.
        Outcome::Cancelled => Verdict::Bad(BadCause::Cancelled, why),
        Outcome::Missed => Verdict::Bad(BadCause::Missed, why),
        Outcome::Skipped | Outcome::Unknown => Verdict::Neither,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(time: &str) -> Timestamp {
        time.parse().unwrap()
    }

    fn run(outcome: Option<&str>, why: &str, ended: &str) -> AutomationRun {
        let phase = if outcome.is_some() { "Finished" } else { "Running" };
        serde_json::from_value(json!({
            "metadata": { "name": "r" }, "spec": { "taskRef": { "name": "t" }, "trigger": "Schedule" },
            "status": { "phase": phase, "outcome": outcome, "reason": why, "completionTime": outcome.map(|_| ended) },
        }))
        .unwrap()
    }

    #[test]
    fn a_run_is_good_where_it_ended_well_and_in_time() {
        use Verdict::{Bad, Good, Neither, Open};
        let why = |word: &str| Some(word.to_owned());
        for (outcome, word, verdict) in [
            (Some("Succeeded"), "", Good),
            (Some("NoData"), "ExitCode2", Good),
            (Some("Failed"), "ExitCode1", Bad(BadCause::Failed, why("ExitCode1"))),
            (Some("TimedOut"), "RunTimeout", Bad(BadCause::TimedOut, why("RunTimeout"))),
            (Some("Cancelled"), "Cancelled", Bad(BadCause::Cancelled, why("Cancelled"))),
            (Some("Cancelled"), "Replaced", Bad(BadCause::Cancelled, why("Replaced"))),
            (Some("Unknown"), "JobGone", Neither),
            (Some("Skipped"), "Forbid", Neither),
            (None, "", Open),
        ] {
            assert_eq!(judge(&run(outcome, word, "2026-11-27T06:00:00Z"), Some(at("2026-11-27T06:00:00Z"))), verdict, "{outcome:?} {word}");
        }
        let late = run(Some("Succeeded"), "Completed", "2026-11-27T06:00:01Z");
        assert_eq!(judge(&late, Some(at("2026-11-27T06:00:00Z"))), Bad(BadCause::Late, why("Completed")));
        assert_eq!(judge(&late, None), Good);
        let failed = run(Some("Failed"), "ExitCode1", "2026-11-27T09:00:00Z");
        assert_eq!(judge(&failed, Some(at("2026-11-27T06:00:00Z"))), Bad(BadCause::Failed, why("ExitCode1")), "that it failed says more");
    }

    #[test]
    fn a_run_is_due_so_long_after_its_slot_and_at_the_first_such_time_after_it() {
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        let slo = |within: Option<i64>, by: Option<&str>| Slo {
            finish_within_seconds: within,
            finish_by: by.map(str::to_owned),
            ..Slo::default()
        };
        for (within, by, slot, expected) in [
            (None, None, "2026-11-27T01:00:00Z", None),
            (Some(3600), None, "2026-11-27T01:00:00Z", Some("2026-11-27T02:00:00Z")),
            (None, Some("06:00"), "2026-11-27T01:00:00Z", Some("2026-11-27T05:00:00Z")),
            (Some(3600), Some("06:00"), "2026-11-27T01:00:00Z", Some("2026-11-27T02:00:00Z")),
            (Some(86_400), Some("06:00"), "2026-11-27T01:00:00Z", Some("2026-11-27T05:00:00Z")),
            (None, Some("06:00"), "2026-11-27T21:00:00Z", Some("2026-11-28T05:00:00Z")),
            (None, Some("06:00"), "2026-11-27T05:00:00Z", Some("2026-11-28T05:00:00Z")),
            // Clocks jump over it, and show it twice.
            (None, Some("02:30"), "2026-03-28T23:00:00Z", Some("2026-03-29T01:30:00Z")),
            (None, Some("02:30"), "2026-10-24T23:00:00Z", Some("2026-10-25T00:30:00Z")),
            (None, Some("02:30"), "2026-10-25T00:30:00Z", Some("2026-10-25T01:30:00Z")),
            (None, Some("02:30"), "2026-10-25T01:30:00Z", Some("2026-10-26T01:30:00Z")),
        ] {
            assert_eq!(due(&slo(within, by), at(slot), &berlin), expected.map(at), "{within:?} {by:?} {slot}");
        }
    }
}
