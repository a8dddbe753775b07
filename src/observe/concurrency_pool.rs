//! What is known about a pool.

use std::sync::Arc;

use kube::ResourceExt;

use super::{Caches, slots::InNamespace};
use crate::{admission::Memory, api::ConcurrencyPool, plan::concurrency_pool::Seen};

/// All that is known about a pool, from the caches and from what was decided and is not seen yet.
#[must_use]
pub fn observe(caches: &Caches, memory: &Memory, pool: Arc<ConcurrencyPool>) -> Seen {
    let namespace = pool.namespace().unwrap_or_default();
    let (holders, decision) = memory.standing(&InNamespace { caches, namespace: &namespace });
    Seen { pool, holders, waiting: decision.waiting.into_iter().map(|(candidate, _)| candidate).collect() }
}
