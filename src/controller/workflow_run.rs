//! Reconciles runs of workflows.

use std::{sync::Arc, time::Duration};

use futures::FutureExt;
use kube::{ResourceExt, runtime::controller::Action};

use super::{
    Context, Reconciled, again, apply,
    error::key,
    expectations::{Kind, Wrote},
    report::{self, Report},
};
use crate::{api::AutomationRun, observe, plan};

pub(super) fn reconcile(run: Arc<AutomationRun>, context: Arc<Context>) -> Reconciled {
    async move {
        let key = key(&*run);
        if !context.expectations.are_met(&key, &context.caches, context.clock.now()) {
            return Ok(Action::requeue(Duration::from_millis(500)));
        }
        if let Some(wait) = context.pace.wait(&key, context.clock.now()) {
            return Ok(Action::requeue(wait));
        }
        // What the queue gave may be older than what the caches were found to show.
        let Some(run) = context.caches.runs.get(&run.namespace().unwrap_or_default(), &run.name_any()) else {
            return Ok(Action::await_change());
        };
        let now = context.clock.now_in_seconds();
        let mut seen = observe::workflow_run(&context.client, &context.caches, run.clone(), now).await?;
        let begun = context.clock.monotonic();
        let mut plan = plan::workflow_run::plan(&seen, now);
        let took = context.clock.monotonic().saturating_sub(begun);
        context.pace.looked(&key, if plan.status.outcome.is_some() { Duration::ZERO } else { took }, context.clock.now());
        let applied = apply::apply(&context, &*run, &plan.changes).await?;
        if !applied.refusals.is_empty() {
            // The API server's answer is an observation like any other.
            seen.refusals = applied.refusals;
            plan = plan::workflow_run::plan(&seen, now);
        }
        let own = |wrote: &&Wrote| wrote.kind == Kind::Run && Some(&wrote.name) == run.metadata.name.as_ref();
        let version = applied.wrote.iter().find(own).map(|wrote| wrote.version);
        let report = Report { kind: Kind::Run, before: run.status.as_ref(), plan: &plan, version };
        let told = report::report(&context, &*run, report, applied.wrote).await?;
        Ok(again([plan.wake, told].into_iter().flatten().min(), context.clock))
    }
    .boxed()
}
