//! Which steps run, in which order, with which values.

use nightshift::api::{AutomationRun, AutomationTask, Outcome, label};
use serde_json::json;

use super::{child, ready, run, run_with, step, steps, task, workflow};
use crate::{
    support::IMAGE,
    with_operator::place::{Place, story},
};

/// When the run of a step began and ended.
async fn times(place: &Place, run: &str, step: &str) -> (jiff::Timestamp, jiff::Timestamp) {
    let status = child(place, run, step).await.status.expect("a status");
    (status.start_time.expect("a start").0, status.completion_time.expect("an end").0)
}

#[tokio::test]
async fn a_diamond_runs_in_order_and_hands_on_what_its_steps_tell() {
    story(async |place| {
        task(place).await;
        let told = r#"{"rows": 40, "files": ["a", "b"]}"#;
        let all = [
            step("fetch", &[("TELLS", told)], "{}"),
            step("left", &[("SECONDS_TO_SLEEP", "3")], "{dependsOn: [{step: fetch}], when: steps.fetch.outputs.rows > 0}"),
            step("right", &[("SECONDS_TO_SLEEP", "3")], "{dependsOn: [{step: fetch}]}"),
            step("never", &[], "{dependsOn: [{step: fetch}], when: size(steps.fetch.outputs.files) > 2}"),
            step("load", &[], "{dependsOn: [{step: left}, {step: right}], parameters: [{name: TELLS, expression: \"'{\\\"rows\\\": ' + string(steps.fetch.outputs.rows + 2) + '}'\"}]}"),
            // In no relation to the others.
            step("apart", &[], "{}"),
        ];
        workflow(place, "import", &all, "{failFast: true}").await;
        assert!(ready(place, "import", "True", "Accepted").await.contains("workflowRef to run it"));
        run(place, "import-1", "import").await;
        let status = place.finished("import-1").await;
        assert_eq!((status.outcome, status.reason.as_deref()), (Some(Outcome::Succeeded), Some("StepsEnded")), "{:?}", status.message);
        assert_eq!(
            steps(&status),
            ["fetch Succeeded", "left Succeeded", "right Succeeded", "never Skipped WhenFalse", "load Succeeded", "apart Succeeded"]
        );
        let load = child(place, "import-1", "load").await;
        assert_eq!(load.status.clone().and_then(|status| status.outputs).expect("outputs")["rows"], 42);
        let (fetch, left, right, load) = (
            times(place, "import-1", "fetch").await,
            times(place, "import-1", "left").await,
            times(place, "import-1", "right").await,
            times(place, "import-1", "load").await,
        );
        assert!(fetch.1 <= left.0 && fetch.1 <= right.0, "after fetch: {fetch:?} {left:?} {right:?}");
        assert!(left.0 < right.1 && right.0 < left.1, "beside one another: {left:?} {right:?}");
        assert!(load.0 >= left.1 && load.0 >= right.1, "after both: {left:?} {right:?} {load:?}");
        // What people look at.
        let shown = place.kubectl(&["get", "arun", "import-1"]).await;
        assert!(shown.contains("RUNS") && shown.contains("import") && shown.contains("StepsEnded"), "{shown}");
        let of_run = place.kubectl(&["get", "arun", "-l", "nightshift.dev/workflow-run=import-1", "-o", "name"]).await;
        assert_eq!(of_run.lines().count(), 5, "{of_run}");
        let shown = place.kubectl(&["get", "awf"]).await;
        assert!(shown.contains("import") && shown.contains("Succeeded") && shown.contains("True"), "{shown}");
        // They belong to it, and go with it.
        place.delete::<AutomationRun>("import-1").await;
        let name = child(place, "import-1", "fetch").await.metadata.name.expect("a name");
        place.gone::<AutomationRun>(&name, 60).await;
    })
    .await;
}

