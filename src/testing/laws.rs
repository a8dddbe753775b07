//! The laws of a plan, as `plan` states them, one test each, over worlds that nobody thought of.

use std::collections::{BTreeMap, HashMap, HashSet};

use kube::ResourceExt;
use proptest::prelude::*;

use super::{
    caches::{Key, Lag, Lags},
    check::check,
    cluster::Cluster,
    crashes::known_stories,
    history::expect_none,
    operator::{Mishaps, Operator, Planned},
    people::Act,
    scenario::Scenario,
    settle::essence,
    strategies::{any_scenario, config},
    world::World,
};
use crate::{
    api::{AutomationRun, AutomationRunStatus, BackfillPhase, Phase, condition, label},
    ledger,
    outcome::JobSeen,
    plan::{self, Change, Plan, automation_run, automation_task, backfill, workflow, workflow_run},
};

/// Every plan of the world, and what is wrong with it by the law.
fn each_plan(scenario: &Scenario, law: impl Fn(&Planned) -> Option<String>) {
    let world = World::ended_with_plans(scenario);
    expect_none(&world, world.operator.planned.iter().flatten().filter_map(law));
}

/// Plays the known stories, then some that nobody knows, and holds each to the law.
fn hold(law: fn(&Scenario)) {
    known_stories().iter().for_each(law);
    proptest!(config(6), |(scenario in any_scenario())| law(&scenario));
}

#[test]
fn deterministic_the_same_view_gives_the_same_plan() {
    hold(|scenario| {
        each_plan(scenario, |planned| match planned {
            Planned::Run { seen, now, plan } => (plan::automation_run::plan(&seen.clone(), *now) != *plan).then(|| format!("{seen:?}")),
            Planned::Task { seen, now, plan } => {
                // Caches are hash tables: the order of what comes out of them means nothing.
                let mut other = seen.clone();
                other.runs.reverse();
                other.cron_jobs.reverse();
                (plan::automation_task::plan(&other, *now) != *plan).then(|| format!("{plan:?}"))
            }
            Planned::Workflow { seen, now, plan } => {
                let mut other = seen.clone();
                other.runs.reverse();
                (plan::workflow::plan(&other, *now) != *plan).then(|| format!("{plan:?}"))
            }
            Planned::WorkflowRun { seen, now, plan } => {
                let mut other = seen.clone();
                other.children.reverse();
                (plan::workflow_run::plan(&other, *now) != *plan).then(|| format!("{plan:?}"))
            }
            Planned::Backfill { seen, now, plan } => {
                let mut other = seen.clone();
                other.runs.reverse();
                (plan::backfill::plan(&other, *now) != *plan).then(|| format!("{plan:?}"))
            }
        });
    });
}

#[test]
fn convergent_plans_at_one_time_come_to_one_without_changes() {
    hold(|scenario| {
        let mut wrong = Vec::new();
        let mut world = World::new(scenario);
        world.run_watched(&mut |world, _| {
            if world.operator.writes.len() % 6 == 1 {
                wrong.extend(world.settled().err());
            }
        });
        expect_none(&world, wrong);
    });
}

#[test]
fn prefix_safe_stopped_after_any_change_the_same_end_is_reached() {
    hold(|scenario| {
        let mut wrong = Vec::new();
        let mut world = World::new(scenario);
        let mut tried = HashSet::new();
        world.run_watched(&mut |world, key| {
            let writes = writes_of(world, key);
            // One of a kind is enough: the same writes about the same object come again and again.
            if writes.len() > 1 && !world.operator.remembers_a_pod(&world.cluster) && tried.insert(writes.clone()) {
                wrong.extend(prefixes_differ(world, key, writes.len()));
            }
        });
        expect_none(&world, wrong);
    });
}

#[test]
fn at_most_once_no_attempt_has_two_jobs_and_no_slot_two_runs() {
    hold(|scenario| {
        let world = World::ended(scenario);
        expect_none(&world, made_twice(&world));
    });
}

