//! Runs on demand, with parameters.

use futures::future::join_all;
use k8s_openapi::api::batch::v1::Job;
use nightshift::api::{AutomationRun, Phase};

use super::place::{end, message, says, story};

/// Names and values of parameters.
type Values = &'static [(&'static str, &'static str)];

/// A task with a parameter of each kind, whose container prints the values that it got, one on a line.
const GREETER: &str = r#"{
    parameters: [
      {name: DATE, default: '2026-01-31', pattern: '[0-9]{4}-[0-9]{2}-[0-9]{2}'},
      {name: PARTNER, required: true, enum: [acme, globex]},
      {name: NOTE}
    ],
    command: [sh, -c, 'printf "%s\n" "$DATE" "$PARTNER" "${NOTE-unset}" "$@"', sh],
    args: ['--date=$(DATE)', '--partner=$(PARTNER)', '$$(DATE)']
}"#;

#[tokio::test]
async fn a_run_on_demand_gets_the_values_given_and_the_defaults() {
    story(async |place| {
        place.task("greeter", GREETER).await;
        place.run_with("some", "greeter", &[("PARTNER", "acme")]).await;
        place.run_with("all", "greeter", &[("PARTNER", "globex"), ("DATE", "2026-02-01"), ("NOTE", "")]).await;
        let some = place.finished("some").await;
        assert_eq!(end(&some), "Succeeded Completed: Success 0");
        assert_eq!(place.log_of(&some).await, "2026-01-31\nacme\nunset\n--date=2026-01-31\n--partner=acme\n$(DATE)\n");
        let all = place.finished("all").await;
        assert_eq!(place.log_of(&all).await, "2026-02-01\nglobex\n\n--date=2026-02-01\n--partner=globex\n$(DATE)\n");
        let run = place.get::<AutomationRun>("some").await;
        assert_eq!(run.spec.trigger.unwrap_or_default(), nightshift::api::Trigger::Manual);
    })
    .await;
}

#[tokio::test]
async fn a_value_reaches_the_container_byte_for_byte() {
    story(async |place| {
        let print = r#"{parameters: [{name: VALUE}, {name: X, default: expanded}], command: [sh, -c, 'printf %s "$VALUE"; printf "\n--\n"; printf %s "$1"', sh], args: ['$(VALUE)']}"#;
        place.task("printer", print).await;
        let values = [
            ("expansions", "$(X) $$ $$(X) ${X} `id` $(date) $"),
            ("quotes", r#"'single' "double" \back\slash"#),
            ("lines", "first\nsecond\n\n\ttabbed"),
            ("words", "  blanks  around * ? [a-z] ~ & | ; > /tmp/x # "),
            ("letters", "Grüße, 世界 🌙"),
        ];
        join_all(values.iter().map(async |(name, value)| {
            place.run_with(name, "printer", &[("VALUE", value)]).await;
            let status = place.finished(name).await;
            assert_eq!(place.log_of(&status).await, format!("{value}\n--\n{value}"), "{name}");
        }))
        .await;
    })
    .await;
}

#[tokio::test]
async fn a_run_with_wrong_parameters_says_what_is_wrong_and_starts_nothing() {
    story(async |place| {
        place.task("greeter", GREETER).await;
        place.script("plain", "exit 0", "{}").await;
        let cases: [(&str, &str, Values, &[&str]); 6] = [
            (
                "unknown",
                "greeter",
                &[("PARTNER", "acme"), ("DTAE", "2026-01-31")],
                &["spec.parameters: the task has no parameter DTAE; it has: DATE, PARTNER, NOTE"],
            ),
            ("none-known", "plain", &[("DATE", "2026-01-31")], &["the task has no parameter DATE; it has: none"]),
            ("missing", "greeter", &[], &["spec.parameters: PARTNER is required; give it a value"]),
            ("outside", "greeter", &[("PARTNER", "initech")], &["PARTNER is \"initech\"; allowed are: acme, globex"]),
            (
                "unmatched",
                "greeter",
                &[("PARTNER", "acme"), ("DATE", "2026-01-31T00:00")],
                &["DATE is \"2026-01-31T00:00\", which does not match [0-9]{4}-[0-9]{2}-[0-9]{2}"],
            ),
            (
                "all-wrong",
                "greeter",
                &[("PARTNER", "initech"), ("DATE", "today"), ("DTAE", "x")],
                &["no parameter DTAE", "DATE is \"today\"", "PARTNER is \"initech\""],
            ),
        ];
        join_all(cases.iter().map(async |(name, task, values, parts)| {
            place.run_with(name, task, values).await;
            let status = place.finished(name).await;
            assert_eq!(end(&status), "Failed InvalidParameters: ", "{name}");
            says(message(&status), parts);
        }))
        .await;
        assert_eq!(place.ours::<Job>().await.len(), 0, "no Job was made");
    })
    .await;
}

#[tokio::test]
async fn a_run_of_a_task_that_is_not_there_waits_for_it_and_then_starts() {
    story(async |place| {
        place.run("early", "late").await;
        let waiting = place.waiting("early", "TaskNotFound").await;
        assert_eq!(waiting.phase, Some(Phase::Pending));
        says(message(&waiting), &["there is no AutomationTask late in this namespace", "create it, or correct the name"]);
        assert!(waiting.waiting_on.is_some_and(|on| on.until.is_some()), "it says until when it waits");
        place.script("late", "exit 0", "{}").await;
        assert_eq!(end(&place.finished("early").await), "Succeeded Completed: Success 0");
    })
    .await;
}
