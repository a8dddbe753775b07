//! What the end of a container means: exit codes, kills, commands that do not exist.

use futures::future::join_all;
use nightshift::api::RunResult;

use super::place::{end, message, says, story};
use crate::support::IMAGE;

struct Row {
    run: &'static str,
    task: &'static str,
    value: &'static str,
    end: &'static str,
    says: &'static str,
}

const fn row(run: &'static str, task: &'static str, value: &'static str, end: &'static str, says: &'static str) -> Row {
    Row { run, task, value, end, says }
}

#[tokio::test]
async fn each_exit_code_ends_in_its_outcome_and_names_the_rule() {
    story(async |place| {
        let exit = "exit \"$CODE\"";
        place.script("lenient", exit, "{parameters: [{name: CODE}], exitCodes: {noData: [3], retryable: [75], fatal: [65]}}").await;
        let strict = "{parameters: [{name: CODE}], exitCodes: {noData: [3], retryable: [75], otherwise: Fatal}, retry: {limit: 1, backoff: {initialSeconds: 1}}}";
        place.script("strict", exit, strict).await;
        let rows = [
            row("ok", "lenient", "0", "Succeeded Completed: Success 0", "exit code 0"),
            row("no-data", "lenient", "3", "NoData ExitCodeNoData: NoData 3", "exit code 3 is listed in exitCodes.noData"),
            row("retryable", "lenient", "75", "Failed ExitCodeRetryable: Retryable 75", "exit code 75 is listed in exitCodes.retryable"),
            row("fatal", "lenient", "65", "Failed ExitCodeFatal: Fatal 65", "exit code 65 is listed in exitCodes.fatal"),
            row(
                "unlisted",
                "lenient",
                "42",
                "Failed ExitCodeOtherwise: Retryable 42",
                "exit code 42 is in no list of exitCodes, so exitCodes.otherwise (Retryable) applies",
            ),
            row("strict-no-data", "strict", "3", "NoData ExitCodeNoData: NoData 3", "exit code 3 is listed in exitCodes.noData"),
            row("strict-retryable", "strict", "75", "Failed ExitCodeRetryable: Retryable 75, Retryable 75", "all 1 retries are used up"),
            row(
                "strict-unlisted",
                "strict",
                "42",
                "Failed ExitCodeOtherwise: Fatal 42",
                "exit code 42 is in no list of exitCodes, so exitCodes.otherwise (Fatal) applies",
            ),
        ];
        join_all(rows.iter().map(async |row| {
            place.run_with(row.run, row.task, &[("CODE", row.value)]).await;
            let status = place.finished(row.run).await;
            assert_eq!(end(&status), row.end, "{}", row.run);
            says(message(&status), &[row.says]);
            let good = row.end.starts_with("Succeeded") || row.end.starts_with("NoData");
            assert_eq!(status.result, Some(if good { RunResult::Good } else { RunResult::Bad }), "{}", row.run);
            assert_eq!(status.conditions[0].status, if good { "True" } else { "False" }, "{}", row.run);
        }))
        .await;
    })
    .await;
}

#[tokio::test]
async fn the_nightly_wrapper_means_what_its_author_meant() {
    story(async |place| {
        let wrapper = r#"
            step() { echo "$1"; [ "$BREAKS" != "$1" ]; }
            fetch() { step fetch; }
            transform() { step transform; }
            load() { step load; }
            fetch || exit 2
            transform || exit 3
            load || exit 1
        "#;
        let terms = "{parameters: [{name: BREAKS, default: nothing}], exitCodes: {noData: [2], fatal: [3], retryable: [1]}, retry: {limit: 2, backoff: {initialSeconds: 1, factorPercent: 100}}}";
        place.script("nightly", wrapper, terms).await;
        let rows = [
            row("all-well", "nightly", "nothing", "Succeeded Completed: Success 0", "exit code 0"),
            row("no-file", "nightly", "fetch", "NoData ExitCodeNoData: NoData 2", "exit code 2 is listed in exitCodes.noData"),
            row("bad-file", "nightly", "transform", "Failed ExitCodeFatal: Fatal 3", "exit code 3 is listed in exitCodes.fatal"),
            row(
                "no-database",
                "nightly",
                "load",
                "Failed ExitCodeRetryable: Retryable 1, Retryable 1, Retryable 1",
                "exit code 1 is listed in exitCodes.retryable; all 2 retries are used up",
            ),
        ];
        join_all(rows.iter().map(async |row| {
            place.run_with(row.run, row.task, &[("BREAKS", row.value)]).await;
            let status = place.finished(row.run).await;
            assert_eq!(end(&status), row.end, "{}", row.run);
            says(message(&status), &[row.says]);
            let last_step = if row.value == "nothing" { "load" } else { row.value };
            assert_eq!(place.log_of(&status).await.lines().last(), Some(last_step), "{}", row.run);
        }))
        .await;
    })
    .await;
}

#[tokio::test]
async fn a_kill_or_a_missing_command_is_told_apart_from_an_exit_code() {
    story(async |place| {
        let codes = "exitCodes: {noData: [3]}";
        place.script("greedy", "tail /dev/zero", &format!("{{{codes}, resources: {{limits: {{memory: 24Mi}}}}}}")).await;
        place.script("killed", "ulimit -t 1; while :; do :; done", &format!("{{{codes}}}")).await;
        place.task("not-there", &format!("{{{codes}, command: [/no/such/command]}}")).await;
        place.script("mistyped", "no-such-command --now", &format!("{{{codes}}}")).await;
        let shipper = format!("{{name: shipper, image: '{IMAGE}', command: [sh, -c, exit 9]}}");
        let beside = format!("{{{codes}, template: {{spec: {{containers: [{{name: main}}, {shipper}]}}}}}}");
        place.script("half-done", "exit 0", &beside).await;
        let rows = [
            row("oom", "greedy", "", "Failed OOMKilled: Retryable 137", "used more memory than resources.limits.memory allows"),
            row("signal", "killed", "", "Failed ExitCodeOtherwise: Retryable 137", "exit code 137 (killed by SIGKILL)"),
            row("start-error", "not-there", "", "Failed StartError: Retryable 128", "the command cannot be started"),
            row("not-found", "mistyped", "", "Failed ExitCodeOtherwise: Retryable 127", "exit code 127"),
            row("sidecar", "half-done", "", "Failed OtherContainerFailed: Retryable 0", "shipper failed with exit code 9"),
        ];
        join_all(rows.iter().map(async |row| {
            place.run(row.run, row.task).await;
            let status = place.finished(row.run).await;
            assert_eq!(end(&status), row.end, "{}", row.run);
            says(message(&status), &[row.says]);
            match row.run {
                "start-error" => says(message(&status), &["/no/such/command"]),
                "not-found" => says(status.attempts[0].log_tail.as_deref().unwrap_or_default(), &["no-such-command: not found"]),
                _ => {}
            }
        }))
        .await;
    })
    .await;
}
