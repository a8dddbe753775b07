//! User stories on a real cluster, with real pods: with the operator up, and with it down.
//!
//! The stories run beside one another, each in a namespace of its own. Needs the local cluster with the operator
//! installed, and the image with a shell.

#![allow(clippy::expect_used, clippy::panic, clippy::large_futures, reason = "a test fails by panicking, and lives on a stack of its own")]

#[path = "../support/mod.rs"]
mod support;

mod backfills;
mod concurrency;
mod examples;
mod frozen;
mod operator_clock;
mod operator_down;
mod reruns;
mod schedules;
mod with_operator;
mod workflows;
