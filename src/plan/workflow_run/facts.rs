//! From what was seen of a workflow's run to what its graph is asked, and the times by which it is stopped.

use std::collections::BTreeMap;

use jiff::{Timestamp, tz::TimeZone};

use super::{Seen, kept::Kept};
use crate::{
    api::{AutomationRun, AutomationRunStatus},
    graph::{Decision, Ended, Facts, Recorded, RunFacts, StepFacts, Stop},
    ledger,
    plan::after,
};

/// By when what of a run must be over.
pub(super) struct Times {
    stop: Option<Stop>,
    /// When `steps` are stopped.
    pub(super) steps_until: Timestamp,
    /// When all is.
    until: Timestamp,
    is_over: bool,
}

impl Times {
    pub(super) fn of(seen: &Seen, before: &AutomationRunStatus, (run, finally): (i64, i64), now: Timestamp) -> Self {
        let started = started(seen, before, now);
        let until = after(started, run);
        let steps_until = after(until, -finally).max(started);
        let cancelled = seen.run.spec.cancel == Some(true);
        let stop = if cancelled { Some(Stop::Cancelled) } else { (now >= steps_until).then_some(Stop::TimedOut) };
        // `finally` has its time, however late the steps came to their end. Whoever cancels does not wait for as long as the
        // run might have taken.
        let Some(ended) = before.steps_end.as_ref().map(|end| end.time.0) else {
            return Self { stop, steps_until, until, is_over: false };
        };
        let until = if cancelled { after(ended, finally) } else { until.max(after(ended, finally)) };
        Self { stop, steps_until, until, is_over: now >= until }
    }

    /// When to look again although nothing has changed.
    pub(super) fn wake(&self, decision: &Decision, now: Timestamp) -> Option<Timestamp> {
        let next = if decision.steps_end.is_some() { self.until } else { self.steps_until };
        Some(next).filter(|next| decision.end.is_none() && *next > now)
    }
}

/// When the run began: on record, or when the first run of a step came.
pub(super) fn started(seen: &Seen, before: &AutomationRunStatus, now: Timestamp) -> Timestamp {
    let first = seen.children.iter().filter_map(|child| child.metadata.creation_timestamp.as_ref()).map(|time| time.0).min();
    before.start_time.as_ref().map(|time| time.0).or(first).unwrap_or(now)
}

/// The step of which a run is the run, and the index of its item.
pub(super) fn place(child: &AutomationRun) -> Option<(&str, usize)> {
    let step = child.spec.step_of()?;
    Some((step.name.as_str(), usize::try_from(step.item.unwrap_or(0)).unwrap_or(0)))
}

/// What the graph is asked about.
pub(super) fn facts<'a>(
    seen: &'a Seen,
    before: &'a AutomationRunStatus,
    parameters: &'a BTreeMap<String, String>,
    (slot, zone): (Option<Timestamp>, &'a TimeZone),
    times: &Times,
) -> Facts<'a> {
    let mut steps: BTreeMap<&str, StepFacts> = BTreeMap::new();
    for child in &seen.children {
        if let Some((step, index)) = place(child) {
            steps.entry(step).or_default().runs.insert(index, run_facts(child));
        }
    }
    for step in &before.steps {
        let ended = step.outcome.map(|outcome| Ended {
            outcome,
            reason: step.reason.clone().unwrap_or_default(),
            message: step.message.clone().unwrap_or_default(),
        });
        let recorded = Recorded {
            started: usize::try_from(step.started).unwrap_or(0),
            items: step.items.map(|items| usize::try_from(items.total).unwrap_or(0)),
            ended,
        };
        steps.entry(step.name.as_str()).or_default().recorded = Some(recorded);
    }
    let steps_end = before.steps_end.as_ref();
    Facts {
        parameters,
        slot,
        zone,
        steps,
        stop: times.stop,
        steps_end: steps_end.map(|end| Ended { outcome: end.outcome, reason: end.reason.clone(), message: end.message.clone() }),
        finally_over: times.is_over,
    }
}

/// Adds the runs that are kept, where there is no newer one.
pub(super) fn keep<'a>(facts: &mut Facts<'a>, kept: &Kept<'a>) {
    for ((step, item), run) in &kept.runs {
        let runs = &mut facts.steps.entry(step).or_default().runs;
        runs.entry(*item).or_insert_with(|| RunFacts { kept: true, ..run_facts(run) });
    }
}

fn run_facts(child: &AutomationRun) -> RunFacts<'_> {
    let status = child.status.as_ref();
    RunFacts {
        outcome: status.filter(|_| ledger::is_finished(child)).and_then(|status| status.outcome),
        told: (
            status.and_then(|status| status.reason.as_deref()).unwrap_or_default(),
            status.and_then(|status| status.message.as_deref()).unwrap_or_default(),
        ),
        outputs: status.and_then(|status| status.outputs.as_ref()),
        kept: false,
    }
}
