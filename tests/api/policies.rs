//! The chart's admission policies: what only the operator may write, nobody else can, administrators included.

use std::time::Duration;

use k8s_openapi::api::{
    admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding},
    core::v1::Namespace,
    rbac::v1::{Role, RoleBinding},
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, PostParams, PropagationPolicy},
};
use nightshift::api::{AutomationRun, AutomationTask};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    case::{accepts, backfill, check, rejects, run_named, run_of, task, task_named},
    server::{Keep, append, create, patch, patch_status},
    support::{client_as, eventually, install_crds, operator_client, with_temp_namespace},
};

/// What the chart renders; `make test-chart` sees to it that this is so.
const MANIFESTS: &str = include_str!("../../deploy/manifests/install.yaml");

/// A namespace that the policies judge, and clients of an administrator and of the operator.
struct Judged {
    admin: Client,
    operator: Client,
    namespace: String,
}

async fn judged(test: impl AsyncFnOnce(Judged)) {
    with_temp_namespace(async |client, namespace| {
        install_crds(&client).await;
        install_policies(&client, &namespace).await;
        let admin = client_as("ann@example.com", &["system:masters"]).await;
        let judged = Judged { admin, operator: operator_client().await, namespace };
        judged.in_force().await;
        test(judged).await;
    })
    .await;
}

/// Installs them for one namespace, beside those that the cluster may have. They go when the namespace goes.
async fn install_policies(client: &Client, namespace: &str) {
    let owner = Api::<Namespace>::all(client.clone()).get(namespace).await.expect("the namespace");
    let owner = json!([{ "apiVersion": "v1", "kind": "Namespace", "name": namespace, "uid": owner.metadata.uid }]);
    let documents = || serde_yaml::Deserializer::from_str(MANIFESTS).map(|document| Value::deserialize(document).expect("YAML"));
    for mut policy in documents().filter(|document| document["kind"] == "ValidatingAdmissionPolicy") {
        own(&mut policy, namespace, &owner);
        make::<ValidatingAdmissionPolicy>(client, policy).await;
    }
    for mut binding in documents().filter(|document| document["kind"] == "ValidatingAdmissionPolicyBinding") {
        assert_eq!(binding["spec"]["matchResources"], Value::Null, "the operator serves all namespaces");
        own(&mut binding, namespace, &owner);
        binding["spec"]["policyName"] = binding["metadata"]["name"].clone();
        binding["spec"]["matchResources"] = json!({ "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": namespace } } });
        make::<ValidatingAdmissionPolicyBinding>(client, binding).await;
    }
}

fn own(object: &mut Value, namespace: &str, owner: &Value) {
    let metadata = &mut object["metadata"];
    metadata["name"] = format!("{}.{namespace}", metadata["name"].as_str().expect("a name")).into();
    metadata["labels"] = Value::Null;
    metadata["ownerReferences"] = owner.clone();
}

async fn make<K>(client: &Client, object: Value)
where
    K: kube::Resource<Scope = kube::core::ClusterResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + serde::Serialize
        + DeserializeOwned,
{
    let object: K = serde_json::from_value(object).expect("what the chart renders is of its kind");
    let created = Api::<K>::all(client.clone()).create(&PostParams::default(), &object).await;
    created.unwrap_or_else(|e| panic!("{}: {e}", object.name_any()));
}

impl Judged {
    /// The server takes a moment to judge by a new policy.
    async fn in_force(&self) {
        let stored = self.stored(&self.admin, &task("{}")).await;
        eventually("the policies are in force", Duration::from_secs(60), async || {
            let status = json!({ "schedule": "forged" });
            let written = patch_status(&self.admin, &self.namespace, &stored, &status, Keep::DryRun).await;
            let created = create(&self.admin, &self.namespace, &run_named("import-29934567", "{}"), Keep::DryRun).await;
            if written.is_err() && created.is_err() { Ok(()) } else { Err(format!("status: {written:?}, run: {created:?}")) }
        })
        .await;
    }

    async fn stored(&self, client: &Client, object: &Value) -> Value {
        create(client, &self.namespace, object, Keep::Stored).await.expect("the server takes it")
    }

