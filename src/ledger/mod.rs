//! What is kept of the runs that are over, and what can be known of slots that have none.

mod traces;

pub use traces::lost_through;

use jiff::Timestamp;

use crate::api::{AutomationRun, History, Phase, RunResult, label};

/// Returns the finished runs that `history` no longer keeps, oldest first.
///
/// Good runs and others are counted apart, so a week of failures cannot push the last good run out.
#[must_use]
pub fn expired<'a>(runs: impl IntoIterator<Item = &'a AutomationRun>, history: &History) -> Vec<&'a AutomationRun> {
    let (mut good, mut other): (Vec<_>, Vec<_>) = runs
        .into_iter()
        .filter(|run| is_finished(run))
        .partition(|run| run.status.as_ref().and_then(|s| s.result) == Some(RunResult::Good));
    let keep = |limit: Option<i32>| usize::try_from(limit.unwrap_or(10)).unwrap_or(0);
    let mut expired = Vec::new();
    for (runs, limit) in [(&mut good, keep(history.succeeded)), (&mut other, keep(history.failed))] {
        runs.sort_by_key(|run| order(run));
        let over = runs.len().saturating_sub(limit);
        expired.extend(runs.drain(..over));
    }
    expired.sort_by_key(|run| order(run));
    expired
}

/// Whether the run is over. It then never changes again.
#[must_use]
pub fn is_finished(run: &AutomationRun) -> bool {
    run.status.as_ref().and_then(|status| status.phase) == Some(Phase::Finished)
}

/// Whether the Job of its first attempt was made, as the run itself says.
#[must_use]
pub fn is_started(run: &AutomationRun) -> bool {
    let mark = run.metadata.annotations.as_ref().and_then(|annotations| annotations.get(label::STARTED));
    mark.is_some() && mark == run.metadata.uid.as_ref()
}

/// Whether a CronJob, and not the operator, has started the run's Job.
#[must_use]
pub fn is_adopted(run: &AutomationRun) -> bool {
    run.metadata.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(label::ADOPTED_JOB))
}

/// Whether a Job of the run was made, as far as the run itself says.
#[must_use]
pub fn has_begun(run: &AutomationRun) -> bool {
    is_adopted(run) || is_started(run) || run.status.as_ref().is_some_and(|status| status.start_time.is_some())
}

/// When the run ended, then its name: a total order of finished runs.
#[must_use]
pub fn order(run: &AutomationRun) -> (Timestamp, String) {
    let ended = run.status.as_ref().and_then(|status| status.completion_time.as_ref()).map_or(Timestamp::UNIX_EPOCH, |time| time.0);
    (ended, run.metadata.name.clone().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// A run that ended in that minute; one without an outcome goes on.
    fn run(name: &str, outcome: Option<&str>, minute: u32) -> AutomationRun {
        let result = match outcome {
            Some("Succeeded" | "NoData") => json!("Good"),
            Some("Unknown") | None => json!(null),
            Some(_) => json!("Bad"),
        };
        let phase = if outcome.is_some() { "Finished" } else { "Running" };
        let ended = outcome.map(|_| format!("2026-11-24T01:{minute:02}:00Z"));
        serde_json::from_value(json!({
            "apiVersion": "nightshift.dev/v1alpha1", "kind": "AutomationRun",
            "metadata": { "name": name }, "spec": { "taskRef": { "name": "t" } },
            "status": { "phase": phase, "outcome": outcome, "result": result, "completionTime": ended },
        }))
        .unwrap()
    }

    fn names(expired: &[&AutomationRun]) -> Vec<String> {
        expired.iter().filter_map(|run| run.metadata.name.clone()).collect()
    }

    fn history(succeeded: i32, failed: i32) -> History {
        History { succeeded: Some(succeeded), failed: Some(failed) }
    }

    #[test]
    fn the_oldest_go_first_good_and_other_ends_apart() {
        let runs = [
            run("b3", Some("Failed"), 30),
            run("g1", Some("Succeeded"), 1),
            run("g2", Some("NoData"), 2),
            run("b1", Some("TimedOut"), 3),
            run("u1", Some("Unknown"), 4),
            run("live", None, 0),
            run("b2", Some("Cancelled"), 5),
        ];
        assert_eq!(names(&expired(&runs, &history(1, 2))), ["g1", "b1", "u1"]);
        assert_eq!(names(&expired(&runs, &history(0, 0))), ["g1", "g2", "b1", "u1", "b2", "b3"], "never one that goes on");
        assert!(expired(&runs, &History::default()).is_empty(), "ten of each where unset");
        assert!(expired(&runs, &history(2, 4)).is_empty());
    }

    #[test]
    fn a_week_of_failures_leaves_the_last_good_run() {
        let mut runs = vec![run("good", Some("Succeeded"), 0)];
        runs.extend((1..30).map(|n| run(&format!("bad-{n:02}"), Some("Failed"), n)));
        let gone = names(&expired(&runs, &history(1, 3)));
        assert_eq!((gone.len(), gone.contains(&"good".to_owned())), (26, false));
    }

    proptest! {
        #[test]
        fn what_is_kept_is_the_newest_of_its_kind_and_pruning_again_changes_nothing(
            outcomes in prop::collection::vec(prop::sample::select(vec![Some("Succeeded"), Some("NoData"), Some("Failed"), Some("Unknown"), None]), 0..25),
            minutes in prop::collection::vec(0u32..60, 25),
            (succeeded, failed) in (0i32..6, 0i32..6),
        ) {
            let runs: Vec<AutomationRun> = outcomes.iter().enumerate().map(|(n, outcome)| run(&format!("r{n}"), *outcome, minutes[n])).collect();
            let gone = names(&expired(&runs, &history(succeeded, failed)));
            let left: Vec<AutomationRun> = runs.iter().filter(|run| !gone.contains(run.metadata.name.as_ref().unwrap())).cloned().collect();
            prop_assert!(expired(&left, &history(succeeded, failed)).is_empty());
            let is_good = |run: &&AutomationRun| run.status.as_ref().unwrap().result == Some(RunResult::Good);
            for (kind, limit) in [(true, succeeded), (false, failed)] {
                let of_kind = |run: &&AutomationRun| is_finished(run) && is_good(run) == kind;
                let kept: Vec<_> = left.iter().filter(of_kind).map(order).collect();
                let total = runs.iter().filter(of_kind).count();
                prop_assert_eq!(kept.len(), total.min(usize::try_from(limit).unwrap()));
                let newest_gone = runs.iter().filter(of_kind).filter(|run| gone.contains(run.metadata.name.as_ref().unwrap())).map(order).max();
                prop_assert!(kept.iter().min().zip(newest_gone.as_ref()).is_none_or(|(kept, gone)| gone < kept));
            }
        }
    }
}
