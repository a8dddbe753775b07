use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::*;
use crate::api::{Output, Parameter, WorkflowSpec};

fn workflow(spec: Value) -> WorkflowSpec {
    let mut spec = spec;
    spec["owner"] = json!({ "team": "data" });
    for list in ["steps", "finally"] {
        for step in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            if step.get("workflowRef").is_none() && step.get("approval").is_none() {
                step["taskRef"] = json!({ "name": step["name"] });
            }
        }
    }
    serde_json::from_value(spec).unwrap()
}

/// What is known: steps by name, each with its runs as `[outcome or null, outputs]`.
struct Known {
    runs: BTreeMap<String, Vec<(usize, Option<Outcome>, Value)>>,
    recorded: BTreeMap<String, Recorded>,
    stop: Option<Stop>,
    finally_over: bool,
    kept: bool,
}

#[expect(clippy::needless_pass_by_value, reason = "written down where it is used")]
fn known(runs: Value) -> Known {
    let outcome = |value: &Value| serde_json::from_value::<Option<Outcome>>(value.clone()).unwrap();
    let of_step = |value: &Value| match value {
        Value::Array(items) => items.iter().enumerate().map(|(index, item)| (index, outcome(&item[0]), item[1].clone())).collect(),
        one => vec![(0, outcome(one), Value::Null)],
    };
    let runs = runs.as_object().unwrap().iter().map(|(name, value)| (name.clone(), of_step(value))).collect();
    Known { runs, recorded: BTreeMap::new(), stop: None, finally_over: false, kept: false }
}

fn decide_all(spec: &WorkflowSpec, known: &Known) -> Decision {
    let parameters = BTreeMap::from([("MODE".to_owned(), "full".to_owned()), ("N".to_owned(), "3".to_owned())]);
    let names: Vec<&String> = known.runs.keys().chain(known.recorded.keys()).collect();
    let steps = names.into_iter().map(|name| {
        let runs = known.runs.get(name).into_iter().flatten().map(|(index, outcome, outputs)| {
            let outputs = Some(outputs).filter(|outputs| !outputs.is_null());
            (*index, RunFacts { outcome: *outcome, told: ("Told", "by its run"), outputs, kept: known.kept })
        });
        (name.as_str(), StepFacts { runs: runs.collect(), recorded: known.recorded.get(name).cloned() })
    });
    let zone = TimeZone::UTC;
    let facts = Facts {
        parameters: &parameters,
        slot: None,
        zone: &zone,
        steps: steps.collect(),
        stop: known.stop,
        steps_end: None,
        finally_over: known.finally_over,
    };
    Graph::of(spec).unwrap().decide(&facts).unwrap()
}

/// `step: Waiting`, `step: Running`, `step: Skipped WhenFalse`; then what starts and stops, and the end.
fn told(decision: &Decision) -> String {
    let state = |state: &StepState| match &state.at {
        At::Waiting(_) => format!("{} waits", state.name),
        At::Running => format!("{} runs", state.name),
        At::Ended(ended) => format!("{} {:?} {}", state.name, ended.outcome, ended.reason),
    };
    let mut parts: Vec<String> = decision.steps.iter().map(state).collect();
    let index = |start: &Start| start.index.map_or(start.step.clone(), |index| format!("{}[{index}]", start.step));
    parts.extend(decision.start.iter().map(|start| format!("+{}", index(start))));
    parts.extend(decision.ask.iter().map(|step| format!("?{step}")));
    parts.extend(decision.stop.iter().map(|(step, index)| format!("-{step}[{index}]")));
    parts.extend(decision.end.iter().map(|end| format!("= {:?} {}", end.outcome, end.reason)));
    parts.join(", ")
}

fn cases(spec: &WorkflowSpec, cases: &[(Value, &str)]) {
    for (runs, expected) in cases {
        assert_eq!(told(&decide_all(spec, &known(runs.clone()))), *expected, "{runs}");
    }
}

fn needs(steps: &[&str]) -> Value {
    steps.iter().map(|step| json!({ "step": step })).collect()
}

#[test]
fn a_diamond_starts_each_step_as_soon_as_its_dependencies_allow() {
    let spec = workflow(json!({ "steps": [
        { "name": "a" }, { "name": "b", "dependsOn": needs(&["a"]) }, { "name": "c", "dependsOn": needs(&["a"]) },
        { "name": "d", "dependsOn": needs(&["b", "c"]) }, { "name": "apart" },
    ] }));
    cases(
        &spec,
        &[
            (json!({}), "a runs, b waits, c waits, d waits, apart runs, +a, +apart"),
            (json!({ "a": null, "apart": "Succeeded" }), "a runs, b waits, c waits, d waits, apart Succeeded Told"),
            (json!({ "a": "Succeeded", "apart": null }), "a Succeeded Told, b runs, c runs, d waits, apart runs, +b, +c"),
            (
                json!({ "a": "Succeeded", "apart": "Succeeded", "b": "Succeeded", "c": "Succeeded", "d": "Succeeded" }),
                "a Succeeded Told, b Succeeded Told, c Succeeded Told, d Succeeded Told, apart Succeeded Told, = Succeeded StepsEnded",
            ),
        ],
    );
    let waits = decide_all(&spec, &known(json!({ "a": "Succeeded", "b": null, "c": null, "apart": null }))).steps.swap_remove(3);
    assert_eq!(waits.at, At::Waiting("waits for b, c".to_owned()));
}

