//! A script reaches its interpreter byte for byte.

use super::place::{Place, end, story};

/// All that Kubernetes or a shell could take for its own.
const TRICKY: &str = r#"#!/bin/sh
: <<'END'
$(date) $$ $$$$ ${X} $((1+2)) $(NIGHTSHIFT_RUN) $$(NIGHTSHIFT_RUN) $$$(NIGHTSHIFT_RUN) $NIGHTSHIFT_RUN
'single' "double" `back` \n \\ \$ {{ .Values }} {% x %} %s %% #! ! ~ * ? [a] <b> & | ; é 世界 🌙
	tab, trailing blanks   

a lone $
$
END
"#;

/// The arguments of the process that the container runs, as it prints them.
async fn arguments(place: &Place, run: &str) -> Vec<String> {
    let status = place.finished(run).await;
    assert_eq!(end(&status), "Succeeded Completed: Success 0", "{run}");
    let hex = place.log_of(&status).await;
    let bytes: Vec<u8> = hex.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).expect("a byte in hexadecimal")).collect();
    let text = String::from_utf8(bytes).expect("UTF-8");
    text.strip_suffix('\0').expect("each argument ends in a NUL").split('\0').map(str::to_owned).collect()
}

#[tokio::test]
async fn a_script_arrives_byte_for_byte() {
    story(async |place| {
        let source = format!("{TRICKY}od -An -v -tx1 /proc/1/cmdline\nexit 0\n");
        place.script("plain", &source, "{}").await;
        place.run("plain-1", "plain").await;
        assert_eq!(arguments(place, "plain-1").await, ["sh", "-c", &source]);

        let other = serde_json::json!({ "script": { "interpreter": ["/bin/sh", "-eu", "-c"], "source": source } });
        place.task("strict", &other.to_string()).await;
        place.run("strict-1", "strict").await;
        assert_eq!(arguments(place, "strict-1").await, ["/bin/sh", "-eu", "-c", &source]);

        // As the retry of a frozen definition too: what is doubled once must not be doubled twice.
        let again = format!("{TRICKY}[ $NIGHTSHIFT_RETRY = 1 ] || exit 1\nod -An -v -tx1 /proc/1/cmdline\nexit 0\n");
        place.script("again", &again, "{retry: {limit: 1, backoff: {initialSeconds: 1}}}").await;
        place.run("again-1", "again").await;
        let status = place.status("again-1", "to succeed", |status| status.outcome.is_some()).await;
        assert_eq!(end(&status), "Succeeded Completed: Retryable 1, Success 0");
        let hex = place.log_of(&status).await;
        let wanted: Vec<String> = ["sh", "-c", &again].iter().flat_map(|a| a.bytes().chain([0])).map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex.split_whitespace().collect::<Vec<_>>(), wanted);
    })
    .await;
}

#[tokio::test]
async fn a_script_of_64_kib_runs() {
    story(async |place| {
        let end_of_it = "\necho done\n";
        let source = format!("{}{end_of_it}", "#".repeat(65_536 - end_of_it.len()));
        place.script("long", &source, "{}").await;
        place.run("long-1", "long").await;
        assert_eq!(place.log_of(&place.finished("long-1").await).await, "done\n");
    })
    .await;
}