    /// Nobody but the operator can change the object so.
    async fn only_the_operator(&self, stored: &Value, change: &Value, field: &str, fix: &str) {
        let said = patch(&self.admin, &self.namespace, stored, change, Keep::DryRun).await.expect_err("the change is refused");
        assert!(said.contains(field) && said.contains(fix), "{change} without naming {field:?} and {fix:?}: {said}");
        let done = patch(&self.operator, &self.namespace, stored, change, Keep::DryRun).await;
        done.unwrap_or_else(|e| panic!("{change} by the operator: {e}"));
    }
}

/// A run with metadata of its own.
fn marked(place: &str, key: &str) -> Value {
    let mut run = run_of("{}");
    run["metadata"][place] = json!({ key: "forged" });
    run
}

#[tokio::test]
async fn only_the_operator_creates_the_run_of_a_slot() {
    judged(async |judged| {
        let of_slot = |trigger: &str| run_named("by-hand", &format!("{{trigger: {trigger}, scheduledTime: '2026-01-31T02:30:00Z'}}"));
        let named = |name: &str| run_named(name, "{}");
        let (slot, of_backfill) = (
            "is the name of the run of a slot, which would then not run; take another name, or generateName",
            "is the name of a run of a backfill; take another name, or generateName",
        );
        let forbidden = [
            ("a scheduled run", of_slot("Schedule"), "spec.trigger: Schedule", "leave trigger and scheduledTime out to run now"),
            ("a run caught up", of_slot("CatchUp"), "spec.trigger: CatchUp", "name a run in rerunOf to repeat it"),
            ("a run of a backfill", of_slot("Backfill"), "spec.trigger: Backfill", "name a run in rerunOf to repeat it"),
            ("tonight's name", named("nightly-import-29934567"), "metadata.name: nightly-import-29934567", slot),
            ("the name of a further cron line's slot", named("nightly-import-0a1b2-29934567"), "metadata.name", slot),
            ("tonight's name of another task", named("export-29934567"), "metadata.name", slot),
            ("a name in a hundred years", named("nightly-import-82530000"), "metadata.name", slot),
            ("a name of a backfill's", named("november-bf-29934567"), "metadata.name", of_backfill),
            ("a name of an old backfill's", named("november-bf-1234567"), "metadata.name", of_backfill),
            (
                "a run of a backfill of a workflow",
                run_named("by-hand", "{taskRef: null, workflowRef: {name: a}, trigger: Backfill, scheduledTime: '2026-01-31T02:30:00Z'}"),
                "spec.trigger: Backfill",
                "name a run in rerunOf to repeat it",
            ),
            ("tonight's name of a workflow", named("nightly-import-wf-29934567"), "metadata.name", slot),
            (
                "the record of a Job",
                marked("annotations", "nightshift.dev/adopted-job"),
                "metadata.annotations[nightshift.dev/adopted-job]",
                "leave it out",
            ),
            (
                "the record of a Job's UID",
                marked("annotations", "nightshift.dev/adopted-uid"),
                "metadata.annotations[nightshift.dev/adopted-uid]",
                "leave it out",
            ),
            (
                "a definition",
                marked("annotations", "nightshift.dev/revision"),
                "metadata.annotations[nightshift.dev/revision]",
                "leave it out",
            ),
            (
                "a successor",
                marked("annotations", "nightshift.dev/replaced-by"),
                "metadata.annotations[nightshift.dev/replaced-by]",
                "leave it out",
            ),
            (
                "a run of a backfill by label",
                marked("labels", "nightshift.dev/backfill"),
                "metadata.labels[nightshift.dev/backfill]",
                "create a Backfill",
            ),
        ];
        let refused = forbidden.iter().map(|(name, run, field, fix)| rejects(name, run.clone(), field, fix)).collect();
        check(&judged.admin, &judged.namespace, refused).await;
        let taken = forbidden.into_iter().map(|(name, run, _, _)| accepts(name, run)).collect();
        check(&judged.operator, &judged.namespace, taken).await;
    })
    .await;
}

