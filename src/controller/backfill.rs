//! Reconciles backfills.

use std::{sync::Arc, time::Duration};

use futures::FutureExt;
use kube::{ResourceExt, runtime::controller::Action};

use super::{
    Context, Reconciled, again,
    apply::{self, Applied},
    error::key,
    expectations::{Kind, Wrote},
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
        let mut seen = observe::backfill(&context.client, &context.caches, backfill.clone()).await?;
        let mut plan = plan::backfill::plan(&seen, now);
        let mut applied = Applied::default();
        if let Err(error) = apply::apply(&context, &backfill.namespace().unwrap_or_default(), &plan.changes, &mut applied).await {
            context.expectations.expect(&key, applied.wrote, context.clock.now());
            return Err(error);
        }
        if applied.answers() {
            // The API server's answers are observations like any other.
            (seen.refusals, seen.runs_made) = (applied.refusals, applied.runs_made);
            plan = plan::backfill::plan(&seen, now);
        }
        let report = Report { before: backfill.status.as_ref(), plan: &plan, version: None };
        let reported = match report::report(&context, &*backfill, report).await {
            Ok(reported) => reported,
            Err(error) => {
                context.expectations.expect(&key, applied.wrote, context.clock.now());
                return Err(error);
            }
        };
        let wrote = applied.wrote.into_iter().chain(reported.left.and_then(|left| Wrote::of(Kind::Backfill, &left)));
        context.expectations.expect(&key, wrote.collect(), context.clock.now());
        context.succeeded(&key);
        context.metrics.reconciled("Backfill");
        Ok(again([plan.wake, reported.again].into_iter().flatten().min(), context.clock))
    }
    .boxed()
}
