//! What to do about a backfill: start the runs of its slots, a few at a time, and count how they end.

mod needs;
mod record;
mod report;
mod slots;
mod subject;

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

pub(super) use needs::{is_yet_to_count, needed_revisions};
use record::Record;
use report::{Course, into_plan};
use slots::{Span, span};
pub use subject::{Definition, Subject};

use super::{Change, Plan, Refusal, RefusalKind, workflow};
use crate::{
    api::{
        self, AutomationRun, Backfill, BackfillFailure, BackfillPhase, BackfillRun, BackfillSpec, BackfillStatus, ClockKind, Outcome,
        Parameter, RunResult, SlotSelection, label,
    },
    build::{self, SlotRun},
    ledger,
    schedule::{self, Schedule},
};

/// How many slots are looked at in one pass, also where none of them is to run.
const AT_ONCE: usize = 500;
/// How long after a slot a CronJob may be about to start it: later only where the cluster itself was down.
const LATE_SECONDS: i64 = 120;
/// How soon to look again for what nothing tells: a run of another's making that holds a slot, room in a quota.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_secs(15);
const SECOND: SignedDuration = SignedDuration::from_secs(1);

/// All that is known about a backfill when it is planned.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The backfill.
    pub backfill: Arc<Backfill>,
    /// Its task or workflow, as it is now.
    pub subject: Option<Subject>,
    /// What its runs take: what it has begun with or, where it has not begun, what there is now; or why there is nothing to run.
    pub definition: Result<Definition, Wrong>,
    /// The runs of its task or workflow.
    pub runs: Vec<Arc<AutomationRun>>,
    /// Slots that Kubernetes has started, and whose runs are still to come.
    pub slots_under_way: Vec<Timestamp>,
    /// Runs on its list that the API server has just said do not exist.
    pub gone: Vec<String>,
    /// Names of runs that this pass has made, or found to be there.
    pub runs_made: Vec<String>,
    /// What the API server refused in this pass.
    pub refusals: Vec<Refusal>,
}

/// Whether the run is this backfill's: one of the same name that was before it had runs of the same names.
fn is_own(backfill: &Backfill, run: &AutomationRun) -> bool {
    run.metadata.annotations.as_ref().and_then(|annotations| annotations.get(label::BACKFILL_UID)) == backfill.metadata.uid.as_ref()
}

/// Why a backfill cannot be carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// In one word.
    pub reason: &'static str,
    /// In a sentence, with the fix.
    pub message: String,
    /// Whether it takes a human: nothing that happens by itself will mend it.
    pub stalled: bool,
    /// When it mends itself.
    pub until: Option<Timestamp>,
}

impl Wrong {
    /// What only a human can mend.
    fn of(reason: &'static str, message: String) -> Self {
        Self { reason, message, stalled: true, until: None }
    }

    /// The task or workflow is not there, and may come.
    fn not_found(spec: &BackfillSpec) -> Self {
        let Some(workflow) = spec.workflow_name() else {
            let name = spec.task_name();
            let message = format!("spec.taskRef: there is no AutomationTask {name} in this namespace; create it, or correct the name");
            return Self { stalled: false, ..Self::of("TaskNotFound", message) };
        };
        Self { stalled: false, ..Self::of(workflow::NOT_FOUND, workflow::not_found(workflow)) }
    }

    /// What it has begun with is not there any more.
    #[must_use]
    pub fn gone(revision: &str) -> Self {
        let message =
            format!("the definition that it began with is gone: there is no ControllerRevision {revision}; create another Backfill");
        Self::of("RevisionGone", message)
    }
}

/// Plans a backfill.
#[must_use]
pub fn plan(seen: &Seen, now: Timestamp) -> Plan<BackfillStatus> {
    let before = seen.backfill.status.clone().unwrap_or_default();
    if seen.backfill.metadata.deletion_timestamp.is_some() || before.phase == Some(BackfillPhase::Finished) {
        return Plan::nothing(before);
    }
    let mut course = Course::from(&before);
    course.count(seen);
    if seen.backfill.spec.cancel == Some(true) {
        course.cancel(seen);
        return into_plan(seen, &before, course, now);
    }
    match known(seen, &before, now) {
        Ok(known) => course.go_on(seen, &known, now),
        Err(wrong) => {
            if let Some(until) = wrong.until {
                course.look_again(until.max(now + SECOND));
            }
            course.wrong = Some(wrong);
        }
    }
    into_plan(seen, &before, course, now)
}

