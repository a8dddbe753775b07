//! Backfills that cannot be carried out say why, and those that may become possible wait.

use nightshift::api::{BackfillPhase, Outcome, condition};

use super::{PAST, backfill, finished, range, ready, seen, tally};
use crate::with_operator::place::{says, story};

#[tokio::test]
async fn what_is_wrong_is_told_on_ready_with_the_fix() {
    story(async |place| {
        place.script("import", "exit 0", &format!("{PAST}, parameters: [{{name: MODE, default: usual, enum: [usual, full]}}]}}")).await;
        place.script("minutely", "exit 0", "{schedule: {cron: ['* 0-23 1-8 1 *']}}").await;
        place.script("by-hand", "exit 0", "{}").await;
        let cases: [(&str, &str, &str, &str, &[&str]); 8] = [
            (
                "future",
                "import",
                "range: {from: '2026-01-01T00:00:00Z', to: '2099-01-01T00:00:00Z'}",
                "RangeNotPassed",
                &["spec.range.to", "2099-01-01T00:00:00Z lies in the future"],
            ),
            ("later", "import", "slots: ['2099-01-01T00:10:00Z']", "RangeNotPassed", &["spec.slots", "lies in the future"]),
            (
                "large",
                "minutely",
                "range: {from: '2026-01-01T00:00:00Z', to: '2026-01-07T22:40:00Z'}",
                "RangeTooLarge",
                &["spec.range", "10001 slots lie in it", "at most 10000", "split it"],
            ),
            (
                "by-hand",
                "by-hand",
                &range("00:00", "01:00"),
                "NoSchedule",
                &["task by-hand has no schedule", "create AutomationRuns instead"],
            ),
            (
                "no-slot",
                "import",
                "slots: ['2026-01-01T00:10:00Z', '2026-01-01T00:11:00Z']",
                "NotASlot",
                &["2026-01-01T00:11:00Z is not a slot", "the next one after it is 2026-01-01T00:20:00Z"],
            ),
            ("seconds", "import", "slots: ['2026-01-01T00:10:07Z']", "NotASlot", &["2026-01-01T00:10:07Z is not a slot"]),
            (
                "unknown",
                "import",
                &format!("{}, parameters: [{{name: DAY, value: x}}]", range("00:00", "01:00")),
                "InvalidParameters",
                &["no parameter DAY", "it has: MODE"],
            ),
            (
                "not-one-of",
                "import",
                &format!("{}, parameters: [{{name: MODE, value: half}}]", range("00:00", "01:00")),
                "InvalidParameters",
                &["MODE is \"half\"", "usual, full"],
            ),
        ];
        for (name, task, spec, ..) in &cases {
            backfill(place, name, task, &format!("{{{spec}}}")).await;
        }
        let mut wrong = Vec::new();
        for (name, _, spec, reason, parts) in cases {
            let told = seen(place, name, "to say what is wrong", |status| !status.conditions.is_empty()).await;
            let (status, because, message) = ready(&told);
            let stalled = condition::find(&told.conditions, condition::STALLED).is_some_and(|stalled| stalled.status == "True");
            let is_said = parts.iter().all(|part| message.contains(part));
            // What time alone will mend needs no human.
            let needs_somebody = reason != "RangeNotPassed";
            if (status.as_str(), because.as_str(), stalled, is_said) != ("False", reason, needs_somebody, true) {
                wrong.push(format!("{name} ({spec}): {status} {because}, stalled {stalled}: {message}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        assert_eq!(place.runs().await.len(), 0);
    })
    .await;
}

#[tokio::test]
async fn a_backfill_of_a_task_that_is_not_there_waits_for_it() {
    story(async |place| {
        backfill(place, "early", "late", "{slots: ['2026-01-01T00:10:00Z']}").await;
        let told = seen(place, "early", "to wait for its task", |status| !status.conditions.is_empty()).await;
        let (status, reason, message) = ready(&told);
        assert_eq!((status.as_str(), reason.as_str(), told.phase), ("False", "TaskNotFound", Some(BackfillPhase::Pending)));
        says(&message, &["no AutomationTask late in this namespace", "create it, or correct the name"]);
        assert!(condition::find(&told.conditions, condition::STALLED).is_none(), "it may come yet");
        place.script("late", "exit 0", &format!("{PAST}}}")).await;
        let told = finished(place, "early").await;
        assert_eq!((tally(&told), told.outcome), ((1, 0, 0, 1), Some(Outcome::Succeeded)));
        assert_eq!(ready(&told).0, "True");
    })
    .await;
}
