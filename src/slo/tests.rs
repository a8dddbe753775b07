//! An objective on status is what a recount of all that ever happened gives, whatever was deleted, lost or seen late.

use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use proptest::prelude::*;

use super::*;
use crate::{
    api::{self, AutomationRunSpec, AutomationRunStatus, NotRun, Outcome, Phase, SloState, TaskRef, Trigger},
    ledger,
};

fn at(time: &str) -> Timestamp {
    time.parse().unwrap()
}

fn schedule(cron: &str) -> Schedule {
    Schedule::parse(&api::Schedule { cron: vec![cron.to_owned()], ..api::Schedule::default() }, "ns", "t").unwrap()
}

fn slo(objective: &str, runs: Option<i32>, days: Option<i32>) -> Slo {
    Slo { objective: objective.to_owned(), window_runs: runs, window_days: days, ..Slo::default() }
}

/// The run of a slot; one without an end goes on.
fn run(slot: Timestamp, created: Timestamp, end: Option<(Outcome, Timestamp)>) -> Arc<AutomationRun> {
    let mut run = AutomationRun::new(
        &format!("t-{}", slot.as_second() / 60),
        AutomationRunSpec {
            task_ref: Some(TaskRef { name: "t".to_owned() }),
            trigger: Some(Trigger::Schedule),
            scheduled_time: Some(Time(slot)),
            ..AutomationRunSpec::default()
        },
    );
    run.metadata = ObjectMeta { creation_timestamp: Some(Time(created)), ..run.metadata };
    run.status = Some(AutomationRunStatus {
        phase: Some(if end.is_some() { Phase::Finished } else { Phase::Running }),
        outcome: end.map(|end| end.0),
        result: end.and_then(|end| end.0.result()),
        reason: end.map(|_| "ExitCode1".to_owned()),
        completion_time: end.map(|end| Time(end.1)),
        ..AutomationRunStatus::default()
    });
    Arc::new(run)
}

fn ended(slot: Timestamp, outcome: Outcome) -> Arc<AutomationRun> {
    run(slot, slot, Some((outcome, slot + SECOND)))
}

fn group(schedule: &Schedule, first: Timestamp, last: Timestamp) -> Missed {
    let slots = count(schedule, first - SECOND, last);
    let group =
        NotRun { outcome: Outcome::Missed, reason: "DeadlinePassed".to_owned(), first_slot: Time(first), last_slot: Time(last), slots };
    Missed::of(&group, schedule)
}

struct Look<'a> {
    slo: &'a Slo,
    before: Option<&'a SloStatus>,
    runs: &'a [Arc<AutomationRun>],
    missed: &'a [Missed],
    decided: Timestamp,
    schedule: &'a Schedule,
    history: (i32, i32),
    now: Timestamp,
}

impl Look<'_> {
    fn stand(&self) -> Standing {
        let history = History { succeeded: Some(self.history.0), failed: Some(self.history.1) };
        let of = Of {
            slo: self.slo,
            before: self.before,
            runs: self.runs,
            done: &[],
            missed: self.missed,
            decided: Some(self.decided),
            schedule: Some(self.schedule),
            zone: &TimeZone::UTC,
            history: &history,
            known_since: None,
            now: self.now,
        };
        let standing = stand(&of).unwrap();
        let again = stand(&Of { before: Some(&standing.status), missed: &[], ..of }).unwrap();
        assert_eq!(again, standing, "looking again at the same changes nothing");
        standing
    }
}

/// What becomes of a slot. Seconds count from the slot.
#[derive(Clone, Debug)]
enum Fate {
    /// Told so long after it.
    Missed(i64),
    /// Told to be skipped at once.
    Skipped,
    /// Its run: created, ended and how, recorded; and deleted by hand before that, where somebody does.
    Run { created: i64, ended: i64, outcome: Outcome, recorded: i64, deleted: Option<i64> },
}

