//! Secrets: injected when the container starts, and nowhere else to be found.

use std::fmt::Write;

use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject};
use kube::{Api, ResourceExt, api::ListParams};

use super::place::{end, says, story};
use crate::support::{eventually, kubectl, kubectl_ok, leader, unique};

const OPERATOR: &str = "nightshift";
const SYSTEM: &str = "nightshift-system";

#[tokio::test]
async fn a_secret_reaches_the_container_as_variable_and_as_file_and_shows_nowhere_else() {
    story(async |place| {
        let canary = format!("canary-{}-{}", unique(), unique());
        place.given(&format!("{{apiVersion: v1, kind: Secret, metadata: {{name: database}}, stringData: {{password: {canary}}}}}")).await;
        let secrets = "secrets: [
            {name: PASSWORD, secretKeyRef: {name: database, key: password}},
            {name: PASSWORD_FILE, secretKeyRef: {name: database, key: password}, mountPath: /etc/database/password}
        ]";
        // It tells what it sees by other words than the value, which would otherwise be in its log.
        let script = r#"
            [ "$PASSWORD" = "$(cat /etc/database/password)" ] && echo same
            echo "length ${#PASSWORD}, user $(id -u)"
            stat -Lc 'mode %a' /etc/database/password
            touch /etc/database/password 2>/dev/null || echo read-only
            exit $CODE
        "#;
        let rest = "parameters: [{name: CODE, default: '0'}], exitCodes: {noData: [3]}, retry: {limit: 1, backoff: {initialSeconds: 1}}, schedule: {cron: ['0 0 1 1 *']}";
        place.script("import", script, &format!("{{{secrets}, {rest}}}")).await;
        place.run("good", "import").await;
        place.run_with("bad", "import", &[("CODE", "1")]).await;
        place.run_with("empty", "import", &[("CODE", "3")]).await;
        let good = place.finished("good").await;
        let told = format!("same\nlength {}, user 65532\nmode 440\nread-only\n", canary.len());
        assert_eq!(place.log_of(&good).await, told);
        let bad = place.finished("bad").await;
        assert_eq!(end(&bad), "Failed ExitCodeOtherwise: Retryable 1, Retryable 1");
        assert_eq!(bad.attempts[0].log_tail.as_deref(), Some(told.as_str()));
        place.finished("empty").await;
        place.events("bad", "Failed").await;

        let mut shown = place.kubectl(&["get", "atask,arun,cronjobs,jobs,pods,events", "--output", "yaml", "--show-managed-fields"]).await;
        says(&shown, &["kind: AutomationTask", "kind: AutomationRun", "kind: CronJob", "kind: Job", "kind: Pod", "kind: Event", "PASSWORD"]);
        let pod = leader(&place.client).await.name_any();
        let log = kubectl_ok(&["--namespace", SYSTEM, "logs", &pod, "--tail=-1"], None).await;
        says(&log, &[&place.namespace]);
        let path = format!("/api/v1/namespaces/{SYSTEM}/pods/{pod}:8080/proxy/metrics");
        let metrics = kubectl_ok(&["get", "--raw", &path], None).await;
        says(&metrics, &["nightshift_api_writes_total"]);
        write!(shown, "{log}{metrics}").expect("text");
        assert!(!shown.contains(&canary), "the value of the Secret shows in: {:?}", shown.lines().filter(|line| line.contains(&canary)).collect::<Vec<_>>());
        // The same in base64, as it stands in a Secret.
        let encoded = place.kubectl(&["get", "secret", "database", "--output", "jsonpath={.data.password}"]).await;
        assert!(!encoded.is_empty() && !shown.contains(&encoded));
    })
    .await;
}

