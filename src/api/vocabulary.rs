//! The words of a spec that kinds share: owner, schedule, exit codes, retries, timeouts, secrets, parameters.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::{KubeSchema, core::Rule};
use schemars::{JsonSchema, Schema, transform::transform_subschemas};
use serde::{Deserialize, Serialize};

// Rules in words: a schema's `pattern` can only show its regular expression to whoever broke it.

/// The text matches, or `message` says what to write instead.
pub(super) fn matching(pattern: &str, message: &str) -> Rule {
    Rule::new(format!("self.matches('{}')", pattern.replace('\\', r"\\"))).message(message)
}

/// The name of an object whose name may hold dots.
pub(super) fn object_name() -> Rule {
    matching(
        "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$",
        "must be the name of an object: lower case letters, digits, '-' and '.', starting and ending with a letter or digit",
    )
}

/// The keys of a map of labels, annotations or resources.
pub(super) fn qualified_keys() -> Rule {
    Rule::new("self.all(key, key.matches('^([a-z0-9][-a-z0-9.]*/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$'))")
        .message("keys must be letters, digits, '-', '_' and '.', with or without a domain before them, such as app or example.com/app")
}

/// A time that every program can tell: the calendar of some ends in December 9999.
pub(super) fn in_our_time() -> Rule {
    Rule::new("self < timestamp('9999-01-01T00:00:00Z')").message("lies after all time; leave it out, or take a year before 9999")
}

/// An object whose fields are not checked.
pub(super) fn any_object(_: &mut schemars::SchemaGenerator) -> Schema {
    schemars::json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
}

/// A list of anything.
pub(super) fn any_items(_: &mut schemars::SchemaGenerator) -> Schema {
    schemars::json_schema!({ "type": "array", "maxItems": 1000, "items": { "x-kubernetes-preserve-unknown-fields": true } })
}

fn variable_name() -> Rule {
    matching("^[A-Za-z_][A-Za-z0-9_]*$", "must be letters, digits and '_', not starting with a digit: it becomes an environment variable")
}

fn not_ours() -> Rule {
    Rule::new("!self.startsWith('NIGHTSHIFT_')").message("names starting with NIGHTSHIFT_ are given by Nightshift; use another name")
}

/// No program can be given a NUL character, neither as argument nor as environment variable.
pub(super) fn no_nul() -> Rule {
    Rule::new(r"!self.contains('\u0000')").message("contains a NUL character, which no program can be given; remove it")
}

/// The same for each text of a list.
pub(super) fn no_nul_in_any() -> Rule {
    Rule::new(r"self.all(text, !text.contains('\u0000'))").message("contains a NUL character, which no program can be given; remove it")
}

/// What stands in Events and on terminals is one line.
pub(super) fn one_line() -> Rule {
    Rule::new("!self.matches('[[:cntrl:]]')").message("must be one line, without control characters")
}

/// Joins the lines of each paragraph of the descriptions: doc comments are wrapped for us, `kubectl explain` wraps again.
pub(super) fn unwrapped(schema: &mut Schema) {
    if let Some(text) = schema.get("description").and_then(|text| text.as_str()) {
        let paragraphs: Vec<String> = text.split("\n\n").map(|paragraph| paragraph.replace('\n', " ")).collect();
        schema.insert("description".into(), paragraphs.join("\n\n").into());
    }
    transform_subschemas(&mut unwrapped, schema);
}

/// Who answers for this automation. It is stamped on its Jobs and events.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Owner {
    /// Team that owns the automation, for example `data-platform`. Becomes the label `nightshift.dev/team`, so it must
    /// be a valid label value. Required.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = matching("^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$", "must be a label value: letters, digits, '-', '_' and '.', starting and ending with a letter or digit, such as data-platform"))]
    pub team: String,
    /// How to reach a person: an e-mail address or a chat channel.
    #[schemars(length(max = 256))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contact: Option<String>,
    /// Name of the on-call rota; told in the Event of a run that ends badly.
    #[schemars(length(max = 256))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_call: Option<String>,
    /// URL of the page that says what to do when it fails. http or https.
    #[schemars(length(max = 2048))]
    #[x_kube(validation = matching(r"^https?://[^\s]+$", "must be a URL that starts with http:// or https:// and has no blanks"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runbook: Option<String>,
    /// How bad a failed run is: Critical, High, Normal (where unset) or Low.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
}

