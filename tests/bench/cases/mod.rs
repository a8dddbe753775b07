//! What is measured, in the order in which each case finds what it needs.

mod active;
mod backlog;
mod idle;
mod pool;
mod restart;
mod schedule;
mod throughput;
mod workflow;
mod writes;

use std::time::Duration;

use anyhow::Context;
use futures::{FutureExt, future::BoxFuture};
use k8s_openapi::api::batch::v1::Job;
use kube::Api;
use nightshift::api::{AutomationRun, AutomationTask};
use serde_json::{Value, json};

use crate::{
    audit::{self, OfOperator, Request},
    cluster::Cluster,
    load, machine, namespace, objects,
    operator::Operator,
    process::Process,
    report::Report,
};

/// One case.
pub struct Case {
    pub name: &'static str,
    pub what: &'static str,
    run: for<'a> fn(&'a mut Bench) -> BoxFuture<'a, anyhow::Result<()>>,
}

/// All cases.
pub const ALL: &[Case] = &[
    Case {
        name: "writes",
        what: "runs one after another: API writes each, start delay on an idle cluster",
        run: |b| writes::measure(b).boxed(),
    },
    Case {
        name: "throughput",
        what: "1,000 runs at once beside 1,000 bare Jobs; operator CPU, start delay",
        run: |b| throughput::measure(b).boxed(),
    },
    Case {
        name: "pool",
        what: "1,000 runs at once through a pool of 50 slots: writes and operator CPU each",
        run: |b| pool::measure(b).boxed(),
    },
    Case {
        name: "workflow",
        what: "100 workflows of 10 steps, one of 1,000 items, beside 1,000 single runs; from a step's end to the next one's Job",
        run: |b| workflow::measure(b).boxed(),
    },
    Case {
        name: "schedule",
        what: "300 tasks due in one minute, on either clock, beside 300 plain CronJobs; writes of a scheduled run",
        run: |b| schedule::measure(b).boxed(),
    },
    Case {
        name: "active",
        what: "peak memory with 1,000 tasks, 10,000 finished runs and 1,000 active ones",
        run: |b| active::measure(b).boxed(),
    },
    Case {
        name: "restart",
        what: "restart with 2,000 tasks and 10,000 runs until a new run has its Job",
        run: |b| restart::measure(b).boxed(),
    },
    Case { name: "idle", what: "2,000 idle tasks for a minute: writes and CPU", run: |b| idle::measure(b).boxed() },
    Case { name: "backlog", what: "1,000 runs at once with 20,000 finished runs already there", run: |b| backlog::measure(b).boxed() },
];

impl Case {
    /// Measures it, within a bound: a case that hangs must not keep the others from being measured.
    pub async fn run(&self, bench: &mut Bench) -> anyhow::Result<()> {
        let limit = Duration::from_secs(420);
        tokio::time::timeout(limit, (self.run)(bench)).await.with_context(|| format!("it took longer than {limit:?}"))?
    }
}

/// What the cases share.
pub struct Bench {
    pub cluster: Cluster,
    pub operator: Operator,
    pub report: Report,
    /// The spec of a bare Job with the pod of a trivial task.
    pub bare: Value,
    /// A finished run as the operator records it.
    pub real: AutomationRun,
    /// How long 1,000 runs at once took with nothing else there, once that has been measured.
    pub thousand: Option<f64>,
}

impl Bench {
    /// Prepares the cluster and runs one task, which shows that all is well and what its Job and record look like.
    pub async fn new(cluster: Cluster) -> anyhow::Result<Self> {
        cluster.prepare().await?;
        let mut operator = Operator::new(&cluster);
        operator.up().await?;
        let namespace = "bench-warm-up";
        namespace::ensure(&cluster.client, namespace).await?;
        let client = || cluster.client.clone();
        let tasks: Api<AutomationTask> = Api::namespaced(client(), namespace);
        let runs: Api<AutomationRun> = Api::namespaced(client(), namespace);
        let jobs: Api<Job> = Api::namespaced(client(), namespace);
        load::create_all(&tasks, [objects::task("warm-up", objects::ENDS, None)?]).await?;
        load::runs(&runs, vec![objects::run("warm-up", "warm-up")?], Duration::from_secs(60)).await.context("the first run")?;
        let bare = objects::bare(&jobs.get("warm-up-1").await?)?;
        let real = runs.get("warm-up").await?;
        namespace::empty(&cluster.client, namespace).await?;
        let report = Report::new(machine::describe(&cluster.versions));
        Ok(Self { cluster, operator, report, bare, real, thousand: None })
    }

