//! What is kept of the runs that are over.

use jiff::Timestamp;

use crate::api::{AutomationRun, History, Phase, RunResult};

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

/// When the run ended, then its name: a total order of finished runs.
#[must_use]
pub fn order(run: &AutomationRun) -> (Timestamp, String) {
    let ended = run.status.as_ref().and_then(|status| status.completion_time.as_ref()).map_or(Timestamp::UNIX_EPOCH, |time| time.0);
    (ended, run.metadata.name.clone().unwrap_or_default())
}
