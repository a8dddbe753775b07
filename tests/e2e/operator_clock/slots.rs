//! The slots that the operator starts: what their runs are given, and which there are.

use jiff::tz::TimeZone;
use nightshift::api::{AutomationRun, AutomationTask, Outcome, Trigger};
use serde_json::json;

use crate::{
    support::{
        await_second,
        record::{MINUTE, RAN, told, until_told},
        status,
    },
    with_operator::place::story,
};

#[tokio::test]
async fn a_run_has_the_values_of_its_slot_and_its_key() {
    story(async |place| {
        let spec = r#"{
            parameters: [
              {name: DAY, fromSlot: "format(slot, '%Y-%m-%d %H:%M')"},
              {name: BEFORE, fromSlot: "format(previousSlot, '%H%M')"},
              {name: HOUR, fromSlot: 'slot.getHours()'},
              {name: MODE, default: usual}
            ],
            schedule: {cron: ['* * * * *'], timeZone: Asia/Kathmandu}
        }"#;
        let print = r#"printf '{"day": "%s", "before": "%s", "hour": "%s", "mode": "%s", "key": "%s", "at": "%s"}' "$DAY" "$BEFORE" "$HOUR" "$MODE" "$NIGHTSHIFT_IDEMPOTENCY_KEY" "$NIGHTSHIFT_SCHEDULED_TIME" > /dev/termination-log"#;
        let slot = await_second(0..50).await + MINUTE;
        place.script("import", print, spec).await;
        place.armed("import").await;
        until_told(place, "import", slot, &[RAN], 90).await;
        place.change::<AutomationTask>("import", json!({ "spec": { "schedule": { "suspend": true } } })).await;
        let name = format!("import-{}", slot.as_second() / 60);
        let run: AutomationRun = place.get(&name).await;
        assert_eq!((run.spec.trigger, run.spec.scheduled_time.map(|time| time.0)), (Some(Trigger::Schedule), Some(slot)));
        let told = place.finished(&name).await;
        assert_eq!(told.outcome, Some(Outcome::Succeeded));
        let local = slot.to_zoned(TimeZone::get("Asia/Kathmandu").expect("a zone"));
        let expected = json!({
            "day": local.strftime("%Y-%m-%d %H:%M").to_string(),
            "before": (local.clone() - MINUTE).strftime("%H%M").to_string(),
            "hour": local.hour().to_string(),
            "mode": "usual",
            "key": format!("{}/{name}", place.namespace),
            "at": slot.to_string(),
        });
        assert_eq!(told.outputs, Some(expected));
        assert_eq!(told.idempotency_key, Some(format!("{}/{name}", place.namespace)));
    })
    .await;
}

#[tokio::test]
async fn there_are_none_on_excluded_days_before_the_first_or_after_the_last() {
    story(async |place| {
        let slot = await_second(0..45).await + MINUTE;
        let day = |offset: i64| slot.to_zoned(TimeZone::UTC).date().checked_add(jiff::Span::new().days(offset)).expect("a day").to_string();
        for (name, schedule) in [
            ("free", "exclude: ['2000-01-01']".to_owned()),
            ("excluded", format!("exclude: ['{}', '{}']", day(0), day(1))),
            ("begins", format!("notBefore: '{}'", slot + MINUTE)),
            ("ends", format!("notAfter: '{slot}'")),
            // A minute that two lines name is one slot.
            ("shared", "concurrencyPolicy: Allow, cron: ['* * * * *', '*/1 * * * *']".to_owned()),
        ] {
            let cron = if schedule.contains("cron:") { "" } else { "cron: ['* * * * *'], " };
            place.armed_task(name, &format!("{{command: ['true'], schedule: {{{cron}{schedule}}}}}")).await;
        }
        until_told(place, "free", slot, &[RAN, RAN], 150).await;
        until_told(place, "shared", slot, &[RAN, RAN], 20).await;
        until_told(place, "begins", slot, &["nothing", RAN], 20).await;
        until_told(place, "ends", slot, &[RAN, "nothing"], 20).await;
        // All that is due at the same minute is started at once; what has not come by now does not come.
        await_second(20..59).await;
        assert_eq!(told(place, "excluded", slot, 2).await, ["nothing", "nothing"]);
        assert_eq!(told(place, "begins", slot, 2).await, ["nothing", RAN]);
        assert_eq!(told(place, "ends", slot, 2).await, [RAN, "nothing"]);
        assert_eq!(told(place, "shared", slot, 2).await, [RAN, RAN]);
        let ends = place.get::<AutomationTask>("ends").await.status.expect("a status");
        assert_eq!((ends.next, ends.not_run), (None, vec![]), "it is over, and misses nothing");
        for run in place.runs().await {
            assert_ne!(status(&run).outcome, Some(Outcome::Failed), "{run:?}");
        }
    })
    .await;
}
