//! `ConcurrencyPool`, and what a task says of caps: what is refused, what is accepted.

use crate::{
    case::{accepts, check, pool, pool_named, rejects, task},
    support::{install_crds, with_temp_namespace},
};

#[tokio::test]
async fn a_pool_has_slots_that_can_be_counted_and_a_name_that_a_task_can_say() {
    with_temp_namespace(async |client, namespace| {
        install_crds(&client).await;
        let cases = vec![
            accepts("one slot", pool("{slots: 1}")),
            accepts("closed", pool("{slots: 0}")),
            accepts("many, and what for", pool("{slots: 1000, description: Connections of the warehouse.}")),
            accepts("the longest name", pool_named(&"a".repeat(40), "{slots: 1}")),
            rejects("no slots", pool("{slots: null}"), "spec.slots", "Required value"),
            rejects("negative slots", pool("{slots: -1}"), "spec.slots", "greater than or equal to 0"),
            rejects("too many slots", pool("{slots: 1001}"), "spec.slots", "less than or equal to 1000"),
            rejects("a name that is too long", pool_named(&"a".repeat(41), "{slots: 1}"), "metadata.name", "at most 40 characters"),
            rejects("a name with dots", pool_named("a.b", "{slots: 1}"), "metadata.name", "without dots"),
        ];
        check(&client, &namespace, cases).await;
    })
    .await;
}

#[tokio::test]
async fn a_task_says_what_it_takes_of_which_pools() {
    with_temp_namespace(async |client, namespace| {
        install_crds(&client).await;
        let pools = |pools: &str| task(&format!("{{concurrency: {{pools: [{pools}]}}}}"));
        let nine: Vec<String> = (0..9).map(|n| format!("{{poolRef: {{name: p{n}}}}}")).collect();
        let cases = vec![
            accepts("max", task("{concurrency: {max: 1}}")),
            accepts("a pool", pools("{poolRef: {name: db}}")),
            accepts(
                "everything",
                task("{concurrency: {max: 1000, priority: -1000, pools: [{poolRef: {name: db}, slots: 1000}, {poolRef: {name: ftp}}]}}"),
            ),
            accepts(
                "beside any overlap policy",
                task("{concurrency: {max: 2}, schedule: {cron: ['0 2 * * *'], concurrencyPolicy: Replace}}"),
            ),
            accepts("eight pools", pools(&nine[..8].join(", "))),
            rejects("nothing", task("{concurrency: {}}"), "spec.concurrency", "concurrency needs max or pools"),
            rejects("priority alone", task("{concurrency: {priority: 5}}"), "spec.concurrency", "priority alone has no effect"),
            rejects("no pools", task("{concurrency: {pools: []}}"), "spec.concurrency", "concurrency needs max or pools"),
            rejects("max of none", task("{concurrency: {max: 0}}"), "spec.concurrency.max", "greater than or equal to 1"),
            rejects("too large a max", task("{concurrency: {max: 1001}}"), "spec.concurrency.max", "less than or equal to 1000"),
            rejects(
                "too high a priority",
                task("{concurrency: {max: 1, priority: 1001}}"),
                "spec.concurrency.priority",
                "less than or equal to 1000",
            ),
            rejects(
                "no slots of a pool",
                pools("{poolRef: {name: db}, slots: 0}"),
                "spec.concurrency.pools[0].slots",
                "greater than or equal to 1",
            ),
            rejects(
                "a pool twice",
                pools("{poolRef: {name: db}}, {poolRef: {name: db}, slots: 2}"),
                "spec.concurrency.pools",
                "make them one, with the sum of their slots",
            ),
            rejects("a pool without a name", pools("{poolRef: {}}"), "spec.concurrency.pools[0].poolRef.name", "Required value"),
            rejects(
                "a pool's name that cannot be",
                pools("{poolRef: {name: My.Db}}"),
                "spec.concurrency.pools[0].poolRef.name",
                "must be the name of a pool",
            ),
            rejects("nine pools", pools(&nine.join(", ")), "spec.concurrency.pools", "at most 8 items"),
        ];
        check(&client, &namespace, cases).await;
    })
    .await;
}
