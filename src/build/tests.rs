#![expect(clippy::needless_pass_by_value, reason = "`json!` reads better without a reference")]

use std::collections::BTreeMap;

use insta::assert_json_snapshot;
use proptest::prelude::*;

use super::*;
use crate::{api::Contract, outcome::JobSeen, schedule::CronLine};

fn task(name: &str, spec: Value) -> AutomationTask {
    let mut spec = spec;
    if spec.get("owner").is_none() {
        spec["owner"] = json!({ "team": "data" });
    }
    serde_json::from_value(json!({
        "apiVersion": "nightshift.dev/v1alpha1",
        "kind": "AutomationTask",
        "metadata": {
            "name": name, "namespace": "etl", "uid": "uid-task", "generation": 7,
            "labels": { "argocd.argoproj.io/instance": "prod" }, "annotations": { "kubectl.kubernetes.io/last-applied-configuration": "{}" },
        },
        "spec": spec,
    }))
    .unwrap()
}

fn told(parameters: &[(String, String)]) -> Told {
    Told { parameters: parameters.to_vec(), key: "etl/import-now".to_owned(), slot: None }
}

fn run(name: &str) -> AutomationRun {
    serde_json::from_value(json!({
        "apiVersion": "nightshift.dev/v1alpha1",
        "kind": "AutomationRun",
        "metadata": { "name": name, "namespace": "etl", "uid": "uid-run" },
        "spec": { "taskRef": { "name": "import" } },
    }))
    .unwrap()
}

fn cron_job_of(task: &AutomationTask) -> Value {
    let written = &task.spec.schedule.as_ref().unwrap().cron[0];
    let line = CronLine::parse(written, &format!("etl/{}", task.metadata.name.as_deref().unwrap())).unwrap();
    cron_job(task, (0, &line), &Contract::of(&task.spec, 7), false).object
}

fn job_of(spec: Value) -> Value {
    first_job(&task("import", spec), &run("import-now"), &told(&[]), None)
}

fn pod_of(spec: Value) -> Value {
    job_of(spec)["spec"]["template"]["spec"].clone()
}

fn rich() -> Value {
    json!({
        "owner": { "team": "data-platform", "contact": "#data", "onCall": "data-primary", "runbook": "https://wiki.example.com/import", "severity": "High" },
        "image": "registry.example.com/import:1.4",
        "script": { "interpreter": ["bash", "-euc"], "source": "echo \"$(date) $$ ${DAY}\"\nfetch || exit 2; transform || exit 3; load || exit 1\n" },
        "env": [{ "name": "REGION", "value": "eu" }, { "name": "BUCKET", "value": "s3://$(REGION)" }],
        "resources": { "requests": { "cpu": "100m" }, "limits": { "memory": "256Mi", "cpu": 2 } },
        "serviceAccountName": "importer",
        "parameters": [{ "name": "DAY", "default": "today" }, { "name": "NOTE" }],
        "secrets": [
            { "name": "DB_PASSWORD", "secretKeyRef": { "name": "db", "key": "password" } },
            { "name": "TLS_KEY", "secretKeyRef": { "name": "tls", "key": "tls.key" }, "mountPath": "/etc/import/tls.key" },
        ],
        "schedule": { "cron": ["H 2 * * *"], "timeZone": "Europe/Berlin", "concurrencyPolicy": "Forbid", "startingDeadlineSeconds": 300 },
        "exitCodes": { "noData": [2], "retryable": [75, 1], "fatal": [3], "otherwise": "Fatal" },
        "retry": { "limit": 3, "backoff": { "initialSeconds": 60, "maxSeconds": 600, "jitterPercent": 10 }, "onTimeout": false },
        "timeouts": { "attemptSeconds": 1800, "pendingSeconds": 300, "runSeconds": 14400 },
    })
}

#[test]
fn a_minimal_task_renders_to_this_cron_job() {
    assert_json_snapshot!(
        "minimal_cron_job",
        cron_job_of(&task("import", json!({ "image": "import:1", "schedule": { "cron": ["H 2 * * *"] } })))
    );
}

