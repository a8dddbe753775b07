//! Single stories with one known end. They show that the model behaves as `kubernetes-facts.md` saw Kubernetes behave,
//! and the operator as the design says; the laws then go over stories that nobody thought of.

use jiff::Timestamp;
use kube::ResourceExt;
use serde_json::{Value, json};

use super::{
    caches::{Lag, Lags},
    people::Act,
    scenario::Scenario,
    script::{End, Life, OnTerm, Start},
    world::World,
};
use crate::api::{AttemptClass, AutomationRun, AutomationRunStatus, ConcurrencyPolicy, Outcome, label};

fn on_demand(spec: Value, lives: Vec<Life>) -> AutomationRunStatus {
    World::ended(&Scenario::new(spec, lives).on_demand()).run_status("r1")
}

fn classes(status: &AutomationRunStatus) -> Vec<Option<AttemptClass>> {
    status.attempts.iter().map(|attempt| attempt.class).collect()
}

fn codes(status: &AutomationRunStatus) -> Vec<Option<i32>> {
    status.attempts.iter().map(|attempt| attempt.exit_code).collect()
}

fn pods_made(world: &World) -> Vec<i64> {
    let first = |at: Timestamp, from: Timestamp| at.as_second() - from.as_second();
    let births: Vec<Timestamp> = world.cluster.pods.births().map(|entry| entry.at).collect();
    births.iter().map(|at| first(*at, births[0])).collect()
}

#[test]
fn a_run_on_demand_succeeds() {
    let status = on_demand(json!({}), vec![Life::exit(5, 0)]);
    assert_eq!((status.outcome, codes(&status)), (Some(Outcome::Succeeded), vec![Some(0)]));
    assert_eq!(status.outputs, Some(json!({ "rows": 7 })));
}

#[test]
fn the_job_controller_retries_after_10_and_20_seconds() {
    let scenario = Scenario::new(json!({ "retry": { "limit": 2 } }), vec![Life::exit(4, 9)]).on_demand();
    let world = World::ended(&scenario);
    let status = world.run_status("r1");
    assert_eq!((status.outcome, status.attempts.len()), (Some(Outcome::Failed), 3));
    assert_eq!(pods_made(&world), [0, 15, 40], "each wait begins at the end of a pod that took 5 s");
}

#[test]
fn a_fatal_code_is_not_tried_again() {
    let status = on_demand(json!({ "retry": { "limit": 2 }, "exitCodes": { "fatal": [3] } }), vec![Life::exit(4, 3)]);
    assert_eq!((status.outcome, classes(&status)), (Some(Outcome::Failed), vec![Some(AttemptClass::Fatal)]));
}

#[test]
fn no_data_is_a_good_end_whose_job_goes_soon() {
    let scenario =
        Scenario::new(json!({ "exitCodes": { "noData": [2] }, "schedule": { "cron": ["*/5 * * * *"] } }), vec![Life::exit(4, 2)]);
    let world = World::ended(&scenario.during(500));
    let outcomes: Vec<_> = world.all_runs().iter().map(|run| run.status.clone().unwrap_or_default().outcome).collect();
    assert_eq!(outcomes, [Some(Outcome::NoData); 2]);
    assert_eq!(world.cluster.jobs.iter().count(), 0, "each goes after 300 s");
}

#[test]
fn the_job_of_a_no_data_run_on_demand_goes_soon_too() {
    let world = World::ended(&Scenario::new(json!({ "exitCodes": { "noData": [2] } }), vec![Life::exit(4, 2)]).on_demand());
    assert_eq!(world.run_status("r1").outcome, Some(Outcome::NoData));
    assert_eq!(world.cluster.jobs.iter().count(), 0);
}

#[test]
fn attempts_that_the_operator_makes_wait_as_the_back_off_says() {
    let spec = json!({ "retry": { "limit": 3, "backoff": { "initialSeconds": 30, "maxSeconds": 90 } } });
    let world = World::ended(&Scenario::new(spec, vec![Life::exit(4, 9)]).on_demand());
    assert_eq!(world.run_status("r1").attempts.len(), 4);
    assert_eq!(pods_made(&world), [0, 35, 100, 195], "30, 60 and 90 s after pods that took 5 s");
}

#[test]
fn an_eviction_does_not_use_up_a_retry() {
    let status = on_demand(json!({}), vec![Life::of(End::Evicted { after: 3 }), Life::exit(4, 0)]);
    assert_eq!(status.outcome, Some(Outcome::Succeeded));
    assert_eq!(classes(&status), [Some(AttemptClass::Disrupted), Some(AttemptClass::Success)]);
}

