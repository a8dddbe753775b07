//! An objective while the operator is down: what ran meanwhile is counted once, and before it is deleted.

use nightshift::api::{AutomationTask, Phase};
use serde_json::json;

use super::outage::Outage;
use crate::support::Scene;

pub async fn is_counted(scene: Scene, mut outage: Outage) {
    let spec = "{command: ['false'], schedule: {cron: ['* * * * *']}, slo: {objective: '50%', windowRuns: 100}, history: {succeeded: 0, failed: 1}}";
    scene.armed_task("minutely", spec).await;
    outage.begins().await;
    scene.job_that("the slot has come", 150, |job| job.metadata.name == Some(format!("minutely-{}", outage.slot.as_second() / 60))).await;
    outage.ends().await;
    let slot = outage.slot;
    let counted = move |task: &AutomationTask| {
        let slo = task.status.as_ref().and_then(|status| status.slo.as_ref());
        slo.is_some_and(|slo| slo.folded_through.as_ref().is_some_and(|through| through.0 > slot))
    };
    let task: AutomationTask = scene.until("minutely", "to have counted what came after", 150, counted).await;
    scene.change::<AutomationTask>("minutely", json!({ "spec": { "schedule": { "suspend": true } } })).await;
    let slo = task.status.and_then(|status| status.slo).expect("it stands somehow");
    let (since, through) = (slo.since.clone().expect("a slot").0, slo.folded_through.clone().expect("a slot").0);
    assert!(since <= slot, "{slo:?}");
    assert_eq!((slo.good, slo.bad), (0, through.duration_since(since).as_secs() / 60 + 1), "each minute is counted once: {slo:?}");
    let finished = |run: &nightshift::api::AutomationRun| run.status.as_ref().is_some_and(|s| s.phase == Some(Phase::Finished));
    crate::support::eventually("one run is kept", std::time::Duration::from_secs(60), async || {
        let kept = scene.runs().await.iter().filter(|run| finished(run)).count();
        if kept <= 1 { Ok(()) } else { Err(format!("{kept} runs")) }
    })
    .await;
}
