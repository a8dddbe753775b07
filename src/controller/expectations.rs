//! What we have written and the watches have not told us of yet.
//!
//! Planning from a cache that lags behind our own writes is safe, since names are locks and statuses carry the resource
//! version they were planned from; but each such plan costs requests that can only be refused. So an object is looked
//! at again only once the caches show what was written for it.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use super::left::Left;
use crate::observe::Caches;

/// A watch that has said nothing for this long is not waited for: what was written may have been deleted since.
const PATIENCE: SignedDuration = SignedDuration::from_secs(5);

/// Kinds that we write and watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Task,
    Workflow,
    Run,
    Backfill,
    Pool,
    CronJob,
    Job,
}

/// One write: what it left on the server.
#[derive(Clone, Debug)]
pub(super) struct Wrote {
    pub(super) kind: Kind,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) version: u64,
}

impl Wrote {
    /// What a write left, from the object that the server returned.
    pub(super) fn of(kind: Kind, left: &Left) -> Option<Self> {
        let version = left.resource_version()?.parse().ok()?;
        Some(Self { kind, namespace: left.namespace().to_owned(), name: left.name().to_owned(), version })
    }

    /// The same of an object that was read in full.
    pub(super) fn of_object(kind: Kind, object: &impl ResourceExt) -> Option<Self> {
        let version = object.resource_version()?.parse().ok()?;
        Some(Self { kind, namespace: object.namespace().unwrap_or_default(), name: object.name_any(), version })
    }

    fn is_seen(&self, caches: &Caches) -> bool {
        let (namespace, name) = (self.namespace.as_str(), self.name.as_str());
        let seen = match self.kind {
            Kind::Task => caches.tasks.get(namespace, name).and_then(|o| o.resource_version()),
            Kind::Workflow => caches.workflows.get(namespace, name).and_then(|o| o.resource_version()),
            Kind::Run => caches.runs.get(namespace, name).and_then(|o| o.resource_version()),
            Kind::Backfill => caches.backfills.get(namespace, name).and_then(|o| o.resource_version()),
            Kind::Pool => caches.pools.get(namespace, name).and_then(|o| o.resource_version()),
            Kind::CronJob => caches.cron_jobs.get(namespace, name).and_then(|o| o.resource_version()),
            Kind::Job => caches.jobs.get(namespace, name).and_then(|o| o.resource_version()),
        };
        seen.and_then(|version| version.parse::<u64>().ok()).is_some_and(|version| version >= self.version)
    }
}

/// The writes that are waited for, by the object that they were made for.
#[derive(Default)]
pub(super) struct Expectations(Mutex<HashMap<String, (Timestamp, Vec<Wrote>)>>);

impl Expectations {
    /// Waits for the writes made for an object.
    pub(super) fn expect(&self, key: &str, wrote: Vec<Wrote>, now: Timestamp) {
        if !wrote.is_empty() {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            // A finished run is never looked at again, so nobody else would take its entry away.
            all.retain(|_, (since, _)| now.duration_since(*since) <= PATIENCE);
            all.insert(key.to_owned(), (now, wrote));
        }
    }

    /// Whether the caches show all that was written for an object, or have had time enough.
    pub(super) fn are_met(&self, key: &str, caches: &Caches, now: Timestamp) -> bool {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((since, wrote)) = all.get(key) else { return true };
        let met = wrote.iter().all(|wrote| wrote.is_seen(caches)) || now.duration_since(*since) > PATIENCE;
        if met {
            all.remove(key);
        }
        met
    }
}