fn fate(step: i64) -> impl Strategy<Value = Fate> {
    let outcome = prop::sample::select(vec![
        Outcome::Succeeded,
        Outcome::Succeeded,
        Outcome::Succeeded,
        Outcome::NoData,
        Outcome::Failed,
        Outcome::TimedOut,
        Outcome::Cancelled,
        Outcome::Unknown,
    ]);
    let length = prop_oneof![5 => 1..step, 2 => 1..step * 3, 1 => 1..step * 20];
    let run =
        (0..step, length, outcome, 0..step / 2, prop::bool::weighted(0.05)).prop_map(|(created, length, outcome, recorded, is_deleted)| {
            let ended = created + length;
            let deleted = is_deleted.then_some(created + length / 2);
            Fate::Run { created, ended, outcome, recorded: ended + recorded, deleted }
        });
    prop_oneof![6 => run, 1 => (step / 2..step * 2).prop_map(Fate::Missed), 1 => Just(Fate::Skipped)]
}

/// A look at the world: how old the view of it is, and where it dies: before it deletes (0), before it writes (1), or not.
#[derive(Clone, Debug)]
struct Pass {
    lag: i64,
    dies: u8,
}

struct Story {
    step: i64,
    slo: Slo,
    history: (i32, i32),
    fates: Vec<Fate>,
    /// What nobody has deleted for being old.
    kept: Vec<bool>,
    decided: Timestamp,
    status: Option<SloStatus>,
}

impl Story {
    fn slot(&self, n: usize) -> Timestamp {
        begin() + SignedDuration::from_secs(self.step * i64::try_from(n).unwrap())
    }

    fn schedule(&self) -> Schedule {
        schedule(if self.step == 60 { "* * * * *" } else { "0 * * * *" })
    }

    /// The runs as they were at a time.
    fn runs(&self, time: Timestamp, with_old: bool) -> Vec<Arc<AutomationRun>> {
        let seen = |n: usize| {
            let Fate::Run { created, ended, outcome, recorded, deleted } = &self.fates[n] else { return None };
            let (slot, after) = (self.slot(n), |seconds: &i64| self.slot(n) + SignedDuration::from_secs(*seconds));
            let is_there = after(created) <= time && deleted.as_ref().is_none_or(|deleted| time < after(deleted));
            let end = (after(recorded) <= time).then(|| (*outcome, after(ended)));
            (is_there && (with_old || self.kept[n])).then(|| run(slot, after(created), end))
        };
        (0..self.fates.len()).filter_map(seen).collect()
    }

    /// Up to which slot all are decided at a time, and those of them that are missed.
    fn decide(&self, time: Timestamp) -> (Timestamp, Vec<Missed>) {
        let (mut through, mut missed) = (self.decided, Vec::new());
        for n in 0..self.fates.len() {
            let slot = self.slot(n);
            let told = match self.fates[n] {
                Fate::Missed(after) | Fate::Run { created: after, .. } => slot + SignedDuration::from_secs(after),
                Fate::Skipped => slot,
            };
            if slot <= self.decided {
                continue;
            }
            if told > time {
                break;
            }
            through = slot;
            if matches!(self.fates[n], Fate::Missed(_)) {
                missed.push(group(&self.schedule(), slot, slot));
            }
        }
        (through, missed)
    }

    fn pass(&mut self, now: Timestamp, pass: &Pass) -> Result<(), TestCaseError> {
        let seen_at = now - SignedDuration::from_secs(pass.lag);
        let runs = self.runs(seen_at, false);
        let (decided, missed) = self.decide(seen_at);
        let schedule = self.schedule();
        let look = Look {
            slo: &self.slo,
            before: self.status.as_ref(),
            runs: &runs,
            missed: &missed,
            decided,
            schedule: &schedule,
            history: self.history,
            now,
        };
        let standing = look.stand();
        if pass.lag == 0 {
            self.agrees(&standing.status, decided, now)?;
        }
        if pass.dies == 0 {
            return Ok(());
        }
        let history = History { succeeded: Some(self.history.0), failed: Some(self.history.1) };
        let expired = ledger::expired(runs.iter().map(AsRef::as_ref), &history);
        let gone = expired.into_iter().filter(|run| !is_to_count(&self.slo, self.status.as_ref(), run));
        let gone: Vec<Timestamp> = gone.filter_map(|run| run.spec.schedule_slot()).filter(|slot| *slot <= self.decided).collect();
        for n in 0..self.fates.len() {
            self.kept[n] &= !gone.contains(&self.slot(n));
        }
        if pass.dies == 1 {
            return Ok(());
        }
        (self.status, self.decided) = (Some(standing.status), decided);
        Ok(())
    }

