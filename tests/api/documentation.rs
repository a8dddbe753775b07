//! What `kubectl explain` and `kubectl get` print.

use std::time::Duration;

use serde_json::Value;

use crate::{
    schema::{schemas, walk},
    support::{client, eventually, install_crds, kubectl},
};

#[test]
fn every_field_is_documented() {
    let mut undocumented = Vec::new();
    for (kind, schema) in schemas() {
        for part in ["spec", "status"] {
            walk(&format!("{kind} {part}"), &schema["properties"][part], &mut |path, field| {
                let is_field = !path.ends_with("[]") && !path.ends_with("{}");
                if is_field && field["description"].as_str().is_none_or(|text| text.trim().len() < 8) {
                    undocumented.push(path.to_owned());
                }
            });
        }
    }
    assert!(undocumented.is_empty(), "{undocumented:#?}");
}

#[test]
fn descriptions_are_not_wrapped_twice() {
    let mut wrapped = Vec::new();
    for (kind, schema) in schemas() {
        for part in ["spec", "status"] {
            walk(&format!("{kind} {part}"), &schema["properties"][part], &mut |path, field| {
                let text = field["description"].as_str().unwrap_or_default().replace("\n\n", "");
                // The conditions are Kubernetes' own type, and so are their words.
                if text.contains('\n') && !path.contains(".conditions") {
                    wrapped.push(path.to_owned());
                }
            });
        }
    }
    assert!(wrapped.is_empty(), "{wrapped:#?}");
}

#[test]
fn every_text_list_and_number_of_a_spec_has_a_bound() {
    let mut unbounded = Vec::new();
    for (kind, schema) in schemas() {
        walk(&kind, &schema["properties"]["spec"], &mut |path, field| {
            let bounded = match field["type"].as_str() {
                Some("string") => ["maxLength", "enum", "format"].iter().any(|bound| !field[*bound].is_null()),
                Some("array") => !field["maxItems"].is_null(),
                Some("object") => field["additionalProperties"].is_null() || !field["maxProperties"].is_null(),
                Some("integer") => path.ends_with("activeDeadlineSeconds") || !(field["minimum"].is_null() || field["maximum"].is_null()),
                _ => true,
            };
            if !bounded {
                unbounded.push(path.to_owned());
            }
        });
    }
    assert!(unbounded.is_empty(), "{unbounded:#?}");
}

#[test]
fn definitions_are_small() {
    for crd in nightshift::api::crds() {
        let size = serde_json::to_vec(&crd).expect("JSON").len();
        let name = crd.metadata.name.unwrap_or_default();
        // kubectl apply copies the whole object into an annotation of at most 256 KiB.
        assert!(size < 200_000, "{name}: {size} bytes");
    }
}

#[test]
fn column_titles_are_words() {
    for crd in nightshift::api::crds() {
        for column in crd.spec.versions[0].additional_printer_columns.iter().flatten() {
            assert!(column.name.chars().all(|c| c.is_ascii_alphabetic()), "{:?}", column.name);
        }
    }
}

#[tokio::test]
async fn kubectl_explains_every_field() {
    install_crds(&client().await).await;
    for (kind, schema) in schemas() {
        let kind = kind.split('.').next().expect("a name");
        let mut nested = vec![kind.to_owned()];
        for part in ["spec", "status"] {
            walk(&format!("{kind}.{part}"), &schema["properties"][part], &mut |path, field| {
                if field["properties"].is_object() || field["items"]["properties"].is_object() {
                    nested.push(path.replace("[]", ""));
                }
            });
        }
        nested.dedup();
        for path in nested {
            let said = explain(&path).await;
            assert!(said.contains("DESCRIPTION:") && !said.contains("<empty>") && !said.contains("<no description>"), "{path}: {said}");
        }
    }
    for (path, words) in [
        ("automationtask.spec.retry.backoff", "initialSeconds\t<integer> -required-"),
        ("automationtask.spec.retry.backoff.factorPercent", "200 (double) where unset"),
        ("atask.spec.schedule.cron", "H 2 * * *"),
        ("atask.spec.exitCodes", "enum: Retryable, Fatal"),
        ("atask.spec.template.spec.containers.name", "automation itself"),
        ("automationrun.status.attempts", "exitCode\t<integer>"),
        ("arun.spec.cancel", "cannot be taken back"),
        ("arun.spec", "enum: Current, Original"),
        ("atask.spec.schedule.catchUp", "policy\t<string> -required-"),
        ("atask.spec.schedule.exclude", "2026-12-25"),
        ("atask.spec.parameters.fromSlot", "format(slot, '%Y-%m-%d')"),
        ("abackfill.spec.range", "to\t<string> -required-"),
        ("abackfill.spec.workflowRef", "The backfill does not begin before the workflow can be run"),
        ("abackfill.spec.dryRun", "Set it to false to begin"),
        ("atask.spec.concurrency", "as many as there are where unset"),
        ("atask.spec.concurrency.pools", "1 where unset"),
        ("apool.spec", "0 closes the pool"),
    ] {
        let said = explain(path).await;
        let unwrapped = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(unwrapped(&said).contains(&unwrapped(words)), "{path}: {said}");
    }
}

async fn explain(path: &str) -> String {
    // The schema that explain reads is published a moment after a new definition is established.
    eventually(&format!("kubectl explains {path}"), Duration::from_secs(30), async || {
        let output = kubectl(&["explain", path], None).await;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
    })
    .await
}

#[test]
fn conditions_and_lists_merge_by_key() {
    for (kind, schema) in schemas() {
        walk(&kind, &schema["properties"]["status"], &mut |path, field| {
            if path.ends_with(".conditions") {
                assert_eq!(field["x-kubernetes-list-map-keys"], Value::from(vec!["type"]), "{path}");
            }
        });
    }
}
