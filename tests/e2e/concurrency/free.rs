//! Slots come back: when a run ends, is deleted or cancelled, and when the operator is killed and another leads.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt, api::DeleteParams};
use nightshift::api::{AutomationRun, Outcome, Phase};

use super::{UNTIL_TOLD, going_on, pool, pool_seen};
use crate::{
    operator_clock::overlap::tell,
    support::{eventually, install_crds, leader, operator_alone, status, with_temp_namespace},
    with_operator::place::{Place, says, story},
};

const ONE_OF_POOL: &str = "{concurrency: {pools: [{poolRef: {name: db}}]}}";

#[tokio::test]
async fn a_run_waits_and_says_for_whom_and_goes_on_when_the_holder_is_deleted_cancelled_or_over() {
    story(async |place| {
        pool(place, "db", 1).await;
        place.script("import", UNTIL_TOLD, ONE_OF_POOL).await;
        place.armed("import").await;
        place.run("a", "import").await;
        place.running("a").await;
        for (at, name) in ["b", "c", "d"].iter().enumerate() {
            place.run(name, "import").await;
            let told = place.waiting(name, "PoolFull").await;
            assert_eq!(told.phase, Some(Phase::Queued));
            let message = told.waiting_on.expect("it waits").message;
            says(&message, &["needs 1 slot of ConcurrencyPool db", "1 of 1 are held: a", &format!("place {} in the queue", at + 1)]);
        }
        let seen = pool_seen(place, "db", "to tell of all", |status| status.used == 1 && status.queued == 3).await;
        let names = |runs: &[nightshift::api::PoolRun]| runs.iter().map(|run| run.run.clone()).collect::<Vec<_>>();
        assert_eq!(
            (names(&seen.holders), names(&seen.queue)),
            (vec!["a".to_owned()], vec!["b".to_owned(), "c".to_owned(), "d".to_owned()])
        );
        place.delete::<AutomationRun>("a").await;
        place.running("b").await;
        // Near the front they say how their place changes.
        place.status("c", "to be first", |status| status.waiting_on.as_ref().is_some_and(|w| w.message.contains("place 1 in"))).await;
        place.cancel("b").await;
        place.running("c").await;
        assert_eq!(place.finished("b").await.outcome, Some(Outcome::Cancelled));
        tell(place, "c").await;
        place.running("d").await;
        tell(place, "d").await;
        assert_eq!(place.finished("d").await.outcome, Some(Outcome::Succeeded));
        pool_seen(place, "db", "to be free", |status| status.used == 0 && status.queued == 0).await;
    })
    .await;
}

#[tokio::test]
async fn a_step_of_a_workflow_waits_like_any_other_run_and_max_counts_both() {
    story(async |place| {
        place.script("import", UNTIL_TOLD, "{concurrency: {max: 1}}").await;
        place.armed("import").await;
        place.run("by-hand", "import").await;
        place.running("by-hand").await;
        place
            .given(
                r"
                {apiVersion: nightshift.dev/v1alpha1, kind: Workflow, metadata: {name: nightly},
                 spec: {owner: {team: tests}, steps: [{name: load, taskRef: {name: import}}]}}",
            )
            .await;
        place
            .given(
                "{apiVersion: nightshift.dev/v1alpha1, kind: AutomationRun, metadata: {name: night}, spec: {workflowRef: {name: nightly}}}",
            )
            .await;
        let step = eventually("the step waits", Duration::from_secs(60), async || {
            let runs = place.runs().await;
            let step = runs.iter().find(|run| run.spec.step.is_some()).ok_or_else(|| "no step yet".to_owned())?;
            let waits =
                status(step).waiting_on.filter(|waiting| waiting.reason == "MaxReached").ok_or_else(|| "it does not wait".to_owned())?;
            Ok::<_, String>((step.name_any(), waits.message))
        })
        .await;
        says(&step.1, &["concurrency.max of task import is 1", "by-hand"]);
        tell(place, "by-hand").await;
        tell(place, &step.0).await;
        assert_eq!(place.finished("night").await.outcome, Some(Outcome::Succeeded));
    })
    .await;
}

#[tokio::test]
async fn slots_outlive_the_operator_that_gave_them_and_come_back_under_the_next() {
    with_temp_namespace(async |client, namespace| {
        install_crds(&client).await;
        let _alone = operator_alone(&client).await;
        let place = &Place::new(&client, &namespace);
        pool(place, "db", 2).await;
        place.script("import", UNTIL_TOLD, ONE_OF_POOL).await;
        place.armed("import").await;
        for name in ["a", "b", "c", "d"] {
            place.run(name, "import").await;
            if name < "c" { drop(place.running(name).await) } else { drop(place.waiting(name, "PoolFull").await) }
        }
        let pods: Api<Pod> = Api::namespaced(client.clone(), "nightshift-system");
        for (ends, next) in [("a", "c"), ("b", "d")] {
            let killed = leader(&client).await;
            let at_once = DeleteParams::default().grace_period(0);
            pods.delete(&killed.name_any(), &at_once).await.expect("the leader is deleted");
            // It ends while nobody leads.
            tell(place, ends).await;
            place.running(next).await;
            let on = going_on(place).await;
            assert!(on.len() <= 2 && on.contains(&next.to_owned()), "{on:?}");
        }
        for name in ["c", "d"] {
            tell(place, name).await;
        }
        for name in ["a", "b", "c", "d"] {
            assert_eq!(place.finished(name).await.outcome, Some(Outcome::Succeeded), "{name}");
        }
        pool_seen(place, "db", "to be free", |status| status.used == 0).await;
    })
    .await;
}
