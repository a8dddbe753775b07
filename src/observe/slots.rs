//! What is seen of the runs of a namespace that are under caps.

use std::sync::Arc;

use k8s_openapi::api::batch::v1::Job;
use kube::{Api, Client, Resource, ResourceExt, api::ListParams, core::NamespaceResourceScope};

use super::{Caches, Error, automation_run::belongs, caches::key, reading};
use crate::{
    admission::Source,
    api::{AutomationRun, AutomationTask, ConcurrencyPool, label},
    outcome,
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
        self.caches.tasks.get(self.namespace, name).filter(|task| task.metadata.deletion_timestamp.is_none())
    }

    fn marked_jobs(&self) -> Vec<Arc<Job>> {
        self.caches.jobs.group(&key("marked", self.namespace, ""))
    }

    fn jobs_of(&self, run: &AutomationRun) -> Vec<Arc<Job>> {
        let mut jobs = self.caches.jobs.group(&key("run", self.namespace, &run.name_any()));
        jobs.retain(|job| belongs(job, run));
        jobs
    }

    fn pools(&self) -> Vec<Arc<ConcurrencyPool>> {
        self.caches.pools.group(&key("pools", self.namespace, ""))
    }

    fn has_queue(&self) -> bool {
        self.caches.runs.has_group(&key("queue", self.namespace, ""))
    }
}

impl InNamespace<'_> {
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

    /// Whether the Job of that name is seen to have ended, or the server has none.
    ///
    /// # Errors
    /// Where the API server would not answer.
    pub async fn is_over(&self, client: &Client, name: &str) -> Result<bool, Error> {
        if self.caches.jobs.get(self.namespace, name).is_some_and(|job| outcome::has_ended(&job)) {
            return Ok(true);
        }
        self.is_gone(client, &There { is_job: true, name: name.to_owned(), version: None }).await
    }

    /// Whether the caches show it, or something newer of that name; or cannot, since it does not parse.
    #[must_use]
    pub fn shows(&self, there: &There) -> bool {
        let shown = if there.is_job {
            self.caches.jobs.get(self.namespace, &there.name).and_then(|job| job.resource_version())
        } else {
            self.caches.runs.get(self.namespace, &there.name).and_then(|run| run.resource_version())
        };
        let kind = if there.is_job { Job::kind(&()) } else { AutomationRun::kind(&()) };
        let broken = self.caches.broken.version(&kind, self.namespace, &there.name);
        [shown, broken].into_iter().flatten().any(|shown| version(Some(shown)) >= there.version)
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
    /// Its name.
    pub name: String,
    version: Option<u64>,
}

fn version(version: Option<String>) -> Option<u64> {
    version.and_then(|version| version.parse().ok())
}

/// What can be listed.
trait Listed: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + std::fmt::Debug + serde::de::DeserializeOwned {}

impl Listed for AutomationRun {}
impl Listed for Job {}

#[cfg(test)]
mod tests {
    use kube::runtime::watcher::Event;
    use serde_json::{Value, json};

    use super::*;
    use crate::observe::told::Told;

    fn run(version: &str, task: &Value) -> Told<AutomationRun> {
        let meta = json!({ "name": "a", "namespace": "ns", "resourceVersion": version });
        serde_json::from_str(&json!({ "metadata": meta, "spec": { "taskRef": task } }).to_string()).unwrap()
    }

    #[test]
    fn nobody_waits_to_be_shown_what_does_not_parse() {
        let caches = Caches::new(1);
        let shows = |version: u64| {
            let there = There { is_job: false, name: "a".to_owned(), version: Some(version) };
            InNamespace { caches: &caches, namespace: "ns" }.shows(&there)
        };
        let whole = caches.broken.sort_out(run("5", &json!({ "name": "t" })), false).unwrap();
        caches.runs.take(0, Event::Apply(whole));
        assert!(shows(5) && !shows(6));
        assert!(caches.broken.sort_out(run("6", &json!(7)), false).is_none());
        assert!(shows(5) && shows(6) && !shows(7), "the version that does not parse, and none after it");
        assert!(caches.broken.sort_out(run("7", &json!({ "name": "t" })), false).is_some());
        assert!(!shows(6), "it is told whole, and the cache has yet to show it");
        caches.broken.sort_out(run("8", &json!(7)), false);
        caches.broken.sort_out(run("9", &json!(7)), true);
        assert!(!shows(8), "it is gone");
    }

    #[test]
    fn jobs_that_have_ended_are_not_looked_at_with_those_that_hold_room() {
        let caches = Caches::new(1);
        let here = InNamespace { caches: &caches, namespace: "ns" };
        let run: AutomationRun = serde_json::from_value(
            json!({ "metadata": { "name": "r", "namespace": "ns", "uid": "u" }, "spec": { "taskRef": { "name": "t" } } }),
        )
        .unwrap();
        let job = |conditions: Value| -> Job {
            let owner =
                json!({ "apiVersion": "nightshift.dev/v1alpha1", "kind": "AutomationRun", "name": "r", "uid": "u", "controller": true });
            let labels = json!({ label::RUN: "r", label::TASK: "t" });
            let meta = json!({ "name": "r-1", "namespace": "ns", "labels": labels, "annotations": { label::HOLDS: "{}" }, "ownerReferences": [owner] });
            serde_json::from_value(json!({ "metadata": meta, "status": { "conditions": conditions } })).unwrap()
        };
        caches.jobs.take(0, Event::Apply(job(json!([]))));
        assert_eq!((here.marked_jobs().len(), here.jobs_of(&run).len()), (1, 1));
        caches.jobs.take(0, Event::Apply(job(json!([{ "type": "Failed", "status": "True" }]))));
        assert_eq!((here.marked_jobs().len(), here.jobs_of(&run).len()), (0, 1), "its run may try again, and holds the same");
    }
}
