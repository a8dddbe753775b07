//! Reconciles tasks.

use std::sync::Arc;

use futures::{FutureExt, future::BoxFuture};
use kube::{ResourceExt, runtime::controller::Action};

use super::{Context, Error, again, apply, error::key, report};
use crate::{api::AutomationTask, observe, plan};

pub(super) fn reconcile(task: Arc<AutomationTask>, context: Arc<Context>) -> BoxFuture<'static, Result<Action, Error>> {
    async move {
        let now = context.clock.now_in_seconds();
        let mut seen = observe::automation_task(&context.client, &context.caches, task.clone()).await?;
        let mut plan = plan::automation_task::plan(&seen, now);
        let applied = apply::apply(&context, &task.namespace().unwrap_or_default(), &plan.changes).await?;
        if !applied.refusals.is_empty() || !applied.cron_jobs.is_empty() {
            // The API server's answers are observations like any other.
            seen.refusals = applied.refusals;
            seen.written = applied.cron_jobs;
            plan = plan::automation_task::plan(&seen, now);
        }
        report::report(&context, &*task, task.status.as_ref(), &plan.status, &plan.notices).await?;
        context.succeeded(&key(&*task));
        context.metrics.reconciled("AutomationTask");
        Ok(again(plan.wake, context.clock))
    }
    .boxed()
}
