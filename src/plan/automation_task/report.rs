//! The status of a task, from what was seen, and what of it is worth an Event.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::{Accepted, Rejected, Seen, native};
use crate::{
    api::{
        AutomationRun, AutomationTaskStatus, ClockKind, CronJobRecord, LastRun, RunResult,
        condition::{self, Set, Status},
    },
    build, ledger,
    outcome::{self, JobEnd, JobSeen},
    plan::{Notice, RefusalKind, objective, slots::Kept, standing},
    schedule::Schedule,
    slo::Standing,
};

/// How long a status may wait that says nothing out of the ordinary.
const TELL_LATER: SignedDuration = SignedDuration::from_secs(10);
/// How long it may wait for the run of a Job that Kubernetes started: where many are started at once, records take turns.
const TELL_WITH_RECORD: SignedDuration = SignedDuration::from_secs(30);

/// Until when a status may wait that says no more than that runs come, go on and end as the last one did: while runs are
/// young, since their ends are told with it, and for a while after an end that was told.
pub(super) fn may_be_told_later(seen: &Seen, before: &AutomationTaskStatus, status: &AutomationTaskStatus) -> Option<Timestamp> {
    let ended = |status: &AutomationTaskStatus| status.last_run.as_ref().and_then(|last| last.completion_time.as_ref()).map(|time| time.0);
    let news = |status: &AutomationTaskStatus| AutomationTaskStatus {
        active: Vec::new(),
        active_count: 0,
        next: None,
        next_schedule_time: None,
        last_run: None,
        last_successful_time: None,
        slo: status.slo.as_ref().map(objective::news),
        // Under Kubernetes' clock it only says how far all went its usual way.
        decided_through: status.decided_through.clone().filter(|_| !is_native(status)),
        conditions: status.conditions.iter().map(|c| Condition { message: String::new(), ..c.clone() }).collect(),
        ..status.clone()
    };
    let how = |status: &AutomationTaskStatus| status.last_run.as_ref().map(|last| (last.outcome, last.reason.clone()));
    if news(before) != news(status) || how(before) != how(status) {
        return None;
    }
    if ended(before) == ended(status) {
        let told = |run: &&std::sync::Arc<AutomationRun>| run.metadata.name.as_ref().is_some_and(|name| before.active.contains(name));
        let runs = seen.runs.iter().filter(|run| !ledger::is_finished(run) && !told(run));
        let begun = runs.filter_map(|run| run.metadata.creation_timestamp.as_ref().map(|time| (time.0, TELL_LATER)));
        // One that failed is recorded at once, and told.
        let failed = |job: &JobSeen| matches!(job.end, Some(JobEnd::Failed { .. }));
        let unrecorded = seen.jobs.iter().filter(|job| job.by_cron_job && job.run.is_none() && !failed(job));
        begun.chain(unrecorded.map(|job| (job.created, TELL_WITH_RECORD))).filter_map(|(from, wait)| from.checked_add(wait).ok()).min()
    } else {
        ended(before).and_then(|from| from.checked_add(TELL_LATER).ok())
    }
}

