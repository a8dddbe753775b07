//! What the API server cannot see is told on `Ready`, before anything runs.

use super::{ready, run, step, task, workflow};
use crate::with_operator::place::story;

#[tokio::test]
async fn what_does_not_fit_is_told_with_the_field_and_the_fix() {
    story(async |place| {
        task(place).await;
        let after = |name: &str, of: &str, more: &str| step(name, &[], &format!("{{dependsOn: [{{step: {of}}}]{more}}}"));
        let none = step("b", &[], "{}");
        let value = |expression: &str| {
            step("b", &[], &format!("{{dependsOn: [{{step: a}}], parameters: [{{name: CODE, expression: \"{expression}\"}}]}}"))
        };
        let a = || step("a", &[], "{}");
        let table = [
            ("circle", vec![after("a", "c", ""), after("b", "a", ""), after("c", "b", "")], "dependsOn goes in a circle: a → c → b → a"),
            ("gone", vec![a(), value("steps.c.outputs.rows")], "steps[1].parameters[0].expression: "),
            ("output", vec![a(), value("steps.a.outputs.lines")], "steps[1].parameters[0].expression: "),
            ("kind", vec![a(), value("steps.a.outputs.rows + 'x'")], "steps[1].parameters[0].expression: "),
            ("aside", vec![a(), none.clone(), after("c", "a", ", when: \"steps.b.outcome == 'Succeeded'\"")], "steps[2].when: "),
            ("no-cel", vec![a(), value("steps.a.")], "steps[1].parameters[0].expression: "),
            ("no-truth", vec![after("b", "a", ", when: '1 + 1'"), a()], "steps[0].when: "),
            ("parameter", vec![step("a", &[("COED", "1")], "{}")], "steps[0].parameters[0]"),
            ("item", vec![step("a", &[], "{parameters: [{name: CODE, expression: item}]}")], "steps[0].parameters[0].expression: "),
            ("no-list", vec![step("a", &[], "{forEach: {}}")], "steps[0].forEach: needs exactly one of items and expression"),
            ("too-long", vec![step("a", &[], "{forEach: {items: [1, 2], maxItems: 1}}")], "maxItems"),
            (
                "no-retries",
                vec![a(), step("b", &[], "{retry: {backoff: {initialSeconds: 5}}}")],
                "steps[1]: with what task does says beside it, retry.backoff: has no effect without retries",
            ),
            (
                "no-time",
                vec![step("a", &[], "{timeouts: {runSeconds: 60}}")],
                "steps[0]: with what task does says beside it, timeouts.runSeconds: must be at least attemptSeconds",
            ),
            ("not-a-list", vec![a(), after("b", "a", ", forEach: {expression: steps.a.outputs.rows}")], "steps[1].forEach.expression: "),
        ];
        for (name, all, _) in &table {
            workflow(place, name, all, "{}").await;
        }
        for (name, _, told) in &table {
            let message = ready(place, name, "False", "InvalidWorkflow").await;
            assert!(message.contains(told), "{name}: {message}");
        }
        let mut itself = step("again", &[], "{workflowRef: {name: itself}}");
        itself.as_object_mut().expect("an object").retain(|key, _| key != "taskRef" && key != "parameters");
        workflow(place, "itself", &[itself], "{}").await;
        let message = ready(place, "itself", "False", "InvalidWorkflow").await;
        assert!(message.contains("the workflow would run itself: itself → itself"), "{message}");
        // And whoever runs it all the same is told why it does not.
        run(place, "circle-1", "circle").await;
        let status = place.finished("circle-1").await;
        assert_eq!(status.reason.as_deref(), Some("WorkflowInvalid"));
        assert!(status.message.is_some_and(|message| message.contains("goes in a circle")));
    })
    .await;
}
