//! Kubernetes' clock: every slot that a CronJob was to start comes to one end, and to one only, and none is said to have
//! been missed that ran.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::CronJob;
use kube::ResourceExt;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    NAMESPACE,
    history::expect_none,
    people::Act,
    scenario::{Scenario, TASK, start},
    script::Life,
    slots::{last_scheduled, last_status, runs_and, told},
    store::Entry,
    strategies::{config, native_months, native_scenario},
    world::World,
};
use crate::{
    api::{self, ClockKind, label},
    schedule::Schedule,
};

const MISSED: &str = "Missed(DeadlinePassed)";
const SUSPENDED: &str = "Skipped(Suspended)";

/// A task that Kubernetes keeps: every two minutes, beginning in half a minute.
fn native(schedule: &Value, life: Life) -> Scenario {
    let mut spec = json!({ "schedule": { "cron": ["*/2 * * * *"] }, "timeouts": { "attemptSeconds": 3000 } });
    for (key, value) in schedule.as_object().cloned().unwrap_or_default() {
        spec["schedule"][key] = value;
    }
    Scenario::new(spec, vec![life])
}

fn task_writes(world: &World) -> usize {
    world.operator.writes.iter().filter(|write| write.what.starts_with("patch task/status")).count()
}

/// Warnings and words of the slots, as the plans have them.
fn notices(world: &World) -> Vec<(bool, String)> {
    let planned = world.operator.planned.iter().flatten();
    let told = planned.filter_map(|planned| match planned {
        super::operator::Planned::Task { plan, .. } => Some(&plan.notices),
        _ => None,
    });
    let of_slots = told.flatten().filter(|notice| notice.action == "Schedule");
    of_slots.map(|notice| (notice.warning, notice.message.clone())).collect()
}

#[test]
fn a_healthy_night_costs_no_write_more_than_its_runs() {
    // What a slot cost before anything was told of those that do not run.
    for (life, writes) in [(Life::exit(5, 0), 1), (Life::exit(45, 0), 2)] {
        let during = |slots: i64| World::ended(&native(&json!({}), life.clone()).during(slots * 120 + 60));
        let (few, many) = (during(4), during(9));
        assert_eq!(task_writes(&many) - task_writes(&few), 5 * writes, "{:#?}", many.operator.writes);
        let status = last_scheduled(&many);
        assert_eq!(status.clock.map(|clock| clock.kind), Some(ClockKind::CronJob));
        assert!(status.not_run.is_empty(), "{:?}", status.not_run);
        assert!(status.decided_through.is_some_and(|through| through.0 > start() + SignedDuration::from_secs(8 * 120)));
    }
}

#[test]
fn a_slot_that_the_controller_did_not_start_is_missed_after_its_deadline_with_a_warning() {
    let scenario = native(&json!({ "startingDeadlineSeconds": 30 }), Life::exit(5, 0)).with(100, Act::StopCronJobs(210)).during(500);
    let world = World::ended_with_plans(&scenario);
    assert_eq!(told(&world), runs_and(&[(0, ""), (2, MISSED), (4, MISSED), (6, "")]));
    let told = notices(&world);
    assert!(told.iter().all(|(warning, _)| *warning), "{told:#?}");
    assert!(told[0].1.contains("CronJob controller has not started it"), "{told:#?}");
    // Not before its deadline, and soon after it.
    let told_at = world.cluster.tasks.log().iter().find(|entry| entry.object.status.as_ref().is_some_and(|s| !s.not_run.is_empty()));
    let after = told_at.map(|entry| entry.at.as_second() - start().as_second() - 150);
    assert_eq!(after, Some(30 + 20), "a deadline and some seconds after the slot");
}

#[test]
fn a_slot_whose_job_the_quota_refused_is_missed_and_says_so() {
    let scenario = native(&json!({ "startingDeadlineSeconds": 30 }), Life::exit(5, 0))
        .with(100, Act::RefuseJobs(true))
        .with(200, Act::RefuseJobs(false))
        .during(500);
    let world = World::ended_with_plans(&scenario);
    assert_eq!(told(&world), runs_and(&[(0, ""), (2, MISSED), (4, ""), (6, "")]));
    let told = notices(&world);
    assert!(told.iter().any(|(warning, text)| *warning && text.contains("FailedCreate") && text.contains("exceeded quota")), "{told:#?}");
}

