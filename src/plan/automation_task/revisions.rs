//! The definitions of a task that are kept: the one it has, and those that runs were created with.

use std::collections::BTreeSet;

use super::{RevisionSeen, Seen};
use crate::{
    api::AutomationTaskStatus,
    build,
    plan::{Change, backfill},
};

/// How many of the newest are kept even where no run needs them.
const KEPT: usize = 10;

/// Makes the revision of the definition as it is, where that has changed, and then lets old ones go.
pub(super) fn keep(seen: &Seen, before: &AutomationTaskStatus) -> Vec<Change> {
    let name = build::revision_name(&seen.task);
    if before.revision.as_ref() == Some(&name) || seen.revisions_made.contains(&name) {
        return Vec::new();
    }
    let gone = superfluous(seen, &name).into_iter().map(|old| Change::DeleteRevision { name: old.name.clone(), uid: old.uid.clone() });
    let create = Change::CreateRevision { name, object: build::revision(&seen.task) };
    std::iter::once(create).chain(gone).collect()
}

/// Revisions that nothing needs: not those that a run ran, or is to run, nor those of Jobs that have no run yet.
fn superfluous<'a>(seen: &'a Seen, present: &str) -> Vec<&'a RevisionSeen> {
    let mut needed: BTreeSet<&str> = BTreeSet::from([present]);
    needed.extend(seen.jobs.iter().filter_map(|job| job.revision.as_deref()));
    needed.extend(backfill::needed_revisions(&seen.backfills));
    beyond(&seen.revisions, &needed)
}

/// Of all revisions those that are neither among the newest nor needed.
pub(in crate::plan) fn beyond<'a>(all: &'a [RevisionSeen], needed: &BTreeSet<&str>) -> Vec<&'a RevisionSeen> {
    let mut old: Vec<&RevisionSeen> = all.iter().collect();
    old.sort_by_key(|revision| std::cmp::Reverse((revision.created, revision.name.clone())));
    old.into_iter().skip(KEPT).filter(|revision| !revision.needed && !needed.contains(revision.name.as_str())).collect()
}
