//! Steps that ask somebody, answered with plain kubectl.

use nightshift::api::{ApprovalStatus, AutomationRun, AutomationRunStatus, Outcome, Verdict};
use serde_json::json;

use super::{child, ready, run, run_with, step, steps, task, workflow};
use crate::{
    support::{eventually, kubectl, now},
    with_operator::place::{Place, story},
};

const ANN: &str = "ann@example.com";
const BOB: &str = "bob@example.com";

/// Ann may approve, as the chart's role has it; Bob may do what the cluster's role edit may.
async fn people(place: &Place) {
    for (name, role, user) in [("ann", "nightshift-approve", ANN), ("bob", "edit", BOB)] {
        place.kubectl(&["create", "rolebinding", name, "--clusterrole", role, "--user", user]).await;
    }
    // Cluster roles are aggregated, and the server's caches follow, in their own time.
    for (user, verb) in [(ANN, "approve"), (BOB, "patch")] {
        let namespace = ["--namespace", place.namespace.as_str()];
        eventually(&format!("{user} may {verb}"), std::time::Duration::from_secs(60), async || {
            let asked =
                kubectl(&[&namespace[..], &["auth", "can-i", verb, "automationruns.nightshift.dev", "--as", user]].concat(), None).await;
            if asked.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&asked.stdout).into_owned()) }
        })
        .await;
    }
}

/// A release: plan, ask, then apply with the name of whoever approved; an apology where they said no.
async fn release(place: &Place, approval: &str) {
    task(place).await;
    let ask = json!({ "name": "ask", "dependsOn": [{ "step": "plan" }], "approval": crate::support::yaml::<serde_json::Value>(approval) });
    let apply = step(
        "apply",
        &[],
        r#"{dependsOn: [{step: ask}], parameters: [{name: TELLS, expression: "'{\"files\": [\"' + steps.ask.outputs.by + '\"]}'"}]}"#,
    );
    let steps = [step("plan", &[], "{}"), ask, apply, step("regret", &[], "{dependsOn: [{step: ask, outcomes: [Failed, TimedOut]}]}")];
    workflow(place, "release", &steps, "{}").await;
    ready(place, "release", "True", "Accepted").await;
}

fn approval(status: &AutomationRunStatus) -> ApprovalStatus {
    status.steps.iter().find_map(|step| step.approval.clone()).expect("a step asks")
}

/// Does what `waitingOn` of the run says, as that user. Returns what kubectl says where it fails.
async fn answer(place: &Place, status: &AutomationRunStatus, user: &str, verdict: &str, reason: &str) -> Result<(), String> {
    let message = status.waiting_on.as_ref().expect("it waits").message.clone();
    let (_, command) = message.split_once("answer with kubectl ").expect("the command");
    let (words, patch) = command.split_once(" -p '").expect("the patch");
    let (patch, _) = patch.split_once('\'').expect("the end of the patch");
    let reason = if reason.is_empty() { String::new() } else { format!(r#","reason":"{reason}""#) };
    let patch = patch.replace(r#""YOU""#, &format!(r#""{user}"{reason}"#)).replace("Approve", verdict);
    let args: Vec<&str> = words.split(' ').chain(["-p", patch.as_str(), "--as", user]).collect();
    assert!(words.contains(place.namespace.as_str()), "{words}");
    let said = kubectl(&args, None).await;
    if said.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&said.stderr).into_owned()) }
}

#[tokio::test]
async fn an_approval_by_the_command_that_is_told_goes_on_record_and_feeds_what_follows() {
    story(async |place| {
        people(place).await;
        release(place, "{message: 'to production?'}").await;
        run(place, "release-1", "release").await;
        let asked = place.waiting("release-1", "ApprovalPending").await;
        assert_eq!(steps(&asked), ["plan Succeeded", "ask Running", "apply Pending", "regret Pending"]);
        let waiting = asked.waiting_on.clone().expect("it waits");
        assert!(waiting.message.contains("step ask asks for approval: to production?"), "{}", waiting.message);
        assert!(waiting.until.is_some_and(|until| until.0 > now()), "a day where nothing else is said");

        let refused = answer(place, &asked, BOB, "Approve", "").await.expect_err("who may only edit");
        assert!(refused.contains("bob@example.com may not approve") && refused.contains("nightshift-approve"), "{refused}");
        let forged = json!([{ "op": "add", "path": "/spec/approvals/-", "value": { "step": "ask", "decision": "Approve", "by": BOB } }]);
        let args = ["patch", "arun", "release-1", "-n", &place.namespace, "--type=json", "-p", &forged.to_string(), "--as", ANN];
        let refused = String::from_utf8_lossy(&kubectl(&args, None).await.stderr).into_owned();
        assert!(refused.contains("by has to be who writes it; write ann@example.com"), "{refused}");

        let before = approval(&place.get::<AutomationRun>("release-1").await.status.expect("a status"));
        assert_eq!(before.decision, None);
        answer(place, &asked, ANN, "Approve", "the plan is fine").await.expect("who may");
        let ended = place.finished("release-1").await;
        assert_eq!(
            (ended.outcome, steps(&ended)),
            (
                Some(Outcome::Succeeded),
                vec![
                    "plan Succeeded".to_owned(),
                    "ask Succeeded".to_owned(),
                    "apply Succeeded".to_owned(),
                    "regret Skipped UpstreamSucceeded".to_owned()
                ]
            )
        );
        let record = approval(&ended);
        assert_eq!(
            (record.decision, record.by.as_deref(), record.reason.as_deref()),
            (Some(Verdict::Approve), Some(ANN), Some("the plan is fine"))
        );
        assert!(record.decided_time.as_ref().is_some_and(|decided| decided.0 >= record.asked_time.0));
        assert_eq!(child(place, "release-1", "apply").await.status.and_then(|status| status.outputs).expect("outputs")["files"][0], ANN);
        let too_late = answer(place, &asked, ANN, "Reject", "").await.expect_err("it is decided");
        assert!(too_late.contains("Duplicate value"), "{too_late}");
        let described = place.kubectl(&["describe", "arun", "release-1"]).await;
        assert!(described.contains("approved by ann@example.com: the plan is fine"), "{described}");
    })
    .await;
}