#[test]
fn a_run_of_a_rich_task_renders_to_this_job() {
    let values = [("DAY".to_owned(), "2026-11-24".to_owned()), ("NOTE".to_owned(), "costs $5 $(HOME)".to_owned())];
    assert_json_snapshot!("rich_job", first_job(&task("import", rich()), &run("import-now"), &told(&values), None));
}

#[test]
fn a_template_with_a_sidecar_csi_and_vault_keeps_all_that_it_says() {
    let template = json!({
        "metadata": {
            "labels": { "app": "import" },
            "annotations": { "vault.hashicorp.com/agent-inject": "true", "vault.hashicorp.com/role": "import" },
        },
        "spec": {
            "serviceAccountName": "vaulted",
            "newerThanOurLibrary": { "kept": true },
            "securityContext": { "runAsUser": 1000, "seccompProfile": { "type": "Localhost", "localhostProfile": "p.json" } },
            "initContainers": [{ "name": "proxy", "image": "proxy:1", "restartPolicy": "Always" }],
            "containers": [
                { "name": "helper", "image": "helper:1", "securityContext": { "readOnlyRootFilesystem": true } },
                {
                    "name": "main",
                    "env": [{ "name": "OWN", "value": "1" }],
                    "volumeMounts": [{ "name": "csi", "mountPath": "/mnt/secrets", "readOnly": true }, { "name": "scratch", "mountPath": "/tmp/" }],
                    "securityContext": { "capabilities": { "add": ["NET_BIND_SERVICE"], "drop": ["ALL"] } },
                },
            ],
            "volumes": [
                { "name": "csi", "csi": { "driver": "secrets-store.csi.k8s.io", "readOnly": true, "volumeAttributes": { "secretProviderClass": "db" } } },
                { "name": "scratch", "emptyDir": { "sizeLimit": "1Gi" } },
            ],
        },
    });
    let spec = json!({ "image": "import:1", "args": ["--day", "$(DAY)"], "template": template, "schedule": { "cron": ["@daily"] } });
    assert_json_snapshot!("template_cron_job", cron_job_of(&task("import", spec)));
}

#[test]
fn nothing_that_tools_marked_the_task_with_is_copied() {
    let marked = task("import", rich());
    let adopted = JobSeen::read(&k8s_openapi::api::batch::v1::Job::default(), &[] as &[std::sync::Arc<k8s_openapi::api::core::v1::Pod>]);
    let rendered = [
        cron_job_of(&marked),
        first_job(&marked, &run("import-now"), &told(&[]), None),
        json!(adopted_run(&marked, &adopted, "import-1".to_owned())),
    ];
    for object in rendered {
        let text = object.to_string();
        assert!(text.contains("nightshift.dev/task") && !text.contains("argocd") && !text.contains("last-applied"), "{text}");
    }
}

/// How Kubernetes expands `$(NAME)`: `third_party/forked/golang/expansion`, written down again.
fn expand(text: &str, known: &BTreeMap<String, String>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        if let Some(more) = after.strip_prefix('$') {
            out.push('$');
            rest = more;
        } else if let Some((name, more)) = after.strip_prefix('(').and_then(|name| name.split_once(')')) {
            out.push_str(&known.get(name).cloned().unwrap_or_else(|| format!("$({name})")));
            rest = more;
        } else {
            out.push('$');
            rest = after;
        }
    }
    out + rest
}

/// What the container `main` of a pod really gets: its command, and its variables in order.
fn arrives(pod: &Value) -> (Vec<String>, BTreeMap<String, String>) {
    let containers = pod["containers"].as_array().unwrap();
    let main = containers.iter().find(|container| container["name"] == "main").unwrap();
    let mut env = BTreeMap::new();
    for variable in main["env"].as_array().unwrap() {
        if let Some(value) = variable["value"].as_str() {
            let value = expand(value, &env);
            env.insert(variable["name"].as_str().unwrap().to_owned(), value);
        }
    }
    let command = main["command"].as_array().into_iter().flatten().map(|part| expand(part.as_str().unwrap(), &env)).collect();
    (command, env)
}