    /// Counts all that ever happened, naively.
    fn agrees(&self, status: &SloStatus, decided: Timestamp, now: Timestamp) -> Result<(), TestCaseError> {
        let runs = self.runs(now, true);
        let mut verdicts: Vec<(Timestamp, bool)> = Vec::new();
        for n in (0..self.fates.len()).filter(|n| self.slot(*n) <= decided) {
            let slot = self.slot(n);
            let due = due(&self.slo, slot, &TimeZone::UTC);
            let verdict = match &self.fates[n] {
                Fate::Missed(_) => Some(false),
                Fate::Skipped => None,
                Fate::Run { ended, outcome, recorded, deleted, .. } => {
                    let after = |seconds: i64| slot + SignedDuration::from_secs(seconds);
                    let is_late = |time: Timestamp| due.is_some_and(|due| time > due);
                    let was_told = after(*recorded) <= now && deleted.is_none();
                    if was_told {
                        outcome.result().map(|result| result == api::RunResult::Good && !is_late(after(*ended)))
                    } else {
                        let goes_on = runs.iter().any(|run| run.spec.schedule_slot() == Some(slot));
                        (goes_on && is_late(now)).then_some(false)
                    }
                }
            };
            verdicts.extend(verdict.map(|good| (slot, good)));
        }
        match (self.slo.window_runs, self.slo.window_days) {
            (Some(limit), _) => {
                let over = verdicts.len().saturating_sub(usize::try_from(limit).unwrap());
                verdicts.drain(..over);
            }
            (_, days) => {
                let first = now.as_second().div_euclid(86_400) - i64::from(days.unwrap()) + 1;
                verdicts.retain(|(slot, _)| slot.as_second() >= first * 86_400);
            }
        }
        let good = verdicts.iter().filter(|(_, good)| *good).count();
        prop_assert_eq!((status.good, status.bad), (i64::try_from(good).unwrap(), i64::try_from(verdicts.len() - good).unwrap()));
        let last_bad = verdicts.iter().rev().find(|(_, good)| !good).map(|(slot, _)| *slot);
        prop_assert_eq!(status.last_bad.last().map(|bad| bad.slot.0), last_bad);
        Ok(())
    }
}

fn begin() -> Timestamp {
    at("2026-11-27T22:00:00Z")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn what_is_told_is_a_recount_of_all_that_ever_happened(
        (step, fates) in prop::sample::select(vec![60i64, 3600]).prop_flat_map(|step| (Just(step), prop::collection::vec(fate(step), 1..70))),
        (runs, days) in prop_oneof![(1i32..60).prop_map(|runs| (Some(runs), None)), (1i32..4).prop_map(|days| (None, Some(days)))],
        within in prop::option::of(1i64..8),
        by in prop::option::weighted(0.3, Just("23:30".to_owned())),
        history in (0i32..4, 0i32..4),
        passes in prop::collection::vec((1i64..400, prop_oneof![2 => Just(0i64), 1 => 0i64..200], 0u8..6), 1..120),
    ) {
        let slo = Slo { finish_within_seconds: within.map(|steps| steps * step / 2), finish_by: by, ..slo("99.5%", runs, days) };
        let kept = vec![true; fates.len()];
        let mut story = Story { step, slo, history, fates, kept, decided: begin() - SECOND, status: None };
        let mut now = begin() - SECOND;
        story.pass(now, &Pass { lag: 0, dies: 2 })?;
        for (after, lag, dies) in passes {
            now += SignedDuration::from_secs(after * step / 60);
            story.pass(now, &Pass { lag: lag * step / 60, dies })?;
        }
        // All is over, and looked at until nothing changes.
        now += SignedDuration::from_secs(step * 100);
        for _ in 0..3 {
            story.pass(now, &Pass { lag: 0, dies: 2 })?;
        }
        let left = story.runs(now, false);
        let over = ledger::expired(left.iter().map(AsRef::as_ref), &History { succeeded: Some(history.0), failed: Some(history.1) });
        prop_assert!(over.is_empty(), "{} runs are kept too long", over.len());
    }
}