/// How bad a failed run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(description = "")]
pub enum Severity {
    /// Wakes a person at night.
    Critical,
    /// Needs a person today.
    High,
    /// Needs a person this week.
    Normal,
    /// Nobody waits for it.
    Low,
}

/// A script that runs as it stands: it becomes the last argument of the interpreter, byte for byte. No ConfigMap, no
/// escaping: `$(date)`, `$$`, `${X}`, quotes and newlines arrive unchanged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Script {
    /// Command that gets the source as its last argument. `["sh", "-c"]` where unset; for Python `["python3", "-c"]`.
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 1024)))]
    #[x_kube(validation = no_nul_in_any())]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interpreter: Option<Vec<String>>,
    /// The script, at most 64 KiB.
    #[schemars(length(min = 1, max = 65536))]
    #[x_kube(validation = no_nul(), validation = Rule::new("bytes(self).size() <= 65536").message("must be at most 64 KiB (65536 bytes); put a longer script into the image"))]
    pub source: String,
}

/// An environment variable with a literal value. Kubernetes expands `$(NAME)` in it for variables defined before it:
/// those that Nightshift gives, parameters, secrets, then the earlier entries of this list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct EnvVar {
    /// Name of the variable: letters, digits and `_`, not starting with a digit.
    #[schemars(length(min = 1, max = 128))]
    #[x_kube(validation = variable_name(), validation = not_ours())]
    pub name: String,
    /// Value of the variable. Not for passwords: use `secrets`.
    #[schemars(length(max = 32768))]
    #[x_kube(validation = no_nul())]
    #[serde(default)]
    pub value: String,
}

/// CPU and memory of the container, as in a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.requests) || !has(self.limits) || self.requests.all(k, !(k in self.limits) || !isQuantity(string(self.requests[k])) || !isQuantity(string(self.limits[k])) || quantity(string(self.requests[k])).compareTo(quantity(string(self.limits[k]))) <= 0)").message("resources.requests must not exceed limits").field_path(".requests"))]
pub struct Resources {
    /// What the container is sure to get, for example `{cpu: 100m, memory: 128Mi}`.
    #[schemars(schema_with = "quantities")]
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub requests: BTreeMap<String, IntOrString>,
    /// What the container cannot exceed. Over the memory limit it is killed (`OOMKilled`).
    #[schemars(schema_with = "quantities")]
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub limits: BTreeMap<String, IntOrString>,
}

fn quantities(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "maxProperties": 16,
        "additionalProperties": {
            "x-kubernetes-int-or-string": true, "maxLength": 32,
            "x-kubernetes-validations": [{ "rule": "isQuantity(string(self))", "message": "must be a quantity such as 100m, 2 or 512Mi" }]
        },
        "x-kubernetes-validations": [qualified_keys()]
    })
}

/// A secret that is injected when the container starts, as an environment variable, or as a file where `mountPath` is
/// set. The operator never reads Secrets: Kubernetes injects the value, and a missing one is named on the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretInjection {
    /// Name of the environment variable. For a file it only tells the entry from others.
    #[schemars(length(min = 1, max = 128))]
    #[x_kube(validation = variable_name(), validation = not_ours())]
    pub name: String,
    /// Which key of which Secret in the task's namespace.
    pub secret_key_ref: SecretKeyRef,
    /// Absolute path of the file that holds the value, for example `/etc/partner/token`. Mode 0440, readable by the
    /// container's group. The value is an environment variable where this is unset.
    #[schemars(length(min = 2, max = 256))]
    #[x_kube(validation = Rule::new("self.matches('^(/[A-Za-z0-9._-]+)+$') && !self.matches('/[.][.]?(/|$)')").message("must be the absolute path of a file, such as /etc/partner/token: letters, digits, '.', '_' and '-' between slashes, no '..'"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mount_path: Option<String>,
}

/// A key of a Secret in the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyRef {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = object_name())]
    pub name: String,
    /// Key in it.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = matching("^[-._a-zA-Z0-9]+$", "must be a key of a Secret: letters, digits, '-', '_' and '.'"))]
    pub key: String,
}

