//! With the operator scaled to 0: what Kubernetes does by itself, and what the operator makes of it when it returns.

#![allow(clippy::expect_used, clippy::panic, clippy::large_futures, reason = "a test fails by panicking, and lives on a stack of its own")]

mod back_off;
mod catch_up;
mod deletion;
mod evidence;
mod limits;
mod objective;
mod on_demand;
mod outage;
mod queue;
mod slots;

use crate::support::{client, install_crds};
use outage::{case, play};

#[tokio::test]
async fn tasks_run_by_themselves_and_are_recorded_when_it_returns() {
    let client = client().await;
    install_crds(&client).await;
    let cases = vec![
        case("a slot succeeds", slots::succeeds),
        case("a slot finds no data", slots::finds_no_data),
        case("a retryable exit is retried", slots::retries),
        case("retries are used up", slots::uses_up_its_retries),
        case("a fatal exit stops at once", slots::stops_at_a_fatal_exit),
        case("a command does not exist", slots::cannot_start),
        case("several slots run one after the other", slots::runs_each_minute),
        case("an attempt runs into its timeout", limits::attempt_timeout),
        case("a run without a node is ended", limits::unschedulable),
        case("a run without its image is ended", limits::image_missing),
        case("a run without its Secret is ended", limits::secret_missing),
        case("a run without its Secret's file is ended", limits::secret_file_missing),
        case("a run without its service account is ended", limits::service_account_missing),
        case("a run over quota is ended", limits::quota_used_up),
        case("a pod is deleted while it runs", evidence::pod_deleted),
        case("the pod of a failed Job is gone", evidence::pod_of_a_failed_job_gone),
        case("the pod of a complete Job is gone", evidence::pod_of_a_complete_job_gone),
        case("one of two pods is gone", evidence::first_pod_gone),
        case("a container runs into the run's timeout", evidence::run_timeout),
        case("a Job is made from the CronJob", on_demand::job_from_the_cron_job),
        case("a run is created", on_demand::run_created),
        case("a run goes on", on_demand::run_goes_on),
        case("a run is cancelled", on_demand::run_cancelled),
        case("a retry becomes overdue", back_off::overdue),
        case("a retry is not due yet", back_off::not_due_yet),
        case("a retry would come after the run's deadline", back_off::past_the_deadline),
        case("a run on demand waits to be tried again", back_off::on_demand),
        case("a task is deleted", deletion::of_a_task),
        case("missed slots are not run", catch_up::none),
        case("of missed slots the latest is run", catch_up::latest),
        case("of missed slots the last two are run", catch_up::all_up_to_a_limit),
        case("missed slots are run in turn", catch_up::all_in_turn),
        case("a CronJob's schedule is to be the operator's", catch_up::taken_over),
        case("an objective is counted", objective::is_counted),
        case("a backfill is on its way", queue::backfill_resumes),
        case("a rerun waits", queue::rerun_waits),
    ];
    play(&client, cases).await;
}
