//! What the reconcilers share.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use kube::Client;

use super::{event::Allowance, expectations::Expectations, turns::Turns};
use crate::{clock::Clock, metrics::Metrics, observe::Caches};

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
    /// How often in a row an object could not be reconciled.
    failures: Mutex<HashMap<String, u32>>,
    pub(super) expectations: Expectations,
    /// Of statuses.
    pub(super) turns: Turns,
    /// Of Jobs that are to get their runs.
    pub(super) adoptions: Turns,
    pub(super) ordinary_events: Allowance,
}

impl Context {
    pub(super) fn new(client: Client, caches: Arc<Caches>, clock: Clock, metrics: Metrics) -> Self {
        Self {
            client,
            caches,
            clock,
            metrics,
            failures: Mutex::default(),
            expectations: Expectations::default(),
            turns: Turns::default(),
            adoptions: Turns::default(),
            ordinary_events: Allowance::default(),
        }
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
