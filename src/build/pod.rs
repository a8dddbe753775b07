//! The pod of an attempt: the task's template with the short fields merged in, what Nightshift gives to each container,
//! and defaults that Pod Security `restricted` accepts. What the template says wins over defaults.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::labels;
use crate::api::{AutomationTask, Contract, SecretInjection, label};

const MAIN: &str = "main";
/// Nobody in particular: most images have no such user, and none gives it rights.
const USER: i64 = 65532;

/// What tells an attempt's containers who they are.
#[derive(Clone, Copy, Debug)]
pub(super) enum Identity<'a> {
    /// In a CronJob's template: known only when the Job exists, so it comes from the downward API.
    FromJob {
        /// Namespace, for the idempotency key.
        namespace: &'a str,
    },
    /// In a Job that the operator makes.
    Run {
        /// The idempotency key.
        key: &'a str,
        /// The run's name.
        run: &'a str,
        /// The slot that it is for.
        slot: Option<Timestamp>,
        /// Retries before this attempt, where the operator makes the attempts; the Job controller counts otherwise.
        retry: Option<u32>,
    },
}

impl Identity<'_> {
    /// The variables that tell a container who it is.
    pub(super) fn env(&self, task: &str) -> Vec<Value> {
        let field = |name: &str, path: String| json!({ "name": name, "valueFrom": { "fieldRef": { "fieldPath": path } } });
        let counted = field("NIGHTSHIFT_RETRY", format!("metadata.annotations['{}']", label::FAILURE_COUNT));
        let value = |name: &str, value: &str| json!({ "name": name, "value": value });
        match self {
            Identity::FromJob { namespace } => vec![
                value("NIGHTSHIFT_TASK", task),
                field("NIGHTSHIFT_RUN", format!("metadata.labels['{}']", label::JOB_NAME)),
                counted,
                value("NIGHTSHIFT_IDEMPOTENCY_KEY", &format!("{namespace}/$(NIGHTSHIFT_RUN)")),
            ],
            Identity::Run { key, run, slot, retry } => {
                let retry = retry.map_or(counted, |n| value("NIGHTSHIFT_RETRY", &n.to_string()));
                let known = [value("NIGHTSHIFT_TASK", task), value("NIGHTSHIFT_RUN", run), retry, value("NIGHTSHIFT_IDEMPOTENCY_KEY", key)];
                known.into_iter().chain(slot.map(|slot| value("NIGHTSHIFT_SCHEDULED_TIME", &slot.to_string()))).collect()
            }
        }
    }
}

/// Checks what the CRD's rules cannot see in a template.
///
/// # Errors
/// Tells the field and the fix.
pub fn check_template(task: &AutomationTask) -> Result<(), String> {
    let Some(template) = &task.spec.template else { return Ok(()) };
    let spec = template.0.pointer("/spec").and_then(Value::as_object).ok_or("template.spec: must be a pod's spec")?;
    for list in ["containers", "initContainers"] {
        let Some(containers) = spec.get(list) else { continue };
        let containers = containers.as_array().ok_or_else(|| format!("template.spec.{list}: must be a list"))?;
        for (index, container) in containers.iter().enumerate() {
            let env = container.get("env").and_then(Value::as_array).into_iter().flatten();
            for name in env.filter_map(|e| e.get("name")?.as_str()) {
                if name.starts_with("NIGHTSHIFT_") {
                    return Err(format!("template.spec.{list}[{index}].env: {name} is given by Nightshift; use another name"));
                }
            }
        }
    }
    Ok(())
}

/// The pod template of a task. `parameters` are name and value, complete.
pub(super) fn pod_template(task: &AutomationTask, parameters: &[(String, String)], identity: Identity<'_>, contract: &Contract) -> Value {
    let spec = &task.spec;
    let mut template = spec.template.as_ref().map_or_else(|| json!({}), |template| template.0.clone());
    let name = task.metadata.name.as_deref().unwrap_or_default();

    let metadata = object_at(&mut template, "metadata");
    let pod_labels = object_in(metadata, "labels");
    for (key, value) in labels(task) {
        pod_labels.insert(key, json!(value));
    }

    let pod = object_at(&mut template, "spec");
    let containers = list_in(pod, "containers");
    if !containers.iter().any(|c| c.get("name").and_then(Value::as_str) == Some(MAIN)) {
        containers.insert(0, json!({ "name": MAIN }));
    }
    let mut given = identity.env(name);
    given.extend(parameters.iter().map(|(name, value)| json!({ "name": name, "value": literal(value) })));
    for list in ["containers", "initContainers"] {
        if !pod.contains_key(list) {
            continue;
        }
        for container in list_in(pod, list).iter_mut().filter_map(Value::as_object_mut) {
            let is_main = list == "containers" && container.get("name").and_then(Value::as_str) == Some(MAIN);
            if is_main {
                short_fields(container, task);
            }
            let own = std::mem::take(list_in(container, "env"));
            let secrets = spec.secrets.iter().filter(|_| is_main).filter(|s| s.mount_path.is_none()).map(secret_variable);
            let plain = spec.env.iter().filter(|_| is_main).map(|e| json!({ "name": e.name, "value": e.value }));
            *list_in(container, "env") = given.iter().cloned().chain(secrets).chain(plain).chain(own).collect();
            restrict_container(container);
            if is_main {
                mount_files(container, &spec.secrets);
            }
            mount_tmp(container);
        }
    }
    pod.insert("restartPolicy".to_owned(), json!("Never"));
    pod.insert("activeDeadlineSeconds".to_owned(), json!(contract.attempt_seconds));
    default_to(pod, "terminationGracePeriodSeconds", json!(contract.grace_seconds));
    match &spec.service_account_name {
        Some(account) => {
            pod.insert("serviceAccountName".to_owned(), json!(account));
        }
        // A script that names no account has no business with the API server.
        None if !pod.contains_key("serviceAccountName") => default_to(pod, "automountServiceAccountToken", json!(false)),
        None => {}
    }
    let context = object_in(pod, "securityContext");
    for (key, value) in [
        ("runAsNonRoot", json!(true)),
        ("runAsUser", json!(USER)),
        ("runAsGroup", json!(USER)),
        ("fsGroup", json!(USER)),
        ("seccompProfile", json!({ "type": "RuntimeDefault" })),
    ] {
        default_to(context, key, value);
    }
    volumes(pod, &spec.secrets);
    template
}

