//! A restart in the middle of things.

use std::time::Duration;

use anyhow::Context;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::Bench;
use crate::{
    audit::{OPERATOR, seconds},
    figures::time,
    load, namespace, objects, seed,
};

const TASKS: usize = 2000;
const RUNS: usize = 10_000;
const NAMESPACE: &str = "bench-restart";

pub async fn measure(bench: &mut Bench) -> anyhow::Result<()> {
    bench.operator.stop().await;
    let client = bench.cluster.client.clone();
    seed::tasks(&client, TASKS).await?;
    seed::finished_runs(&client, 1000, RUNS, &bench.real).await?;
    // Whatever the tasks and runs need is written before: a restart finds them settled.
    let mark = bench.cluster.audit.mark().await?;
    bench.operator.up().await?;
    namespace::ensure(&client, NAMESPACE).await?;
    bench.armed_tasks(NAMESPACE, vec![objects::task("first", objects::ENDS, None)?]).await?;
    bench.cluster.audit.settled(mark, Duration::from_secs(90)).await?;
    bench.operator.stop().await;

    let mark = bench.cluster.audit.mark().await?;
    let from = nightshift::clock::Clock::system().now();
    let process = bench.operator.spawn()?;
    load::create_all(&bench.api(NAMESPACE), [objects::run("first", "first")?]).await?;
    bench.operator.ready().await?;
    let ready = nightshift::clock::Clock::system().now();
    let end = Instant::now() + Duration::from_secs(60);
    let created = loop {
        let requests = bench.cluster.audit.since(mark)?;
        let job =
            requests.iter().find(|r| r.user() == OPERATOR && r.verb == "create" && r.resource() == "jobs" && r.namespace() == NAMESPACE);
        if let Some(job) = job {
            break job.answered;
        }
        (Instant::now() < end).then_some(()).context("the new run has no Job after 60 s")?;
        sleep(Duration::from_millis(300)).await;
    };
    let took = seconds(from, created);
    let cpu = process.cpu().as_secs_f64();
    let measured = format!("{} (caches filled after {})", time(took), time(seconds(from, ready)));
    bench.report.row("restart with 2,000 tasks and 10,000 runs, until a new run has its Job", "under 3 s", measured, Some(took < 3.0));
    // A restart that finds everything as it was has nothing to write.
    let requests = bench.cluster.audit.settled(mark, Duration::from_secs(30)).await?;
    let others: Vec<_> = requests.iter().filter(|r| r.user() == OPERATOR && !r.is_read() && r.namespace() == seed::HISTORY).collect();
    let detail =
        json!({ "seconds": took, "readySeconds": seconds(from, ready), "cpuSeconds": cpu, "writesToWhatWasSettled": others.len() });
    bench.report.detail("restart", detail);
    namespace::empty(&client, NAMESPACE).await
}
