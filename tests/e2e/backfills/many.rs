//! A backfill of ten thousand slots never has more runs at once than it may.

use std::{collections::BTreeSet, time::Duration};

use futures::StreamExt;
use kube::{
    ResourceExt,
    api::{WatchEvent, WatchParams},
};
use nightshift::api::{AutomationRun, Backfill, Outcome, Phase};
use serde_json::json;

use super::{backfill, finished, seen};
use crate::with_operator::place::{Place, story};

const AT_ONCE: usize = 3;

/// Looks at every change of a run until so many have ended, and returns the most that there were at once.
async fn most_at_once(place: &Place, ends: usize) -> usize {
    let (api, params) = (place.api::<AutomationRun>(), WatchParams::default().timeout(280));
    let mut events = api.watch(&params, "0").await.expect("a watch of runs").boxed();
    let (mut live, mut ended, mut most) = (BTreeSet::new(), BTreeSet::new(), 0);
    while ended.len() < ends {
        let event = tokio::time::timeout(Duration::from_secs(90), events.next()).await.expect("runs come and go");
        match event.expect("the watch goes on").expect("an event") {
            WatchEvent::Added(run) | WatchEvent::Modified(run) => {
                if run.status.as_ref().is_some_and(|status| status.phase == Some(Phase::Finished)) {
                    live.remove(&run.name_any());
                    ended.insert(run.name_any());
                } else {
                    live.insert(run.name_any());
                }
            }
            WatchEvent::Deleted(run) => drop(live.remove(&run.name_any())),
            _ => {}
        }
        most = most.max(live.len());
    }
    most
}

#[tokio::test]
async fn ten_thousand_slots_are_run_a_few_at_a_time() {
    story(async |place| {
        let spec = "{schedule: {cron: ['* * 1-8 1 *'], concurrencyPolicy: Allow}, history: {succeeded: 5}}";
        place.script("import", "exit 0", spec).await;
        place.armed("import").await;
        let range = "range: {from: '2026-01-01T00:00:00Z', to: '2026-01-07T22:39:59Z'}";
        backfill(place, "flood", "import", &format!("{{{range}, concurrency: {AT_ONCE}}}")).await;
        assert_eq!(most_at_once(place, 9).await, AT_ONCE, "as many as it may, and no more");
        let told = seen(place, "flood", "to have counted", |status| status.succeeded >= 9).await;
        assert_eq!((told.total, told.failed), (10_000, 0));
        assert!(told.active.len() <= AT_ONCE, "{:?}", told.active);
        place.change::<Backfill>("flood", json!({ "spec": { "cancel": true } })).await;
        let told = finished(place, "flood").await;
        assert_eq!((told.outcome, told.total), (Some(Outcome::Cancelled), 10_000));
        let left = place.runs().await;
        assert!(left.iter().all(|run| run.status.as_ref().is_some_and(|status| status.phase == Some(Phase::Finished))), "{left:?}");
    })
    .await;
}
