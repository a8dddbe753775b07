//! Where counting begins, when runs are there already.

use std::sync::Arc;

use jiff::Timestamp;

use crate::{
    api::{AutomationRun, History, RunResult},
    ledger,
};

/// Up to which slot runs may have been deleted, as far as `history` tells: good runs and others are kept apart, so what is left
/// of a week of failures says little about the good nights between them. Where none are kept, up to `decided`.
pub(super) fn lost_through(runs: &[Arc<AutomationRun>], history: &History, decided: Option<Timestamp>) -> Option<Timestamp> {
    let limit = |limit: Option<i32>| usize::try_from(limit.unwrap_or(10)).unwrap_or(0);
    let lost = [(true, limit(history.succeeded)), (false, limit(history.failed))].map(|(good, limit)| {
        let of_kind = runs.iter().filter(|run| ledger::is_finished(run));
        let of_kind = of_kind.filter(|run| (run.status.as_ref().and_then(|status| status.result) == Some(RunResult::Good)) == good);
        // They go by their ends, and what has ended before was due before.
        let ends = of_kind.map(|run| ledger::order(run).0);
        if limit == 0 { decided } else { ledger::lost_through(ends, limit) }
    });
    lost.into_iter().flatten().max()
}
