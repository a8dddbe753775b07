//! Which of its slots a backfill runs, by what is on record of them.

use nightshift::api::Outcome;

use super::{PAST, backfill, finished, made, range, tally};
use crate::with_operator::place::story;

/// Done well, badly, left alone, of all.
type Tally = (i32, i32, i32, i32);

#[tokio::test]
async fn slots_are_chosen_by_their_last_run() {
    story(async |place| {
        // Ten past fails, unless it is told to work.
        let parameters = "parameters: [{name: MINUTE, fromSlot: \"format(slot, '%M')\"}, {name: FIX, default: 'no'}]";
        place.script("import", "test \"$MINUTE\" != 10 || test $FIX = yes", &format!("{PAST}, {parameters}}}")).await;
        place.armed("import").await;
        let span = range("00:00", "00:20");
        backfill(place, "first", "import", &format!("{{{span}, concurrency: 3}}")).await;
        let told = finished(place, "first").await;
        assert_eq!((tally(&told), told.outcome), ((2, 1, 0, 3), Some(Outcome::Failed)));
        let failures: Vec<_> =
            told.failures.iter().map(|failure| (failure.run.as_str(), failure.outcome, failure.reason.as_deref())).collect();
        assert_eq!(failures, [("first-bf-29453770", Outcome::Failed, Some("ExitCodeOtherwise"))]);

        let longer = range("00:00", "00:30");
        let cases: [(&str, &str, &[i64], Tally); 5] = [
            ("missing", "select: Missing", &[30], (1, 0, 3, 4)),
            ("failed", "select: Failed", &[10], (0, 1, 3, 4)),
            ("mended", "select: MissingOrFailed, parameters: [{name: FIX, value: 'yes'}]", &[10], (1, 0, 3, 4)),
            // Its last run went well.
            ("nothing", "select: MissingOrFailed", &[], (0, 0, 4, 4)),
            ("all", "select: All, concurrency: 4, parameters: [{name: FIX, value: 'yes'}]", &[0, 10, 20, 30], (4, 0, 0, 4)),
        ];
        for (name, select, slots, expected) in cases {
            backfill(place, name, "import", &format!("{{{longer}, {select}}}")).await;
            let told = finished(place, name).await;
            assert_eq!(tally(&told), expected, "{name}: {told:?}");
            let mut made = made(place, name).await;
            made.sort_unstable();
            assert_eq!(made, slots, "{name}");
        }
    })
    .await;
}
