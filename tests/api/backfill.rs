//! `Backfill`: what is refused, what is accepted, what can change.

use serde_json::{Value, json};

use crate::{
    case::{accepts, backfill, backfill_named, check, rejects},
    server::{Keep, create, patch},
    support::{install_crds, with_temp_namespace, yaml},
};

#[tokio::test]
async fn refuses_a_backfill_of_nothing_or_of_too_much() {
    with_temp_namespace(async |client, namespace| {
        install_crds(&client).await;
        let slots = |count: i64| {
            let slots: Vec<String> = (0..count).map(|n| format!("2025-{:02}-{:02}T02:30:00Z", n / 28 % 12 + 1, n % 28 + 1)).collect();
            // Two years have 672 such days.
            let second = slots.iter().enumerate().map(|(n, slot)| if n < 336 { slot.clone() } else { slot.replace("2025", "2026") });
            backfill(&json!({ "range": null, "slots": second.collect::<Vec<_>>() }).to_string())
        };
        let range = |name: &str, range: &str, field: &str, fix: &str| rejects(name, backfill(&format!("range: {range}")), field, fix);
        let cases = vec![
            rejects("a name of 41 characters", backfill_named(&"a".repeat(41), "{}"), "metadata.name", "at most 40 characters"),
            rejects("a name with dots", backfill_named("november.2026", "{}"), "metadata.name", "without dots"),
            rejects("neither task nor workflow", backfill("taskRef: null"), "spec", "needs exactly one of taskRef and workflowRef"),
            rejects("task and workflow", backfill("workflowRef: {name: prices}"), "spec", "needs exactly one of taskRef and workflowRef"),
            rejects(
                "a workflow that is no name",
                backfill("{taskRef: null, workflowRef: {name: Prices}}"),
                "spec.workflowRef.name",
                "must be the name of a workflow",
            ),
            rejects("a workflow without a name", backfill("{taskRef: null, workflowRef: {}}"), "spec.workflowRef.name", "Required"),
            rejects(
                "a task that is no name",
                backfill("taskRef: {name: Nightly Import}"),
                "spec.taskRef.name",
                "must be the name of a task",
            ),
            rejects("a task in another namespace", backfill("taskRef: {namespace: b}"), "spec.taskRef.namespace", "unknown field"),
            rejects("neither range nor slots", backfill("range: null"), "spec", "want either range or slots"),
            rejects("range and slots", backfill("slots: ['2026-11-02T02:30:00Z']"), "spec", "want either range or slots"),
            range("an end after all time", "{to: '9999-12-31T23:59:59Z'}", "spec.range.to", "take a year before 9999"),
            rejects(
                "a slot after all time",
                backfill("{range: null, slots: ['9999-12-31T23:59:00Z']}"),
                "spec.slots",
                "lies after all time; take it out",
            ),
            range("a range without an end", "{to: null}", "spec.range.to", "Required"),
            range("a range without a start", "{from: null}", "spec.range.from", "Required"),
            range("a range that ends before it starts", "{to: '2026-10-31T23:59:59Z'}", "spec.range.from", "must not lie after range.to"),
            range("a range that starts on a day", "{from: '2026-11-01'}", "spec.range.from", "date-time"),
            range("a range that starts in words", "{from: yesterday}", "spec.range.from", "date-time"),
            range("a range without a zone", "{from: '2026-11-01T00:00:00'}", "spec.range.from", "date-time"),
            range("a range of another spelling", "{start: '2026-11-01T00:00:00Z'}", "spec.range.start", "unknown field"),
            rejects("no slot", backfill("{range: null, slots: []}"), "spec.slots", "at least 1 items"),
            rejects("501 slots", slots(501), "spec.slots", "at most 500 items"),
            rejects(
                "a slot twice",
                backfill("{range: null, slots: ['2026-11-02T02:30:00Z', '2026-11-02T02:30:00Z']}"),
                "spec.slots[1]",
                "Duplicate value",
            ),
            rejects("a slot in unix minutes", backfill("{range: null, slots: [29934567]}"), "spec.slots[0]", "date-time"),
            rejects("a slot that is no time", backfill("{range: null, slots: ['02:30']}"), "spec.slots[0]", "date-time"),
            rejects(
                "an unknown selection",
                backfill("select: Bad"),
                "spec.select",
                "supported values: \"Missing\", \"Failed\", \"MissingOrFailed\", \"All\"",
            ),
            rejects("an unknown order", backfill("order: Random"), "spec.order", "supported values: \"OldestFirst\", \"NewestFirst\""),
            rejects("no run at once", backfill("concurrency: 0"), "spec.concurrency", "greater than or equal to 1"),
            rejects("51 runs at once", backfill("concurrency: 51"), "spec.concurrency", "less than or equal to 50"),
            rejects(
                "a parameter that is a number",
                backfill("parameters: [{name: A, value: 5}]"),
                "spec.parameters[0].value",
                "type string",
            ),
            rejects(
                "a parameter twice",
                backfill("parameters: [{name: A, value: '1'}, {name: A, value: '2'}]"),
                "spec.parameters[1]",
                "Duplicate value",
            ),
            rejects("33 parameters", backfill(&many_parameters(33)), "spec.parameters", "at most 32 items"),
            rejects("a dry run in words", backfill("dryRun: 'yes'"), "spec.dryRun", "must be of type boolean"),
            rejects("a trigger", backfill("trigger: Backfill"), "spec.trigger", "unknown field"),
            accepts("500 slots", slots(500)),
            accepts("32 parameters", backfill(&many_parameters(32))),
        ];
        check(&client, &namespace, cases).await;
    })
    .await;
}

