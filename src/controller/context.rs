//! What the reconcilers share.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use kube::{
    Client,
    runtime::events::{Recorder, Reporter},
};

use super::expectations::Expectations;
use crate::{api::label, clock::Clock, metrics::Metrics, observe::Caches};

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
    pub(super) recorder: Recorder,
    /// How often in a row an object could not be reconciled.
    failures: Mutex<HashMap<String, u32>>,
    pub(super) expectations: Expectations,
}

impl Context {
    pub(super) fn new(client: Client, caches: Arc<Caches>, clock: Clock, metrics: Metrics) -> Self {
        let reporter = Reporter { controller: label::NIGHTSHIFT.to_owned(), instance: None };
        let recorder = Recorder::new(client.clone(), reporter);
        Self { client, caches, clock, metrics, recorder, failures: Mutex::default(), expectations: Expectations::default() }
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
