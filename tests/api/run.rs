//! `AutomationRun`: what is refused, what is accepted, what can change.

use serde_json::{Value, json};

use crate::{
    case::{accepts, check, rejects, run_named, run_of},
    server::{Keep, create, patch},
    support::{install_crds, operator_client, with_temp_namespace},
};

#[tokio::test]
async fn refuses_a_run_of_nothing_or_of_what_nobody_may_ask() {
    with_temp_namespace(async |client, namespace| {
        install_crds(&client).await;
        let cases = vec![
            rejects("a name of 56 characters", run_named(&"a".repeat(56), "{}"), "metadata.name", "at most 55 characters"),
            rejects("a name with dots", run_named("nightly.import", "{}"), "metadata.name", "without dots"),
            rejects("neither task nor workflow", run_of("taskRef: null"), "spec", "exactly one of taskRef and workflowRef"),
            rejects("a task and a workflow", run_of("workflowRef: {name: w}"), "spec", "exactly one of taskRef and workflowRef"),
            rejects(
                "a workflow with dots",
                run_of("{taskRef: null, workflowRef: {name: a.b}}"),
                "spec.workflowRef.name",
                "must be the name of a workflow",
            ),
            rejects(
                "a step of nothing",
                run_of("step: {workflowRun: nightly-1, name: fetch}"),
                "spec.step",
                "which the operator sets; leave both out",
            ),
            rejects("the trigger Step without a step", run_of("trigger: Step"), "spec.step", "which the operator sets; leave both out"),
            rejects(
                "an approval of a task's run",
                run_of("approvals: [{step: ask, decision: Approve, by: ann}]"),
                "spec.approvals",
                "go with a run of a workflow",
            ),
            rejects(
                "an answer that is neither yes nor no",
                run_of("{taskRef: null, workflowRef: {name: w}, approvals: [{step: ask, decision: Maybe, by: ann}]}"),
                "spec.approvals[0].decision",
                "supported values: \"Approve\"",
            ),
            rejects(
                "an answer of nobody",
                run_of("{taskRef: null, workflowRef: {name: w}, approvals: [{step: ask, decision: Approve}]}"),
                "spec.approvals[0].by",
                "Required",
            ),
            rejects(
                "two answers to one question",
                run_of("{taskRef: null, workflowRef: {name: w}, approvals: [{step: ask, decision: Approve, by: ann}, {step: ask, decision: Reject, by: bob}]}"),
                "spec.approvals[1]",
                "Duplicate value",
            ),
            rejects("a task without a name", run_of("taskRef: {name: null}"), "spec.taskRef.name", "Required"),
            rejects("an empty task", run_of("taskRef: {name: ''}"), "spec.taskRef.name", "at least 1"),
            rejects(
                "a task of 41 characters",
                run_of(&format!("taskRef: {{name: {}}}", "a".repeat(41))),
                "spec.taskRef.name",
                "may not be more than 40",
            ),
            rejects("a task with dots", run_of("taskRef: {name: a.b}"), "spec.taskRef.name", "must be the name of a task"),
            rejects("a task in another namespace", run_of("taskRef: {name: a, namespace: b}"), "spec.taskRef.namespace", "unknown field"),
            rejects("a task as a text", run_of("taskRef: nightly-import"), "spec.taskRef", "must be of type object"),
            rejects(
                "a parameter twice",
                run_of("parameters: [{name: A, value: '1'}, {name: A, value: '2'}]"),
                "spec.parameters[1]",
                "Duplicate value",
            ),
            rejects(
                "a parameter that cannot exist",
                run_of("parameters: [{name: A-B, value: x}]"),
                "spec.parameters[0].name",
                "letters, digits and '_'",
            ),
            rejects("a parameter without a value", run_of("parameters: [{name: A}]"), "spec.parameters[0].value", "Required"),
            rejects(
                "a value that is a number",
                run_of("parameters: [{name: A, value: 5}]"),
                "spec.parameters[0].value",
                "must be of type string",
            ),
            rejects(
                "a value that is a date to YAML 1.1",
                run_of("parameters: [{name: A, value: true}]"),
                "spec.parameters[0].value",
                "must be of type string",
            ),
            rejects("a value with a NUL", run_of(r#"parameters: [{name: A, value: "a\0b"}]"#), "spec.parameters[0].value", "NUL character"),
            rejects("an unknown trigger", run_of("trigger: Webhook"), "spec.trigger", "supported values: \"Manual\", \"Schedule\""),
            rejects(
                "a slot without the trigger",
                run_of("scheduledTime: '2026-01-31T02:30:00Z'"),
                "spec.scheduledTime",
                "leave both out to run now",
            ),
            rejects("the trigger without a slot", run_of("trigger: Schedule"), "spec.scheduledTime", "leave both out to run now"),
            rejects("a slot that is no time", run_of("{trigger: Schedule, scheduledTime: tomorrow}"), "spec.scheduledTime", "date-time"),
            rejects(
                "a slot of a run on demand",
                run_of("{trigger: Manual, scheduledTime: '2026-01-31T02:30:00Z'}"),
                "spec.scheduledTime",
                "leave both out to run now",
            ),
            rejects("a slot caught up without a slot", run_of("trigger: CatchUp"), "spec.scheduledTime", "leave both out to run now"),
            rejects("a run of a backfill without a slot", run_of("trigger: Backfill"), "spec.scheduledTime", "leave both out to run now"),
            rejects("a rerun of nothing", run_of("trigger: Rerun"), "spec.rerunOf", "name the run to repeat in rerunOf"),
            rejects(
                "a rerun that says it is none",
                run_of("{trigger: Manual, rerunOf: nightly-import-0}"),
                "spec.rerunOf",
                "leave trigger out",
            ),
            rejects(
                "a rerun that is the slot's own run",
                run_of("{trigger: Schedule, scheduledTime: '2026-01-31T02:30:00Z', rerunOf: nightly-import-0}"),
                "spec.rerunOf",
                "leave trigger out",
            ),
            rejects(
                "a rerun that says which slot",
                run_of("{rerunOf: nightly-import-0, scheduledTime: '2026-01-31T02:30:00Z'}"),
                "spec.scheduledTime",
                "leave both out",
            ),
            rejects("a run that repeats itself", run_of("rerunOf: nightly-import-1"), "spec.rerunOf", "name another run"),
            rejects("a rerun of no name", run_of("rerunOf: ''"), "spec.rerunOf", "at least 1"),
            rejects("a rerun of a name with dots", run_of("rerunOf: nightly.import"), "spec.rerunOf", "must be the name of a run"),
            rejects(
                "a rerun of a run in another namespace",
                run_of("rerunOf: other/import-1"),
                "spec.rerunOf",
                "must be the name of a run",
            ),
            rejects(
                "a rerun of a name of 56 characters",
                run_of(&format!("rerunOf: {}", "a".repeat(56))),
                "spec.rerunOf",
                "may not be more than 55",
            ),
            rejects("a rerun of a list", run_of("rerunOf: [nightly-import-0]"), "spec.rerunOf", "must be of type string"),
            rejects(
                "a definition of what is no rerun",
                run_of("definition: Original"),
                "spec.definition",
                "name the run to repeat in rerunOf, or leave definition out",
            ),
            rejects(
                "an unknown definition",
                run_of("{rerunOf: nightly-import-0, definition: Latest}"),
                "spec.definition",
                "supported values: \"Current\", \"Original\"",
            ),
            rejects(
                "the failed steps of what is no rerun",
                run_of("{taskRef: null, workflowRef: {name: w}, fromFailed: true}"),
                "spec.fromFailed",
                "name the run to repeat in rerunOf",
            ),
            rejects(
                "the failed steps of a task",
                run_of("{rerunOf: nightly-import-0, fromFailed: true}"),
                "spec.fromFailed",
                "the workflow in workflowRef",
            ),
            rejects(
                "the failed steps with other parameters",
                run_of("{taskRef: null, workflowRef: {name: w}, rerunOf: w-1, fromFailed: true, parameters: [{name: A, value: b}]}"),
                "spec.parameters",
                "leave one of the two out",
            ),
            rejects("a cancel that is a text", run_of("cancel: 'yes'"), "spec.cancel", "must be of type boolean"),
            rejects("an unknown field", run_of("params: {}"), "spec.params", "unknown field"),
        ];
        check(&client, &namespace, cases).await;
    })
    .await;
}

#[tokio::test]
async fn accepts_a_run_as_people_and_the_operator_write_it() {
    with_temp_namespace(async |client, namespace| {
        install_crds(&client).await;
        let mut generated = run_of("{}");
        generated["metadata"] = json!({ "generateName": "nightly-import-" });
        let cases = vec![
            accepts("the least that a run needs", run_of("{}")),
            accepts("a name of 55 characters", run_named(&"a".repeat(55), "{}")),
            accepts("a generated name", generated),
            accepts("a run of a workflow", run_of("{taskRef: null, workflowRef: {name: nightly-import}}")),
            accepts("parameters of all kinds", run_of(r#"parameters: [{name: A, value: ''}, {name: _b1, value: "$(date) '\"\n"}]"#)),
            accepts("a run on demand that says so", run_of("trigger: Manual")),
            accepts("a run cancelled before it began", run_of("cancel: true")),
            accepts("a rerun", run_of("rerunOf: nightly-import-0")),
            accepts("a rerun that says so", run_of("{trigger: Rerun, rerunOf: nightly-import-0}")),
            accepts("a rerun of what ran then", run_of("{rerunOf: nightly-import-0, definition: Original}")),
            accepts(
                "a rerun of what the task is now, with other parameters",
                run_of("{rerunOf: nightly-import-0, definition: Current, parameters: [{name: A, value: '2'}]}"),
            ),
            accepts("nulls, as Helm charts leave them", {
                let mut run = run_of("{}");
                run["spec"] =
                    json!({ "taskRef": { "name": "a" }, "scheduledTime": null, "rerunOf": null, "cancel": null, "parameters": null });
                run
            }),
        ];
        check(&client, &namespace, cases).await;
        let of_slot = |trigger| accepts(trigger, run_of(&format!("{{trigger: {trigger}, scheduledTime: '2026-01-31T02:30:00Z'}}")));
        check(&operator_client().await, &namespace, vec![of_slot("Schedule"), of_slot("CatchUp"), of_slot("Backfill")]).await;
    })
    .await;
}

#[tokio::test]
async fn can_only_be_cancelled_once_it_exists() {
    with_temp_namespace(async |client, namespace| {
        install_crds(&client).await;
        let run = run_of("parameters: [{name: A, value: '1'}]");
        let run = create(&client, &namespace, &run, Keep::Stored).await.expect("the server takes it");
        let change = async |spec: Value, keep| patch(&client, &namespace, &run, &json!({ "spec": spec }), keep).await;
        let refused = async |spec: Value, field: &str, fix: &str| {
            let said = change(spec.clone(), Keep::DryRun).await.expect_err("the change is refused");
            assert!(said.contains(field) && said.contains(fix), "{spec} without naming {field:?} and {fix:?}: {said}");
        };
        let another = "cannot change; create another AutomationRun";
        refused(json!({ "taskRef": { "name": "other" } }), "taskRef of a run", another).await;
        refused(json!({ "parameters": [{ "name": "A", "value": "2" }] }), "parameters of a run", another).await;
        refused(json!({ "parameters": null }), "parameters of a run", another).await;
        refused(json!({ "trigger": "Manual" }), "trigger of a run", "cannot change").await;
        refused(json!({ "trigger": "Schedule", "scheduledTime": "2026-01-31T02:30:00Z" }), "scheduledTime of a run", "cannot change").await;
        refused(json!({ "rerunOf": "other" }), "rerunOf of a run", another).await;
        change(json!({ "cancel": false }), Keep::DryRun).await.expect("cancel: false changes nothing");

        change(json!({ "cancel": true }), Keep::Stored).await.expect("a run can be cancelled");
        refused(json!({ "cancel": false }), "spec", "cancel cannot be taken back").await;
        refused(json!({ "cancel": null }), "spec", "cancel cannot be taken back").await;

        let rerun = run_named("again", "{rerunOf: nightly-import-0, definition: Original}");
        let rerun = create(&client, &namespace, &rerun, Keep::Stored).await.expect("the server takes it");
        for (field, spec) in [
            ("rerunOf of a run", json!({ "rerunOf": "nightly-import-1" })),
            ("rerunOf of a run", json!({ "rerunOf": null, "definition": null })),
            ("definition of a run", json!({ "definition": "Current" })),
            ("definition of a run", json!({ "definition": null })),
        ] {
            let said = patch(&client, &namespace, &rerun, &json!({ "spec": spec }), Keep::DryRun).await.expect_err("the change is refused");
            assert!(said.contains(field) && said.contains(another), "{spec}: {said}");
        }
    })
    .await;
}

#[tokio::test]
async fn leaves_status_to_the_operator_and_is_pending_until_that_has_looked_at_it() {
    with_temp_namespace(async |client, namespace| {
        install_crds(&client).await;
        let mut forged = run_of("{}");
        forged["status"] = json!({ "phase": "Finished", "outcome": "Succeeded", "result": "Good" });
        let stored = create(&client, &namespace, &forged, Keep::DryRun).await.expect("the server takes it");
        assert_eq!(stored["status"], json!({ "phase": "Pending" }));
        let stored = create(&client, &namespace, &run_named("new", "taskRef: {name: no-such-task}"), Keep::Stored).await.expect("a run");
        assert_eq!(stored["status"], json!({ "phase": "Pending" }), "and says nothing that nobody has seen");
    })
    .await;
}
