//! What is edited, deleted or created while a workflow's run goes on, or before it.

use nightshift::api::{AutomationTask, Outcome, Workflow};
use serde_json::json;

use super::{child, ready, run, step, step_runs, steps, task, workflow};
use crate::with_operator::place::story;

#[tokio::test]
async fn a_run_goes_on_with_what_it_began_with_whatever_becomes_of_it() {
    story(async |place| {
        task(place).await;
        let all = [
            step("first", &[("SECONDS_TO_SLEEP", "8"), ("TELLS", r#"{"rows": 1}"#)], "{}"),
            step("second", &[("TELLS", r#"{"rows": 2}"#)], "{dependsOn: [{step: first}]}"),
        ];
        workflow(place, "import", &all, "{}").await;
        ready(place, "import", "True", "Accepted").await;
        run(place, "import-1", "import").await;
        step_runs(place, "import-1", "first").await;
        let other = [step("other", &[], "{}")];
        place.change::<Workflow>("import", json!({ "spec": { "steps": other } })).await;
        place.change::<AutomationTask>("does", json!({ "spec": { "script": { "source": "exit 7" } } })).await;
        place.delete::<AutomationTask>("does").await;
        let status = place.finished("import-1").await;
        assert_eq!(steps(&status), ["first Succeeded", "second Succeeded"], "{:?}", status.message);
        assert_eq!(child(place, "import-1", "second").await.status.and_then(|s| s.outputs).expect("outputs")["rows"], 2);
        let message = ready(place, "import", "False", "ReferenceNotFound").await;
        assert!(message.contains("steps[0].taskRef: there is no AutomationTask does in this namespace"), "{message}");
        // A run of it as it is now waits for what is missing, and goes on when it comes.
        run(place, "import-2", "import").await;
        let waits = place.waiting("import-2", "WorkflowNotReady").await;
        assert!(waits.message.is_some_and(|message| message.contains("there is no AutomationTask does")));
        task(place).await;
        let status = place.finished("import-2").await;
        assert_eq!((steps(&status), status.outcome), (vec!["other Succeeded".to_owned()], Some(Outcome::Succeeded)));
    })
    .await;
}
