//! `AutomationTask`: what is refused, what is accepted.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::{
    case::{Case, accepts, check, rejects, task, task_named},
    schema::{schemas, walk},
    server::{Keep, create, patch},
    support::{install_crds, with_temp_namespace, yaml},
};

/// A task that sets every field, with a command.
pub const RICH: &str = r"
owner:
  team: data-platform
  contact: data-platform@example.com
  onCall: data-nights
  runbook: https://runbooks.example.com/nightly-import
  severity: High
description: Loads the partner's file of the day.
image: registry.example.com/import:1.4@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
command: [/usr/bin/import, '--host=$(PARTNER_HOST)']
args: ['--day', '$(DAY)']
env:
- {name: PARTNER_HOST, value: files.partner.example.com}
- {name: EMPTY}
resources:
  requests: {cpu: 100m, memory: 128Mi}
  limits: {cpu: 2, memory: 512Mi, ephemeral-storage: 1Gi}
serviceAccountName: import
outputs: [{name: rows, type: Integer, description: lines that were read}]
parameters:
- {name: DAY, description: The day to load., default: '2026-01-31', required: false}
- {name: MODE, enum: [full, delta]}
- {name: FORMAT, pattern: 'csv|json'}
- {name: SLOT, fromSlot: 'format(slot, ''%Y-%m-%d'')'}
secrets:
- {name: DB_PASSWORD, secretKeyRef: {name: database, key: password}}
- {name: TOKEN, secretKeyRef: {name: partner.example.com, key: token}, mountPath: /etc/partner/token}
- {name: NETRC, secretKeyRef: {name: partner, key: .netrc}, mountPath: /home/app/.netrc}
schedule:
  cron: ['30 2 * * 1-5', 'H 4 * * SAT,SUN']
  timeZone: Europe/Berlin
  suspend: false
  concurrencyPolicy: Queue
  startingDeadlineSeconds: 300
  catchUp: {policy: All, limit: 20}
  exclude: ['2026-12-25', '2027-01-01']
  daylightSaving: {gap: RunAfter, overlap: First}
  notBefore: '2026-12-01T00:00:00Z'
  notAfter: '2027-11-30T23:59:59Z'
exitCodes: {noData: [2], retryable: [3, 75], fatal: [4], otherwise: Fatal}
retry:
  limit: 3
  onTimeout: false
  backoff: {initialSeconds: 30, factorPercent: 200, maxSeconds: 600, jitterPercent: 10}
timeouts: {attemptSeconds: 1800, pendingSeconds: 600, runSeconds: 14400}
concurrency: {max: 3, priority: -5, pools: [{poolRef: {name: warehouse}, slots: 2}]}
history: {succeeded: 5, failed: 20}
template:
  metadata:
    labels: {cost-centre: '4711'}
    annotations: {vault.hashicorp.com/agent-inject: 'true', vault.hashicorp.com/role: import}
  spec:
    restartPolicy: Never
    terminationGracePeriodSeconds: 60
    containers:
    - {name: main, image: 'registry.example.com/import:1.4'}
    initContainers:
    - {name: proxy, image: 'registry.example.com/proxy:2'}
";

/// The field that [`RICH`] cannot have beside its command.
const SCRIPT: &str = "{script: {interpreter: [python3, -c], source: 'print(1)'}}";

