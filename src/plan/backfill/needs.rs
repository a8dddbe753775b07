//! What a backfill needs that others would let go: runs that it has still to count, and the revision that it runs.

use std::sync::Arc;

use super::is_own;
use crate::api::{AutomationRun, Backfill, BackfillPhase, SlotOrder, label};

/// Whether a run that has ended has still to be counted by one of these backfills, and must not go before.
pub(in crate::plan) fn is_yet_to_count(backfills: &[Arc<Backfill>], run: &AutomationRun) -> bool {
    let by = run.metadata.labels.as_ref().and_then(|labels| labels.get(label::BACKFILL));
    by.is_some() && backfills.iter().any(|backfill| backfill.metadata.name.as_ref() == by && !has_counted(backfill, run))
}

/// The revisions that backfills have begun with and still make runs of. One that has begun in this moment may not be seen yet:
/// its revision is among the newest, which are kept anyway.
pub(in crate::plan) fn needed_revisions(backfills: &[Arc<Backfill>]) -> impl Iterator<Item = &str> {
    let going = backfills.iter().filter_map(|backfill| backfill.status.as_ref()).filter(|s| s.phase != Some(BackfillPhase::Finished));
    going.filter_map(|status| status.revision.as_deref())
}

/// Whether a run of the backfill's that has ended is counted on its status, so that the run may go.
fn has_counted(backfill: &Backfill, run: &AutomationRun) -> bool {
    let status = backfill.status.clone().unwrap_or_default();
    if status.phase == Some(BackfillPhase::Finished) || !is_own(backfill, run) {
        return true;
    }
    let listed = status.active.iter().any(|entry| Some(&entry.run) == run.metadata.name.as_ref());
    let newest_first = backfill.spec.order == Some(SlotOrder::NewestFirst);
    let decided = status
        .decided_through
        .zip(run.spec.scheduled_time.as_ref())
        .is_some_and(|(through, slot)| if newest_first { slot.0 >= through.0 } else { slot.0 <= through.0 });
    decided && !listed
}
