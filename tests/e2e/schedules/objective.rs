//! Objectives: the budget of a schedule's slots burns, and is on status whatever has become of the runs.

use std::time::Duration;

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::ResourceQuota;
use nightshift::api::{AutomationRun, AutomationTask, BadCause, Outcome, Phase, SloState, SloStatus, Workflow, condition};
use serde_json::json;

use crate::{
    support::{IMAGE, await_second, eventually, kubectl_ok, now},
    with_operator::place::{Place, says, story},
    workflows::workflow,
};

fn slo(task: &AutomationTask) -> Option<&SloStatus> {
    task.status.as_ref().and_then(|status| status.slo.as_ref())
}

fn met(task: &AutomationTask) -> (String, String) {
    let conditions = task.status.as_ref().map(|status| status.conditions.clone()).unwrap_or_default();
    let met = condition::find(&conditions, condition::OBJECTIVE_MET).expect("the condition");
    (met.status.clone(), met.reason.clone())
}

async fn until(place: &Place, what: &str, seconds: u64, holds: impl Fn(&SloStatus) -> bool + Send + Sync + 'static) -> AutomationTask {
    place.until("import", what, seconds, move |task: &AutomationTask| slo(task).is_some_and(&holds)).await
}

async fn suspend(place: &Place) {
    place.change::<AutomationTask>("import", json!({ "spec": { "schedule": { "suspend": true } } })).await;
}

#[tokio::test]
async fn a_task_that_fails_each_minute_overspends_its_budget_and_history_takes_nothing_from_the_count() {
    story(async |place| {
        await_second(5..50).await;
        let spec = "{schedule: {cron: ['* * * * *']}, slo: {objective: '75%', windowRuns: 4}, history: {succeeded: 1, failed: 1}}";
        place.script("import", "exit 1", spec).await;
        let armed = place.armed("import").await;
        let begun = slo(&armed).expect("it stands somehow");
        assert_eq!((begun.state, begun.budget, begun.window.as_str()), (SloState::InsufficientData, 1, "4 runs"));
        assert_eq!(met(&armed), ("Unknown".to_owned(), "InsufficientData".to_owned()));

        let burnt = until(place, "to have spent its budget", 150, |slo| slo.bad == 1).await;
        assert_eq!(met(&burnt), ("True".to_owned(), "AtRisk".to_owned()));
        let overspent = until(place, "to have overspent it", 120, |slo| slo.bad == 2).await;
        let stands = slo(&overspent).expect("it stands somehow");
        assert_eq!((stands.state, stands.budget_left, stands.attainment.as_deref()), (SloState::Breached, -1, Some("0.00%")));
        assert_eq!(met(&overspent), ("False".to_owned(), "Breached".to_owned()));
        let conditions = &overspent.status.as_ref().expect("a status").conditions;
        assert!(condition::is_true(conditions, condition::READY), "a failed night says nothing of the spec");
        let last = stands.last_bad.last().expect("a bad slot");
        assert_eq!((last.cause, last.reason.as_deref()), (BadCause::Failed, Some("ExitCodeOtherwise")));
        says(&place.kubectl(&["get", "atask", "import"]).await, &["SLO", "Breached, 1 over"]);
        let told = condition::find(conditions, condition::OBJECTIVE_MET).expect("the condition");
        says(&told.message, &["0 of 2 slots were good", "allows 1 bad: overspent by 1", "Last bad: run import-"]);

        // The third takes the first one's run with it, and not what was counted of it. A run by hand mends nothing.
        place.change::<AutomationTask>("import", json!({ "spec": { "script": { "source": "exit 0" } } })).await;
        place.run("by-hand", "import").await;
        place.finished("by-hand").await;
        let mended = until(place, "to have run well once", 120, |slo| slo.good == 1).await;
        let stands = slo(&mended).expect("it stands somehow");
        assert!(stands.bad >= 2 && stands.state == SloState::Breached, "{stands:?}");
        let through = stands.folded_through.as_ref().expect("a slot").0;
        let slots = through.duration_since(stands.since.as_ref().expect("a slot").0).as_secs() / 60 + 1;
        assert_eq!(stands.counted, slots, "each minute is counted once: {stands:?}");
        suspend(place).await;
        eventually("history holds", Duration::from_secs(60), async || {
            let runs = place.runs().await;
            let finished = runs.iter().filter(|run| run.status.as_ref().is_some_and(|s| s.phase == Some(Phase::Finished))).count();
            if finished <= 2 { Ok(()) } else { Err(format!("{finished} runs")) }
        })
        .await;
        place.change::<AutomationTask>("import", json!({ "spec": { "slo": null } })).await;
        let without = |task: &AutomationTask| {
            task.status.as_ref().is_some_and(|s| s.slo.is_none() && condition::find(&s.conditions, condition::OBJECTIVE_MET).is_none())
        };
        place.task_seen("import", "to have no objective", without).await;
    })
    .await;
}

