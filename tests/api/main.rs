//! The kinds as a real API server sees them: what it refuses and in which words, what it stores, how it documents and
//! selects it. Needs a cluster, and no operator: what is stored starts nothing.

#![allow(clippy::expect_used, clippy::panic, clippy::too_many_lines, reason = "a test fails by panicking; a table is as long as it is")]

#[path = "../support/mod.rs"]
mod support;

mod backfill;
mod case;
mod concurrency_pool;
mod documentation;
mod hostile_text;
mod policies;
mod run;
mod schedule;
mod schema;
mod selection;
mod server;
mod task;
mod workflow;
