//! Caps: runs that wait for room, and never one too many.

mod change;
mod crowd;
mod free;
mod never;

use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt;
use nightshift::{
    admission::marked,
    api::{AutomationRun, ConcurrencyPool, ConcurrencyPoolStatus, Phase},
};
use serde_json::json;

use crate::{
    support::{Scene, await_condition, status},
    with_operator::place::Place,
};

/// Goes on until it is told to end.
use crate::operator_clock::overlap::UNTIL_TOLD;

/// Creates a pool.
async fn pool(place: &Place, name: &str, slots: i32) {
    let pool = json!({
        "apiVersion": "nightshift.dev/v1alpha1", "kind": "ConcurrencyPool", "metadata": { "name": name }, "spec": { "slots": slots },
    });
    place.given(&pool.to_string()).await;
}

async fn resize(place: &Place, name: &str, slots: i32) {
    place.change::<ConcurrencyPool>(name, json!({ "spec": { "slots": slots } })).await;
}

/// The pool's status once it holds.
#[track_caller]
fn pool_seen(
    place: &Place,
    name: &str,
    what: &str,
    holds: impl Fn(&ConcurrencyPoolStatus) -> bool + Send + Sync,
) -> impl Future<Output = ConcurrencyPoolStatus> {
    let holds = move |pool: Option<&ConcurrencyPool>| pool.and_then(|pool| pool.status.as_ref()).is_some_and(&holds);
    let seen = await_condition(&place.api::<ConcurrencyPool>(), name, what, Duration::from_secs(60), holds);
    async { seen.await.and_then(|pool| pool.status).expect("it holds") }
}

fn is_finished(run: &AutomationRun) -> bool {
    status(run).phase == Some(Phase::Finished)
}

/// Names of the runs that have a Job and are not finished.
async fn going_on(scene: &Scene) -> Vec<String> {
    let jobs = scene.ours::<Job>().await;
    let has_job = |run: &AutomationRun| {
        jobs.iter()
            .any(|job| marked(job).is_some() && job.owner_references().iter().any(|owner| Some(&owner.uid) == run.metadata.uid.as_ref()))
    };
    scene.runs().await.iter().filter(|run| !is_finished(run) && has_job(run)).map(ResourceExt::name_any).collect()
}
