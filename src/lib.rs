//! Nightshift: scripts and cron lines become owned, recorded automation on Kubernetes.
//!
//! A functional core and a thin shell. Imports point one way, from the top of this list to its bottom, and
//! `tests/architecture.rs` checks it.
//!
//! Nouns:
//! - [`api`]: the kinds, their conditions and labels.
//!
//! Decisions, pure (no client, clock, runtime, random or log):
//! - [`expression`]: CEL as users may write it, within limits.
//! - [`schedule`]: cron lines, zones, slots, and which clock can keep them.
//! - [`outcome`]: evidence from Jobs and pods, what the end of an attempt means, how a run concludes.
//! - [`retry`]: whether a failed attempt is tried again, and when.
//! - [`ledger`]: what is kept of the runs that are over.
//! - [`build`]: run and task to CronJob, Job and pod.
//! - [`admission`]: which runs must end before one may start, and who of those that wait for room under caps may go.
//! - [`graph`]: which steps of a workflow may start, and what a run of it comes to. Not served yet.
//! - [`plan`]: what was seen and the time, to changes, status, notices and the next wake.
//!
//! Effects:
//! - [`leader`]: which of several processes writes, and the gate that keeps the others from it.
//! - [`observe`]: watches and look-ups, to what a planner sees.
//! - [`controller`]: reconcile = observe, plan, apply, report.
//! - [`probe`], [`metrics`], [`telemetry`], [`clock`]: what the process shows of itself, and the time.

pub mod admission;
pub mod api;
pub mod build;
pub mod clock;
pub mod controller;
pub mod expression;
pub mod graph;
pub mod leader;
pub mod ledger;
pub mod metrics;
pub mod observe;
pub mod outcome;
pub mod plan;
pub mod probe;
pub mod retry;
pub mod schedule;
pub mod telemetry;
#[cfg(test)]
mod testing;