#[test]
fn under_forbid_a_slot_that_an_earlier_run_held_back_is_skipped() {
    let life = Life::exit(200, 0);
    let mut scenario = native(&json!({ "startingDeadlineSeconds": 30 }), life).during(620);
    let expected = [(0, ""), (2, "Skipped(Forbid)"), (4, ""), (6, "Skipped(Forbid)"), (8, "")];
    assert_eq!(told(&World::ended(&scenario)), runs_and(&expected));
    // The run that held it back is kept until that is told.
    scenario.spec["history"] = json!({ "succeeded": 0, "failed": 0 });
    assert_eq!(told(&World::ended(&scenario)), runs_and(&expected));
}

#[test]
fn what_ran_while_the_operator_was_down_is_no_miss_and_what_did_not_run_is_found() {
    let scenario = native(&json!({ "startingDeadlineSeconds": 30 }), Life::exit(5, 0))
        .with(90, Act::StopOperator(900))
        .with(220, Act::StopCronJobs(190))
        .during(1100);
    assert_eq!(
        told(&World::ended(&scenario)),
        runs_and(&[(0, ""), (2, ""), (4, MISSED), (6, ""), (8, ""), (10, ""), (12, ""), (14, ""), (16, "")]),
    );
}

#[test]
fn where_the_history_is_full_nobody_knows_what_lies_before_it() {
    // A hundred Jobs are kept, and the operator is away for more.
    let slots = 112;
    let scenario = native(&json!({ "cron": ["* * * * *"], "concurrencyPolicy": "Allow", "startingDeadlineSeconds": 30 }), Life::exit(5, 0))
        .with(40, Act::StopOperator(slots * 60))
        .during(slots * 60 + 200);
    let world = World::ended(&scenario);
    let ends: Vec<String> = told(&world).into_iter().map(|(_, what)| what).collect();
    let unknown = ends.iter().filter(|what| *what == "Unknown(NoTrace)").count();
    assert!((8..=14).contains(&unknown), "{unknown}: {ends:?}");
    assert!(ends.iter().all(|what| what.starts_with(TASK) || what == "Unknown(NoTrace)"), "{ends:?}");
}

#[test]
fn under_replace_a_run_that_was_replaced_in_the_absence_of_the_operator_is_no_miss() {
    let scenario = native(&json!({ "concurrencyPolicy": "Replace" }), Life::exit(500, 0)).with(90, Act::StopOperator(500)).during(660);
    let told = told(&World::ended(&scenario));
    assert!(told.iter().all(|(_, what)| what.starts_with(TASK) || what == "Unknown(NoTrace)"), "{told:?}");
}

#[test]
fn what_goes_by_hand_once_it_is_decided_stays_decided() {
    let scenario = native(&json!({}), Life::exit(5, 0)).with(70, Act::DeleteRun(0)).with(80, Act::DeleteJob(0)).during(500);
    let world = World::ended(&scenario);
    assert!(last_scheduled(&world).not_run.is_empty(), "{:?}", last_scheduled(&world).not_run);
}

#[test]
fn of_a_job_that_went_before_anybody_saw_it_nothing_is_known() {
    let scenario = native(&json!({}), Life::exit(5, 0)).with(20, Act::StopOperator(100)).with(60, Act::DeleteJob(0)).during(300);
    assert_eq!(told(&World::ended(&scenario)), runs_and(&[(0, "Unknown(NoTrace)"), (2, ""), (4, "")]));
}

#[test]
fn a_later_slot_decides_those_that_could_have_started_late() {
    let scenario = native(&json!({ "catchUp": { "policy": "Latest" } }), Life::exit(5, 0)).with(100, Act::StopCronJobs(330)).during(700);
    let world = World::ended(&scenario);
    let superseded = "Missed(Superseded)";
    assert_eq!(told(&world), runs_and(&[(0, ""), (2, superseded), (4, superseded), (6, ""), (8, ""), (10, "")]));
}

#[test]
fn slots_of_the_schedule_before_an_edit_are_told_and_those_of_the_new_one_count_from_the_edit() {
    // The slot after two minutes is due just before the edit, and nobody starts it.
    let scenario = native(&json!({}), Life::exit(5, 0))
        .with(140, Act::StopCronJobs(60))
        .with(155, Act::Reschedule("*/3 * * * *".to_owned()))
        .during(500);
    let world = World::ended(&scenario);
    let told: BTreeMap<i64, String> = told(&world).into_iter().collect();
    assert_eq!(told.get(&2).map(String::as_str), Some(MISSED), "{told:?}");
    assert!(!told.contains_key(&1), "{told:?}");
    assert_eq!(told.len(), 4, "the first, the missed one, and two of the new schedule: {told:?}");
}

