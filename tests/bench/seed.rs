//! Tasks and finished runs in numbers, written straight to the API server.

use anyhow::{Context, ensure};
use futures::{StreamExt, TryStreamExt};
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, PostParams},
};
use nightshift::api::{AutomationRun, AutomationTask};

use crate::{load, namespace, objects};

/// Where they live.
pub const HISTORY: &str = "bench-history";

/// Makes tasks whose schedule is a year away, until there are so many.
pub async fn tasks(client: &Client, count: usize) -> anyhow::Result<()> {
    namespace::ensure(client, HISTORY).await?;
    let api: Api<AutomationTask> = Api::namespaced(client.clone(), HISTORY);
    let there = api.list_metadata(&ListParams::default()).await?.items.len();
    let missing = (there..count).map(|n| objects::task(&format!("task-{n:05}"), objects::ENDS, Some(objects::YEARLY)));
    load::create_all(&api, missing.collect::<anyhow::Result<Vec<_>>>()?).await
}

/// Makes finished runs of the first `of_tasks` tasks, copies of `real`, until there are so many. The operator must be
/// down: it would run them before their status is written.
pub async fn finished_runs(client: &Client, of_tasks: usize, count: usize, real: &AutomationRun) -> anyhow::Result<()> {
    let tasks: Api<AutomationTask> = Api::namespaced(client.clone(), HISTORY);
    let mut tasks = tasks.list(&ListParams::default()).await?.items;
    tasks.sort_by_key(ResourceExt::name_any);
    tasks.truncate(of_tasks);
    ensure!(!tasks.is_empty(), "there are no tasks");
    let runs: Api<AutomationRun> = Api::namespaced(client.clone(), HISTORY);
    let there = runs.list_metadata(&ListParams::default()).await?.items.len();
    let create = async |n: usize| {
        let task = &tasks[n % tasks.len()];
        let name = format!("{}-{n:06}", task.name_any());
        let run = objects::finished(&name, task, real);
        let mut created = runs.create(&PostParams::default(), &run).await.with_context(|| format!("creating run {name}"))?;
        // A replacement costs the API server half of what a patch does.
        created.status = run.status;
        runs.replace_status(&name, &PostParams::default(), &created).await.with_context(|| format!("finishing run {name}"))?;
        anyhow::Ok(())
    };
    futures::stream::iter(there..count).map(create).buffer_unordered(load::AT_ONCE).try_collect().await
}