#[test]
fn the_reference_expansion_does_what_kubernetes_was_seen_to_do() {
    let known = BTreeMap::from([("FOO".to_owned(), "foo".to_owned())]);
    for (text, arrives) in [
        ("pid=$$", "pid=$"),
        ("$$(FOO)", "$(FOO)"),
        ("$(FOO)", "foo"),
        ("$(NOPE)", "$(NOPE)"),
        ("$$$(FOO)", "$foo"),
        ("a$", "a$"),
        ("$(", "$("),
        ("${X}", "${X}"),
    ] {
        assert_eq!(expand(text, &known), arrives, "{text}");
    }
}

#[test]
fn a_container_is_told_who_it_is() {
    let (_, env) = arrives(&job_of(rich())["spec"]["template"]["spec"]);
    let told = |name: &str| env.get(name).map(String::as_str);
    assert_eq!(told("NIGHTSHIFT_TASK"), Some("import"));
    assert_eq!(told("NIGHTSHIFT_RUN"), Some("import-now"));
    assert_eq!(told("NIGHTSHIFT_RETRY"), Some("0"), "each attempt is a Job of the operator's");
    assert_eq!(told("NIGHTSHIFT_IDEMPOTENCY_KEY"), Some("etl/import-now"));
    assert_eq!(told("BUCKET"), Some("s3://eu"), "env is expanded by Kubernetes");
    let native = job_of(json!({ "image": "i", "retry": { "limit": 2 } }));
    let retry = native["spec"]["template"]["spec"]["containers"][0]["env"]
        .as_array()
        .unwrap()
        .iter()
        .find(|e| e["name"] == "NIGHTSHIFT_RETRY")
        .unwrap()
        .clone();
    assert_eq!(retry["valueFrom"]["fieldRef"]["fieldPath"], "metadata.annotations['batch.kubernetes.io/job-index-failure-count']");
}

proptest! {
    #[test]
    fn a_script_and_a_parameter_arrive_byte_for_byte(source in "([$(){}]|REGION|DAY|\\PC|\n|'|\"){0,40}", value in "([$(){}]|REGION|\\PC){0,20}") {
        let spec = json!({
            "image": "i", "script": { "source": source }, "env": [{ "name": "REGION", "value": "eu" }], "parameters": [{ "name": "DAY" }],
        });
        let job = first_job(&task("import", spec), &run("import-now"), &told(&[("DAY".to_owned(), value.clone())]), None);
        let (command, env) = arrives(&job["spec"]["template"]["spec"]);
        prop_assert_eq!(command, ["sh", "-c", &source]);
        prop_assert_eq!(&env["DAY"], &value);
    }

    #[test]
    fn every_name_fits(task in "[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?", index in 0usize..8, line in "\\PC{5,40}", attempt in 1u32..=101, job in "[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", uid in "[0-9a-f]{8}-[0-9a-f]{4}") {
        let is_label = |name: &str| name.len() <= 63 && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') && !name.starts_with('-') && !name.ends_with('-');
        let cron_job = cron_job_name(&task, index, &line);
        prop_assert!(cron_job.len() <= 52 && is_label(&cron_job), "{cron_job}");
        // The run of a slot has the name of its Job: the CronJob's and the slot in minutes, eight digits until the year 2160.
        let slot = format!("{cron_job}-29924672");
        prop_assert!(slot.len() <= 55, "{slot}");
        for run in [slot, manual_run_name(&job, &uid)] {
            prop_assert!(run.len() <= 55 && is_label(&run), "{run}");
            let job = job_name(&run, attempt);
            // Its pod's hostname ends in the index, -0.
            prop_assert!(job.len() <= 61 && is_label(&job), "{job}");
        }
    }

    #[test]
    fn exit_codes_are_rendered_sorted_and_unique(lists in prop::collection::vec(prop::collection::vec(1i32..=255, 0..40), 3), fatal in any::<bool>()) {
        let otherwise = if fatal { "Fatal" } else { "Retryable" };
        let rules = rules_of(json!({ "noData": lists[0], "retryable": lists[1], "fatal": lists[2], "otherwise": otherwise }));
        prop_assert_eq!(&rules[0]["action"], "Ignore");
        for rule in &rules[1..] {
            prop_assert_eq!(&rule["action"], "FailJob", "a user's code is never compiled to Ignore");
            let values: Vec<i64> = rule["onExitCodes"]["values"].as_array().unwrap().iter().filter_map(Value::as_i64).collect();
            prop_assert!(!values.is_empty() && values.windows(2).all(|two| two[0] < two[1]), "{values:?}");
            prop_assert!(rule["onExitCodes"]["operator"] == "NotIn" || !values.contains(&0));
        }
    }
}