fn many_parameters(count: usize) -> String {
    json!({ "parameters": (0..count).map(|n| json!({ "name": format!("P{n}"), "value": "" })).collect::<Vec<_>>() }).to_string()
}

#[tokio::test]
async fn accepts_a_backfill_as_people_write_it() {
    with_temp_namespace(async |client, namespace| {
        install_crds(&client).await;
        let cases = vec![
            accepts("the least that a backfill needs", backfill("{}")),
            accepts("a workflow", backfill("{taskRef: null, workflowRef: {name: prices}}")),
            accepts("a name of 40 characters", backfill_named(&"a".repeat(40), "{}")),
            accepts("a list of slots", backfill("{range: null, slots: ['2026-11-02T02:30:00Z', '2026-11-05T03:30:00+01:00']}")),
            accepts("an end that is far away", backfill("range: {from: '2026-11-02T02:30:00Z', to: '9998-12-31T23:59:59Z'}")),
            accepts("one moment", backfill("range: {from: '2026-11-02T02:30:00Z', to: '2026-11-02T02:30:00Z'}")),
            accepts("ends in two zones", backfill("range: {from: '2026-11-01T00:00:00+01:00', to: '2026-11-30T23:59:59-05:00'}")),
            accepts(
                "everything",
                backfill(
                    "{select: MissingOrFailed, order: NewestFirst, concurrency: 50, parameters: [{name: MODE, value: full}], dryRun: true, suspend: false, cancel: false}",
                ),
            ),
            accepts("nulls, as Helm charts leave them", {
                let mut with_nulls = backfill("{}");
                let nulls: Value = yaml("{slots: null, concurrency: null, parameters: null, dryRun: null, suspend: null, cancel: null}");
                with_nulls["spec"].as_object_mut().expect("an object").extend(nulls.as_object().expect("an object").clone());
                with_nulls
            }),
        ];
        check(&client, &namespace, cases).await;
    })
    .await;
}

