//! What steps cost beside runs that somebody creates: a hundred workflows of ten steps, one of a thousand items, and the time
//! from one step's end to the next one's Job.

use std::{collections::HashMap, time::Duration};

use anyhow::{Context, ensure};
use jiff::Timestamp;
use nightshift::api::{AutomationRun, Outcome, Workflow};
use serde_json::{Value, json};

use super::{Bench, in_namespace, own, requests_per_run, throughput};
use crate::{
    audit::{OPERATOR, OfOperator, Request, seconds},
    figures::{Spread, number, time},
    load, namespace, objects,
};

const NAMESPACE: &str = "bench-steps";
const LIMIT: Duration = Duration::from_secs(150);

/// What runs cost: seconds for all, and for each one writes and milliseconds of the operator.
struct Cost {
    seconds: f64,
    writes: f64,
    cpu_ms: f64,
    requests: Vec<Request>,
}

impl Cost {
    fn beside(&self, single: &Cost) -> String {
        format!(
            "{:.2} in time ({:.1} s beside {:.1} s), {:.2} in CPU ({:.2} ms beside {:.2} ms), {:.2} in writes ({:.2} beside {:.2})",
            self.seconds / single.seconds,
            self.seconds,
            single.seconds,
            self.cpu_ms / single.cpu_ms,
            self.cpu_ms,
            single.cpu_ms,
            self.writes / single.writes,
            self.writes,
            single.writes
        )
    }

    fn within(&self, single: &Cost) -> bool {
        self.seconds <= 1.3 * single.seconds && self.cpu_ms <= 1.3 * single.cpu_ms && self.writes <= 1.3 * single.writes
    }
}

pub async fn measure(bench: &mut Bench) -> anyhow::Result<()> {
    bench.operator.up().await?;
    let ours = throughput::thousand_runs(bench, "bench-singles").await?;
    let writes = writes(&ours.requests) / number(throughput::RUNS);
    namespace::ensure(&bench.cluster.client, NAMESPACE).await?;
    // The run of a step is created by the operator, and another by somebody else: as of the writes, whoever creates it counts.
    let creation_ms = creation_ms(bench).await?;
    let operator_ms = ours.operator_ms / number(throughput::RUNS);
    let told = format!("{creation_ms:.2} ms of a client's CPU, beside {operator_ms:.2} ms of the operator's for all that follows");
    bench.report.row("creating a run", "told", told, None);
    let single = Cost { seconds: ours.seconds, writes, cpu_ms: operator_ms + creation_ms, requests: Vec::new() };
    bench.armed_tasks(NAMESPACE, vec![objects::task("t", objects::ENDS, None)?]).await?;
    let step = |name: String, on: &[&str]| {
        let needs: Vec<Value> = on.iter().map(|step| json!({ "step": step })).collect();
        json!({ "name": name, "taskRef": { "name": "t" }, "dependsOn": needs })
    };
    let middle: Vec<String> = (1..9).map(|n| format!("s{n}")).collect();
    let fan = std::iter::once(step("first".to_owned(), &[]))
        .chain(middle.iter().map(|name| step(name.clone(), &["first"])))
        .chain([step("last".to_owned(), &middle.iter().map(String::as_str).collect::<Vec<_>>())]);
    let chain = (0..5).map(|n| step(format!("s{n}"), if n == 0 { vec![] } else { vec![["s0", "s1", "s2", "s3"][n - 1]] }.as_slice()));
    let each =
        json!({ "name": "each", "taskRef": { "name": "t" }, "forEach": { "items": (0..1000).collect::<Vec<_>>(), "maxItems": 1000 } });
    let wide = (0..200).map(|n| {
        let before = format!("s{}", n - n.min(1));
        step(format!("s{n}"), if n % 5 == 0 { vec![] } else { vec![before.as_str()] }.as_slice())
    });
    let wide: Vec<Value> = wide.collect();
    for (name, steps) in [("fan", fan.collect::<Vec<_>>()), ("chain", chain.collect()), ("items", vec![each]), ("wide", wide)] {
        accepted(bench, name, &steps).await?;
    }

    let of_chain = run(bench, "chain", 10, 50).await?;
    let gaps = gaps(bench, &of_chain.requests).await?;
    let told = format!("p50 {}, p99 {} (of {})", time(gaps.median()), time(gaps.p99()), gaps.len());
    bench.report.row("from a step's recorded end to the next step's Job, 10 workflows at once", "told", told, None);
    let of_fan = run(bench, "fan", 100, 1000).await?;
    let target = "at most 1.3 of 1,000 single runs";
    bench.report.row("100 workflows of 10 steps (1, then 8, then 1)", target, of_fan.beside(&single), Some(of_fan.within(&single)));
    let of_items = run(bench, "items", 1, 1000).await?;
    bench.report.row("one workflow of 1,000 items", target, of_items.beside(&single), Some(of_items.within(&single)));
    let of_wide = run(bench, "wide", 1, 200).await?;
    bench.report.row("one workflow of 200 steps, 40 chains of 5", "told", format!("{:.1} s", of_wide.seconds), None);
    let runs: kube::Api<AutomationRun> = bench.api(NAMESPACE);
    for (name, what) in [("items-000", "status of a run of 1,000 items"), ("wide-000", "status of a run of 200 steps")] {
        let run = runs.get(name).await?;
        ensure!(run.status.as_ref().is_some_and(|status| status.outcome == Some(Outcome::Succeeded)), "{name} has not Succeeded");
        let bytes = serde_json::to_string(&run.status)?.len();
        bench.report.row(what, "at most 200 kB", format!("{bytes} bytes"), Some(bytes <= 200_000));
    }
    let requests = |cost: &Cost| requests_per_run(&cost.requests, 1000);
    let detail = json!({ "fan": requests(&of_fan), "items": requests(&of_items), "chain": requests_per_run(&of_chain.requests, 50), "gaps": gaps.json() });
    bench.report.detail("workflow", detail);
    namespace::empty(&bench.cluster.client, NAMESPACE).await
}

