//! A thousand runs at once, beside a thousand bare Jobs with the same pod.

use std::{collections::HashMap, time::Duration};

use anyhow::ensure;
use jiff::Timestamp;
use nightshift::api::{ConcurrencyPool, ConcurrencyPoolSpec};
use serde_json::{Value, json};

use super::{Bench, Usage, in_namespace, own, requests_per_run};
use crate::{
    audit::{OPERATOR, OfOperator, Request, seconds},
    figures::{Spread, number, time},
    load, namespace, objects,
};

pub const RUNS: usize = 1000;
const TASKS: usize = 100;
const LIMIT: Duration = Duration::from_secs(150);

pub async fn measure(bench: &mut Bench) -> anyhow::Result<()> {
    // Nothing of ours runs beside the bare Jobs.
    bench.operator.stop().await;
    let plain = bare(bench, "bench-bare", &bench.bare).await?;
    bench.operator.up().await?;
    let ours = thousand_runs(bench, "bench-runs").await?;
    bench.thousand = Some(ours.seconds);
    let rate = |seconds: f64| number(RUNS) / seconds;
    let compare = |bare: f64| {
        format!(
            "{:.2} ({:.1} runs/s in {:.1} s; bare {:.1}/s in {:.1} s)",
            bare / ours.seconds,
            rate(ours.seconds),
            ours.seconds,
            rate(bare),
            bare
        )
    };
    let report = &mut bench.report;
    report.row("1,000 runs at once, beside bare Jobs", "at least 0.80", compare(plain.seconds), Some(plain.seconds / ours.seconds >= 0.8));
    let cpu = ours.operator_ms / number(RUNS);
    report.row("operator CPU per run", "at most 3 ms", format!("{cpu:.2} ms"), Some(cpu <= 3.0));
    let of = OfOperator::read(&ours.requests);
    let each = |count: usize| number(count) / number(RUNS);
    let measured = format!("{:.2} (events {:.2}, reads {:.2})", each(of.writes), each(of.events), each(of.reads));
    report.row("API writes of the operator per manual run, 1,000 at once", "at most 4", measured, Some(each(of.writes) <= 4.0));
    let delay = StartDelay::read(&ours.requests);
    report.row("start delay of a run, 1,000 at once", "told", delay.describe(), None);
    let detail = json!({ "bare": plain.detail, "ours": ours.detail, "startDelay": delay.json() });
    report.detail("throughput", detail);
    Ok(())
}

pub struct Measured {
    pub seconds: f64,
    pub operator_ms: f64,
    pub requests: Vec<Request>,
    pub detail: Value,
}

async fn bare(bench: &Bench, namespace: &str, spec: &Value) -> anyhow::Result<Measured> {
    namespace::ensure(&bench.cluster.client, namespace).await?;
    let jobs = (0..RUNS).map(|n| objects::job(&format!("job-{n:04}"), spec)).collect::<anyhow::Result<_>>()?;
    let mark = bench.cluster.audit.mark().await?;
    let before = (bench.usage(), own().cpu());
    let seconds = load::jobs(&bench.api(namespace), jobs, LIMIT).await?;
    finish(bench, namespace, seconds, before, mark).await
}

/// A thousand runs at once, of a hundred tasks.
pub async fn thousand_runs(bench: &Bench, namespace: &str) -> anyhow::Result<Measured> {
    thousand_runs_through(bench, namespace, None).await
}