/// What a backfill needs to know of its task or workflow.
struct Known {
    definition: Definition,
    /// The schedule whose slots it runs, as it is written.
    written: api::Schedule,
    schedule: Schedule,
    span: Span,
}

/// What the backfill is about, frozen when it begins.
fn known(seen: &Seen, before: &BackfillStatus, now: Timestamp) -> Result<Known, Wrong> {
    let spec = &seen.backfill.spec;
    let (kind, name) = (spec.kind(), spec.name());
    let mut definition = seen.definition.clone()?;
    let written = match (&before.schedule, &seen.subject) {
        (Some(began_with), _) => began_with.clone(),
        (None, Some(present)) => present.schedule.clone().ok_or_else(|| {
            let message = format!("spec.{kind}Ref: {kind} {name} has no schedule, so it has no slots; create AutomationRuns instead");
            Wrong::of("NoSchedule", message)
        })?,
        (None, None) => return Err(Wrong::not_found(spec)),
    };
    let namespace = seen.backfill.metadata.namespace.as_deref().unwrap_or_default();
    let schedule =
        Schedule::parse(&written, namespace, name).map_err(|error| Wrong::of("InvalidSchedule", format!("{kind} {name}: {error}")))?;
    let span = span(spec, &schedule, now)?;
    // What comes from the slot is not asked for.
    let given = |parameter: &Parameter| spec.parameters.iter().any(|value| value.name == parameter.name);
    let asked: Vec<Parameter> = definition.parameters.iter().filter(|p| p.from_slot.is_none() || given(p)).cloned().collect();
    build::parameters::resolve(kind, &asked, &spec.parameters).map_err(|problem| Wrong::of("InvalidParameters", problem))?;
    definition.revision = before.revision.clone().unwrap_or(definition.revision);
    Ok(Known { definition, written, schedule, span })
}

impl Course {
    /// Takes those of its runs that have ended off the list, and counts them.
    fn count(&mut self, seen: &Seen) {
        let active = std::mem::take(&mut self.active);
        for entry in active {
            let run = seen.runs.iter().find(|run| run.metadata.name.as_ref() == Some(&entry.run) && is_own(&seen.backfill, run));
            let status = run.filter(|run| ledger::is_finished(run)).and_then(|run| run.status.clone());
            let gone = seen.gone.contains(&entry.run);
            match status {
                Some(status) if status.result == Some(RunResult::Good) => self.succeeded += 1,
                Some(status) => self.fail(entry, status.outcome.unwrap_or(Outcome::Unknown), status.reason),
                None if gone => self.fail(entry, Outcome::Unknown, Some("RunDeleted".to_owned())),
                None => self.active.push(entry),
            }
        }
    }

    fn fail(&mut self, BackfillRun { slot, run }: BackfillRun, outcome: Outcome, reason: Option<String>) {
        self.failed += 1;
        self.failures.push(BackfillFailure { slot, run, outcome, reason });
        let over = self.failures.len().saturating_sub(20);
        self.failures.drain(..over);
    }

    /// Stops what runs, also what is not on the list yet: it may have been made in the moment before.
    fn cancel(&mut self, seen: &Seen) {
        let own = |run: &&Arc<AutomationRun>| is_own(&seen.backfill, run) && !ledger::is_finished(run);
        for run in seen.runs.iter().filter(own) {
            let name = run.metadata.name.clone().unwrap_or_default();
            if run.spec.cancel != Some(true) {
                let uid = run.metadata.uid.clone().unwrap_or_default();
                self.changes.push(Change::CancelRun { name: name.clone(), uid, replaced_by: None });
            }
            if let Some(slot) = run.spec.scheduled_time.clone().filter(|_| self.active.iter().all(|entry| entry.run != name)) {
                self.active.push(BackfillRun { slot, run: name });
            }
        }
        self.changes.sort_by_key(|change| format!("{change:?}"));
        self.active.sort_by(|a, b| (a.slot.0, &a.run).cmp(&(b.slot.0, &b.run)));
        self.cancelled = true;
    }

