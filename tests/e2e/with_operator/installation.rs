//! The operator as it is installed.

use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::{Api, ResourceExt, api::ListParams};

use super::place::{says, story};
use crate::support::{kubectl, kubectl_ok, leader};

const SYSTEM: &str = "nightshift-system";

#[tokio::test]
async fn the_operator_runs_without_any_right_on_its_node() {
    story(async |place| {
        let ours = ListParams::default().labels("app.kubernetes.io/name=nightshift").fields("status.phase=Running");
        let pods = Api::<Pod>::namespaced(place.client.clone(), SYSTEM).list(&ours).await.expect("listing pods").items;
        assert_eq!(pods.len(), 2, "two replicas");
        let spec = pods[0].spec.clone().expect("a spec");
        let pod = spec.security_context.expect("a security context");
        assert_eq!((pod.run_as_non_root, pod.run_as_user), (Some(true), Some(65532)));
        assert_eq!(pod.seccomp_profile.map(|profile| profile.type_), Some("RuntimeDefault".to_owned()));
        assert_eq!((spec.host_network, spec.host_pid, spec.host_ipc), (None, None, None));
        assert_eq!(spec.containers.len(), 1);
        let container = &spec.containers[0];
        let context = container.security_context.clone().expect("a security context");
        assert_eq!(context.read_only_root_filesystem, Some(true));
        assert_eq!(context.allow_privilege_escalation, Some(false));
        assert_eq!(context.capabilities.and_then(|c| c.drop), Some(vec!["ALL".to_owned()]));
        let volumes = spec.volumes.unwrap_or_default();
        assert!(volumes.iter().all(|volume| volume.projected.is_some()), "nothing but its token is mounted: {volumes:?}");
        let resources = container.resources.clone().expect("resources");
        assert!(resources.requests.is_some() && resources.limits.is_some_and(|limits| limits.contains_key("memory")));
        assert!(container.liveness_probe.is_some() && container.readiness_probe.is_some());
    })
    .await;
}

#[tokio::test]
async fn the_operator_has_two_replicas_of_which_one_leads() {
    story(async |place| {
        let deployments = Api::<Deployment>::namespaced(place.client.clone(), SYSTEM);
        let spec = deployments.get("nightshift").await.expect("the operator's Deployment").spec.expect("a spec");
        assert_eq!(spec.replicas, Some(2));
        assert_eq!(spec.strategy.and_then(|strategy| strategy.type_), Some("RollingUpdate".to_owned()));
        let ours = ListParams::default().labels("app.kubernetes.io/name=nightshift").fields("status.phase=Running");
        let pods = Api::<Pod>::namespaced(place.client.clone(), SYSTEM).list(&ours).await.expect("listing pods").items;
        let mut leaders = Vec::new();
        for pod in pods.iter().map(ResourceExt::name_any) {
            let path = format!("/api/v1/namespaces/{SYSTEM}/pods/{pod}:8080/proxy/metrics");
            let metrics = kubectl_ok(&["get", "--raw", &path], None).await;
            if metrics.lines().any(|line| line == "nightshift_leader 1") {
                leaders.push(pod);
            } else {
                says(&metrics, &["nightshift_leader 0"]);
                assert!(!metrics.contains("nightshift_api_writes_total"), "a standby writes nothing: {metrics}");
            }
        }
        // The Service leads to any of them.
        let path = format!("/api/v1/namespaces/{SYSTEM}/services/nightshift-metrics:http/proxy/metrics");
        says(&kubectl_ok(&["get", "--raw", &path], None).await, &["nightshift_leader"]);
        assert_eq!(leaders, [leader(&place.client).await.name_any()], "the one that holds the Lease");
    })
    .await;
}

#[tokio::test]
async fn the_operators_namespace_can_be_restricted() {
    // Asked and not done: the server warns of each pod that the level would refuse.
    let label = "pod-security.kubernetes.io/enforce=restricted";
    let asked = kubectl(&["label", "--dry-run=server", "--overwrite", "namespace", SYSTEM, label], None).await;
    let said = String::from_utf8_lossy(&asked.stderr);
    assert!(asked.status.success() && said.is_empty(), "{said}");
}

#[tokio::test]
async fn the_operators_image_holds_one_file() {
    story(async |_| {
        // Nothing to run but the operator: no shell, no tools.
        for tool in ["/bin/sh", "/bin/ls", "/usr/bin/env"] {
            let tried = kubectl(&["--namespace", SYSTEM, "exec", "deployment/nightshift", "--", tool], None).await;
            assert!(!tried.status.success(), "{tool}");
            says(&String::from_utf8_lossy(&tried.stderr), &[tool, "no such file or directory"]);
        }
    })
    .await;
}