pub(super) fn status(
    seen: &Seen,
    before: &AutomationTaskStatus,
    accepted: &Result<Accepted, Rejected>,
    kept: Option<&Kept>,
    objective: Option<Standing>,
    now: Timestamp,
) -> AutomationTaskStatus {
    let generation = seen.task.metadata.generation;
    let mut finished: Vec<&AutomationRun> = seen.runs.iter().map(AsRef::as_ref).filter(|run| ledger::is_finished(run)).collect();
    finished.sort_by_key(|run| ledger::order(run));
    let mut active: Vec<&AutomationRun> = seen.runs.iter().map(AsRef::as_ref).filter(|run| !ledger::is_finished(run)).collect();
    active.sort_by_key(|run| (run.metadata.creation_timestamp.clone(), run.metadata.name.clone()));
    let ended = |last: &LastRun| last.completion_time.clone();
    let last_run = finished
        .last()
        .copied()
        .map(standing::last_run)
        .filter(|last| before.last_run.as_ref().is_none_or(|known| ended(known) <= ended(last)));
    let last_run = last_run.or_else(|| before.last_run.clone());
    let good = finished.iter().rev().find(|run| run.status.as_ref().and_then(|s| s.result) == Some(RunResult::Good));
    let last_good = good.and_then(|run| run.status.as_ref()?.completion_time.clone());
    let schedule = accepted.as_ref().ok().and_then(|a| a.schedule.as_ref());
    let next = accepted.as_ref().ok().and_then(|a| a.next(now));
    let shown_schedule = match accepted {
        Ok(_) => Some(outcome::cut(&schedule.map_or_else(|| "on demand".to_owned(), Schedule::describe), 2048)),
        Err(_) => before.schedule.clone(),
    };
    let revision = build::revision_name(&seen.task);
    let made = seen.revisions_made.contains(&revision);
    let slo = objective.map(|objective| objective.status);
    let mut conditions = conditions(seen, accepted, next, last_run.as_ref(), now);
    conditions.extend(slo.as_ref().map(objective::met));
    let status = AutomationTaskStatus {
        observed_generation: generation,
        conditions: condition::conditions(&before.conditions, conditions, generation, now),
        clock: kept.map_or_else(|| before.clock.clone(), |kept| Some(kept.clock.clone())),
        schedule: shown_schedule,
        next: next.zip(schedule).map(|(slot, schedule)| schedule.describe_slot(slot)),
        next_schedule_time: next.map(Time),
        active: active.iter().take(10).filter_map(|run| run.metadata.name.clone()).collect(),
        active_count: i32::try_from(active.len()).unwrap_or(i32::MAX),
        last_successful_time: last_good.max(before.last_successful_time.clone()),
        last_run,
        decided_through: kept.map_or_else(|| before.decided_through.clone(), |kept| kept.decided_through.map(Time)),
        not_run: kept.map_or_else(|| before.not_run.clone(), |kept| kept.not_run.clone()),
        slo,
        revision: if made { Some(revision) } else { before.revision.clone() },
        cron_jobs: records(seen, before, accepted),
    };
    let unmoved = AutomationTaskStatus { decided_through: before.decided_through.clone(), ..status.clone() };
    // That a slot has its run is no news by itself: it is told together with what is.
    if is_native(&status) && before.decided_through.is_some() && unmoved == *before { unmoved } else { status }
}

/// Whether Kubernetes is the clock.
fn is_native(status: &AutomationTaskStatus) -> bool {
    status.clock.as_ref().is_some_and(|clock| clock.kind == ClockKind::CronJob)
}

/// The CronJobs as the API server last returned them to us. One that was written in this pass has a new generation; of
/// the others the record stands while they exist, or while they are wanted and this view may be older than the record.
fn records(seen: &Seen, before: &AutomationTaskStatus, accepted: &Result<Accepted, Rejected>) -> Vec<CronJobRecord> {
    let stands = |record: &CronJobRecord| match seen.cron_jobs.iter().find(|c| c.name == record.name) {
        Some(there) => there.uid == record.uid,
        None => accepted.as_ref().is_ok_and(|a| a.wanted.iter().any(|wanted| wanted.name == record.name)),
    };
    let kept = before.cron_jobs.iter().filter(|r| stands(r) && seen.written.iter().all(|w| w.name != r.name));
    let written = seen.written.iter().map(|w| CronJobRecord { name: w.name.clone(), uid: w.uid.clone(), generation: w.generation });
    let mut records: Vec<CronJobRecord> = kept.cloned().chain(written).collect();
    records.sort_by(|a, b| a.name.cmp(&b.name));
    records.truncate(8);
    records
}

fn conditions<'a>(
    seen: &Seen,
    accepted: &'a Result<Accepted, Rejected>,
    next: Option<Timestamp>,
    last: Option<&'a LastRun>,
    now: Timestamp,
) -> Vec<Set<'a>> {
    let uid = seen.task.metadata.uid.clone().unwrap_or_default();
    let set = |kind, status, reason: &'a str, message: String| Set { kind, status, reason, message: outcome::cut(&message, 2048) };
    let trouble = accepted.as_ref().ok().and_then(|accepted| {
        let taken = |name: &str| format!("a CronJob {name} exists and is not this task's; delete it, or rename the task");
        if let Some(foreign) = seen.cron_jobs.iter().find(|c| !c.owners.contains(&uid) && accepted.wanted.iter().any(|w| w.name == c.name))
        {
            return Some(("NameTaken", taken(&foreign.name)));
        }
        let refused = seen.refusals.iter().find(|r| accepted.wanted.iter().any(|w| w.name == r.name))?;
        Some(match refused.kind {
            RefusalKind::NameTaken | RefusalKind::Leaving => ("NameTaken", taken(&refused.name)),
            RefusalKind::Refused => ("Refused", format!("the API server refuses CronJob {}: {}", refused.name, refused.message)),
        })
    });
    let trouble = match accepted {
        Err(rejected) => Some((rejected.reason, rejected.message.clone())),
        Ok(_) => trouble,
    };
    let paused = native::paused(seen, accepted, now);
    let mut conditions = Vec::new();
    match trouble {
        Some((reason, message)) => {
            let goes_on = seen.cron_jobs.iter().any(|c| c.owners.contains(&uid) && !c.timing.suspended);
            let by_operator =
                seen.task.status.as_ref().and_then(|status| status.clock.as_ref()).is_some_and(|c| c.kind == ClockKind::Operator);
            let message = match (goes_on, by_operator && accepted.is_err()) {
                (true, _) => format!("{message}. Until then the schedule accepted before goes on"),
                (_, true) => format!("{message}. Until then no slot starts"),
                _ => message,
            };
            conditions.push(set(condition::READY, Status::False, reason, message.clone()));
            conditions.push(set(condition::STALLED, Status::True, reason, message));
        }
        None => {
            let schedule = accepted.as_ref().ok().and_then(|accepted| accepted.schedule.as_ref());
            let message = standing::accepted(schedule, next, paused.is_some(), "create an AutomationRun to run it");
            conditions.push(set(condition::READY, Status::True, "Accepted", message));
        }
    }
    conditions.push(standing::suspended(paused.as_ref()));
    conditions.push(standing::last_run_succeeded(last));
    conditions
}

