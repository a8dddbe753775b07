//! A CronJob of the same name that is not ours.

use k8s_openapi::api::batch::v1::CronJob;

use super::in_a_scene;
use crate::support::{IMAGE, ready, yaml};

#[tokio::test]
async fn is_told_on_ready_and_never_overwritten() {
    in_a_scene(async |scene| {
        let somebodys = |name: &str, label: &str| -> CronJob {
            yaml(&format!(
                "{{metadata: {{name: {name}, labels: {{{label}}}}}, spec: {{schedule: '7 7 7 7 *', suspend: true, jobTemplate: {{spec: {{template: {{spec: \
                 {{restartPolicy: Never, containers: [{{name: theirs, image: '{IMAGE}'}}]}}}}}}}}}}}}"
            ))
        };
        // One that we cannot see, and one that bears our labels without being ours.
        let cases = [("unseen", ""), ("seen", "app.kubernetes.io/managed-by: nightshift, nightshift.dev/task: seen")];
        for (name, labels) in cases {
            scene.create(&somebodys(name, labels)).await;
            scene.task(name, "{schedule: {cron: ['0 2 * * *']}}").await;
        }
        for (name, _) in cases {
            let task = scene.ready(name, "False", "NameTaken").await;
            let (_, _, message) = ready(&task).expect("Ready");
            assert!(message.contains(&format!("CronJob {name}")) && message.contains("rename the task"), "{message}");
            let theirs: CronJob = scene.get(name).await;
            assert_eq!(theirs.metadata.generation, Some(1), "theirs was not written");
            assert_eq!(theirs.spec.map(|spec| spec.schedule).as_deref(), Some("7 7 7 7 *"));
        }
        for (name, _) in cases {
            scene.delete::<CronJob>(name).await;
        }
        for (name, _) in cases {
            let armed = scene.until::<CronJob, _>(name, "to be ours", 90, |c| c.spec.as_ref().is_some_and(|s| s.schedule == "0 2 * * *"));
            armed.await;
            scene.armed(name).await;
        }
    })
    .await;
}
