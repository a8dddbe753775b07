//! Three hundred tasks due in the same minute, on Kubernetes' clock and then on the operator's, beside three hundred plain
//! CronJobs in a minute before.

use std::time::Duration;

use anyhow::ensure;
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use serde_json::json;
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
    for namespace in [PLAIN, OURS] {
        namespace::ensure(&bench.cluster.client, namespace).await?;
    }
    // Time enough to arm the tasks before the first of the two minutes.
    let first = minute_after(now() + SignedDuration::from_secs(15));
    let second = first + SignedDuration::from_mins(1);
    let tasks =
        (0..TASKS).map(|n| objects::task(&format!("due-{n:03}"), objects::ENDS, Some(&daily(second)))).collect::<anyhow::Result<_>>()?;
    bench.armed_tasks(OURS, tasks).await?;
    bench.operator.stop().await;

    let cron_jobs = (0..TASKS).map(|n| objects::cron_job(&format!("due-{n:03}"), &daily(first), &bench.bare));
    load::create_all(&bench.api(PLAIN), cron_jobs.collect::<anyhow::Result<Vec<_>>>()?).await?;
    ensure!(now() < first, "the machine is too slow to create {TASKS} tasks and CronJobs before they are due");
    let mark = bench.cluster.audit.mark().await?;
    until(first + SignedDuration::from_secs(30)).await;
    let plain = pods(&in_namespace(bench.cluster.audit.since(mark)?, PLAIN), first);
    namespace::empty(&bench.cluster.client, PLAIN).await?;

    bench.operator.up().await?;
    let mark = bench.cluster.audit.mark().await?;
    ensure!(now() < second, "it took longer than a minute to clean up after the plain CronJobs");
    until(second - SignedDuration::from_secs(1)).await;
    let before = bench.usage();
    until(second).await;
    let finished = load::await_phase(&bench.api(OURS), nightshift::api::Phase::Finished, TASKS, Duration::from_secs(60)).await;
    let requests = in_namespace(bench.cluster.audit.settled(mark, Duration::from_secs(20)).await?, OURS);
    let used = bench.usage();
    finished?;
    let ours = pods(&requests, second);

    bench.row_of("300 due in one minute, until the pod exists", Some("at most 1.10"), &ours, &plain);
    let each = |count: usize| number(count) / number(TASKS);
    let of = OfOperator::read(&requests);
    let report = &mut bench.report;
    let measured = format!("{:.2} (events {:.2}, reads {:.2})", each(of.writes), each(of.events), each(of.reads));
    report.row("API writes of the operator per adopted run", "at most 3", measured, Some(each(of.writes) <= 3.0));
    let cpu = used.operator_ms_since(&before) / number(TASKS);
    report.row("operator CPU per adopted run", "told", time(cpu / 1000.0), None);
    let detail = json!({
        "plain": plain.json(), "ours": ours.json(),
        "requests": requests_per_run(&requests, TASKS), "used": used.per_run_since(&before, TASKS),
    });
    report.detail("schedule", detail);
    namespace::empty(&bench.cluster.client, OURS).await?;
    on_the_operators_clock(bench, &plain).await
}

/// The same number of tasks that the operator itself starts.
async fn on_the_operators_clock(bench: &mut Bench, plain: &Spread) -> anyhow::Result<()> {
    namespace::ensure(&bench.cluster.client, CLOCKED).await?;
    let slot = minute_after(now() + SignedDuration::from_secs(12));
    let tasks = (0..TASKS).map(|n| objects::clocked_task(&format!("due-{n:03}"), &daily(slot))).collect::<anyhow::Result<_>>()?;
    bench.armed_tasks(CLOCKED, tasks).await?;
    let mark = bench.cluster.audit.mark().await?;
    ensure!(now() < slot, "the machine is too slow to create {TASKS} tasks before they are due");
    until(slot - SignedDuration::from_secs(1)).await;
    let before = bench.usage();
    until(slot).await;
    let finished = load::await_phase(&bench.api(CLOCKED), nightshift::api::Phase::Finished, TASKS, Duration::from_secs(60)).await;
    let requests = in_namespace(bench.cluster.audit.settled(mark, Duration::from_secs(20)).await?, CLOCKED);
    let used = bench.usage();
    finished?;
    let clocked = pods(&requests, slot);
    bench.row_of("300 due in one minute on the operator's clock, until the pod exists", None, &clocked, plain);
    let of = OfOperator::read(&requests);
    let each = |count: usize| number(count) / number(TASKS);
    let measured = format!("{:.2} (events {:.2}, reads {:.2})", each(of.writes), each(of.events), each(of.reads));
    bench.report.row("API writes of the operator per run on its clock", "told", measured, None);
    let detail = json!({
        "ours": clocked.json(), "requests": requests_per_run(&requests, TASKS), "used": used.per_run_since(&before, TASKS),
    });
    bench.report.detail("clock", detail);
    namespace::empty(&bench.cluster.client, CLOCKED).await
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
