//! What a CronJob cannot keep the operator keeps itself: `status.clock` says why, and what would bring the CronJob back.

use k8s_openapi::api::batch::v1::CronJob;
use nightshift::api::{AutomationTask, ClockKind};
use serde_json::json;

use super::in_a_scene;

#[tokio::test]
async fn is_the_operators_where_runs_that_the_cron_job_does_not_see_can_reach_the_next_slot() {
    in_a_scene(async |scene| {
        let cases = [
            ("back-off", "{schedule: {cron: ['*/5 * * * *']}, retry: {limit: 3, backoff: {initialSeconds: 600}}}", "retry.backoff"),
            ("on-timeout", "{schedule: {cron: ['@hourly']}, retry: {limit: 1, onTimeout: false}}", "retry.onTimeout: false"),
            ("two-lines", "{schedule: {cron: ['0 2 * * *', '30 2 * * *'], concurrencyPolicy: Replace}}", "several cron lines"),
            (
                "same-slot",
                "{schedule: {cron: ['0 2 * * *', '0 2 * * 1'], concurrencyPolicy: Allow}}",
                "schedule.cron[0] and schedule.cron[1]",
            ),
            ("holidays", "{schedule: {cron: ['0 2 * * *'], exclude: ['2026-12-25']}}", "schedule.exclude"),
            ("queue", "{schedule: {cron: ['0 2 * * *'], concurrencyPolicy: Queue}}", "schedule.concurrencyPolicy Queue"),
        ];
        for (name, spec, _) in cases {
            scene.task(name, spec).await;
        }
        for (name, spec, what) in cases {
            let clock = scene.armed(name).await.status.and_then(|status| status.clock).expect("a clock");
            assert_eq!(clock.kind, ClockKind::Operator, "{spec}");
            assert!(clock.reason.contains(what), "{spec}: {}", clock.reason);
            assert!(clock.reason.contains("while the operator is down no slot starts"), "{spec}: {}", clock.reason);
            assert!(scene.find::<CronJob>(name).await.is_none(), "{spec}: it has no CronJob");
        }
        // The message names two ways back.
        scene.change::<AutomationTask>("back-off", json!({ "spec": { "schedule": { "concurrencyPolicy": "Allow" } } })).await;
        scene.change::<AutomationTask>("two-lines", json!({ "spec": { "timeouts": { "attemptSeconds": 600, "runSeconds": 1200 } } })).await;
        for name in ["back-off", "two-lines"] {
            // The operator keeps the slots until the CronJobs are there.
            let handed_over = scene.until(name, "to be kept by Kubernetes", 60, |task: &AutomationTask| {
                let clock = task.status.as_ref().and_then(|status| status.clock.as_ref());
                clock.is_some_and(|clock| clock.kind == ClockKind::CronJob && clock.reason.contains("kept by Kubernetes"))
            });
            handed_over.await;
        }
        assert_eq!(scene.cron_jobs().await.len(), 3);
    })
    .await;
}