/// The short way: fills the container named `main`.
fn short_fields(container: &mut Map<String, Value>, task: &AutomationTask) {
    let spec = &task.spec;
    let mut set = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            container.insert(key.to_owned(), value);
        }
    };
    set("image", spec.image.as_ref().map(|image| json!(image)));
    set("command", spec.command.as_ref().map(|command| json!(command)));
    set("args", spec.args.as_ref().map(|args| json!(args)));
    if let Some(script) = &spec.script {
        let interpreter = script.interpreter.clone().unwrap_or_else(|| vec!["sh".to_owned(), "-c".to_owned()]);
        let command: Vec<String> = interpreter.into_iter().chain([literal(&script.source)]).collect();
        set("command", Some(json!(command)));
    }
    set("resources", spec.resources.as_ref().map(|resources| json!(resources)));
    default_to(container, "terminationMessagePolicy", json!("FallbackToLogsOnError"));
}

/// Text that Kubernetes passes on as it stands. It turns `$$` into `$` everywhere and `$(NAME)` into a value, so every
/// `$` is doubled; escaping `$(` alone is not enough (`pid=$$` would lose a `$`).
fn literal(text: &str) -> String {
    text.replace('$', "$$")
}

fn secret_variable(secret: &SecretInjection) -> Value {
    json!({ "name": secret.name, "valueFrom": { "secretKeyRef": { "name": secret.secret_key_ref.name, "key": secret.secret_key_ref.key } } })
}

fn files(secrets: &[SecretInjection]) -> impl Iterator<Item = (String, &SecretInjection, &str)> {
    let with_path = secrets.iter().filter_map(|secret| secret.mount_path.as_deref().map(|path| (secret, path)));
    with_path.enumerate().map(|(index, (secret, path))| (format!("nightshift-secret-{index}"), secret, path))
}

/// One file, by `subPath`: whatever else the image has in that folder stays visible.
fn mount_files(container: &mut Map<String, Value>, secrets: &[SecretInjection]) {
    let mounts = list_in(container, "volumeMounts");
    for (volume, _, path) in files(secrets) {
        mounts.push(json!({ "name": volume, "mountPath": path, "subPath": "value", "readOnly": true }));
    }
}

/// A `/tmp` that can be written whatever the image and its user are, unless the container brings its own.
fn mount_tmp(container: &mut Map<String, Value>) {
    let mounts = list_in(container, "volumeMounts");
    let taken = mounts.iter().any(|m| m.get("mountPath").and_then(Value::as_str).is_some_and(|path| path.trim_end_matches('/') == "/tmp"));
    if !taken {
        mounts.push(json!({ "name": "nightshift-tmp", "mountPath": "/tmp" }));
    }
}

fn volumes(pod: &mut Map<String, Value>, secrets: &[SecretInjection]) {
    let volumes = list_in(pod, "volumes");
    volumes.push(json!({ "name": "nightshift-tmp", "emptyDir": {} }));
    for (volume, secret, _) in files(secrets) {
        volumes.push(json!({
            "name": volume,
            // 0440 and not 0400: the file belongs to root, the container reads it through fsGroup.
            "secret": { "secretName": secret.secret_key_ref.name, "defaultMode": 0o440, "items": [{ "key": secret.secret_key_ref.key, "path": "value" }] }
        }));
    }
}

fn restrict_container(container: &mut Map<String, Value>) {
    let context = object_in(container, "securityContext");
    let added = context.get("capabilities").and_then(|c| c.get("add")).and_then(Value::as_array);
    let admin = added.into_iter().flatten().filter_map(Value::as_str).any(|name| name.trim_start_matches("CAP_") == "SYS_ADMIN");
    // Kubernetes refuses a container that asks for these and forbids escalation.
    if !admin && context.get("privileged") != Some(&json!(true)) {
        default_to(context, "allowPrivilegeEscalation", json!(false));
    }
    default_to(context, "capabilities", json!({ "drop": ["ALL"] }));
}

fn default_to(object: &mut Map<String, Value>, key: &str, value: Value) {
    object.entry(key).or_insert(value);
}

/// The object under `key`; anything else that stands there is replaced, since Kubernetes would refuse it.
fn object_in<'a>(parent: &'a mut Map<String, Value>, key: &str) -> &'a mut Map<String, Value> {
    object_of(parent.entry(key).or_insert(Value::Null))
}

fn object_at<'a>(parent: &'a mut Value, key: &str) -> &'a mut Map<String, Value> {
    object_in(object_of(parent), key)
}

#[expect(clippy::unreachable, reason = "the value was made an object in the line above")]
fn object_of(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = json!({});
    }
    match value {
        Value::Object(object) => object,
        _ => unreachable!(),
    }
}

#[expect(clippy::unreachable, reason = "the value was made a list in the line above")]
fn list_in<'a>(parent: &'a mut Map<String, Value>, key: &str) -> &'a mut Vec<Value> {
    let value = parent.entry(key).or_insert(Value::Null);
    if !value.is_array() {
        *value = json!([]);
    }
    match value {
        Value::Array(list) => list,
        _ => unreachable!(),
    }
}
