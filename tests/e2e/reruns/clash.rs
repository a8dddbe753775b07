//! Reruns never go on beside another run of the same slot.

use nightshift::api::{AutomationRun, Phase};

use super::{backfilled, past, rerun};
use crate::{
    operator_clock::overlap::{UNTIL_TOLD, tell},
    with_operator::place::{end, message, says, story},
};

#[tokio::test]
async fn two_at_once_are_refused_under_forbid() {
    story(async |place| {
        place.script("import", "test \"$MODE\" = usual || sleep 300", &past("{schedule: {cron: ['*/10 * 1 1 *']}}")).await;
        place.armed("import").await;
        let original = backfilled(place, "import", "2026-01-01T02:30:00Z").await;
        place.finished(&original).await;
        rerun(place, "first", "import", &original, "{parameters: [{name: MODE, value: slow}]}").await;
        rerun(place, "second", "import", &original, "{}").await;
        let refused = place.finished("second").await;
        assert_eq!(end(&refused), "Skipped SlotTaken: ");
        assert_eq!(refused.result, None, "neither good nor bad");
        says(message(&refused), &["run first of the same slot goes on", "concurrencyPolicy Forbid", "create it again"]);
        assert_eq!(place.jobs("second").await.len(), 0);
        // Also where it names the rerun, which is of the same slot.
        rerun(place, "third", "import", "first", "{}").await;
        assert_eq!(end(&place.finished("third").await), "Skipped SlotTaken: ");
        place.cancel("first").await;
        place.finished("first").await;
        rerun(place, "fourth", "import", &original, "{}").await;
        assert_eq!(end(&place.finished("fourth").await), "Succeeded Completed: Success 0");
    })
    .await;
}

async fn two_at_once_wait_for_one_another(policy: &str) {
    story(async |place| {
        place.script("import", UNTIL_TOLD, &past(&format!("{{schedule: {{cron: ['*/10 * 1 1 *'], concurrencyPolicy: {policy}}}}}"))).await;
        place.armed("import").await;
        let original = backfilled(place, "import", "2026-01-01T02:30:00Z").await;
        place.running(&original).await;
        // Beside the run itself, and then beside one another.
        for name in ["first", "second"] {
            rerun(place, name, "import", &original, "{}").await;
            let waiting = place.waiting(name, "Queued").await;
            assert_eq!(waiting.phase, Some(Phase::Queued), "{policy}");
            says(message(&waiting), &[&original]);
        }
        // A run on demand is of no slot, and waits for none.
        place.run("beside", "import").await;
        place.running("beside").await;
        tell(place, &original).await;
        place.running("first").await;
        let second = place.get::<AutomationRun>("second").await.status.expect("a status");
        assert_eq!(second.phase, Some(Phase::Queued), "{policy}: one at a time");
        assert_eq!(place.jobs("second").await.len(), 0);
        // What waits can be cancelled; it holds up nobody.
        rerun(place, "third", "import", &original, "{}").await;
        place.waiting("third", "Queued").await;
        place.cancel("second").await;
        assert_eq!(end(&place.finished("second").await), "Cancelled Cancelled: ");
        tell(place, "first").await;
        assert_eq!(end(&place.finished("first").await), "Succeeded Completed: Success 0");
        tell(place, "third").await;
        assert_eq!(end(&place.finished("third").await), "Succeeded Completed: Success 0");
        let [first, third] = ["first", "third"].map(|name| place.get::<AutomationRun>(name));
        let (first, third) = (first.await.status.expect("a status"), third.await.status.expect("a status"));
        assert!(third.start_time >= first.completion_time, "{:?} {:?}", third.start_time, first.completion_time);
        place.cancel("beside").await;
    })
    .await;
}

#[tokio::test]
async fn two_at_once_wait_for_one_another_under_queue() {
    two_at_once_wait_for_one_another("Queue").await;
}

#[tokio::test]
async fn two_at_once_wait_for_one_another_under_allow() {
    two_at_once_wait_for_one_another("Allow").await;
}
