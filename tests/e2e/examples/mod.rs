//! The examples under `deploy/examples` are accepted as they stand, and what they say in a template is rendered unchanged.

use std::{fs, path::PathBuf};

use k8s_openapi::api::batch::v1::{CronJob, Job};
use nightshift::api::{AutomationRun, Backfill, BackfillPhase, BackfillStatus, Outcome, ParameterValue};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::support::{Scene, install_crds, kubectl, kubectl_ok, operator_up, status, with_temp_namespace};

/// Each example: name of the file and text.
fn examples() -> Vec<(String, String)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("deploy/examples");
    let files = fs::read_dir(&folder).expect("the folder of examples").map(|entry| entry.expect("an entry").path());
    let mut examples: Vec<_> = files
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .map(|path| (path.file_name().expect("a name").to_string_lossy().into_owned(), fs::read_to_string(&path).expect("an example")))
        .collect();
    examples.sort();
    assert!(examples.len() > 10, "{examples:?}");
    examples
}

/// The objects of an example, without the namespace that some name.
fn objects(text: &str) -> Vec<Value> {
    let documents = serde_yaml::Deserializer::from_str(text).map(|document| Value::deserialize(document).expect("YAML"));
    let mut objects: Vec<Value> = documents.filter(|object| !object.is_null()).collect();
    for object in &mut objects {
        object["metadata"].as_object_mut().expect("metadata").remove("namespace");
    }
    objects
}

#[tokio::test]
async fn are_accepted_by_the_api_server_without_a_warning() {
    with_temp_namespace(async |client, namespace| {
        install_crds(&client).await;
        for (file, text) in examples() {
            let list = json!({ "apiVersion": "v1", "kind": "List", "items": objects(&text) }).to_string();
            // Strict: a field that the kind does not have is an error, and not dropped.
            let args = ["--namespace", &namespace, "apply", "--dry-run=server", "--validate=strict", "--filename=-"];
            let applied = kubectl(&args, Some(&list)).await;
            let said = String::from_utf8_lossy(&applied.stderr);
            assert!(applied.status.success() && said.is_empty(), "{file}: {said}");
        }
    })
    .await;
}

#[tokio::test]
async fn with_a_template_or_a_secret_are_rendered_as_they_are_written() {
    with_temp_namespace(async |client, namespace| {
        install_crds(&client).await;
        let _up = operator_up(&client).await;
        let scene = Scene::new(&client, &namespace);
        let mut seen = 0;
        for (file, text) in examples() {
            let objects = objects(&text);
            let with_template = objects.iter().filter(|object| object.pointer("/spec/template").is_some());
            let tasks: Vec<&Value> = with_template.filter(|object| object["kind"] == "AutomationTask").collect();
            if tasks.is_empty() {
                continue;
            }
            let list = json!({ "apiVersion": "v1", "kind": "List", "items": objects }).to_string();
            kubectl_ok(&["--namespace", &namespace, "apply", "--filename=-"], Some(&list)).await;
            for task in tasks {
                let name = task["metadata"]["name"].as_str().expect("a name");
                scene.armed(name).await;
                let written = &task["spec"]["template"];
                if task["spec"].get("schedule").is_some() {
                    let cron_job: CronJob = scene.get(name).await;
                    let spec = serde_json::to_value(cron_job.spec).expect("JSON");
                    let difference = missing(written, &spec["jobTemplate"]["spec"]["template"], "template");
                    assert_eq!(difference, None, "{file}: the CronJob of {name}");
                }
                scene.run(&format!("{name}-now"), name).await;
                let first = format!("{name}-now-1");
                let job: Job = scene.job_that("the run's Job is there", 30, move |job| job.metadata.name.as_ref() == Some(&first)).await;
                let spec = serde_json::to_value(job.spec).expect("JSON");
                assert_eq!(missing(written, &spec["template"], "template"), None, "{file}: the Job of {name}");
                seen += 1;
            }
        }
        assert!(seen >= 4, "only {seen} examples have a template");
    })
    .await;
}

#[tokio::test]
async fn for_csi_and_vault_agent_say_what_their_drivers_need() {
    let find = |file: &str| {
        let (_, text) = examples().into_iter().find(|(name, _)| name == file).expect(file);
        objects(&text).into_iter().find(|object| object["kind"] == "AutomationTask").expect("a task")
    };
    let volume = find("secrets-csi.yaml")["spec"]["template"]["spec"]["volumes"][0].clone();
    assert_eq!(volume["csi"]["driver"], "secrets-store.csi.k8s.io");
    let annotations = find("secrets-vault-agent.yaml")["spec"]["template"]["metadata"]["annotations"].clone();
    // Without it the agent stays beside main, and no run ever completes.
    assert_eq!(annotations["vault.hashicorp.com/agent-pre-populate-only"], "true");
}