#[test]
fn a_lost_node_does_not_use_up_a_retry() {
    let status = on_demand(json!({}), vec![Life::of(End::NodeLost { after: 3 }), Life::exit(4, 0)]);
    assert_eq!((status.outcome, status.attempts.len()), (Some(Outcome::Succeeded), 2));
}

#[test]
fn a_container_that_went_with_its_node_is_not_waited_for() {
    let world = World::ended(&Scenario::new(json!({}), vec![Life::of(End::NodeLost { after: 3 }), Life::exit(4, 3)]).on_demand());
    let status = world.run_status("r1");
    assert_eq!(status.outcome, Some(Outcome::Failed));
    let told = world.cluster.runs.log().iter().find(|entry| entry.object.status.as_ref().is_some_and(|status| status.outcome.is_some()));
    assert_eq!(told.map(|entry| entry.at), status.completion_time.map(|time| time.0), "concluded as soon as its Job has ended");
}

#[test]
fn a_timeout_stays_a_timeout_whatever_code_the_container_ends_with() {
    for (code, class) in [(0, AttemptClass::TimedOut), (3, AttemptClass::TimedOut)] {
        let hangs = Life::of(End::Never).on_term(OnTerm::Exits { after: 2, code });
        let status = on_demand(json!({ "timeouts": { "attemptSeconds": 60 }, "exitCodes": { "fatal": [3] } }), vec![hangs]);
        assert_eq!((status.outcome, classes(&status)), (Some(Outcome::TimedOut), vec![Some(class)]));
    }
}

#[test]
fn a_cancelled_run_keeps_the_exit_code_of_what_ran() {
    let life = Life::of(End::Never).on_term(OnTerm::Exits { after: 2, code: 7 });
    let scenario = Scenario::new(json!({ "retry": { "limit": 3 } }), vec![life]).on_demand().with(60, Act::Cancel(0));
    let status = World::ended(&scenario).run_status("r1");
    assert_eq!((status.outcome, codes(&status)), (Some(Outcome::Cancelled), vec![Some(7)]));
}

#[test]
fn what_cannot_start_ends_by_pending_seconds_and_says_why() {
    for (start, reason) in [
        (Start::Unschedulable, "Unschedulable"),
        (Start::NoImage, "ImagePullBackOff"),
        (Start::NoSecret, "SecretMissing"),
        (Start::NoMount, "SecretMissing"),
    ] {
        let scenario = Scenario::new(json!({ "timeouts": { "pendingSeconds": 120 } }), vec![Life::stuck(start)]).on_demand();
        let world = World::ended(&scenario);
        let status = world.run_status("r1");
        assert_eq!((status.outcome, status.reason.as_deref()), (Some(Outcome::TimedOut), Some(reason)));
        let took = status.completion_time.map(|at| at.0.as_second()).unwrap_or_default()
            - status.start_time.map(|at| at.0.as_second()).unwrap_or_default();
        assert!((120..=125).contains(&took), "{start:?} took {took} s");
    }
}

#[test]
fn a_run_that_takes_too_long_is_stopped_with_its_evidence() {
    let life = Life::of(End::Never).on_term(OnTerm::Exits { after: 2, code: 7 });
    let status = on_demand(json!({ "timeouts": { "attemptSeconds": 50, "runSeconds": 50 } }), vec![life.clone()]);
    assert_eq!((status.outcome, codes(&status)), (Some(Outcome::TimedOut), vec![Some(7)]));
}

#[test]
fn a_second_attempt_that_is_stopped_keeps_its_evidence() {
    let life = Life::of(End::Never).on_term(OnTerm::Exits { after: 2, code: 7 });
    let spec = json!({ "retry": { "limit": 1 }, "timeouts": { "attemptSeconds": 100, "runSeconds": 120 } });
    let world = World::ended(&Scenario::new(spec, vec![Life::exit(50, 9), life]).on_demand());
    let status = world.run_status("r1");
    assert_eq!((status.outcome, codes(&status)), (Some(Outcome::TimedOut), vec![Some(9), Some(7)]));
    let deleted = world.cluster.pods.log().iter().any(|entry| entry.object.metadata.deletion_timestamp.is_some());
    assert!(!deleted, "Kubernetes deletes the pod of a Job that has failed more often than its backoffLimit allows");
}

