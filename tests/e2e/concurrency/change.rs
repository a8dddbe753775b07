//! Caps that change while runs go on: nobody is stopped, and nobody starts beyond them.

use std::time::Duration;

use kube::ResourceExt;
use nightshift::api::{AutomationTask, ClockKind, Outcome};
use serde_json::json;
use tokio::time::sleep;

use super::{UNTIL_TOLD, going_on, pool, pool_seen, resize};
use crate::{
    operator_clock::overlap::tell,
    with_operator::place::{says, story},
};

#[tokio::test]
async fn a_pool_is_raised_lowered_and_closed_without_harm_to_what_runs() {
    story(async |place| {
        pool(place, "db", 1).await;
        place.script("import", UNTIL_TOLD, "{concurrency: {pools: [{poolRef: {name: db}}]}}").await;
        place.armed("import").await;
        for name in ["a", "b", "c", "d"] {
            place.run(name, "import").await;
            if name == "a" {
                place.running(name).await;
            }
        }
        pool_seen(place, "db", "to tell who waits", |status| status.used == 1 && status.queued == 3).await;
        resize(place, "db", 3).await;
        for name in ["b", "c"] {
            place.running(name).await;
        }
        place.waiting("d", "PoolFull").await;
        resize(place, "db", 1).await;
        let seen = pool_seen(place, "db", "to be used by more than there are", |status| status.observed_generation == Some(3)).await;
        assert_eq!((seen.used, seen.queued), (3, 1));
        says(seen.message.as_deref().unwrap_or_default(), &["2 more than there are"]);
        tell(place, "a").await;
        assert_eq!(place.finished("a").await.outcome, Some(Outcome::Succeeded));
        sleep(Duration::from_secs(5)).await;
        assert_eq!(going_on(place).await, ["b", "c"], "nobody was stopped, and nobody starts");
        resize(place, "db", 0).await;
        place.waiting("d", "PoolClosed").await;
        for name in ["b", "c"] {
            tell(place, name).await;
            place.finished(name).await;
        }
        sleep(Duration::from_secs(3)).await;
        assert_eq!(going_on(place).await, Vec::<String>::new(), "closed");
        resize(place, "db", 1).await;
        tell(place, "d").await;
        assert_eq!(place.finished("d").await.outcome, Some(Outcome::Succeeded));
    })
    .await;
}

#[tokio::test]
async fn a_task_gets_a_cap_changes_it_and_loses_it_and_the_clock_follows() {
    story(async |place| {
        place.script("import", UNTIL_TOLD, "{schedule: {cron: ['0 0 1 1 *']}}").await;
        let clock = |task: &AutomationTask| task.status.as_ref().and_then(|status| status.clock.clone()).expect("a clock");
        assert_eq!(clock(&place.armed("import").await).kind, ClockKind::CronJob);
        place.run("before", "import").await;
        place.running("before").await;
        place.change::<AutomationTask>("import", json!({ "spec": { "concurrency": { "max": 1 } } })).await;
        let task = place
            .until("import", "to be the operator's", 60, move |task: &AutomationTask| {
                task.status.as_ref().and_then(|status| status.clock.as_ref()).is_some_and(|clock| clock.kind == ClockKind::Operator)
            })
            .await;
        says(&clock(&task).reason, &["concurrency.max has no place in a CronJob"]);
        for name in ["a", "b"] {
            place.run(name, "import").await;
            let told = place.waiting(name, "MaxReached").await;
            says(&told.waiting_on.expect("it waits").message, &["concurrency.max of task import is 1", "before"]);
        }
        place.change::<AutomationTask>("import", json!({ "spec": { "concurrency": { "max": 2 } } })).await;
        place.running("a").await;
        place.change::<AutomationTask>("import", json!({ "spec": { "concurrency": null } })).await;
        place.running("b").await;
        for name in ["before", "a", "b"] {
            tell(place, name).await;
            assert_eq!(place.finished(name).await.outcome, Some(Outcome::Succeeded), "{name}");
        }
        let left: Vec<String> = place.runs().await.iter().map(ResourceExt::name_any).collect();
        assert_eq!(left, ["before", "a", "b"]);
    })
    .await;
}

#[tokio::test]
async fn the_higher_priority_goes_first_and_what_fits_passes_what_does_not() {
    story(async |place| {
        pool(place, "db", 2).await;
        for (task, slots, priority) in [("small", 1, 0), ("large", 2, 5), ("urgent", 1, 9)] {
            let concurrency = json!({ "pools": [{ "poolRef": { "name": "db" }, "slots": slots }], "priority": priority });
            place.script(task, UNTIL_TOLD, &json!({ "concurrency": concurrency }).to_string()).await;
            place.armed(task).await;
        }
        for name in ["first", "second"] {
            place.run(name, "small").await;
            place.running(name).await;
        }
        for (name, task) in [("third", "small"), ("large", "large"), ("urgent", "urgent")] {
            place.run(name, task).await;
            place.waiting(name, "PoolFull").await;
        }
        tell(place, "first").await;
        place.running("urgent").await;
        // One slot is free: the large run, which is looked at first, does not fit.
        tell(place, "second").await;
        place.running("third").await;
        place.waiting("large", "PoolFull").await;
        for name in ["urgent", "third", "large"] {
            tell(place, name).await;
            assert_eq!(place.finished(name).await.outcome, Some(Outcome::Succeeded), "{name}");
        }
    })
    .await;
}
