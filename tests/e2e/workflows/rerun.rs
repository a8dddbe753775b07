//! Runs of workflows that are run again, whole or from the steps that failed.

use nightshift::api::{AutomationTask, Outcome};
use serde_json::json;

use super::{child, ready, run, run_with, step, steps, task, workflow};
use crate::with_operator::place::{Place, story};

/// The names of the runs of steps, as `fetch` or `each 1`.
async fn ran(place: &Place, run: &str) -> Vec<String> {
    let runs = place.runs().await;
    let of = runs.iter().filter_map(|run| run.spec.step.clone()).filter(|of| of.workflow_run == run);
    let mut names: Vec<String> = of.map(|of| of.item.map_or_else(|| of.name.clone(), |item| format!("{} {item}", of.name))).collect();
    names.sort();
    names
}

#[tokio::test]
async fn from_the_failed_steps_keeps_what_went_well_and_takes_the_task_as_it_was_mended() {
    story(async |place| {
        task(place).await;
        place.script("mended", r#"printf '{"rows": 1}' > /dev/termination-log; exit "${CODE:-0}""#, "{parameters: [{name: CODE, default: '3'}], outputs: [{name: rows, type: Integer}]}").await;
        let all = [
            step("fetch", &[("TELLS", r#"{"rows": 7}"#)], "{}"),
            step("each", &[], "{dependsOn: [{step: fetch}], parameters: [{name: CODE, expression: item}], forEach: {items: ['0', '0']}}"),
            json!({ "name": "load", "taskRef": { "name": "mended" }, "dependsOn": [{ "step": "each" }] }),
            step("sum", &[], r#"{dependsOn: [{step: load}], parameters: [{name: TELLS, expression: "'{\"rows\": ' + string(steps.fetch.outputs.rows + steps.load.outputs.rows) + '}'"}]}"#),
        ];
        let notify = serde_json::to_string(&step("notify", &[], "{}")).expect("JSON");
        workflow(place, "import", &all, &format!("{{finally: [{notify}]}}")).await;
        ready(place, "import", "True", "Accepted").await;
        run(place, "import-1", "import").await;
        let first = place.finished("import-1").await;
        assert_eq!(steps(&first), ["fetch Succeeded", "each Succeeded", "load Failed ExitCodeOtherwise", "sum Skipped UpstreamFailed", "notify Succeeded"]);
        let revision = first.revision.clone();
        let mend = json!({ "spec": { "parameters": [{ "name": "CODE", "default": "0" }] } });
        place.change::<AutomationTask>("mended", mend).await;
        place.until("import", "to know the mended task", 30, move |workflow: &nightshift::api::Workflow| {
            workflow.status.as_ref().is_some_and(|status| status.revision.is_some() && status.revision != revision)
        })
        .await;
        run_with(place, "import-2", "import", "{rerunOf: import-1, fromFailed: true}").await;
        let second = place.finished("import-2").await;
        assert_eq!(second.outcome, Some(Outcome::Succeeded), "{:?}", second.message);
        assert_eq!(ran(place, "import-2").await, ["load", "notify", "sum"]);
        assert_eq!(child(place, "import-2", "sum").await.status.and_then(|status| status.outputs).expect("outputs")["rows"], 8);
        assert_eq!(second.steps[0].run, first.steps[0].run, "the run that is kept is named");
        assert_eq!((second.idempotency_key, second.rerun_chain), (first.idempotency_key, vec!["import-1".to_owned()]));
        run_with(place, "import-3", "import", "{rerunOf: import-2}").await;
        let whole = place.finished("import-3").await;
        assert_eq!(whole.outcome, Some(Outcome::Succeeded), "{:?}", whole.message);
        assert_eq!(ran(place, "import-3").await, ["each 0", "each 1", "fetch", "load", "notify", "sum"]);
        run_with(place, "import-4", "import", "{rerunOf: import-1, definition: Original}").await;
        let as_it_was = place.finished("import-4").await;
        assert_eq!((as_it_was.outcome, as_it_was.revision), (Some(Outcome::Failed), first.revision), "the task as it was");
    })
    .await;
}