fn rules_of(codes: Value) -> Vec<Value> {
    job_of(json!({ "image": "i", "exitCodes": codes }))["spec"]["podFailurePolicy"]["rules"].as_array().unwrap().clone()
}

#[test]
fn a_disruption_is_ignored_before_any_code_is_looked_at() {
    let disruption = json!({ "action": "Ignore", "onPodConditions": [{ "type": "DisruptionTarget", "status": "True" }] });
    let fail = |operator: &str, values: &[i32]| json!({ "action": "FailJob", "onExitCodes": { "containerName": "main", "operator": operator, "values": values } });
    assert_eq!(rules_of(json!({})), std::slice::from_ref(&disruption));
    assert_eq!(
        rules_of(json!({ "noData": [2], "fatal": [9, 3, 9], "retryable": [1] })),
        [disruption.clone(), fail("In", &[2]), fail("In", &[3, 9])]
    );
    assert_eq!(
        rules_of(json!({ "noData": [2], "retryable": [75, 1], "otherwise": "Fatal" })),
        [disruption.clone(), fail("In", &[2]), fail("NotIn", &[1, 75])]
    );
    assert_eq!(
        rules_of(json!({ "otherwise": "Fatal" })),
        [disruption, fail("NotIn", &[0])],
        "0 stands there because a list must not be empty"
    );
}

#[test]
fn retries_are_the_jobs_own_unless_the_operator_makes_them() {
    for (retry, native) in [
        (json!({}), 0),
        (json!({ "limit": 3 }), 3),
        (json!({ "limit": 3, "onTimeout": true }), 3),
        (json!({ "limit": 3, "onTimeout": false }), 0),
        (json!({ "limit": 3, "backoff": { "initialSeconds": 5 } }), 0),
    ] {
        assert_eq!(job_of(json!({ "image": "i", "retry": retry }))["spec"]["backoffLimitPerIndex"], native, "{retry}");
    }
}

#[test]
fn pods_are_what_pod_security_restricted_accepts_unless_the_template_says_otherwise() {
    let containers = |pod: &Value| {
        pod["initContainers"].as_array().into_iter().chain(pod["containers"].as_array()).flatten().cloned().collect::<Vec<_>>()
    };
    let plain = pod_of(json!({ "image": "i" }));
    let with_more = pod_of(
        json!({ "image": "i", "template": { "spec": { "initContainers": [{ "name": "a", "image": "i" }], "containers": [{ "name": "b", "image": "i" }] } } }),
    );
    assert_eq!(containers(&with_more).len(), 3, "main is added");
    for pod in [plain, with_more] {
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
        assert_eq!(pod["securityContext"]["runAsUser"], 65532, "without a number the kubelet cannot tell that it is not root");
        assert_eq!(pod["securityContext"]["fsGroup"], 65532);
        assert_eq!(pod["securityContext"]["seccompProfile"], json!({ "type": "RuntimeDefault" }));
        assert_eq!(pod["automountServiceAccountToken"], false);
        for container in containers(&pod) {
            assert_eq!(container["securityContext"]["allowPrivilegeEscalation"], false);
            assert_eq!(container["securityContext"]["capabilities"], json!({ "drop": ["ALL"] }));
            assert!(container["volumeMounts"].as_array().unwrap().contains(&json!({ "name": "nightshift-tmp", "mountPath": "/tmp" })));
        }
    }
    let own = json!({ "runAsNonRoot": false, "runAsUser": 0, "runAsGroup": 0, "fsGroup": 0, "seccompProfile": { "type": "Unconfined" } });
    let own_container = json!({ "allowPrivilegeEscalation": true, "capabilities": { "add": ["SYS_TIME"] } });
    let template = json!({ "spec": {
        "securityContext": own, "automountServiceAccountToken": true, "terminationGracePeriodSeconds": 5,
        "containers": [{ "name": "main", "securityContext": own_container, "terminationMessagePolicy": "File" }],
    } });
    let pod = pod_of(json!({ "image": "i", "template": template }));
    assert_eq!(pod["securityContext"], own);
    assert_eq!(pod["containers"][0]["securityContext"], own_container);
    assert_eq!(pod["containers"][0]["terminationMessagePolicy"], "File");
    assert_eq!((&pod["automountServiceAccountToken"], &pod["terminationGracePeriodSeconds"]), (&json!(true), &json!(5)));
    assert_eq!(pod["restartPolicy"], "Never");
}