#[test]
fn stale_safe_plans_from_older_views_and_late_writes_do_not_move_the_world_backwards() {
    hold(|scenario| {
        let mut world = World::new(scenario);
        world.operator.mishaps.delays.extend((1..40).step_by(3).map(|nth| (nth, 6)));
        world.run();
        expect_none(&world, unmade(&world).into_iter().chain(made_twice(&world)).chain(world.operator.broken.clone()));
    });
}

#[test]
fn stale_safe_a_plan_that_is_made_once_more_leads_nowhere_else() {
    hold(|scenario| {
        let mut wrong = Vec::new();
        let mut world = World::new(scenario);
        world.operator.planned = Some(Vec::new());
        let mut looks = 0;
        world.run_watched(&mut |world, _| {
            looks += 1;
            let planned = world.operator.planned.as_deref().unwrap_or_default();
            let stale = planned.iter().rev().filter(|planned| is_still_about(world, planned)).nth(looks % 3);
            if looks % 7 == 0 {
                wrong.extend(stale.into_iter().flat_map(|stale| moves_backwards(world, stale)));
            }
        });
        expect_none(&world, wrong);
    });
}

#[test]
fn at_most_once_also_where_two_take_themselves_for_the_leader() {
    hold(|scenario| {
        let mut world = World::new(scenario);
        // It lags behind where the other does not.
        let lag = Lag { seconds: 2, silent: None };
        let lags = Lags { tasks: lag, workflows: lag, runs: lag, cron_jobs: lag, jobs: lag, pods: lag, backfills: lag };
        world.rival = Some(Operator::new(lags, Mishaps::default(), world.cluster.now));
        world.run();
        expect_none(&world, made_twice(&world).into_iter().chain(unmade(&world)));
        let unfinished = world.cluster.runs.iter().filter(|run| !ledger::is_finished(run)).map(|run| format!("{:?}", run.status));
        expect_none(&world, unfinished);
    });
}

#[test]
fn monotone_what_is_finished_or_recorded_stays_so() {
    hold(|scenario| {
        let world = World::ended(scenario);
        expect_none(&world, unmade(&world));
    });
}

#[test]
fn explained_a_run_that_neither_runs_nor_is_finished_says_what_it_waits_on() {
    hold(|scenario| {
        each_plan(scenario, |planned| match planned {
            Planned::Run { seen, plan, .. } => unexplained(seen, plan),
            // What its steps wait on is told of them.
            Planned::WorkflowRun { seen, plan, .. } => {
                let told = plan.status.reason.is_some() && plan.status.message.is_some();
                (!told && !ledger::is_finished(&seen.run)).then(|| format!("{:#?}", plan.status))
            }
            Planned::Task { .. } | Planned::Workflow { .. } | Planned::Backfill { .. } => None,
        });
    });
}