#[test]
fn slots_that_are_open_at_a_change_of_clocks_or_when_the_schedule_goes_are_told() {
    // Missed by Kubernetes long before, and noticed only with the change.
    let away = native(&json!({ "startingDeadlineSeconds": 30 }), Life::exit(5, 0))
        .with(90, Act::StopOperator(380))
        .with(100, Act::StopCronJobs(210));
    let changed = away.clone().with(400, Act::NeedOperator(true)).during(640);
    let expected = [(0, ""), (2, MISSED), (4, MISSED), (6, ""), (8, ""), (10, "")];
    assert_eq!(told(&World::ended(&changed)), runs_and(&expected));
    let unscheduled = away.during(400);
    assert_eq!(told(&World::ended(&unscheduled)), runs_and(&expected[..4]));
}

#[test]
fn a_slot_that_could_still_have_started_when_the_schedule_went_is_missed_though_its_cron_job_is_gone() {
    let scenario = native(&json!({ "startingDeadlineSeconds": 600 }), Life::exit(5, 0)).with(100, Act::StopCronJobs(900)).during(200);
    assert_eq!(told(&World::ended(&scenario)), runs_and(&[(0, ""), (2, MISSED)]));
}

#[test]
fn a_pause_begins_where_it_was_noticed_and_what_was_open_before_is_told() {
    let scenario = native(&json!({ "startingDeadlineSeconds": 30 }), Life::exit(5, 0))
        .with(100, Act::StopCronJobs(60))
        .with(155, Act::Suspend(true))
        .with(520, Act::Suspend(false))
        .during(700);
    assert_eq!(told(&World::ended(&scenario)), runs_and(&[(0, ""), (2, MISSED), (4, SUSPENDED), (6, SUSPENDED), (8, SUSPENDED), (10, "")]),);
}

#[test]
fn a_year_of_downtime_of_all_is_accounted_for_in_one_look() {
    let year = 365 * 86_400;
    let scenario = native(&json!({ "cron": ["* * * * *"], "concurrencyPolicy": "Allow" }), Life::exit(5, 0))
        .with(90, Act::StopOperator(year))
        .with(90, Act::StopCronJobs(year))
        .during(year + 200);
    let world = World::ended(&scenario);
    let not_run = last_scheduled(&world).not_run;
    assert_eq!(not_run.len(), 1, "{not_run:?}");
    assert!((365 * 1440 - 2..=365 * 1440).contains(&not_run[0].slots), "{not_run:?}");
    assert!(world.operator.writes.len() < 80, "{}", world.operator.writes.len());
}

/// The CronJobs as they were at a time, by name.
fn cron_jobs_at(log: &[Entry<CronJob>], at: Timestamp) -> Vec<&CronJob> {
    let mut there: BTreeMap<&str, Option<&CronJob>> = BTreeMap::new();
    for entry in log.iter().take_while(|entry| entry.at <= at) {
        there.insert(&entry.name, (!entry.deleted).then_some(&*entry.object));
    }
    there.into_values().flatten().collect()
}

/// What is on record of each of these slots, whatever the schedule was: each group must count those that have no run.
fn recorded(world: &World, slots: &BTreeMap<Timestamp, Vec<String>>) -> BTreeMap<Timestamp, Vec<String>> {
    let mut recorded: BTreeMap<Timestamp, Vec<String>> = BTreeMap::new();
    for run in world.all_runs() {
        if let Some(slot) = run.spec.schedule_slot() {
            recorded.entry(slot).or_default().push(run.name_any());
        }
    }
    for group in last_status(world).not_run {
        let within = slots.range(group.first_slot.0..=group.last_slot.0).map(|(slot, _)| *slot);
        let without: Vec<Timestamp> = within.filter(|slot| !recorded.contains_key(slot)).collect();
        if i64::try_from(without.len()).ok() != Some(group.slots) {
            recorded.entry(group.first_slot.0).or_default().push(format!("counted {} of {}", group.slots, without.len()));
        }
        for slot in without {
            recorded.entry(slot).or_default().push(format!("{:?}({})", group.outcome, group.reason));
        }
    }
    recorded
}

