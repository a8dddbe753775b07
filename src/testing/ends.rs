//! Where worlds end: what must hold of them as a whole, whatever went wrong on the way.

use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt;
use proptest::prelude::*;

use super::{
    history::expect_none,
    people::Act,
    reference::expected,
    scenario::{Scenario, start},
    strategies::{any_scenario, config, undisturbed_scenario},
    world::World,
};
use crate::{
    api::{AttemptClass, AutomationRun, Contract, RunResult, label},
    ledger,
};

proptest! {
    #![proptest_config(config(6))]

    #[test]
    fn each_job_of_a_cron_job_gets_exactly_one_run(scenario in undisturbed_scenario()) {
        let world = World::ended(&scenario);
        let started = world.all_jobs().into_iter().filter(|job| job.annotations().contains_key(label::CRONJOB_SLOT));
        // Replace takes Jobs away before the operator may have seen them.
        let kept = started.filter(|job| world.cluster.jobs.get(&job.name_any()).is_some() || was_pruned(&world, &job.name_any()));
        let recorded = |uid: Option<String>| world.all_runs().iter().filter(|run| run.annotations().get(label::ADOPTED_UID) == uid.as_ref()).count();
        expect_none(&world, kept.filter(|job| recorded(job.uid()) != 1).map(|job| job.name_any()));
    }

    #[test]
    fn a_run_ends_as_its_script_and_its_contract_say(scenario in undisturbed_scenario()) {
        let scenario = with_room_in_time(scenario);
        let world = World::ended(&scenario);
        expect_none(&world, world.all_runs().iter().filter(|run| !was_replaced(run)).filter_map(|run| ends_otherwise(&world, run)));
    }

    #[test]
    fn a_run_has_no_more_attempts_than_its_retries_allow(scenario in any_scenario()) {
        let limit = scenario.contract().retry.limit.unwrap_or(0);
        let world = World::ended(&scenario);
        // Of a pod that went unseen nobody knows whether it counted.
        let unsure = [Some(AttemptClass::Disrupted), Some(AttemptClass::PodGone)];
        let counted = |run: &AutomationRun| {
            let attempts = run.status.iter().flat_map(|status| &status.attempts);
            attempts.filter(|attempt| !unsure.contains(&attempt.class)).count()
        };
        let over = |count: usize| i32::try_from(count).unwrap_or(i32::MAX) > limit + 1;
        let runs = world.all_runs().into_iter().filter(|run| over(counted(run))).map(|run| format!("{:?}", run.status));
        let failed = |job: &Job| job.status.as_ref().and_then(|status| status.failed).unwrap_or(0);
        let jobs = world.all_jobs().into_iter().filter(|job| failed(job) > limit + 1).map(|job| job.name_any());
        expect_none(&world, runs.chain(jobs));
    }

    #[test]
    fn attempts_that_the_operator_makes_are_made_when_the_back_off_says(scenario in undisturbed_scenario()) {
        let scenario = with_room_in_time(scenario);
        let world = World::ended(&scenario);
        expect_none(&world, made_at_the_wrong_time(&world));
    }

    #[test]
    fn a_container_is_told_how_many_failures_came_before_it(scenario in undisturbed_scenario()) {
        let world = World::ended(&scenario);
        let mut wrong = Vec::new();
        let runs: std::collections::BTreeSet<&String> = world.kubelet.cast().map(|cast| &cast.run).collect();
        for run in runs {
            let mut told: Vec<&str> = world.kubelet.cast().filter(|cast| cast.run == *run).map(|cast| cast.retry.as_str()).collect();
            told.sort_unstable();
            let lived = world.kubelet.cast().filter(|cast| cast.run == *run).count();
            let failures = told.iter().filter_map(|told| told.parse::<usize>().ok()).max();
            if told.first() != Some(&"0") || failures.is_none_or(|failures| failures >= lived) {
                wrong.push(format!("{run}: {told:?}"));
            }
        }
        expect_none(&world, wrong);
    }

    #[test]
    fn no_more_is_kept_than_history_says(scenario in any_scenario()) {
        let world = World::ended(&scenario);
        expect_none(&world, kept_too_much(&world));
    }

    #[test]
    fn no_less_is_kept_than_history_says(scenario in undisturbed_scenario()) {
        let world = World::ended(&scenario);
        expect_none(&world, kept_too_little(&world));
    }

    #[test]
    fn once_all_is_settled_nothing_is_written(scenario in any_scenario()) {
        let mut world = World::ended(&scenario);
        world.operator.mishaps = super::operator::Mishaps::default();
        let before = world.operator.writes.len();
        for _ in 0..3 {
            world.cluster.now += jiff::SignedDuration::from_hours(7);
            world.operator.touch_all(&world.cluster);
            world.come_to_rest(&mut |_, _| {});
        }
        expect_none(&world, world.operator.writes[before..].to_vec());
    }
}

fn was_pruned(world: &World, job: &str) -> bool {
    world.operator.writes.iter().any(|write| write.what == format!("delete job {job}"))
}

fn was_replaced(run: &AutomationRun) -> bool {
    run.status.as_ref().is_some_and(|status| matches!(status.reason.as_deref(), Some("Replaced" | "JobGone")))
}

/// The same with so much time that no run is ended by it.
fn with_room_in_time(mut scenario: Scenario) -> Scenario {
    scenario.spec["timeouts"]["runSeconds"] = serde_json::json!(100_000);
    scenario.spec["timeouts"]["pendingSeconds"] = serde_json::json!(900);
    if scenario.spec.get("schedule").is_some() {
        scenario.spec["schedule"]["concurrencyPolicy"] = serde_json::json!("Allow");
    }
    scenario
}