#[tokio::test]
async fn of_slots_and_of_a_rerun_do_what_they_say() {
    with_temp_namespace(async |client, namespace| {
        install_crds(&client).await;
        let _up = operator_up(&client).await;
        let scene = Scene::new(&client, &namespace);
        let apply = async |file: &str| {
            let (_, text) = examples().into_iter().find(|(name, _)| name == file).expect(file);
            let list = json!({ "apiVersion": "v1", "kind": "List", "items": objects(&text) }).to_string();
            kubectl_ok(&["--namespace", &namespace, "apply", "--filename=-"], Some(&list)).await;
        };
        let of = |backfill: &Backfill| backfill.status.clone().unwrap_or_default();
        let finished = async |name: &str| {
            let over = |backfill: &Backfill| backfill.status.as_ref().and_then(|status| status.phase) == Some(BackfillPhase::Finished);
            of(&scene.until(name, "to be finished", 120, over).await)
        };
        let tally = |status: &BackfillStatus| (status.outcome, status.total, status.succeeded, status.failed, status.skipped);
        let values = |given: &[ParameterValue]| -> Vec<String> { given.iter().map(|p| format!("{}={}", p.name, p.value)).collect() };

        for file in ["slot-parameters.yaml", "parameters.yaml", "backfill.yaml"] {
            apply(file).await;
        }
        let dry = scene.until("week", "to be a dry run", 30, move |backfill| of(backfill).phase == Some(BackfillPhase::DryRun)).await;
        let (planned, first) = (of(&dry).planned_count, of(&dry).planned.first().map(|slot| slot.0.to_string()));
        assert_eq!((planned, first.as_deref()), (Some(7), Some("2026-11-16T01:30:00Z")), "a week has seven nights");
        scene.change::<Backfill>("week", json!({ "spec": { "dryRun": false } })).await;
        assert_eq!(tally(&finished("week").await), (Some(Outcome::Succeeded), 7, 7, 0, 0));

        apply("backfill-slots.yaml").await;
        assert_eq!(tally(&finished("two-nights").await), (Some(Outcome::Succeeded), 2, 2, 0, 0));
        let night: AutomationRun = scene.get("two-nights-bf-29914650").await;
        let told = ["FULL=true", "DAY=2026-11-17", "DAY_BEFORE=2026-11-16", "SINCE=2026-11-16T02:30:00+01:00"];
        assert_eq!(values(&night.spec.parameters), told);

        apply("backfill-workflow.yaml").await;
        assert_eq!(tally(&finished("three-nights").await), (Some(Outcome::Succeeded), 3, 3, 0, 0));
        let night: AutomationRun = scene.get("three-nights-bf-29917530").await;
        assert_eq!(
            (values(&night.spec.parameters), night.spec.workflow_name()),
            (vec!["DAY=2026-11-19".to_owned()], Some("slot-workflow"))
        );

        scene.finished("parameters-acme", 60).await;
        apply("rerun.yaml").await;
        let again = scene.finished("parameters-acme-again", 60).await;
        let again = status(&again);
        assert_eq!((again.outcome, again.rerun_chain.as_slice()), (Some(Outcome::Succeeded), &["parameters-acme".to_owned()][..]));
        assert_eq!(again.idempotency_key, Some(format!("{namespace}/parameters-acme")));
        let told = ["CUSTOMER=acme", "NOTE=$(rm -rf /) \"quoted\"; and all", "FORMAT=json"];
        assert_eq!(values(&again.parameters), told);
    })
    .await;
}

/// What of `written` does not stand in `rendered`: the path of the first such thing. Lists of named things are compared
/// by name, since Nightshift adds to them.
fn missing(written: &Value, rendered: &Value, path: &str) -> Option<String> {
    match (written, rendered) {
        (Value::Object(written), Value::Object(rendered)) => {
            written.iter().find_map(|(key, value)| missing(value, rendered.get(key).unwrap_or(&Value::Null), &format!("{path}.{key}")))
        }
        (Value::Array(written), Value::Array(rendered)) => written.iter().find_map(|item| {
            let same = |other: &&Value| item.get("name").map_or(*other == item, |name| other.get("name") == Some(name));
            let path = format!("{path}[{}]", item.get("name").unwrap_or(item));
            missing(item, rendered.iter().find(same).unwrap_or(&Value::Null), &path)
        }),
        _ => (written != rendered).then(|| format!("{path} is {rendered}, not {written}")),
    }
}