    /// Starts what there is room for.
    fn go_on(&mut self, seen: &Seen, known: &Known, now: Timestamp) {
        let spec = &seen.backfill.spec;
        self.total = known.span.total;
        let record = Record::of(seen, known);
        if spec.dry_run == Some(true) {
            let all = known.span.all(&known.schedule);
            let planned: Vec<Timestamp> = all.into_iter().filter(|slot| asks_for(seen, &record, *slot)).collect();
            self.planned = Some(planned);
            return;
        }
        let begins = self.revision.is_none();
        self.revision = Some(known.definition.revision.clone());
        self.schedule.get_or_insert_with(|| slots_of(&known.written));
        if spec.suspend == Some(true) {
            return;
        }
        if begins {
            // What it runs is on record before any of it runs. Were the first runs made in the same pass, a crash before the
            // record and an edit before the next look would let the other slots run something else.
            self.look_again(now + SECOND);
            return;
        }
        let room = usize::try_from(spec.concurrency.unwrap_or(1)).unwrap_or(1);
        let mut open = false;
        let slots = known.span.after(&known.schedule, self.through, AT_ONCE);
        let some_left = slots.len() == AT_ONCE;
        for slot in slots {
            if self.active.len() + self.changes.len() >= room {
                return;
            }
            let own = build::backfill_run_name(seen.backfill.metadata.name.as_deref().unwrap_or_default(), slot);
            if is_made(seen, &own, slot) {
                if !open {
                    self.through = Some(slot);
                    self.active.push(BackfillRun { slot: Time(slot), run: own });
                }
                continue;
            }
            if self.waits_for_the_schedule(seen, known, &record, slot, now) {
                return;
            }
            if !asks_for(seen, &record, slot) {
                if !open {
                    (self.through, self.skipped) = (Some(slot), self.skipped + 1);
                }
                continue;
            }
            match self.start(seen, known, &record, slot, own, now) {
                Started::Made => open = true,
                Started::Wait => return,
                Started::Never => {
                    if !open {
                        self.through = Some(slot);
                    }
                }
            }
        }
        if some_left {
            self.look_again(now + SECOND);
        } else if !open {
            self.at_end = true;
        }
    }

    /// Whether the schedule itself has still to do with the slot: it may start it late, or has started it and the run is
    /// still to come. Two would then run it.
    fn waits_for_the_schedule(&mut self, seen: &Seen, known: &Known, record: &Record<'_>, slot: Timestamp, now: Timestamp) -> bool {
        let subject = seen.subject.as_ref();
        let late = SignedDuration::from_secs(known.schedule.starting_deadline_seconds.min(LATE_SECONDS));
        let open = match subject.and_then(|subject| subject.clock) {
            Some(ClockKind::Operator) => subject.and_then(|subject| subject.decided_through).is_some_and(|through| slot > through),
            Some(ClockKind::CronJob) => {
                slot.checked_add(late).is_ok_and(|until| until >= now) && on_schedule(seen, slot) && record.of_slot(slot).is_empty()
            }
            _ => false,
        };
        if open || seen.slots_under_way.contains(&slot) {
            self.waits = Some(("ScheduleFirst", format!("the slot of {slot} is still the schedule's own to run")));
            self.look_again(now + LOOK_AGAIN);
            return true;
        }
        false
    }

