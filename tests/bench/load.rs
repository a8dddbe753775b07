//! Creating many objects at once, and waiting until the cluster is done with them.

use std::{collections::HashSet, fmt::Debug, time::Duration};

use anyhow::{Context, bail};
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::batch::v1::Job;
use kube::{
    Api, Resource, ResourceExt,
    api::{PostParams, WatchEvent, WatchParams},
};
use nightshift::api::{AutomationRun, Phase};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::{Instant, timeout_at};

/// How many requests of ours are under way at a time.
pub const AT_ONCE: usize = 32;

/// Creates them all, as fast as the API server takes them.
pub async fn create_all<K>(api: &Api<K>, objects: impl IntoIterator<Item = K>) -> anyhow::Result<()>
where
    K: Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned,
{
    send_all(api, objects, &PostParams::default()).await
}

/// The same, but the API server keeps none of them: what that costs is what it costs to ask.
pub async fn ask_to_create_all<K>(api: &Api<K>, objects: impl IntoIterator<Item = K>) -> anyhow::Result<()>
where
    K: Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned,
{
    send_all(api, objects, &PostParams { dry_run: true, ..PostParams::default() }).await
}

async fn send_all<K>(api: &Api<K>, objects: impl IntoIterator<Item = K>, params: &PostParams) -> anyhow::Result<()>
where
    K: Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned,
{
    let create = async |object: K| {
        api.create(params, &object).await.with_context(|| format!("creating {} {}", K::kind(&()), object.name_any())).map(drop)
    };
    futures::stream::iter(objects).map(create).buffer_unordered(AT_ONCE).try_collect().await
}

/// Waits until so many objects that the field selector selects are `done`, each counted once.
pub async fn await_done<K>(api: &Api<K>, fields: &str, count: usize, limit: Duration, done: fn(&K) -> bool) -> anyhow::Result<Instant>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let end = Instant::now() + limit;
    let mut names: HashSet<String> = HashSet::with_capacity(count);
    let params = WatchParams::default().fields(fields).timeout(280);
    while Instant::now() < end {
        // From anywhere: what is there already comes first.
        let mut events = api.watch(&params, "0").await?.boxed();
        while let Some(event) = timeout_at(end, events.next()).await.unwrap_or(None) {
            match event {
                Ok(WatchEvent::Added(object) | WatchEvent::Modified(object)) if done(&object) => {
                    names.insert(object.name_any());
                }
                Ok(_) => {}
                Err(error) => {
                    println!("  a watch broke and starts again: {error}");
                    break;
                }
            }
            if names.len() >= count {
                return Ok(Instant::now());
            }
        }
    }
    bail!("{} of {count} {} are done after {limit:?}", names.len(), K::plural(&()))
}

/// Creates Jobs and waits until all are complete; returns how long that took, in seconds.
pub async fn jobs(api: &Api<Job>, jobs: Vec<Job>, limit: Duration) -> anyhow::Result<f64> {
    let complete = |job: &Job| {
        let conditions = job.status.iter().flat_map(|status| status.conditions.iter().flatten());
        conditions.into_iter().any(|condition| condition.type_ == "Complete" && condition.status == "True")
    };
    let (count, from) = (jobs.len(), Instant::now());
    let (created, done) = tokio::join!(create_all(api, jobs), await_done(api, "status.successful=1", count, limit, complete));
    created?;
    Ok((done? - from).as_secs_f64())
}

/// Creates runs and waits until all are recorded as finished; returns how long that took, in seconds.
pub async fn runs(api: &Api<AutomationRun>, runs: Vec<AutomationRun>, limit: Duration) -> anyhow::Result<f64> {
    let (count, from) = (runs.len(), Instant::now());
    let (created, done) = tokio::join!(create_all(api, runs), await_phase(api, Phase::Finished, count, limit));
    created?;
    Ok((done? - from).as_secs_f64())
}

/// Waits until so many runs are in that phase.
pub async fn await_phase(api: &Api<AutomationRun>, phase: Phase, count: usize, limit: Duration) -> anyhow::Result<Instant> {
    await_done(api, &format!("status.phase={phase:?}"), count, limit, |_| true).await
}
