//! The operator, stopped at each of its writes in turn and started again, and with answers lost or refused: the end is
//! the same as without.
//!
//! The operator runs in this process, against the real API server and with real pods; the installed one is scaled to 0
//! meanwhile. A kill is the end of its runtime: nothing in it gets to say goodbye.

#![allow(clippy::expect_used, clippy::panic, clippy::large_futures, reason = "a test fails by panicking, and lives on a stack of its own")]

#[path = "../support/mod.rs"]
mod support;

mod end;
mod fault;
mod process;
mod story;
mod sweep;

use sweep::sweep;

#[tokio::test]
async fn a_run_that_is_retried_with_back_off() {
    sweep(&story::RetriedRun).await;
}

#[tokio::test]
async fn a_job_of_a_slot_that_is_adopted_and_retried_with_back_off() {
    sweep(&story::AdoptedSlot).await;
}

#[tokio::test]
async fn a_job_made_by_hand_that_is_adopted() {
    sweep(&story::AdoptedByHand).await;
}

#[tokio::test]
async fn a_run_that_is_cancelled() {
    sweep(&story::CancelledRun).await;
}

#[tokio::test]
async fn a_task_whose_schedule_is_edited() {
    sweep(&story::EditedTask).await;
}