#[tokio::test]
async fn begins_once_pauses_at_will_and_ends_once() {
    with_temp_namespace(async |client, namespace| {
        install_crds(&client).await;
        let planned = backfill("{dryRun: true, select: Failed, order: NewestFirst, parameters: [{name: A, value: '1'}]}");
        let planned = create(&client, &namespace, &planned, Keep::Stored).await.expect("the server takes it");
        let listed = backfill_named("listed", "{range: null, slots: ['2026-11-02T02:30:00Z']}");
        let listed = create(&client, &namespace, &listed, Keep::Stored).await.expect("the server takes it");
        let of_workflow = backfill_named("of-workflow", "{taskRef: null, workflowRef: {name: prices}, dryRun: true}");
        let of_workflow = create(&client, &namespace, &of_workflow, Keep::Stored).await.expect("the server takes it");
        let change = async |of: &Value, spec: Value, keep| patch(&client, &namespace, of, &json!({ "spec": spec }), keep).await;
        let refused = async |of: &Value, spec: Value, field: &str| {
            let said = change(of, spec.clone(), Keep::DryRun).await.expect_err("the change is refused");
            assert!(
                said.contains(field) && said.contains("create another Backfill"),
                "{spec} without naming {field:?} and the fix: {said}"
            );
        };
        refused(&planned, json!({ "taskRef": { "name": "other" } }), "taskRef of a backfill").await;
        refused(&planned, json!({ "taskRef": null, "workflowRef": { "name": "nightly-import" } }), "taskRef of a backfill").await;
        refused(&of_workflow, json!({ "workflowRef": { "name": "other" } }), "workflowRef of a backfill").await;
        refused(&of_workflow, json!({ "workflowRef": null, "taskRef": { "name": "prices" } }), "workflowRef of a backfill").await;
        refused(&planned, json!({ "range": { "to": "2026-12-31T23:59:59Z" } }), "range of a backfill").await;
        refused(&planned, json!({ "range": null, "slots": ["2026-11-02T02:30:00Z"] }), "range of a backfill").await;
        refused(&planned, json!({ "select": "All" }), "select of a backfill").await;
        refused(&planned, json!({ "select": null }), "select of a backfill").await;
        refused(&planned, json!({ "order": "OldestFirst" }), "order of a backfill").await;
        refused(&planned, json!({ "parameters": [] }), "parameters of a backfill").await;
        refused(&planned, json!({ "parameters": [{ "name": "A", "value": "2" }] }), "parameters of a backfill").await;
        refused(&listed, json!({ "slots": ["2026-11-02T02:30:00Z", "2026-11-03T02:30:00Z"] }), "slots of a backfill").await;
        refused(&listed, json!({ "dryRun": true }), "spec.dryRun").await;
        // A list of times is like itself: the API server compares those of its own making otherwise.
        for open in [json!({ "suspend": true }), json!({ "suspend": false, "concurrency": 4 }), json!({ "cancel": true })] {
            change(&listed, open.clone(), Keep::Stored).await.unwrap_or_else(|e| panic!("listed, {open}: {e}"));
        }

        change(&of_workflow, json!({ "dryRun": false }), Keep::Stored).await.expect("it can begin");
        change(&planned, json!({ "dryRun": false }), Keep::Stored).await.expect("it can begin");
        refused(&planned, json!({ "dryRun": true }), "spec.dryRun").await;
        for open in [json!({ "suspend": true }), json!({ "suspend": false, "concurrency": 4 }), json!({ "dryRun": null })] {
            change(&planned, open.clone(), Keep::Stored).await.unwrap_or_else(|e| panic!("{open}: {e}"));
        }
        refused(&planned, json!({ "dryRun": true }), "spec.dryRun").await;

        change(&planned, json!({ "cancel": true }), Keep::Stored).await.expect("it can be cancelled");
        refused(&planned, json!({ "cancel": false }), "cancel cannot be taken back").await;
        refused(&planned, json!({ "cancel": null }), "cancel cannot be taken back").await;
        change(&planned, json!({ "suspend": true }), Keep::DryRun).await.expect("what has no effect any more is no error");
    })
    .await;
}
