//! Reconciles tasks.

use std::{sync::Arc, time::Duration};

use futures::FutureExt;
use jiff::{SignedDuration, Timestamp};
use kube::{ResourceExt, runtime::controller::Action};

use super::{
    Context, Reconciled, again, apply,
    error::key,
    expectations::Kind,
    report::{self, Report},
};
use crate::{
    api::{AutomationTask, label},
    observe,
    outcome::JobEnd,
    plan::{self, Change, automation_task::Seen},
};

pub(super) fn reconcile(task: Arc<AutomationTask>, context: Arc<Context>) -> Reconciled {
    async move {
        let key = key(&*task);
        if !context.expectations.are_met(&key, &context.caches, context.clock.now()) {
            return Ok(Action::requeue(Duration::from_millis(500)));
        }
        // What the queue gave may be older than what the caches were found to show.
        let Some(task) = context.caches.tasks.get(&task.namespace().unwrap_or_default(), &task.name_any()) else {
            return Ok(Action::await_change());
        };
        let now = context.clock.now_in_seconds();
        let mut seen = observe::automation_task(&context.client, &context.caches, task.clone(), now).await?;
        let mut plan = plan::automation_task::plan(&seen, now);
        let adopt_again = postpone_adoptions(&context, &seen, &mut plan.changes);
        let applied = apply::apply(&context, &*task, &plan.changes).await?;
        if applied.answers() {
            // The API server's answers are observations like any other.
            seen.refusals = applied.refusals;
            seen.written = applied.cron_jobs;
            (seen.runs_made, seen.revisions_made) = (applied.runs_made, applied.revisions_made);
            plan = plan::automation_task::plan(&seen, now);
        }
        let report = Report { kind: Kind::Task, before: task.status.as_ref(), plan: &plan, version: None };
        let told = report::report(&context, &*task, report, applied.wrote).await?;
        Ok(again([plan.wake, told, adopt_again].into_iter().flatten().min(), context.clock))
    }
    .boxed()
}

/// How old a Job is when the rush in which it was started is over.
const RUSH: SignedDuration = SignedDuration::from_secs(15);

/// Takes out what need not be now: where many Jobs are started in the same moment, all but the first get their runs when
/// the rush is over, and then take turns. The Jobs need no operator, and the API server has them to start. One that was
/// made by hand or has failed does not wait. Says when to look again.
fn postpone_adoptions(context: &Context, seen: &Seen, changes: &mut Vec<Change>) -> Option<Timestamp> {
    let now = context.clock.now();
    let mut again = None;
    changes.retain(|change| {
        let Change::CreateRun(run) = change else { return true };
        let recorded = run.annotations().get(label::ADOPTED_UID);
        let Some(job) = seen.jobs.iter().find(|job| Some(&job.uid) == recorded) else { return true };
        if job.slot.is_none() || matches!(job.end, Some(JobEnd::Failed { .. })) {
            // Somebody waits for it, or it may have to be tried again.
            context.adoptions.give_up(&job.uid);
            return true;
        }
        let over = job.created.checked_add(RUSH).unwrap_or(job.created);
        let turn = if now < over && context.adoptions.is_waiting(&job.uid) { over } else { context.adoptions.of(&job.uid, now) };
        if now < turn {
            again = [again, Some(turn.max(over))].into_iter().flatten().min();
        }
        now >= turn
    });
    again
}
