//! Reconciles runs.

use std::{sync::Arc, time::Duration};

use futures::FutureExt;
use kube::{ResourceExt, runtime::controller::Action};

use super::{
    Context, Reconciled, again, apply,
    error::key,
    expectations::Kind,
    report::{self, Report},
};
use crate::{
    admission::Answer,
    api::AutomationRun,
    observe,
    plan::{self, Change},
};

pub(super) fn reconcile(run: Arc<AutomationRun>, context: Arc<Context>) -> Reconciled {
    async move {
        let key = key(&*run);
        if !context.expectations.are_met(&key, &context.caches, context.clock.now()) {
            return Ok(Action::requeue(Duration::from_millis(500)));
        }
        // What the queue gave may be older than what the caches were found to show.
        let Some(run) = context.caches.runs.get(&run.namespace().unwrap_or_default(), &run.name_any()) else {
            return Ok(Action::await_change());
        };
        let (namespace, uid) = (run.namespace().unwrap_or_default(), run.uid().unwrap_or_default());
        let now = context.clock.now_in_seconds();
        let mut seen = observe::automation_run(&context.client, &context.caches, run.clone(), now).await?;
        let mut plan = plan::automation_run::plan(&seen, now);
        let mut applied = apply::apply(&context, &*run, &plan.changes).await?;
        if let Some(answer) = applied.answer.take() {
            // Whether it was let in is an observation like any other. Nothing was written for it.
            seen.answer = Some(answer);
            plan = plan::automation_run::plan(&seen, now);
            applied = apply::apply(&context, &*run, &plan.changes).await?;
        }
        let waits = matches!(seen.answer, Some(Answer::Waits(_) | Answer::Behind));
        let starts = makes_job(&plan.changes) && applied.refusals.is_empty();
        if seen.jobs.is_empty() && !waits && !starts {
            context.room.give_back(&namespace, &uid);
        }
        let refused = !applied.refusals.is_empty();
        if refused {
            // The API server's answer is an observation like any other.
            seen.refusals = applied.refusals;
            plan = plan::automation_run::plan(&seen, now);
        }
        let version = applied.wrote.iter().find(|wrote| wrote.kind == Kind::Run).map(|wrote| wrote.version);
        let report = Report { kind: Kind::Run, before: run.status.as_ref(), plan: &plan, version };
        let told = report::report(&context, &*run, report, applied.wrote).await?;
        Ok(again([plan.wake, told].into_iter().flatten().min(), context.clock))
    }
    .boxed()
}

fn makes_job(changes: &[Change]) -> bool {
    changes.iter().any(|change| matches!(change, Change::CreateJob { .. }))
}