#[tokio::test]
async fn refuses_a_schedule_that_no_clock_can_keep() {
    let cron = |line: &str| {
        let spec = json!({ "schedule": { "cron": [line] } }).to_string();
        rejects(
            &format!("cron line {line:?}"),
            task(&spec),
            "spec.schedule.cron[0]",
            "want five fields (minute hour day-of-month month day-of-week",
        )
    };
    let zone = |zone: &str| {
        let spec = json!({ "schedule": { "cron": ["0 2 * * *"], "timeZone": zone } }).to_string();
        rejects(&format!("zone {zone:?}"), task(&spec), "spec.schedule.timeZone", "IANA name such as")
    };
    let mut cases: Vec<Case> = [
        "61 * * * *",
        "60 2 * * *",
        "0 24 * * *",
        "0 0 0 * *",
        "0 0 32 * *",
        "0 0 * 0 *",
        "0 0 * 13 *",
        "0 2 * * 8",
        "0 2 * *",
        "0 0 2 * * *",
        "*/0 * * * *",
        "*/-5 * * * *",
        "1,,2 * * * *",
        "1- * * * *",
        "1.5 * * * *",
        "",
        "     ",
        "@every 5m",
        "@reboot",
        "@nightly",
        "@daily @daily",
        "TZ=Europe/Berlin 0 2 * * *",
        "CRON_TZ=UTC 0 2 * * *",
        "0 2 * * FUNDAY",
        "0 2 L * *",
        "0 2 * * 1#2",
        "0 2 15W * *",
        "5H * * * *",
        "HH * * * *",
        "H(0-7 * * * *",
        "H( * * * *",
        "H()/5 * * * *",
        "H-5 * * * *",
        "0 2 * * *\n",
        "0 2 * * *; reboot",
        "0 2 * * * $(date)",
        "0\t2\t*\t*\t*",
        "٣ 2 * * *",
    ]
    .map(cron)
    .into();
    cases.extend(
        ["Mars/Phobos", "Local", "+02:00", "europe/berlin", "Europe/Berlin ", "../../etc/passwd", "Europe//Berlin", "UTC\n"].map(zone),
    );
    cases.extend([
        rejects("an empty zone", task("schedule: {cron: ['@daily'], timeZone: ''}"), "spec.schedule.timeZone", "at least 1"),
        rejects("a schedule without cron", task("schedule: {timeZone: UTC}"), "spec.schedule.cron", "Required"),
        rejects("no cron line", task("schedule: {cron: []}"), "spec.schedule.cron", "at least 1 items"),
        rejects("nine cron lines", task("schedule: {cron: ['1 * * * *', '2 * * * *', '3 * * * *', '4 * * * *', '5 * * * *', '6 * * * *', '7 * * * *', '8 * * * *', '9 * * * *']}"), "spec.schedule.cron", "at most 8 items"),
        rejects("a cron line twice", task("schedule: {cron: ['@daily', '@daily']}"), "spec.schedule.cron[1]", "Duplicate value"),
        rejects("cron as a text", task("schedule: {cron: '@daily'}"), "spec.schedule.cron", "must be of type array"),
        rejects("a deadline under the controller's ten seconds", task("schedule: {cron: ['@daily'], startingDeadlineSeconds: 5}"), "spec.schedule.startingDeadlineSeconds", "greater than or equal to 10"),
        rejects("a negative deadline", task("schedule: {cron: ['@daily'], startingDeadlineSeconds: -1}"), "spec.schedule.startingDeadlineSeconds", "greater than or equal to 10"),
    ]);
    refused(cases).await;
}

#[tokio::test]
async fn refuses_names_that_leave_no_room_for_those_of_jobs() {
    refused(vec![
        rejects("a name of 41 characters", task_named(&"a".repeat(41), "{}"), "metadata.name", "at most 40 characters"),
        rejects("a name with dots", task_named("nightly.import", "{}"), "metadata.name", "without dots"),
        rejects("a name in capitals", task_named("Nightly", "{}"), "metadata.name", "lower case"),
    ])
    .await;
}

#[tokio::test]
async fn refuses_exit_codes_with_two_meanings_or_none() {
    let codes = |name: &str, codes: &str, field: &str, fix: &str| rejects(name, task(&format!("exitCodes: {codes}")), field, fix);
    refused(vec![
        codes("a code twice in noData", "{noData: [2, 2]}", "spec.exitCodes.noData[1]", "Duplicate value: 2"),
        codes("a code twice in retryable", "{retryable: [7, 2, 7]}", "spec.exitCodes.retryable[2]", "Duplicate value: 7"),
        codes("a code twice in fatal", "{fatal: [9, 9]}", "spec.exitCodes.fatal[1]", "Duplicate value: 9"),
        codes(
            "a code in noData and retryable",
            "{noData: [2], retryable: [1, 2]}",
            "spec.exitCodes",
            "both noData and retryable; keep it in one",
        ),
        codes("a code in noData and fatal", "{noData: [2, 3], fatal: [3]}", "spec.exitCodes", "both noData and fatal; keep it in one"),
        codes(
            "a code in retryable and fatal",
            "{retryable: [4], fatal: [4]}",
            "spec.exitCodes",
            "both retryable and fatal; keep it in one",
        ),
        codes("code 0", "{noData: [0]}", "spec.exitCodes.noData[0]", "greater than or equal to 1"),
        codes("code 256", "{fatal: [256]}", "spec.exitCodes.fatal[0]", "less than or equal to 255"),
        codes("a negative code", "{retryable: [-1]}", "spec.exitCodes.retryable[0]", "greater than or equal to 1"),
        codes("a code as text", "{retryable: ['1']}", "spec.exitCodes.retryable[0]", "must be of type integer"),
        codes("a kill as no data", "{noData: [137]}", "spec.exitCodes.noData", "128, 137 and 143 are what Kubernetes itself reports"),
        codes("a stop as no data", "{noData: [143]}", "spec.exitCodes.noData", "use another code"),
        codes("a command that cannot start as no data", "{noData: [128]}", "spec.exitCodes.noData", "use another code"),
        codes(
            "an unknown meaning of other codes",
            "{otherwise: Ignore}",
            "spec.exitCodes.otherwise",
            "supported values: \"Retryable\", \"Fatal\"",
        ),
    ])
    .await;
}