#[test]
fn what_kubernetes_refuses_beside_forbidden_escalation_is_left_alone() {
    for context in [
        json!({ "privileged": true }),
        json!({ "capabilities": { "add": ["CAP_SYS_ADMIN"] } }),
        json!({ "capabilities": { "add": ["SYS_ADMIN"] } }),
    ] {
        let template = json!({ "spec": { "containers": [{ "name": "main", "securityContext": context }] } });
        let pod = pod_of(json!({ "image": "i", "template": template }));
        assert_eq!(pod["containers"][0]["securityContext"].get("allowPrivilegeEscalation"), None, "{context}");
    }
}

#[test]
fn a_token_is_mounted_only_where_an_account_is_named() {
    assert_eq!(pod_of(json!({ "image": "i", "serviceAccountName": "robot" })).get("automountServiceAccountToken"), None);
    let by_template =
        json!({ "image": "i", "template": { "spec": { "serviceAccountName": "robot", "containers": [{ "name": "main" }] } } });
    assert_eq!(pod_of(by_template.clone()).get("automountServiceAccountToken"), None);
    let mut both = by_template;
    both["serviceAccountName"] = json!("short");
    assert_eq!(pod_of(both)["serviceAccountName"], "short");
}

#[test]
fn a_malformed_template_is_told_or_mended_and_never_panics() {
    let checked = |template: Value| check_template(&task("import", json!({ "image": "i", "template": template })));
    assert_eq!(checked(json!({ "spec": "no" })), Err("template.spec: must be a pod's spec".to_owned()));
    assert_eq!(checked(json!({ "spec": { "containers": {} } })), Err("template.spec.containers: must be a list".to_owned()));
    let taken = json!({ "spec": { "containers": [{ "name": "main" }], "initContainers": [{ "name": "a" }, { "name": "b", "env": [{ "name": "NIGHTSHIFT_RUN" }] }] } });
    assert_eq!(
        checked(taken),
        Err("template.spec.initContainers[1].env: NIGHTSHIFT_RUN is given by Nightshift; use another name".to_owned())
    );
    for template in [
        json!(null),
        json!([]),
        json!({ "metadata": 3, "spec": [] }),
        json!({ "metadata": { "labels": "x" }, "spec": { "containers": ["x", { "name": "main", "env": 3, "volumeMounts": {}, "securityContext": [] }], "volumes": 1 } }),
    ] {
        let pod = job_of(json!({ "image": "i", "template": template }))["spec"]["template"].clone();
        assert_eq!(pod["metadata"]["labels"]["nightshift.dev/task"], "import");
        assert!(pod["spec"]["containers"].as_array().unwrap().iter().any(|container| container["name"] == "main"), "{template}");
    }
}

#[test]
fn a_change_of_what_we_want_changes_the_hash_and_nothing_else_does() {
    let hash = |spec: Value| {
        let task = task("import", spec);
        let line = CronLine::parse("0 2 * * *", "etl/import").unwrap();
        cron_job(&task, (0, &line), &Contract::of(&task.spec, 7), false).hash
    };
    let schedule = json!({ "cron": ["0 2 * * *"] });
    let base = hash(json!({ "image": "a", "schedule": schedule }));
    assert_eq!(hash(json!({ "image": "a", "schedule": schedule, "description": "words" })), base);
    assert_eq!(hash(json!({ "image": "a", "schedule": schedule, "history": { "failed": 3 } })), base);
    assert_ne!(hash(json!({ "image": "b", "schedule": schedule })), base);
    assert_ne!(hash(json!({ "image": "a", "schedule": { "cron": ["0 2 * * *"], "timeZone": "Europe/Berlin" } })), base);
    assert_ne!(hash(json!({ "image": "a", "schedule": schedule, "exitCodes": { "noData": [2] } })), base);
}