#[test]
fn quiet_a_plan_from_the_status_it_would_write_changes_nothing() {
    hold(|scenario| {
        each_plan(scenario, |planned| match planned {
            Planned::Run { seen, now, plan } => {
                let next = plan::automation_run::plan(&with_run_status(seen, plan.status.clone()), *now);
                let asks_more = next.changes.iter().any(|change| !plan.changes.contains(change));
                (next.status != plan.status || asks_more || !next.notices.is_empty() && plan.changes.is_empty())
                    .then(|| format!("{plan:?}\nthen {next:?}"))
            }
            Planned::Task { seen, now, plan } => {
                let next = plan::automation_task::plan(&with_task_status(seen, plan), *now);
                // What the status has taken up may go, and only that.
                let more: Vec<&Change> = next.changes.iter().filter(|change| !plan.changes.contains(change)).collect();
                let prunes = more
                    .iter()
                    .all(|change| matches!(change, Change::DeleteJob { .. } | Change::DeleteRun { .. } | Change::DeleteCronJob { .. }));
                (next.status != plan.status || !prunes || !next.notices.is_empty()).then(|| format!("{plan:?}\nthen {next:?}"))
            }
            Planned::Workflow { seen, now, plan } => {
                let workflow = crate::api::Workflow { status: Some(plan.status.clone()), ..(*seen.workflow).clone() };
                let next = plan::workflow::plan(&workflow::Seen { workflow: workflow.into(), ..seen.clone() }, *now);
                // What the status has taken up may go. A slot that is due waits for what it is to run.
                let more = next.changes.iter().filter(|change| !plan.changes.contains(change));
                let usual = more.clone().all(|change| matches!(change, Change::DeleteRun { .. } | Change::CreateRun(_)));
                (!usual || next.status != plan.status && plan.changes.is_empty()).then(|| format!("{plan:?}\nthen {next:?}"))
            }
            Planned::WorkflowRun { seen, now, plan } => {
                let run = AutomationRun { status: Some(plan.status.clone()), ..(*seen.run).clone() };
                let next = plan::workflow_run::plan(&workflow_run::Seen { run: run.into(), ..seen.clone() }, *now);
                let more = next.changes.iter().any(|change| !plan.changes.contains(change));
                (next.status != plan.status || more).then(|| format!("{plan:?}\nthen {next:?}"))
            }
            Planned::Backfill { seen, now, plan } => {
                let status = Some(plan.status.clone());
                let backfill = crate::api::Backfill { status, ..(*seen.backfill).clone() };
                let next = plan::backfill::plan(&backfill::Seen { backfill: backfill.into(), ..seen.clone() }, *now);
                let more = next.changes.iter().any(|change| !plan.changes.contains(change));
                // A run that has ended already is counted in the next pass, and runs are made once it is on record of what.
                let counts = next.status.active.len() < plan.status.active.len();
                let begins = seen.backfill.status.as_ref().is_none_or(|status| status.revision.is_none()) && plan.status.revision.is_some();
                ((next.status != plan.status || more) && !counts && !begins).then(|| format!("{plan:?}\nthen {next:?}"))
            }
        });
    });
}

#[test]
fn awake_something_will_bring_the_operator_back_until_the_end() {
    hold(|scenario| {
        let world = World::ended_with_plans(scenario);
        let asleep = world.operator.planned.iter().flatten().filter_map(|planned| match planned {
            Planned::Run { seen, plan, .. } => fell_asleep(seen, plan),
            Planned::Task { .. } | Planned::Workflow { .. } | Planned::WorkflowRun { .. } | Planned::Backfill { .. } => None,
        });
        expect_none(&world, asleep);
        // The worlds end when nothing is due any more: whatever is unfinished then would be so for ever.
        let unfinished = world.cluster.runs.iter().filter(|run| !ledger::is_finished(run)).map(|run| format!("{:?}", run.status));
        expect_none(&world, unfinished);
        let unfinished = world.cluster.backfills.iter().filter_map(|backfill| {
            let status = backfill.status.clone().unwrap_or_default();
            let waits = matches!(status.phase, Some(BackfillPhase::Finished | BackfillPhase::DryRun | BackfillPhase::Paused));
            let wrong = condition::find(&status.conditions, condition::READY).is_some_and(|ready| ready.status == "False");
            (!waits && !wrong).then(|| format!("{status:?}"))
        });
        expect_none(&world, unfinished);
        let armed = world.cluster.cron_jobs.iter().map(|cron_job| format!("{} is left of a schedule that is no more", cron_job.name_any()));
        expect_none(&world, armed);
    });
}

#[test]
fn sound_no_plan_breaks_a_rule_that_shows_on_its_face() {
    hold(|scenario| {
        let world = World::ended_with_plans(scenario);
        expect_none(&world, world.operator.planned.iter().flatten().flat_map(check));
        expect_none(&world, &world.operator.broken);
    });
}