#[test]
fn suspending_stops_the_schedule_also_where_the_spec_is_not_accepted() {
    let spec = json!({ "schedule": { "cron": ["*/5 * * * *"] }, "retry": { "limit": 1, "backoff": { "initialSeconds": 5 } },
        "timeouts": { "attemptSeconds": 20, "pendingSeconds": 20 } });
    let scenario =
        Scenario::new(spec, vec![Life::exit(4, 0)]).with(40, Act::Reschedule("*/2 * * * *".to_owned())).with(60, Act::Suspend(true));
    assert_eq!(World::ended(&scenario.during(1000)).all_jobs().len(), 1, "that of the slot before the edit");
}

#[test]
fn forbid_skips_a_slot_while_the_run_before_it_goes_on() {
    let spec = json!({ "schedule": { "cron": ["* * * * *"] } });
    let world = World::ended(&Scenario::new(spec, vec![Life::exit(150, 0)]).during(290));
    let slots: Vec<i64> =
        world.all_runs().iter().filter_map(|run| Some(run.spec.scheduled_time.as_ref()?.0.as_second() / 60 % 60)).collect();
    assert_eq!(slots.windows(2).map(|pair| pair[1] - pair[0]).collect::<Vec<_>>(), [2], "{slots:?}");
}

#[test]
fn replace_stops_the_run_before() {
    let spec = json!({ "schedule": { "cron": ["* * * * *"], "concurrencyPolicy": "Replace" } });
    let world = World::ended(&Scenario::new(spec, vec![Life::exit(80, 0)]).during(120));
    let ends: Vec<_> = world.all_runs().iter().map(|run| run.status.clone().unwrap_or_default()).map(|s| (s.outcome, s.reason)).collect();
    assert_eq!(ends[0], (Some(Outcome::Cancelled), Some("Replaced".to_owned())));
    assert_eq!(ends[1].0, Some(Outcome::Succeeded));
}

#[test]
fn what_ran_while_the_operator_was_down_is_recorded_when_it_returns() {
    let spec = json!({ "schedule": { "cron": ["*/2 * * * *"] }, "retry": { "limit": 1 }, "exitCodes": { "fatal": [3] } });
    let scenario = Scenario::new(spec, vec![Life::exit(4, 9), Life::exit(4, 3)]).with(5, Act::StopOperator(600)).during(300);
    let world = World::ended(&scenario);
    let runs = world.all_runs();
    assert_eq!(runs.len(), 5, "a slot every two minutes: nobody deletes the CronJob before the operator is back");
    for run in runs {
        let status = world.run_status(&run.name_any());
        assert_eq!((status.outcome, codes(&status)), (Some(Outcome::Failed), vec![Some(9), Some(3)]));
    }
}

#[test]
fn a_job_made_by_hand_from_the_cron_job_gets_its_run() {
    let spec = json!({ "schedule": { "cron": ["0 0 1 1 *"] } });
    let world = World::ended(&Scenario::new(spec, vec![Life::exit(4, 0)]).with(60, Act::JobFromCronJob { name: "by-hand".to_owned() }));
    let runs = world.all_runs();
    assert_eq!(runs.len(), 1);
    assert!(runs[0].name_any().starts_with("by-hand-"));
    assert_eq!(world.run_status(&runs[0].name_any()).outcome, Some(Outcome::Succeeded));
}

#[test]
fn a_run_waits_for_room_in_the_quota() {
    let scenario =
        Scenario::new(json!({}), vec![Life::exit(4, 0)]).with(0, Act::RefuseJobs(true)).on_demand().with(100, Act::RefuseJobs(false));
    assert_eq!(World::ended(&scenario).run_status("r1").outcome, Some(Outcome::Succeeded));
}

#[test]
fn a_refused_pod_ends_by_pending_seconds() {
    let spec = json!({ "timeouts": { "pendingSeconds": 60 } });
    let status = World::ended(&Scenario::new(spec, vec![Life::exit(4, 0)]).with(0, Act::RefusePods(true)).on_demand()).run_status("r1");
    assert_eq!((status.outcome, status.reason.as_deref()), (Some(Outcome::TimedOut), Some("PodSecurityDenied")));
}