/// What it costs to create a run, in milliseconds of the CPU of whoever does: asked of the API server a thousand times by this
/// process, with the same client library.
async fn creation_ms(bench: &Bench) -> anyhow::Result<f64> {
    let runs: kube::Api<AutomationRun> = bench.api(NAMESPACE);
    let all = (0..throughput::RUNS).map(|n| objects::run(&format!("run-{n}"), "t")).collect::<Result<Vec<_>, _>>()?;
    let before = own().cpu();
    load::ask_to_create_all(&runs, all).await?;
    Ok(own().cpu().saturating_sub(before).as_secs_f64() * 1000.0 / number(throughput::RUNS))
}

/// Writes of the operator, and the creation of runs by whomever: a step is created by the operator, another run by somebody.
fn writes(requests: &[Request]) -> f64 {
    let by_others = |r: &&Request| r.verb == "create" && r.resource() == "automationruns" && r.user() != OPERATOR;
    number(OfOperator::read(requests).writes + requests.iter().filter(by_others).count())
}

/// Creates a workflow and waits until it is accepted.
async fn accepted(bench: &Bench, name: &str, steps: &[Value]) -> anyhow::Result<()> {
    let object = json!({
        "apiVersion": "nightshift.dev/v1alpha1", "kind": "Workflow", "metadata": { "name": name },
        "spec": { "owner": { "team": "bench" }, "steps": steps, "history": { "succeeded": 50, "failed": 50 } },
    });
    let api: kube::Api<Workflow> = bench.api(NAMESPACE);
    let workflow: Workflow = serde_json::from_value(object).context("a workflow")?;
    load::create_all(&api, [workflow]).await?;
    let kept = |workflow: &Workflow| workflow.status.as_ref().is_some_and(|status| status.revision.is_some());
    load::await_done(&api, &format!("metadata.name={name}"), 1, Duration::from_secs(30), kept).await.map(drop)
}

/// So many runs of a workflow at once, which have so many steps together.
async fn run(bench: &Bench, workflow: &str, count: usize, steps: usize) -> anyhow::Result<Cost> {
    let runs: kube::Api<AutomationRun> = bench.api(NAMESPACE);
    let run = |n: usize| {
        serde_json::from_value::<AutomationRun>(json!({
            "apiVersion": "nightshift.dev/v1alpha1", "kind": "AutomationRun",
            "metadata": { "name": format!("{workflow}-{n:03}") }, "spec": { "workflowRef": { "name": workflow } },
        }))
    };
    let all = (0..count).map(run).collect::<Result<Vec<_>, _>>()?;
    let mark = bench.cluster.audit.mark().await?;
    let before = bench.usage();
    let from = tokio::time::Instant::now();
    let fields = format!("spec.workflowRef.name={workflow},status.phase=Finished");
    let (created, done) = tokio::join!(load::create_all(&runs, all), load::await_done(&runs, &fields, count, LIMIT, |_| true));
    created?;
    let seconds = (done? - from).as_secs_f64();
    println!("       {workflow}: {steps} steps in {seconds:.1} s");
    let requests = in_namespace(bench.cluster.audit.settled(mark, Duration::from_secs(30)).await?, NAMESPACE);
    ensure!(!requests.is_empty(), "the audit log has no request in {NAMESPACE}");
    let writes = writes(&requests) / number(steps);
    Ok(Cost { seconds, writes, cpu_ms: bench.usage().operator_ms_since(&before) / number(steps), requests })
}

/// From the API server's answer to a step's last status to its answer to the creation of the next step's Job.
async fn gaps(bench: &Bench, requests: &[Request]) -> anyhow::Result<Spread> {
    let runs: kube::Api<AutomationRun> = bench.api(NAMESPACE);
    let mut ended: HashMap<&str, Timestamp> = HashMap::new();
    let mut begun: HashMap<&str, Timestamp> = HashMap::new();
    for request in requests.iter().filter(|request| request.user() == OPERATOR) {
        match (request.verb.as_str(), request.resource().as_str()) {
            ("update", "automationruns/status") => {
                let last = ended.entry(request.name()).or_insert(request.answered);
                *last = (*last).max(request.answered);
            }
            ("create", "jobs") => drop(begun.insert(request.name(), request.answered)),
            _ => {}
        }
    }
    let steps: HashMap<(String, String), String> = runs
        .list(&kube::api::ListParams::default())
        .await?
        .items
        .into_iter()
        .filter_map(|run| run.spec.step.map(|of| ((of.workflow_run, of.name), run.metadata.name.unwrap_or_default())))
        .collect();
    let next = |name: &str| name.strip_prefix('s').and_then(|n| n.parse::<u32>().ok()).map(|n| format!("s{}", n + 1));
    let of = steps.iter().filter_map(|((run, step), name)| {
        let next = steps.get(&(run.clone(), next(step)?))?;
        Some(seconds(*ended.get(name.as_str())?, *begun.get(format!("{next}-1").as_str())?))
    });
    let gaps = Spread::new(of);
    ensure!(gaps.len() > 0, "no step followed another");
    Ok(gaps)
}