fn with_run_status(seen: &automation_run::Seen, status: AutomationRunStatus) -> automation_run::Seen {
    let run = AutomationRun { status: Some(status), ..(*seen.run).clone() };
    automation_run::Seen { run: run.into(), ..seen.clone() }
}

fn with_task_status(seen: &automation_task::Seen, plan: &Plan<crate::api::AutomationTaskStatus>) -> automation_task::Seen {
    let task = crate::api::AutomationTask { status: Some(plan.status.clone()), ..(*seen.task).clone() };
    automation_task::Seen { task: task.into(), ..seen.clone() }
}

/// What the operator would write about an object if it looked at it now.
fn writes_of(world: &World, key: &Key) -> Vec<String> {
    let mut world = world.clone();
    world.operator.mishaps = Mishaps::default();
    let before = world.operator.writes.len();
    world.operator.reconcile(&mut world.cluster, key);
    world.operator.writes[before..].iter().map(|write| write.what.clone()).collect()
}

/// Dies after each write of one look at an object; all must lead to where the whole of it leads.
fn prefixes_differ(world: &World, key: &Key, writes: usize) -> Vec<String> {
    let ends_after = |written: Option<usize>| {
        let mut world = world.clone();
        let nth = written.map(|written| world.operator.writes.len() + written);
        world.operator.mishaps = Mishaps { crashes: nth.into_iter().map(|nth| (nth, 0)).collect(), ..Default::default() };
        world.operator.reconcile(&mut world.cluster, key);
        world.settled()
    };
    let whole = ends_after(None);
    let cut = (1..writes).filter_map(|written| Some((written, differences(ends_after(Some(written)), whole.clone())?)));
    cut.map(|(written, differ)| format!("{key:?} cut after {written} writes: {differ}")).collect()
}

/// In what one end differs from another.
fn differences(one: Result<Cluster, String>, other: Result<Cluster, String>) -> Option<String> {
    let (one, other) = match (one, other) {
        (Ok(one), Ok(other)) => (essence(&one), essence(&other)),
        (one, other) => return one.err().or(other.err()),
    };
    let only = |here: &[String], there: &[String]| here.iter().filter(|line| !there.contains(line)).cloned().collect::<Vec<_>>();
    (one != other).then(|| format!("{:#?}\ninstead of {:#?}", only(&one, &other), only(&other, &one)))
}

/// Jobs and runs that were made a second time for the same attempt, slot or Job.
fn made_twice(world: &World) -> Vec<String> {
    let mut made: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for entry in world.cluster.jobs.births() {
        let job = &entry.object;
        let owner = job.owner_references().iter().find(|owner| owner.controller == Some(true)).map(|owner| owner.uid.clone());
        let run = world.cluster.runs.births().find(|run| run.object.uid() == owner).map(|entry| entry.object.clone());
        // A slot's first attempt, whichever clock started it.
        if let Some(slot) = run.filter(|run| run.spec.triggered_by().is_scheduled()).and_then(|run| run.spec.scheduled_time.clone())
            && job.labels().get(label::ATTEMPT).is_some_and(|attempt| attempt == "1")
        {
            let what = format!("slot {} of {:?}", slot.0, job.labels().get(label::TASK));
            made.entry(what).or_default().push(format!("{} at {}", entry.name, entry.at));
        }
        let what = match (job.labels().get(label::ATTEMPT), job.annotations().get(label::CRONJOB_SLOT)) {
            (Some(attempt), _) => format!("attempt {attempt} of {owner:?}"),
            // Whichever of the task's CronJobs it is of.
            (None, Some(slot)) => {
                let slot: jiff::Timestamp = slot.parse().unwrap_or_default();
                format!("slot {slot} of {:?}", job.labels().get(label::TASK))
            }
            (None, None) => continue,
        };
        made.entry(what).or_default().push(format!("{} at {}", entry.name, entry.at));
    }
    for entry in world.cluster.runs.births() {
        if let Some(job) = entry.object.annotations().get(label::ADOPTED_UID) {
            made.entry(format!("record of Job {job}")).or_default().push(format!("{} at {}", entry.name, entry.at));
        }
    }
    let meddled = world.scenario.acts.iter().any(|(_, act)| act.destroys());
    let unmade = world.scenario.acts.iter().any(|(_, act)| matches!(act, Act::DeleteRun(_) | Act::DeleteTask));
    made.into_iter()
        // Whoever deletes a run before its Job bears its mark has the Job recorded anew, and whoever deletes one before the
        // task's status has taken up its slot has the slot run anew.
        .filter(|(what, times)| times.len() > 1 && !(meddled && what.starts_with("record")) && !(unmade && what.starts_with("slot")))
        .map(|(what, times)| format!("{what}: {times:?}"))
        .collect()
}