/// The first Job as it comes back from the server, with what others have put on it since.
fn frozen() -> Value {
    let mut job = job_of(rich());
    let set_by_server =
        json!({ "uid": "uid-job", "resourceVersion": "7", "creationTimestamp": "2026-11-24T01:00:00Z", "finalizers": ["x/y"] });
    job["metadata"].as_object_mut().unwrap().extend(set_by_server.as_object().unwrap().clone());
    job["metadata"]["annotations"]["nightshift.dev/stopped"] = json!("Cancelled");
    job["metadata"]["annotations"]["batch.kubernetes.io/cronjob-scheduled-timestamp"] = json!("2026-11-24T02:00:00+01:00");
    for (at, keys) in [
        ("/metadata/labels", ["controller-uid", "job-name"]),
        ("/spec/template/metadata/labels", ["batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name"]),
    ] {
        for key in keys {
            job.pointer_mut(at).unwrap()[key] = json!("uid-job");
        }
    }
    job["spec"]["selector"] = json!({ "matchLabels": { "batch.kubernetes.io/controller-uid": "uid-job" } });
    job["spec"]["manualSelector"] = json!(false);
    job["spec"]["backoffLimit"] = json!(2_147_483_647);
    job["spec"]["template"]["spec"]["fieldOfNextYear"] = json!({ "kept": [1, 2] });
    job["spec"]["template"]["spec"]["containers"][0]["alsoNew"] = json!("kept");
    job["status"] = json!({ "failed": 1 });
    job
}

#[test]
fn the_next_attempt_is_the_first_job_again_but_for_name_labels_deadline_and_identity() {
    let next = next_job(&frozen(), &run("import-now"), 3, 500).unwrap();
    let mut expected = job_of(rich());
    expected["metadata"]["name"] = json!("import-now-3");
    expected["metadata"]["labels"]["nightshift.dev/attempt"] = json!("3");
    expected["spec"]["activeDeadlineSeconds"] = json!(500);
    expected["spec"]["template"]["spec"]["fieldOfNextYear"] = json!({ "kept": [1, 2] });
    expected["spec"]["template"]["spec"]["containers"][0]["alsoNew"] = json!("kept");
    let env = expected["spec"]["template"]["spec"]["containers"][0]["env"].as_array_mut().unwrap();
    env.iter_mut().find(|variable| variable["name"] == "NIGHTSHIFT_RETRY").unwrap()["value"] = json!("2");
    assert_eq!(next, expected);
}

#[test]
fn the_next_attempt_of_an_adopted_job_keeps_the_name_that_its_container_knows() {
    let scheduled = task("import", rich());
    let template = cron_job_of(&scheduled)["spec"]["jobTemplate"].clone();
    let native = json!({ "metadata": { "name": "import-29924672", "labels": template["metadata"]["labels"], "annotations": template["metadata"]["annotations"] }, "spec": template["spec"] });
    let mut adopting = run("import-29924672-ab12cd");
    adopting.metadata.annotations = Some(BTreeMap::from([(label::ADOPTED_JOB.to_owned(), "import-29924672".to_owned())]));
    let next = next_job(&native, &adopting, 2, 0).unwrap();
    assert_eq!(next["metadata"]["name"], "import-29924672-ab12cd-2");
    assert_eq!(next["metadata"]["labels"]["nightshift.dev/run"], "import-29924672-ab12cd");
    assert_eq!(next["spec"]["activeDeadlineSeconds"], 1, "a deadline of 0 would be refused");
    let (_, env) = arrives(&next["spec"]["template"]["spec"]);
    assert_eq!((env["NIGHTSHIFT_RUN"].as_str(), env["NIGHTSHIFT_RETRY"].as_str()), ("import-29924672", "1"));
    assert_eq!(env["NIGHTSHIFT_IDEMPOTENCY_KEY"], "etl/import-29924672", "the same for all attempts of the slot");
}

#[test]
fn a_first_job_that_is_too_spoilt_to_copy_gives_none() {
    for spoilt in ["/metadata/labels", "/metadata/annotations", "/spec"] {
        let mut job = frozen();
        *job.pointer_mut(spoilt).unwrap() = Value::Null;
        assert_eq!(next_job(&job, &run("import-now"), 2, 500), None, "{spoilt}");
    }
}
