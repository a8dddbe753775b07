//! A minute in which nothing is due.

use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;

use super::Bench;
use crate::{
    audit::{self, OPERATOR},
    seed,
};

const TASKS: usize = 2000;
const MINUTE: Duration = Duration::from_secs(60);

pub async fn measure(bench: &mut Bench) -> anyhow::Result<()> {
    let client = bench.cluster.client.clone();
    let mark = bench.cluster.audit.mark().await?;
    let process = bench.operator.up().await?;
    seed::tasks(&client, TASKS).await?;
    bench.cluster.audit.settled(mark, Duration::from_secs(90)).await?;
    let mark = bench.cluster.audit.mark().await?;
    let before = (bench.usage(), process.cpu());
    sleep(MINUTE).await;
    let cpu = process.cpu().saturating_sub(before.1).as_secs_f64() / MINUTE.as_secs_f64() * 100.0;
    let requests: Vec<_> = bench.cluster.audit.since(mark)?.into_iter().filter(|r| r.user() == OPERATOR).collect();
    let writes = requests.iter().filter(|r| !r.is_read()).count();
    let measured = format!("{writes} writes, {} reads; {cpu:.2} % of a core", requests.len() - writes);
    bench.report.row("2,000 idle tasks, one minute", "no writes; under 1 % of a core", measured, Some(writes == 0 && cpu < 1.0));
    let detail =
        json!({ "requests": audit::by_kind(&requests), "cpuPercent": cpu, "usedPerTask": bench.usage().per_run_since(&before.0, TASKS) });
    bench.report.detail("idle", detail);
    Ok(())
}
