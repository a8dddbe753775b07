//! The cluster that tests run on, and our CRDs in it.

use std::{env, path::PathBuf, time::Duration};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client, Config, ResourceExt,
    api::{Patch, PatchParams},
    config::{KubeConfigOptions, Kubeconfig},
    core::Request,
    runtime::wait::{Condition, conditions},
};
use tokio::sync::OnceCell;

use super::{await_condition, eventually};

/// The kubeconfig to use: `$KUBECONFIG`, else that of the local cluster.
pub(super) fn kubeconfig() -> PathBuf {
    let local = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(".cluster/kubeconfig");
    let given = env::var_os("KUBECONFIG").filter(|path| !path.is_empty()).map(PathBuf::from);
    let path = given.unwrap_or(local);
    assert!(path.exists(), "no cluster to test on ({} does not exist): run make cluster, or set KUBECONFIG", path.display());
    path
}

/// A client of the cluster. Each test makes its own: a client's connections belong to the test's runtime.
pub async fn client() -> Client {
    Client::try_from(config().await).expect("the kubeconfig makes a client")
}

/// A client in another's name, and with the rights of these groups.
pub async fn client_as(user: &str, groups: &[&str]) -> Client {
    let mut config = config().await;
    config.auth_info.impersonate = Some(user.to_owned());
    config.auth_info.impersonate_groups = Some(groups.iter().map(|&group| group.to_owned()).collect());
    Client::try_from(config).expect("the kubeconfig makes a client")
}

/// A client in the name of the installed operator, with all rights: the chart's admission policies let nobody else write
/// what is the operator's.
pub async fn operator_client() -> Client {
    client_as("system:serviceaccount:nightshift-system:nightshift", &["system:masters"]).await
}

async fn config() -> Config {
    let path = kubeconfig();
    let kubeconfig = Kubeconfig::read_from(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
    config.unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Installs the CRDs of this working tree, once for each test binary, and returns when the server validates by them.
pub async fn install_crds(client: &Client) {
    static INSTALLED: OnceCell<()> = OnceCell::const_new();
    INSTALLED.get_or_init(|| apply_crds(client)).await;
}

async fn apply_crds(client: &Client) {
    let api = Api::<CustomResourceDefinition>::all(client.clone());
    let published = published_schema(client).await;
    let mut changed = false;
    for mut crd in nightshift::api::crds() {
        let name = crd.name_any();
        // As the chart does, which can then take over what a test has installed.
        crd.labels_mut().insert("app.kubernetes.io/managed-by".into(), "Helm".into());
        crd.annotations_mut().extend(
            [("name", "nightshift"), ("namespace", "nightshift-system")]
                .map(|(key, value)| (format!("meta.helm.sh/release-{key}"), value.to_owned())),
        );
        let before = api.get_opt(&name).await.expect("reading a CRD");
        // In kubectl's name, so that an apply by hand before or after meets no conflict.
        let params = PatchParams::apply("kubectl").force();
        let applied = api.patch(&name, &params, &Patch::Apply(&crd)).await.unwrap_or_else(|e| panic!("the server refuses {name}: {e}"));
        changed |= before.is_none_or(|before| before.spec.versions[0].schema != applied.spec.versions[0].schema);
        await_condition(&api, &name, "to be established", Duration::from_secs(30), |crd| {
            conditions::is_crd_established().matches_object(crd)
        })
        .await;
    }
    if changed {
        // Established says nothing of an update; the published schema follows the one that validates.
        eventually("the new schema is published", Duration::from_secs(30), async || match published_schema(client).await {
            now if now.is_some() && now != published => Ok(()),
            now => Err(format!("{now:?}")),
        })
        .await;
    }
}

/// The hash of our group's schema as the server publishes it.
async fn published_schema(client: &Client) -> Option<String> {
    let request = Request::new("/openapi").get("v3", &kube::api::GetParams::default()).expect("a request");
    let index: serde_json::Value = client.request(request).await.expect("reading the index of schemas");
    let path = index.pointer("/paths/apis~1nightshift.dev~1v1alpha1/serverRelativeURL")?;
    path.as_str().map(str::to_owned)
}
