//! Finding objects: field selectors, short names, the category, columns.

use std::{collections::BTreeSet, time::Duration};

use kube::{
    Api, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use nightshift::api::{AutomationRun, AutomationTask, Backfill};
use serde_json::json;

use crate::{
    case::{backfill_named, pool_named, run_named, task_named, workflow_named},
    server::{Keep, create, patch_status},
    support::{eventually, install_crds, kubectl_ok, operator_client, with_temp_namespace},
};

#[tokio::test]
async fn runs_are_selected_by_task_phase_outcome_and_result() {
    with_temp_namespace(async |client, namespace| {
        install_crds(&client).await;
        let api = Api::<AutomationRun>::namespaced(client.clone(), &namespace);
        let runs = [
            ("a-1", "a", json!({ "phase": "Finished", "outcome": "Succeeded", "result": "Good" })),
            ("a-2", "a", json!({ "phase": "Finished", "outcome": "Failed", "result": "Bad" })),
            ("b-1", "b", json!({ "phase": "Finished", "outcome": "TimedOut", "result": "Bad" })),
            ("b-2", "b", json!({ "phase": "Finished", "outcome": "Unknown", "result": null })),
        ];
        for (name, task, _) in &runs {
            create(&client, &namespace, &run_named(name, &format!("taskRef: {{name: {task}}}")), Keep::Stored).await.expect("a run");
        }
        let cases = [
            ("spec.taskRef.name=a", "a-1 a-2"),
            ("spec.taskRef.name!=a", "b-1 b-2"),
            ("status.phase=Finished", "a-1 a-2 b-1 b-2"),
            ("status.phase!=Finished", ""),
            ("status.outcome=Succeeded", "a-1"),
            ("status.outcome=TimedOut,spec.taskRef.name=b", "b-1"),
            ("status.result=Good", "a-1"),
            ("status.result=Bad", "a-2 b-1"),
            ("status.result=", "b-2"),
            ("status.result=Bad,spec.taskRef.name=a", "a-2"),
        ];
        // An operator in the same cluster may have its own view of these runs; ours is written until it stands.
        let operator = Api::<AutomationRun>::namespaced(operator_client().await, &namespace);
        eventually("each selector finds its runs", Duration::from_secs(30), async || {
            for (name, _, status) in &runs {
                let status = json!({ "status": status });
                operator.patch_status(name, &PatchParams::default(), &Patch::Merge(&status)).await.map_err(|e| e.to_string())?;
            }
            for (selector, wanted) in cases {
                let found = api.list(&ListParams::default().fields(selector)).await.map_err(|e| format!("{selector}: {e}"))?;
                let found: BTreeSet<String> = found.iter().map(ResourceExt::name_any).collect();
                if !found.iter().map(String::as_str).eq(wanted.split_whitespace()) {
                    return Err(format!("{selector}: {found:?}"));
                }
            }
            Ok(())
        })
        .await;
        let bad = ["get", "arun", "--namespace", &namespace, "--field-selector", "status.result=Bad", "--output", "name"];
        assert_eq!(kubectl_ok(&bad, None).await, "automationrun.nightshift.dev/a-2\nautomationrun.nightshift.dev/b-1\n");
    })
    .await;
}

#[tokio::test]
async fn tasks_are_selected_by_team() {
    with_temp_namespace(async |client, namespace| {
        install_crds(&client).await;
        for (name, team) in [("import", "data"), ("export", "data"), ("bill", "finance")] {
            create(&client, &namespace, &task_named(name, &format!("owner: {{team: {team}}}")), Keep::Stored).await.expect("a task");
        }
        let api = Api::<AutomationTask>::namespaced(client.clone(), &namespace);
        let found = api.list(&ListParams::default().fields("spec.owner.team=data")).await.expect("the field is selectable");
        let found: Vec<String> = found.iter().map(ResourceExt::name_any).collect();
        assert_eq!(found, ["export", "import"]);
    })
    .await;
}

#[tokio::test]
async fn backfills_are_selected_by_task_workflow_and_phase() {
    with_temp_namespace(async |client, namespace| {
        install_crds(&client).await;
        let api = Api::<Backfill>::namespaced(client.clone(), &namespace);
        let operator = operator_client().await;
        for (name, runs, phase) in [
            ("a-1", "taskRef: {name: a}", "Finished"),
            ("a-2", "taskRef: {name: a}", "Running"),
            ("b-1", "taskRef: {name: b}", "Finished"),
            ("w-1", "taskRef: null, workflowRef: {name: a}", "Running"),
        ] {
            let backfill = backfill_named(name, &format!("{{{runs}, dryRun: true}}"));
            let stored = create(&client, &namespace, &backfill, Keep::Stored).await.expect("a backfill");
            patch_status(&operator, &namespace, &stored, &json!({ "phase": phase }), Keep::Stored).await.expect("a status");
        }
        for (selector, wanted) in
            [("spec.taskRef.name=a", "a-1 a-2"), ("spec.workflowRef.name=a", "w-1"), ("status.phase=Finished,spec.taskRef.name!=a", "b-1")]
        {
            let found = api.list(&ListParams::default().fields(selector)).await.expect("the field is selectable");
            let found: Vec<String> = found.iter().map(ResourceExt::name_any).collect();
            assert_eq!(found.join(" "), wanted, "{selector}");
        }
    })
    .await;
}

#[tokio::test]
async fn short_names_and_the_category_print_columns() {
    with_temp_namespace(async |client, namespace| {
        install_crds(&client).await;
        create(&client, &namespace, &task_named("import", "{}"), Keep::Stored).await.expect("a task");
        create(&client, &namespace, &run_named("import-1", "taskRef: {name: import-that-is-not}"), Keep::Stored).await.expect("a run");
        create(&client, &namespace, &backfill_named("november", "{taskRef: {name: import-that-is-not}}"), Keep::Stored)
            .await
            .expect("a backfill");
        let of_workflow = backfill_named("of-workflow", "{taskRef: null, workflowRef: {name: prices}}");
        create(&client, &namespace, &of_workflow, Keep::Stored).await.expect("a backfill");
        create(&client, &namespace, &workflow_named("nightly", "{}"), Keep::Stored).await.expect("a workflow");
        create(&client, &namespace, &pool_named("warehouse", "{slots: 8}"), Keep::Stored).await.expect("a pool");
        let get = async |what: &str, wide: &str| {
            let table = kubectl_ok(&["get", what, "--namespace", &namespace, "--output", wide], None).await;
            let title = table.lines().find(|line| line.starts_with("NAME")).unwrap_or_default().to_owned();
            (title.split_whitespace().map(str::to_owned).collect::<Vec<_>>().join(" "), table)
        };
        let (title, table) = get("atask", "").await;
        assert_eq!(title, "NAME SCHEDULE NEXT LAST OUTCOME OWNER READY AGE");
        assert!(table.contains("import") && table.contains("data-platform"), "{table}");
        assert_eq!(get("atask", "wide").await.0, "NAME SCHEDULE NEXT LAST OUTCOME OWNER READY AGE CLOCK ACTIVE STATUS");
        assert_eq!(get("arun", "").await.0, "NAME RUNS PHASE OUTCOME REASON ATTEMPTS DURATION AGE");
        assert_eq!(get("arun", "wide").await.0, "NAME RUNS PHASE OUTCOME REASON ATTEMPTS DURATION AGE SLOT OF TRIGGER MESSAGE");
        assert_eq!(get("abackfill", "").await.0, "NAME RUNS PHASE PROGRESS FAILED OUTCOME AGE");
        let (title, table) = get("abackfill", "wide").await;
        assert_eq!(title, "NAME RUNS PHASE PROGRESS FAILED OUTCOME AGE MESSAGE");
        assert!(table.contains("import-that-is-not") && table.contains("prices"), "{table}");
        assert_eq!(get("apool", "").await.0, "NAME SLOTS USED QUEUED AGE");
        assert_eq!(get("awf", "").await.0, "NAME SCHEDULE NEXT STEPS LAST OUTCOME OWNER READY AGE");
        assert_eq!(get("awf", "wide").await.0, "NAME SCHEDULE NEXT STEPS LAST OUTCOME OWNER READY AGE ACTIVE STATUS");
        let (_, all) = get("nightshift", "name").await;
        for one in [
            "automationtask.nightshift.dev/import\n",
            "automationrun.nightshift.dev/import-1\n",
            "backfill.nightshift.dev/november\n",
            "workflow.nightshift.dev/nightly\n",
            "concurrencypool.nightshift.dev/warehouse\n",
        ] {
            assert!(all.contains(one), "{one} in {all}");
        }
    })
    .await;
}