/// What is worth an Event: Ready changed its mind.
pub(super) fn notices(before: &AutomationTaskStatus, after: &AutomationTaskStatus) -> Vec<Notice> {
    let ready = |status: &AutomationTaskStatus| condition::find(&status.conditions, condition::READY).cloned();
    let (Some(now), was) = (ready(after), ready(before)) else { return Vec::new() };
    if was.is_some_and(|was| {
        (was.status, was.reason, was.observed_generation) == (now.status.clone(), now.reason.clone(), now.observed_generation)
    }) {
        return Vec::new();
    }
    vec![Notice { warning: now.status != "True", reason: now.reason, action: "Arm", message: outcome::cut(&now.message, 1000) }]
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};
    use serde_json::json;

    use super::*;
    use crate::{api::AutomationTask, plan::automation_task::plan};

    fn at(time: &str) -> Timestamp {
        time.parse().unwrap()
    }

    /// A task that Kubernetes starts at midnight, as its status stood before, with a Job of that slot.
    fn seen(status: AutomationTaskStatus, failed: bool) -> Seen {
        let mut task: AutomationTask = serde_json::from_value(json!({
            "metadata": { "name": "t", "namespace": "ns", "uid": "u", "generation": 1, "creationTimestamp": "2026-11-01T00:00:00Z" },
            "spec": { "owner": { "team": "data" }, "image": "i", "schedule": { "cron": ["0 0 * * *"], "timeZone": "UTC" } },
        }))
        .unwrap();
        task.status = Some(status);
        let condition = if failed { "Failed" } else { "Complete" };
        let job: Job = serde_json::from_value(json!({
            "metadata": {
                "name": "t-1", "namespace": "ns", "uid": "j", "creationTimestamp": "2026-11-26T00:00:00Z",
                "annotations": { "batch.kubernetes.io/cronjob-scheduled-timestamp": "2026-11-26T00:00:00Z" },
                "ownerReferences": [{ "apiVersion": "batch/v1", "kind": "CronJob", "name": "t", "uid": "c", "controller": true }],
            },
            "status": { "conditions": [{ "type": condition, "status": "True", "reason": "R", "lastTransitionTime": "2026-11-26T00:00:02Z" }] },
        }))
        .unwrap();
        let no_pods: [Arc<Pod>; 0] = [];
        Seen { jobs: vec![JobSeen::read(&job, &no_pods)], ..Seen::of(task) }
    }

    #[test]
    fn that_the_next_slot_has_moved_on_is_told_together_with_the_record_of_the_one_that_was_due() {
        let before = plan(&Seen { jobs: Vec::new(), ..seen(AutomationTaskStatus::default(), false) }, at("2026-11-25T12:00:00Z")).status;
        let later = |failed: bool| {
            let seen = seen(before.clone(), failed);
            assert!(seen.jobs[0].by_cron_job && seen.jobs[0].end.is_some());
            let mut after = before.clone();
            after.next = Some("later".to_owned());
            may_be_told_later(&seen, &before, &after)
        };
        assert_eq!(later(false), Some(at("2026-11-26T00:00:30Z")), "its record may have to take its turn");
        assert_eq!(later(true), None, "a failure is recorded at once");
    }
}
