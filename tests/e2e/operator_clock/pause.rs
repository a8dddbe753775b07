//! A schedule that is paused and goes on: what was due meanwhile is told, not run, and the spec stays the user's.

use futures::future::join_all;
use jiff::SignedDuration;
use k8s_openapi::api::batch::v1::CronJob;
use kube::ResourceExt;
use nightshift::api::{AutomationTask, ClockKind, condition, label};
use serde_json::{Value, json};

use crate::{
    support::{
        await_moment, await_second, now,
        record::{MINUTE, RAN, until_told},
    },
    with_operator::place::{Place, story},
};

const SUSPENDED: &str = "Skipped(Suspended)";

/// How a pause begins and ends.
#[derive(Clone, Copy, PartialEq)]
enum By {
    Spec,
    /// By an annotation, where the spec is Git's.
    Hand,
}

impl By {
    fn change(self, paused: bool) -> Value {
        match self {
            By::Spec => json!({ "spec": { "schedule": { "suspend": paused } } }),
            By::Hand => json!({ "metadata": { "annotations": { label::PAUSED_UNTIL: paused.then_some("indefinite") } } }),
        }
    }
}

async fn pause(place: &Place, task: &str, by: By, paused: bool) {
    place.change::<AutomationTask>(task, by.change(paused)).await;
    let wanted = if paused { "True" } else { "False" };
    place
        .task_seen(task, "to have taken up the pause or its end", |task| {
            let conditions = task.status.as_ref().map(|status| status.conditions.clone()).unwrap_or_default();
            condition::find(&conditions, condition::SUSPENDED).is_some_and(|suspended| suspended.status == wanted)
        })
        .await;
}

#[tokio::test]
async fn the_slots_of_a_pause_are_told_as_skipped_under_both_clocks_and_the_spec_stays_as_it_was_written() {
    story(async |place| {
        let (native, operator) = (ClockKind::CronJob, ClockKind::Operator);
        let tasks = [
            ("native", "Allow", By::Spec, native),
            ("queued", "Queue", By::Spec, operator),
            ("latest", "Forbid", By::Spec, native),
            ("native-by-hand", "Allow", By::Hand, native),
            ("queued-by-hand", "Queue", By::Hand, operator),
        ];
        let slot = await_second(15..45).await + MINUTE;
        for (task, policy, ..) in tasks {
            // Even where slots may be late, those of the pause are not caught up.
            let catch_up = if task == "latest" { ", catchUp: {policy: Latest}" } else { "" };
            let spec = format!("{{command: ['true'], schedule: {{cron: ['* * * * *'], concurrencyPolicy: {policy}{catch_up}}}}}");
            place.armed_task(task, &spec).await;
        }
        // One that was paused from the beginning.
        place.armed_task("fresh", "{command: ['true'], schedule: {cron: ['* * * * *'], concurrencyPolicy: Queue, suspend: true}}").await;
        assert!(now() < slot, "all were to be armed before the first slot");
        for (task, ..) in tasks {
            until_told(place, task, slot, &[RAN], 90).await;
        }
        for (task, _, by, _) in tasks {
            pause(place, task, by, true).await;
            assert_eq!(place.get::<AutomationTask>(task).await.status.and_then(|status| status.next), None, "{task}: nothing is due");
        }
        // Well into the minute of the next slot, within the deadline of every one of them.
        assert!(now() < slot + MINUTE, "all were to be paused before the next slot");
        await_moment(slot + MINUTE + SignedDuration::from_secs(18)).await;
        for (task, _, by, _) in tasks {
            pause(place, task, by, false).await;
        }
        pause(place, "fresh", By::Spec, false).await;
        join_all(tasks.iter().map(|(task, ..)| until_told(place, task, slot, &[RAN, SUSPENDED, RAN], 90))).await;
        until_told(place, "fresh", slot, &[SUSPENDED, SUSPENDED, RAN], 10).await;
        for (task, _, by, kind) in tasks {
            let status = place.get::<AutomationTask>(task).await.status.expect("a status");
            assert_eq!(status.clock.map(|clock| clock.kind), Some(kind), "{task}");
            assert_eq!(status.not_run.len(), 1, "{task}: {:?}", status.not_run);
            assert_spec_is_the_users(place, task, if by == By::Spec { 3 } else { 1 }).await;
        }
        for (task, ..) in tasks.iter().filter(|(.., kind)| *kind == native) {
            let cron_job: CronJob = place.get(task).await;
            assert_eq!(cron_job.spec.and_then(|spec| spec.suspend), Some(false), "{task}");
        }
    })
    .await;
}

/// As Argo CD and Flux need it: the operator has written nothing but status.
async fn assert_spec_is_the_users(place: &Place, task: &str, generation: i64) {
    let task: AutomationTask = place.get(task).await;
    assert_eq!(task.metadata.generation, Some(generation), "the spec has changed as often as the user has changed it");
    let by_operator = task.managed_fields().iter().filter(|entry| entry.manager.as_deref() == Some("nightshift"));
    let written: Vec<String> = by_operator
        .flat_map(|entry| {
            let fields = serde_json::to_value(&entry.fields_v1).expect("JSON");
            fields.as_object().into_iter().flatten().map(|(field, _)| field.clone()).collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(written, ["f:status"]);
}

#[tokio::test]
async fn a_pause_by_hand_ends_at_its_time_and_one_that_is_no_time_is_refused() {
    story(async |place| {
        let slot = await_second(10..45).await + MINUTE;
        for (task, policy) in [("native", "Allow"), ("queued", "Queue")] {
            let spec = format!("{{command: ['true'], schedule: {{cron: ['* * * * *'], concurrencyPolicy: {policy}}}}}");
            place.armed_task(task, &spec).await;
            let until = (slot + SignedDuration::from_secs(20)).to_string();
            let annotations = json!({ label::PAUSED_UNTIL: until, label::PAUSE_REASON: "the partner moves" });
            place.change::<AutomationTask>(task, json!({ "metadata": { "annotations": annotations } })).await;
            let paused = place
                .task_seen(task, "to be paused", |task| {
                    let conditions = task.status.as_ref().map(|status| status.conditions.clone()).unwrap_or_default();
                    condition::find(&conditions, condition::SUSPENDED).is_some_and(|paused| paused.message.contains("the partner moves"))
                })
                .await;
            let conditions = paused.status.map(|status| status.conditions).unwrap_or_default();
            let paused = condition::find(&conditions, condition::SUSPENDED).expect("Suspended");
            assert_eq!((paused.status.as_str(), paused.reason.as_str()), ("True", "Paused"), "{}", paused.message);
            assert!(paused.message.contains(&until), "{}", paused.message);
        }
        place.task("wrong", "{schedule: {cron: ['0 0 1 1 *']}}").await;
        let annotations = json!({ label::PAUSED_UNTIL: "tomorrow" });
        place.change::<AutomationTask>("wrong", json!({ "metadata": { "annotations": annotations } })).await;
        let told = place
            .until("wrong", "to say that this is no time", 30, |task: &AutomationTask| {
                let conditions = task.status.as_ref().map(|status| status.conditions.clone()).unwrap_or_default();
                condition::find(&conditions, condition::READY).is_some_and(|ready| ready.status == "False")
            })
            .await;
        let message = crate::support::ready(&told).expect("Ready").2;
        assert!(message.contains(label::PAUSED_UNTIL) && message.contains("indefinite"), "{message}");
        // Nobody comes to end the others.
        for task in ["native", "queued"] {
            until_told(place, task, slot, &[SUSPENDED, RAN], 150).await;
            assert_spec_is_the_users(place, task, 1).await;
        }
    })
    .await;
}