#[test]
fn thirty_nights_one_none_and_fifty_thousand_say_what_may_be_bad() {
    let nights = |n: i64| at("2026-11-01T02:00:00Z") + SignedDuration::from_secs(n * 86_400);
    let nightly = schedule("0 2 * * *");
    let look = |slo: &Slo, outcomes: &[Outcome]| {
        let runs: Vec<_> = (0..).zip(outcomes).map(|(n, outcome)| ended(nights(n), *outcome)).collect();
        let last = nights(i64::try_from(outcomes.len()).unwrap() - 1);
        let look = Look {
            slo,
            before: None,
            runs: &runs,
            missed: &[],
            decided: last,
            schedule: &nightly,
            history: (50, 50),
            now: last + SECOND * 60,
        };
        look.stand().status
    };
    let days = slo("99.5%", None, Some(30));
    let none = look(&days, &[]);
    assert_eq!((none.state, none.counted, none.budget, none.window_slots), (SloState::InsufficientData, 0, 0, 30));
    assert_eq!((none.summary.as_str(), none.attainment), ("InsufficientData", None));
    let one = look(&days, &[Outcome::Succeeded]);
    assert_eq!((one.state, one.budget, one.summary.as_str()), (SloState::Met, 0, "Met, none may be bad"));
    assert_eq!(
        sentence(&one),
        "1 of 1 slots were good and in time (100.00%); the objective 99.5% of 30 days (30 slots) allows no bad slot (the smallest window \
         that allows one has 200)"
    );
    let mut month = vec![Outcome::Succeeded; 29];
    month.push(Outcome::Failed);
    let month = look(&days, &month);
    assert_eq!((month.state, month.counted, month.budget_left), (SloState::Breached, 30, -1));
    assert_eq!(
        sentence(&month),
        "29 of 30 slots were good and in time (96.666%); the objective 99.5% of 30 days (30 slots) allows no bad slot (the smallest \
         window that allows one has 200): overspent by 1. Last bad: run t-29933400 of the slot of 2026-11-30T02:00:00Z Failed (ExitCode1)"
    );
    // Of two hundred one may be bad, however few there were so far.
    let runs = slo("99.5%", Some(200), None);
    let first = look(&runs, &[Outcome::Failed]);
    assert_eq!((first.state, first.budget, first.budget_left, first.summary.as_str()), (SloState::AtRisk, 1, 0, "AtRisk, 0 of 1 left"));
    let second = look(&runs, &[Outcome::Failed, Outcome::Succeeded, Outcome::TimedOut]);
    assert_eq!(
        (second.state, second.summary.as_str(), second.attainment.as_deref()),
        (SloState::Breached, "Breached, 1 over", Some("33.333%"))
    );
}

#[test]
fn slots_that_are_neither_good_nor_bad_give_no_budget() {
    // Of six slots an hour Forbid skips five.
    let often = schedule("*/10 * * * *");
    let days = slo("99%", None, Some(1));
    let from = at("2026-11-27T00:00:00Z");
    let runs: Vec<_> = (0..20).map(|hour| ended(from + SECOND * 3600 * hour, Outcome::Succeeded)).collect();
    let now = from + SECOND * (19 * 3600 + 50 * 60);
    let look =
        Look { slo: &days, before: None, runs: &runs, missed: &[], decided: now, schedule: &often, history: (50, 50), now: now + SECOND };
    let stands = look.stand().status;
    assert_eq!((stands.counted, stands.window_slots, stands.budget), (20, 20 + 4 * 6, 0), "{stands:?}");
}

#[test]
fn where_counting_begins_what_is_not_known_in_full_does_not_count() {
    let hourly = schedule("0 * * * *");
    let slo = slo("99%", Some(100), None);
    let from = at("2026-11-27T00:00:00Z");
    let runs: Vec<_> = (0..4).map(|hour| ended(from + SECOND * 3600 * hour, Outcome::Failed)).collect();
    let of = Of {
        slo: &slo,
        before: None,
        runs: &runs,
        done: &[],
        missed: &[],
        decided: Some(from + SECOND * 3 * 3600),
        schedule: Some(&hourly),
        zone: &TimeZone::UTC,
        history: &History::default(),
        known_since: Some(from + SECOND * 3600),
        now: from + SECOND * 4 * 3600,
    };
    let stands = stand(&of).unwrap().status;
    assert_eq!((stands.bad, stands.since.map(|time| time.0)), (2, Some(from + SECOND * 2 * 3600)));
}

