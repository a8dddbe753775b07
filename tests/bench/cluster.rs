//! The measuring cluster: clients, a node, our kinds and the operator's role in it.

use std::{
    env, fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use k8s_openapi::{
    api::{
        core::v1::Node,
        rbac::v1::{ClusterRole, ClusterRoleBinding},
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, Config, ResourceExt,
    api::PostParams,
    config::{KubeConfigOptions, Kubeconfig},
    runtime::wait::{await_condition, conditions},
};
use serde::Deserialize;
use serde_json::json;

use crate::{audit::Audit, process::Process};

/// The cluster that `deploy/bench/run.sh` has started.
pub struct Cluster {
    pub client: Client,
    pub audit: Audit,
    /// Where results are written to.
    pub results: PathBuf,
    /// Of what the cluster is made, to be told with the results.
    pub versions: String,
    state: PathBuf,
}

impl Cluster {
    pub async fn of_environment() -> anyhow::Result<Option<Self>> {
        let Some(state) = env::var_os("NIGHTSHIFT_BENCH_CLUSTER").map(PathBuf::from) else { return Ok(None) };
        let kubeconfig = Kubeconfig::read_from(state.join("pki/bench.kubeconfig"))?;
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        let cluster = Self {
            client: Client::try_from(config)?,
            audit: Audit::new(state.join("data/audit.log")),
            results: state.parent().context("the cluster's folder has no parent")?.to_owned(),
            versions: env::var("NIGHTSHIFT_BENCH_VERSIONS").unwrap_or_default(),
            state,
        };
        Ok(Some(cluster))
    }

    pub fn kubeconfig_of_operator(&self) -> PathBuf {
        self.state.join("pki/nightshift.kubeconfig")
    }

    pub fn operator_log(&self) -> PathBuf {
        self.state.join("logs/bench-operator.log")
    }

    /// Where the operator's process id is recorded, for `run.sh` to stop it should this process be killed.
    pub fn operator_pid(&self) -> PathBuf {
        self.state.join("run/pids/bench-operator")
    }

    /// The processes of the cluster, by name.
    pub fn processes(&self) -> Vec<(String, Process)> {
        let names = ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok"];
        let pid = |name: &str| fs::read_to_string(self.state.join(format!("run/pids/bench-{name}"))).ok()?.trim().parse().ok();
        names.iter().filter_map(|name| Some(((*name).to_owned(), Process::new(pid(name)?)))).collect()
    }

    /// Makes a node, our kinds, and the operator's role as users install it.
    pub async fn prepare(&self) -> anyhow::Result<()> {
        let node: Node =
            serde_json::from_value(json!({ "metadata": { "name": "bench", "annotations": { "kwok.x-k8s.io/node": "fake" } } }))?;
        create(&Api::all(self.client.clone()), &node).await?;
        let crds: Api<CustomResourceDefinition> = Api::all(self.client.clone());
        for crd in nightshift::api::crds() {
            create(&crds, &crd).await?;
            let name = crd.name_any();
            let established = await_condition(crds.clone(), &name, conditions::is_crd_established());
            tokio::time::timeout(Duration::from_secs(30), established).await.context("a CRD is not established")??;
        }
        create(&Api::all(self.client.clone()), &operator_role()?).await?;
        let binding: ClusterRoleBinding = serde_json::from_value(json!({
            "metadata": { "name": "nightshift" },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "nightshift" },
            "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "nightshift" }],
        }))?;
        create(&Api::all(self.client.clone()), &binding).await
    }
}

/// The operator's role out of the plain manifests: it has here what it has anywhere, and no more.
fn operator_role() -> anyhow::Result<ClusterRole> {
    let manifests = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/manifests/install.yaml");
    let text = fs::read_to_string(&manifests).with_context(|| format!("reading {}", manifests.display()))?;
    let documents = serde_yaml::Deserializer::from_str(&text).map(serde_json::Value::deserialize);
    let all = documents.collect::<Result<Vec<_>, _>>().with_context(|| format!("parsing {}", manifests.display()))?;
    let role = all.into_iter().find(|object| object["kind"] == "ClusterRole" && object["metadata"]["name"] == "nightshift");
    Ok(serde_json::from_value(role.context("the manifests have no ClusterRole nightshift")?)?)
}

async fn create<K>(api: &Api<K>, object: &K) -> anyhow::Result<()>
where
    K: kube::Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::Serialize + serde::de::DeserializeOwned,
{
    api.create(&PostParams::default(), object).await.with_context(|| format!("creating {} {}", K::kind(&()), object.name_any()))?;
    Ok(())
}
