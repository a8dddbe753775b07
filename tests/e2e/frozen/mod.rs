//! What a run runs is settled when it begins: nothing that becomes of its task changes it.

use k8s_openapi::api::{apps::v1::ControllerRevision, batch::v1::Job};
use kube::api::DeleteParams;
use nightshift::api::{AutomationRun, AutomationTask, Outcome, Phase};
use serde_json::{Value, json};

use crate::{
    operator_clock::overlap::{UNTIL_TOLD, tell},
    support::{await_second, record::MINUTE, status},
    with_operator::place::{Place, end, story},
};

/// Says which version of the task it is.
fn tells(then: &str) -> String {
    format!("printf '{{\"version\": \"%s\"}}' $VERSION > /dev/termination-log; {then}")
}

const FIRST: &str = "env: [{name: VERSION, value: '1'}]";

async fn edit(place: &Place, task: &str) {
    let edit = json!({ "spec": { "env": [{ "name": "VERSION", "value": "2" }], "timeouts": { "attemptSeconds": 77 } } });
    place.change::<AutomationTask>(task, edit).await;
    place.armed(task).await;
}

fn version(version: &str) -> Value {
    json!({ "version": version })
}

/// Deletes the task, and lets what it owns be.
async fn delete_alone(place: &Place, task: &str) {
    place.api::<AutomationTask>().delete(task, &DeleteParams::orphan()).await.expect("deleting a task");
    place.gone::<AutomationTask>(task, 30).await;
}

#[tokio::test]
async fn a_run_in_the_queue_stays_as_it_was_when_its_slot_came() {
    story(async |place| {
        let slot = await_second(20..50).await + MINUTE;
        let tasks = ["edited", "deleted"];
        for task in tasks {
            place
                .script(task, &tells(UNTIL_TOLD), &format!("{{{FIRST}, schedule: {{cron: ['* * * * *'], concurrencyPolicy: Queue}}}}"))
                .await;
            place.armed(task).await;
        }
        let name = |task: &str, n: i64| format!("{task}-{}", slot.as_second() / 60 + n);
        for task in tasks {
            place.until(&name(task, 1), "to be queued", 150, |run: &AutomationRun| status(run).phase == Some(Phase::Queued)).await;
            place.change::<AutomationTask>(task, json!({ "spec": { "schedule": { "suspend": true } } })).await;
        }
        let revision = place.armed("edited").await.status.and_then(|status| status.revision).expect("a revision");
        edit(place, "edited").await;
        delete_alone(place, "deleted").await;
        for task in tasks {
            for n in [0, 1] {
                tell(place, &name(task, n)).await;
                let told = place.finished(&name(task, n)).await;
                assert_eq!(end(&told), "Succeeded Completed: Success 0", "{task} {n}");
                assert_eq!(told.outputs, Some(version("1")), "{task} {n}");
                assert!(told.revision.is_some_and(|ran| task == "deleted" || ran == revision), "{task} {n}");
            }
        }
        let kept: ControllerRevision = place.get(&revision).await;
        let held = kept.data.map(|data| data.0).unwrap_or_default();
        assert_eq!(held.pointer("/spec/env/0/value"), Some(&json!("1")), "{held}");
    })
    .await;
}

#[tokio::test]
async fn a_run_between_attempts_goes_on_as_it_began() {
    story(async |place| {
        let tasks = ["edited", "deleted"];
        for task in tasks {
            let spec = format!("{{{FIRST}, retry: {{limit: 1, backoff: {{initialSeconds: 15}}}}}}");
            place.script(task, &tells("test $NIGHTSHIFT_RETRY -gt 0"), &spec).await;
            place.armed(task).await;
            place.run(&format!("{task}-now"), task).await;
        }
        let mut revisions = Vec::new();
        for task in tasks {
            revisions.push(place.waiting(&format!("{task}-now"), "Backoff").await.revision.expect("a revision"));
        }
        edit(place, "edited").await;
        delete_alone(place, "deleted").await;
        for (task, revision) in tasks.iter().zip(revisions) {
            let told = place.finished(&format!("{task}-now")).await;
            assert_eq!(end(&told), "Succeeded Completed: Retryable 1, Success 0", "{task}");
            assert_eq!((told.outputs, told.revision), (Some(version("1")), Some(revision)), "{task}");
            let jobs = place.jobs(&format!("{task}-now")).await;
            let deadlines: Vec<Option<i64>> = jobs.iter().map(pod_deadline).collect();
            assert_eq!(deadlines, [Some(3600), Some(3600)], "{task}: what each attempt may take");
        }
    })
    .await;
}

fn pod_deadline(job: &Job) -> Option<i64> {
    job.spec.as_ref()?.template.spec.as_ref()?.active_deadline_seconds
}

#[tokio::test]
async fn a_run_that_goes_on_ends_as_it_began_and_the_next_is_of_the_edited_task() {
    story(async |place| {
        let tasks = ["edited", "deleted"];
        for task in tasks {
            place.script(task, &tells(UNTIL_TOLD), &format!("{{{FIRST}}}")).await;
            place.armed(task).await;
            place.run(&format!("{task}-now"), task).await;
        }
        for task in tasks {
            place.running(&format!("{task}-now")).await;
        }
        edit(place, "edited").await;
        delete_alone(place, "deleted").await;
        place.run("edited-later", "edited").await;
        for (run, expected) in [("edited-now", "1"), ("deleted-now", "1"), ("edited-later", "2")] {
            tell(place, run).await;
            let told = place.finished(run).await;
            assert_eq!((told.outcome, told.outputs), (Some(Outcome::Succeeded), Some(version(expected))), "{run}");
        }
        let [before, after] = ["edited-now", "edited-later"].map(|run| place.finished(run));
        let (before, after) = (before.await, after.await);
        assert_ne!(before.revision, after.revision);
        for revision in [before.revision, after.revision] {
            place.get::<ControllerRevision>(&revision.expect("a revision")).await;
        }
        assert_eq!((before.task_generation, after.task_generation), (Some(1), Some(2)));
    })
    .await;
}
