//! Which clock starts a task, and that it says why.

use k8s_openapi::api::batch::v1::CronJob;
use nightshift::api::{AutomationTask, ClockKind};
use serde_json::json;

use crate::{
    support::{Scene, ready},
    with_operator::place::{says, story},
};

/// The clock that a task says it has, once it speaks of its spec as it is, and why.
async fn clock(scene: &Scene, task: &str) -> (ClockKind, String) {
    let clock = scene.armed(task).await.status.and_then(|status| status.clock).expect("a clock");
    (clock.kind, clock.reason)
}

#[tokio::test]
async fn what_no_cron_job_can_say_is_kept_by_the_operator_and_the_task_says_why() {
    story(async |place| {
        let cases = [
            ("queue", "{schedule: {cron: ['0 2 1 1 *'], concurrencyPolicy: Queue}}", "schedule.concurrencyPolicy Queue"),
            ("exclude", "{schedule: {cron: ['0 2 1 1 *'], exclude: ['2030-12-25']}}", "schedule.exclude"),
            ("not-before", "{schedule: {cron: ['0 2 1 1 *'], notBefore: '2026-01-01T00:00:00Z'}}", "schedule.notBefore"),
            ("not-after", "{schedule: {cron: ['0 2 1 1 *'], notAfter: '2099-01-01T00:00:00Z'}}", "schedule.notAfter"),
            ("gap", "{schedule: {cron: ['0 2 1 1 *'], daylightSaving: {gap: RunAfter}}}", "schedule.daylightSaving.gap RunAfter"),
            ("overlap", "{schedule: {cron: ['0 2 1 1 *'], daylightSaving: {overlap: Last}}}", "schedule.daylightSaving.overlap Last"),
            (
                "catch-up",
                "{schedule: {cron: ['0 2 1 1 *'], concurrencyPolicy: Allow, catchUp: {policy: All}}}",
                "schedule.catchUp.policy All",
            ),
            (
                "from-slot",
                "{schedule: {cron: ['0 2 1 1 *']}, parameters: [{name: DAY, fromSlot: \"format(slot, '%F')\"}]}",
                "parameters[0].fromSlot",
            ),
            ("back-off", "{schedule: {cron: ['*/5 2 1 1 *']}, retry: {limit: 3, backoff: {initialSeconds: 600}}}", "retry.backoff"),
            ("on-timeout", "{schedule: {cron: ['0 * 1 1 *']}, retry: {limit: 1, onTimeout: false}}", "retry.onTimeout: false"),
            ("lines", "{schedule: {cron: ['0 2 1 1 *', '30 2 1 1 *'], concurrencyPolicy: Replace}}", "several cron lines"),
            ("shared", "{schedule: {cron: ['0 2 1 1 *', '0 2 * 1 *'], concurrencyPolicy: Allow}}", "share slots"),
        ];
        for (name, spec, _) in cases {
            place.task(name, spec).await;
        }
        for (name, spec, why) in cases {
            let (kind, reason) = clock(place, name).await;
            assert_eq!(kind, ClockKind::Operator, "{spec}: {reason}");
            says(&reason, &[why, "kept by the operator", "while the operator is down no slot starts"]);
        }
        assert_eq!(place.cron_jobs().await.len(), 0, "no CronJob beside the operator");
    })
    .await;
}

#[tokio::test]
async fn what_a_cron_job_can_say_is_kubernetes_and_the_way_there_is_told() {
    story(async |place| {
        for (name, spec) in [
            ("latest", "{schedule: {cron: ['0 2 1 1 *'], catchUp: {policy: Latest}}}"),
            ("skip", "{schedule: {cron: ['0 2 1 1 *'], daylightSaving: {gap: Skip, overlap: Both}}}"),
            (
                "short",
                "{schedule: {cron: ['0 2 1 1 *']}, retry: {limit: 3, backoff: {initialSeconds: 10}}, timeouts: {attemptSeconds: 60}}",
            ),
        ] {
            place.task(name, spec).await;
            let (kind, reason) = clock(place, name).await;
            assert_eq!(kind, ClockKind::CronJob, "{spec}: {reason}");
            says(&reason, &["kept by Kubernetes, also while the operator is down"]);
            place.get::<CronJob>(name).await;
        }
        place.task("by-hand", "{}").await;
        assert_eq!(clock(place, "by-hand").await.0, ClockKind::None);

        // The two ways out that the reason names do help.
        place.task("often", "{schedule: {cron: ['*/5 2 1 1 *']}, retry: {limit: 3, backoff: {initialSeconds: 60}}}").await;
        let (kind, reason) = clock(place, "often").await;
        assert_eq!(kind, ClockKind::Operator);
        says(&reason, &["slots can be 300 s apart", "lower timeouts.runSeconds below 239", "or use concurrencyPolicy Allow"]);
        place.change::<AutomationTask>("often", json!({ "spec": { "timeouts": { "attemptSeconds": 60, "runSeconds": 238 } } })).await;
        place.until("often", "to be native", 30, is_native).await;
        let long = json!({ "spec": { "timeouts": null, "schedule": { "concurrencyPolicy": "Allow" } } });
        place.change::<AutomationTask>("often", long).await;
        place.armed("often").await;
        place.until("often", "to be native", 30, is_native).await;
        place.get::<CronJob>("often").await;
    })
    .await;
}

