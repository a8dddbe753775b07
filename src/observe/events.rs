//! What Events say about a Job that does not begin: listed when it is asked for, never watched.
//!
//! The API server reads all Events of a namespace for each list, whatever is selected. So one list serves every run of
//! the namespace that asks within a few seconds: where a thousand wait at once, they cost what one does.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use kube::{Api, Client, api::ListParams};

use super::{
    Error,
    by_namespace::{ByNamespace, FRESH},
    reading,
};
use crate::outcome::{JobSeen, Trouble};

/// Events read at a time, and how often at the most: the warnings of a namespace are seldom more.
const PAGE: u32 = 500;
const PAGES: usize = 10;

/// The warnings of each namespace in which something does not begin, oldest first.
pub(super) struct Warnings(ByNamespace<Warning>);

impl Default for Warnings {
    fn default() -> Self {
        Self(ByNamespace::new("the events"))
    }
}

struct Warning {
    kind: String,
    name: String,
    uid: String,
    trouble: Trouble,
}

impl Warnings {
    /// The warnings about a Job and its pods, oldest first, from a list that is a few seconds old at the most; where the
    /// Job has ended, from one that was made since.
    pub(super) async fn about(&self, client: &Client, namespace: &str, job: &JobSeen, now: Timestamp) -> Result<Vec<Trouble>, Error> {
        let oldest = job.ended_at.map_or(now - FRESH, |ended| ended.max(now - FRESH));
        // Pods that have come and gone are known by their names, which begin with that of the Job and its only index.
        let prefix = format!("{}-0-", job.name);
        let of_gone = |warning: &&Warning| job.pods.is_empty() && warning.kind == "Pod" && warning.name.starts_with(&prefix);
        let of_pod = |warning: &&Warning| job.pods.iter().any(|pod| !pod.begun && pod.uid == warning.uid);
        let listed = self.list(client, namespace, (oldest, now)).await?;
        let about = listed.iter().filter(|warning| warning.uid == job.uid || of_gone(warning) || of_pod(warning));
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
        let listed = self.list(client, namespace, (now - FRESH, now)).await?;
        let about = listed.iter().filter(|warning| uids.contains(&warning.uid.as_str()));
        Ok(about.map(|warning| warning.trouble.clone()).collect())
    }

    async fn list(&self, client: &Client, namespace: &str, window: (Timestamp, Timestamp)) -> Result<Arc<Vec<Warning>>, Error> {
        self.0.get(namespace, window, list(client, namespace)).await
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
    warnings.sort_by_key(|warning| warning.trouble.last);
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
            trouble: Trouble { reason: event.reason.unwrap_or_default(), message: event.message.unwrap_or_default(), last: at },
        }
    }
}
