//! Nouns: the kinds of `nightshift.dev/v1alpha1` and the words they share. Plain data; doc comments are what
//! `kubectl explain` prints.

mod attempt;
mod automation_run;
mod automation_task;
mod backfill;
mod concurrency;
mod concurrency_pool;
pub mod condition;
mod contract;
mod inline_task;
pub mod label;
mod reference;
mod schedule;
mod step;
mod template;
mod vocabulary;
mod workflow;

pub use attempt::*;
pub use automation_run::*;
pub use automation_task::*;
pub use backfill::*;
pub use concurrency::*;
pub use concurrency_pool::*;
pub use contract::Contract;
pub use inline_task::InlineTask;
pub use reference::*;
pub use schedule::*;
pub use step::*;
pub use template::PodTemplate;
pub use vocabulary::*;
pub use workflow::*;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;

/// The API group of every kind.
pub const GROUP: &str = "nightshift.dev";

/// The definitions of every kind, in the order in which they should be installed.
#[must_use]
pub fn crds() -> Vec<CustomResourceDefinition> {
    vec![
        AutomationTask::crd(),
        pending_at_first(AutomationRun::crd()),
        Backfill::crd(),
        ConcurrencyPool::crd(),
        without_rules_in_steps(Workflow::crd()),
    ]
}

/// Tasks inside steps come without the API server's rules: for two hundred of them they would cost more than it allows. What a
/// step says otherwise than its task is right or wrong only together with that. The operator checks the same, and tells.
fn without_rules_in_steps(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    for version in &mut crd.spec.versions {
        let schema = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut());
        let Some(spec) = schema.and_then(|schema| schema.properties.as_mut()?.get_mut("spec")) else { continue };
        for list in ["steps", "finally"] {
            let steps = spec.properties.as_mut().and_then(|fields| fields.get_mut(list)?.items.as_mut());
            let Some(JSONSchemaPropsOrArray::Schema(step)) = steps else { continue };
            let fields = step.properties.iter_mut().flatten();
            fields.filter(|(name, _)| ["task", "retry", "timeouts"].contains(&name.as_str())).for_each(|(_, field)| without_rules(field));
        }
    }
    crd
}

fn without_rules(schema: &mut JSONSchemaProps) {
    schema.x_kubernetes_validations = None;
    schema.properties.iter_mut().flat_map(|fields| fields.values_mut()).for_each(without_rules);
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = schema.items.as_mut() {
        without_rules(items);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = schema.additional_properties.as_mut() {
        without_rules(values);
    }
}

/// A run that nobody has looked at yet reads as Pending, without a write: the API server fills it in.
fn pending_at_first(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    for version in &mut crd.spec.versions {
        let schema = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut());
        if let Some(status) = schema.and_then(|schema| schema.properties.as_mut()?.get_mut("status")) {
            status.default = Some(JSON(serde_json::json!({ "phase": "Pending" })));
        }
    }
    crd
}
