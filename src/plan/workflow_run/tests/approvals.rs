//! Steps that ask somebody.

use super::*;
use crate::api::{ApprovalDecision, ApprovalStatus, Verdict};

fn release() -> Value {
    json!({ "steps": [
        { "name": "plan", "taskRef": { "name": "t" } },
        { "name": "ask", "dependsOn": [{ "step": "plan" }], "approval": { "message": "to production?", "timeoutSeconds": 60 } },
        { "name": "apply", "taskRef": { "name": "t" }, "dependsOn": [{ "step": "ask" }],
          "parameters": [{ "name": "P", "expression": "steps.ask.outputs.by" }] },
    ] })
}

/// The same, with a step that takes care of silence.
fn release_with_regret() -> Value {
    let mut spec = release();
    let regret = json!({ "name": "regret", "taskRef": { "name": "t" }, "dependsOn": [{ "step": "ask", "outcomes": ["TimedOut"] }] });
    spec["steps"].as_array_mut().unwrap().push(regret);
    spec
}

/// A run whose step asks.
fn asking() -> World {
    let mut world = World::new(&release());
    world.settle();
    world.end_step("plan", Outcome::Succeeded);
    world
}

fn approval(world: &World) -> ApprovalStatus {
    world.status().steps[1].approval.clone().expect("it asks")
}

fn answer(world: &mut World, decision: Verdict, by: &str, reason: Option<&str>) {
    let reason = reason.map(str::to_owned);
    world.run.spec.approvals.push(ApprovalDecision { step: "ask".to_owned(), decision, by: by.to_owned(), reason });
    world.settle();
}

#[test]
fn what_is_asked_is_told_with_the_command_that_answers() {
    let world = asking();
    let waiting = world.status().waiting_on.expect("somebody is waited for");
    assert_eq!(waiting.reason, "ApprovalPending");
    let (before, command) = waiting.message.split_once("; answer with kubectl ").unwrap();
    assert_eq!(before, "step ask asks for approval: to production?");
    let (words, rest) = command.split_once(" -p '").unwrap();
    assert_eq!(words, "patch arun r -n ns --type=json");
    let (patch, rest) = rest.split_once('\'').unwrap();
    let value = json!({ "step": "ask", "decision": "Approve", "by": "YOU" });
    let patch: Value = serde_json::from_str(patch).unwrap();
    assert_eq!(patch, json!([{ "op": "add", "path": "/spec/approvals/-", "value": value }]));
    assert_eq!(rest, ", where YOU is what kubectl auth whoami says, or with Reject");
    assert_eq!(world.step("ask"), (Phase::Running, None, "ApprovalPending".to_owned()));
    assert_eq!(waiting.until, Some(approval(&world).until));
    assert_eq!(world.live(), Vec::<String>::new(), "it has no run");
}

#[test]
fn a_yes_goes_on_record_with_who_and_when_and_feeds_what_follows() {
    let mut world = asking();
    world.now += 20.seconds();
    answer(&mut world, Verdict::Approve, "ann", Some("looks good"));
    let status = approval(&world);
    assert_eq!(
        (status.by.as_deref(), status.reason.as_deref(), status.decision),
        (Some("ann"), Some("looks good"), Some(Verdict::Approve))
    );
    assert!(status.decided_time.as_ref().unwrap().0 >= status.asked_time.0 + 20.seconds());
    assert_eq!(world.step("ask"), (Phase::Finished, Some(Outcome::Succeeded), "Approved".to_owned()));
    assert_eq!(world.status().steps[1].message.as_deref(), Some("approved by ann: looks good"));
    assert_eq!(world.of_step("apply").spec.parameters[0].value, "ann");
    assert_eq!(world.status().waiting_on, None);
    world.now += 100.seconds();
    world.settle();
    assert_eq!(approval(&world), status, "what is on record stays as it is");
    world.end_step("apply", Outcome::Succeeded);
    assert_eq!(world.status().outcome, Some(Outcome::Succeeded));
}

#[test]
fn a_no_and_silence_end_the_run() {
    let mut refused = asking();
    answer(&mut refused, Verdict::Reject, "bob", None);
    assert_eq!(refused.step("ask"), (Phase::Finished, Some(Outcome::Failed), "Rejected".to_owned()));
    assert_eq!(refused.status().outcome, Some(Outcome::Failed));

    let mut silent = asking();
    assert_eq!(super::super::plan(&silent.seen(), silent.now).wake, Some(approval(&silent).until.0), "it looks again by itself");
    silent.now += 60.seconds();
    silent.settle();
    assert_eq!(silent.step("ask"), (Phase::Finished, Some(Outcome::TimedOut), "ApprovalTimedOut".to_owned()));
    answer(&mut silent, Verdict::Approve, "ann", None);
    assert_eq!(approval(&silent).decision, None, "who comes too late is not on record as having answered");

    // While the operator was away: in time, and not.
    for (given, outcome) in [(59, Outcome::Succeeded), (61, Outcome::TimedOut)] {
        let mut late = asking();
        late.answered = BTreeMap::from([("ask".to_owned(), approval(&late).asked_time.0 + given.seconds())]);
        late.now += 100.seconds();
        answer(&mut late, Verdict::Approve, "ann", None);
        assert_eq!(late.step("ask").1, Some(outcome), "{given}");
        assert_eq!(late.status().steps[1].message.as_ref().unwrap().contains("; ann did, too late"), given > 60);
    }
}

