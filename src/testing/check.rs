//! What can be said against a plan by looking at it alone.

use jiff::Timestamp;
use kube::ResourceExt;

use super::operator::Planned;
use crate::{
    api::Phase,
    ledger,
    plan::{Change, Plan},
};

impl Planned {
    pub fn changes(&self) -> &[Change] {
        match self {
            Planned::Task { plan, .. } => &plan.changes,
            Planned::Run { plan, .. } | Planned::WorkflowRun { plan, .. } => &plan.changes,
            Planned::Workflow { plan, .. } => &plan.changes,
            Planned::Backfill { plan, .. } => &plan.changes,
        }
    }
}

/// Everything that is wrong with a plan.
pub fn check(planned: &Planned) -> Vec<String> {
    let mut wrong = match planned {
        Planned::Task { plan, now, .. } => common(plan, *now),
        Planned::Run { plan, now, .. } | Planned::WorkflowRun { plan, now, .. } => common(plan, *now),
        Planned::Workflow { plan, now, .. } => common(plan, *now),
        Planned::Backfill { plan, now, .. } => common(plan, *now),
    };
    match planned {
        Planned::Run { seen, plan, .. } => {
            let name = seen.run.name_any();
            if ledger::is_finished(&seen.run) && *plan != left_alone(plan, seen.run.status.clone().unwrap_or_default()) {
                wrong.push(format!("finished run {name} is not left alone"));
            }
            if plan.status.phase == Some(Phase::Finished) && plan.wake.is_some() {
                wrong.push(format!("run {name} is finished and wants to be looked at again"));
            }
            let made = plan.changes.iter().filter(|change| matches!(change, Change::CreateJob { .. })).count();
            if made > 1 {
                wrong.push(format!("run {name} makes {made} Jobs at once"));
            }
            if plan.changes.iter().any(|change| !is_of_run(change)) {
                wrong.push(format!("run {name} writes what is not its own: {:?}", plan.changes));
            }
        }
        Planned::WorkflowRun { seen, plan, .. } => {
            let name = seen.run.name_any();
            if ledger::is_finished(&seen.run) && *plan != left_alone(plan, seen.run.status.clone().unwrap_or_default()) {
                wrong.push(format!("finished run {name} is not left alone"));
            }
            if plan.changes.iter().any(|change| !matches!(change, Change::CreateRun(_) | Change::CancelRun { .. } | Change::OwnRun { .. }))
            {
                wrong.push(format!("run {name} writes what is not its own: {:?}", plan.changes));
            }
        }
        Planned::Workflow { plan, .. } => {
            if plan.changes.iter().any(is_of_run) {
                wrong.push(format!("the workflow writes what is its runs': {:?}", plan.changes));
            }
        }
        Planned::Backfill { seen, plan, .. } => {
            let status = &plan.status;
            let room = seen.backfill.spec.concurrency.unwrap_or(1);
            let made = plan.changes.iter().filter(|change| matches!(change, Change::CreateRun(_))).count();
            if i32::try_from(status.active.len() + made).unwrap_or(i32::MAX) > room {
                wrong.push(format!("a backfill has {:?} and makes {made} runs, of {room}", status.active));
            }
            if plan.changes.iter().any(|change| !matches!(change, Change::CreateRun(_) | Change::CancelRun { .. })) {
                wrong.push(format!("a backfill writes what is not its own: {:?}", plan.changes));
            }
        }
        Planned::Task { seen, plan, .. } => {
            for (index, change) in plan.changes.iter().enumerate() {
                let Change::DeleteRun { name, .. } = change else { continue };
                let late = plan.changes[index..].iter().find(|later| {
                    let of_run = |job: &&crate::outcome::JobSeen| job.run.as_ref() == Some(name);
                    matches!(later, Change::DeleteJob { uid, .. } if seen.jobs.iter().filter(of_run).any(|job| job.uid == *uid))
                });
                wrong.extend(late.map(|late| format!("{late:?} comes after its run {name}: a crash in between would adopt it again")));
                if !seen.runs.iter().any(|run| run.name_any() == *name && ledger::is_finished(run)) {
                    wrong.push(format!("run {name} is deleted though it is not seen to be finished"));
                }
            }
            if plan.changes.iter().any(is_of_run) {
                wrong.push(format!("the task writes what is its runs': {:?}", plan.changes));
            }
        }
    }
    wrong
}

/// Whether the run's planner makes such changes; all others are the task's.
fn is_of_run(change: &Change) -> bool {
    matches!(
        change,
        Change::AskForRoom { .. }
            | Change::OwnRun { .. }
            | Change::OwnJob { .. }
            | Change::CreateJob { .. }
            | Change::StopJob { .. }
            | Change::EndPod { .. }
    )
}

fn left_alone<Status: Clone>(_: &Plan<Status>, status: Status) -> Plan<Status> {
    Plan::nothing(status)
}

fn common<Status>(plan: &Plan<Status>, now: Timestamp) -> Vec<String> {
    let mut wrong = Vec::new();
    if plan.wake.is_some_and(|wake| wake <= now) {
        wrong.push(format!("the wake {:?} is not after {now}", plan.wake));
    }
    for (index, change) in plan.changes.iter().enumerate() {
        if plan.changes[..index].contains(change) {
            wrong.push(format!("the same change twice: {change:?}"));
        }
    }
    wrong
}
