//! The Jobs of tasks as the API server has them now: asked for where slots are about to be told to have brought none, since
//! the cache may be behind, or its watch silent.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};
use kube::{Api, Client, ResourceExt, api::ListParams};

use super::{
    Error,
    by_namespace::{ByNamespace, FRESH},
    reading,
};
use crate::{api::label, outcome::JobSeen};

/// Jobs read at a time: after a long night a namespace may have thousands.
const PAGE: u32 = 500;

/// The Jobs of each namespace's tasks: the task's name, and what the Job's metadata tells.
pub(super) struct LiveJobs(ByNamespace<(String, JobSeen)>);

impl Default for LiveJobs {
    fn default() -> Self {
        Self(ByNamespace::new("the Jobs"))
    }
}

impl LiveJobs {
    /// The Jobs of a task, from a list that is a few seconds old at the most. How they stand is not read: that they are there
    /// is what matters.
    pub(super) async fn of_task(&self, client: &Client, namespace: &str, task: &str, now: Timestamp) -> Result<Vec<JobSeen>, Error> {
        let listed = self.0.get(namespace, (now - FRESH, now), list(client, namespace)).await?;
        Ok(listed.iter().filter(|(of, _)| of == task).map(|(_, job)| job.clone()).collect())
    }
}

async fn list(client: &Client, namespace: &str) -> Result<Vec<(String, JobSeen)>, Error> {
    let api: Api<Job> = Api::namespaced(client.clone(), namespace);
    let mut params = ListParams::default().labels(&format!("{},{}", label::SELECTOR, label::TASK)).limit(PAGE);
    let no_pods: [Arc<Pod>; 0] = [];
    let mut jobs = Vec::new();
    loop {
        let page = api.list_metadata(&params).await.map_err(reading(format!("the Jobs of namespace {namespace}")))?;
        for job in page.items {
            let Some(task) = job.labels().get(label::TASK).cloned() else { continue };
            jobs.push((task, JobSeen::read(&Job { metadata: job.metadata, ..Job::default() }, &no_pods)));
        }
        match page.metadata.continue_.filter(|next| !next.is_empty()) {
            Some(next) => params = params.continue_token(&next),
            None => return Ok(jobs),
        }
    }
}
