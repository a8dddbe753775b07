//! A thousand runs at once that have to pass through a pool of fifty slots.

use serde_json::json;

use super::{Bench, throughput};
use crate::{audit::OfOperator, figures::number};

const SLOTS: i32 = 50;

pub async fn measure(bench: &mut Bench) -> anyhow::Result<()> {
    bench.operator.up().await?;
    let through = throughput::thousand_runs_through(bench, "bench-pool", Some(SLOTS)).await?;
    let (runs, report) = (number(throughput::RUNS), &mut bench.report);
    let took = format!("{:.1} runs/s in {:.1} s", runs / through.seconds, through.seconds);
    report.row("1,000 runs through a pool of 50 slots", "told", took, None);
    let cpu = through.operator_ms / runs;
    report.row("operator CPU per run, through the pool", "at most 4.5 ms", format!("{cpu:.2} ms"), Some(cpu <= 4.5));
    let of = OfOperator::read(&through.requests);
    let each = |count: usize| number(count) / runs;
    let writes = format!("{:.2} (events {:.2}, reads {:.2})", each(of.writes), each(of.events), each(of.reads));
    report.row("API writes of the operator per run, through the pool", "at most 5", writes, Some(each(of.writes) <= 5.0));
    report.detail("pool", json!({ "through": through.detail }));
    Ok(())
}
