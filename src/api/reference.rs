//! How one object names another, in its own namespace.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::vocabulary::matching;

/// A task in the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskRef {
    /// Name of the `AutomationTask`.
    #[schemars(length(min = 1, max = 40))]
    #[x_kube(validation = matching("^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "must be the name of a task: lower case letters, digits and '-'"))]
    pub name: String,
}

/// A workflow in the same namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkflowRef {
    /// Name of the `Workflow`.
    #[schemars(length(min = 1, max = 40))]
    #[x_kube(validation = matching("^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "must be the name of a workflow: lower case letters, digits and '-'"))]
    pub name: String,
}