    fn start(&mut self, seen: &Seen, known: &Known, record: &Record<'_>, slot: Timestamp, own: String, now: Timestamp) -> Started {
        if let Some(refused) = seen.refusals.iter().find(|refused| refused.name == own) {
            if refused.kind == RefusalKind::Leaving {
                self.waits = Some(("NameTaken", format!("run {own} of a backfill of the same name is still being removed")));
                self.look_again(now + LOOK_AGAIN);
                return Started::Wait;
            }
            if refused.kind == RefusalKind::NameTaken {
                let entry = BackfillRun { slot: Time(slot), run: own };
                self.fail(entry, Outcome::Skipped, Some("NameTaken".to_owned()));
                return Started::Never;
            }
            self.waits = Some(("Refused", format!("the API server refuses run {own}: {}", refused.message)));
            self.look_again(now + LOOK_AGAIN);
            return Started::Wait;
        }
        if let Some(live) = record.of_slot(slot).into_iter().find(|run| !ledger::is_finished(run)) {
            let name = live.metadata.name.as_deref().unwrap_or_default();
            self.waits = Some(("SlotTaken", format!("the slot of {slot} waits for run {name}, which is of the same slot, to end")));
            self.look_again(now + LOOK_AGAIN);
            return Started::Wait;
        }
        // What it began with is frozen, so no edit would help: the others go on.
        let Ok(computed) = schedule::slot_values(&known.definition.parameters, slot, &known.schedule) else {
            let entry = BackfillRun { slot: Time(slot), run: own };
            self.fail(entry, Outcome::Missed, Some("InvalidParameters".to_owned()));
            return Started::Never;
        };
        let given = &seen.backfill.spec.parameters;
        let computed = computed.into_iter().filter(|value| given.iter().all(|own| own.name != value.name));
        let parameters = given.iter().cloned().chain(computed).collect();
        let of = SlotRun { name: slot_name(seen, known, slot), slot, revision: known.definition.revision.clone(), parameters };
        self.changes.push(Change::CreateRun(Box::new(build::backfill_run(&seen.backfill, &known.definition.team, of))));
        Started::Made
    }

    fn look_again(&mut self, at: Timestamp) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }
}

/// Whether the slot's run is there, on the list or not.
fn is_made(seen: &Seen, own: &str, slot: Timestamp) -> bool {
    let is_its =
        |run: &AutomationRun| run.metadata.name.as_deref() == Some(own) && is_own(&seen.backfill, run) && run.spec.slot() == Some(slot);
    seen.runs_made.iter().any(|made| made == own) || seen.runs.iter().any(|run| is_its(run))
}

enum Started {
    /// Its run is to be made: its slot is decided once that is seen to be there.
    Made,
    /// Something must happen first.
    Wait,
    /// It cannot have a run.
    Never,
}

/// What of a schedule says which slots there are: when it is suspended, and what becomes of late ones, is not the backfill's
/// business.
fn slots_of(written: &api::Schedule) -> api::Schedule {
    api::Schedule { suspend: None, catch_up: None, starting_deadline_seconds: None, ..written.clone() }
}

/// Name of the slot's own run, which makes the idempotency key.
fn slot_name(seen: &Seen, known: &Known, slot: Timestamp) -> String {
    let spec = &seen.backfill.spec;
    match spec.workflow_name() {
        Some(workflow) => build::workflow_slot_run_name(workflow, slot),
        None => build::slot_run_name(spec.task_name(), &known.schedule, slot),
    }
}

/// Whether the task or workflow has been there before the slot.
fn on_schedule(seen: &Seen, slot: Timestamp) -> bool {
    seen.subject.as_ref().and_then(|subject| subject.created).is_some_and(|created| created < slot)
}

/// Whether `select` asks for the slot.
fn asks_for(seen: &Seen, record: &Record<'_>, slot: Timestamp) -> bool {
    let select = seen.backfill.spec.select.unwrap_or_default();
    if select == SlotSelection::All {
        return true;
    }
    let mut ended = record.of_slot(slot);
    if ended.is_empty() {
        // What Kubernetes has started has no run yet, and will have one.
        return select != SlotSelection::Failed && !seen.slots_under_way.contains(&slot);
    }
    ended.sort_by_key(|run| (ledger::is_finished(run), ledger::order(run)));
    let last = ended.last().filter(|_| ended.iter().all(|run| ledger::is_finished(run)));
    let bad = last.is_some_and(|run| run.status.as_ref().and_then(|status| status.result) != Some(RunResult::Good));
    bad && select != SlotSelection::Missing
}
