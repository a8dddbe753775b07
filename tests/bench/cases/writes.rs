//! Runs on demand, one at a time and each of a task of its own: nothing is coalesced, so this is the dearest case.

use std::time::Duration;

use serde_json::json;
use tokio::time::{MissedTickBehavior, interval};

use super::{Bench, in_namespace, requests_per_run};
use crate::{
    audit::OfOperator,
    cases::throughput::StartDelay,
    figures::{number, time},
    load, namespace, objects,
};

const RUNS: usize = 50;
const NAMESPACE: &str = "bench-writes";

pub async fn measure(bench: &mut Bench) -> anyhow::Result<()> {
    bench.operator.up().await?;
    namespace::ensure(&bench.cluster.client, NAMESPACE).await?;
    let name = |n: usize| format!("one-{n:03}");
    bench.armed_tasks(NAMESPACE, (0..RUNS).map(|n| objects::task(&name(n), objects::ENDS, None)).collect::<anyhow::Result<_>>()?).await?;
    let mark = bench.cluster.audit.mark().await?;
    let before = bench.usage();
    let runs = bench.api(NAMESPACE);
    let mut tick = interval(Duration::from_millis(150));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for n in 0..RUNS {
        tick.tick().await;
        load::create_all(&runs, [objects::run(&name(n), &name(n))?]).await?;
    }
    load::await_phase(&runs, nightshift::api::Phase::Finished, RUNS, Duration::from_secs(60)).await?;
    let requests = in_namespace(bench.cluster.audit.settled(mark, Duration::from_secs(20)).await?, NAMESPACE);
    let used = bench.usage();
    let of = OfOperator::read(&requests);
    let each = |count: usize| number(count) / number(RUNS);
    let measured = format!("{:.2} (events {:.2}, reads {:.2})", each(of.writes), each(of.events), each(of.reads));
    bench.report.row("API writes of the operator per manual run", "at most 4", measured, Some(each(of.writes) <= 4.0));
    let delay = StartDelay::read(&requests);
    bench.report.row("start delay of a run, idle cluster", "told", delay.describe(), None);
    let cpu = used.operator_ms_since(&before) / number(RUNS);
    bench.report.row("operator CPU per run, one at a time", "told", time(cpu / 1000.0), None);
    let detail =
        json!({ "requests": requests_per_run(&requests, RUNS), "used": used.per_run_since(&before, RUNS), "startDelay": delay.json() });
    bench.report.detail("writes", detail);
    namespace::empty(&bench.cluster.client, NAMESPACE).await
}
