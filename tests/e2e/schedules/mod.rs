//! Tasks with a schedule, while the operator is up: the CronJob that a task becomes, what edits do to it, which slots
//! run and which do not, and the runs that record them.

#![allow(clippy::expect_used, clippy::panic, clippy::large_futures, reason = "a test fails by panicking, and lives on a stack of its own")]

mod adoption;
mod clash;
mod clock;
mod cron_job;
mod deletion;
mod edit;
mod hand_edit;
mod lines;
mod not_run;
mod objective;
mod overlap;
mod pause;

use kube::Client;

use crate::support::{Scene, install_crds, operator_up, with_temp_namespace};

/// Runs `test` in a namespace of its own, with the operator up.
async fn in_a_scene(test: impl AsyncFnOnce(Scene)) {
    with_temp_namespace(async |client: Client, namespace| {
        install_crds(&client).await;
        let _up = operator_up(&client).await;
        test(Scene::new(&client, &namespace)).await;
    })
    .await;
}
