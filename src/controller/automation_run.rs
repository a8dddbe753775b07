//! Reconciles runs.

use std::sync::Arc;

use futures::{FutureExt, future::BoxFuture};
use kube::{ResourceExt, runtime::controller::Action};

use super::{Context, Error, again, apply, error::key, report};
use crate::{api::AutomationRun, observe, plan};

pub(super) fn reconcile(run: Arc<AutomationRun>, context: Arc<Context>) -> BoxFuture<'static, Result<Action, Error>> {
    async move {
        let now = context.clock.now_in_seconds();
        let mut seen = observe::automation_run(&context.client, &context.caches, run.clone(), now).await?;
        let mut plan = plan::automation_run::plan(&seen, now);
        let applied = apply::apply(&context, &run.namespace().unwrap_or_default(), &plan.changes).await?;
        if !applied.refusals.is_empty() {
            // The API server's answer is an observation like any other.
            seen.refusals = applied.refusals;
            plan = plan::automation_run::plan(&seen, now);
        }
        report::report(&context, &*run, run.status.as_ref(), &plan.status, &plan.notices).await?;
        context.succeeded(&key(&*run));
        context.metrics.reconciled("AutomationRun");
        Ok(again(plan.wake, context.clock))
    }
    .boxed()
}
