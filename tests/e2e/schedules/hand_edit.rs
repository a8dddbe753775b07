//! Edits of a CronJob by hand are put right.

use k8s_openapi::api::batch::v1::CronJob;
use kube::ResourceExt;
use nightshift::api::label;
use serde_json::json;

use super::in_a_scene;
use crate::support::kubectl_ok;

#[tokio::test]
async fn of_a_cron_job_is_put_right() {
    in_a_scene(async |scene| {
        let spec = "{schedule: {cron: ['0 2 * * *'], timeZone: Europe/Berlin, startingDeadlineSeconds: 77}, env: [{name: A, value: a}], retry: {limit: 2}}";
        scene.armed_task("nightly", spec).await;
        let wanted: CronJob = scene.get("nightly").await;
        let right = |now: &CronJob| now.spec == wanted.spec && now.metadata.labels == wanted.metadata.labels;

        let edits = [
            ("another line", json!({ "spec": { "schedule": "0 3 * * *" } })),
            ("another zone", json!({ "spec": { "timeZone": "UTC" } })),
            ("a field removed", json!({ "spec": { "startingDeadlineSeconds": null } })),
            ("suspended", json!({ "spec": { "suspend": true } })),
            ("retries", json!({ "spec": { "jobTemplate": { "spec": { "backoffLimitPerIndex": 9 } } } })),
            ("a field added", json!({ "spec": { "jobTemplate": { "spec": { "ttlSecondsAfterFinished": 5 } } } })),
            ("the terms", json!({ "spec": { "jobTemplate": { "metadata": { "annotations": { label::CONTRACT: "{}" } } } } })),
        ];
        for (what, edit) in edits {
            let edited: CronJob = scene.change("nightly", edit).await;
            assert!(!right(&edited), "{what} is an edit");
            let back = scene.until::<CronJob, _>("nightly", &format!("to be put right ({what})"), 20, right).await;
            assert!(back.metadata.generation > edited.metadata.generation, "{what}");
            assert_eq!(back.uid(), wanted.uid(), "{what}: put right, not made anew");
        }

        let path = "/spec/jobTemplate/spec/template/spec/containers/0/env/-";
        let add = json!([{ "op": "add", "path": path, "value": { "name": "B", "value": "b" } }]).to_string();
        let args = ["--namespace", &scene.namespace, "patch", "cronjob", "nightly", "--type", "json", "--patch", &add, "--output", "json"];
        let added: CronJob = serde_json::from_str(&kubectl_ok(&args, None).await).expect("a CronJob");
        assert!(!right(&added), "a variable added is an edit");
        scene.until::<CronJob, _>("nightly", "to lose the variable", 20, right).await;

        // Without the label it is out of the operator's sight.
        for lost in [label::MANAGED_BY, label::TASK] {
            let blind: CronJob = scene.change("nightly", json!({ "metadata": { "labels": { lost: null } }, "spec": { "suspend": true } })).await;
            assert!(!right(&blind), "{lost}");
            scene.until::<CronJob, _>("nightly", &format!("to have {lost} again"), 20, right).await;
        }

        scene.delete::<CronJob>("nightly").await;
        let anew = scene.until::<CronJob, _>("nightly", "to be made anew", 20, |now| now.uid() != wanted.uid()).await;
        assert!(right(&anew));
        scene.armed("nightly").await;
    })
    .await;
}