#[test]
fn an_answer_that_was_there_before_the_question_is_taken_once_it_is_asked() {
    let mut world = World::new(&release());
    answer(&mut world, Verdict::Approve, "ann", None);
    assert_eq!(world.step("ask").1, None);
    world.end_step("plan", Outcome::Succeeded);
    assert_eq!(world.step("ask").1, Some(Outcome::Succeeded));
    assert!(approval(&world).decided_time.unwrap().0 >= approval(&world).asked_time.0);
}

#[test]
fn a_rerun_keeps_an_approval_only_of_the_very_same_definition() {
    let mut first = asking();
    answer(&mut first, Verdict::Approve, "ann", None);
    first.end_step("apply", Outcome::Failed);
    let mut again = from_failed(&first, &release());
    again.settle();
    assert_eq!((again.live(), approval(&again).by.as_deref()), (vec!["apply".to_owned()], Some("ann")));
    assert_eq!(again.of_step("apply").spec.parameters[0].value, "ann");
    again.end_step("apply", Outcome::Failed);
    let mut third = from_failed(&again, &release());
    third.settle();
    assert_eq!(third.live(), ["apply"], "what was kept is kept again");

    let mut edited = release();
    edited["steps"][2]["when"] = json!("true");
    let mut other = from_failed(&first, &edited);
    other.settle();
    assert_eq!(other.step("ask"), (Phase::Running, None, "ApprovalPending".to_owned()), "what is run now is not what was approved");
    assert_eq!(other.step("plan").1, Some(Outcome::Succeeded));
}

#[test]
fn silence_is_on_record_before_anything_comes_of_it() {
    let spec = release_with_regret();
    let mut world = World::new(&spec);
    world.settle();
    world.end_step("plan", Outcome::Succeeded);
    world.now += 60.seconds();
    // Killed before the status is written, while an answer comes just in time.
    assert_eq!(world.pass(0), 0, "nothing starts in the look that finds it out");
    world.answered = BTreeMap::from([("ask".to_owned(), approval(&world).until.0)]);
    answer(&mut world, Verdict::Approve, "ann", None);
    assert_eq!((world.live(), world.step("regret").1), (vec!["apply".to_owned()], Some(Outcome::Skipped)));
}

#[test]
fn who_waits_for_people_has_as_much_time_more_and_its_question_ends_before_the_run_does() {
    let mut spec = release_with_regret();
    spec["steps"][1]["approval"] = json!({});
    let mut world = World::new(&spec);
    world.settle();
    world.now += 600.seconds();
    world.end_step("plan", Outcome::Succeeded);
    world.now += 86_400.seconds();
    world.settle();
    assert_eq!((world.step("ask").1, world.live()), (Some(Outcome::TimedOut), vec!["regret".to_owned()]));

    let told = |spec: &Value| match definition_of(&workflow(spec)) {
        Ok(_) => String::new(),
        Err(rejected) => rejected.message(),
    };
    spec["timeouts"] = json!({ "runSeconds": 86_400 });
    assert!(
        told(&spec)
            .starts_with("steps[1].approval.timeoutSeconds: is 86400 (86400 where unset), and the steps of a run have 86400 seconds")
    );
    spec["steps"][1]["approval"] = json!({ "timeoutSeconds": 3600 });
    assert_eq!(told(&spec), "");
}

#[test]
fn what_a_workflow_in_it_asks_is_told_word_for_word() {
    let mut world = World::new(&release());
    world.settle();
    let name = world.of_step("plan").metadata.name.clone().unwrap();
    let asks = Waiting { reason: "ApprovalPending".to_owned(), message: "x".repeat(400), until: Some(Time(world.now)) };
    world.children.get_mut(&name).unwrap().status =
        Some(AutomationRunStatus { waiting_on: Some(asks.clone()), ..AutomationRunStatus::default() });
    world.settle();
    let told = world.status().waiting_on.unwrap();
    assert_eq!((told.message, told.until), (format!("step plan: {}", asks.message), asks.until));
}

#[test]
fn a_rerun_keeps_no_approval_of_what_has_to_be_run_again() {
    let mut first = asking();
    answer(&mut first, Verdict::Approve, "ann", None);
    first.end_step("apply", Outcome::Failed);
    // Somebody has deleted the run of the step that was approved upon.
    let plan = first.of_step("plan").metadata.name.clone().unwrap();
    first.children.remove(&plan);
    let mut again = from_failed(&first, &release());
    again.settle();
    assert_eq!(again.live(), ["plan"]);
    again.end_step("plan", Outcome::Succeeded);
    assert_eq!((again.live(), again.step("ask").1), (Vec::new(), None), "it asks again");
}