#[tokio::test]
async fn the_operator_may_not_touch_secrets_in_the_live_cluster() {
    story(async |place| {
        let everything = ListParams::default();
        let bound = |subjects: &Option<Vec<Subject>>| {
            subjects.iter().flatten().any(|s| s.kind == "ServiceAccount" && s.name == OPERATOR && s.namespace.as_deref() == Some(SYSTEM))
        };
        let mut rules: Vec<(String, PolicyRule)> = Vec::new();
        let mut roles: Vec<(Option<String>, RoleRef)> = Vec::new();
        for binding in Api::<ClusterRoleBinding>::all(place.client.clone()).list(&everything).await.expect("cluster role bindings") {
            if bound(&binding.subjects) {
                roles.push((None, binding.role_ref));
            }
        }
        for binding in Api::<RoleBinding>::all(place.client.clone()).list(&everything).await.expect("role bindings") {
            if bound(&binding.subjects) {
                roles.push((binding.namespace(), binding.role_ref));
            }
        }
        assert!(!roles.is_empty(), "the operator is bound to a role");
        for (namespace, role) in roles {
            let found = match (role.kind.as_str(), namespace) {
                ("Role", Some(namespace)) => {
                    Api::<Role>::namespaced(place.client.clone(), &namespace).get(&role.name).await.expect("its role").rules
                }
                _ => Api::<ClusterRole>::all(place.client.clone()).get(&role.name).await.expect("its role").rules,
            };
            rules.extend(found.into_iter().flatten().map(|rule| (role.name.clone(), rule)));
        }
        assert!(rules.len() > 5, "{rules:?}");
        for (role, rule) in &rules {
            for list in [rule.api_groups.as_ref(), rule.resources.as_ref(), Some(&rule.verbs)] {
                assert!(list.into_iter().flatten().all(|word| word != "*"), "{role} has a wildcard: {rule:?}");
            }
            let resources = rule.resources.iter().flatten();
            let escapes = ["secrets", "configmaps", "pods/exec", "pods/attach", "serviceaccounts/token", "roles", "clusterroles"];
            assert!(resources.clone().all(|r| !escapes.contains(&r.as_str())), "{role}: {rule:?}");
        }

        let operator = format!("--as=system:serviceaccount:{SYSTEM}:{OPERATOR}");
        let may = async |verb: &str, resource: &str| {
            let asked = kubectl(&["auth", "can-i", verb, resource, &operator, "--namespace", &place.namespace], None).await;
            String::from_utf8_lossy(&asked.stdout).trim().to_owned()
        };
        assert_eq!(may("create", "jobs").await, "yes");
        for verb in ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"] {
            assert_eq!(may(verb, "secrets").await, "no", "{verb} secrets");
        }
        assert_eq!(may("create", "pods/exec").await, "no");
        assert_eq!(may("update", "automationtasks").await, "no", "a spec belongs to its author");
        let peek = ["get", "secrets", "--all-namespaces", operator.as_str()];
        let refused = kubectl(&peek, None).await;
        says(&String::from_utf8_lossy(&refused.stderr), &["Forbidden", "cannot list resource \"secrets\""]);
    })
    .await;
}

#[tokio::test]
async fn a_changed_secret_is_what_the_next_run_gets() {
    story(async |place| {
        place.given("{apiVersion: v1, kind: Secret, metadata: {name: token}, stringData: {value: first}}").await;
        place.script("import", "echo \"$TOKEN\"", "{secrets: [{name: TOKEN, secretKeyRef: {name: token, key: value}}]}").await;
        place.run("import-1", "import").await;
        assert_eq!(place.log_of(&place.finished("import-1").await).await, "first\n");
        place.kubectl(&["patch", "secret", "token", "--patch", r#"{"stringData": {"value": "second"}}"#]).await;
        // The kubelet may hold the old value for a moment.
        eventually("a run gets the new value", std::time::Duration::from_secs(60), async || {
            let run = format!("import-{}", unique());
            place.run(&run, "import").await;
            let told = place.log_of(&place.finished(&run).await).await;
            if told == "second\n" { Ok(()) } else { Err(told) }
        })
        .await;
    })
    .await;
}
