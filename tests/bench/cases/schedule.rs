//! Three hundred tasks due in the same minute, on Kubernetes' clock and in the next one on the operator's, beside three
//! hundred plain CronJobs in the minute before.

use std::time::Duration;

use anyhow::ensure;
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{Bench, in_namespace, requests_per_run};
use crate::{
    audit::{OfOperator, Request, seconds},
    figures::{Spread, number, time},
    load, namespace, objects,
};

const TASKS: usize = 300;
const PLAIN: &str = "bench-cron-jobs";
const OURS: &str = "bench-schedule";
const CLOCKED: &str = "bench-clock";

pub async fn measure(bench: &mut Bench) -> anyhow::Result<()> {
    bench.operator.up().await?;
    for namespace in [PLAIN, OURS, CLOCKED] {
        namespace::ensure(&bench.cluster.client, namespace).await?;
    }
    // One set a minute. Time enough to arm them all before the first.
    let first = minute_after(now() + SignedDuration::from_secs(15));
    let second = first + SignedDuration::from_mins(1);
    let third = second + SignedDuration::from_mins(1);
    let name = |n: usize| format!("due-{n:03}");
    let adopted = (0..TASKS).map(|n| objects::task(&name(n), objects::ENDS, Some(&daily(second)))).collect::<anyhow::Result<_>>()?;
    let clocked = (0..TASKS).map(|n| objects::clocked_task(&name(n), &daily(third))).collect::<anyhow::Result<_>>()?;
    tokio::try_join!(bench.armed_tasks(OURS, adopted), bench.armed_tasks(CLOCKED, clocked))?;
    bench.operator.stop().await;

    let cron_jobs = (0..TASKS).map(|n| objects::cron_job(&name(n), &daily(first), &bench.bare));
    load::create_all(&bench.api(PLAIN), cron_jobs.collect::<anyhow::Result<Vec<_>>>()?).await?;
    ensure!(now() < first, "the machine is too slow to create {TASKS} tasks and CronJobs before they are due");
    let mark = bench.cluster.audit.mark().await?;
    until(first + SignedDuration::from_secs(30)).await;
    let plain = pods(&in_namespace(bench.cluster.audit.since(mark)?, PLAIN), first);
    namespace::empty(&bench.cluster.client, PLAIN).await?;
    bench.operator.up().await?;

    let adopted = due(bench, OURS, second).await?;
    bench.row_of("300 due in one minute, until the pod exists", Some("at most 1.10"), &adopted.pods, &plain);
    let writes = adopted.each(|of| of.writes);
    bench.report.row("API writes of the operator per adopted run", "at most 3", adopted.requests(), Some(writes <= 3.0));
    bench.report.row("operator CPU per adopted run", "told", time(adopted.cpu_ms / 1000.0), None);

    let clocked = due(bench, CLOCKED, third).await?;
    bench.row_of("300 due in one minute on the operator's clock, until the pod exists", None, &clocked.pods, &plain);
    bench.report.row("API writes of the operator per run on its clock", "told", clocked.requests(), None);
    bench.report.detail("schedule", json!({ "plain": plain.json(), "adopted": adopted.detail, "clocked": clocked.detail }));
    for namespace in [OURS, CLOCKED] {
        namespace::empty(&bench.cluster.client, namespace).await?;
    }
    Ok(())
}

/// What one set came to.
struct Due {
    pods: Spread,
    of: OfOperator,
    cpu_ms: f64,
    detail: Value,
}

/// Waits for the slot and until every run of it is recorded.
async fn due(bench: &Bench, namespace: &str, slot: Timestamp) -> anyhow::Result<Due> {
    let mark = bench.cluster.audit.mark().await?;
    ensure!(now() < slot, "it took longer than a minute to be ready for the slot of {namespace}");
    until(slot - SignedDuration::from_secs(1)).await;
    let before = bench.usage();
    until(slot).await;
    let finished = load::await_phase(&bench.api(namespace), nightshift::api::Phase::Finished, TASKS, Duration::from_secs(50)).await;
    // Well before the next slot.
    let requests = in_namespace(bench.cluster.audit.settled(mark, Duration::from_secs(20)).await?, namespace);
    let used = bench.usage();
    finished?;
    let pods = pods(&requests, slot);
    let of_each = (requests_per_run(&requests, TASKS), used.per_run_since(&before, TASKS));
    let detail = json!({ "pods": pods.json(), "requests": of_each.0, "used": of_each.1 });
    Ok(Due { pods, of: OfOperator::read(&requests), cpu_ms: used.operator_ms_since(&before) / number(TASKS), detail })
}

impl Due {
    fn each(&self, count: fn(&OfOperator) -> usize) -> f64 {
        number(count(&self.of)) / number(TASKS)
    }

    fn requests(&self) -> String {
        format!("{:.2} (events {:.2}, reads {:.2})", self.each(|of| of.writes), self.each(|of| of.events), self.each(|of| of.reads))
    }
}

impl Bench {
    /// A row for the median and one for the slowest.
    fn row_of(&mut self, what: &str, target: Option<&str>, ours: &Spread, plain: &Spread) {
        for (name, ours, plain) in [("p50", ours.median(), plain.median()), ("p99", ours.p99(), plain.p99())] {
            let measured = format!("{:.2} ({} beside {})", ours / plain, time(ours), time(plain));
            self.report.row(&format!("{what}, {name}"), target.unwrap_or("told"), measured, target.map(|_| ours <= plain * 1.1));
        }
    }
}

/// From the slot until the API server had the pod.
fn pods(requests: &[Request], slot: Timestamp) -> Spread {
    let created = requests.iter().filter(|r| r.verb == "create" && r.resource() == "pods" && r.code() == 201);
    Spread::new(created.map(|r| seconds(slot, r.answered)))
}

fn now() -> Timestamp {
    nightshift::clock::Clock::system().now()
}

fn minute_after(time: Timestamp) -> Timestamp {
    let minute = (time.as_second() / 60 + 1) * 60;
    Timestamp::from_second(minute).unwrap_or(time)
}

/// That minute, every day.
fn daily(slot: Timestamp) -> String {
    let slot = slot.to_zoned(TimeZone::UTC);
    format!("{} {} * * *", slot.minute(), slot.hour())
}

async fn until(time: Timestamp) {
    sleep(Duration::try_from(time.duration_since(now())).unwrap_or_default()).await;
}