fn contract_of(world: &World) -> Contract {
    world.scenario.contract()
}

/// The name that a run's containers know it by.
fn known_as(run: &AutomationRun) -> String {
    run.annotations().get(label::ADOPTED_JOB).cloned().unwrap_or_else(|| run.name_any())
}

fn ends_otherwise(world: &World, run: &AutomationRun) -> Option<String> {
    let expected = expected(&contract_of(world), world.scenario.script.of_run(&known_as(run)));
    let status = run.status.clone().unwrap_or_default();
    let classes: Vec<_> = status.attempts.iter().filter_map(|attempt| attempt.class).collect();
    // Of pods that went while the operator was away nobody can tell more.
    let seen = classes.len() == expected.classes.len()
        && classes.iter().zip(&expected.classes).all(|(seen, class)| seen == class || *seen == AttemptClass::PodGone);
    let shorter = expected.classes.contains(&AttemptClass::Disrupted) && classes.len() < expected.classes.len();
    let same = status.outcome == Some(expected.outcome) && (seen || shorter);
    (!same).then(|| format!("{}: {:?} {classes:?} ({:?})\ninstead of {expected:?}", run.name_any(), status.outcome, status.reason))
}

/// Jobs of later attempts that were made before they were due, or long after though the operator was there.
fn made_at_the_wrong_time(world: &World) -> Vec<String> {
    let away: i64 = world.scenario.acts.iter().map(|(_, act)| if let Act::StopOperator(seconds) = act { *seconds } else { 0 }).sum();
    let mishaps = &world.scenario.mishaps;
    let hurt = mishaps.crashes.values().sum::<i64>()
        + mishaps.delays.values().sum::<i64>()
        + 8 * i64::try_from(mishaps.lost_answers.len()).unwrap_or(0);
    // Watches are a few seconds behind, or twenty where one falls silent.
    let patience = 60 + away + hurt;
    let mut wrong = Vec::new();
    for job in world.all_jobs() {
        let Some(attempt) = job.labels().get(label::ATTEMPT).and_then(|attempt| attempt.parse::<u32>().ok()).filter(|attempt| *attempt > 1)
        else {
            continue;
        };
        let of_run = |other: &&std::sync::Arc<Job>| other.labels().get(label::RUN) == job.labels().get(label::RUN);
        let number = |job: &Job| job.labels().get(label::ATTEMPT).map_or(Some(1), |attempt| attempt.parse().ok());
        let jobs = world.all_jobs();
        let Some(before) = jobs.iter().filter(of_run).find(|other| number(other) == Some(attempt - 1)) else { continue };
        let ended = before.status.as_ref().and_then(|status| status.conditions.as_ref()?.last()?.last_transition_time.clone());
        let (Some(ended), Some(made)) = (ended, job.metadata.creation_timestamp.clone()) else { continue };
        let waited = made.0.as_second() - ended.0.as_second();
        let retry = &contract_of(world).retry;
        let wait = retry.wait_seconds(i32::try_from(attempt - 1).unwrap_or(1));
        let latest = wait + wait * i64::from(retry.jitter_percent()) / 100 + patience;
        if !(wait..=latest).contains(&waited) {
            wrong.push(format!("{} was made {waited} s after the attempt before it ended, not after {wait} to {latest}", job.name_any()));
        }
    }
    wrong
}

fn kept_too_much(world: &World) -> Vec<String> {
    let Some(task) = world.cluster.tasks.iter().next() else { return Vec::new() };
    let history = task.spec.history.clone().unwrap_or_default();
    let finished = world.cluster.runs.iter().filter(|run| ledger::is_finished(run));
    let (good, other): (Vec<_>, Vec<_>) =
        finished.partition(|run| run.status.as_ref().and_then(|status| status.result) == Some(RunResult::Good));
    let over = |runs: usize, limit: Option<i32>| i32::try_from(runs).unwrap_or(i32::MAX) > limit.unwrap_or(10);
    let mut wrong = Vec::new();
    if over(good.len(), history.succeeded) || over(other.len(), history.failed) {
        wrong.push(format!(
            "{} good and {} other runs are kept at {}, {} s after the start",
            good.len(),
            other.len(),
            world.cluster.now,
            world.cluster.now.as_second() - start().as_second()
        ));
    }
    // A Job without its run is nobody's.
    let marked = |job: &Job| job.labels().get(label::RUN).cloned();
    let lost = world.cluster.jobs.iter().filter(|job| marked(job).is_some_and(|run| world.cluster.runs.get(&run).is_none()));
    wrong.extend(lost.map(|job| format!("Job {} is left of a run that is gone", job.name_any())));
    wrong
}

/// Classes of which fewer runs are kept than there were and may be.
fn kept_too_little(world: &World) -> Vec<String> {
    let history = world.scenario.task().spec.history.unwrap_or_default();
    let is_good = |run: &AutomationRun| run.status.as_ref().and_then(|status| status.result) == Some(RunResult::Good);
    let is_kept = |run: &AutomationRun| world.cluster.runs.by_uid(&run.uid().unwrap_or_default()).is_some();
    let mut wrong = Vec::new();
    for (good, limit) in [(true, history.succeeded), (false, history.failed)] {
        let all: Vec<_> = world.all_runs().into_iter().filter(|run| is_good(run) == good).collect();
        let kept = all.iter().filter(|run| is_kept(run)).count();
        let due = all.len().min(usize::try_from(limit.unwrap_or(10)).unwrap_or(0));
        if kept < due {
            wrong.push(format!("{kept} of {} runs are kept, not {due} (good: {good})", all.len()));
        }
    }
    wrong
}