/// What must have become of each slot, found by a look every so many minutes: what the CronJobs were then, and which Jobs there
/// ever were.
fn expected(world: &World, every: i64) -> BTreeMap<Timestamp, Vec<String>> {
    let log = world.cluster.cron_jobs.log();
    let born = log.first().map_or(Timestamp::MAX, |entry| entry.at);
    let jobs = world.all_jobs();
    let ended = |job: &k8s_openapi::api::batch::v1::Job| {
        let gone = world.cluster.jobs.log().iter().find(|entry| entry.deleted && entry.object.uid() == job.uid()).map(|entry| entry.at);
        let no_pods: [std::sync::Arc<k8s_openapi::api::core::v1::Pod>; 0] = [];
        crate::outcome::JobSeen::read(job, &no_pods).ended_at.or(gone).unwrap_or(Timestamp::MAX)
    };
    let slot_of = |job: &k8s_openapi::api::batch::v1::Job| job.annotations().get(label::CRONJOB_SLOT)?.parse::<Timestamp>().ok();
    let mut expected = BTreeMap::new();
    let mut minute = Timestamp::from_second((born.as_second() / (60 * every) + 1) * 60 * every).expect("a time");
    while minute < world.cluster.now {
        let due = cron_jobs_at(log, minute).into_iter().find(|cron_job| {
            let spec = cron_job.spec.clone().unwrap_or_default();
            let alone = api::Schedule { cron: vec![spec.schedule], time_zone: spec.time_zone, ..api::Schedule::default() };
            Schedule::parse(&alone, NAMESPACE, TASK).is_ok_and(|schedule| schedule.is_slot(minute))
        });
        if let Some(spec) = due.and_then(|cron_job| cron_job.spec.clone()) {
            let deadline = SignedDuration::from_secs(spec.starting_deadline_seconds.unwrap_or(0));
            let forbids = spec.concurrency_policy.as_deref() == Some("Forbid");
            // A pause and the end of the schedule end the wait for an earlier run, too.
            let timing = |cron_job: &&CronJob| {
                let spec = cron_job.spec.clone().unwrap_or_default();
                (spec.schedule, spec.suspend, spec.concurrency_policy, spec.starting_deadline_seconds)
            };
            let was: Vec<_> = cron_jobs_at(log, minute).iter().map(timing).collect();
            let changed = log
                .iter()
                .map(|entry| entry.at)
                .find(|at| *at > minute && cron_jobs_at(log, *at).iter().map(timing).collect::<Vec<_>>() != was);
            let waits = (minute + deadline).min(changed.unwrap_or(Timestamp::MAX));
            let held = jobs.iter().any(|job| slot_of(job).is_some_and(|slot| slot < minute) && ended(job) >= waits);
            let later = jobs.iter().any(|job| slot_of(job).is_some_and(|slot| slot > minute));
            let replaces = spec.concurrency_policy.as_deref() == Some("Replace");
            let what: &[&str] = if jobs.iter().any(|job| slot_of(job) == Some(minute)) {
                let recorded = world.all_runs().iter().any(|run| run.spec.schedule_slot() == Some(minute));
                // What was replaced before anybody saw it has left nothing.
                if replaces && later && !recorded { &["Unknown"] } else { &[TASK] }
            } else if spec.suspend == Some(true) {
                &[SUSPENDED]
            } else if forbids && held {
                &["Skipped(Forbid)"]
            } else if replaces && later {
                &["Missed", "Unknown"]
            } else if forbids {
                // It may have made way for a later slot that waited for the run before, too.
                &["Missed", "Skipped(Forbid)"]
            } else {
                &["Missed"]
            };
            expected.insert(minute, what.iter().map(|&what| what.to_owned()).collect());
        }
        minute += SignedDuration::from_secs(60 * every);
    }
    expected
}

/// Compares what is on record with what a look at each such minute finds.
fn holds(world: &World, every: i64) {
    let expected = expected(world, every);
    let told = recorded(world, &expected);
    let groups = last_status(world).not_run;
    // The last twenty groups are kept.
    let from = groups.first().filter(|_| groups.len() == 20).map_or(Timestamp::MIN, |group| group.first_slot.0);
    let is = |what: &Vec<String>, may_be: &Vec<String>| what.len() == 1 && may_be.iter().any(|may| what[0].starts_with(may.as_str()));
    let wrong = expected.range(from..).filter(|(slot, may_be)| !told.get(slot).is_some_and(|what| is(what, may_be)));
    expect_none(world, wrong.map(|(slot, may_be)| format!("{slot} is {:?} and not {may_be:?}", told.get(slot))));
    expect_none(world, told.iter().filter(|(slot, _)| !expected.contains_key(slot)));
}

proptest! {
    #![proptest_config(config(8))]

    #[test]
    fn every_slot_comes_to_the_end_that_a_look_at_each_minute_finds(scenario in native_scenario()) {
        holds(&World::ended(&scenario), 1);
    }
}

proptest! {
    #![proptest_config(config(1))]

    #[test]
    fn over_months_every_slot_comes_to_the_end_that_a_look_at_each_hour_finds(scenario in native_months()) {
        holds(&World::ended(&scenario), 60);
    }
}