#[tokio::test]
async fn a_failure_a_night_without_data_and_a_handler_go_their_own_ways() {
    story(async |place| {
        task(place).await;
        let all = |code: &str| {
            [
                step("fetch", &[("CODE", code)], "{}"),
                step("load", &[], "{dependsOn: [{step: fetch}]}"),
                step("report", &[], "{dependsOn: [{step: fetch, outcomes: [NoData]}]}"),
                step("repair", &[], "{dependsOn: [{step: fetch, outcomes: [Failed]}]}"),
            ]
        };
        workflow(place, "no-data", &all("9")[..2], "{}").await;
        workflow(place, "told", &all("9")[..3], "{}").await;
        workflow(place, "handled", &all("3"), "{failFast: true}").await;
        let apart = |fail_fast: bool| {
            (format!("{{failFast: {fail_fast}, parallelism: 1}}"), [step("fetch", &[("CODE", "3")], "{}"), step("apart", &[], "{}")])
        };
        let (fast, slow) = (apart(true), apart(false));
        workflow(place, "fast", &fast.1, &fast.0).await;
        workflow(place, "slow", &slow.1, &slow.0).await;
        for name in ["no-data", "told", "handled", "fast", "slow"] {
            ready(place, name, "True", "Accepted").await;
            run(place, &format!("{name}-1"), name).await;
        }
        for (name, outcome, expected) in [
            ("no-data", Outcome::NoData, &["fetch NoData ExitCodeNoData", "load Skipped UpstreamNoData"][..]),
            ("told", Outcome::Succeeded, &["fetch NoData ExitCodeNoData", "load Skipped UpstreamNoData", "report Succeeded"]),
            (
                "handled",
                Outcome::Succeeded,
                &["fetch Failed ExitCodeOtherwise", "load Skipped UpstreamFailed", "report Skipped UpstreamFailed", "repair Succeeded"],
            ),
            ("fast", Outcome::Failed, &["fetch Failed ExitCodeOtherwise", "apart Skipped FailFast"]),
            ("slow", Outcome::Failed, &["fetch Failed ExitCodeOtherwise", "apart Succeeded"]),
        ] {
            let status = place.finished(&format!("{name}-1")).await;
            assert_eq!(steps(&status), expected, "{name}");
            assert_eq!(status.outcome, Some(outcome), "{name}: {:?}", status.message);
        }
    })
    .await;
}