fn is_native(task: &AutomationTask) -> bool {
    let clock = task.status.as_ref().and_then(|status| status.clock.as_ref());
    clock.is_some_and(|clock| clock.kind == ClockKind::CronJob && !clock.reason.starts_with("until"))
}

#[tokio::test]
async fn the_next_slot_is_the_one_that_the_calendar_leaves() {
    story(async |place| {
        for (name, schedule, next) in [
            ("excluded", "cron: ['0 2 1 1 *'], exclude: ['2027-01-01', '2028-01-01'], timeZone: Europe/Berlin", "2029-01-01T01:00:00Z"),
            ("begins", "cron: ['30 2 * * *'], notBefore: '2031-05-05T03:00:00Z'", "2031-05-06T02:30:00Z"),
            // In the night of 28 March 2027 there is no half past two in Berlin: the clocks jump from two to three.
            (
                "gap",
                "cron: ['30 2 * 3 *'], timeZone: Europe/Berlin, notBefore: '2027-03-28T00:00:00Z', daylightSaving: {gap: RunAfter}",
                "2027-03-28T01:00:00Z",
            ),
            (
                "no-gap",
                "cron: ['30 2 * 3 *'], timeZone: Europe/Berlin, notBefore: '2027-03-28T00:00:00Z', daylightSaving: {gap: Skip}",
                "2027-03-29T00:30:00Z",
            ),
            // In that of 31 October 2027 there are two.
            (
                "first",
                "cron: ['30 2 * 10 *'], timeZone: Europe/Berlin, notBefore: '2027-10-30T22:00:00Z', daylightSaving: {overlap: First}",
                "2027-10-31T00:30:00Z",
            ),
            (
                "last",
                "cron: ['30 2 * 10 *'], timeZone: Europe/Berlin, notBefore: '2027-10-30T22:00:00Z', daylightSaving: {overlap: Last}",
                "2027-10-31T01:30:00Z",
            ),
        ] {
            place.task(name, &format!("{{schedule: {{{schedule}}}}}")).await;
            let status = place.armed(name).await.status.expect("a status");
            let due = status.next_schedule_time.map(|time| time.0.to_string());
            assert_eq!(due.as_deref(), Some(next), "{schedule}: {:?}", status.next);
        }
        place.task("over", "{schedule: {cron: ['30 2 * * *'], notAfter: '2026-01-01T00:00:00Z'}}").await;
        let over = place.armed("over").await;
        assert_eq!(over.status.as_ref().and_then(|status| status.next_schedule_time.clone()), None);
        says(&ready(&over).expect("Ready").2, &["no slot is due"]);
    })
    .await;
}

#[tokio::test]
async fn an_expression_that_has_no_value_is_refused_with_its_place() {
    story(async |place| {
        for (name, expression, what) in [
            ("syntax", "format(slot, ", "is not a CEL expression"),
            ("unknown", "format(now, '%F')", "now"),
            ("letters", "format(slot, '%F %')", "invalid format string"),
        ] {
            let parameters = json!([{ "name": "OTHER" }, { "name": "DAY", "fromSlot": expression }]);
            place.task(name, &json!({ "schedule": { "cron": ["0 2 1 1 *"] }, "parameters": parameters }).to_string()).await;
            let task = place.ready(name, "False", "InvalidParameters").await;
            says(&ready(&task).expect("Ready").2, &["parameters[1].fromSlot", what]);
        }
    })
    .await;
}
