//! The thousand runs again, where there is a long past.

use std::time::Duration;

use serde_json::json;

use super::{Bench, throughput};
use crate::seed;

const TASKS: usize = 1000;
const FINISHED: usize = 20_000;

pub async fn measure(bench: &mut Bench) -> anyhow::Result<()> {
    let first = match bench.thousand {
        Some(seconds) => seconds,
        None => {
            bench.operator.up().await?;
            throughput::thousand_runs(bench, "bench-runs").await?.seconds
        }
    };
    bench.operator.stop().await;
    let client = bench.cluster.client.clone();
    seed::tasks(&client, TASKS).await?;
    seed::finished_runs(&client, TASKS, FINISHED, &bench.real).await?;
    let mark = bench.cluster.audit.mark().await?;
    bench.operator.up().await?;
    bench.cluster.audit.settled(mark, Duration::from_secs(60)).await?;
    let again = throughput::thousand_runs(bench, "bench-again").await?;
    let measured = format!("{:.2} ({:.1} s beside {first:.1} s)", again.seconds / first, again.seconds);
    bench.report.row("the same with 20,000 finished runs there", "at most 1.15", measured, Some(again.seconds <= first * 1.15));
    bench.report.detail("backlog", json!({ "first": first, "again": again.detail }));
    Ok(())
}
