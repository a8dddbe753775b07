//! A task that is written where it is used: inside a step of a workflow.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::{AutomationTaskSpec, EnvVar, ExitCodes, Output, Owner, Parameter, Resources, Retry, Script, SecretInjection, Timeouts};

/// A task that no other workflow needs, written inside the step that runs it. Its fields mean what they mean in an
/// `AutomationTask`; the workflow's owner answers for it, and the step's `parameters` become environment variables without being
/// declared. It has no `concurrency`: caps need an `AutomationTask`. What the API server would refuse in a task, `Ready` of the
/// workflow tells.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct InlineTask {
    /// Image of the container. Required.
    #[schemars(length(min = 1, max = 512))]
    pub image: String,
    /// Command that runs instead of the image's entry point. `$(NAME)` is expanded by Kubernetes.
    #[schemars(length(min = 1, max = 64), inner(length(max = 32768)))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    /// Arguments of the command, or of the image's entry point. `$(NAME)` is expanded by Kubernetes.
    #[schemars(length(max = 256), inner(length(max = 32768)))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub args: Option<Vec<String>>,
    /// A script to run as it stands, instead of `command` and `args`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script: Option<Script>,
    /// Environment variables with literal values.
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<EnvVar>,
    /// CPU and memory of the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Service account of the pod. Where unset the pod gets the namespace's default one without its token.
    #[schemars(length(min = 1, max = 253))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account_name: Option<String>,
    /// Secrets injected when the container starts.
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretInjection>,
    /// What the container tells at its end, for expressions of later steps.
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<Output>,
    /// What the container's exit codes mean.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_codes: Option<ExitCodes>,
    /// How often and when a failed attempt is tried again. No retries where unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    /// How long things may take, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<Timeouts>,
}

impl InlineTask {
    /// The task that it stands for, with the names of the parameters that its step gives.
    #[must_use]
    pub fn spec<'a>(&self, owner: &Owner, parameters: impl IntoIterator<Item = &'a str>) -> AutomationTaskSpec {
        let Self { image, command, args, script, env, resources, service_account_name, secrets, outputs, exit_codes, retry, timeouts } =
            self.clone();
        let declared = |name: &str| Parameter { name: name.to_owned(), ..Parameter::default() };
        AutomationTaskSpec {
            owner: owner.clone(),
            image: Some(image),
            command,
            args,
            script,
            env,
            resources,
            service_account_name,
            secrets,
            outputs,
            exit_codes,
            retry,
            timeouts,
            parameters: parameters.into_iter().map(declared).collect(),
            ..AutomationTaskSpec::default()
        }
    }
}
