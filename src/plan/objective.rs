//! How the objective of a task or workflow stands, and what of that is news.

use jiff::{Timestamp, tz::TimeZone};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::slots::{GROUPS, Kept, SECOND, Scheduled};
use crate::{
    api::{
        AutomationRun, NotRun, Outcome, SloState, SloStatus,
        condition::{self, Set, Status},
    },
    ledger,
    outcome::{cut, reason},
    schedule::Schedule,
    slo::{self, Missed, Of, Standing},
};

/// How the objective stands, where there is one. `known` is how far the slots were decided, and those that brought no run, as the
/// status has them; `kept` what this pass adds to that.
pub(super) fn stand(
    seen: &dyn Scheduled,
    before: Option<&SloStatus>,
    known: (Option<&Time>, &[NotRun]),
    schedule: Option<&Schedule>,
    kept: Option<&Kept>,
    now: Timestamp,
) -> Option<Standing> {
    let slo = seen.slo()?;
    let written = seen.written()?;
    // A slot that has its Job will have its run: it is counted before those after it.
    let unrecorded = seen.jobs().iter().filter(|job| job.by_cron_job && !job.deleting).filter_map(|job| job.slot);
    let unrecorded = unrecorded.filter(|slot| seen.recorded(*slot).is_none()).min().map(|slot| slot - SECOND);
    let decided = kept.map_or_else(|| known.0.map(|time| time.0), |kept| kept.decided_through);
    let decided = decided.map(|decided| unrecorded.map_or(decided, |unrecorded| unrecorded.min(decided)));
    let zone = schedule.map(|schedule| schedule.zone.clone());
    let zone = zone.or_else(|| TimeZone::get(written.time_zone.as_deref()?).ok()).unwrap_or(TimeZone::UTC);
    let mut missed: Vec<Missed> = kept.map(|kept| kept.missed.clone()).unwrap_or_default();
    if let Some(schedule) = schedule.filter(|_| slo::begins(slo, before)) {
        let known = known.1.iter().filter(|group| group.outcome == Outcome::Missed);
        missed.extend(known.map(|group| Missed::of(group, schedule)));
    }
    // How its last Job has ended the run says in a moment: it is not late for that.
    let goes_on =
        |run: &AutomationRun| run.status.as_ref().and_then(|s| s.waiting_on.as_ref()).is_some_and(|w| w.reason == reason::BACKOFF);
    let live = seen.runs().iter().filter(|run| !ledger::is_finished(run) && !goes_on(run));
    let done = live.filter_map(|run| run.metadata.name.clone()).filter(|run| {
        let mut jobs = seen.jobs().iter().filter(|job| job.run.as_ref() == Some(run)).peekable();
        jobs.peek().is_some() && jobs.all(|job| job.end.is_some())
    });
    // Of a predecessor of the same name runs may still be there. The last groups are kept of what did not run.
    let created = seen.meta().creation_timestamp.as_ref().map(|time| time.0);
    let oldest = known.1.first().filter(|_| known.1.len() >= GROUPS).map(|group| group.first_slot.0);
    let known_since = created.max(oldest).map(|since| since - SECOND);
    slo::stand(&Of {
        slo,
        before,
        runs: seen.runs(),
        done: &done.collect::<Vec<_>>(),
        missed: &missed,
        decided,
        schedule,
        zone: &zone,
        history: &seen.history().cloned().unwrap_or_default(),
        known_since,
        now,
    })
}

/// Whether a run must not be deleted yet, since the status that is seen does not count it.
pub(super) fn is_to_count(seen: &dyn Scheduled, before: Option<&SloStatus>, run: &AutomationRun) -> bool {
    seen.slo().filter(|_| seen.written().is_some()).is_some_and(|slo| slo::is_to_count(slo, before, run))
}

/// Whether it is met. Of this `Ready` never speaks.
pub(super) fn met(slo: &SloStatus) -> Set<'static> {
    let (status, reason) = match slo.state {
        SloState::Met => (Status::True, "Met"),
        SloState::AtRisk => (Status::True, "AtRisk"),
        SloState::Breached => (Status::False, "Breached"),
        SloState::InsufficientData => (Status::Unknown, "InsufficientData"),
    };
    Set { kind: condition::OBJECTIVE_MET, status, reason, message: cut(&slo::sentence(slo), 2048) }
}