#[test]
fn no_data_flows_through_unless_an_edge_takes_it() {
    let spec = workflow(json!({ "steps": [
        { "name": "fetch" }, { "name": "load", "dependsOn": needs(&["fetch"]) },
        { "name": "report", "dependsOn": [{ "step": "fetch", "outcomes": ["Succeeded", "NoData"] }] },
        { "name": "after", "dependsOn": [{ "step": "load", "outcomes": ["Succeeded", "Skipped"] }] },
    ] }));
    cases(
        &spec,
        &[(json!({ "fetch": "NoData" }), "fetch NoData Told, load Skipped UpstreamNoData, report runs, after runs, +report, +after")],
    );
    let spec = workflow(
        json!({ "steps": [{ "name": "fetch" }, { "name": "load", "dependsOn": needs(&["fetch"]) }, { "name": "end", "dependsOn": needs(&["load"]) }] }),
    );
    cases(
        &spec,
        &[(json!({ "fetch": "NoData" }), "fetch NoData Told, load Skipped UpstreamNoData, end Skipped UpstreamSkipped, = NoData NoData")],
    );
}

#[test]
fn a_bad_step_fails_the_workflow_unless_another_takes_care_of_it() {
    let steps =
        json!([{ "name": "a" }, { "name": "b" }, { "name": "c", "dependsOn": needs(&["b"]) }, { "name": "d", "dependsOn": needs(&["a"]) }]);
    let fast = workflow(json!({ "steps": steps }));
    let slow = workflow(json!({ "steps": steps, "failFast": false }));
    cases(
        &fast,
        &[
            (json!({ "a": "Failed", "b": null }), "a Failed Told, b runs, c Skipped FailFast, d Skipped UpstreamFailed"),
            (
                json!({ "a": "Failed", "b": "Succeeded" }),
                "a Failed Told, b Succeeded Told, c Skipped FailFast, d Skipped UpstreamFailed, = Failed StepFailed",
            ),
        ],
    );
    cases(&slow, &[(json!({ "a": "Failed", "b": "Succeeded" }), "a Failed Told, b Succeeded Told, c runs, d Skipped UpstreamFailed, +c")]);
    let cared = workflow(
        json!({ "steps": [{ "name": "a" }, { "name": "b", "dependsOn": [{ "step": "a", "outcomes": ["Failed", "TimedOut"] }] }] }),
    );
    cases(
        &cared,
        &[
            (json!({ "a": "Failed" }), "a Failed Told, b runs, +b"),
            (json!({ "a": "Failed", "b": "Succeeded" }), "a Failed Told, b Succeeded Told, = Succeeded StepsEnded"),
            (json!({ "a": "Cancelled" }), "a Cancelled Told, b Skipped UpstreamFailed, = Failed StepFailed"),
            (json!({ "a": "Succeeded" }), "a Succeeded Told, b Skipped UpstreamSucceeded, = Succeeded StepsEnded"),
        ],
    );
}

#[test]
fn when_decides_on_parameters_outcomes_and_outputs() {
    let spec =
        |when: &str| workflow(json!({ "steps": [{ "name": "fetch" }, { "name": "load", "dependsOn": needs(&["fetch"]), "when": when }] }));
    let fetched = json!({ "fetch": [["Succeeded", { "rows": 7, "file": "a.csv" }]] });
    for (when, then) in [
        ("steps.fetch.outputs.rows > 5", "load runs, +load"),
        ("steps.fetch.outputs.rows > 7", "load Skipped WhenFalse, = Succeeded StepsEnded"),
        ("parameters.MODE == 'full' && steps['fetch'].outcome == 'Succeeded'", "load runs, +load"),
        ("steps.fetch.outputs.file", "load Failed InvalidExpression, = Failed StepFailed"),
        ("steps.fetch.outputs.lines > 0", "load Failed InvalidExpression, = Failed StepFailed"),
        ("1 / (steps.fetch.outputs.rows - 7) == 1", "load Failed InvalidExpression, = Failed StepFailed"),
        ("slot.getHours() == 1", "load Failed InvalidExpression, = Failed StepFailed"),
    ] {
        let decision = decide_all(&spec(when), &known(fetched.clone()));
        assert_eq!(told(&decision), format!("fetch Succeeded Told, {then}"), "{when}");
    }
    let decision = decide_all(&spec("steps.fetch.outputs.file"), &known(fetched));
    assert!(
        matches!(&decision.steps[1].at, At::Ended(ended) if ended.message == "steps[1].when: is a text; want true or false"),
        "{decision:?}"
    );
}

