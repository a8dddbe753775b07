//! What a run is for: its slot, its idempotency key, and the run that it repeats.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::Seen;
use crate::{
    admission,
    api::{AutomationRunStatus, ParameterValue},
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
}

/// What the run is for.
///
/// # Errors
/// Tells what is wrong with `spec.rerunOf`.
pub(super) fn identity(seen: &Seen, before: &AutomationRunStatus) -> Result<Identity, String> {
    let spec = &seen.run.spec;
    let key = admission::key(&seen.run, &seen.siblings);
    let Some(repeated) = &spec.rerun_of else {
        let slot = spec.scheduled_time.as_ref().map(|slot| slot.0);
        return Ok(Identity { slot, key: key.unwrap_or_default(), chain: Vec::new(), parameters: spec.parameters.clone() });
    };
    if let Some(key) = before.idempotency_key.clone() {
        let slot = before.slot.as_ref().map(|slot| slot.0);
        return Ok(Identity { slot, key, chain: before.rerun_chain.clone(), parameters: before.parameters.clone() });
    }
    let Some(original) = admission::original(&seen.run, &seen.siblings) else {
        let task = &spec.task_ref.name;
        return Err(format!(
            "spec.rerunOf: there is no AutomationRun {repeated} of task {task} in this namespace; correct the name, or create a run without rerunOf"
        ));
    };
    let status = original.status.clone().unwrap_or_default();
    let Some(key) = key else {
        return Err(format!("spec.rerunOf: what {repeated} repeats is gone, so its slot is not known; repeat a run that is still there"));
    };
    let mut chain = status.rerun_chain;
    chain.push(repeated.clone());
    let base = if original.spec.rerun_of.is_some() { status.parameters } else { original.spec.parameters.clone() };
    let kept = base.into_iter().filter(|value| spec.parameters.iter().all(|own| own.name != value.name));
    Ok(Identity {
        slot: status.slot.or_else(|| original.spec.scheduled_time.clone()).map(|slot| slot.0),
        key,
        chain: chain.split_off(chain.len().saturating_sub(CHAIN)),
        parameters: kept.chain(spec.parameters.iter().cloned()).collect(),
    })
}

impl Identity {
    /// Writes it on the status.
    pub(super) fn record(self, is_rerun: bool, status: &mut AutomationRunStatus) {
        status.slot = self.slot.map(Time);
        status.idempotency_key = Some(self.key).filter(|key| !key.is_empty());
        if is_rerun {
            (status.rerun_chain, status.parameters) = (self.chain, self.parameters);
        }
    }
}