#[tokio::test]
async fn a_task_written_inside_a_step_is_a_task_of_the_workflow_alone() {
    story(async |place| {
        let inline = |name: &str, source: &str, more: &str| {
            let mut step = step(name, &[], more);
            step.as_object_mut().expect("an object").remove("taskRef");
            step["task"] = json!({ "image": IMAGE, "script": { "source": source }, "outputs": [{ "name": "rows", "type": "Integer" }], "exitCodes": { "noData": [9] } });
            step
        };
        let all = [
            inline("fetch", r#"printf '{"rows": 5}' > /dev/termination-log"#, "{}"),
            inline(
                "load",
                r#"printf '{"rows": %d}' "$ROWS" > /dev/termination-log"#,
                "{dependsOn: [{step: fetch}], parameters: [{name: ROWS, expression: steps.fetch.outputs.rows * 2}]}",
            ),
            inline("empty", "exit 9", "{dependsOn: [{step: load}]}"),
        ];
        workflow(place, "alone", &all, "{failFast: false}").await;
        ready(place, "alone", "True", "Accepted").await;
        run(place, "alone-1", "alone").await;
        let status = place.finished("alone-1").await;
        assert_eq!(steps(&status), ["fetch Succeeded", "load Succeeded", "empty NoData ExitCodeNoData"], "{:?}", status.message);
        let load = child(place, "alone-1", "load").await;
        assert_eq!(load.status.as_ref().and_then(|status| status.outputs.clone()).expect("outputs")["rows"], 10);
        let job = place.jobs(load.metadata.name.as_deref().expect("a name")).await;
        assert_eq!(job[0].metadata.labels.as_ref().and_then(|labels| labels.get(label::TEAM)).map(String::as_str), Some("tests"));
        assert!(place.all::<AutomationTask>().await.is_empty(), "there is no task beside it");
        let mut wrong = inline("a", "exit 0", "{}");
        wrong["task"]["env"] = json!([{ "name": "NIGHTSHIFT_RUN", "value": "x" }]);
        workflow(place, "wrong", &[wrong], "{}").await;
        let message = ready(place, "wrong", "False", "InvalidWorkflow").await;
        assert!(message.contains("steps[0].task.env NIGHTSHIFT_RUN: names starting with NIGHTSHIFT_"), "{message}");
    })
    .await;
}

#[tokio::test]
async fn a_workflow_in_a_workflow_is_a_step_like_others_and_gets_its_parameters() {
    story(async |place| {
        task(place).await;
        let tell = step("tell", &[], "{parameters: [{name: CODE, expression: parameters.CODE}]}");
        workflow(place, "inner", &[tell], "{parameters: [{name: CODE, default: '0', pattern: '[0-9]'}]}").await;
        let outer = |name: &str, code: &str| step(name, &[("CODE", code)], "{taskRef: null, workflowRef: {name: inner}}");
        let mut all = [outer("good", "0"), outer("empty", "9"), outer("bad", "3")];
        for step in &mut all {
            step.as_object_mut().expect("an object").remove("taskRef");
        }
        workflow(place, "outer", &all, "{failFast: false}").await;
        ready(place, "outer", "True", "Accepted").await;
        run_with(place, "outer-1", "outer", "{}").await;
        let status = place.finished("outer-1").await;
        assert_eq!(steps(&status), ["good Succeeded", "empty NoData NoData", "bad Failed StepFailed"], "{:?}", status.message);
        assert_eq!(status.outcome, Some(Outcome::Failed));
        let good = child(place, "outer-1", "good").await;
        assert_eq!(good.status.as_ref().and_then(|inner| inner.revision.clone()), status.revision, "frozen with the outer one");
        let key = good.status.and_then(|status| status.idempotency_key).expect("a key");
        assert_eq!(key, format!("{}/outer-1/good", place.namespace));
    })
    .await;
}

#[tokio::test]
async fn a_step_has_retries_and_timeouts_of_its_own_for_a_task_that_others_run_as_it_is() {
    story(async |place| {
        let source = r#"[ "$NIGHTSHIFT_RETRY" -gt 0 ] || exit 3; sleep "${SECONDS_TO_SLEEP:-0}""#;
        place.script("fragile", source, "{parameters: [{name: SECONDS_TO_SLEEP}], timeouts: {runSeconds: 7200}}").await;
        let fragile = |name: &str, more: serde_json::Value| {
            let mut step = json!({ "name": name, "taskRef": { "name": "fragile" } });
            step.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
            step
        };
        let quickly = json!({ "limit": 1, "backoff": { "initialSeconds": 1 } });
        let slow = json!([{ "name": "SECONDS_TO_SLEEP", "value": "600" }]);
        let all = [
            fragile("as-it-is", json!({})),
            fragile("again", json!({ "retry": quickly })),
            fragile("hangs", json!({ "retry": quickly, "timeouts": { "attemptSeconds": 5 }, "parameters": slow })),
        ];
        workflow(place, "limits", &all, "{failFast: false}").await;
        ready(place, "limits", "True", "Accepted").await;
        run(place, "limits-1", "limits").await;
        let ended = place.finished("limits-1").await;
        assert_eq!(steps(&ended), ["as-it-is Failed ExitCodeOtherwise", "again Succeeded", "hangs TimedOut AttemptTimeout"]);
        let attempts = async |step: &str| child(place, "limits-1", step).await.status.and_then(|status| status.attempt_count);
        assert_eq!((attempts("as-it-is").await, attempts("again").await, attempts("hangs").await), (Some(1), Some(2), Some(2)));
    })
    .await;
}
