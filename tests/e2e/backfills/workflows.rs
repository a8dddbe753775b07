//! Backfills of workflows: as those of tasks, of the workflow with all that it refers to.

use kube::ResourceExt;
use nightshift::api::{AutomationTask, BackfillPhase, Outcome, Trigger, Workflow, condition};
use serde_json::{Value, json};

use super::{PAST, backfill_workflow, finished, minutes, range, ready, runs, seen, tally};
use crate::{
    with_operator::place::{Place, says, story},
    workflows::{self, child, steps, workflow},
};

/// A step of the task `import`, which is given the minute of the slot.
fn step(name: &str, after: &[&str]) -> Value {
    let depends_on: Vec<Value> = after.iter().map(|step| json!({ "step": step })).collect();
    let parameters = json!([{ "name": "MINUTE", "expression": "parameters.MINUTE" }]);
    json!({ "name": name, "taskRef": { "name": "import" }, "parameters": parameters, "dependsOn": depends_on })
}

/// A workflow `nightly` with a slot every ten minutes of the past.
async fn nightly(place: &Place, all: &[Value]) {
    let parameters = "parameters: [{name: MINUTE, fromSlot: \"format(slot, '%M')\"}]";
    workflow(place, "nightly", all, &format!("{PAST}, {parameters}}}")).await;
}

/// The task `import`, which tells what it was given.
async fn import(place: &Place) {
    let tell = r#"printf '{"version": "%s", "minute": "%s", "key": "%s"}' "$VERSION" "$MINUTE" "$NIGHTSHIFT_IDEMPOTENCY_KEY" > /dev/termination-log; sleep 3"#;
    place.script("import", tell, "{env: [{name: VERSION, value: '1'}], parameters: [{name: MINUTE, required: true}]}").await;
}

#[tokio::test]
async fn two_slots_at_a_time_are_run_of_the_workflow_as_it_was_when_the_backfill_began() {
    story(async |place| {
        import(place).await;
        nightly(place, &[step("fetch", &[]), step("load", &["fetch"])]).await;
        workflows::ready(place, "nightly", "True", "Accepted").await;
        let before = place.get::<Workflow>("nightly").await.status.expect("a status");
        backfill_workflow(place, "go", "nightly", &format!("{{{}, concurrency: 2}}", range("00:00", "00:30"))).await;
        let begun = seen(place, "go", "to have two runs", |status| status.active.len() == 2).await;
        assert_eq!((begun.phase, begun.total), (Some(BackfillPhase::Running), 4));
        // Neither what the steps run, nor which steps there are, nor which slots.
        place.change::<AutomationTask>("import", json!({ "spec": { "env": [{ "name": "VERSION", "value": "2" }] } })).await;
        let edit = json!({ "spec": { "steps": [step("other", &[])], "schedule": { "cron": ["0 0 1 2 *"] } } });
        place.change::<Workflow>("nightly", edit).await;
        let told = finished(place, "go").await;
        assert_eq!((tally(&told), told.outcome), ((4, 0, 0, 4), Some(Outcome::Succeeded)), "{told:?}");
        assert_eq!(told.revision, before.revision);
        let runs = runs(place, "go").await;
        assert_eq!(runs.len(), 4);
        for run in &runs {
            let slot = run.spec.scheduled_time.as_ref().expect("a slot").0;
            let status = run.status.clone().expect("a status");
            assert_eq!((run.spec.trigger, run.spec.workflow_name()), (Some(Trigger::Backfill), Some("nightly")));
            assert_eq!(run.name_any(), format!("go-bf-{}", slot.as_second() / 60));
            assert_eq!(
                (&status.revision, steps(&status).as_slice()),
                (&before.revision, &["fetch Succeeded", "load Succeeded"].map(str::to_owned)[..])
            );
            let key = format!("{}/nightly-wf-{}", place.namespace, slot.as_second() / 60);
            assert_eq!(status.idempotency_key.as_ref(), Some(&key));
            let load = child(place, &run.name_any(), "load").await.status.and_then(|status| status.outputs).expect("outputs");
            assert_eq!(load, json!({ "version": "1", "minute": format!("{:02}", minutes(slot)), "key": format!("{key}/load") }));
            // At its creation at most one of the others went on.
            let created = run.creation_timestamp().expect("a time").0;
            let beside = runs.iter().filter(|other| {
                let ended = other.status.as_ref().and_then(|status| status.completion_time.as_ref()).map(|time| time.0);
                let older = (other.creation_timestamp(), other.spec.scheduled_time.as_ref())
                    < (run.creation_timestamp(), run.spec.scheduled_time.as_ref());
                older && ended > Some(created)
            });
            assert!(beside.count() <= 1, "{}", run.name_any());
        }
        let shown = place.kubectl(&["get", "abackfill"]).await;
        assert!(shown.contains("RUNS") && shown.contains("nightly") && shown.contains("4/4"), "{shown}");
    })
    .await;
}

