//! Workflows that run by themselves: the operator is their clock.

use nightshift::api::{AutomationRun, Outcome, Trigger, Workflow, label};
use serde_json::json;

use super::{child, ready, step, task, workflow};
use crate::{
    support::{await_moment, slot_after},
    with_operator::place::{Place, story},
};

/// The first run of a slot, once it is there.
async fn slot_run(place: &Place, workflow: &str) -> AutomationRun {
    let seen = place.until(workflow, "to have started a slot", 130, |workflow: &Workflow| {
        workflow.status.as_ref().is_some_and(|status| !status.active.is_empty() || status.last_run.is_some())
    });
    let status = seen.await.status.expect("a status");
    let name = status.active.first().cloned().or(status.last_run.map(|last| last.name)).expect("a run");
    place.get(&name).await
}

#[tokio::test]
async fn a_slot_runs_the_steps_with_values_from_it_and_a_pause_stops_the_next() {
    story(async |place| {
        task(place).await;
        let tell = r#"{parameters: [{name: TELLS, expression: "'{\"rows\": ' + parameters.MINUTE + ', \"files\": [\"' + format(slot, '%H') + '\"]}'"}]}"#;
        let spec = r#"{
            schedule: {cron: ["* * * * *"], timeZone: Asia/Kolkata},
            parameters: [{name: MINUTE, fromSlot: "string(int(format(slot, '%s')) / 60)"}]
        }"#;
        workflow(place, "minutely", &[step("tell", &[], tell)], spec).await;
        assert_eq!(ready(place, "minutely", "True", "Accepted").await, "armed: * * * * * (Asia/Kolkata)");
        let run = slot_run(place, "minutely").await;
        let slot = run.spec.scheduled_time.clone().expect("a slot").0;
        let name = run.metadata.name.clone().expect("a name");
        assert_eq!(name, format!("minutely-wf-{}", slot.as_second() / 60), "the name is the lock");
        assert!(matches!(run.spec.trigger, Some(Trigger::Schedule)), "{:?}", run.spec.trigger);
        place.change::<Workflow>("minutely", json!({ "spec": { "schedule": { "suspend": true } } })).await;
        let status = place.finished(&name).await;
        assert_eq!(status.outcome, Some(Outcome::Succeeded), "{:?}", status.message);
        assert_eq!(status.slot.map(|time| time.0), Some(slot));
        let told = child(place, &name, "tell").await.status.and_then(|status| status.outputs).expect("outputs");
        assert_eq!(told["rows"], slot.as_second() / 60);
        let hour = slot.to_zoned(jiff::tz::TimeZone::get("Asia/Kolkata").expect("a zone")).strftime("%H").to_string();
        assert_eq!(told["files"][0], hour, "in the zone of the schedule");
        let paused = place.until("minutely", "to be suspended", 30, |workflow: &Workflow| {
            workflow.status.as_ref().is_some_and(|status| status.next.is_none())
        });
        let paused = paused.await.status.expect("a status");
        assert_eq!(paused.schedule.as_deref(), Some("* * * * * (Asia/Kolkata)"));
        // By hand, as where Git keeps the spec.
        let by_hand = json!({ "metadata": { "annotations": { label::PAUSED_UNTIL: "indefinite" } }, "spec": { "schedule": { "suspend": null } } });
        place.change::<Workflow>("minutely", by_hand).await;
        ready(place, "minutely", "True", "Accepted").await;
        let before = place.runs().await.len();
        await_moment(slot_after(1) + jiff::SignedDuration::from_secs(3)).await;
        assert_eq!(place.runs().await.len(), before, "no slot starts");
        let shown = place.kubectl(&["get", "awf"]).await;
        assert!(shown.contains("SCHEDULE") && shown.contains("(Asia/Kolkata)"), "{shown}");
    })
    .await;
}

#[tokio::test]
async fn a_schedule_that_cannot_be_is_told() {
    story(async |place| {
        task(place).await;
        for (name, schedule, reason, told) in [("no-such-day", "{cron: ['0 2 30 2 *']}", "InvalidSchedule", "names no day that exists")] {
            workflow(place, name, &[step("a", &[], "{}")], &format!("{{schedule: {schedule}}}")).await;
            let message = ready(place, name, "False", reason).await;
            assert!(message.contains(told) && message.ends_with("Until then no slot starts"), "{name}: {message}");
        }
    })
    .await;
}
