//! What to do about a backfill: start the runs of its slots, a few at a time, and count how they end.

mod record;
mod report;
mod slots;

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use record::Record;
use report::{Course, into_plan};
use slots::{Span, span};

use super::{Change, Plan, Refusal, RefusalKind, automation_run, automation_task};
use crate::{
    api::{
        AutomationRun, AutomationTask, Backfill, BackfillFailure, BackfillPhase, BackfillRun, BackfillStatus, ClockKind, Outcome,
        Parameter, RunResult, SlotOrder, SlotSelection, condition, label,
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
    /// Its task as it is now.
    pub task: Option<Arc<AutomationTask>>,
    /// The definition that its runs take, where that is not the task as it is now.
    pub frozen: Option<automation_run::Frozen>,
    /// The runs of its task.
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

/// Whether a run of the backfill's that has ended is counted on its status, so that the run may go.
pub(super) fn has_counted(backfill: &Backfill, run: &AutomationRun) -> bool {
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

/// Whether the run is this backfill's: one of the same name that was before it had runs of the same names.
fn is_own(backfill: &Backfill, run: &AutomationRun) -> bool {
    run.metadata.annotations.as_ref().and_then(|annotations| annotations.get(label::BACKFILL_UID)) == backfill.metadata.uid.as_ref()
}

/// Why a backfill cannot be carried out.
struct Wrong {
    reason: &'static str,
    message: String,
    /// Whether it takes a human: nothing that happens by itself will mend it.
    stalled: bool,
    /// When it mends itself.
    until: Option<Timestamp>,
}

fn wrong(reason: &'static str, message: String) -> Wrong {
    Wrong { reason, message, stalled: true, until: None }
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

/// What a backfill needs to know of its task.
struct Known {
    task: Arc<AutomationTask>,
    schedule: Schedule,
    span: Span,
    revision: String,
}

/// What the backfill is about, frozen when it begins.
fn known(seen: &Seen, before: &BackfillStatus, now: Timestamp) -> Result<Known, Wrong> {
    let spec = &seen.backfill.spec;
    let name = &spec.task_ref.name;
    let present = seen.task.as_ref().filter(|task| task.metadata.deletion_timestamp.is_none());
    let task = match &seen.frozen {
        Some(automation_run::Frozen::Task(task)) => task,
        Some(automation_run::Frozen::Gone(revision)) => {
            let message =
                format!("the definition that it began with is gone: there is no ControllerRevision {revision}; create another Backfill");
            return Err(wrong("RevisionGone", message));
        }
        None => present.ok_or_else(|| Wrong {
            reason: "TaskNotFound",
            message: format!("spec.taskRef: there is no AutomationTask {name} in this namespace; create it, or correct the name"),
            stalled: false,
            until: None,
        })?,
    };
    let written = match (&before.schedule, present) {
        (Some(began_with), _) => began_with.clone(),
        (None, Some(present)) => {
            automation_task::accept(present, now)
                .map_err(|rejected| wrong(rejected.reason, format!("task {name}: {}", rejected.message)))?;
            let none = || {
                wrong("NoSchedule", format!("spec.taskRef: task {name} has no schedule, so it has no slots; create AutomationRuns instead"))
            };
            present.spec.schedule.clone().ok_or_else(none)?
        }
        (None, None) => return Err(wrong("TaskNotFound", format!("there is no AutomationTask {name} any more"))),
    };
    let namespace = seen.backfill.metadata.namespace.as_deref().unwrap_or_default();
    let schedule = Schedule::parse(&written, namespace, name).map_err(|error| wrong("InvalidSchedule", format!("task {name}: {error}")))?;
    let span = span(spec, &schedule, now)?;
    // What comes from the slot is not asked for.
    let given = |parameter: &Parameter| spec.parameters.iter().any(|value| value.name == parameter.name);
    let asked: Vec<Parameter> = task.spec.parameters.iter().filter(|p| p.from_slot.is_none() || given(p)).cloned().collect();
    build::parameters::resolve(&asked, &spec.parameters).map_err(|problem| wrong("InvalidParameters", problem))?;
    let revision = before.revision.clone().unwrap_or_else(|| build::revision_name(task));
    Ok(Known { task: task.clone(), schedule, span, revision })
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
        self.revision = Some(known.revision.clone());
        self.schedule.get_or_insert_with(|| known_schedule(seen));
        if spec.suspend == Some(true) {
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
        let status = seen.task.as_ref().and_then(|task| task.status.as_ref());
        let paused = status.is_some_and(|status| condition::is_true(&status.conditions, condition::SUSPENDED));
        let clock = status.and_then(|status| status.clock.as_ref()).map(|clock| clock.kind).filter(|_| !paused);
        let late = SignedDuration::from_secs(known.schedule.starting_deadline_seconds.min(LATE_SECONDS));
        let open = match clock {
            Some(ClockKind::Operator) => status.and_then(|status| status.decided_through.as_ref()).is_some_and(|through| slot > through.0),
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
        let Ok(computed) = schedule::slot_values(&known.task.spec.parameters, slot, &known.schedule) else {
            let entry = BackfillRun { slot: Time(slot), run: own };
            self.fail(entry, Outcome::Missed, Some("InvalidParameters".to_owned()));
            return Started::Never;
        };
        let given = &seen.backfill.spec.parameters;
        let computed = computed.into_iter().filter(|value| given.iter().all(|own| own.name != value.name));
        let parameters = given.iter().cloned().chain(computed).collect();
        let of = SlotRun { name: slot_name(seen, known, slot), slot, revision: known.revision.clone(), parameters };
        self.changes.push(Change::CreateRun(Box::new(build::backfill_run(&known.task, &seen.backfill, of))));
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

fn known_schedule(seen: &Seen) -> crate::api::Schedule {
    let schedule = seen.task.as_ref().and_then(|task| task.spec.schedule.clone()).unwrap_or_default();
    // When it is suspended, and what becomes of late slots, is not the backfill's business.
    crate::api::Schedule { suspend: None, catch_up: None, starting_deadline_seconds: None, ..schedule }
}

/// Name of the slot's own run, which makes the idempotency key.
fn slot_name(seen: &Seen, known: &Known, slot: Timestamp) -> String {
    build::slot_run_name(&seen.backfill.spec.task_ref.name, &known.schedule, slot)
}

/// Whether the task has the slot on its schedule, as that is now, and has been there before it.
fn on_schedule(seen: &Seen, slot: Timestamp) -> bool {
    let created = seen.task.as_ref().and_then(|task| task.metadata.creation_timestamp.as_ref());
    created.is_some_and(|created| created.0 < slot)
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
