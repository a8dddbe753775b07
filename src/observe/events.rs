//! What Events say about a Job that does not begin: listed when it is asked for, never watched.
//!
//! The API server reads all Events of a namespace for each list, whatever is selected. So one list serves every run of
//! the namespace that asks within a few seconds: where a thousand wait at once, they cost what one does.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Event;
use kube::{Api, Client, api::ListParams};

use super::{Error, reading};
use crate::outcome::{JobSeen, Trouble};

/// How old a list may be that is read again.
const FRESH: SignedDuration = SignedDuration::from_secs(5);
/// A namespace's list that nobody has asked for lately is forgotten.
const KEPT: SignedDuration = SignedDuration::from_secs(60);
/// How long a list may take.
const LIMIT: Duration = Duration::from_secs(10);
/// Events read at a time, and how often at the most: the warnings of a namespace are seldom more.
const PAGE: u32 = 500;
const PAGES: usize = 10;

/// The warnings of each namespace in which something does not begin.
#[derive(Default)]
pub(super) struct Warnings(Mutex<HashMap<String, Arc<Namespace>>>);

/// One namespace: whoever asks while a list is under way waits for it.
type Namespace = tokio::sync::Mutex<Listed>;

#[derive(Default)]
struct Listed {
    at: Timestamp,
    /// Oldest first.
    warnings: Vec<Warning>,
}

struct Warning {
    kind: String,
    name: String,
    uid: String,
    at: Option<Timestamp>,
    trouble: Trouble,
}

impl Warnings {
    /// The warnings about a Job and its pods, oldest first, from a list that is a few seconds old at the most; where the
    /// Job has ended, from one that was made since.
    pub(super) async fn about(&self, client: &Client, namespace: &str, job: &JobSeen, now: Timestamp) -> Result<Vec<Trouble>, Error> {
        let of_namespace = self.of(namespace, now);
        let mut listed = of_namespace.lock().await;
        let oldest = job.ended_at.map_or(now - FRESH, |ended| ended.max(now - FRESH));
        listed.refresh(client, namespace, oldest, now).await?;
        // Pods that have come and gone are known by their names, which begin with that of the Job and its only index.
        let prefix = format!("{}-0-", job.name);
        let of_gone = |warning: &&Warning| job.pods.is_empty() && warning.kind == "Pod" && warning.name.starts_with(&prefix);
        let of_pod = |warning: &&Warning| job.pods.iter().any(|pod| !pod.begun && pod.uid == warning.uid);
        let about = listed.warnings.iter().filter(|warning| warning.uid == job.uid || of_gone(warning) || of_pod(warning));
        Ok(about.map(|warning| warning.trouble.clone()).collect())
    }

    /// The warnings about any of these objects, oldest first, from a list that is a few seconds old at the most.
    pub(super) async fn about_objects(
        &self,
        client: &Client,
        namespace: &str,
        uids: &[&str],
        now: Timestamp,
    ) -> Result<Vec<Trouble>, Error> {
        let of_namespace = self.of(namespace, now);
        let mut listed = of_namespace.lock().await;
        listed.refresh(client, namespace, now - FRESH, now).await?;
        let about = listed.warnings.iter().filter(|warning| uids.contains(&warning.uid.as_str()));
        Ok(about.map(|warning| warning.trouble.clone()).collect())
    }

    fn of(&self, namespace: &str, now: Timestamp) -> Arc<Namespace> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|name, listed| name == namespace || listed.try_lock().map_or(true, |listed| now.duration_since(listed.at) < KEPT));
        all.entry(namespace.to_owned()).or_default().clone()
    }
}

impl Listed {
    /// Lists anew where this list is older than that.
    async fn refresh(&mut self, client: &Client, namespace: &str, oldest: Timestamp, now: Timestamp) -> Result<(), Error> {
        if self.at < oldest {
            // Within a limit: others of the namespace wait for this list, and the API server may not answer.
            let limited = tokio::time::timeout(LIMIT, list(client, namespace)).await;
            let late = |_| reading(format!("the events of namespace {namespace}"))(kube::Error::Service("no answer in time".into()));
            let warnings = limited.map_err(late)??;
            *self = Self { at: now, warnings };
        }
        Ok(())
    }
}

async fn list(client: &Client, namespace: &str) -> Result<Vec<Warning>, Error> {
    let api: Api<Event> = Api::namespaced(client.clone(), namespace);
    let mut params = ListParams::default().fields("type=Warning").limit(PAGE);
    let mut warnings = Vec::new();
    for read in 1..=PAGES {
        let page = api.list(&params).await.map_err(reading(format!("the events of namespace {namespace}")))?;
        warnings.extend(page.items.into_iter().map(Warning::of));
        match page.metadata.continue_.filter(|next| !next.is_empty()) {
            Some(_) if read == PAGES => {
                tracing::warn!(namespace, read = warnings.len(), "more warnings than are read: some runs may not say why they wait");
            }
            Some(next) => params = params.continue_token(&next),
            None => break,
        }
    }
    warnings.sort_by_key(|warning| warning.at);
    Ok(warnings)
}

impl Warning {
    fn of(event: Event) -> Self {
        let last = event.series.as_ref().and_then(|series| series.last_observed_time.as_ref()).map(|time| time.0);
        let at = last.or(event.last_timestamp.as_ref().map(|time| time.0)).or(event.event_time.as_ref().map(|time| time.0));
        let about = event.involved_object;
        Self {
            kind: about.kind.unwrap_or_default(),
            name: about.name.unwrap_or_default(),
            uid: about.uid.unwrap_or_default(),
            at,
            trouble: Trouble { reason: event.reason.unwrap_or_default(), message: event.message.unwrap_or_default() },
        }
    }
}