/// The same, each of which needs one of so many slots of a pool.
pub async fn thousand_runs_through(bench: &Bench, namespace: &str, slots: Option<i32>) -> anyhow::Result<Measured> {
    namespace::ensure(&bench.cluster.client, namespace).await?;
    let mut tasks = (0..TASKS).map(|n| objects::task(&format!("task-{n:03}"), objects::ENDS, None)).collect::<anyhow::Result<Vec<_>>>()?;
    if let Some(slots) = slots {
        let pools: kube::Api<ConcurrencyPool> = bench.api(namespace);
        load::create_all(&pools, [ConcurrencyPool::new("pool", ConcurrencyPoolSpec { slots, description: None })]).await?;
        for task in &mut tasks {
            task.spec.concurrency = Some(serde_json::from_value(json!({ "pools": [{ "poolRef": { "name": "pool" } }] }))?);
        }
    }
    bench.armed_tasks(namespace, tasks).await?;
    let runs = (0..RUNS).map(|n| objects::run(&format!("run-{n:04}"), &format!("task-{:03}", n % TASKS))).collect::<anyhow::Result<_>>()?;
    let mark = bench.cluster.audit.mark().await?;
    let before = (bench.usage(), own().cpu());
    let seconds = match load::runs(&bench.api(namespace), runs, LIMIT).await {
        Ok(seconds) => seconds,
        Err(error) => {
            // What stands in the way is to be read off the requests.
            let requests = in_namespace(bench.cluster.audit.since(mark)?, namespace);
            println!("{:#}", requests_per_run(&requests, RUNS));
            return Err(error);
        }
    };
    finish(bench, namespace, seconds, before, mark).await
}

/// Tells the time it took at once: should a later part fail, it is known all the same.
async fn finish(
    bench: &Bench,
    namespace: &str,
    took: f64,
    (before, own_before): (Usage, Duration),
    mark: crate::audit::Mark,
) -> anyhow::Result<Measured> {
    println!("       {namespace}: {RUNS} in {took:.1} s");
    let requests = in_namespace(bench.cluster.audit.settled(mark, Duration::from_secs(30)).await?, namespace);
    let used = bench.usage();
    let detail = json!({
        "seconds": took, "requests": requests_per_run(&requests, RUNS), "used": used.per_run_since(&before, RUNS),
        "benchCpuMs": own().cpu().saturating_sub(own_before).as_secs_f64() * 1000.0 / number(RUNS),
        "operatorPeakKib": bench.operator.process().map(|process| process.memory_kib("VmHWM")),
    });
    ensure!(!requests.is_empty(), "the audit log has no request in {namespace}");
    namespace::empty(&bench.cluster.client, namespace).await?;
    Ok(Measured { seconds: took, operator_ms: used.operator_ms_since(&before), requests, detail })
}

/// From the API server's answer to the creation of a run to its answer to the creation of the run's Job; and, to compare,
/// how long the API server takes for a creation.
pub struct StartDelay {
    delay: Spread,
    create_run: Spread,
    create_job: Spread,
}

impl StartDelay {
    pub fn read(requests: &[Request]) -> Self {
        let created =
            |resource: &'static str| requests.iter().filter(move |r| r.verb == "create" && r.resource() == resource && r.code() == 201);
        let jobs: HashMap<&str, Timestamp> = created("jobs").filter(|r| r.user() == OPERATOR).map(|r| (r.name(), r.answered)).collect();
        let delay = created("automationruns").filter_map(|r| Some(seconds(r.answered, *jobs.get(format!("{}-1", r.name()).as_str())?)));
        Self {
            delay: Spread::new(delay),
            create_run: Spread::new(created("automationruns").map(|r| seconds(r.received, r.answered))),
            create_job: Spread::new(created("jobs").map(|r| seconds(r.received, r.answered))),
        }
    }

    pub fn describe(&self) -> String {
        let both = |spread: &Spread| format!("p50 {}, p99 {}", time(spread.median()), time(spread.p99()));
        format!(
            "{} (of {}; the API server's own time to create a run: {}; a Job: {})",
            both(&self.delay),
            self.delay.len(),
            both(&self.create_run),
            both(&self.create_job)
        )
    }

    pub fn json(&self) -> Value {
        json!({ "delay": self.delay.json(), "createRun": self.create_run.json(), "createJob": self.create_job.json() })
    }
}
