//! The status of a backfill, from what was seen and decided, and what of it is worth an Event.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{Seen, Wrong};
use crate::{
    api::{
        BackfillFailure, BackfillPhase, BackfillRun, BackfillStatus, Outcome, Schedule,
        condition::{self, Set, Status},
    },
    outcome::cut,
    plan::{Change, Notice, Plan, workflow_run::DEFINITION_PENDING},
};

/// How far a backfill has come, and what is to be done next.
#[derive(Default)]
pub(super) struct Course {
    pub(super) changes: Vec<Change>,
    pub(super) active: Vec<BackfillRun>,
    pub(super) failures: Vec<BackfillFailure>,
    pub(super) through: Option<Timestamp>,
    pub(super) total: i32,
    pub(super) succeeded: i32,
    pub(super) failed: i32,
    pub(super) skipped: i32,
    pub(super) revision: Option<String>,
    pub(super) schedule: Option<Schedule>,
    /// What a dry run would run.
    pub(super) planned: Option<Vec<Timestamp>>,
    /// What it waits on.
    pub(super) waits: Option<(&'static str, String)>,
    pub(super) wrong: Option<Wrong>,
    pub(super) cancelled: bool,
    /// Whether every slot is decided.
    pub(super) at_end: bool,
    pub(super) wake: Option<Timestamp>,
}

impl Course {
    pub(super) fn from(before: &BackfillStatus) -> Self {
        Self {
            active: before.active.clone(),
            failures: before.failures.clone(),
            through: before.decided_through.as_ref().map(|time| time.0),
            total: before.total,
            succeeded: before.succeeded,
            failed: before.failed,
            skipped: before.skipped,
            revision: before.revision.clone(),
            schedule: before.schedule.clone(),
            ..Self::default()
        }
    }

    fn done(&self) -> i32 {
        self.succeeded + self.failed + self.skipped
    }

    fn phase(&self, seen: &Seen, before: &BackfillStatus) -> BackfillPhase {
        let over = self.active.is_empty() && (self.cancelled || self.at_end);
        let begun = before.start_time.is_some() || !self.active.is_empty() || self.done() > 0;
        match () {
            () if over => BackfillPhase::Finished,
            () if self.cancelled => BackfillPhase::Running,
            () if self.planned.is_some() => BackfillPhase::DryRun,
            () if seen.backfill.spec.suspend == Some(true) => BackfillPhase::Paused,
            () if begun => BackfillPhase::Running,
            () => BackfillPhase::Pending,
        }
    }
}

/// The plan that follows.
pub(super) fn into_plan(seen: &Seen, before: &BackfillStatus, course: Course, now: Timestamp) -> Plan<BackfillStatus> {
    let generation = seen.backfill.metadata.generation;
    let phase = course.phase(seen, before);
    let finished = phase == BackfillPhase::Finished;
    let outcome = finished.then_some(match () {
        () if course.cancelled => Outcome::Cancelled,
        () if course.failed > 0 => Outcome::Failed,
        () => Outcome::Succeeded,
    });
    let message = cut(&words(&course, phase), 2048);
    let mut conditions = Vec::new();
    let set = |kind, status, reason, message: &str| Set { kind, status, reason, message: cut(message, 2048) };
    match &course.wrong {
        Some(wrong) => {
            // That a definition is being kept takes a moment, and says nothing against the spec.
            let ready = if wrong.reason == DEFINITION_PENDING { Status::Unknown } else { Status::False };
            conditions.push(set(condition::READY, ready, wrong.reason, &wrong.message));
            if wrong.stalled {
                conditions.push(set(condition::STALLED, Status::True, wrong.reason, &wrong.message));
            }
        }
        None => conditions.push(set(condition::READY, Status::True, "Accepted", "accepted")),
    }
    let succeeded = outcome.map_or(Status::Unknown, |outcome| Status::from(outcome == Outcome::Succeeded));
    let phase_word = format!("{phase:?}");
    let outcome_word = outcome.map(|outcome| format!("{outcome:?}"));
    conditions.push(set(condition::SUCCEEDED, succeeded, outcome_word.as_deref().unwrap_or(&phase_word), &message));
    let planned_count = course.planned.as_ref().map(|planned| i32::try_from(planned.len()).unwrap_or(i32::MAX));
    let begun = !course.active.is_empty() || course.done() > 0;
    let progress = format!("{}/{}", course.done(), course.total);
    let status = BackfillStatus {
        observed_generation: generation,
        phase: Some(phase),
        outcome,
        message: Some(message),
        progress: Some(progress).filter(|_| course.total > 0),
        total: course.total,
        succeeded: course.succeeded,
        failed: course.failed,
        skipped: course.skipped,
        decided_through: course.through.map(Time),
        active: course.active,
        failures: course.failures,
        planned: course.planned.into_iter().flatten().take(100).map(Time).collect(),
        planned_count,
        revision: course.revision,
        schedule: course.schedule,
        start_time: before.start_time.clone().or_else(|| begun.then_some(Time(now))),
        completion_time: finished.then_some(Time(now)),
        conditions: condition::conditions(&before.conditions, conditions, generation, now),
    };
    let notices = notices(before, &status);
    Plan { changes: course.changes, status, report_after: None, notices, wake: course.wake.filter(|_| !finished) }
}

fn words(course: &Course, phase: BackfillPhase) -> String {
    if let Some(wrong) = &course.wrong {
        return wrong.message.clone();
    }
    let total = course.total;
    let tally = format!(
        "{} of {total} slots done: {} succeeded, {} failed, {} left alone",
        course.done(),
        course.succeeded,
        course.failed,
        course.skipped
    );
    match phase {
        BackfillPhase::DryRun => {
            let planned = course.planned.as_ref().map_or(0, Vec::len);
            format!("would run {planned} of {total} slots; set dryRun to false to begin")
        }
        BackfillPhase::Paused => format!("{tally}; suspend is set, nothing more is started"),
        BackfillPhase::Running if course.cancelled => format!("{tally}; cancelled, {} runs are being stopped", course.active.len()),
        BackfillPhase::Finished if course.cancelled => format!("{tally}; cancelled"),
        BackfillPhase::Finished if total == 0 => "the schedule has no slot in this range; nothing was run".to_owned(),
        _ => match &course.waits {
            Some((_, waits)) => format!("{tally}; {waits}"),
            None => tally,
        },
    }
}

/// What is worth an Event: it cannot go on, it began, it is over.
fn notices(before: &BackfillStatus, after: &BackfillStatus) -> Vec<Notice> {
    let ready =
        |status: &BackfillStatus| condition::find(&status.conditions, condition::READY).map(|c| (c.status.clone(), c.reason.clone()));
    let message = cut(after.message.as_deref().unwrap_or_default(), 1000);
    let notice = |warning, reason: String, action| Notice { warning, reason, action, message: message.clone() };
    if let Some(outcome) = after.outcome {
        return vec![notice(outcome != Outcome::Succeeded, format!("{outcome:?}"), "Conclude")];
    }
    match ready(after) {
        Some((status, reason)) if status == "False" && ready(before) != Some((status.clone(), reason.clone())) => {
            vec![notice(true, reason, "Backfill")]
        }
        _ if before.start_time.is_none() && after.start_time.is_some() => vec![notice(false, "Started".to_owned(), "Backfill")],
        _ => Vec::new(),
    }
}
