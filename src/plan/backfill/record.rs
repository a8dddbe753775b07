//! What is on record of slots: the runs of the task or workflow, found by slot and by idempotency key.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;

use super::{Known, Seen, slot_name};
use crate::{admission, api::AutomationRun, build};

/// The runs of a task or workflow. Made once for each plan: there may be ten thousand slots to ask for.
pub(super) struct Record<'a> {
    seen: &'a Seen,
    known: &'a Known,
    by_slot: BTreeMap<Timestamp, Vec<&'a Arc<AutomationRun>>>,
    by_key: BTreeMap<String, Vec<&'a Arc<AutomationRun>>>,
}

impl<'a> Record<'a> {
    pub(super) fn of(seen: &'a Seen, known: &'a Known) -> Self {
        let mut record = Self { seen, known, by_slot: BTreeMap::new(), by_key: BTreeMap::new() };
        for run in &seen.runs {
            match (&run.spec.scheduled_time, admission::key(run, &seen.runs)) {
                (Some(slot), _) => record.by_slot.entry(slot.0).or_default().push(run),
                (None, Some(key)) => record.by_key.entry(key).or_default().push(run),
                (None, None) => {}
            }
        }
        record
    }

    /// The runs of the slot: its own, those of backfills, and their reruns.
    pub(super) fn of_slot(&self, slot: Timestamp) -> Vec<&'a Arc<AutomationRun>> {
        let runs = self.by_slot.get(&slot).into_iter().flatten().copied();
        let namespace = self.seen.backfill.metadata.namespace.as_deref().unwrap_or_default();
        let key = build::idempotency_key(namespace, &slot_name(self.seen, self.known, slot));
        runs.chain(self.by_key.get(&key).into_iter().flatten().copied()).collect()
    }
}
