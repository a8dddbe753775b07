//! Runs that wait for one another, and backfills, over an outage.

use k8s_openapi::api::batch::v1::Job;
use nightshift::api::{AutomationRun, Backfill, BackfillPhase, Outcome, Phase};
use serde_json::json;

use super::{outage::Outage, slots::has_ended};
use crate::{
    operator_clock::overlap::{UNTIL_TOLD, tell},
    support::{Scene, status},
};

/// A task whose slots lie in the past, and a backfill of three of them, one at a time, the first of which runs.
async fn begun(scene: &Scene) {
    let spec = json!({ "script": { "source": UNTIL_TOLD }, "schedule": { "cron": ["*/10 * 1 1 *"], "concurrencyPolicy": "Queue" } });
    scene.armed_task("import", &spec.to_string()).await;
    let range = json!({ "from": "2026-01-01T00:00:00Z", "to": "2026-01-01T00:20:00Z" });
    let backfill = json!({
        "apiVersion": "nightshift.dev/v1alpha1", "kind": "Backfill",
        "metadata": { "name": "go" }, "spec": { "taskRef": { "name": "import" }, "range": range },
    });
    scene.create::<Backfill>(&serde_json::from_value(backfill).expect("a backfill")).await;
    scene.pod_running(&format!("{}-1", SLOTS[0]), 60).await;
}

const SLOTS: [&str; 3] = ["go-bf-29453760", "go-bf-29453770", "go-bf-29453780"];

pub async fn backfill_resumes(scene: Scene, mut outage: Outage) {
    begun(&scene).await;
    outage.begins().await;
    tell(&scene, SLOTS[0]).await;
    scene.until::<Job, _>(&format!("{}-1", SLOTS[0]), "to end", 60, has_ended).await;
    assert_eq!(scene.runs().await.len(), 1, "nobody starts the next slot");
    outage.ends().await;
    for run in &SLOTS[1..] {
        tell(&scene, run).await;
    }
    let over = |backfill: &Backfill| backfill.status.as_ref().is_some_and(|status| status.phase == Some(BackfillPhase::Finished));
    let told = scene.until("go", "to finish", 90, over).await.status.expect("a status");
    assert_eq!((told.outcome, told.progress.as_deref(), told.succeeded), (Some(Outcome::Succeeded), Some("3/3"), 3));
    assert_eq!(scene.runs().await.len(), 3, "each slot once");
    assert_eq!(scene.ours::<Job>().await.len(), 3);
}

pub async fn rerun_waits(scene: Scene, mut outage: Outage) {
    begun(&scene).await;
    scene.change::<Backfill>("go", json!({ "spec": { "suspend": true } })).await;
    let rerun = |name: &str| {
        let spec = json!({ "taskRef": { "name": "import" }, "rerunOf": SLOTS[0] });
        let run = json!({ "apiVersion": "nightshift.dev/v1alpha1", "kind": "AutomationRun", "metadata": { "name": name }, "spec": spec });
        serde_json::from_value::<AutomationRun>(run).expect("a run")
    };
    scene.create(&rerun("before")).await;
    scene.until("before", "to be queued", 60, |run| status(run).phase == Some(Phase::Queued)).await;
    outage.begins().await;
    scene.create(&rerun("meanwhile")).await;
    tell(&scene, SLOTS[0]).await;
    scene.until::<Job, _>(&format!("{}-1", SLOTS[0]), "to end", 60, has_ended).await;
    assert_eq!(scene.ours::<Job>().await.len(), 1, "what waits goes on waiting");
    outage.ends().await;
    let mut ended = scene.finished(SLOTS[0], 60).await;
    for name in ["before", "meanwhile"] {
        tell(&scene, name).await;
        let run = scene.finished(name, 60).await;
        assert_eq!(status(&run).outcome, Some(Outcome::Succeeded), "{name}");
        assert!(status(&run).start_time >= status(&ended).completion_time, "{name} began beside another run of its slot");
        assert_eq!(status(&run).idempotency_key, status(&ended).idempotency_key, "{name}");
        ended = run;
    }
}
