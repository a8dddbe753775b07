//! Nouns: the kinds of `nightshift.dev/v1alpha1` and the words they share. Plain data; doc comments are what
//! `kubectl explain` prints.

mod automation_run;
mod automation_task;
pub mod condition;
mod contract;
pub mod label;
mod schedule;
mod template;
mod vocabulary;

pub use automation_run::*;
pub use automation_task::*;
pub use contract::Contract;
pub use schedule::*;
pub use template::PodTemplate;
pub use vocabulary::*;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

/// The API group of every kind.
pub const GROUP: &str = "nightshift.dev";

/// The definitions of every kind, in the order in which they should be installed.
#[must_use]
pub fn crds() -> Vec<CustomResourceDefinition> {
    vec![AutomationTask::crd(), AutomationRun::crd()]
}