#[test]
fn the_budget_is_nearly_spent_where_a_quarter_of_it_is_left() {
    use SloState::{AtRisk, Breached, Met};
    let of = |bad: i64, budget: i64| state::state(1000, bad, budget);
    for (budget, bad, expected) in [
        (0, 0, Met),
        (0, 1, Breached),
        (1, 0, Met),
        (1, 1, AtRisk),
        (1, 2, Breached),
        (8, 5, Met),
        (8, 6, AtRisk),
        (8, 8, AtRisk),
        (8, 9, Breached),
    ] {
        assert_eq!(of(bad, budget), expected, "{bad} of {budget}");
    }
}

#[test]
fn an_outage_of_five_weeks_is_counted_by_the_minute_and_costs_no_more_than_its_days() {
    let minutes = schedule("* * * * *");
    let (first, last) = (at("2026-10-24T00:00:00Z"), at("2026-11-27T09:19:00Z"));
    let missed = [group(&minutes, first, last)];
    let look = |slo: &Slo| {
        let look = Look { slo, before: None, runs: &[], missed: &missed, decided: last, schedule: &minutes, history: (10, 10), now: last };
        look.stand().status
    };
    let days = look(&slo("99.5%", None, Some(35)));
    assert_eq!((days.counted, days.bad, days.window_slots, days.budget), (34 * 1440 + 560, 34 * 1440 + 560, 50_400, 252));
    assert_eq!((days.days.len(), days.last_bad[0].slots), (35, Some(34 * 1440 + 560)));
    let runs = look(&slo("99.5%", Some(10_000), None));
    assert_eq!((runs.counted, runs.bad, runs.budget), (10_000, 10_000, 50));
}

#[test]
fn a_run_is_late_while_it_goes_on_and_bad_for_good_once_it_has_ended_late() {
    let hourly = schedule("0 * * * *");
    let slot = at("2026-11-27T09:00:00Z");
    let slo = Slo { finish_within_seconds: Some(600), ..slo("99%", Some(100), None) };
    let stand = |before: Option<&SloStatus>, run: &Arc<AutomationRun>, done: &[String], now: &str| {
        let of = Of {
            slo: &slo,
            before,
            runs: std::slice::from_ref(run),
            done,
            missed: &[],
            decided: Some(slot),
            schedule: Some(&hourly),
            zone: &TimeZone::UTC,
            history: &History::default(),
            known_since: None,
            now: at(now),
        };
        super::stand(&of).unwrap()
    };
    let live = run(slot, slot, None);
    let early = stand(None, &live, &[], "2026-11-27T09:10:00Z");
    assert_eq!((early.status.state, early.wake), (SloState::InsufficientData, Some(at("2026-11-27T09:10:01Z"))));
    let late = stand(Some(&early.status), &live, &[], "2026-11-27T09:10:01Z");
    assert_eq!((late.status.state, late.status.bad, late.wake), (SloState::AtRisk, 1, None));
    assert_eq!(
        (late.status.last_bad[0].cause, late.status.folded_through.as_ref()),
        (BadCause::Late, None),
        "it may still have ended in time"
    );
    let done = stand(Some(&early.status), &live, &[live.metadata.name.clone().unwrap()], "2026-11-27T09:10:01Z");
    assert_eq!(done.status.bad, 0, "its Job is done, and its record is on the way");

    let in_time = run(slot, slot, Some((Outcome::Succeeded, at("2026-11-27T09:10:00Z"))));
    let good = stand(Some(&late.status), &in_time, &[], "2026-11-27T09:12:00Z").status;
    assert_eq!((good.good, good.bad, good.last_bad.len()), (1, 0, 0));
    let too_late = run(slot, slot, Some((Outcome::Succeeded, at("2026-11-27T09:11:00Z"))));
    let bad = stand(Some(&late.status), &too_late, &[], "2026-11-27T09:12:00Z").status;
    assert_eq!((bad.good, bad.bad, bad.folded_through.clone()), (0, 1, Some(Time(slot))));
    assert!(sentence(&bad).contains("run t-29929500 of the slot of 2026-11-27T09:00:00Z was Late (ExitCode1)"), "{}", sentence(&bad));
}

