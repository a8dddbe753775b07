//! What every test against a real cluster needs: a client, a namespace of its own, the CRDs, bounded waiting, `kubectl`.
//!
//! Each test binary takes it in with `#[path = "../support/mod.rs"] mod support;`.

#![allow(dead_code, unused_imports, reason = "each test binary uses its own part of it")]
#![allow(clippy::expect_used, clippy::panic, clippy::large_futures, reason = "a test fails by panicking, and lives on a stack of its own")]

mod cluster;
mod kubectl;
mod minute;
mod namespace;
mod operator;
pub mod record;
mod scene;
mod wait;

pub use cluster::{client, client_as, install_crds, operator_client};
pub use kubectl::{kubectl, kubectl_ok};
pub use minute::{await_moment, await_second, daily_at, now, slot_after};
pub use namespace::with_temp_namespace;
pub use operator::{Alone, Down, Up, find_leader, leader, operator_alone, operator_down, operator_up};
pub use scene::{IMAGE, Kind, Scene, ready, status};
pub use wait::{await_condition, eventually};

use serde::de::DeserializeOwned;

/// Parses YAML into any type.
#[track_caller]
pub fn yaml<T: DeserializeOwned>(text: &str) -> T {
    serde_yaml::from_str(text).unwrap_or_else(|e| panic!("the test's own YAML is wrong: {e}\n{text}"))
}

/// Hexadecimal digits that no other test has got.
pub fn unique() -> String {
    use std::hash::{BuildHasher, RandomState};
    format!("{:08x}", RandomState::new().hash_one(std::process::id()) & 0xffff_ffff)
}
