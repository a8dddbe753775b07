//! Schedules and templates that the API server takes and that cannot be kept: shown on `Ready`, with the field and the fix.

use k8s_openapi::api::batch::v1::{CronJob, Job};
use kube::ResourceExt;
use nightshift::api::{AutomationTask, condition};
use serde_json::json;

use super::place::{Place, end, message, says, story};
use crate::support::ready;

/// Asserts what `Ready` says, and that `Stalled` says the same to those who look for what needs a human.
async fn refused(place: &Place, task: &str, reason: &str, parts: &[&str]) {
    let seen = place.ready(task, "False", reason).await;
    let (_, _, message) = ready(&seen).expect("Ready is told");
    says(&message, parts);
    let status = seen.status.clone().expect("a status");
    let stalled = condition::find(&status.conditions, condition::STALLED).expect("Stalled is told");
    assert_eq!((stalled.status.as_str(), stalled.message.as_str()), ("True", message.as_str()));
    says(&place.events(task, reason).await.join("\n"), &[&format!("Warning {reason}")]);
}

#[tokio::test]
async fn a_line_that_names_no_slot_is_refused_with_field_and_fix() {
    story(async |place| {
        let rows: [(&str, &str, &[&str]); 4] = [
            ("backwards", "5-1 * * * *", &["schedule.cron[0] \"5-1 * * * *\"", "minute \"5-1\""]),
            ("no-such-day", "0 2 30 2 *", &["schedule.cron[0] \"0 2 30 2 *\"", "names no day that exists"]),
            ("hash-range", "H(50-99) * * * *", &["schedule.cron[0] \"H(50-99) * * * *\"", "minute \"H(50-99)\"", "59"]),
            ("hash-backwards", "H(20-10) * * * *", &["schedule.cron[0] \"H(20-10) * * * *\"", "minute \"H(20-10)\""]),
        ];
        for (task, line, _) in rows {
            place.script(task, "exit 0", &json!({ "schedule": { "cron": [line] } }).to_string()).await;
        }
        for (task, _, parts) in rows {
            refused(place, task, "InvalidSchedule", parts).await;
        }
        assert_eq!(place.cron_jobs().await.len(), 0);
        // It can be run on demand all the same.
        place.run("now", "backwards").await;
        assert_eq!(end(&place.finished("now").await), "Succeeded Completed: Success 0");
    })
    .await;
}

#[tokio::test]
async fn an_edit_that_cannot_be_kept_leaves_the_accepted_schedule_going() {
    story(async |place| {
        place.script("nightly", "exit 0", "{schedule: {cron: ['30 2 * * *']}}").await;
        place.armed("nightly").await;
        let before = place.get::<CronJob>("nightly").await;
        place.change::<AutomationTask>("nightly", json!({ "spec": { "schedule": { "cron": ["5-1 2 * * *"] } } })).await;
        refused(place, "nightly", "InvalidSchedule", &["schedule.cron[0]", "Until then the schedule accepted before goes on"]).await;
        let after = place.get::<CronJob>("nightly").await;
        assert_eq!((before.uid(), before.spec), (after.uid(), after.spec), "the CronJob is as it was");
        place.change::<AutomationTask>("nightly", json!({ "spec": { "schedule": { "cron": ["45 2 * * *"] } } })).await;
        place.armed("nightly").await;
        assert_eq!(place.get::<CronJob>("nightly").await.spec.expect("a spec").schedule, "45 2 * * *");
    })
    .await;
}

#[tokio::test]
async fn a_template_that_no_pod_can_have_is_refused_and_so_are_its_runs() {
    story(async |place| {
        let with = |main: &str| {
            let template = format!("template: {{spec: {{containers: [{{name: main, {main}}}]}}}}");
            format!("{{schedule: {{cron: ['0 0 1 1 *']}}, timeouts: {{pendingSeconds: 20}}, {template}}}")
        };
        place.script("no-volume", "exit 0", &with("volumeMounts: [{name: data, mountPath: /data}]")).await;
        place.script("own-name", "exit 0", &with("env: [{name: NIGHTSHIFT_RUN, value: mine}]")).await;
        let mount = "spec.template.spec.containers[0].volumeMounts[0].name: Not found: \"data\"";
        let variable = "template.spec.containers[0].env: NIGHTSHIFT_RUN is given by Nightshift; use another name";
        refused(place, "no-volume", "Refused", &["the API server refuses CronJob no-volume", "is invalid", mount]).await;
        refused(place, "own-name", "InvalidTemplate", &[variable]).await;
        assert_eq!(place.cron_jobs().await.len(), 0);

        place.run("no-volume-1", "no-volume").await;
        let waiting = place.waiting("no-volume-1", "Refused").await;
        says(message(&waiting), &["the API server refuses it", "is invalid", mount]);
        assert!(waiting.waiting_on.is_some_and(|on| on.until.is_some()), "it says until when");
        place.run("own-name-1", "own-name").await;
        let status = place.finished("own-name-1").await;
        assert_eq!(end(&status), "Failed TaskInvalid: ");
        says(message(&status), &["task own-name", variable]);
        let status = place.finished("no-volume-1").await;
        assert_eq!(end(&status), "TimedOut Refused: ");
        says(message(&status), &["could not start within timeouts.pendingSeconds (20 s)", mount]);
        assert_eq!(place.ours::<Job>().await.len(), 0);
    })
    .await;
}