#[test]
fn counting_begins_with_what_history_has_left_complete() {
    let hourly = schedule("0 * * * *");
    let slot = |hour: i64| at("2026-11-27T00:00:00Z") + SignedDuration::from_secs(hour * 3600);
    // Of the good ones three are kept, of which the oldest ended after hour 6: what ended before it may be gone. Of the bad ones
    // there were never more than two.
    let runs: Vec<_> = [(1, Outcome::Failed), (5, Outcome::Failed), (6, Outcome::Succeeded), (7, Outcome::Succeeded), (9, Outcome::NoData)]
        .map(|(hour, outcome)| ended(slot(hour), outcome))
        .to_vec();
    let missed = [group(&hourly, slot(2), slot(3)), group(&hourly, slot(8), slot(8))];
    let runs_200 = slo("99.5%", Some(200), None);
    let look = |before: Option<&SloStatus>, history: (i32, i32), slo: &Slo| {
        let look = Look { slo, before, runs: &runs, missed: &missed, decided: slot(9), schedule: &hourly, history, now: slot(10) };
        look.stand().status
    };
    let begun = look(None, (3, 3), &runs_200);
    assert_eq!((begun.good, begun.bad, begun.since), (2, 1, Some(Time(slot(7)))));
    let complete = look(None, (10, 10), &runs_200);
    assert_eq!((complete.good, complete.bad, complete.since.clone()), (3, 5, Some(Time(slot(1)))));
    let nothing_kept = look(None, (0, 10), &runs_200);
    assert_eq!((nothing_kept.counted, nothing_kept.folded_through), (0, Some(Time(slot(9)))));
    // Another objective, and another length of the window, hold at once for what is known.
    let lax = look(Some(&complete), (3, 3), &slo("10%", Some(5), None));
    assert_eq!((lax.good, lax.bad, lax.state), (3, 2, SloState::Met));
    // Another kind of window knows nothing of what was.
    let days = look(Some(&complete), (3, 3), &slo("99.5%", None, Some(2)));
    assert_eq!((days.good, days.bad, days.since), (2, 1, Some(Time(slot(7)))));
}

#[test]
fn bad_days_leave_the_window_by_themselves() {
    let nightly = schedule("0 2 * * *");
    let slo = slo("90%", None, Some(2));
    let runs = [ended(at("2026-11-25T02:00:00Z"), Outcome::Failed)];
    let (day, next) = (at("2026-11-25T03:00:00Z"), at("2026-11-27T00:00:00Z"));
    let look = |before: Option<&SloStatus>, now: Timestamp| {
        let decided = runs[0].spec.slot().unwrap();
        Look { slo: &slo, before, runs: &runs, missed: &[], decided, schedule: &nightly, history: (10, 10), now }.stand()
    };
    let breached = look(None, day);
    assert_eq!((breached.status.state, breached.wake), (SloState::Breached, Some(next)));
    let over = look(Some(&breached.status), next);
    assert_eq!((over.status.state, over.status.last_bad.len(), over.wake), (SloState::InsufficientData, 0, None));
}

#[test]
fn a_month_of_minutes_is_small() {
    let mut runs = slo("99.5%", Some(10_000), None);
    let days = slo("99.5%", None, Some(90));
    runs.finish_within_seconds = Some(60);
    let minutes = schedule("* * * * *");
    let (first, last) = (at("2026-08-01T00:00:00Z"), at("2026-11-27T00:00:00Z"));
    let missed = [group(&minutes, first, last)];
    for slo in [runs, days] {
        // As large as it can be: all windows full, and as many runs open and bad as there may be.
        // A minute after the outage runs begin that go on and on, and then one ends.
        let newest = last + SECOND * 9000;
        let mut there: Vec<_> = (1..130).map(|n| run(last + SECOND * (60 * n), last + SECOND * (60 * n), None)).collect();
        there.push(ended(newest, Outcome::Failed));
        let look = Look {
            slo: &slo,
            before: None,
            runs: &there,
            missed: &missed,
            decided: newest,
            schedule: &minutes,
            history: (10, 10),
            now: newest + SECOND * 600,
        };
        let status = look.stand().status;
        assert_eq!((status.open.len(), status.folded_through.clone()), (100, Some(Time(newest))));
        let size = serde_json::to_string(&status).unwrap().len();
        assert!(size < 12_000, "{size}");
    }
}