    pub fn api<K>(&self, namespace: &str) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
    {
        Api::namespaced(self.cluster.client.clone(), namespace)
    }

    /// What has been used so far: by the operator, and by the cluster's processes.
    pub fn usage(&self) -> Usage {
        let mut processes = self.cluster.processes();
        processes.extend(self.operator.process().map(|process| ("operator".to_owned(), process)));
        Usage { cpu: processes.iter().map(|(name, process)| (name.clone(), process.cpu())).collect(), counters: self.operator.counters() }
    }

    /// Creates tasks and waits until the operator has armed them all.
    pub async fn armed_tasks(&self, namespace: &str, tasks: Vec<AutomationTask>) -> anyhow::Result<()> {
        let api: Api<AutomationTask> = self.api(namespace);
        let count = tasks.len();
        let armed =
            |task: &AutomationTask| task.status.as_ref().is_some_and(|status| status.observed_generation == task.metadata.generation);
        load::create_all(&api, tasks).await?;
        load::await_done(&api, "", count, Duration::from_secs(120), armed).await.map(drop)
    }
}

/// CPU and counters at one time.
pub struct Usage {
    cpu: Vec<(String, Duration)>,
    counters: Vec<(String, f64)>,
}

impl Usage {
    /// Milliseconds of CPU of the operator since `before`.
    pub fn operator_ms_since(&self, before: &Usage) -> f64 {
        self.ms_since(before, "operator")
    }

    fn ms_since(&self, before: &Usage, name: &str) -> f64 {
        let of = |usage: &Usage| usage.cpu.iter().find(|(known, _)| known == name).map_or(Duration::ZERO, |(_, cpu)| *cpu);
        of(self).saturating_sub(of(before)).as_secs_f64() * 1000.0
    }

    /// Everything since `before`, divided by the number of runs.
    pub fn per_run_since(&self, before: &Usage, runs: usize) -> Value {
        let runs = crate::figures::number(runs);
        let cpu = self.cpu.iter().map(|(name, _)| (name.clone(), json!(self.ms_since(before, name) / runs)));
        let was = |name: &str| before.counters.iter().find(|(known, _)| known == name).map_or(0.0, |(_, value)| *value);
        let counters = self.counters.iter().map(|(name, value)| (name.clone(), json!((value - was(name)) / runs)));
        json!({ "cpuMs": cpu.collect::<serde_json::Map<_, _>>(), "counters": counters.collect::<serde_json::Map<_, _>>() })
    }
}

/// The requests of a measurement in one namespace; and those of the operator, counted for each run.
fn in_namespace(requests: Vec<Request>, namespace: &str) -> Vec<Request> {
    requests.into_iter().filter(|request| request.namespace() == namespace).collect()
}

fn requests_per_run(requests: &[Request], runs: usize) -> Value {
    let runs = crate::figures::number(runs);
    let of = OfOperator::read(requests);
    let each = |count: usize| crate::figures::number(count) / runs;
    let kinds = audit::by_kind(requests).into_iter().map(|(kind, count)| (kind, json!(each(count))));
    json!({
        "operatorWrites": each(of.writes), "operatorEvents": each(of.events), "operatorReads": each(of.reads),
        "allByKind": kinds.collect::<serde_json::Map<_, _>>(),
    })
}

/// The current process' own part is told too: where the bench itself takes much CPU, the figures are worth less.
pub fn own() -> Process {
    Process::new(std::process::id())
}
