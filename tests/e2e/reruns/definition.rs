//! Which definition a rerun takes: the task as it is now, or what the run that it repeats ran.

use k8s_openapi::api::apps::v1::ControllerRevision;
use nightshift::api::AutomationTask;
use serde_json::json;

use super::{TELLS, backfilled, past, rerun};
use crate::with_operator::place::{end, story};

#[tokio::test]
async fn a_rerun_takes_the_task_as_it_is_or_as_it_was() {
    story(async |place| {
        place.script("import", TELLS, &past("{}")).await;
        let before = place.armed("import").await;
        let original = backfilled(place, "import", "2026-01-01T02:30:00Z").await;
        let ran = place.finished(&original).await;
        let edit = json!({ "spec": { "env": [{ "name": "VERSION", "value": "2" }] } });
        place.change::<AutomationTask>("import", edit).await;
        let after = place.armed("import").await;
        let revision = |task: &AutomationTask| task.status.as_ref().and_then(|status| status.revision.clone());
        assert_ne!(revision(&before), revision(&after));
        assert_eq!(ran.revision, revision(&before));
        for (name, of, definition, version, expected) in [
            ("as-it-is", &*original, "{}", "2", &after),
            ("as-it-was", &original, "{definition: Original}", "1", &before),
            ("said", &original, "{definition: Current}", "2", &after),
            // What the rerun ran, which is not what its own original ran.
            ("of-as-it-is", "as-it-is", "{definition: Original}", "2", &after),
            ("of-as-it-was", "as-it-was", "{definition: Original}", "1", &before),
        ] {
            rerun(place, name, "import", of, definition).await;
            let told = place.finished(name).await;
            assert_eq!(end(&told), "Succeeded Completed: Success 0", "{name}");
            assert_eq!(told.outputs.map(|outputs| outputs["version"].clone()), Some(version.into()), "{name}");
            assert_eq!(told.revision, revision(expected), "{name}");
            assert_eq!(told.idempotency_key, ran.idempotency_key, "{name}");
        }
    })
    .await;
}

#[tokio::test]
async fn what_a_run_ran_is_kept_for_its_reruns_however_often_the_task_is_edited() {
    story(async |place| {
        place.script("import", TELLS, &past("{}")).await;
        place.armed("import").await;
        let original = backfilled(place, "import", "2026-01-01T02:30:00Z").await;
        let ran = place.finished(&original).await.revision.expect("a revision");
        for version in 2..16 {
            let edit = json!({ "spec": { "env": [{ "name": "VERSION", "value": version.to_string() }] } });
            place.change::<AutomationTask>("import", edit).await;
            place.armed("import").await;
        }
        let kept: Vec<ControllerRevision> = place.all().await;
        let names: Vec<&str> = kept.iter().filter_map(|revision| revision.metadata.name.as_deref()).collect();
        assert!(names.contains(&ran.as_str()), "{ran} is there for the run's sake: {names:?}");
        assert!(names.len() <= 12, "those that nothing needs go: {names:?}");
        rerun(place, "as-it-was", "import", &original, "{definition: Original}").await;
        let told = place.finished("as-it-was").await;
        assert_eq!(told.outputs.map(|outputs| outputs["version"].clone()), Some("1".into()));
        assert_eq!(told.revision, Some(ran));
    })
    .await;
}