#[tokio::test]
async fn a_no_fails_the_step_and_silence_times_it_out() {
    story(async |place| {
        people(place).await;
        release(place, "{timeoutSeconds: 600}").await;
        run(place, "release-1", "release").await;
        let asked = place.waiting("release-1", "ApprovalPending").await;
        answer(place, &asked, ANN, "Reject", "not on a friday").await.expect("who may");
        let ended = place.finished("release-1").await;
        let regretted = ["plan Succeeded", "ask Failed Rejected", "apply Skipped UpstreamFailed", "regret Succeeded"];
        assert_eq!((steps(&ended), ended.outcome), (regretted.map(str::to_owned).to_vec(), Some(Outcome::Succeeded)));
        assert!(ended.steps[1].message.as_ref().is_some_and(|message| message == "rejected by ann@example.com: not on a friday"));

        let quick = json!([{ "op": "add", "path": "/spec/steps/1/approval/timeoutSeconds", "value": 2 }]);
        place.kubectl(&["patch", "awf", "release", "--type=json", "-p", &quick.to_string()]).await;
        ready(place, "release", "True", "Accepted").await;
        run(place, "release-2", "release").await;
        let ended = place.finished("release-2").await;
        let silent = ["plan Succeeded", "ask TimedOut ApprovalTimedOut", "apply Skipped UpstreamFailed", "regret Succeeded"];
        assert_eq!(steps(&ended), silent.map(str::to_owned));
        let record = approval(&ended);
        assert_eq!((record.decision, record.until.0.as_second() - record.asked_time.0.as_second()), (None, 2));
    })
    .await;
}

#[tokio::test]
async fn two_who_answer_at_once_do_not_overwrite_each_other() {
    story(async |place| {
        people(place).await;
        place.kubectl(&["create", "rolebinding", "bob-too", "--clusterrole", "nightshift-approve", "--user", BOB]).await;
        task(place).await;
        let ask = |name: &str| json!({ "name": name, "approval": {} });
        workflow(
            place,
            "release",
            &[ask("security"), ask("operations"), step("apply", &[], "{dependsOn: [{step: security}, {step: operations}]}")],
            "{}",
        )
        .await;
        ready(place, "release", "True", "Accepted").await;
        run(place, "release-1", "release").await;
        let asked = place.waiting("release-1", "ApprovalPending").await;
        assert!(asked.waiting_on.as_ref().is_some_and(|waiting| waiting.message.contains("(1 more asks too)")), "{asked:?}");
        // Both say something of the first step, one yes and one no, and each of them is the only one of several at once.
        let (yes, no) = futures::join!(answer(place, &asked, ANN, "Approve", ""), answer(place, &asked, BOB, "Reject", ""));
        assert!(yes.is_ok() != no.is_ok(), "{yes:?} {no:?}");
        let heard = place.get::<AutomationRun>("release-1").await.spec.approvals;
        assert_eq!((heard.len(), heard[0].by.as_str()), (1, if yes.is_ok() { ANN } else { BOB }));
        if yes.is_ok() {
            let other = place.status("release-1", "to ask for the other one alone", |status| {
                status.waiting_on.as_ref().is_some_and(|waiting| waiting.message.starts_with("step operations asks"))
            });
            answer(place, &other.await, BOB, "Approve", "").await.expect("who may");
        }
        let ended = place.finished("release-1").await;
        let said = (ended.steps[0].outcome, ended.outcome);
        assert_eq!(
            said,
            if yes.is_ok() { (Some(Outcome::Succeeded), Some(Outcome::Succeeded)) } else { (Some(Outcome::Failed), Some(Outcome::Failed)) }
        );
    })
    .await;
}

