//! The examples under `deploy/examples` are accepted as they stand, and what they say in a template is rendered unchanged.

use std::{fs, path::PathBuf};

use k8s_openapi::api::batch::v1::{CronJob, Job};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::support::{Scene, install_crds, kubectl, kubectl_ok, operator_up, with_temp_namespace};

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
