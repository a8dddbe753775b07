//! What `kubectl` shows and how it waits.

use std::collections::BTreeSet;

use super::place::{Place, says, story};
use crate::support::kubectl;

/// A row of a table that `kubectl` printed, by its name.
fn row<'a>(table: &'a str, name: &str) -> Vec<&'a str> {
    let row = table.lines().find(|line| line.split_whitespace().next() == Some(name));
    row.unwrap_or_else(|| panic!("no {name} in:\n{table}")).split_whitespace().collect()
}

/// A task with one good, one empty, one failed and one cancelled run.
async fn a_week(place: &Place) {
    let spec = "{owner: {team: data-platform, onCall: data-rota, runbook: 'https://wiki.example.com/import'}, parameters: [{name: CODE, default: '0'}], exitCodes: {noData: [3]}, schedule: {cron: ['30 2 * * *'], timeZone: Europe/Berlin}}";
    place.script("import", "sleep 3; exit $CODE", spec).await;
    place.run("good", "import").await;
    place.run_with("empty", "import", &[("CODE", "3")]).await;
    place.run_with("bad", "import", &[("CODE", "1")]).await;
    place.run("nothing", "no-such-task").await;
    for run in ["good", "empty", "bad"] {
        place.finished(run).await;
    }
    place.waiting("nothing", "TaskNotFound").await;
}

#[tokio::test]
async fn get_reads_like_a_report() {
    story(async |place| {
        a_week(place).await;
        let last = |task: &nightshift::api::AutomationTask| {
            task.status.as_ref().is_some_and(|s| s.active_count == 0 && s.last_run.as_ref().is_some_and(|last| !last.name.is_empty()))
        };
        place.task_seen("import", "to know of its runs", last).await;
        let both = place.kubectl(&["get", "atask,arun"]).await;
        says(&both, &["NAME", "SCHEDULE", "NEXT", "LAST", "OUTCOME", "OWNER", "READY", "PHASE", "REASON", "ATTEMPTS", "DURATION", "AGE"]);
        let tasks = place.kubectl(&["get", "atask", "--no-headers"]).await;
        // 30 2 * * * (Europe/Berlin)  2026-11-25 02:30 CET  5s  Succeeded  data-platform  True  20s
        let task = row(&tasks, "import");
        assert_eq!(task[1..7], ["30", "2", "*", "*", "*", "(Europe/Berlin)"], "{tasks}");
        assert!(task[8] == "02:30" && task[9].starts_with("CE"), "{tasks}");
        assert!(["Succeeded", "NoData", "Failed"].contains(&task[11]), "{tasks}");
        assert_eq!(task[12..14], ["data-platform", "True"], "{tasks}");
        let runs = place.kubectl(&["get", "arun", "--no-headers"]).await;
        for (run, wanted) in [
            ("good", ["import", "Finished", "Succeeded", "Completed", "1"]),
            ("empty", ["import", "Finished", "NoData", "ExitCodeNoData", "1"]),
            ("bad", ["import", "Finished", "Failed", "ExitCodeOtherwise", "1"]),
        ] {
            let row = row(&runs, run);
            assert_eq!(row[1..6], wanted, "{runs}");
            assert!(row[6].ends_with('s') && row.len() == 8, "duration and age: {runs}");
        }
        // What waits shows on what it waits; it has no outcome and no duration yet.
        assert_eq!(row(&runs, "nothing")[1..5], ["no-such-task", "Pending", "TaskNotFound", "0"], "{runs}");
        let wide = place.kubectl(&["get", "arun", "bad", "--output", "wide"]).await;
        says(&wide, &["exit code 1 is in no list of exitCodes"]);
    })
    .await;
}

#[tokio::test]
async fn wait_returns_on_a_good_run_and_tells_a_failed_one() {
    story(async |place| {
        place.script("import", "sleep 2; exit $CODE", "{parameters: [{name: CODE, default: '0'}]}").await;
        place.run("good", "import").await;
        place.run_with("bad", "import", &[("CODE", "1")]).await;
        place.kubectl(&["wait", "--for=condition=Succeeded", "arun/good", "--timeout=90s"]).await;
        place.kubectl(&["wait", "--for=condition=Succeeded=false", "arun/bad", "--timeout=90s"]).await;
        // And for whoever wants the end, whatever it is.
        place.kubectl(&["wait", "--for=jsonpath={.status.phase}=Finished", "arun/good", "arun/bad", "--timeout=90s"]).await;
        let never = ["--namespace", &place.namespace, "wait", "--for=condition=Succeeded", "arun/bad", "--timeout=2s"];
        assert!(!kubectl(&never, None).await.status.success(), "a failed run did not succeed");
        let bad = place.finished("bad").await;
        assert_eq!((bad.conditions[0].status.as_str(), bad.conditions[0].reason.as_str()), ("False", "ExitCodeOtherwise"));
    })
    .await;
}

#[tokio::test]
async fn selectors_find_live_runs() {
    story(async |place| {
        a_week(place).await;
        for (selector, wanted) in [
            ("spec.taskRef.name=import", "bad empty good"),
            ("status.phase=Pending", "nothing"),
            ("status.phase!=Finished", "nothing"),
            ("status.result=Bad", "bad"),
            ("status.result=Good", "empty good"),
            ("status.outcome=NoData", "empty"),
            ("status.outcome=Failed,spec.taskRef.name=import", "bad"),
        ] {
            let found = place.kubectl(&["get", "arun", "--field-selector", selector, "--output", "name"]).await;
            let found: BTreeSet<&str> = found.lines().filter_map(|line| line.split_once('/')).map(|(_, name)| name).collect();
            assert_eq!(found.into_iter().collect::<Vec<_>>().join(" "), wanted, "{selector}");
        }
    })
    .await;
}

#[tokio::test]
async fn events_say_what_happened_in_plain_words() {
    story(async |place| {
        a_week(place).await;
        let good = place.events("good", "Succeeded").await;
        says(
            &good.join("\n"),
            &["Normal Started attempt 1 runs in pod good-1-0-", "Normal Succeeded Succeeded after", "1 attempt: exit code 0"],
        );
        assert!(good.iter().all(|event| event.starts_with("Normal ")), "{good:?}");
        says(
            &place.events("empty", "NoData").await.join("\n"),
            &["Normal NoData NoData after", "exit code 3 is listed in exitCodes.noData"],
        );
        let bad = place.events("bad", "Failed").await.join("\n");
        says(&bad, &["Warning Failed Failed after", "exit code 1 is in no list of exitCodes"]);
        says(&bad, &["(owner data-platform, on call data-rota, runbook https://wiki.example.com/import)"]);
        says(&place.events("nothing", "TaskNotFound").await.join("\n"), &["Warning TaskNotFound spec.taskRef: there is no AutomationTask"]);
        says(&place.events("import", "Accepted").await.join("\n"), &["Normal Accepted armed: 30 2 * * * (Europe/Berlin)"]);
        // `kubectl describe` shows them below the object.
        says(&place.kubectl(&["describe", "arun", "bad"]).await, &["Events:", "exit code 1 is in no list of exitCodes"]);
    })
    .await;
}