#[tokio::test]
async fn everybody_runs_and_repeats_what_they_like_under_other_names() {
    judged(async |judged| {
        let generated = |prefix: &str| {
            let mut run = run_of("{}");
            run["metadata"] = json!({ "generateName": prefix });
            run
        };
        let mut nulls = run_of("{}");
        nulls["spec"] = json!({ "taskRef": { "name": "a" }, "scheduledTime": null, "rerunOf": null });
        nulls["metadata"]["annotations"] = Value::Null;
        let cases = vec![
            accepts("the least that a run needs", run_of("{}")),
            accepts("a run on demand that says so", run_of("trigger: Manual")),
            accepts("a rerun", run_of("rerunOf: nightly-import-29934567")),
            accepts("a rerun that says so", run_of("{trigger: Rerun, rerunOf: nightly-import-29934567, definition: Original}")),
            accepts("a rerun named after what it repeats", run_named("nightly-import-29934567-r2", "rerunOf: nightly-import-29934567")),
            accepts("nulls, as Helm charts leave them", nulls),
            accepts("a generated name", generated("nightly-import-")),
            accepts("a generated name, of a prefix that could be a backfill's", generated("nightly-import-bf-")),
            accepts("a day in the name", run_named("nightly-import-20261124", "{}")),
            accepts("a minute in the name", run_named("nightly-import-202611240230", "{}")),
            accepts("seconds in the name", run_named("nightly-import-1796074020", "{}")),
            accepts("a number in the name", run_named("nightly-import-1234567", "{}")),
            accepts("a name that says no task", run_named("29934567", "{}")),
            accepts("labels and annotations of one's own", {
                let mut run = marked("labels", "example.com/ticket");
                run["metadata"]["annotations"] = json!({ "example.com/why": "month's end" });
                run
            }),
            accepts("the copy of a run that was started", marked("annotations", "nightshift.dev/started")),
            accepts("a backfill", backfill("{}")),
        ];
        check(&judged.admin, &judged.namespace, cases).await;
        // A name is judged as it will be, not as it was asked for: letters come after this prefix, and it is not refused.
        let stored = judged.stored(&judged.admin, &generated("nightly-import-29934")).await;
        assert_ne!(stored["metadata"]["name"], "nightly-import-29934");
    })
    .await;
}

#[tokio::test]
async fn nobody_rewrites_what_a_run_says_of_its_past() {
    judged(async |judged| {
        let mut adopted = run_named("nightly-import-29934567", "{trigger: Schedule, scheduledTime: '2026-01-31T02:30:00Z'}");
        let keys = ["adopted-job", "adopted-uid", "backfill-uid", "idempotency-key", "revision", "replaced-by", "started"]
            .map(|key| format!("nightshift.dev/{key}"));
        adopted["metadata"]["annotations"] = keys.iter().map(|key| (key.clone(), json!("so"))).collect::<serde_json::Map<_, _>>().into();
        adopted["metadata"]["labels"] = json!({ "nightshift.dev/backfill": "november" });
        let adopted = judged.stored(&judged.operator, &adopted).await;
        let plain = judged.stored(&judged.admin, &run_of("{}")).await;
        let as_it_is = "is the operator's record; leave it as it is";
        for key in &keys {
            let field = format!("metadata.annotations[{key}]");
            let annotation = |value: Value| json!({ "metadata": { "annotations": { key.as_str(): value } } });
            judged.only_the_operator(&adopted, &annotation(json!("otherwise")), &field, as_it_is).await;
            judged.only_the_operator(&adopted, &annotation(Value::Null), &field, as_it_is).await;
            judged.only_the_operator(&plain, &annotation(json!("forged")), &field, as_it_is).await;
        }
        for value in [json!("december"), Value::Null] {
            let label = json!({ "metadata": { "labels": { "nightshift.dev/backfill": value } } });
            judged.only_the_operator(&adopted, &label, "metadata.labels[nightshift.dev/backfill]", as_it_is).await;
        }
        let all = json!({ "metadata": { "annotations": null } });
        judged.only_the_operator(&adopted, &all, "metadata.annotations[nightshift.dev/adopted-job]", as_it_is).await;
        for run in [&adopted, &plain] {
            for change in [
                json!({ "metadata": { "annotations": { "example.com/seen-by": "ann" }, "labels": { "example.com/seen": "yes" } } }),
                json!({ "metadata": { "finalizers": ["example.com/keep"] } }),
                json!({ "spec": { "cancel": true } }),
            ] {
                let done = patch(&judged.admin, &judged.namespace, run, &change, Keep::DryRun).await;
                done.unwrap_or_else(|e| panic!("{change} is anybody's: {e}"));
            }
        }
    })
    .await;
}

