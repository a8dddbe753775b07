//! The Job of a run.

use serde_json::{Value, json};

use super::{
    job_annotations, job_name, labels, owned_by_run,
    pod::{Identity, pod_template},
};
use crate::api::{AutomationRun, AutomationTask, Contract, ExitCodes, Otherwise, label};
use jiff::Timestamp;

/// The spec of a Job. Indexed with one completion, because only such a Job tells its pods how many failures came before.
pub(super) fn job_spec(task: &AutomationTask, parameters: &[(String, String)], identity: Identity<'_>, contract: &Contract) -> Value {
    let retries = if contract.operator_makes_attempts() { 0 } else { contract.retry.limit.unwrap_or(0) };
    json!({
        "completionMode": "Indexed",
        "completions": 1,
        "parallelism": 1,
        "backoffLimitPerIndex": retries,
        "activeDeadlineSeconds": contract.run_seconds,
        "podReplacementPolicy": "Failed",
        "podFailurePolicy": { "rules": failure_rules(&contract.exit_codes) },
        "template": pod_template(task, parameters, identity, contract),
    })
}

/// Exit codes as the Job controller understands them; the first rule that matches wins.
///
/// `noData` ends the Job as Failed, since no action makes a non-zero code a success: the run says what it was. A user's
/// code is never compiled to `Ignore`, which would retry it for ever.
fn failure_rules(codes: &ExitCodes) -> Vec<Value> {
    let mut rules = vec![json!({ "action": "Ignore", "onPodConditions": [{ "type": "DisruptionTarget", "status": "True" }] })];
    let mut fail = |operator: &str, values: &[i32]| {
        let mut values = values.to_vec();
        values.sort_unstable();
        values.dedup();
        if !values.is_empty() {
            rules.push(json!({ "action": "FailJob", "onExitCodes": { "containerName": "main", "operator": operator, "values": values } }));
        }
    };
    fail("In", &codes.no_data);
    fail("In", &codes.fatal);
    if codes.otherwise == Some(Otherwise::Fatal) {
        // 0 never matches a rule; it stands here because the list must not be empty.
        let retryable = if codes.retryable.is_empty() { &[0][..] } else { &codes.retryable };
        fail("NotIn", retryable);
    }
    rules
}

/// What a run's containers are told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Values for the parameters, complete.
    pub parameters: Vec<(String, String)>,
    /// The idempotency key.
    pub key: String,
    /// The slot that it is for.
    pub slot: Option<Timestamp>,
}

/// The Job of the first attempt of a run that the operator starts. `holds` is what it is marked with where it is under caps.
#[must_use]
pub fn first_job(task: &AutomationTask, run: &AutomationRun, told: &Told, holds: Option<String>) -> Value {
    let contract = Contract::of(&task.spec, task.metadata.generation.unwrap_or(0));
    let run_name = run.metadata.name.as_deref().unwrap_or_default();
    let namespace = run.metadata.namespace.as_deref().unwrap_or_default();
    let retry = contract.operator_makes_attempts().then_some(0);
    let mut job_labels = labels(task);
    job_labels.insert(label::RUN.to_owned(), run_name.to_owned());
    job_labels.insert(label::ATTEMPT.to_owned(), "1".to_owned());
    let mut annotations = job_annotations(task, &contract);
    if let Some(holds) = holds {
        annotations[label::HOLDS] = json!(holds);
    }
    json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": job_name(run_name, 1),
            "namespace": namespace,
            "labels": job_labels,
            "annotations": annotations,
            "ownerReferences": [owned_by_run(run, true)],
        },
        "spec": job_spec(task, &told.parameters, Identity::Run { key: &told.key, run: run_name, slot: told.slot, retry }, &contract),
    })
}

/// The Job of a later attempt: the first Job again, as it was frozen, with what the attempt alone changes. `seconds_left`
/// is what is left of the run's time. `None` where the first Job is too spoilt to copy.
#[must_use]
pub fn next_job(first: &Value, run: &AutomationRun, attempt: u32, seconds_left: i64) -> Option<Value> {
    let run_name = run.metadata.name.as_deref()?;
    let namespace = run.metadata.namespace.as_deref()?;
    let mut job_labels = first.pointer("/metadata/labels")?.as_object()?.clone();
    // Set by the Job controller on the Job that it has seen, and refused on a new one.
    job_labels.retain(|key, _| !key.starts_with("batch.kubernetes.io/") && key != "controller-uid" && key != "job-name");
    job_labels.insert(label::RUN.to_owned(), json!(run_name));
    job_labels.insert(label::ATTEMPT.to_owned(), json!(attempt.to_string()));
    let mut annotations = first.pointer("/metadata/annotations")?.as_object()?.clone();
    annotations.retain(|key, _| key.starts_with(label::PREFIX) && key != label::STOPPED);
    let mut spec = first.pointer("/spec")?.clone();
    let fields = spec.as_object_mut()?;
    fields.remove("selector");
    fields.remove("manualSelector");
    fields.insert("activeDeadlineSeconds".to_owned(), json!(seconds_left.max(1)));
    fields.insert("backoffLimitPerIndex".to_owned(), json!(0));
    fields.remove("backoffLimit");
    if let Some(pod_labels) = spec.pointer_mut("/template/metadata/labels").and_then(Value::as_object_mut) {
        pod_labels.retain(|key, _| !key.starts_with("batch.kubernetes.io/") && key != "controller-uid" && key != "job-name");
    }
    let task = job_labels.get(label::TASK)?.as_str()?.to_owned();
    // The container of an adopted run knows it by its first Job's name; so must those that come after.
    let known_as = run.metadata.annotations.as_ref().and_then(|a| a.get(label::ADOPTED_JOB)).map_or(run_name, String::as_str);
    let mut identity = Identity::Run { key: "", run: known_as, slot: None, retry: Some(attempt - 1) }.env(&task);
    // The key is the first Job's, as it stands there.
    identity.retain(|variable| variable["name"] != "NIGHTSHIFT_IDEMPOTENCY_KEY");
    for list in ["/template/spec/containers", "/template/spec/initContainers"] {
        for container in spec.pointer_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            for variable in container.get_mut("env").and_then(Value::as_array_mut).into_iter().flatten() {
                if let Some(own) = identity.iter().find(|own| own.get("name") == variable.get("name")) {
                    *variable = own.clone();
                }
            }
        }
    }
    Some(json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": job_name(run_name, attempt),
            "namespace": namespace,
            "labels": job_labels,
            "annotations": annotations,
            "ownerReferences": [owned_by_run(run, true)],
        },
        "spec": spec,
    }))
}
