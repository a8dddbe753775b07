//! Memory with much of everything.

use std::time::Duration;

use nightshift::api::Phase;
use serde_json::json;

use super::Bench;
use crate::{figures::number, load, namespace, objects, seed};

const TASKS: usize = 1000;
const FINISHED: usize = 10_000;
const ACTIVE: usize = 1000;
const NAMESPACE: &str = "bench-active";

pub async fn measure(bench: &mut Bench) -> anyhow::Result<()> {
    bench.operator.stop().await;
    let client = bench.cluster.client.clone();
    seed::tasks(&client, TASKS).await?;
    seed::finished_runs(&client, TASKS, FINISHED, &bench.real).await?;
    namespace::ensure(&client, NAMESPACE).await?;
    let mark = bench.cluster.audit.mark().await?;
    // One process that sees the runs come, and one that starts with all of it there.
    let lived = bench.operator.up().await?;
    bench.cluster.audit.settled(mark, Duration::from_secs(60)).await?;
    let seeded = lived.memory_kib("VmHWM");
    let tasks = (0..20).map(|n| objects::task(&format!("task-{n:02}"), objects::HOLD, None)).collect::<anyhow::Result<_>>()?;
    bench.armed_tasks(NAMESPACE, tasks).await?;
    let runs = (0..ACTIVE).map(|n| objects::run(&format!("run-{n:04}"), &format!("task-{:02}", n % 20)));
    let runs = runs.collect::<anyhow::Result<Vec<_>>>()?;
    let api = bench.api(NAMESPACE);
    let (created, running) =
        tokio::join!(load::create_all(&api, runs), load::await_phase(&api, Phase::Running, ACTIVE, Duration::from_secs(150)));
    created?;
    running?;
    let mark = bench.cluster.audit.mark().await?;
    bench.cluster.audit.settled(mark, Duration::from_secs(20)).await?;
    let (peak_lived, rests) = (lived.memory_kib("VmHWM"), lived.memory_kib("VmRSS"));
    bench.operator.stop().await;
    let restarted = bench.operator.up().await?;
    bench.cluster.audit.settled(mark, Duration::from_secs(20)).await?;
    let peak_restarted = restarted.memory_kib("VmHWM");
    let mib = |kib: u64| number(usize::try_from(kib).unwrap_or(0)) / 1024.0;
    let peak = mib(peak_lived.max(peak_restarted));
    let measured = format!(
        "{peak:.0} MiB (grown into it {:.0}, of which it keeps {:.0}; started with it {:.0})",
        mib(peak_lived),
        mib(rests),
        mib(peak_restarted)
    );
    bench.report.row("peak memory: 1,000 tasks, 10,000 finished runs, 1,000 active", "at most 64 MiB", measured, Some(peak <= 64.0));
    let detail = json!({
        "withFinishedKib": seeded, "peakGrownKib": peak_lived, "restsKib": rests, "peakRestartedKib": peak_restarted,
        "restsRestartedKib": restarted.memory_kib("VmRSS"),
    });
    bench.report.detail("active", detail);
    namespace::empty(&client, NAMESPACE).await
}
