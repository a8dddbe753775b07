//! A namespace for one measurement, made empty and left empty.

use std::time::Duration;

use anyhow::{Context, bail};
use k8s_openapi::api::{
    batch::v1::{CronJob, Job},
    core::v1::{Namespace, Pod},
};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, PostParams},
    core::NamespaceResourceScope,
};
use nightshift::api::{AutomationRun, AutomationTask, ConcurrencyPool, Workflow};
use serde_json::json;
use tokio::time::{Instant, sleep};

/// Makes it where it is not there, with the service account that pods need.
pub async fn ensure(client: &Client, name: &str) -> anyhow::Result<()> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    if namespaces.get_opt(name).await?.is_some() {
        return Ok(());
    }
    namespaces.create(&PostParams::default(), &serde_json::from_value(json!({ "metadata": { "name": name } }))?).await?;
    let accounts: Api<k8s_openapi::api::core::v1::ServiceAccount> = Api::namespaced(client.clone(), name);
    let end = Instant::now() + Duration::from_secs(30);
    while accounts.get_opt("default").await?.is_none() {
        if Instant::now() > end {
            bail!("namespace {name} has no service account after 30 s");
        }
        sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// Deletes all that measurements leave, and waits until the pods are gone: the next one must find the cluster idle.
pub async fn empty(client: &Client, name: &str) -> anyhow::Result<()> {
    let by_owner = DeleteParams::background();
    delete_all::<CronJob>(client, name, &by_owner).await?;
    delete_all::<AutomationTask>(client, name, &by_owner).await?;
    delete_all::<Workflow>(client, name, &by_owner).await?;
    delete_all::<ConcurrencyPool>(client, name, &by_owner).await?;
    delete_all::<AutomationRun>(client, name, &by_owner).await?;
    delete_all::<Job>(client, name, &by_owner).await?;
    // At once: the garbage collector takes them one by one, and there is no container to wait for.
    delete_all::<Pod>(client, name, &DeleteParams::default().grace_period(0)).await?;
    let pods: Api<Pod> = Api::namespaced(client.clone(), name);
    let end = Instant::now() + Duration::from_secs(60);
    let one = ListParams::default().limit(1);
    while !pods.list_metadata(&one).await?.items.is_empty() {
        if Instant::now() > end {
            bail!("namespace {name} still has pods 60 s after its Jobs were deleted");
        }
        sleep(Duration::from_millis(200)).await;
    }
    // Controllers and garbage collector catch their breath.
    sleep(Duration::from_secs(1)).await;
    Ok(())
}

async fn delete_all<K>(client: &Client, namespace: &str, how: &DeleteParams) -> anyhow::Result<()>
where
    K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    let deleted = api.delete_collection(how, &ListParams::default()).await;
    deleted.with_context(|| format!("deleting all {} of {namespace}", K::plural(&()))).map(drop)
}
