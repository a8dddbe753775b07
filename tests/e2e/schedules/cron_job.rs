//! The CronJob that a task becomes.

use std::collections::HashSet;

use k8s_openapi::api::{
    batch::v1::CronJob,
    core::v1::{Namespace, Secret},
};
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams},
};
use nightshift::api::{AutomationTask, ClockKind, Outcome, label};
use serde_json::{Value, json};

use super::in_a_scene;
use crate::support::{Scene, kubectl_ok, status, with_temp_namespace, yaml};

#[tokio::test]
async fn has_all_that_the_task_says_and_runs_under_restricted_pod_security() {
    in_a_scene(async |scene| {
        let enforce = json!({ "metadata": { "labels": { "pod-security.kubernetes.io/enforce": "restricted" } } });
        let namespaces = Api::<Namespace>::all(scene.client.clone());
        namespaces.patch(&scene.namespace, &PatchParams::default(), &Patch::Merge(&enforce)).await.expect("restricting the namespace");
        let secret: Secret = yaml("{metadata: {name: database}, stringData: {password: hunter2, certificate: pem}}");
        scene.create(&secret).await;
        let spec = r#"
            owner: {team: tests, onCall: tests-nights, runbook: 'https://runbooks.example.com/nightly'}
            script: {source: 'test ${#DB_PASSWORD} = 7 && test "$(cat /etc/database/certificate)" = pem && test "$DAY" = today'}
            parameters: [{name: DAY, default: today}]
            secrets:
            - {name: DB_PASSWORD, secretKeyRef: {name: database, key: password}}
            - {name: CERTIFICATE, secretKeyRef: {name: database, key: certificate}, mountPath: /etc/database/certificate}
            schedule: {cron: ['30 2 * * MON-FRI'], timeZone: Europe/Berlin, startingDeadlineSeconds: 120, concurrencyPolicy: Replace}
            exitCodes: {noData: [2], fatal: [9, 3], retryable: [1]}
            retry: {limit: 2}
            timeouts: {attemptSeconds: 600, runSeconds: 3000}
        "#;
        let task = scene.armed_task("nightly", spec).await;
        let cron_job: CronJob = scene.get("nightly").await;
        let owner = &cron_job.owner_references()[0];
        assert_eq!((Some(&owner.uid), owner.controller), (task.metadata.uid.as_ref(), Some(true)));
        let spec = serde_json::to_value(cron_job.spec.as_ref().expect("a spec")).expect("JSON");
        let is = |path: &str, wanted: Value| assert_eq!(spec.pointer(path), Some(&wanted), "{path} in {spec:#}");
        is("/schedule", json!("30 2 * * 1-5"));
        is("/timeZone", json!("Europe/Berlin"));
        is("/startingDeadlineSeconds", json!(120));
        is("/concurrencyPolicy", json!("Replace"));
        is("/suspend", json!(false));
        is("/jobTemplate/spec/backoffLimitPerIndex", json!(2));
        is("/jobTemplate/spec/activeDeadlineSeconds", json!(3000));
        let fail_on =
            |codes: &[i32]| json!({ "action": "FailJob", "onExitCodes": { "containerName": "main", "operator": "In", "values": codes } });
        is("/jobTemplate/spec/podFailurePolicy/rules/0/action", json!("Ignore"));
        is("/jobTemplate/spec/podFailurePolicy/rules/0/onPodConditions/0/type", json!("DisruptionTarget"));
        is("/jobTemplate/spec/podFailurePolicy/rules/1", fail_on(&[2]));
        is("/jobTemplate/spec/podFailurePolicy/rules/2", fail_on(&[3, 9]));
        let pod = "/jobTemplate/spec/template/spec";
        is(&format!("{pod}/activeDeadlineSeconds"), json!(600));
        is(&format!("{pod}/restartPolicy"), json!("Never"));
        is(&format!("{pod}/securityContext/runAsNonRoot"), json!(true));
        is(&format!("{pod}/securityContext/seccompProfile/type"), json!("RuntimeDefault"));
        is(&format!("{pod}/containers/0/securityContext/allowPrivilegeEscalation"), json!(false));
        is(&format!("{pod}/containers/0/securityContext/capabilities/drop"), json!(["ALL"]));
        assert!(!spec.to_string().contains("hunter2"), "a Secret's value in {spec:#}");
        assert_eq!(cron_job.labels().get(label::TASK).map(String::as_str), Some("nightly"));

        let told = task.status.expect("a status");
        assert_eq!(told.schedule.as_deref(), Some("30 2 * * 1-5 (Europe/Berlin)"));
        assert_eq!(told.clock.map(|clock| clock.kind), Some(ClockKind::CronJob));
        assert!(told.next_schedule_time.is_some() && told.next.is_some_and(|next| next.contains("02:30 CE")));

        // What the level refuses is told when a pod is made, so only a pod that ran proves that it is kept.
        scene.job_from_cron_job("by-hand", "nightly").await;
        let run = scene.run_of_job("by-hand", 30).await;
        let run = scene.finished(&run.name_any(), 60).await;
        assert_eq!(status(&run).outcome, Some(Outcome::Succeeded), "{:?}", status(&run));
    })
    .await;
}