#[tokio::test]
async fn refuses_what_cannot_run() {
    let template = |name: &str, pod: &str, field: &str, fix: &str| rejects(name, task(&format!("template: {{spec: {pod}}}")), field, fix);
    refused(vec![
        rejects(
            "no image",
            task("image: null"),
            "spec.image",
            "image is required, unless template has a container named main with an image",
        ),
        rejects(
            "a template without main and no image",
            task("{image: null, template: {spec: {containers: [{name: other, image: i}]}}}"),
            "spec.image",
            "container named main with an image",
        ),
        rejects(
            "a template whose main has no image",
            task("{image: null, template: {spec: {containers: [{name: main}]}}}"),
            "spec.image",
            "container named main with an image",
        ),
        rejects("an empty image", task("image: ''"), "spec.image", "at least 1"),
        rejects(
            "an image with blanks",
            task("image: 'import 1.4'"),
            "spec.image",
            "without blanks, such as registry.example.com/import:1.4",
        ),
        rejects("an image with a newline", task(r#"image: "import\n""#), "spec.image", "without blanks"),
        rejects(
            "a script beside a command",
            task("{script: {source: 'true'}, command: [x]}"),
            "spec.script",
            "command or args: the script is the command; remove one of them",
        ),
        rejects(
            "a script beside arguments",
            task("{script: {source: 'true'}, args: [x]}"),
            "spec.script",
            "command or args: the script is the command; remove one of them",
        ),
        rejects("an empty script", task("script: {source: ''}"), "spec.script.source", "at least 1"),
        rejects("an interpreter of no words", task("script: {source: x, interpreter: []}"), "spec.script.interpreter", "at least 1 items"),
        rejects(
            "a script of more bytes than characters",
            task(&json!({ "script": { "source": "ü".repeat(40_000) } }).to_string()),
            "spec.script.source",
            "at most 64 KiB",
        ),
        rejects("an empty command", task("command: []"), "spec.command", "at least 1 items"),
        rejects("a command as a text", task("command: import --all"), "spec.command", "must be of type array"),
        rejects(
            "a service account that is no name",
            task("serviceAccountName: Import Bot"),
            "spec.serviceAccountName",
            "lower case letters, digits",
        ),
        rejects(
            "CPU that is no quantity",
            task("resources: {limits: {cpu: two}}"),
            "spec.resources.limits[cpu]",
            "must be a quantity such as 100m",
        ),
        rejects(
            "memory that is no quantity",
            task("resources: {requests: {memory: 128 MB}}"),
            "spec.resources.requests[memory]",
            "must be a quantity such as 100m",
        ),
        rejects(
            "CPU that is no quantity to be compared",
            task("resources: {requests: {cpu: 1x}, limits: {cpu: '1'}}"),
            "spec.resources.requests[cpu]",
            "must be a quantity",
        ),
        rejects(
            "more requested than allowed",
            task("resources: {requests: {memory: 2Gi}, limits: {memory: 512Mi}}"),
            "spec.resources.requests",
            "must not exceed limits",
        ),
        rejects("a resource that is none", task("resources: {limits: {'c p u': '1'}}"), "spec.resources.limits", "keys must be"),
        template("a template without containers", "{}", "spec.template.spec.containers", "Required"),
        template("a template with no containers", "{containers: []}", "spec.template.spec.containers", "at least 1 items"),
        template(
            "two containers of the same name",
            "{containers: [{name: main}, {name: main}]}",
            "spec.template.spec.containers[1]",
            "Duplicate value",
        ),
        template("a container without a name", "{containers: [{image: i}]}", "spec.template.spec.containers[0].name", "Required"),
        template(
            "a container name with capitals",
            "{containers: [{name: Main, image: i}]}",
            "spec.template.spec.containers[0].name",
            "lower case letters",
        ),
        template(
            "a sidecar without an image",
            "{containers: [{name: main}, {name: side}]}",
            "spec.template.spec.containers",
            "every container but main needs an image",
        ),
        template(
            "an init container without an image",
            "{containers: [{name: main}], initContainers: [{name: a}]}",
            "spec.template.spec.initContainers",
            "every init container needs an image",
        ),
        template(
            "a template with its own deadline",
            "{containers: [{name: main}], activeDeadlineSeconds: 60}",
            "spec.template.spec.activeDeadlineSeconds",
            "timeouts.attemptSeconds; remove it and set that",
        ),
        template(
            "a template that restarts",
            "{containers: [{name: main}], restartPolicy: Always}",
            "spec.template.spec.restartPolicy",
            "supported values: \"Never\"",
        ),
        template(
            "a template that restarts on failure",
            "{containers: [{name: main}], restartPolicy: OnFailure}",
            "spec.template.spec.restartPolicy",
            "supported values: \"Never\"",
        ),
        template(
            "a grace period of a day",
            "{containers: [{name: main}], terminationGracePeriodSeconds: 86400}",
            "spec.template.spec.terminationGracePeriodSeconds",
            "less than or equal to 3600",
        ),
        rejects("a template without a spec", task("template: {metadata: {}}"), "spec.template.spec", "Required"),
        rejects(
            "a label of ours",
            task("template: {metadata: {labels: {nightshift.dev/task: x}}, spec: {containers: [{name: main}]}}"),
            "spec.template.metadata.labels",
            "nightshift.dev/",
        ),
        rejects(
            "an annotation of ours",
            task("template: {metadata: {annotations: {nightshift.dev/contract: x}}, spec: {containers: [{name: main}]}}"),
            "spec.template.metadata.annotations",
            "remove them",
        ),
        rejects(
            "a label of the Job controller",
            task("template: {metadata: {labels: {batch.kubernetes.io/job-name: x}}, spec: {containers: [{name: main}]}}"),
            "spec.template.metadata.labels",
            "remove them",
        ),
        rejects(
            "the label that selects what is ours",
            task("template: {metadata: {labels: {app.kubernetes.io/managed-by: helm}}, spec: {containers: [{name: main}]}}"),
            "spec.template.metadata.labels",
            "remove them",
        ),
        rejects(
            "a label key with blanks",
            task("template: {metadata: {labels: {a b: x}}, spec: {containers: [{name: main}]}}"),
            "spec.template.metadata.labels",
            "keys must be",
        ),
        rejects(
            "an annotation key with two slashes",
            task("template: {metadata: {annotations: {a/b/c: x}}, spec: {containers: [{name: main}]}}"),
            "spec.template.metadata.annotations",
            "keys must be",
        ),
        rejects(
            "a label with blanks",
            task("template: {metadata: {labels: {app: a b}}, spec: {containers: [{name: main}]}}"),
            "spec.template.metadata.labels[app]",
            "must be a label value",
        ),
    ])
    .await;
}

#[tokio::test]
async fn refuses_limits_that_contradict_each_other_or_are_none() {
    let number = |field: &str, value: i64, fix: &str| {
        let spec = field.rsplit('.').fold(json!(value), |inner, name| json!({ name: inner }));
        rejects(&format!("{field}: {value}"), task(&spec.to_string()), &format!("spec.{field}"), fix)
    };
    let huge = i64::from(i32::MAX);
    refused(vec![
        rejects(
            "a run shorter than its attempts",
            task("timeouts: {attemptSeconds: 600, runSeconds: 599}"),
            "spec.timeouts.runSeconds",
            "must be at least attemptSeconds",
        ),
        rejects(
            "a run shorter than an attempt's default hour",
            task("timeouts: {runSeconds: 600}"),
            "spec.timeouts.runSeconds",
            "attemptSeconds (3600 where unset)",
        ),
        rejects(
            "a back-off without retries",
            task("retry: {backoff: {initialSeconds: 10}}"),
            "spec.retry.backoff",
            "set retry.limit to at least 1",
        ),
        rejects(
            "a back-off with a limit of 0",
            task("retry: {limit: 0, backoff: {initialSeconds: 10}}"),
            "spec.retry.backoff",
            "set retry.limit to at least 1",
        ),
        rejects(
            "a longest wait under the first",
            task("retry: {limit: 1, backoff: {initialSeconds: 10, maxSeconds: 9}}"),
            "spec.retry.backoff.maxSeconds",
            "at least initialSeconds",
        ),
        rejects(
            "a back-off without its first wait",
            task("retry: {limit: 1, backoff: {maxSeconds: 9}}"),
            "spec.retry.backoff.initialSeconds",
            "Required",
        ),
        rejects(
            "a duration with a unit",
            task("timeouts: {attemptSeconds: 10m}"),
            "spec.timeouts.attemptSeconds",
            "must be of type integer",
        ),
        rejects(
            "a fraction of a second",
            task("timeouts: {attemptSeconds: 1.5}"),
            "spec.timeouts.attemptSeconds",
            "must be of type integer",
        ),
        number("timeouts.attemptSeconds", 0, "greater than or equal to 1"),
        number("timeouts.attemptSeconds", huge, "less than or equal to 2592000"),
        number("timeouts.pendingSeconds", -1, "greater than or equal to 1"),
        number("timeouts.pendingSeconds", huge, "less than or equal to"),
        number("timeouts.runSeconds", 0, "greater than or equal to 1"),
        number("timeouts.runSeconds", i64::MAX, "less than or equal to"),
        number("retry.limit", -1, "greater than or equal to 0"),
        number("retry.limit", 101, "less than or equal to 100"),
        number("retry.backoff.initialSeconds", 0, "greater than or equal to 1"),
        number("retry.backoff.initialSeconds", huge, "less than or equal to"),
        number("retry.backoff.factorPercent", 99, "greater than or equal to 100"),
        number("retry.backoff.factorPercent", huge, "less than or equal to 1000"),
        number("retry.backoff.jitterPercent", 101, "less than or equal to 100"),
        number("retry.backoff.maxSeconds", 0, "greater than or equal to 1"),
        number("history.succeeded", -1, "greater than or equal to 0"),
        number("history.failed", 51, "less than or equal to 50"),
    ])
    .await;
}

#[tokio::test]
async fn refuses_parameters_that_cannot_be_given() {
    let parameter =
        |name: &str, parameter: &str, field: &str, fix: &str| rejects(name, task(&format!("parameters: [{parameter}]")), field, fix);
    refused(vec![
        parameter("a parameter with a dash", "{name: my-day}", "spec.parameters[0].name", "letters, digits and '_'"),
        parameter("a parameter that starts with a digit", "{name: 1DAY}", "spec.parameters[0].name", "not starting with a digit"),
        parameter("a parameter without a name", "{default: x}", "spec.parameters[0].name", "Required"),
        parameter(
            "a parameter named as ours are",
            "{name: NIGHTSHIFT_RUN}",
            "spec.parameters[0].name",
            "given by Nightshift; use another name",
        ),
        parameter("a pattern that is none", "{name: DAY, pattern: '['}", "spec.parameters[0].pattern", "must be a regular expression"),
        parameter(
            "a pattern that looks ahead",
            "{name: DAY, pattern: '(?=x)'}",
            "spec.parameters[0].pattern",
            "must be a regular expression",
        ),
        parameter("an empty pattern", "{name: DAY, pattern: ''}", "spec.parameters[0].pattern", "at least 1"),
        parameter(
            "a default outside enum",
            "{name: MODE, default: some, enum: [full, delta]}",
            "spec.parameters[0].default",
            "must be one of enum",
        ),
        parameter(
            "a default that does not match",
            "{name: DAY, default: today, pattern: '[0-9]+'}",
            "spec.parameters[0].default",
            "must match pattern",
        ),
        parameter(
            "a default that matches in part",
            "{name: DAY, default: x1, pattern: '[0-9]+'}",
            "spec.parameters[0].default",
            "match the whole value",
        ),
        parameter(
            "a default with a line too many",
            r#"{name: DAY, default: "1\n", pattern: '[0-9]+'}"#,
            "spec.parameters[0].default",
            "match the whole value",
        ),
        parameter("an empty enum", "{name: DAY, enum: []}", "spec.parameters[0].enum", "at least 1 items"),
        parameter(
            "a required parameter with a default",
            "{name: DAY, required: true, default: x}",
            "spec.parameters[0].required",
            "remove required or default",
        ),
        parameter("a default that is a number", "{name: DAY, default: 5}", "spec.parameters[0].default", "must be of type string"),
        rejects(
            "a required parameter of a scheduled task",
            task("{parameters: [{name: DAY, required: true}], schedule: {cron: ['@daily']}}"),
            "spec.parameters",
            "cannot stand beside a schedule, which has nobody to ask; give them a default",
        ),
        rejects("a parameter twice", task("parameters: [{name: A}, {name: B}, {name: A}]"), "spec.parameters[2]", "Duplicate value"),
        rejects(
            "a parameter and a variable of the same name",
            task("{parameters: [{name: A}], env: [{name: A, value: x}]}"),
            "spec.env",
            "env and parameters have an entry of the same name; rename one",
        ),
        rejects(
            "a parameter and a secret of the same name",
            task("{parameters: [{name: A}], secrets: [{name: A, secretKeyRef: {name: s, key: k}}]}"),
            "spec.secrets",
            "secrets and parameters have an entry of the same name; rename one",
        ),
    ])
    .await;
}

#[tokio::test]
async fn refuses_variables_and_secrets_that_cannot_be_injected() {
    let secret = |name: &str, secret: &str, field: &str, fix: &str| rejects(name, task(&format!("secrets: [{secret}]")), field, fix);
    let path = |path: &str| {
        let spec = json!({ "secrets": [{ "name": "A", "secretKeyRef": { "name": "s", "key": "k" }, "mountPath": path }] }).to_string();
        rejects(&format!("mountPath {path:?}"), task(&spec), "spec.secrets[0].mountPath", "must be the absolute path of a file")
    };
    refused(vec![
        rejects("a variable with a dot", task("env: [{name: a.b, value: x}]"), "spec.env[0].name", "letters, digits and '_'"),
        rejects("a variable with an equals sign", task("env: [{name: OK}, {name: A=B}]"), "spec.env[1].name", "letters, digits and '_'"),
        rejects("a variable named as ours are", task("env: [{name: NIGHTSHIFT_TASK, value: x}]"), "spec.env[0].name", "given by Nightshift; use another name"),
        rejects("a variable twice", task("env: [{name: A}, {name: A}]"), "spec.env[1]", "Duplicate value"),
        rejects("a variable that is a number", task("env: [{name: A, value: 5}]"), "spec.env[0].value", "must be of type string"),
        rejects("a variable from a Secret in the wrong place", task("env: [{name: A, valueFrom: {secretKeyRef: {name: s, key: k}}}]"), "spec.env[0].valueFrom", "unknown field"),
        rejects("a variable and a secret of the same name", task("{env: [{name: A}], secrets: [{name: A, secretKeyRef: {name: s, key: k}}]}"), "spec.secrets", "secrets and env have an entry of the same name; rename one"),
        rejects("two secrets in the same file", task("secrets: [{name: A, secretKeyRef: {name: s, key: k}, mountPath: /a/b}, {name: B, secretKeyRef: {name: s, key: l}, mountPath: /a/b}]"), "spec.secrets", "same mountPath; change one"),
        rejects("a secret in a file below that of another", task("secrets: [{name: A, secretKeyRef: {name: s, key: k}, mountPath: /a/b}, {name: B, secretKeyRef: {name: s, key: l}, mountPath: /a/b/c}]"), "spec.secrets", "a file cannot be a directory; change one"),
        rejects("a secret twice", task("secrets: [{name: A, secretKeyRef: {name: s, key: k}}, {name: A, secretKeyRef: {name: s, key: l}}]"), "spec.secrets[1]", "Duplicate value"),
        secret("a secret named as ours are", "{name: NIGHTSHIFT_X, secretKeyRef: {name: s, key: k}}", "spec.secrets[0].name", "given by Nightshift; use another name"),
        secret("a secret without a key", "{name: A, secretKeyRef: {name: s}}", "spec.secrets[0].secretKeyRef.key", "Required"),
        secret("a secret from nowhere", "{name: A}", "spec.secrets[0].secretKeyRef", "Required"),
        secret("a secret with its value in the open", "{name: A, value: hunter2}", "spec.secrets[0].value", "unknown field"),
        secret("a key with a slash", "{name: A, secretKeyRef: {name: s, key: a/b}}", "spec.secrets[0].secretKeyRef.key", "must be a key of a Secret"),
        secret("a Secret of another namespace", "{name: A, secretKeyRef: {name: other/s, key: k}}", "spec.secrets[0].secretKeyRef.name", "must be the name of an object"),
        path("etc/partner/token"),
        path("/etc/../root/token"),
        path("/etc/partner/.."),
        path("/etc/./token"),
        path("/etc/partner/"),
        path("//etc"),
        path("/etc/partner token"),
        path("/etc/$(HOME)"),
        path("/a:/b"),
    ])
    .await;
}

#[tokio::test]
async fn refuses_a_task_that_nobody_answers_for() {
    refused(vec![
        rejects("no owner", task("owner: null"), "spec.owner", "Required"),
        rejects("an owner without a team", task("owner: {team: null, contact: x}"), "spec.owner.team", "Required"),
        rejects("an empty team", task("owner: {team: ''}"), "spec.owner.team", "at least 1"),
        rejects("a team with blanks", task("owner: {team: data platform}"), "spec.owner.team", "must be a label value"),
        rejects("a team that ends in a dash", task("owner: {team: data-}"), "spec.owner.team", "must be a label value"),
        rejects(
            "a team of 64 characters",
            task(&format!("owner: {{team: {}}}", "a".repeat(64))),
            "spec.owner.team",
            "may not be more than 63",
        ),
        rejects(
            "a runbook that is no URL",
            task("owner: {runbook: see the wiki}"),
            "spec.owner.runbook",
            "must be a URL that starts with http:// or https://",
        ),
        rejects(
            "a runbook that runs",
            task("owner: {runbook: 'javascript:alert(1)'}"),
            "spec.owner.runbook",
            "must be a URL that starts with http",
        ),
        rejects(
            "an unknown severity",
            task("owner: {severity: Urgent}"),
            "spec.owner.severity",
            "supported values: \"Critical\", \"High\", \"Normal\", \"Low\"",
        ),
        rejects("an unknown field", task("imagee: x"), "spec.imagee", "unknown field"),
        rejects(
            "an unknown field further down",
            task("retry: {backoff: {initialSeconds: 1, factor: 2}, limit: 1}"),
            "spec.retry.backoff.factor",
            "unknown field",
        ),
        rejects(
            "a field in the wrong case",
            task("schedule: {cron: ['@daily'], timezone: UTC}"),
            "spec.schedule.timezone",
            "unknown field",
        ),
        rejects(
            "no spec",
            json!({ "apiVersion": "nightshift.dev/v1alpha1", "kind": "AutomationTask", "metadata": { "name": "a" } }),
            "spec",
            "Required",
        ),
    ])
    .await;
}

async fn refused(cases: Vec<Case>) {
    with_temp_namespace(async move |client, namespace| {
        install_crds(&client).await;
        check(&client, &namespace, cases).await;
    })
    .await;
}

#[tokio::test]
async fn accepts_what_people_write() {
    with_temp_namespace(async |client, namespace| {
        install_crds(&client).await;
        let cron = |line: &str| accepts(line, task(&json!({ "schedule": { "cron": [line] } }).to_string()));
        let zone = |zone: &str| accepts(zone, task(&json!({ "schedule": { "cron": ["H H * * *"], "timeZone": zone } }).to_string()));
        let mut cases: Vec<Case> = [
            "30 2 * * 1-5",
            "* * * * *",
            "*/15 * * * *",
            "0,30 8-18/2 1,15 * *",
            "05 02 01 01 0",
            "0 2 * * 7",
            "0 2 * * SUN",
            "0 2 * JAN-MAR mon-fri",
            "0 2 ? * *",
            "0  2  *  *  *",
            "@hourly",
            "@daily",
            "@midnight",
            "@weekly",
            "@monthly",
            "@yearly",
            "@annually",
            "H * * * *",
            "H/15 * * * *",
            "H(0-7) * * * *",
            "H(0-29)/10 * * * *",
            "H H(0-4) H * H",
            "H,30 2 * * *",
            // Refused by the operator, on Ready: no regular expression can compare numbers.
            "5-1 * * * *",
            "0 0 30 2 *",
        ]
        .map(cron)
        .into();
        cases.extend(["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Etc/GMT+5", "America/Port-au-Prince"].map(zone));
        cases.extend([
            accepts("the least that a task needs", task("{}")),
            accepts("a name of 40 characters", task_named(&"a".repeat(40), "{}")),
            accepts("a task with everything, and a command", task(RICH)),
            accepts("a task with everything, and a script", task(&rich_with_script().to_string())),
            accepts(
                "a template that brings all",
                task("{image: null, template: {spec: {containers: [{name: side, image: s}, {name: main, image: i}]}}}"),
            ),
            accepts("a template whose main gets the image", task("template: {spec: {containers: [{name: main}]}}")),
            accepts("a template to which main is added", task("template: {spec: {containers: [{name: side, image: s}]}}")),
            accepts(
                "nulls, as Helm charts leave them",
                json!({
                    "apiVersion": "nightshift.dev/v1alpha1", "kind": "AutomationTask", "metadata": { "name": "a" },
                    "spec": { "owner": { "team": "t", "contact": null }, "image": "i", "command": null, "script": null, "env": null,
                        "schedule": null, "retry": null, "timeouts": { "runSeconds": null }, "template": null, "parameters": null },
                }),
            ),
            accepts("arguments with all that shells fear", task(r"args: ['$(date)', '$$', '${X}', '`id`', '''', '\', '']")),
            accepts("every code in one list", task(&json!({ "exitCodes": { "fatal": (1..=255).collect::<Vec<_>>() } }).to_string())),
            accepts("a script of 64 KiB", task(&json!({ "script": { "source": "$".repeat(65536) } }).to_string())),
            accepts("a required parameter of a task on demand", task("parameters: [{name: DAY, required: true}]")),
            accepts("a run as long as its attempt", task("timeouts: {attemptSeconds: 60, runSeconds: 60}")),
        ]);
        check(&client, &namespace, cases).await;
    })
    .await;
}

#[tokio::test]
async fn keeps_a_template_as_written() {
    with_temp_namespace(async |client, namespace| {
        install_crds(&client).await;
        let template: Value = yaml(
            r"
            metadata: {annotations: {a: b}}
            fieldFromTheFuture: {deep: [1, two, {three: 3}]}
            spec:
              nodeSelector: {disk: ssd}
              schedulingGates: [{name: example.com/gate}]
              resources: {limits: {cpu: '4'}}
              podFieldFromTheFuture: {on: true, off: false, none: null, list: [], text: '', number: -9007199254740991}
              volumes:
              - {name: vault, csi: {driver: secrets-store.csi.k8s.io, readOnly: true, volumeAttributes: {secretProviderClass: db}}}
              containers:
              - name: main
                env: [{name: A, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]
                volumeMounts: [{name: vault, mountPath: /mnt, subPathExpr: $(A)}]
                containerFieldFromTheFuture: [[], {}, [null]]
              initContainers:
              - {name: side, image: s, restartPolicy: Always, startupProbe: {exec: {command: [sh, -c, 'test -e /x']}}}
            ",
        );
        let spec = json!({ "template": template.clone() });
        let stored = create(&client, &namespace, &task(&spec.to_string()), Keep::Stored).await.expect("the server takes it");
        assert_eq!(stored["spec"]["template"], template);
        let typed: nightshift::api::AutomationTask = serde_json::from_value(stored).expect("readable");
        assert_eq!(serde_json::to_value(&typed.spec.template).expect("JSON"), template);
    })
    .await;
}

#[tokio::test]
async fn leaves_status_to_the_operator() {
    with_temp_namespace(async |client, namespace| {
        install_crds(&client).await;
        let status = json!({ "status": { "schedule": "forged", "activeCount": 3 } });
        let mut forged = task("{}");
        forged["status"] = status["status"].clone();
        let stored = create(&client, &namespace, &forged, Keep::Stored).await.expect("the server takes it");
        assert_eq!(stored["status"], Value::Null);
        let patched = patch(&client, &namespace, &stored, &status, Keep::DryRun).await.expect("the server takes it");
        assert_ne!(patched["status"]["schedule"], "forged");
    })
    .await;
}

#[test]
fn the_rich_tasks_set_every_field() {
    let mut missing: BTreeSet<String> = BTreeSet::new();
    let (_, schema) = schemas().swap_remove(0);
    walk("spec", &schema["properties"]["spec"], &mut |path, _| {
        missing.insert(path.to_owned());
    });
    for spec in [yaml(RICH), rich_with_script()] {
        let mut set = Vec::new();
        paths("spec", &spec, &schema["properties"]["spec"], &mut set);
        missing.retain(|path| !set.contains(path));
    }
    // Known to the schema only to be refused.
    missing.remove("spec.template.spec.activeDeadlineSeconds");
    assert!(missing.is_empty(), "not in a rich task: {missing:?}");
}

/// The same task, with a script instead of the command.
pub fn rich_with_script() -> Value {
    let mut spec: Value = yaml(RICH);
    let script: Value = yaml(SCRIPT);
    let fields = spec.as_object_mut().expect("an object");
    fields.remove("command");
    fields.remove("args");
    fields.insert("script".to_owned(), script["script"].clone());
    spec
}

fn paths(path: &str, value: &Value, schema: &Value, found: &mut Vec<String>) {
    found.push(path.to_owned());
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match schema["properties"].get(name) {
                    Some(known) => paths(&format!("{path}.{name}"), value, known, found),
                    None => found.push(format!("{path}{{}}")),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| paths(&format!("{path}[]"), item, &schema["items"], found)),
        _ => {}
    }
}
