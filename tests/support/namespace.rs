//! A namespace for one test.

use std::{
    env,
    panic::{self, AssertUnwindSafe},
    thread,
    time::Duration,
};

use futures::FutureExt;
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, PostParams},
};

use super::{await_condition, client, kubectl, unique, yaml};

/// Runs `test` in a namespace of its own. Where the test fails, prints what is in the namespace. Deletes the namespace
/// afterwards, unless `NIGHTSHIFT_KEEP=1`.
pub async fn with_temp_namespace(test: impl AsyncFnOnce(Client, String)) {
    let client = client().await;
    let namespace = create(&client).await;
    let result = AssertUnwindSafe(test(client.clone(), namespace.clone())).catch_unwind().await;
    if result.is_err() {
        dump(&namespace).await;
    }
    if env::var("NIGHTSHIFT_KEEP").is_ok_and(|keep| keep == "1") {
        eprintln!("kept namespace {namespace}");
    } else {
        let deleted = Api::<Namespace>::all(client).delete(&namespace, &DeleteParams::background()).await;
        deleted.unwrap_or_else(|e| panic!("deleting namespace {namespace}: {e}"));
    }
    if let Err(failed) = result {
        panic::resume_unwind(failed);
    }
}

async fn create(client: &Client) -> String {
    let test = thread::current().name().unwrap_or("unnamed").to_owned();
    let namespace: Namespace = yaml(&format!(
        "metadata: {{name: nightshift-test-{}, labels: {{app.kubernetes.io/part-of: nightshift-test}}, annotations: {{test: '{test}'}}}}",
        unique(),
    ));
    let name = namespace.name_any();
    let created = Api::all(client.clone()).create(&PostParams::default(), &namespace).await;
    created.unwrap_or_else(|e| panic!("creating namespace {name}: {e}"));
    // Pods are refused before this exists.
    let accounts = Api::<ServiceAccount>::namespaced(client.clone(), &name);
    await_condition(&accounts, "default", "to exist", Duration::from_secs(30), |account| account.is_some()).await;
    name
}

async fn dump(namespace: &str) {
    let run = async |args: &[&str]| {
        let output = kubectl(&[args, &["--namespace", namespace]].concat(), None).await;
        eprintln!("--- kubectl {}", args.join(" "));
        eprintln!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    };
    run(&["get", "automationtasks,workflows,automationruns,backfills,concurrencypools,cronjobs,jobs,pods", "--output", "wide"]).await;
    run(&["get", "events", "--sort-by", ".metadata.creationTimestamp"]).await;
    run(&["logs", "--selector", nightshift::api::label::SELECTOR, "--all-containers", "--prefix", "--tail", "20"]).await;
    run(&["get", "automationtasks,workflows,automationruns,backfills,concurrencypools,cronjobs,jobs,pods", "--output", "yaml"]).await;
}