#[test]
fn outputs_feed_parameters_as_text_and_json() {
    let spec = workflow(json!({ "steps": [{ "name": "fetch" }, { "name": "load", "dependsOn": needs(&["fetch"]), "parameters": [
        { "name": "A", "value": "as it stands {}" },
        { "name": "B", "expression": "steps.fetch.outputs.file + '.gz'" },
        { "name": "C", "expression": "steps.fetch.outputs" },
        { "name": "D", "expression": "steps.fetch.outputs.rows * 2" },
        { "name": "E", "expression": "parameters.N" },
    ] }] }));
    let decision = decide_all(&spec, &known(json!({ "fetch": [["Succeeded", { "rows": 7, "file": "a.csv" }]] })));
    let values: Vec<&str> = decision.start[0].parameters.iter().map(|value| value.value.as_str()).collect();
    assert_eq!(values, ["as it stands {}", "a.csv.gz", r#"{"file":"a.csv","rows":7}"#, "14", "3"]);
}

#[test]
fn finally_runs_after_all_whatever_came_and_sees_it() {
    let spec = workflow(json!({ "steps": [{ "name": "a" }, { "name": "b", "dependsOn": needs(&["a"]) }], "finally": [
        { "name": "tell", "parameters": [{ "name": "WHAT", "expression": "workflow.outcome + ' ' + steps.b.outcome" }] },
        { "name": "bad-only", "when": "workflow.outcome != 'Succeeded'" },
    ] }));
    cases(
        &spec,
        &[
            (json!({ "a": null }), "a runs, b waits, tell waits, bad-only waits"),
            (json!({ "a": "Failed" }), "a Failed Told, b Skipped UpstreamFailed, tell runs, bad-only runs, +tell, +bad-only"),
            (
                json!({ "a": "Succeeded", "b": "Succeeded", "tell": "Failed" }),
                "a Succeeded Told, b Succeeded Told, tell Failed Told, bad-only Skipped WhenFalse, = Failed FinallyFailed",
            ),
            (
                json!({ "a": "Failed", "tell": "Failed", "bad-only": "Succeeded" }),
                "a Failed Told, b Skipped UpstreamFailed, tell Failed Told, bad-only Succeeded Told, = Failed StepFailed",
            ),
        ],
    );
    let decision = decide_all(&spec, &known(json!({ "a": "Failed" })));
    assert_eq!(decision.start[0].parameters[0].value, "Failed Skipped");
}

#[test]
fn a_cancel_and_a_timeout_stop_the_steps_and_leave_finally_its_time() {
    let spec = workflow(
        json!({ "steps": [{ "name": "a" }, { "name": "b", "dependsOn": needs(&["a"]) }, { "name": "each", "forEach": { "items": [1, 2, 3], "parallelism": 1 } }], "finally": [{ "name": "f" }] }),
    );
    let at = |runs: Value, stop: Stop| told(&decide_all(&spec, &Known { stop: Some(stop), ..known(runs) }));
    assert_eq!(
        at(json!({ "a": null, "each": [["Succeeded"], [null]] }), Stop::Cancelled),
        "a runs, b Skipped WorkflowCancelled, each runs, f waits, -a[0], -each[1]"
    );
    assert_eq!(
        at(json!({ "a": "Cancelled", "each": [["Succeeded"], ["Cancelled"]] }), Stop::Cancelled),
        "a Cancelled Told, b Skipped WorkflowCancelled, each Cancelled WorkflowCancelled, f runs, +f"
    );
    assert_eq!(
        at(json!({ "a": "Cancelled", "each": [["Succeeded"], ["Cancelled"]], "f": "Failed" }), Stop::TimedOut),
        "a Cancelled Told, b Skipped WorkflowTimedOut, each Cancelled WorkflowTimedOut, f Failed Told, = TimedOut RunTimeout"
    );
    let ended = json!({ "a": "Succeeded", "b": "Succeeded", "each": [["Succeeded"], ["Succeeded"], ["Succeeded"]], "f": null });
    assert_eq!(
        at(ended.clone(), Stop::Cancelled),
        "a Succeeded Told, b Succeeded Told, each Succeeded ItemsEnded, f runs",
        "a cancel while finally runs stops nothing"
    );
    let over = Known { stop: Some(Stop::TimedOut), finally_over: true, ..known(ended) };
    assert!(told(&decide_all(&spec, &over)).ends_with("f runs, -f[0]"));
}

#[test]
fn parallelism_counts_every_run_and_gives_room_in_the_order_of_the_steps() {
    let spec = workflow(
        json!({ "parallelism": 3, "steps": [{ "name": "a" }, { "name": "each", "forEach": { "items": [1, 2, 3, 4], "parallelism": 3 } }, { "name": "z" }] }),
    );
    cases(
        &spec,
        &[
            (json!({}), "a runs, each runs, z waits, +a, +each[0], +each[1]"),
            (json!({ "a": "Succeeded", "each": [["Succeeded"], [null]] }), "a Succeeded Told, each runs, z waits, +each[2], +each[3]"),
            (json!({ "a": null, "each": [[null], [null]] }), "a runs, each runs, z waits"),
        ],
    );
    let counts = decide_all(&spec, &known(json!({ "a": "Succeeded", "each": [["Succeeded"], [null]] }))).steps[1].items;
    assert_eq!(counts, Some(Counts { total: 4, running: 3, succeeded: 1, no_data: 0, failed: 0, skipped: 0 }));
}

#[test]
fn for_each_takes_a_list_of_an_output_and_gathers_results_in_order() {
    let spec = workflow(json!({ "steps": [
        { "name": "list" },
        { "name": "work", "dependsOn": needs(&["list"]), "forEach": { "expression": "steps.list.outputs.regions", "maxItems": 3, "maxFailed": 1 },
          "parameters": [{ "name": "R", "expression": "item.name + '-' + string(index)" }] },
        { "name": "sum", "dependsOn": [{ "step": "work", "outcomes": ["Succeeded"] }], "parameters": [{ "name": "ALL", "expression": "steps.work.results" }] },
    ] }));
    let listed = |regions: Value| json!({ "list": [["Succeeded", { "regions": regions }]] });
    for (regions, expected) in [
        (json!([{ "name": "eu" }, { "name": "us" }]), "work runs, sum waits, +work[0], +work[1]"),
        (json!([]), "work NoData NoItems, sum Skipped UpstreamNoData, = NoData NoData"),
        (json!([1, 2, 3, 4]), "work Failed TooManyItems, sum Skipped UpstreamFailed, = Failed StepFailed"),
        (json!("eu"), "work Failed InvalidExpression, sum Skipped UpstreamFailed, = Failed StepFailed"),
        (json!([1]), "work Failed InvalidExpression, sum Skipped UpstreamFailed, = Failed StepFailed"),
    ] {
        let decision = decide_all(&spec, &known(listed(regions.clone())));
        assert_eq!(told(&decision), format!("list Succeeded Told, {expected}"), "{regions}");
    }
    let mut all = listed(json!([{ "name": "eu" }, { "name": "us" }, { "name": "ap" }]));
    all["work"] = json!([["Succeeded", { "n": 1 }], ["Failed", null], ["Succeeded", { "n": 3 }]]);
    let decision = decide_all(&spec, &known(all.clone()));
    assert_eq!(decision.start[0].parameters[0].value, r#"[{"n":1},null,{"n":3}]"#);
    all["work"][0][0] = json!("TimedOut");
    let decision = decide_all(&spec, &known(all));
    let At::Ended(ended) = &decision.steps[1].at else { panic!("{decision:?}") };
    assert_eq!(ended.message, "2 of 3 items ended badly: 0, 1");
}

#[test]
fn an_item_that_fails_fast_leaves_the_rest_and_waits_for_those_that_run() {
    let spec = workflow(json!({ "steps": [{ "name": "each", "forEach": { "items": [1, 2, 3, 4], "parallelism": 2, "failFast": true } }] }));
    cases(
        &spec,
        &[
            (json!({ "each": [["Failed"], [null]] }), "each runs"),
            (json!({ "each": [["Failed"], ["Succeeded"]] }), "each Failed ItemsFailed, = Failed StepFailed"),
            (json!({ "each": [["NoData"], ["NoData"], ["NoData"], ["NoData"]] }), "each NoData ItemsEnded, = NoData NoData"),
        ],
    );
}

#[test]
fn a_step_whose_run_was_deleted_is_not_started_again() {
    let spec = workflow(
        json!({ "failFast": false, "steps": [{ "name": "a" }, { "name": "b", "dependsOn": needs(&["a"]), "parameters": [{ "name": "P", "expression": "steps.a.outputs.x" }] }, { "name": "each", "forEach": { "items": [1, 2] } }] }),
    );
    let with = |recorded: &[(&str, usize, Option<Outcome>)], runs: Value| {
        let entry = |(name, started, outcome): &(&str, usize, Option<Outcome>)| {
            (
                (*name).to_owned(),
                Recorded { started: *started, items: None, ended: outcome.map(|outcome| Ended::new(outcome, "Known", "from before")) },
            )
        };
        told(&decide_all(&spec, &Known { recorded: recorded.iter().map(entry).collect(), ..known(runs) }))
    };
    assert_eq!(
        with(&[("a", 1, None), ("each", 2, None)], json!({ "each": [["Succeeded"]] })),
        "a Cancelled RunDeleted, b Skipped UpstreamFailed, each Failed ItemsFailed, = Failed StepFailed"
    );
    assert_eq!(
        with(&[("a", 1, Some(Outcome::Succeeded))], json!({ "each": [["Succeeded"], ["Succeeded"]] })),
        "a Succeeded Known, b Failed InvalidExpression, each Succeeded ItemsEnded, = Failed StepFailed"
    );
}

#[test]
fn only_a_step_that_ran_has_taken_care_of_a_failure() {
    let fix = |fast: bool| {
        workflow(json!({ "failFast": fast, "steps": [
        { "name": "fetch" }, { "name": "fix", "dependsOn": [{ "step": "fetch", "outcomes": ["Failed"] }], "when": "false" },
        { "name": "other" }, { "name": "last", "dependsOn": needs(&["other"]) },
    ] }))
    };
    let runs = json!({ "fetch": "Failed", "other": "Succeeded" });
    cases(
        &fix(true),
        &[(runs.clone(), "fetch Failed Told, fix Skipped WhenFalse, other Succeeded Told, last Skipped FailFast, = Failed StepFailed")],
    );
    cases(&fix(false), &[(runs, "fetch Failed Told, fix Skipped WhenFalse, other Succeeded Told, last runs, +last")]);
}

#[test]
fn a_step_that_asks_runs_nothing_and_its_question_is_taken_back_when_nothing_can_come_of_it() {
    let spec = workflow(json!({ "parallelism": 1, "steps": [
        { "name": "plan" }, { "name": "ask", "dependsOn": needs(&["plan"]), "approval": {} },
        { "name": "apply", "dependsOn": needs(&["ask"]), "when": "steps.ask.outputs.by == 'ann'" },
        { "name": "undo", "dependsOn": [{ "step": "ask", "outcomes": ["Failed"] }] }, { "name": "apart", "dependsOn": needs(&["plan"]) },
    ] }));
    let mut asked = known(json!({ "plan": "Succeeded", "ask": null }));
    cases(
        &spec,
        &[
            (json!({ "plan": "Succeeded" }), "plan Succeeded Told, ask runs, apply waits, undo waits, apart runs, +apart, ?ask"),
            (
                json!({ "plan": "Succeeded", "ask": [["Succeeded", { "by": "ann" }]], "apart": "Succeeded" }),
                "plan Succeeded Told, ask Succeeded Told, apply runs, undo Skipped UpstreamSucceeded, apart Succeeded Told, +apply",
            ),
            (
                json!({ "plan": "Succeeded", "ask": "Failed", "apart": "Succeeded" }),
                "plan Succeeded Told, ask Failed Told, apply Skipped UpstreamFailed, undo runs, apart Succeeded Told, +undo",
            ),
            (
                json!({ "plan": "Succeeded", "ask": null, "apart": "Failed" }),
                "plan Succeeded Told, ask Cancelled FailFast, apply Skipped UpstreamFailed, undo Skipped UpstreamFailed, apart Failed Told, = Failed StepFailed",
            ),
        ],
    );
    for (stop, why, end) in
        [(Stop::Cancelled, "WorkflowCancelled", "Cancelled Cancelled"), (Stop::TimedOut, "WorkflowTimedOut", "TimedOut RunTimeout")]
    {
        asked.stop = Some(stop);
        let told = told(&decide_all(&spec, &asked));
        assert!(told.contains(&format!("ask Cancelled {why}")) && told.ends_with(&format!("= {end}")) && !told.contains('-'), "{told}");
    }
}

#[test]
fn a_handler_that_was_not_needed_makes_no_success_less() {
    let spec = workflow(
        json!({ "steps": [{ "name": "a" }, { "name": "fix", "dependsOn": [{ "step": "a", "outcomes": ["Failed"] }] }, { "name": "c" }] }),
    );
    cases(
        &spec,
        &[(
            json!({ "a": "Succeeded", "c": "NoData" }),
            "a Succeeded Told, fix Skipped UpstreamSucceeded, c NoData Told, = Succeeded StepsEnded",
        )],
    );
}

#[test]
fn items_that_a_rerun_keeps_do_not_start_the_others_before_their_turn() {
    let spec = workflow(
        json!({ "steps": [{ "name": "list" }, { "name": "each", "dependsOn": needs(&["list"]), "forEach": { "expression": "steps.list.outputs.all" } }] }),
    );
    let kept = |runs: Value| told(&decide_all(&spec, &Known { kept: true, ..known(runs) }));
    assert_eq!(kept(json!({ "each": [["Succeeded"]] })), "list runs, each waits, +list");
    assert_eq!(
        kept(json!({ "list": [["Succeeded", { "all": [1, 2] }]], "each": [["Succeeded"]] })),
        "list Succeeded Told, each runs, +each[1]"
    );
}

#[test]
fn what_the_steps_came_to_stays_while_finally_runs() {
    let spec = workflow(
        json!({ "steps": [{ "name": "a" }, { "name": "b", "dependsOn": [{ "step": "a", "outcomes": ["Cancelled"] }] }], "finally": [{ "name": "f" }] }),
    );
    let graph = Graph::of(&spec).unwrap();
    let run = |outcome| StepFacts {
        runs: BTreeMap::from([(0, RunFacts { outcome, told: ("R", "m"), outputs: None, kept: false })]),
        recorded: None,
    };
    let decide = |stop, steps_end, finally| {
        let (parameters, zone) = (BTreeMap::new(), TimeZone::UTC);
        let steps = BTreeMap::from([("a", run(Some(Outcome::Cancelled))), ("b", run(Some(Outcome::Succeeded))), ("f", run(finally))]);
        graph.decide(&Facts { parameters: &parameters, slot: None, zone: &zone, steps, stop, steps_end, finally_over: false }).unwrap()
    };
    let first = decide(None, None, None);
    assert_eq!(first.steps_end.as_ref().map(|end| end.outcome), Some(Outcome::Succeeded));
    let last = decide(Some(Stop::TimedOut), first.steps_end, Some(Outcome::Succeeded));
    assert_eq!(last.end.unwrap().outcome, Outcome::Succeeded);
}

#[test]
fn a_finally_for_which_no_time_was_left_is_told() {
    let spec = workflow(json!({ "parallelism": 1, "steps": [{ "name": "a" }], "finally": [{ "name": "f" }, { "name": "g" }] }));
    let over = Known { finally_over: true, ..known(json!({ "a": "Succeeded", "f": "Succeeded" })) };
    assert_eq!(told(&decide_all(&spec, &over)), "a Succeeded Told, f Succeeded Told, g Skipped WorkflowTimedOut, = TimedOut RunTimeout");
}

#[test]
fn fail_fast_starts_no_further_item_and_names_who_failed() {
    let spec = workflow(json!({ "steps": [{ "name": "a" }, { "name": "each", "forEach": { "items": [1, 2, 3], "parallelism": 1 } }] }));
    let runs = json!({ "a": "Failed", "each": [["Succeeded"]] });
    cases(&spec, &[(runs.clone(), "a Failed Told, each Cancelled FailFast, = Failed StepFailed")]);
    assert_eq!(decide_all(&spec, &known(runs)).end.unwrap().message, "step ended badly: a (Failed)");
}

#[test]
fn items_that_were_skipped_are_counted_and_all_of_them_are_a_skipped_step() {
    let spec = workflow(json!({ "steps": [{ "name": "each", "forEach": { "items": [1, 2] } }] }));
    cases(
        &spec,
        &[
            (json!({ "each": [["Skipped"], ["Skipped"]] }), "each Skipped ItemsEnded, = Skipped AllSkipped"),
            (json!({ "each": [["Skipped"], ["Succeeded"]] }), "each Succeeded ItemsEnded, = Succeeded StepsEnded"),
        ],
    );
}

#[test]
fn an_end_on_record_stays_and_a_run_that_comes_into_view_late_is_stopped() {
    let spec = workflow(json!({ "steps": [{ "name": "a" }] }));
    let ended = Some(Ended::new(Outcome::Cancelled, reason::RUN_DELETED, "gone"));
    let recorded = BTreeMap::from([("a".to_owned(), Recorded { started: 1, items: None, ended })]);
    let at = |runs: Value| told(&decide_all(&spec, &Known { recorded: recorded.clone(), ..known(runs) }));
    assert_eq!(at(json!({ "a": null })), "a Cancelled RunDeleted, -a[0]", "no end while it goes on");
    assert_eq!(at(json!({ "a": "Succeeded" })), "a Cancelled RunDeleted, = Failed StepFailed");
}

#[test]
fn items_go_on_without_what_their_list_was_made_from_and_results_keep_their_places() {
    let spec = workflow(json!({ "failFast": false, "steps": [
        { "name": "list" }, { "name": "each", "dependsOn": needs(&["list"]), "forEach": { "expression": "steps.list.outputs.all", "maxFailed": 1 } },
        { "name": "sum", "dependsOn": needs(&["each"]), "parameters": [{ "name": "N", "expression": "size(steps.each.results)" }] },
    ] }));
    let ended = Some(Ended::new(Outcome::Succeeded, "Known", "from before"));
    let recorded = BTreeMap::from([
        ("list".to_owned(), Recorded { started: 1, items: None, ended }),
        ("each".to_owned(), Recorded { started: 3, items: Some(3), ended: None }),
    ]);
    let decision = decide_all(&spec, &Known { recorded, ..known(json!({ "each": [["Succeeded"], ["Succeeded"]] })) });
    assert_eq!(told(&decision), "list Succeeded Known, each Succeeded ItemsEnded, sum runs, +sum");
    assert_eq!(decision.start[0].parameters[0].value, "3");
    let all = json!({ "list": "Succeeded", "each": [["Failed"], ["Succeeded"]] });
    let two = workflow(
        json!({ "steps": [{ "name": "list" }, { "name": "each", "dependsOn": needs(&["list"]), "forEach": { "items": [1, 2], "maxFailed": 1 } }] }),
    );
    let late = Known { stop: Some(Stop::Cancelled), ..known(all) };
    assert_eq!(told(&decide_all(&two, &late)), "list Succeeded Told, each Succeeded ItemsEnded, = Succeeded StepsEnded");
}

#[test]
fn results_that_are_too_large_and_long_messages_are_told_shortly() {
    let spec = workflow(
        json!({ "steps": [{ "name": "each", "forEach": { "items": [1, 2] } }, { "name": "use", "dependsOn": needs(&["each"]), "parameters": [{ "name": "N", "expression": "steps.each.results + 1" }] }] }),
    );
    let message = |bytes: usize| {
        let big = json!({ "text": "x".repeat(bytes) });
        let decision = decide_all(&spec, &known(json!({ "each": [["Succeeded", big], ["Succeeded", big]] })));
        let At::Ended(ended) = &decision.steps[1].at else { panic!("{decision:?}") };
        ended.message.clone()
    };
    assert!(message(100_000).contains("the results of step each are 2000"), "{}", message(100_000));
    assert!(message(4000).len() < 600, "{}", message(4000));
}

#[test]
fn a_declared_number_is_one_however_json_writes_it() {
    let spec = workflow(
        json!({ "steps": [{ "name": "a" }, { "name": "b", "dependsOn": needs(&["a"]), "when": "steps.a.outputs.ratio * 100.0 > 50.0" }] }),
    );
    let outputs: Vec<Output> = serde_json::from_value(json!([{ "name": "ratio", "type": "Number" }])).unwrap();
    let graph = check(&spec, |_| Some(Target { outputs: outputs.clone(), ..Target::default() })).unwrap();
    let (parameters, zone, one) = (BTreeMap::new(), TimeZone::UTC, json!({ "ratio": 1 }));
    let run = RunFacts { outcome: Some(Outcome::Succeeded), told: ("R", "m"), outputs: Some(&one), kept: false };
    let steps = BTreeMap::from([("a", StepFacts { runs: BTreeMap::from([(0, run)]), recorded: None })]);
    let facts = Facts { parameters: &parameters, slot: None, zone: &zone, steps, stop: None, steps_end: None, finally_over: false };
    assert_eq!(told(&graph.decide(&facts).unwrap()), "a Succeeded R, b runs, +b");
}

fn target(name: &str) -> Target {
    let parameters: Vec<Parameter> = serde_json::from_value(json!([
        { "name": "DAY", "pattern": "[0-9]+" }, { "name": "REGION", "enum": ["eu", "us"] },
    ]))
    .unwrap();
    let outputs: Vec<Output> = serde_json::from_value(json!([
        { "name": "rows", "type": "Integer" }, { "name": "file" }, { "name": "files", "type": "List" }, { "name": "ok", "type": "Boolean" },
    ]))
    .unwrap();
    let (parameters, outputs) = match name {
        "quiet" => (parameters, Vec::new()),
        "strict" => (serde_json::from_value(json!([{ "name": "MUST", "required": true }])).unwrap(), outputs),
        _ => (parameters, outputs),
    };
    Target { name: format!("task {name}"), parameters, outputs }
}

fn problems(spec: Value) -> Vec<String> {
    let checked = check(&workflow(spec), |step| step.task_ref.as_ref().filter(|task| task.name != "gone").map(|task| target(&task.name)));
    checked.err().unwrap_or_default()
}

#[test]
fn what_cannot_work_is_told_with_the_field_and_the_fix_before_anything_runs() {
    let load = |part: Value| {
        let mut step = json!({ "name": "load", "dependsOn": needs(&["fetch"]) });
        step.as_object_mut().unwrap().extend(part.as_object().unwrap().clone());
        json!({ "parameters": [{ "name": "MODE" }], "steps": [{ "name": "fetch" }, { "name": "quiet" }, { "name": "many", "forEach": { "items": [1] } }, step, { "name": "late" }] })
    };
    let parameter = |expression: &str| load(json!({ "parameters": [{ "name": "DAY", "expression": expression }] }));
    for (spec, expected) in [
        (load(json!({ "when": "steps.fetch.outputs.rows > 0" })), ""),
        (
            load(json!({ "when": "steps.fetch.outputs.row > 0" })),
            "steps[3].when: task fetch has no output row; known: rows, file, files, ok",
        ),
        (load(json!({ "when": "steps.fetcher.outputs.rows > 0" })), "steps[3].when: there is no step fetcher; known: fetch"),
        (
            load(json!({ "when": "steps.late.outcome == 'Failed'" })),
            "steps[3].when: step late may not have ended by then: this step does not depend on it; add { step: late } to dependsOn, or use a step that is there",
        ),
        (load(json!({ "when": "steps.load.outcome == 'Failed'" })), "steps[3].when: step load cannot use itself: it has not run yet"),
        (load(json!({ "when": "steps.fetch.outputs.rows" })), "steps[3].when: is a whole number; want true or false"),
        (load(json!({ "when": "steps.fetch.outputs.rows > 'a'" })), "steps[3].when: "),
        (load(json!({ "when": "parameters.MOOD == 'full'" })), "steps[3].when: the workflow has no parameter MOOD; known: MODE"),
        (load(json!({ "when": "parameters == 1" })), "steps[3].when: parameters has to be followed by a name: parameters.NAME"),
        (
            load(json!({ "when": "steps[parameters.MODE].outcome == 'Failed'" })),
            "steps[3].when: steps has to be followed by a name and a member",
        ),
        (load(json!({ "when": "steps.fetch.exit == 1" })), "steps[3].when: steps.fetch has no member exit"),
        (load(json!({ "when": "item == 1" })), "steps[3].when: item is known in parameters of a step with forEach only"),
        (load(json!({ "when": "workflow.outcome == 'Failed'" })), "steps[3].when: workflow.outcome is known in finally only"),
        (load(json!({ "when": "now() > slot" })), "steps[3].when: "),
        (load(json!({ "when": "type(steps.fetch.outputs.rows) == int && (parameters.MODE == '1' || slot.getHours() == 1)" })), ""),
        (load(json!({ "when": "1 +" })), "steps[3].when: is not a CEL expression"),
        (load(json!({ "when": "yesterday == 1" })), "steps[3].when: there is no yesterday; known are parameters.NAME"),
        (parameter("steps.fetch.outputs.file + 1"), "steps[3].parameters[0].expression: "),
        (parameter("steps.fetch.results"), "steps[3].parameters[0].expression: step fetch has no forEach: use steps['fetch'].outputs"),
        (parameter("slot"), "steps[3].parameters[0].expression: is a time; want a text"),
        (parameter("format(slot, '%Y')"), ""),
        (parameter("int(steps.fetch.outputs.file) + 1"), ""),
        (parameter("steps.fetch.outputs.files[0].name"), ""),
        (
            load(json!({ "dependsOn": needs(&["many"]), "parameters": [{ "name": "DAY", "expression": "steps.many.outputs.rows" }] })),
            "steps[3].parameters[0].expression: step many has forEach and so a list: use steps['many'].results",
        ),
        (
            load(json!({ "dependsOn": needs(&["quiet"]), "parameters": [{ "name": "DAY", "expression": "steps.quiet.outputs.rows" }] })),
            "steps[3].parameters[0].expression: task quiet declares no outputs; add rows to its spec.outputs",
        ),
        (
            load(json!({ "parameters": [{ "name": "DAYS", "value": "1" }] })),
            "steps[3].parameters[0]: task load has no parameter DAYS; known: DAY, REGION",
        ),
        (
            load(json!({ "parameters": [{ "name": "DAY", "value": "today" }] })),
            "steps[3].parameters[0].value: DAY is \"today\", which does not match [0-9]+",
        ),
        (
            load(json!({ "parameters": [{ "name": "REGION", "value": "asia" }] })),
            "steps[3].parameters[0].value: REGION is \"asia\"; allowed are: eu, us",
        ),
        (load(json!({ "forEach": { "expression": "steps.fetch.outputs.file" } })), "steps[3].forEach.expression: is a text; want a list"),
        (
            load(
                json!({ "forEach": { "expression": "steps.fetch.outputs.files" }, "parameters": [{ "name": "DAY", "expression": "item.day" }] }),
            ),
            "",
        ),
        (
            load(json!({ "forEach": { "items": [1, "a"] }, "parameters": [{ "name": "DAY", "expression": "item + 1" }] })),
            "steps[3].parameters[0].expression: ",
        ),
        (
            load(json!({ "forEach": { "items": [1, 2], "maxItems": 1 } })),
            "steps[3].forEach: the list has 2 items and maxItems is 1; raise it, or make the list shorter",
        ),
        (json!({ "steps": [{ "name": "strict" }] }), "steps[0].parameters: task strict requires MUST; give it a value"),
        (
            json!({ "steps": [{ "name": "a", "dependsOn": needs(&["x"]) }] }),
            "steps[0].dependsOn[0]: there is no step x in steps; correct the name",
        ),
        (
            json!({ "steps": [{ "name": "z" }, { "name": "a", "dependsOn": needs(&["z", "c"]) }, { "name": "b", "dependsOn": needs(&["a"]) }, { "name": "c", "dependsOn": needs(&["b"]) }] }),
            "steps: dependsOn goes in a circle: a → c → b → a; remove one of these",
        ),
        (json!({ "steps": [{ "name": "a" }], "finally": [{ "name": "f", "when": "steps.a.outcome == workflow.outcome" }] }), ""),
        (
            json!({ "steps": [{ "name": "a" }], "finally": [{ "name": "f" }, { "name": "g", "when": "steps.f.outcome == 'Failed'" }] }),
            "finally[1].when: step f may not have ended by then: this step does not depend on it; steps of finally cannot use one another",
        ),
        (json!({ "steps": [{ "name": "gone" }, { "name": "b", "dependsOn": needs(&["gone"]), "when": "steps.gone.outputs.x == 1" }] }), ""),
    ] {
        let found = problems(spec.clone()).join("; ");
        assert_eq!(expected.is_empty(), found.is_empty(), "{spec}: {found}");
        assert!(found.starts_with(expected), "{spec}\n found {found}\n want  {expected}");
    }
}

#[test]
fn two_hundred_steps_in_a_row_and_a_thousand_items_are_one_look() {
    let chain: Vec<Value> = (0..200)
        .map(|n| {
            if n == 0 { json!({ "name": "s0" }) } else { json!({ "name": format!("s{n}"), "dependsOn": needs(&[&format!("s{}", n - 1)]) }) }
        })
        .collect();
    let spec = workflow(json!({ "steps": chain }));
    let done: serde_json::Map<String, Value> = (0..199).map(|n| (format!("s{n}"), json!("Succeeded"))).collect();
    let decision = decide_all(&spec, &known(Value::Object(done)));
    assert_eq!(decision.start.iter().map(|start| start.step.as_str()).collect::<Vec<_>>(), ["s199"]);
    let items: Vec<Value> = (0..1000).map(|n| json!(n)).collect();
    let spec = workflow(
        json!({ "steps": [{ "name": "each", "forEach": { "items": items, "maxItems": 1000 }, "parameters": [{ "name": "N", "expression": "item" }] }] }),
    );
    let decision = decide_all(&spec, &known(json!({})));
    assert_eq!((decision.start.len(), decision.start[99].parameters[0].value.as_str()), (100, "99"), "a hundred in one look");
}