/// A parameter of the task: an environment variable that each run may set. Kubernetes expands `$(NAME)` in `command`
/// and `args`; there is no template engine, so a value cannot inject anything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.default) || !has(self.enum) || self.default in self.enum").message("default must be one of enum").field_path(".default"),
    validation = Rule::new("!has(self.default) || !has(self.pattern) || self.default.matches('^(?:' + self.pattern + ')$')").message("default must match pattern, which has to match the whole value").field_path(".default"),
    validation = Rule::new("!(has(self.default) && has(self.required) && self.required)").message("a parameter with a default is never missing: remove required or default").field_path(".required")
)]
pub struct Parameter {
    /// Name of the parameter and of the environment variable: letters, digits and `_`, not starting with a digit.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = variable_name(), validation = not_ours())]
    pub name: String,
    /// What it means, for whoever starts a run by hand.
    #[schemars(length(max = 1024))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Value where a run gives none. Scheduled runs use it where there is no `fromSlot`.
    #[schemars(length(max = 1024))]
    #[x_kube(validation = no_nul())]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    /// Value for a run of a slot (scheduled, caught up or backfilled) that gives none: a CEL expression over the slot, for
    /// example `format(slot, '%Y-%m-%d')` or `format(slot - duration('24h'), '%Y%m%d')`. `slot` is the slot's time and
    /// `previousSlot` that of the slot before it, both in the schedule's zone; `format` takes strftime's letters. A number
    /// or truth value becomes text. CEL's macros (`map`, `filter`, …) and `matches` are not there; at most 16 brackets within
    /// one another and 128 operators. A rerun keeps the value of the run that it repeats.
    #[schemars(length(min = 1, max = 1024))]
    #[x_kube(validation = no_nul())]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_slot: Option<String>,
    /// The only values allowed.
    #[schemars(length(min = 1, max = 64), inner(length(max = 256)))]
    #[x_kube(validation = no_nul_in_any())]
    #[serde(default, rename = "enum", skip_serializing_if = "Option::is_none")]
    pub one_of: Option<Vec<String>>,
    /// Regular expression (RE2 syntax) that the whole value must match, for example `[0-9]{4}-[0-9]{2}-[0-9]{2}`.
    #[schemars(length(min = 1, max = 256))]
    #[x_kube(validation = Rule::new("''.matches(self) in [true, false]").message("must be a regular expression (RE2)"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// Whether a run must give a value. A task with a schedule has nobody to ask: give a default or `fromSlot` there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub required: Option<bool>,
}

/// What each exit code of the container means. 0 is success. A code may stand in one list only.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.noData) || !has(self.retryable) || !self.noData.exists(c, c in self.retryable)").message("exitCodes: a code stands in both noData and retryable; keep it in one"),
    validation = Rule::new("!has(self.noData) || !has(self.fatal) || !self.noData.exists(c, c in self.fatal)").message("exitCodes: a code stands in both noData and fatal; keep it in one"),
    validation = Rule::new("!has(self.retryable) || !has(self.fatal) || !self.retryable.exists(c, c in self.fatal)").message("exitCodes: a code stands in both retryable and fatal; keep it in one"),
    validation = Rule::new("!has(self.noData) || !self.noData.exists(c, c in [128, 137, 143])").message("exitCodes.noData: 128, 137 and 143 are what Kubernetes itself reports for a command that cannot start, a kill and a stop; use another code").field_path(".noData")
)]
pub struct ExitCodes {
    /// There was nothing to do, and that is fine: the run ends with the outcome `NoData`, which is a good one, and is
    /// not retried.
    #[schemars(schema_with = "exit_code_list")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub no_data: Vec<i32>,
    /// It may work another time: retried while `retry.limit` allows.
    #[schemars(schema_with = "exit_code_list")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retryable: Vec<i32>,
    /// Trying again is useless or harmful: the run fails at once.
    #[schemars(schema_with = "exit_code_list")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fatal: Vec<i32>,
    /// What a code means that stands in no list: `Retryable` (where unset) or `Fatal`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub otherwise: Option<Otherwise>,
}

/// What an unlisted exit code means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(description = "")]
pub enum Otherwise {
    /// Retried while `retry.limit` allows.
    #[default]
    Retryable,
    /// The run fails at once.
    Fatal,
}

