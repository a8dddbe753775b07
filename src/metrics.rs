//! The operator's own counters.

use prometheus::{IntCounterVec, IntGauge, Opts, Registry, TextEncoder};

/// Counters, labelled by kind and never by object.
#[derive(Clone)]
pub struct Metrics {
    registry: Registry,
    reconciles: IntCounterVec,
    errors: IntCounterVec,
    writes: IntCounterVec,
    leader: IntGauge,
}

impl Metrics {
    /// New counters, all at zero.
    ///
    /// # Errors
    /// Where two metrics have the same name.
    pub fn new() -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str, labels: &[&str]| IntCounterVec::new(Opts::new(name, help), labels);
        let metrics = Self {
            registry: Registry::new(),
            reconciles: counter("nightshift_reconciles_total", "Objects looked at, by kind.", &["kind"])?,
            errors: counter(
                "nightshift_reconcile_errors_total",
                "Reconciles that the API server stopped, by kind and step.",
                &["kind", "step"],
            )?,
            writes: counter("nightshift_api_writes_total", "Writes sent to the API server, by verb and resource.", &["verb", "resource"])?,
            leader: IntGauge::new("nightshift_leader", "1 where this process is the one that writes, 0 where it stands by.")?,
        };
        for one in [&metrics.reconciles, &metrics.errors, &metrics.writes] {
            metrics.registry.register(Box::new(one.clone()))?;
        }
        metrics.registry.register(Box::new(metrics.leader.clone()))?;
        Ok(metrics)
    }

    /// Counts a reconcile.
    pub fn reconciled(&self, kind: &str) {
        self.reconciles.with_label_values(&[kind]).inc();
    }

    /// Counts a reconcile that could not be finished.
    pub fn reconcile_error(&self, kind: &str, step: &str) {
        self.errors.with_label_values(&[kind, step]).inc();
    }

    /// Counts a write.
    pub fn wrote(&self, verb: &str, resource: &str) {
        self.writes.with_label_values(&[verb, resource]).inc();
    }

    /// Tells whether this process leads.
    pub fn leads(&self, leads: bool) {
        self.leader.set(leads.into());
    }

    /// All metrics in Prometheus' text format.
    ///
    /// # Errors
    /// Where a metric cannot be written as text.
    pub fn render(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}