/// Whether a plan that changes something can be that of a process which is slow: what it is about is there, and nobody
/// has taken away since what it made. No process knows less than that, since it has listed all when it began.
fn is_still_about(world: &World, planned: &Planned) -> bool {
    let there = match planned {
        Planned::Task { seen, .. } => world.cluster.tasks.by_uid(&seen.task.uid().unwrap_or_default()).is_some(),
        Planned::Run { seen, .. } => world.cluster.runs.by_uid(&seen.run.uid().unwrap_or_default()).is_some(),
        Planned::Workflow { seen, .. } => world.cluster.workflows.by_uid(&seen.workflow.uid().unwrap_or_default()).is_some(),
        Planned::WorkflowRun { seen, .. } => world.cluster.runs.by_uid(&seen.run.uid().unwrap_or_default()).is_some(),
        Planned::Backfill { seen, .. } => world.cluster.backfills.by_uid(&seen.backfill.uid().unwrap_or_default()).is_some(),
    };
    let taken_away = planned.changes().iter().any(|change| match change {
        Change::CreateJob { name, .. } => world.cluster.jobs.log().iter().any(|entry| entry.deleted && entry.name == *name),
        Change::CreateRun(run) => world.cluster.runs.log().iter().any(|entry| entry.deleted && entry.name == run.name_any()),
        Change::CreateRevision { name, .. } => world.cluster.revisions.log().iter().any(|entry| entry.deleted && entry.name == *name),
        Change::CreateCronJob(wanted) => world.cluster.cron_jobs.log().iter().any(|entry| entry.deleted && entry.name == wanted.name),
        _ => false,
    });
    there && !taken_away && !planned.changes().is_empty()
}

/// Carries out an older plan now: nothing that was done may be undone or done again, and where that leads must be where
/// it would have led without.
fn moves_backwards(world: &World, stale: &Planned) -> Vec<String> {
    let mut other = world.clone();
    other.operator.mishaps = Mishaps::default();
    // An answer that stops it is as good as any.
    drop(other.operator.apply(&mut other.cluster, stale.changes()));
    let reported = match stale {
        // What may wait is not written: the operator looks again.
        Planned::Task { plan, now, .. } if plan.may_wait(*now) => Ok(None),
        Planned::Run { plan, now, .. } | Planned::WorkflowRun { plan, now, .. } if plan.may_wait(*now) => Ok(None),
        Planned::Workflow { plan, now, .. } if plan.may_wait(*now) => Ok(None),
        Planned::Task { seen, plan, .. } => other.operator.report_task(&mut other.cluster, &seen.task, plan.status.clone()),
        Planned::Run { seen, plan, .. } => other.operator.report_run(&mut other.cluster, &seen.run, None, plan.status.clone()),
        Planned::Workflow { seen, plan, .. } => other.operator.report_workflow(&mut other.cluster, &seen.workflow, plan.status.clone()),
        Planned::WorkflowRun { seen, plan, .. } => other.operator.report_run(&mut other.cluster, &seen.run, None, plan.status.clone()),
        Planned::Backfill { seen, plan, .. } => other.operator.report_backfill(&mut other.cluster, &seen.backfill, plan.status.clone()),
    };
    drop(reported);
    let mut wrong = unmade(&other);
    wrong.extend(made_twice(&other));
    wrong.extend(other.operator.broken.iter().cloned());
    wrong.extend(differences(other.settled(), world.settled()).map(|differ| format!("once more {:?}: {differ}", stale.changes())));
    wrong
}

