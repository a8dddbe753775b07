//! A slot that is due while the run of an earlier one goes on, where the operator is the clock.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use nightshift::api::{AutomationRun, AutomationTask, Outcome, Phase};
use serde_json::json;

use crate::{
    support::{
        Scene, await_second, eventually, kubectl_ok,
        record::{MINUTE, RAN, slot_of, until_told},
        status,
    },
    with_operator::place::{Place, says, story},
};

/// Goes on until it is told to end.
pub const UNTIL_TOLD: &str = "while ! test -e /tmp/stop; do sleep 0.3; done";

/// The run of the slot.
fn run_of(task: &str, slot: Timestamp) -> String {
    format!("{task}-{}", slot.as_second() / 60)
}

/// Tells the run's container to end.
pub async fn tell(scene: &Scene, run: &str) {
    let pod = scene.pod_running(&format!("{run}-1"), 90).await;
    kubectl_ok(&["--namespace", &scene.namespace, "exec", &pod.name_any(), "--container", "main", "--", "touch", "/tmp/stop"], None).await;
}

async fn suspend(place: &Place, task: &str) {
    place.change::<AutomationTask>(task, json!({ "spec": { "schedule": { "suspend": true } } })).await;
}

fn start(run: &AutomationRun) -> Timestamp {
    status(run).start_time.expect("it has started").0
}

fn end(run: &AutomationRun) -> Timestamp {
    status(run).completion_time.expect("it has ended").0
}

#[tokio::test]
async fn waits_for_its_turn_under_queue_and_says_for_whom() {
    story(async |place| {
        let slot = await_second(20..50).await + MINUTE;
        place.script("import", UNTIL_TOLD, "{schedule: {cron: ['* * * * *'], concurrencyPolicy: Queue}}").await;
        place.armed("import").await;
        let [first, second] = [slot, slot + MINUTE].map(|slot| run_of("import", slot));
        let queued = place.until(&second, "to be queued", 150, |run: &AutomationRun| status(run).phase == Some(Phase::Queued)).await;
        let waiting = status(&queued).waiting_on.expect("it says what it waits on");
        assert_eq!(waiting.reason, "Queued");
        says(&waiting.message, &[&first]);
        suspend(place, "import").await;
        assert!(place.jobs(&second).await.is_empty(), "a run that is queued has no Job");
        tell(place, &first).await;
        let ended = place.until(&first, "to end", 60, |run: &AutomationRun| status(run).phase == Some(Phase::Finished)).await;
        // A pause stops new slots, and not those that are in the queue.
        tell(place, &second).await;
        let followed = place.until(&second, "to end", 60, |run: &AutomationRun| status(run).phase == Some(Phase::Finished)).await;
        assert_eq!(status(&followed).outcome, Some(Outcome::Succeeded));
        assert!(start(&followed) >= end(&ended), "{} began before {} ended", start(&followed), end(&ended));
        until_told(place, "import", slot, &[RAN, RAN], 10).await;
    })
    .await;
}

#[tokio::test]
async fn is_skipped_under_forbid_where_attempts_go_on_that_a_cron_job_would_not_see() {
    story(async |place| {
        let slot = await_second(20..50).await + MINUTE;
        // The first attempt fails at once, the second is due only after the next slot and its deadline.
        let spec = "{schedule: {cron: ['* * * * *'], startingDeadlineSeconds: 10}, retry: {limit: 1, backoff: {initialSeconds: 72}}}";
        place.script("import", "test $NIGHTSHIFT_RETRY -gt 0", spec).await;
        place.armed("import").await;
        until_told(place, "import", slot, &[RAN, "Skipped(Forbid)"], 150).await;
        let run = run_of("import", slot);
        let between = status(&place.get::<AutomationRun>(&run).await);
        assert_eq!((between.phase, between.waiting_on.map(|on| on.reason)), (Some(Phase::Running), Some("Backoff".to_owned())));
        let ended = place.until(&run, "to end", 90, |run: &AutomationRun| status(run).phase == Some(Phase::Finished)).await;
        assert_eq!(status(&ended).outcome, Some(Outcome::Succeeded));
        assert_eq!(place.jobs(&run).await.len(), 2, "a Job for each attempt");
        suspend(place, "import").await;
    })
    .await;
}

#[tokio::test]
async fn takes_the_place_of_the_earlier_run_under_replace_once_that_has_ended() {
    story(async |place| {
        let slot = await_second(20..50).await + MINUTE;
        // It takes its time to stop. Two lines that between them name every minute.
        let source = "trap 'sleep 4; exit 9' TERM; sleep 600 & wait";
        let spec = "{schedule: {cron: ['*/2 * * * *', '1-59/2 * * * *'], concurrencyPolicy: Replace}, template: {spec: {terminationGracePeriodSeconds: 20}}}";
        place.script("import", source, spec).await;
        place.armed("import").await;
        let runs = eventually("two slots have come", std::time::Duration::from_secs(150), async || {
            let runs = place.runs().await;
            if runs.len() == 2 { Ok(runs) } else { Err(format!("{} runs", runs.len())) }
        })
        .await;
        assert_eq!(runs.iter().map(slot_of).collect::<Vec<_>>(), [slot, slot + MINUTE]);
        let [first, second] = [runs[0].name_any(), runs[1].name_any()];
        let replaced = place.until(&first, "to end", 60, |run: &AutomationRun| status(run).phase == Some(Phase::Finished)).await;
        let told = status(&replaced);
        assert_eq!((told.outcome, told.reason.as_deref()), (Some(Outcome::Cancelled), Some("Replaced")), "{told:?}");
        assert_eq!(told.attempts.first().and_then(|attempt| attempt.exit_code), Some(9), "it was let finish: {told:?}");
        let running = place.until(&second, "to run", 60, |run: &AutomationRun| status(run).phase == Some(Phase::Running)).await;
        assert!(start(&running) >= end(&replaced), "{} began before {} ended", start(&running), end(&replaced));
        suspend(place, "import").await;
        place.cancel(&second).await;
        place.finished(&second).await;
        until_told(place, "import", slot, &[RAN, RAN], 10).await;
        let pods: Vec<Pod> = place.ours().await;
        assert_eq!(pods.len(), 2, "each has had one pod");
        assert!(end(&replaced) >= slot + MINUTE, "not before the later slot was due");
    })
    .await;
}