fn exit_code_list(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "array", "maxItems": 255, "x-kubernetes-list-type": "set",
        "items": { "type": "integer", "format": "int32", "minimum": 1, "maximum": 255 }
    })
}

/// How often and when a failed attempt is tried again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.backoff) || (has(self.limit) && self.limit > 0)").message("retry.backoff has no effect without retries; set retry.limit to at least 1").field_path(".backoff"))]
pub struct Retry {
    /// Retries after the first try; 0 where unset. A script is not safe to run twice until its owner says so. A pod that
    /// is evicted or loses its node is replaced without using up a retry; one removed by `kubectl delete pod` uses one up.
    #[schemars(range(min = 0, max = 100))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<i32>,
    /// Waiting times between attempts: `initialSeconds`, then each time `factorPercent` of the one before, at most
    /// `maxSeconds`. Where unset, Kubernetes' Job controller retries by itself after 10, 20, 40 …
    /// seconds, at most 6 minutes, also while the operator is down. Where set, each attempt is a Job that the operator makes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backoff: Option<Backoff>,
    /// Whether an attempt that ran into `timeouts.attemptSeconds` is retried; true where unset. Where false and `limit`
    /// is above 0, each attempt is a Job that the operator makes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_timeout: Option<bool>,
}

/// Waiting times between attempts: `initialSeconds`, then each time `factorPercent` of the one before, at most `maxSeconds`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.maxSeconds) || self.maxSeconds >= self.initialSeconds").message("retry.backoff.maxSeconds must be at least initialSeconds").field_path(".maxSeconds"))]
pub struct Backoff {
    /// Seconds before the first retry, counted from the end of the attempt before it.
    #[schemars(range(min = 1, max = 86_400))]
    pub initial_seconds: i64,
    /// Each wait as a percentage of the one before; 200 (double) where unset, 100 for a constant wait.
    #[schemars(range(min = 100, max = 1000))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub factor_percent: Option<i32>,
    /// Longest wait in seconds; 3600 where unset.
    #[schemars(range(min = 1, max = 604_800))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_seconds: Option<i64>,
    /// Lengthens each wait by up to this percentage, so that tasks which failed together do not return together; 0
    /// where unset. The same run and attempt always get the same jitter.
    #[schemars(range(min = 0, max = 100))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jitter_percent: Option<i32>,
}

/// How long things may take, in seconds. All are finite by default: nothing hangs for ever.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.runSeconds) || self.runSeconds >= (has(self.attemptSeconds) ? self.attemptSeconds : 3600)").message("timeouts.runSeconds must be at least attemptSeconds (3600 where unset): one attempt has to fit into the run").field_path(".runSeconds"))]
pub struct Timeouts {
    /// Longest time of one attempt, counted from when the node accepted the pod; 3600 where unset. Then the container
    /// gets SIGTERM, and SIGKILL when the pod's grace period (30 s unless `template` says otherwise) is over.
    #[schemars(range(min = 1, max = 2_592_000))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt_seconds: Option<i64>,
    /// Longest time that an attempt may wait to start (image, Secret, a free node); 900 where unset. Ended by the
    /// operator: while it is down, `runSeconds` bounds this wait too.
    #[schemars(range(min = 1, max = 2_592_000))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending_seconds: Option<i64>,
    /// Longest time of the whole run with all attempts and waits. Where unset: `pendingSeconds` + (`retry.limit` + 1) x
    /// (`attemptSeconds` + grace period) + all back-offs. Kubernetes enforces it with the operator down too.
    #[schemars(range(min = 1, max = 31_536_000))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_seconds: Option<i64>,
}

/// How many finished runs are kept, with their Jobs, pods and logs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct History {
    /// Runs that ended well (Succeeded, NoData) to keep; 10 where unset.
    #[schemars(range(min = 0, max = 50))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub succeeded: Option<i32>,
    /// Runs that ended otherwise to keep; 10 where unset.
    #[schemars(range(min = 0, max = 50))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<i32>,
}

/// A value for a parameter of the task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ParameterValue {
    /// Name of the parameter.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = variable_name())]
    pub name: String,
    /// Its value. It reaches the container as it stands.
    #[schemars(length(max = 4096))]
    #[x_kube(validation = no_nul())]
    pub value: String,
}
