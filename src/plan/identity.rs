//! What a run is for: its slot, its idempotency key, and the run that it repeats.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::{
    admission,
    api::{AutomationRun, AutomationRunStatus, Definition, ParameterValue},
};

/// How many of the runs before it a rerun names.
const CHAIN: usize = 10;

/// What a run is for. On record once its status was written.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Identity {
    pub(super) slot: Option<Timestamp>,
    pub(super) key: String,
    /// The runs that it repeats, the first one first.
    pub(super) chain: Vec<String>,
    /// Values for the task's parameters: its own, and those of the run that it repeats.
    pub(super) parameters: Vec<ParameterValue>,
    /// The definition that it takes over from the run that it repeats.
    pub(super) revision: Option<String>,
}

/// What the run is for, among the runs of its task or workflow.
///
/// # Errors
/// Tells what is wrong with `spec.rerunOf`.
pub(super) fn identity(run: &AutomationRun, before: &AutomationRunStatus, siblings: &[Arc<AutomationRun>]) -> Result<Identity, String> {
    identity_of(run, before, siblings, CHAIN)
}

/// The same of any run: what it repeats may have no status yet, where both were created at once.
fn identity_of(
    run: &AutomationRun,
    status: &AutomationRunStatus,
    siblings: &[Arc<AutomationRun>],
    left: usize,
) -> Result<Identity, String> {
    let spec = &run.spec;
    let Some(repeated) = &spec.rerun_of else {
        let slot = spec.slot();
        let key = admission::key(run, siblings).unwrap_or_default();
        return Ok(Identity { slot, key, parameters: spec.parameters.clone(), ..Identity::default() });
    };
    if let Some(key) = status.idempotency_key.clone() {
        let slot = status.slot.as_ref().map(|slot| slot.0);
        return Ok(Identity {
            slot,
            key,
            chain: status.rerun_chain.clone(),
            parameters: status.parameters.clone(),
            revision: status.revision.clone(),
        });
    }
    let Some(original) = admission::original(run, siblings).filter(|_| left > 0) else {
        let of = spec.workflow_name().map_or_else(|| format!("task {}", spec.task_name()), |workflow| format!("workflow {workflow}"));
        return Err(format!(
            "spec.rerunOf: there is no AutomationRun {repeated} of {of} in this namespace; correct the name, or create a run without rerunOf"
        ));
    };
    let status = original.status.clone().unwrap_or_default();
    let Identity { slot, key, mut chain, parameters, .. } = identity_of(original, &status, siblings, left - 1)?;
    chain.push(repeated.clone());
    let kept = parameters.into_iter().filter(|value| spec.parameters.iter().all(|own| own.name != value.name));
    Ok(Identity {
        slot,
        key,
        chain: chain.split_off(chain.len().saturating_sub(CHAIN)),
        parameters: kept.chain(spec.parameters.iter().cloned()).collect(),
        revision: status.revision.filter(|_| spec.definition == Some(Definition::Original)),
    })
}

impl Identity {
    /// Writes it on the status.
    pub(super) fn record(self, is_rerun: bool, status: &mut AutomationRunStatus) {
        status.slot = self.slot.map(Time);
        status.idempotency_key = Some(self.key).filter(|key| !key.is_empty());
        if is_rerun {
            (status.rerun_chain, status.parameters) = (self.chain, self.parameters);
            // Frozen from now on, whatever becomes of the run that it repeats.
            status.revision = status.revision.take().or(self.revision);
        }
    }
}