/// What was finished or recorded once, and was otherwise later.
fn unmade(world: &World) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut last: HashMap<Option<String>, AutomationRunStatus> = HashMap::new();
    for entry in world.cluster.runs.log() {
        let now = entry.object.status.clone().unwrap_or_default();
        let before = last.insert(entry.object.uid(), now.clone()).unwrap_or_default();
        if before.phase == Some(Phase::Finished) && now != before {
            wrong.push(format!("run {} was finished, and is changed: {before:#?} {now:#?}", entry.name));
        }
        if before.start_time.is_some() && now.start_time != before.start_time {
            wrong.push(format!("run {} started at {:?}, and then at {:?}", entry.name, before.start_time, now.start_time));
        }
        if before.phase == Some(Phase::Running) && now.phase == Some(Phase::Pending) {
            wrong.push(format!("run {} ran, and is pending again", entry.name));
        }
        let ended = before.attempts.iter().filter(|attempt| attempt.class.is_some());
        let lost = ended.filter(|attempt| now.attempts.len() < 20 && !now.attempts.contains(attempt));
        wrong.extend(lost.map(|attempt| format!("run {}: an ended attempt is changed or lost: {attempt:?}", entry.name)));
    }
    let mut newest = None;
    for entry in world.cluster.tasks.log() {
        let status = entry.object.status.clone().unwrap_or_default();
        let now = status.last_run.and_then(|run| run.completion_time);
        if now < newest {
            wrong.push(format!("the last run of {} ended at {newest:?}, and then at {now:?}", entry.name));
        }
        newest = now;
    }
    wrong
}

fn last_job(seen: &automation_run::Seen) -> Option<&JobSeen> {
    seen.jobs.last()
}

/// Whether the last Job has a container that runs.
fn runs(seen: &automation_run::Seen) -> bool {
    last_job(seen).is_some_and(|job| job.pods.iter().any(|pod| (job.end.is_none() && pod.is_live() && pod.begun) || pod.is_ending()))
}

/// Whether the Job controller has yet to say what becomes of a Job whose pods have all ended.
fn between(seen: &automation_run::Seen) -> bool {
    last_job(seen).is_some_and(|job| job.end.is_none() && !job.pods.is_empty() && job.pods.iter().all(|pod| !pod.is_live()))
}

fn unexplained(seen: &automation_run::Seen, plan: &Plan<AutomationRunStatus>) -> Option<String> {
    let status = &plan.status;
    let told = status.waiting_on.is_some() || status.phase == Some(Phase::Finished);
    let moves = runs(seen) || between(seen) || !plan.changes.is_empty();
    let gone = seen.run.metadata.deletion_timestamp.is_some();
    (!told && !moves && !gone).then(|| format!("{status:#?}"))
}

fn fell_asleep(seen: &automation_run::Seen, plan: &Plan<AutomationRunStatus>) -> Option<String> {
    let ended = plan.status.phase == Some(Phase::Finished);
    let stops = last_job(seen).is_some_and(|job| job.stopped.is_some());
    // That the run before it has ended is told by its watch.
    let queued = plan.status.phase == Some(Phase::Queued);
    let awake = ended || queued || plan.wake.is_some() || !plan.changes.is_empty() || stops || between(seen);
    (!awake).then(|| format!("{plan:#?}"))
}
