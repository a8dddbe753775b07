//! What is seen of the runs of a namespace that are under caps.

use std::sync::Arc;

use k8s_openapi::api::batch::v1::Job;
use kube::{Api, Client, Resource, ResourceExt, api::ListParams, core::NamespaceResourceScope};

use super::{Caches, Error, automation_run::belongs, caches::key, reading};
use crate::{
    admission::Source,
    api::{AutomationRun, AutomationTask, ConcurrencyPool, label},
};

/// How many objects are told in one answer.
const PAGE: u32 = 500;

/// The caches, as far as they are about one namespace.
pub struct InNamespace<'a> {
    /// The caches.
    pub caches: &'a Caches,
    /// The namespace.
    pub namespace: &'a str,
}

impl Source for InNamespace<'_> {
    fn live_runs(&self) -> Vec<Arc<AutomationRun>> {
        self.caches.runs.group(&key("live", self.namespace, ""))
    }

    fn run(&self, name: &str) -> Option<Arc<AutomationRun>> {
        self.caches.runs.get(self.namespace, name)
    }

    fn task(&self, name: &str) -> Option<Arc<AutomationTask>> {
        self.caches.tasks.get(self.namespace, name)
    }

    fn marked_jobs(&self) -> Vec<Arc<Job>> {
        self.caches.jobs.group(&key("marked", self.namespace, ""))
    }

    fn has_job(&self, run: &AutomationRun) -> bool {
        self.caches.jobs.group(&key("run", self.namespace, &run.name_any())).iter().any(|job| belongs(job, run))
    }

    fn pools(&self) -> Vec<Arc<ConcurrencyPool>> {
        self.caches.pools.group(&key("pools", self.namespace, ""))
    }
}

impl InNamespace<'_> {
    /// Whether anybody says that it waits for room under a cap.
    #[must_use]
    pub fn has_queue(&self) -> bool {
        self.caches.runs.has_group(&key("queue", self.namespace, ""))
    }

    /// All runs that go on and all Jobs of runs, as the server has them now: what the caches have to show before anybody is let in.
    /// Those of whoever begins to lead were filled while another one led, and may not show yet whom that one let in.
    ///
    /// A race remains that no look can close: what that one has sent and what arrives only after this is not seen by anybody.
    /// Whoever asks waits a moment first; a write that takes longer to arrive, or a process that is frozen just before it sends
    /// one, could let one in too many.
    ///
    /// # Errors
    /// Where the API server would not answer.
    pub async fn there(&self, client: &Client) -> Result<Vec<There>, Error> {
        let live = ListParams::default().fields("status.phase!=Finished");
        let of_runs = ListParams::default().labels(&format!("{},{}", label::SELECTOR, label::RUN));
        let mut all = self.list::<AutomationRun>(client, live, false).await?;
        all.extend(self.list::<Job>(client, of_runs, true).await?);
        Ok(all)
    }

    async fn list<K: Listed>(&self, client: &Client, params: ListParams, is_job: bool) -> Result<Vec<There>, Error> {
        let api: Api<K> = Api::namespaced(client.clone(), self.namespace);
        let (mut params, mut all) = (params.limit(PAGE), Vec::new());
        loop {
            let page = api.list_metadata(&params).await.map_err(reading(format!("{} in {}", K::plural(&()), self.namespace)))?;
            all.extend(page.items.iter().map(|there| There { is_job, name: there.name_any(), version: version(there.resource_version()) }));
            match page.metadata.continue_.filter(|next| !next.is_empty()) {
                Some(next) => params.continue_token = Some(next),
                None => return Ok(all),
            }
        }
    }

    /// Whether the server has no Job of that name.
    ///
    /// # Errors
    /// Where the API server would not answer.
    pub async fn has_no_job(&self, client: &Client, name: &str) -> Result<bool, Error> {
        self.is_gone(client, &There { is_job: true, name: name.to_owned(), version: None }).await
    }

    /// Whether the caches show it, or something newer of that name.
    #[must_use]
    pub fn shows(&self, there: &There) -> bool {
        let shown = if there.is_job {
            self.caches.jobs.get(self.namespace, &there.name).map(|job| job.resource_version())
        } else {
            self.caches.runs.get(self.namespace, &there.name).map(|run| run.resource_version())
        };
        shown.is_some_and(|shown| version(shown) >= there.version)
    }

    /// Whether it has gone since: the caches cannot tell that from what they have not been told yet.
    ///
    /// # Errors
    /// Where the API server would not answer.
    pub async fn is_gone(&self, client: &Client, there: &There) -> Result<bool, Error> {
        async fn is_gone<K: Listed>(client: &Client, namespace: &str, name: &str) -> Result<bool, Error> {
            let api: Api<K> = Api::namespaced(client.clone(), namespace);
            Ok(api.get_metadata_opt(name).await.map_err(reading(format!("{} {name}", K::kind(&()))))?.is_none())
        }
        if there.is_job {
            is_gone::<Job>(client, self.namespace, &there.name).await
        } else {
            is_gone::<AutomationRun>(client, self.namespace, &there.name).await
        }
    }
}

/// An object that the server has.
#[derive(Clone, Debug)]
pub struct There {
    is_job: bool,
    name: String,
    version: Option<u64>,
}

fn version(version: Option<String>) -> Option<u64> {
    version.and_then(|version| version.parse().ok())
}

/// What can be listed.
trait Listed: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + std::fmt::Debug + serde::de::DeserializeOwned {}

impl Listed for AutomationRun {}
impl Listed for Job {}
