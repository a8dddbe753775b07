//! Reconciles pools: tells how they are used.

use std::{sync::Arc, time::Duration};

use futures::FutureExt;
use jiff::SignedDuration;
use kube::{ResourceExt, runtime::controller::Action};

use super::{
    Context, Reconciled,
    error::key,
    expectations::Kind,
    report::{self, Report},
};
use crate::{api::ConcurrencyPool, plan};

/// How often a pool is told of: where a thousand runs pass through it, each of them is no news.
const PAUSE: SignedDuration = SignedDuration::from_secs(2);

pub(super) fn reconcile(pool: Arc<ConcurrencyPool>, context: Arc<Context>) -> Reconciled {
    async move {
        let key = key(&*pool);
        if !context.expectations.are_met(&key, &context.caches, context.clock.now()) {
            return Ok(Action::requeue(Duration::from_millis(500)));
        }
        if let Some(wait) = context.pace.wait(&key, context.clock.now()) {
            return Ok(Action::requeue(wait));
        }
        // What the queue gave may be older than what the caches were found to show.
        let Some(pool) = context.caches.pools.get(&pool.namespace().unwrap_or_default(), &pool.name_any()) else {
            return Ok(Action::await_change());
        };
        let seen = context.room.of_pool(&context.caches, pool.clone());
        let plan = plan::concurrency_pool::plan(&seen, context.clock.now_in_seconds());
        context.pace.rest(&key, PAUSE, context.clock.now());
        let report = Report { kind: Kind::Pool, before: pool.status.as_ref(), plan: &plan, version: None };
        report::report(&context, &*pool, report, Vec::new()).await?;
        Ok(Action::await_change())
    }
    .boxed()
}
