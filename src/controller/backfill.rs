//! Reconciles backfills.

use std::{sync::Arc, time::Duration};

use futures::FutureExt;
use kube::{ResourceExt, runtime::controller::Action};

use super::{
    Context, Reconciled, again, apply,
    error::key,
    expectations::Kind,
    report::{self, Report},
};
use crate::{api::Backfill, observe, plan};

pub(super) fn reconcile(backfill: Arc<Backfill>, context: Arc<Context>) -> Reconciled {
    async move {
        let key = key(&*backfill);
        if !context.expectations.are_met(&key, &context.caches, context.clock.now()) {
            return Ok(Action::requeue(Duration::from_millis(500)));
        }
        // What the queue gave may be older than what the caches were found to show.
        let Some(backfill) = context.caches.backfills.get(&backfill.namespace().unwrap_or_default(), &backfill.name_any()) else {
            return Ok(Action::await_change());
        };
        let now = context.clock.now_in_seconds();
        let mut seen = observe::backfill(&context.client, &context.caches, backfill.clone(), now).await?;
        let mut plan = plan::backfill::plan(&seen, now);
        let applied = apply::apply(&context, &*backfill, &plan.changes).await?;
        if applied.answers() {
            // The API server's answers are observations like any other.
            (seen.refusals, seen.runs_made) = (applied.refusals, applied.runs_made);
            plan = plan::backfill::plan(&seen, now);
        }
        let report = Report { kind: Kind::Backfill, before: backfill.status.as_ref(), plan: &plan, version: None };
        let told = report::report(&context, &*backfill, report, applied.wrote).await?;
        Ok(again([plan.wake, told].into_iter().flatten().min(), context.clock))
    }
    .boxed()
}
