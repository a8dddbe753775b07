//! What a container leaves at its termination-message path.

use futures::future::join_all;
use serde_json::{Value, json};

use super::place::{end, message, says, story};

const NOT_KEPT: &str = "the termination message is kept as outputs only where it is a JSON object of at most 4096 bytes; this one is not";

#[tokio::test]
async fn a_json_object_becomes_the_outputs_and_nothing_else_fails_a_good_run() {
    story(async |place| {
        let out = "/dev/termination-log";
        let good = "Succeeded Completed: Success 0";
        let object = json!({ "rows": 1204, "file": "a b.csv", "nested": { "ok": true }, "list": [1, null] });
        let cases: [(&str, String, &str, Option<Value>, bool); 10] = [
            ("object", format!("echo '{object}' > {out}"), good, Some(object.clone()), false),
            ("nothing", "exit 0".to_owned(), good, None, false),
            ("blank", format!("echo > {out}"), good, None, false),
            ("text", format!("echo 'all is well' > {out}"), good, None, true),
            ("list", format!("echo '[1, 2]' > {out}"), good, None, true),
            ("cut-off", format!("printf '{{\"rows\": 12' > {out}"), good, None, true),
            ("too-long", format!("printf '{{\"a\": \"%5000s\"}}' x > {out}"), good, None, true),
            ("random", format!("head -c 3000 /dev/urandom > {out}"), good, None, true),
            // What was written by a container that then failed still tells how far it came.
            ("failed", format!("echo '{object}' > {out}; exit 1"), "Failed ExitCodeOtherwise: Retryable 1", Some(object.clone()), false),
            ("no-data", format!("echo '{object}' > {out}; exit 3"), "NoData ExitCodeNoData: NoData 3", Some(object), false),
        ];
        join_all(cases.iter().map(async |(name, script, wanted, outputs, told)| {
            place.script(name, script, "{exitCodes: {noData: [3]}}").await;
            let run = format!("{name}-1");
            place.run(&run, name).await;
            let status = place.finished(&run).await;
            assert_eq!(end(&status), *wanted, "{name}");
            assert_eq!(status.outputs, *outputs, "{name}");
            assert_eq!(message(&status).contains(NOT_KEPT), *told, "{name}: {}", message(&status));
        }))
        .await;
    })
    .await;
}

#[tokio::test]
async fn the_outputs_are_those_of_the_attempt_that_ended_the_run() {
    story(async |place| {
        let script = "echo \"{\\\"retry\\\": $NIGHTSHIFT_RETRY}\" > /dev/termination-log; [ $NIGHTSHIFT_RETRY = 1 ]";
        place.script("ours", script, "{retry: {limit: 1, backoff: {initialSeconds: 1}}}").await;
        place.script("native", script, "{retry: {limit: 1}}").await;
        for task in ["ours", "native"] {
            place.run(&format!("{task}-1"), task).await;
        }
        for task in ["ours", "native"] {
            let status = place.finished(&format!("{task}-1")).await;
            assert_eq!(status.outputs, Some(json!({ "retry": 1 })), "{task}");
            says(message(&status), &["exit code 0"]);
        }
    })
    .await;
}
