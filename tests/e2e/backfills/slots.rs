//! Which slots a backfill runs, in which order, and what their runs are given.

use nightshift::api::{AutomationRun, BackfillPhase, Outcome, Trigger};
use serde_json::json;

use super::{PAST, backfill, finished, made, minutes, range, runs, seen, tally};
use crate::with_operator::place::{end, says, story};

#[tokio::test]
async fn a_range_runs_its_slots_in_order_each_with_its_values_and_the_key_of_the_slot() {
    story(async |place| {
        let tell = r#"printf '{"key": "%s", "at": "%s", "day": "%s", "mode": "%s"}' "$NIGHTSHIFT_IDEMPOTENCY_KEY" "$NIGHTSHIFT_SCHEDULED_TIME" "$DAY" "$MODE" > /dev/termination-log"#;
        let parameters = "parameters: [{name: DAY, fromSlot: \"format(slot, '%F %H:%M')\"}, {name: MODE, default: usual}]";
        place.script("import", tell, &format!("{PAST}, {parameters}}}")).await;
        place.armed("import").await;
        // Both ends belong to it, and are slots.
        let of = |more: &str| format!("{{{}, {more}}}", range("00:10", "00:30"));
        backfill(place, "forward", "import", &of("parameters: [{name: MODE, value: full}]")).await;
        let told = finished(place, "forward").await;
        assert_eq!((tally(&told), told.progress.as_deref(), told.outcome), ((3, 0, 0, 3), Some("3/3"), Some(Outcome::Succeeded)));
        assert_eq!(made(place, "forward").await, [10, 20, 30]);
        let forward = runs(place, "forward").await;
        for run in &forward {
            let slot = run.spec.scheduled_time.as_ref().expect("a slot").0;
            assert_eq!(run.spec.trigger, Some(Trigger::Backfill));
            let key = format!("{}/import-{}", place.namespace, slot.as_second() / 60);
            let day = format!("2026-01-01 00:{}", minutes(slot));
            let status = run.status.clone().expect("a status");
            assert_eq!(end(&status), "Succeeded Completed: Success 0");
            assert_eq!(status.outputs, Some(json!({ "key": key, "at": slot.to_string(), "day": day, "mode": "full" })));
        }
        // One after the other.
        for two in forward.windows(2) {
            let [first, second] = two else { unreachable!() };
            let (first, second) = (first.status.clone().expect("a status"), second.status.clone().expect("a status"));
            assert!(second.start_time >= first.completion_time, "{second:?}");
        }

        backfill(place, "back", "import", &of("order: NewestFirst, select: All")).await;
        let told = finished(place, "back").await;
        assert_eq!(tally(&told), (3, 0, 0, 3));
        assert_eq!(made(place, "back").await, [30, 20, 10]);
        assert_eq!(told.decided_through.map(|slot| minutes(slot.0)), Some(10));

        // Slots may be listed in any order and zone.
        let listed = "{slots: ['2026-01-01T02:30:00+01:00', '2026-01-01T00:50:00Z'], concurrency: 2}";
        backfill(place, "listed", "import", listed).await;
        assert_eq!(tally(&finished(place, "listed").await), (2, 0, 0, 2));
        let mut slots = made(place, "listed").await;
        slots.sort_unstable();
        assert_eq!(slots, [50, 90]);
    })
    .await;
}

#[tokio::test]
async fn a_range_without_slots_ends_at_once_and_says_so() {
    story(async |place| {
        place.script("import", "exit 0", &format!("{PAST}}}")).await;
        place.armed("import").await;
        backfill(place, "empty", "import", "{range: {from: '2026-02-01T00:00:00Z', to: '2026-03-01T00:00:00Z'}}").await;
        let told = finished(place, "empty").await;
        assert_eq!((tally(&told), told.outcome), ((0, 0, 0, 0), Some(Outcome::Succeeded)));
        says(told.message.as_deref().unwrap_or_default(), &["no slot in this range"]);
        assert_eq!(place.all::<AutomationRun>().await.len(), 0);
    })
    .await;
}

#[tokio::test]
async fn a_dry_run_lists_what_would_run_until_it_is_let_begin() {
    story(async |place| {
        place.script("import", "exit 0", &format!("{PAST}}}")).await;
        place.armed("import").await;
        backfill(place, "first", "import", "{slots: ['2026-01-01T00:20:00Z']}").await;
        finished(place, "first").await;
        backfill(place, "plan", "import", &format!("{{{}, dryRun: true, order: NewestFirst}}", range("00:05", "00:45"))).await;
        let planned = seen(place, "plan", "to be planned", |status| status.phase == Some(BackfillPhase::DryRun)).await;
        let slots: Vec<i64> = planned.planned.iter().map(|slot| minutes(slot.0)).collect();
        assert_eq!((slots.as_slice(), planned.planned_count, planned.total), (&[40, 30, 10][..], Some(3), 4));
        says(planned.message.as_deref().unwrap_or_default(), &["would run 3 of 4 slots", "set dryRun to false to begin"]);
        assert_eq!(runs(place, "plan").await.len(), 0);
        place.change::<nightshift::api::Backfill>("plan", json!({ "spec": { "dryRun": false, "concurrency": 3 } })).await;
        let told = finished(place, "plan").await;
        assert_eq!((tally(&told), told.outcome), ((3, 0, 1, 4), Some(Outcome::Succeeded)));
        assert_eq!(runs(place, "plan").await.len(), 3);
    })
    .await;
}