#[tokio::test]
async fn a_workflow_that_cannot_be_run_is_told_on_the_backfill_which_begins_once_it_can() {
    story(async |place| {
        let told = async |name: &str, reason: &'static str| {
            let told = seen(place, name, reason, move |status| !status.conditions.is_empty() && ready(status).1 == reason).await;
            let stalled = condition::find(&told.conditions, condition::STALLED).is_some_and(|stalled| stalled.status == "True");
            assert_eq!((told.phase, ready(&told).0.as_str()), (Some(BackfillPhase::Pending), "False"), "{told:?}");
            (ready(&told).2, stalled)
        };
        backfill_workflow(place, "early", "nightly", "{slots: ['2026-01-01T00:10:00Z']}").await;
        let (message, stalled) = told("early", "WorkflowNotFound").await;
        says(&message, &["spec.workflowRef: there is no Workflow nightly in this namespace", "create it, or correct the name"]);
        assert!(!stalled, "it may come yet");
        nightly(place, &[step("fetch", &["load"]), step("load", &["fetch"])]).await;
        let (message, stalled) = told("early", "ReferenceNotFound").await;
        says(&message, &["workflow nightly: steps[0].taskRef: there is no AutomationTask import in this namespace"]);
        assert!(!stalled, "it may come yet");
        import(place).await;
        let (message, stalled) = told("early", "InvalidWorkflow").await;
        says(&message, &["workflow nightly: ", "dependsOn goes in a circle: fetch → load → fetch"]);
        assert!(stalled, "that takes somebody");
        assert_eq!(place.runs().await.len(), 0);
        place.change::<Workflow>("nightly", json!({ "spec": { "steps": [step("fetch", &[])] } })).await;
        let end = finished(place, "early").await;
        assert_eq!((tally(&end), end.outcome, ready(&end).0.as_str()), ((1, 0, 0, 1), Some(Outcome::Succeeded), "True"));

        backfill_workflow(place, "no-slot", "nightly", "{slots: ['2026-01-01T00:11:00Z']}").await;
        says(&told("no-slot", "NotASlot").await.0, &["is not a slot of the workflow's schedule", "2026-01-01T00:20:00Z"]);
        backfill_workflow(place, "unknown", "nightly", &format!("{{{}, parameters: [{{name: DAY, value: x}}]}}", range("00:00", "00:10")))
            .await;
        says(&told("unknown", "InvalidParameters").await.0, &["the workflow has no parameter DAY; it has: none"]);
        place
            .change::<Workflow>("nightly", json!({ "spec": { "schedule": null, "parameters": [{ "name": "MINUTE", "default": "0" }] } }))
            .await;
        workflows::ready(place, "nightly", "True", "Accepted").await;
        backfill_workflow(place, "by-hand", "nightly", &format!("{{{}}}", range("00:00", "00:10"))).await;
        says(
            &told("by-hand", "NoSchedule").await.0,
            &["spec.workflowRef: workflow nightly has no schedule", "create AutomationRuns instead"],
        );
    })
    .await;
}