#[tokio::test]
async fn has_a_minute_for_h_that_is_always_the_same_for_one_name_in_one_namespace() {
    const LINE: &str = "{schedule: {cron: ['H H H * *']}}";
    let line_of = async |scene: &Scene, name: &str| -> String {
        let task = scene.armed(name).await;
        let cron_job: CronJob = scene.get(name).await;
        let line = cron_job.spec.expect("a spec").schedule;
        assert!(line.split(' ').take(3).all(|field| field.parse::<u32>().is_ok()), "{line}");
        assert_eq!(task.status.and_then(|status| status.schedule), Some(line.clone()), "status shows the line as resolved");
        line
    };
    in_a_scene(async |scene| {
        let mut lines = HashSet::new();
        for name in ["import-a", "import-b", "import-c", "import-d"] {
            scene.task(name, LINE).await;
            lines.insert(line_of(&scene, name).await);
        }
        assert!(lines.len() > 1, "names spread the load: {lines:?}");

        let before = line_of(&scene, "import-a").await;
        scene.delete::<AutomationTask>("import-a").await;
        scene.gone::<CronJob>("import-a", 30).await;
        scene.task("import-a", LINE).await;
        assert_eq!(line_of(&scene, "import-a").await, before, "the line is a matter of names alone");

        with_temp_namespace(async |client: Client, namespace| {
            let elsewhere = Scene::new(&client, &namespace);
            let mut others = HashSet::new();
            for name in ["import-a", "import-b", "import-c", "import-d"] {
                elsewhere.task(name, LINE).await;
                others.insert(line_of(&elsewhere, name).await);
            }
            assert_ne!(others, lines, "the same names elsewhere have lines of their own");
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn is_deleted_with_the_schedule_and_shows_in_a_table() {
    in_a_scene(async |scene| {
        scene.armed_task("nightly", "{schedule: {cron: ['0 2 * * *'], timeZone: Europe/Berlin}}").await;
        let table = kubectl_ok(&["--namespace", &scene.namespace, "get", "atask", "nightly"], None).await;
        assert!(table.contains("0 2 * * * (Europe/Berlin)") && table.contains("02:00 CE"), "{table}");

        scene.change::<AutomationTask>("nightly", json!({ "spec": { "schedule": null } })).await;
        scene.gone::<CronJob>("nightly", 30).await;
        scene.armed("nightly").await;
        let forgotten = |task: &AutomationTask| task.status.as_ref().is_some_and(|status| status.cron_jobs.is_empty());
        let task = scene.until::<AutomationTask, _>("nightly", "to have no CronJob on record", 20, forgotten).await;
        let told = task.status.expect("a status");
        assert_eq!((told.schedule.as_deref(), told.next), (Some("on demand"), None));
    })
    .await;
}
