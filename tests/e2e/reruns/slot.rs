//! What a rerun keeps of the run that it repeats: slot, idempotency key, parameters.

use nightshift::api::{AutomationRun, AutomationTask, Outcome, RunResult, Trigger};
use serde_json::json;

use super::{TELLS, backfilled, past, rerun, rerun_object};
use crate::{
    support::{
        await_second,
        record::{MINUTE, RAN, until_told},
    },
    with_operator::place::{end, message, says, story},
};

#[tokio::test]
async fn a_rerun_keeps_slot_key_and_parameters_unless_it_brings_others_and_so_do_reruns_of_it() {
    story(async |place| {
        place.script("import", TELLS, &past("{}")).await;
        place.armed("import").await;
        let original = backfilled(place, "import", "2026-01-01T02:30:00Z").await;
        let key = format!("{}/import-{}", place.namespace, 29_453_910);
        let outputs =
            |mode: &str| json!({ "key": key, "at": "2026-01-01T02:30:00Z", "day": "2026-01-01 02:30", "mode": mode, "version": "1" });
        let first = place.finished(&original).await;
        assert_eq!((first.outputs.clone(), first.idempotency_key.as_deref()), (Some(outputs("usual")), Some(key.as_str())));

        rerun(place, "same", "import", &original, "{}").await;
        rerun(place, "other", "import", &original, "{parameters: [{name: MODE, value: full}]}").await;
        // Before anybody has looked at the run that it repeats.
        rerun(place, "again", "import", "other", "{}").await;
        rerun(place, "day", "import", "again", "{parameters: [{name: DAY, value: none}]}").await;
        let chains: [(&str, &[&str], serde_json::Value); 4] = [
            ("same", &[&original], outputs("usual")),
            ("other", &[&original], outputs("full")),
            ("again", &[&original, "other"], outputs("full")),
            ("day", &[&original, "other", "again"], {
                let mut other = outputs("full");
                other["day"] = "none".into();
                other
            }),
        ];
        for (name, chain, outputs) in chains {
            let told = place.finished(name).await;
            assert_eq!(end(&told), "Succeeded Completed: Success 0", "{name}");
            assert_eq!(told.rerun_chain, chain, "{name}");
            assert_eq!(told.outputs, Some(outputs), "{name}");
            assert_eq!(told.idempotency_key.as_deref(), Some(key.as_str()), "{name}");
            assert_eq!(told.slot.map(|slot| slot.0.to_string()).as_deref(), Some("2026-01-01T02:30:00Z"), "{name}");
            let run: AutomationRun = place.get(name).await;
            assert_eq!((run.spec.triggered_by(), run.spec.scheduled_time), (Trigger::Rerun, None), "{name}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_failed_run_of_kubernetes_clock_is_run_again_with_its_key() {
    story(async |place| {
        let source = r#"printf '{"key": "%s"}' "$NIGHTSHIFT_IDEMPOTENCY_KEY" > /dev/termination-log; exit $CODE"#;
        let spec = "{schedule: {cron: ['* * * * *'], concurrencyPolicy: Allow}, parameters: [{name: CODE, default: '4'}]}";
        let slot = await_second(0..50).await + MINUTE;
        place.script("import", source, spec).await;
        place.armed("import").await;
        until_told(place, "import", slot, &[RAN], 90).await;
        place.change::<AutomationTask>("import", json!({ "spec": { "schedule": { "suspend": true } } })).await;
        let name = format!("import-{}", slot.as_second() / 60);
        let failed = place.finished(&name).await;
        assert_eq!(end(&failed), "Failed ExitCodeOtherwise: Retryable 4");
        assert!(failed.outputs.is_some(), "{failed:?}");
        rerun(place, "mended", "import", &name, "{parameters: [{name: CODE, value: '0'}]}").await;
        let mended = place.finished("mended").await;
        assert_eq!((mended.outcome, mended.result), (Some(Outcome::Succeeded), Some(RunResult::Good)));
        assert_eq!(mended.outputs, failed.outputs, "the key is that of the slot");
        assert_eq!((mended.slot.map(|time| time.0), mended.rerun_chain), (Some(slot), vec![name]));
    })
    .await;
}

#[tokio::test]
async fn a_rerun_of_nothing_says_so_and_starts_nothing() {
    story(async |place| {
        place.script("import", TELLS, &past("{}")).await;
        place.script("export", "exit 0", "{}").await;
        place.armed("import").await;
        place.run("of-export", "export").await;
        place.finished("of-export").await;
        rerun(place, "unknown", "import", "no-such-run", "{}").await;
        rerun(place, "foreign", "import", "of-export", "{}").await;
        for (name, of) in [("unknown", "no-such-run"), ("foreign", "of-export")] {
            let told = place.finished(name).await;
            assert_eq!(end(&told), "Failed InvalidRerun: ", "{name}");
            says(message(&told), &["spec.rerunOf", &format!("no AutomationRun {of} of task import"), "correct the name"]);
        }
        rerun(place, "wrong", "export", "of-export", "{parameters: [{name: MODE, value: full}]}").await;
        assert_eq!(end(&place.finished("wrong").await), "Failed InvalidParameters: ");
        // The API server itself refuses what only the operator sets.
        let mut forged = rerun_object("forged", "import", "of-export", "{}");
        forged.spec.trigger = Some(Trigger::Schedule);
        let refused = place.api::<AutomationRun>().create(&kube::api::PostParams::default(), &forged).await;
        assert!(refused.is_err(), "{refused:?}");
    })
    .await;
}
