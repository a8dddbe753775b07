//! The slots of a workflow's schedule. The operator is its clock: no CronJob can start one.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::ObjectMeta;

use super::Seen;
use crate::{
    api::{self, AutomationRun, ClockKind, ClockStatus, History, NotRun, Slo, Trigger, Workflow, WorkflowStatus, condition},
    build,
    outcome::JobSeen,
    plan::{
        Refusal,
        pause::{Pause, pause},
        slots::{Kept, Of, Scheduled},
    },
    schedule::{self, Schedule},
};

/// Why the operator is the clock.
const WHY: &str = "a workflow is no Job, which alone a CronJob can start";

/// A schedule that can be kept.
pub(in crate::plan) struct Accepted {
    pub(super) schedule: Option<Schedule>,
    pub(super) pause: Option<Pause>,
}

impl Accepted {
    pub(super) fn next(&self, now: Timestamp) -> Option<Timestamp> {
        self.schedule.as_ref().filter(|_| self.pause.is_none()).and_then(|schedule| schedule.next(now))
    }

    /// When to look again: the next slot, or the end of the pause.
    pub(super) fn wake(&self, now: Timestamp) -> Option<Timestamp> {
        [self.next(now), self.pause.as_ref().and_then(Pause::until)].into_iter().flatten().min()
    }
}

/// Whether the schedule can be kept.
///
/// # Errors
/// A reason for the condition, and the field and the fix.
pub(in crate::plan) fn accept(workflow: &Workflow, now: Timestamp) -> Result<Accepted, (&'static str, String)> {
    let (meta, spec) = (&workflow.metadata, &workflow.spec);
    let pause = pause(meta, spec.schedule.as_ref(), now).map_err(|problem| ("InvalidPause", problem))?;
    let Some(written) = &spec.schedule else { return Ok(Accepted { schedule: None, pause: None }) };
    let (namespace, name) = (meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default());
    let schedule = Schedule::parse(written, namespace, name).map_err(|error| ("InvalidSchedule", error.to_string()))?;
    schedule::check_slot_values(&spec.parameters, &schedule.zone).map_err(|problem| ("InvalidParameters", problem))?;
    Ok(Accepted { schedule: Some(schedule), pause })
}

/// Keeps the schedule: no slot starts while there is nothing to run.
pub(super) fn keep(seen: &Seen, before: &WorkflowStatus, accepted: &Accepted, now: Timestamp) -> Kept {
    let was = before.clock.as_ref();
    let kind = if accepted.schedule.is_some() { ClockKind::Operator } else { ClockKind::None };
    let reason = if accepted.schedule.is_some() { WHY } else { "no schedule: it runs when somebody creates an AutomationRun" };
    let clock = ClockStatus { kind, reason: reason.to_owned(), since: None, first_slot: None, schedule: None, previous: None };
    let mut kept = Kept::of(clock, before.decided_through.as_ref(), &before.not_run);
    let Some(schedule) = &accepted.schedule else {
        kept.decided_through = None;
        return kept;
    };
    let known = was.filter(|was| was.kind == ClockKind::Operator);
    if let Some(was) = known {
        (kept.clock.since, kept.clock.first_slot) = (was.since.clone(), was.first_slot.clone());
    }
    // A workflow that nobody has seen before is due from its creation on.
    let created = seen.workflow.metadata.creation_timestamp.as_ref().map_or(now, |Time(time)| *time);
    let from = if before.clock.is_none() { created } else { now };
    let through = kept.decided_through.unwrap_or(from);
    let of = Of {
        seen,
        schedule,
        known,
        was_paused: condition::is_true(&before.conditions, condition::SUSPENDED),
        pause: accepted.pause.as_ref(),
        by_operator: true,
        now,
    };
    if seen.definition.is_ok() {
        kept.decide(of, through, now);
    } else {
        kept.hold(of, through);
    }
    kept
}

impl Scheduled for Seen {
    fn meta(&self) -> &ObjectMeta {
        &self.workflow.metadata
    }

    fn written(&self) -> Option<&api::Schedule> {
        self.workflow.spec.schedule.as_ref()
    }

    fn slo(&self) -> Option<&Slo> {
        self.workflow.spec.slo.as_ref()
    }

    fn history(&self) -> Option<&History> {
        self.workflow.spec.history.as_ref()
    }

    fn runs(&self) -> &[Arc<AutomationRun>] {
        &self.runs
    }

    fn jobs(&self) -> &[JobSeen] {
        &[]
    }

    fn runs_made(&self) -> &[String] {
        &self.runs_made
    }

    fn refusals(&self) -> &[Refusal] {
        &self.refusals
    }

    fn kept_from(&self, _: &NotRun) -> Option<String> {
        None
    }

    fn name_of(&self, slot: Timestamp, _: &Schedule) -> String {
        build::workflow_slot_run_name(self.workflow.metadata.name.as_deref().unwrap_or_default(), slot)
    }

    fn run_of(&self, slot: Timestamp, name: String, schedule: &Schedule, trigger: Trigger) -> Result<AutomationRun, String> {
        let parameters = schedule::slot_values(&self.workflow.spec.parameters, slot, schedule)?;
        let revision = self.definition.as_ref().map(|definition| definition.name.clone()).unwrap_or_default();
        Ok(build::scheduled_workflow_run(&self.workflow, build::SlotRun { name, slot, revision, parameters }, trigger))
    }
}
