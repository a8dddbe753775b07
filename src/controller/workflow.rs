//! Reconciles workflows.

use std::{sync::Arc, time::Duration};

use futures::FutureExt;
use kube::{ResourceExt, runtime::controller::Action};

use super::{
    Context, Reconciled, again, apply,
    error::key,
    expectations::Kind,
    report::{self, Report},
};
use crate::{api::Workflow, observe, plan};

pub(super) fn reconcile(workflow: Arc<Workflow>, context: Arc<Context>) -> Reconciled {
    async move {
        let key = key(&*workflow);
        if !context.expectations.are_met(&key, &context.caches, context.clock.now()) {
            return Ok(Action::requeue(Duration::from_millis(500)));
        }
        // What the queue gave may be older than what the caches were found to show.
        let Some(workflow) = context.caches.workflows.get(&workflow.namespace().unwrap_or_default(), &workflow.name_any()) else {
            return Ok(Action::await_change());
        };
        let now = context.clock.now_in_seconds();
        let mut seen = observe::workflow(&context.client, &context.caches, workflow.clone()).await?;
        let mut plan = plan::workflow::plan(&seen, now);
        let applied = apply::apply(&context, &*workflow, &plan.changes).await?;
        if applied.answers() {
            // The API server's answers are observations like any other.
            seen.refusals = applied.refusals;
            (seen.runs_made, seen.revisions_made) = (applied.runs_made, applied.revisions_made);
            plan = plan::workflow::plan(&seen, now);
        }
        let report = Report { kind: Kind::Workflow, before: workflow.status.as_ref(), plan: &plan, version: None };
        let told = report::report(&context, &*workflow, report, applied.wrote).await?;
        Ok(again([plan.wake, told].into_iter().flatten().min(), context.clock))
    }
    .boxed()
}
