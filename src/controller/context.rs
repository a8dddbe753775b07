//! What the reconcilers share.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use kube::Client;
use tokio::sync::mpsc::UnboundedSender;

use super::{Error, event::Allowance, expectations::Expectations, pace::Pace, room::Room, turns::Turns};
use crate::{
    clock::Clock,
    leader::Leadership,
    metrics::Metrics,
    observe::{Caches, Touched},
};

/// Built once; shared by all reconcilers.
pub struct Context {
    /// The API server.
    pub client: Client,
    /// What the watches tell.
    pub caches: Arc<Caches>,
    /// The time.
    pub clock: Clock,
    /// Counters.
    pub metrics: Metrics,
    /// Whether this process may write.
    pub leadership: Leadership,
    /// How often in a row an object could not be reconciled.
    failures: Mutex<HashMap<String, u32>>,
    pub(super) expectations: Expectations,
    /// Of statuses.
    pub(super) turns: Turns,
    /// Of Jobs that are to get their runs.
    pub(super) adoptions: Turns,
    pub(super) ordinary_events: Allowance,
    /// Of runs of workflows, and of pools.
    pub(super) pace: Pace,
    /// Under caps.
    pub(super) room: Room,
}

impl Context {
    pub(super) fn new(
        client: Client,
        caches: Arc<Caches>,
        clock: Clock,
        metrics: Metrics,
        leadership: Leadership,
        touched: UnboundedSender<Touched>,
    ) -> Self {
        Self {
            client,
            caches,
            clock,
            metrics,
            leadership,
            failures: Mutex::default(),
            expectations: Expectations::default(),
            turns: Turns::default(),
            adoptions: Turns::default(),
            ordinary_events: Allowance::default(),
            pace: Pace::default(),
            room: Room::new(touched),
        }
    }

    /// Looks at the lease before a write, and counts it. The client's gate looks again; here it costs no request's work,
    /// and says plainly what is the matter.
    pub(super) fn writes(&self, verb: &str, resource: &str) -> Result<(), Error> {
        if !self.leadership.is_held() {
            return Err(Error::NotLeading);
        }
        self.metrics.wrote(verb, resource);
        Ok(())
    }

    pub(super) fn failed(&self, key: &str) -> u32 {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let count = failures.entry(key.to_owned()).or_default();
        *count += 1;
        *count
    }

    pub(super) fn succeeded(&self, key: &str) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}
