//! The operator, stopped at each of its writes in turn and started again, and with answers lost or refused: the end is
//! the same as without. And two operators, of which the one that leads dies, leaves or freezes: the other goes on. And the
//! API server itself, which is killed or does not answer.
//!
//! In the first the operator runs in this process, against the real API server and with real pods; the installed ones are
//! scaled to 0 meanwhile. A kill is the end of its runtime: nothing in it gets to say goodbye. In the second the operators
//! are processes.

#![allow(clippy::expect_used, clippy::panic, clippy::large_futures, reason = "a test fails by panicking, and lives on a stack of its own")]

#[path = "../support/mod.rs"]
mod support;

mod end;
mod failover;
mod fault;
mod outage;
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
async fn a_workflow_that_fails_and_closes() {
    sweep(&story::Steps).await;
}

#[tokio::test]
async fn a_task_whose_schedule_is_edited() {
    sweep(&story::EditedTask).await;
}
