//! `finally`, cancel and timeouts.

use nightshift::api::{AutomationRun, Outcome};
use serde_json::json;

use super::{child, ready, run, step, step_runs, steps, task, workflow};
use crate::with_operator::place::story;

const SEES: &str = r#"{parameters: [{name: TELLS, expression: "'{\"rows\": ' + string(size(workflow.outcome)) + '}'"}]}"#;

#[tokio::test]
async fn finally_runs_when_all_is_over_also_after_a_cancel_and_in_time_kept_for_it() {
    story(async |place| {
        task(place).await;
        let all = [step("fetch", &[("SECONDS_TO_SLEEP", "300")], "{}"), step("load", &[], "{dependsOn: [{step: fetch}]}")];
        let notify = serde_json::to_string(&step("notify", &[], SEES)).expect("JSON");
        workflow(place, "cancelled", &all, &format!("{{finally: [{notify}]}}")).await;
        workflow(place, "late", &all, &format!("{{finally: [{notify}], timeouts: {{runSeconds: 70, finallySeconds: 60}}}}")).await;
        for name in ["cancelled", "late"] {
            ready(place, name, "True", "Accepted").await;
            run(place, &format!("{name}-1"), name).await;
        }
        step_runs(place, "cancelled-1", "fetch").await;
        place.cancel("cancelled-1").await;
        for (name, outcome, fetch, load) in [
            ("cancelled", Outcome::Cancelled, "fetch Cancelled Cancelled", "load Skipped WorkflowCancelled"),
            ("late", Outcome::TimedOut, "fetch Cancelled Cancelled", "load Skipped WorkflowTimedOut"),
        ] {
            let run = format!("{name}-1");
            let status = place.finished(&run).await;
            assert_eq!(status.outcome, Some(outcome), "{name}: {:?}", status.message);
            assert_eq!(steps(&status), [fetch, load, "notify Succeeded"], "{name}");
            let told = child(place, &run, "notify").await.status.and_then(|status| status.outputs).expect("outputs");
            assert_eq!(told["rows"], format!("{outcome:?}").len(), "{name}: what it was");
        }
        let status = place.get::<AutomationRun>("late-1").await.status.expect("a status");
        let took = status.steps_end.expect("an end").time.0.duration_since(status.start_time.expect("a start").0);
        assert!((10..40).contains(&took.as_secs()), "the steps had ten seconds: {took}");
    })
    .await;
}

#[tokio::test]
async fn a_run_of_a_step_that_is_deleted_is_not_made_again_and_a_deleted_run_ends_all_of_it() {
    story(async |place| {
        task(place).await;
        let all = [step("a", &[("SECONDS_TO_SLEEP", "300")], "{}"), step("b", &[("SECONDS_TO_SLEEP", "300")], "{}")];
        workflow(place, "long", &all, "{failFast: false}").await;
        ready(place, "long", "True", "Accepted").await;
        run(place, "long-1", "long").await;
        step_runs(place, "long-1", "a").await;
        step_runs(place, "long-1", "b").await;
        let (a, b) = (child(place, "long-1", "a").await, child(place, "long-1", "b").await);
        let name = |run: &AutomationRun| run.metadata.name.clone().expect("a name");
        place.delete::<AutomationRun>(&name(&a)).await;
        let told = place.status("long-1", "to know that a is gone", |status| status.steps[0].outcome.is_some()).await;
        assert_eq!(steps(&told), ["a Cancelled RunDeleted", "b Running"]);
        place.change::<AutomationRun>(&name(&b), json!({ "spec": { "cancel": true } })).await;
        let status = place.finished("long-1").await;
        assert_eq!(steps(&status), ["a Cancelled RunDeleted", "b Cancelled Cancelled"]);
        run(place, "long-2", "long").await;
        step_runs(place, "long-2", "a").await;
        let a = name(&child(place, "long-2", "a").await);
        place.delete::<AutomationRun>("long-2").await;
        place.gone::<AutomationRun>(&a, 60).await;
    })
    .await;
}