#[test]
fn a_run_made_again_under_the_name_of_a_deleted_one_waits_for_the_old_job_to_go() {
    let create = || Act::CreateRun { name: "r1".to_owned(), parameters: Vec::new() };
    // At one time the last act comes first.
    for seed in 0..20 {
        let scenario = Scenario::new(json!({}), vec![Life::exit(30, 0)]).on_demand().with(20, create()).with(20, Act::DeleteRun(0));
        let world = World::ended(&Scenario { seed, ..scenario });
        let status = world.run_status("r1");
        assert_eq!(status.outcome, Some(Outcome::Succeeded), "seed {seed}: {status:?}");
    }
}

#[test]
fn a_job_that_is_suspended_says_so_and_can_be_stopped() {
    let suspended = |spec| Scenario::new(spec, vec![Life::exit(5, 0)]).on_demand().with(2, Act::SuspendJob(0, true));
    let end = |scenario| {
        let world = World::ended(&scenario);
        let status = world.run_status("r1");
        let waits =
            |run: &AutomationRun| run.status.iter().flat_map(|status| &status.waiting_on).any(|waiting| waiting.reason == "Suspended");
        assert!(world.cluster.runs.log().iter().any(|entry| waits(&entry.object)), "{status:?}");
        (status.outcome, status.reason.unwrap_or_default())
    };
    assert_eq!(end(suspended(json!({})).with(60, Act::Cancel(0))), (Some(Outcome::Cancelled), "Cancelled".to_owned()));
    assert_eq!(end(suspended(json!({})).with(60, Act::SuspendJob(0, false))), (Some(Outcome::Succeeded), "Completed".to_owned()));
    let retries = json!({ "retry": { "limit": 1 }, "timeouts": { "attemptSeconds": 60, "runSeconds": 90 } });
    let between = Scenario::new(retries, vec![Life::exit(5, 1)]).on_demand().with(10, Act::SuspendJob(0, true));
    assert_eq!(end(between), (Some(Outcome::TimedOut), "RunTimeout".to_owned()), "suspended between two attempts");
}

#[test]
fn an_edit_of_the_overlap_policy_runs_no_slot_that_lies_before_it() {
    let spec = json!({ "schedule": { "cron": ["* * * * *"], "startingDeadlineSeconds": 200 } });
    let scenario = Scenario::new(spec, vec![Life::exit(170, 0)]).with(110, Act::Policy(ConcurrencyPolicy::Allow)).during(230);
    let world = World::ended(&scenario);
    let starts: Vec<(i64, i64)> = world
        .all_runs()
        .iter()
        .filter_map(|run| Some((run.spec.scheduled_time.as_ref()?.0.as_second(), run.metadata.creation_timestamp.as_ref()?.0.as_second())))
        .collect();
    assert!(starts.len() >= 3 && starts.iter().all(|(slot, created)| created - slot < 10), "{starts:?}");
}

#[test]
fn a_line_that_becomes_the_first_is_never_that_of_two_cron_jobs() {
    let spec = json!({ "schedule": { "cron": ["*/4 * * * *", "1-59/4 * * * *"], "concurrencyPolicy": "Allow" } });
    let scenario = Scenario::new(spec, vec![Life::exit(5, 0)]).with(30, Act::Reschedule("1-59/4 * * * *".to_owned())).during(600);
    let whole = World::ended(&scenario);
    for nth in 1..=whole.operator.writes.len() {
        let world = World::ended(&scenario.clone().crash(nth, 400));
        let mut slots: Vec<_> = world.all_jobs().iter().filter_map(|job| job.annotations().get(label::CRONJOB_SLOT).cloned()).collect();
        let all = slots.len();
        slots.sort();
        slots.dedup();
        assert_eq!(slots.len(), all, "the operator died after {:?}", whole.operator.writes[nth - 1]);
    }
}

#[test]
fn a_cancel_that_comes_before_the_job_is_seen_stops_it_all_the_same() {
    let lags = Lags { jobs: Lag { seconds: 5, silent: None }, ..Lags::default() };
    // Somebody cancels in the second in which the operator asks once more.
    for (nth, seed) in (1..6).flat_map(|nth| (0..12).map(move |seed| (nth, seed))) {
        let mut scenario = Scenario::new(json!({}), vec![Life::exit(50, 0)]).on_demand().with(2, Act::Cancel(0));
        scenario.mishaps.lost_answers.insert(nth);
        let world = World::ended(&Scenario { seed, lags, ..scenario });
        assert_eq!(world.operator.broken, Vec::<String>::new(), "the answer to write {nth} was lost: {:#?}", world.operator.writes);
        assert_eq!(world.run_status("r1").outcome, Some(Outcome::Cancelled));
    }
}
