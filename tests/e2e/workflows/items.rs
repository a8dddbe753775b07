//! `forEach`: a step once for each item of a list.

use nightshift::api::Outcome;

use super::{child, ready, run, step, steps, task, workflow};
use crate::with_operator::place::story;

#[tokio::test]
async fn items_of_a_list_and_of_an_output_run_a_few_at_a_time_and_their_results_come_in_order() {
    story(async |place| {
        task(place).await;
        let tells = r#"{parameters: [{name: TELLS, expression: "'{\"rows\": ' + string(index * 10) + '}'"}]"#;
        let all = [
            step("list", &[("TELLS", r#"{"files": ["c", "a", "b"]}"#)], "{}"),
            step("each", &[], &format!("{tells}, dependsOn: [{{step: list}}], forEach: {{expression: steps.list.outputs.files, parallelism: 2}}}}")),
            step("sum", &[], r#"{dependsOn: [{step: each}], parameters: [{name: TELLS, expression: "'{\"rows\": ' + string(steps.each.results[0].rows + steps.each.results[2].rows) + '}'"}]}"#),
        ];
        workflow(place, "fan", &all, "{}").await;
        ready(place, "fan", "True", "Accepted").await;
        run(place, "fan-1", "fan").await;
        let status = place.finished("fan-1").await;
        assert_eq!(steps(&status), ["list Succeeded", "each Succeeded", "sum Succeeded"], "{:?}", status.message);
        assert_eq!(child(place, "fan-1", "sum").await.status.and_then(|status| status.outputs).expect("outputs")["rows"], 20);
        let each = status.steps[1].items.expect("items");
        assert_eq!((each.total, each.succeeded, each.running), (3, 3, 0));
        let runs = place.runs().await;
        let mut times: Vec<_> = runs
            .iter()
            .filter(|run| run.spec.step.as_ref().is_some_and(|of| of.name == "each"))
            .map(|run| (run.spec.step.clone().expect("a step").item, run.status.clone().expect("a status")))
            .map(|(item, status)| (item, status.start_time.expect("a start").0, status.completion_time.expect("an end").0))
            .collect();
        times.sort();
        assert_eq!(times.iter().map(|(item, ..)| *item).collect::<Vec<_>>(), [Some(0), Some(1), Some(2)]);
        assert!(times[2].1 >= times[0].2.min(times[1].2), "two at once: {times:?}");
    })
    .await;
}

#[tokio::test]
async fn a_failing_item_is_taken_as_the_step_says() {
    story(async |place| {
        task(place).await;
        let items = |more: &str| {
            [step(
                "each",
                &[],
                &format!("{{parameters: [{{name: CODE, expression: item}}], forEach: {{items: ['0', '3', '9'], parallelism: 1{more}}}}}"),
            )]
        };
        workflow(place, "strict", &items(""), "{}").await;
        workflow(place, "lenient", &items(", maxFailed: 1"), "{}").await;
        workflow(place, "hasty", &items(", failFast: true"), "{}").await;
        for name in ["strict", "lenient", "hasty"] {
            ready(place, name, "True", "Accepted").await;
            run(place, &format!("{name}-1"), name).await;
        }
        for (name, outcome, message) in [
            ("strict", Outcome::Failed, "1 of 3 items ended badly: 1"),
            ("lenient", Outcome::Succeeded, "3 items: 1 Succeeded, 1 NoData, 1 ended badly, as maxFailed allows"),
            ("hasty", Outcome::Failed, "1 of 3 items ended badly: 1; 1 were not started"),
        ] {
            let status = place.finished(&format!("{name}-1")).await;
            assert_eq!(status.outcome, Some(outcome), "{name}: {:?}", status.message);
            let told = status.steps[0].message.clone().unwrap_or_default();
            assert_eq!(told, message, "{name}");
        }
    })
    .await;
}