#[tokio::test]
async fn a_cancel_takes_the_question_back_and_a_rerun_keeps_the_approval_of_the_same_definition() {
    story(async |place| {
        people(place).await;
        task(place).await;
        let ask = json!({ "name": "ask", "approval": {} });
        let apply = step("apply", &[("CODE", "1")], "{dependsOn: [{step: ask}]}");
        workflow(place, "release", &[ask, apply], "{}").await;
        ready(place, "release", "True", "Accepted").await;
        run(place, "release-1", "release").await;
        place.waiting("release-1", "ApprovalPending").await;
        place.cancel("release-1").await;
        let cancelled = place.finished("release-1").await;
        assert_eq!((cancelled.outcome, steps(&cancelled)[0].as_str()), (Some(Outcome::Cancelled), "ask Cancelled WorkflowCancelled"));

        run(place, "release-2", "release").await;
        let asked = place.waiting("release-2", "ApprovalPending").await;
        answer(place, &asked, ANN, "Approve", "").await.expect("who may");
        assert_eq!(place.finished("release-2").await.outcome, Some(Outcome::Failed));
        run_with(place, "release-3", "release", "{rerunOf: release-2, fromFailed: true}").await;
        let same = place.finished("release-3").await;
        assert_eq!((steps(&same)[0].as_str(), approval(&same).by.as_deref()), ("ask Succeeded", Some(ANN)), "nothing has changed since");

        let revision = same.revision.clone();
        let mend = json!([{ "op": "replace", "path": "/spec/steps/1/parameters/0/value", "value": "0" }]);
        place.kubectl(&["patch", "awf", "release", "--type=json", "-p", &mend.to_string()]).await;
        place
            .until("release", "to know the mended step", 30, move |workflow: &nightshift::api::Workflow| {
                workflow.status.as_ref().is_some_and(|status| status.revision.is_some() && status.revision != revision)
            })
            .await;
        run_with(place, "release-4", "release", "{rerunOf: release-2, fromFailed: true}").await;
        let asked = place.waiting("release-4", "ApprovalPending").await;
        answer(place, &asked, ANN, "Approve", "").await.expect("who may");
        assert_eq!(place.finished("release-4").await.outcome, Some(Outcome::Succeeded));
    })
    .await;
}

#[tokio::test]
async fn what_a_workflow_in_a_workflow_asks_is_told_on_the_outer_run_and_answered_on_its_own() {
    story(async |place| {
        people(place).await;
        task(place).await;
        workflow(place, "inner", &[json!({ "name": "ask", "approval": { "message": "for both of them?" } })], "{}").await;
        let asks = json!({ "name": "asks", "workflowRef": { "name": "inner" } });
        let beside = step("beside", &[("SECONDS_TO_SLEEP", "600")], "{}");
        workflow(place, "outer", &[asks, beside], "{}").await;
        ready(place, "outer", "True", "Accepted").await;
        run(place, "outer-1", "outer").await;
        // Though another step is at work.
        let asked = place.waiting("outer-1", "ApprovalPending").await;
        let message = asked.waiting_on.as_ref().map(|waiting| waiting.message.clone()).unwrap_or_default();
        assert!(
            message.starts_with("step asks: step ask asks for approval: for both of them?; answer with kubectl patch arun outer-1-asks-"),
            "{message}"
        );
        let wrong = json!([{ "op": "add", "path": "/spec/approvals/-", "value": { "step": "asks", "decision": "Approve", "by": ANN } }]);
        let args = ["patch", "arun", "outer-1", "-n", &place.namespace, "--type=json", "-p", &wrong.to_string(), "--as", ANN];
        let refused = String::from_utf8_lossy(&kubectl(&args, None).await.stderr).into_owned();
        assert!(
            refused.contains("step asks does not ask for approval now; status.waitingOn of the run tells which step does"),
            "{refused}"
        );
        answer(place, &asked, ANN, "Approve", "").await.expect("who may");
        place
            .status("outer-1", "to have its answer", |status| {
                status.waiting_on.is_none() && status.steps[0].outcome == Some(Outcome::Succeeded)
            })
            .await;
        place.cancel("outer-1").await;
        let ended = place.finished("outer-1").await;
        assert_eq!(ended.outcome, Some(Outcome::Cancelled));
        let late = json!([{ "op": "add", "path": "/spec/approvals/-", "value": { "step": "asks", "decision": "Approve", "by": ANN } }]);
        let args = ["patch", "arun", "outer-1", "-n", &place.namespace, "--type=json", "-p", &late.to_string(), "--as", ANN];
        assert!(!kubectl(&args, None).await.status.success(), "a run that is over asks nobody");
    })
    .await;
}
