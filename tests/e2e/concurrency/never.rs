//! What can never be had: a pool that is not there, and more slots than there are.

use nightshift::api::{ConcurrencyPool, Outcome, Phase};

use super::{pool, resize};
use crate::{
    support::ready,
    with_operator::place::{says, story},
};

#[tokio::test]
async fn a_pool_that_is_missing_is_told_on_run_and_task_until_it_is_there() {
    story(async |place| {
        place.script("import", "exit 0", "{concurrency: {pools: [{poolRef: {name: db}}]}}").await;
        let task = place.ready("import", "False", "PoolNotFound").await;
        says(&ready(&task).expect("Ready").2, &["there is no ConcurrencyPool db in this namespace", "Until then its runs wait"]);
        place.run("a", "import").await;
        let told = place.waiting("a", "PoolNotFound").await;
        assert_eq!(told.phase, Some(Phase::Queued));
        says(&told.waiting_on.expect("it waits").message, &["there is no ConcurrencyPool db", "create it, or correct the name"]);
        pool(place, "db", 1).await;
        place.armed("import").await;
        assert_eq!(place.finished("a").await.outcome, Some(Outcome::Succeeded));
        place.delete::<ConcurrencyPool>("db").await;
        place.ready("import", "False", "PoolNotFound").await;
        place.run("b", "import").await;
        place.waiting("b", "PoolNotFound").await;
        place.cancel("b").await;
        assert_eq!(place.finished("b").await.outcome, Some(Outcome::Cancelled));
    })
    .await;
}

#[tokio::test]
async fn more_slots_than_the_pool_has_are_told_on_run_and_task_until_there_are_enough() {
    story(async |place| {
        pool(place, "db", 2).await;
        place.script("import", "exit 0", "{concurrency: {pools: [{poolRef: {name: db}, slots: 3}]}}").await;
        place.ready("import", "False", "PoolTooSmall").await;
        place.run("a", "import").await;
        let told = place.waiting("a", "PoolTooSmall").await;
        says(&told.waiting_on.expect("it waits").message, &["asks for 3 slots of ConcurrencyPool db, which has 2", "raise spec.slots"]);
        resize(place, "db", 3).await;
        place.armed("import").await;
        assert_eq!(place.finished("a").await.outcome, Some(Outcome::Succeeded));
    })
    .await;
}