/// What of it is worth a write of its own: that another slot was good can wait.
pub(super) fn news(slo: &SloStatus) -> SloStatus {
    SloStatus {
        state: slo.state,
        bad: slo.bad,
        objective: slo.objective.clone(),
        window: slo.window.clone(),
        last_bad: slo.last_bad.clone(),
        ..SloStatus::default()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;
    use crate::{
        api::{AutomationTask, Workflow},
        plan::{Change, automation_task, workflow},
    };

    const SLOT: &str = "2026-11-27T01:00:00Z";

    /// Hourly, with an objective that is new; and a run that failed.
    fn object(of: &str, spec: &Value, clock: &str) -> (Value, AutomationRun) {
        let mut whole = json!({
            "owner": { "team": "data" },
            "schedule": { "cron": ["0 * * * *"] },
            "slo": { "objective": "99.5%", "windowRuns": 200 },
            "history": { "succeeded": 1, "failed": 1 },
        });
        whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        let run = |name: &str, slot: &str| {
            json!({
                "metadata": { "name": name, "namespace": "ns", "uid": name, "creationTimestamp": slot },
                "spec": { of: { "name": "t" }, "trigger": "Schedule", "scheduledTime": slot },
                "status": { "phase": "Finished", "outcome": "Failed", "result": "Bad", "reason": "ExitCodeFatal", "completionTime": slot },
            })
        };
        let object = json!({
            "metadata": { "name": "t", "namespace": "ns", "uid": "u", "generation": 1, "creationTimestamp": "2026-11-01T00:00:00Z" },
            "spec": whole,
            "status": {
                "clock": { "type": clock, "reason": "", "since": "2026-11-01T00:00:00Z", "schedule": { "cron": ["0 * * * *"] } },
                "lastRun": { "name": "r1", "outcome": "Failed", "completionTime": SLOT },
                "decidedThrough": SLOT,
            },
        });
        (object, serde_json::from_value(run("r1", SLOT)).unwrap())
    }

    /// The runs of three slots, like that one. `history` keeps one of them.
    fn runs(like: &AutomationRun) -> Vec<Arc<AutomationRun>> {
        let at = |slot: &str| {
            let mut run = like.clone();
            let time: Timestamp = slot.parse().unwrap();
            run.metadata.name = Some(format!("t-{}", time.as_second() / 60));
            run.spec.scheduled_time = Some(Time(time));
            run.status.as_mut().unwrap().completion_time = Some(Time(time));
            Arc::new(run)
        };
        ["2026-11-26T23:00:00Z", "2026-11-27T00:00:00Z", SLOT].into_iter().map(at).collect()
    }

    fn deleted(changes: &[Change]) -> usize {
        changes.iter().filter(|change| matches!(change, Change::DeleteRun { .. })).count()
    }

    #[test]
    fn runs_of_a_task_go_once_the_status_that_is_seen_counts_them() {
        let (object, run) = object("taskRef", &json!({ "image": "i" }), "CronJob");
        let task: AutomationTask = serde_json::from_value(object).unwrap();
        let mut seen = automation_task::Seen { runs: runs(&run), ..automation_task::Seen::of(task.clone()) };
        let now = "2026-11-27T01:00:30Z".parse().unwrap();
        let first = automation_task::plan(&seen, now);
        let told = first.status.slo.clone().unwrap();
        assert_eq!((deleted(&first.changes), told.bad, told.folded_through), (0, 3, Some(Time(SLOT.parse().unwrap()))));
        seen.task = Arc::new(AutomationTask { status: Some(first.status.clone()), ..task });
        let second = automation_task::plan(&seen, now);
        assert_eq!((deleted(&second.changes), second.status.slo), (2, first.status.slo));
    }

    #[test]
    fn runs_of_a_workflow_go_once_the_status_that_is_seen_counts_them() {
        let (object, run) = object("workflowRef", &json!({ "steps": [{ "name": "a", "taskRef": { "name": "a" } }] }), "Operator");
        let of: Workflow = serde_json::from_value(object).unwrap();
        let mut seen = workflow::Seen {
            workflow: Arc::new(of.clone()),
            definition: Err(workflow::Rejected { is_missing: true, problems: vec!["there is no task a".to_owned()] }),
            runs: runs(&run),
            revisions: Vec::new(),
            backfills: Vec::new(),
            runs_made: Vec::new(),
            revisions_made: Vec::new(),
            refusals: Vec::new(),
        };
        let now = "2026-11-27T01:00:30Z".parse().unwrap();
        let first = workflow::plan(&seen, now);
        assert_eq!((deleted(&first.changes), first.status.slo.as_ref().map(|slo| slo.bad)), (0, Some(3)));
        seen.workflow = Arc::new(Workflow { status: Some(first.status.clone()), ..of });
        let second = workflow::plan(&seen, now);
        assert_eq!((deleted(&second.changes), second.status.slo), (2, first.status.slo));
    }
}