#[tokio::test]
async fn a_run_is_late_while_it_goes_on_and_stays_so_when_it_ends_well() {
    story(async |place| {
        await_second(5..40).await;
        let spec = "{schedule: {cron: ['* * * * *']}, slo: {objective: '99%', windowRuns: 100, finishWithinSeconds: 20}}";
        place.script("import", "sleep 40", spec).await;
        place.armed("import").await;
        let late = until(place, "to be late", 150, |slo| slo.bad == 1).await;
        let stands = slo(&late).expect("it stands somehow");
        let bad = stands.last_bad.last().expect("a bad slot");
        assert_eq!((bad.cause, stands.state), (BadCause::Late, SloState::AtRisk), "{stands:?}");
        assert!(stands.folded_through.as_ref().is_none_or(|through| *through < bad.slot), "it may still have ended in time: {stands:?}");
        let run = bad.run.clone().expect("a run");
        assert_ne!(place.get::<AutomationRun>(&run).await.status.and_then(|s| s.phase), Some(Phase::Finished));
        let after = now().duration_since(bad.slot.0);
        assert!(after < SignedDuration::from_secs(38), "told while it goes on, not when it ends: after {after}");
        suspend(place).await;
        assert_eq!(place.finished(&run).await.outcome, Some(Outcome::Succeeded));
        let slot = bad.slot.clone();
        let ended = until(place, "to have counted it", 60, move |slo| slo.folded_through.as_ref() >= Some(&slot)).await;
        let stands = slo(&ended).expect("it stands somehow");
        assert_eq!((stands.good, stands.bad, stands.last_bad.last().map(|bad| bad.cause)), (0, 1, Some(BadCause::Late)), "{stands:?}");
    })
    .await;
}

#[tokio::test]
async fn slots_that_nothing_started_are_bad_and_those_of_a_pause_are_not() {
    story(async |place| {
        place.given("{apiVersion: v1, kind: ResourceQuota, metadata: {name: no-jobs}, spec: {hard: {count/jobs.batch: '0'}}}").await;
        let counts = |quota: &ResourceQuota| quota.status.as_ref().is_some_and(|status| status.used.is_some());
        place.until("no-jobs", "to count", 30, counts).await;
        await_second(15..40).await;
        let spec = "{schedule: {cron: ['* * * * *'], startingDeadlineSeconds: 10}, slo: {objective: '99.5%', windowDays: 30}}";
        place.script("import", "exit 0", spec).await;
        place.armed("import").await;
        let missed = until(place, "to have missed a slot", 180, |slo| slo.bad > 0).await;
        let stands = slo(&missed).expect("it stands somehow");
        assert_eq!((stands.state, stands.window.as_str(), stands.window_slots), (SloState::Met, "30 days", 43_200), "{stands:?}");
        assert_eq!((stands.budget, stands.budget_left, stands.last_bad[0].cause), (216, 216 - stands.bad, BadCause::Missed));
        suspend(place).await;
        await_second(0..5).await;
        await_second(40..55).await;
        place.change::<AutomationTask>("import", json!({ "spec": { "schedule": { "suspend": false } } })).await;
        let skipped = |task: &AutomationTask| {
            task.status.as_ref().is_some_and(|status| status.not_run.iter().any(|group| group.reason == "Suspended"))
        };
        let paused = place.task_seen("import", "to have skipped a slot", skipped).await;
        let groups = paused.status.as_ref().map(|status| status.not_run.clone()).unwrap_or_default();
        let missed: i64 = groups.iter().filter(|group| group.reason != "Suspended").map(|group| group.slots).sum();
        assert_eq!(slo(&paused).map(|slo| (slo.good, slo.bad)), Some((0, missed)), "{groups:?}");
        suspend(place).await;
    })
    .await;
}

#[tokio::test]
async fn a_workflow_has_an_objective_too() {
    story(async |place| {
        let fails = json!({ "name": "fails", "task": { "image": IMAGE, "command": ["false"] } });
        let spec = "{schedule: {cron: ['* * * * *']}, slo: {objective: '99.5%', windowRuns: 30}, history: {succeeded: 0, failed: 0}}";
        workflow(place, "prices", &[fails], spec).await;
        let breached = |workflow: &Workflow| {
            workflow.status.as_ref().and_then(|status| status.slo.as_ref()).is_some_and(|slo| slo.state == SloState::Breached)
        };
        let seen: Workflow = place.until("prices", "to have no budget at all", 180, breached).await;
        let message = seen.status.map(|s| condition::find(&s.conditions, condition::OBJECTIVE_MET).cloned()).expect("a status");
        says(&message.expect("the condition").message, &["the objective 99.5% of 30 runs allows no bad slot", "overspent by 1"]);
        place.change::<Workflow>("prices", json!({ "spec": { "schedule": { "suspend": true } } })).await;
        let shown = kubectl_ok(&["--namespace", &place.namespace, "get", "awf"], None).await;
        says(&shown, &["SLO", "Breached, "]);
    })
    .await;
}
