//! With nothing due, the operator writes nothing.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::api::{
    batch::v1::{CronJob, Job},
    core::v1::{Event, Pod},
};
use kube::ResourceExt;
use nightshift::{
    api::{AutomationRun, AutomationTask},
    clock::Clock,
    controller::Operator,
    metrics::Metrics,
};

use super::place::{Place, story};
use crate::support::{Scene, eventually, operator_client};

/// Each object of the namespace, with its version: every write that changes something moves it.
async fn versions(place: &Place) -> BTreeMap<String, String> {
    async fn add<K: crate::support::Kind>(scene: &Scene, versions: &mut BTreeMap<String, String>) {
        for object in scene.all::<K>().await {
            let named = format!("{} {}", K::kind(&()), object.name_any());
            versions.insert(named, object.resource_version().unwrap_or_default());
        }
    }
    let mut versions = BTreeMap::new();
    add::<AutomationTask>(place, &mut versions).await;
    add::<AutomationRun>(place, &mut versions).await;
    add::<CronJob>(place, &mut versions).await;
    add::<Job>(place, &mut versions).await;
    add::<Pod>(place, &mut versions).await;
    add::<Event>(place, &mut versions).await;
    versions
}

/// The sum of a counter over its labels.
fn total(metrics: &str, counter: &str) -> u64 {
    let values = metrics.lines().filter(|line| line.starts_with(counter)).filter_map(|line| line.rsplit(' ').next());
    values.map(|value| value.parse::<u64>().expect("a count")).sum()
}

/// What an operator keeps an eye on and has nothing to do about.
async fn a_settled_namespace(place: &Place) {
    place
        .script(
            "nightly",
            "exit $CODE",
            "{parameters: [{name: CODE, default: '0'}], exitCodes: {noData: [3]}, schedule: {cron: ['0 0 1 1 *']}}",
        )
        .await;
    place.script("paused", "exit 0", "{schedule: {cron: ['* * * * *'], suspend: true}}").await;
    place.script("refused", "exit 0", "{schedule: {cron: ['5-1 * * * *']}}").await;
    place.script("long", "sleep 600", "{}").await;
    place.run("good", "nightly").await;
    place.run_with("empty", "nightly", &[("CODE", "3")]).await;
    place.run_with("bad", "nightly", &[("CODE", "1")]).await;
    place.run("goes-on", "long").await;
    place.run("waits", "no-such-task").await;
    for run in ["good", "empty", "bad"] {
        place.finished(run).await;
    }
    place.running("goes-on").await;
    place.waiting("waits", "TaskNotFound").await;
    place.armed("nightly").await;
    place.ready("refused", "False", "InvalidSchedule").await;
}

#[tokio::test]
async fn with_nothing_due_nothing_is_written() {
    story(async |place| {
        a_settled_namespace(place).await;
        // Settled is what looks the same for ten seconds; Kubernetes itself is still busy with pods and Jobs.
        let settled = eventually("the namespace has settled", Duration::from_secs(90), async || {
            let before = versions(place).await;
            tokio::time::sleep(Duration::from_secs(10)).await;
            let after = versions(place).await;
            if before == after { Ok(after) } else { Err(format!("{before:?} became {after:?}")) }
        })
        .await;
        assert!(settled.len() > 15, "{settled:?}");

        // A write that changes nothing moves no version. So a second operator, for this namespace alone, counts its own
        // from its very start, with all that it finds to look at.
        let metrics = Metrics::new().expect("counters");
        let second = Operator::new(operator_client().await, std::slice::from_ref(&place.namespace), Clock::system(), metrics.clone());
        let running = tokio::spawn(second.run());
        // The minute in which nothing happens is what is to be seen.
        tokio::time::sleep(Duration::from_secs(65)).await;
        running.abort();
        let told = metrics.render().expect("text");
        assert!(total(&told, "nightshift_reconciles_total") >= 5, "it did look: {told}");
        assert_eq!(total(&told, "nightshift_api_writes_total"), 0, "{told}");
        assert_eq!(versions(place).await, settled, "nor has the installed operator changed anything");
    })
    .await;
}