#[tokio::test]
async fn only_the_operator_writes_status() {
    judged(async |judged| {
        for (object, status) in [
            (task("{}"), json!({ "schedule": "forged" })),
            (run_of("{}"), json!({ "phase": "Finished", "outcome": "Succeeded", "result": "Good" })),
            (backfill("dryRun: true"), json!({ "phase": "Finished", "outcome": "Succeeded" })),
        ] {
            let mut object = object;
            object["metadata"]["name"] = "forged".into();
            let stored = judged.stored(&judged.admin, &object).await;
            let said = patch_status(&judged.admin, &judged.namespace, &stored, &status, Keep::DryRun).await.expect_err("it is refused");
            assert!(said.contains("status is the operator's record") && said.contains("change spec instead"), "{said}");
            let written =
                patch_status(&judged.operator, &judged.namespace, &stored, &status, Keep::DryRun).await.expect("the operator writes");
            for (field, value) in status.as_object().expect("an object") {
                assert_eq!(written["status"][field], *value, "{field}");
            }
        }
    })
    .await;
}

/// Lets a user do that with runs.
async fn allow(client: &Client, namespace: &str, user: &str, verbs: &[&str]) {
    let name = user.split('@').next().expect("a name");
    let role = json!({
        "metadata": { "name": name },
        "rules": [{ "apiGroups": ["nightshift.dev"], "resources": ["automationruns"], "verbs": verbs }],
    });
    let binding = json!({
        "metadata": { "name": name },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name },
        "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user }],
    });
    let role: Role = serde_json::from_value(role).expect("a Role");
    let binding: RoleBinding = serde_json::from_value(binding).expect("a RoleBinding");
    Api::<Role>::namespaced(client.clone(), namespace).create(&PostParams::default(), &role).await.expect("a role");
    Api::<RoleBinding>::namespaced(client.clone(), namespace).create(&PostParams::default(), &binding).await.expect("a binding");
}

