//! A backfill on its way: paused, cancelled, beside other runs, of a task that is edited meanwhile.

use nightshift::api::{AutomationTask, Backfill, BackfillPhase, Outcome};
use serde_json::json;

use super::{PAST, backfill, finished, made, range, runs, seen, tally};
use crate::{
    operator_clock::overlap::{UNTIL_TOLD, tell},
    with_operator::place::{end, says, story},
};

const SLOTS: [&str; 3] = ["go-bf-29453760", "go-bf-29453770", "go-bf-29453780"];

#[tokio::test]
async fn a_pause_lets_what_runs_go_on_and_starts_nothing_more() {
    story(async |place| {
        place.script("import", UNTIL_TOLD, &format!("{PAST}}}")).await;
        place.armed("import").await;
        backfill(place, "go", "import", &format!("{{{}, concurrency: 2}}", range("00:00", "00:20"))).await;
        let begun = seen(place, "go", "to have two runs", |status| status.active.len() == 2).await;
        assert_eq!((begun.phase, begun.progress.as_deref()), (Some(BackfillPhase::Running), Some("0/3")));
        place.change::<Backfill>("go", json!({ "spec": { "suspend": true } })).await;
        let paused = seen(place, "go", "to be paused", |status| status.phase == Some(BackfillPhase::Paused)).await;
        says(paused.message.as_deref().unwrap_or_default(), &["suspend is set, nothing more is started"]);
        tell(place, SLOTS[0]).await;
        let one_less = seen(place, "go", "to have counted the end of a run", |status| status.succeeded == 1).await;
        assert_eq!((one_less.phase, one_less.active.len(), one_less.progress.as_deref()), (Some(BackfillPhase::Paused), 1, Some("1/3")));
        assert_eq!(made(place, "go").await.len(), 2);
        place.change::<Backfill>("go", json!({ "spec": { "suspend": false } })).await;
        seen(place, "go", "to go on", |status| status.active.len() == 2 && status.phase == Some(BackfillPhase::Running)).await;
        for run in &SLOTS[1..] {
            tell(place, run).await;
        }
        let told = finished(place, "go").await;
        assert_eq!((tally(&told), told.outcome), ((3, 0, 0, 3), Some(Outcome::Succeeded)));
        assert_eq!(runs(place, "go").await.len(), 3);
    })
    .await;
}

#[tokio::test]
async fn a_cancel_stops_what_runs_and_starts_nothing_more() {
    story(async |place| {
        place.script("import", "trap 'exit 143' TERM; sleep 600 & wait", &format!("{PAST}}}")).await;
        place.armed("import").await;
        backfill(place, "go", "import", &format!("{{{}, concurrency: 2}}", range("00:00", "03:00"))).await;
        for run in &SLOTS[..2] {
            place.running(run).await;
        }
        place.change::<Backfill>("go", json!({ "spec": { "cancel": true } })).await;
        let told = finished(place, "go").await;
        assert_eq!((told.outcome, told.total, told.active.len()), (Some(Outcome::Cancelled), 19, 0));
        for run in &SLOTS[..2] {
            assert_eq!(end(&place.finished(run).await), "Cancelled Cancelled: Stopped 143", "{run}");
        }
        assert_eq!(runs(place, "go").await.len(), 2);
        // One that has not begun, too.
        place.change::<AutomationTask>("import", json!({ "spec": { "schedule": null } })).await;
        place.armed("import").await;
        backfill(place, "never", "import", &format!("{{{}}}", range("00:00", "03:00"))).await;
        seen(place, "never", "to be told why it cannot begin", |status| !status.conditions.is_empty()).await;
        place.change::<Backfill>("never", json!({ "spec": { "cancel": true } })).await;
        assert_eq!(finished(place, "never").await.outcome, Some(Outcome::Cancelled));
    })
    .await;
}

#[tokio::test]
async fn a_slot_waits_for_another_run_of_it_to_end() {
    story(async |place| {
        place.script("import", UNTIL_TOLD, &format!("{PAST}}}")).await;
        place.armed("import").await;
        let one = "slots: ['2026-01-01T00:00:00Z'], select: All";
        backfill(place, "go", "import", &format!("{{{one}}}")).await;
        place.running(SLOTS[0]).await;
        backfill(place, "beside", "import", &format!("{{{one}}}")).await;
        let waiting = seen(place, "beside", "to wait", |status| status.message.as_ref().is_some_and(|text| text.contains("waits"))).await;
        says(waiting.message.as_deref().unwrap_or_default(), &["the slot of 2026-01-01T00:00:00Z waits for run go-bf-29453760"]);
        assert_eq!(runs(place, "beside").await.len(), 0);
        tell(place, SLOTS[0]).await;
        let first = place.finished(SLOTS[0]).await;
        tell(place, "beside-bf-29453760").await;
        assert_eq!(tally(&finished(place, "beside").await), (1, 0, 0, 1));
        let second = place.finished("beside-bf-29453760").await;
        assert!(second.start_time >= first.completion_time, "one after the other");
        assert_eq!(second.idempotency_key, first.idempotency_key);
    })
    .await;
}

#[tokio::test]
async fn its_runs_are_of_the_task_as_it_was_when_it_began() {
    story(async |place| {
        let source = format!("printf '{{\"version\": \"%s\"}}' $VERSION > /dev/termination-log; {UNTIL_TOLD}");
        place.script("import", &source, &format!("{PAST}, env: [{{name: VERSION, value: '1'}}]}}")).await;
        let before = place.armed("import").await.status.expect("a status");
        backfill(place, "go", "import", &format!("{{{}}}", range("00:00", "00:20"))).await;
        place.running(SLOTS[0]).await;
        // Neither what runs, nor which slots there are.
        let edit = json!({ "spec": { "env": [{ "name": "VERSION", "value": "2" }], "schedule": { "cron": ["0 0 1 2 *"] } } });
        place.change::<AutomationTask>("import", edit).await;
        place.armed("import").await;
        for run in SLOTS {
            tell(place, run).await;
            let told = place.finished(run).await;
            assert_eq!(told.outputs, Some(json!({ "version": "1" })), "{run}");
            assert_eq!(told.revision, before.revision, "{run}");
        }
        let told = finished(place, "go").await;
        assert_eq!((tally(&told), told.outcome), ((3, 0, 0, 3), Some(Outcome::Succeeded)));
        assert_eq!(told.revision, before.revision);
    })
    .await;
}