#[tokio::test]
async fn only_who_may_approve_answers_what_is_asked_in_their_own_name() {
    judged(async |judged| {
        let (ann, bob) = ("ann@example.com", "bob@example.com");
        allow(&judged.admin, &judged.namespace, ann, &["create", "get", "patch", "approve"]).await;
        allow(&judged.admin, &judged.namespace, bob, &["create", "get", "patch"]).await;
        let (as_ann, as_bob) = (client_as(ann, &[]).await, client_as(bob, &[]).await);
        let run = run_named("release-1", "{taskRef: null, workflowRef: {name: release}}");
        let stored = judged.stored(&judged.admin, &run).await;
        assert_eq!(stored["spec"]["approvals"], json!([]), "the list is there to be added to");
        let answer = |step: &str, by: &str| json!({ "step": step, "decision": "Approve", "by": by });
        let give = async |client: &Client, step: &str, by: &str, keep: Keep| {
            append(client, &judged.namespace, &stored, "/spec/approvals", &answer(step, by), keep).await
        };
        let refused = async |client: &Client, step: &str, by: &str, why: &str| {
            let said = give(client, step, by, Keep::DryRun).await.expect_err("it is refused");
            assert!(said.contains("spec.approvals") && said.contains(why), "{step} by {by} without telling {why:?}: {said}");
        };
        refused(&as_ann, "ask", ann, "step ask does not ask for approval now").await;
        let asks = |name: &str| {
            let approval = json!({ "askedTime": "2026-01-31T02:30:00Z", "until": "2026-02-01T02:30:00Z" });
            json!({ "name": name, "phase": "Running", "reason": "ApprovalPending", "approval": approval })
        };
        let mut over = asks("over");
        over["phase"] = "Finished".into();
        let steps = json!([asks("ask"), asks("also"), over, { "name": "inner", "phase": "Running", "reason": "ApprovalPending" }]);
        let status = json!({ "phase": "Running", "steps": steps });
        patch_status(&judged.operator, &judged.namespace, &stored, &status, Keep::Stored).await.expect("the operator writes");

        refused(&as_bob, "ask", bob, "bob@example.com may not approve: that takes the verb approve").await;
        refused(&as_ann, "ask", bob, "by has to be who writes it; write ann@example.com").await;
        for closed in ["over", "inner", "deploy"] {
            refused(&as_ann, closed, ann, &format!("step {closed} does not ask for approval now")).await;
        }
        let early =
            run_named("release-2", &format!("{{taskRef: null, workflowRef: {{name: release}}, approvals: [{}]}}", answer("ask", ann)));
        let said = create(&as_ann, &judged.namespace, &early, Keep::DryRun).await.expect_err("nobody has asked yet");
        assert!(said.contains("step ask does not ask for approval now"), "{said}");

        // Of all that answer at once, one is heard, and what others say elsewhere is not lost.
        let at_once = (0..8).map(|_| give(&as_ann, "ask", ann, Keep::Stored)).chain([give(&as_ann, "also", ann, Keep::Stored)]);
        let said = futures::future::join_all(at_once).await;
        let heard = said[..8].iter().filter(|answer| answer.is_ok()).count();
        assert_eq!((heard, said[8].is_ok()), (1, true), "{said:?}");
        assert!(said[..8].iter().filter_map(|said| said.as_ref().err()).all(|said| said.contains("Duplicate value")), "{said:?}");

        let change = async |client: &Client, approvals: Value, why: &str| {
            let said = patch(client, &judged.namespace, &stored, &json!({ "spec": { "approvals": approvals } }), Keep::DryRun).await;
            let said = said.expect_err("it is refused");
            assert!(said.contains(why), "{approvals} without telling {why:?}: {said}");
        };
        let rejected = json!({ "step": "ask", "decision": "Reject", "by": ann });
        change(&as_ann, json!([rejected, answer("also", ann)]), "an approval cannot change once it is given").await;
        change(&as_bob, json!([answer("ask", ann)]), "an approval that is given cannot be taken away").await;
        change(&judged.admin, json!([]), "an approval that is given cannot be taken away").await;
        change(&judged.operator, Value::Null, "an approval that is given cannot be taken away").await;
        let cancel = patch(&as_bob, &judged.namespace, &stored, &json!({ "spec": { "cancel": true } }), Keep::DryRun).await;
        cancel.expect("what else may change may change beside it");
    })
    .await;
}

/// Kubernetes' own controllers are nobody special to the policies, and need not be.
#[tokio::test]
async fn the_garbage_collector_does_its_work() {
    judged(async |judged| {
        let owner = judged.stored(&judged.admin, &task_named("owner", "{}")).await;
        let mut run = marked("annotations", "nightshift.dev/adopted-uid");
        run["metadata"]["ownerReferences"] = json!([{
            "apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": "owner", "uid": owner["metadata"]["uid"],
            "controller": true, "blockOwnerDeletion": true,
        }]);
        judged.stored(&judged.operator, &run).await;
        let runs = Api::<AutomationRun>::namespaced(judged.admin.clone(), &judged.namespace);
        let tasks = Api::<AutomationTask>::namespaced(judged.admin.clone(), &judged.namespace);
        let orphan = DeleteParams { propagation_policy: Some(PropagationPolicy::Orphan), ..DeleteParams::default() };
        tasks.delete("owner", &orphan).await.expect("a task can be deleted");
        // An operator that is up may give it to its own task meanwhile.
        eventually("the run is an orphan", Duration::from_secs(60), async || {
            let owners = runs.get("nightly-import-1").await.map_err(|e| e.to_string())?.metadata.owner_references.unwrap_or_default();
            if owners.iter().all(|owner| owner.name != "owner") { Ok(()) } else { Err(format!("{owners:?}")) }
        })
        .await;
        runs.delete("nightly-import-1", &DeleteParams::foreground()).await.expect("a run can be deleted");
        eventually("the run is gone", Duration::from_secs(60), async || match runs.get_opt("nightly-import-1").await {
            Ok(None) => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
    })
    .await;
}
