//! Limits that Kubernetes keeps while the operator is down.

use k8s_openapi::api::core::v1::ResourceQuota;
use kube::ResourceExt;
use nightshift::api::{AttemptClass, Outcome};

use super::{
    outage::Outage,
    slots::{assert_ended, assert_told_by_pods, classes, due_in, ended_job, recorded},
};
use crate::support::{Scene, status, yaml};

pub async fn attempt_timeout(scene: Scene, mut outage: Outage) {
    // Whatever code the container answers the signal with, a timeout stays one.
    let spec = r#"script: {source: "trap 'exit 0' TERM; sleep 600 & wait"}, timeouts: {attemptSeconds: 4}"#;
    due_in(&scene, &outage, spec).await;
    outage.begins().await;
    let job = ended_job(&scene, &outage, 60).await;
    outage.ends().await;
    let run = recorded(&scene, &job).await;
    assert_ended(&run, Outcome::TimedOut, "AttemptTimeout");
    assert_eq!(classes(&run), [(Some(AttemptClass::TimedOut), Some(0))]);
    assert_told_by_pods(&run, &scene.pods(&job.name_any()).await);
}

/// A run that never begins is ended by `runSeconds`, and says what it waited on.
async fn ended_by_run_seconds(scene: Scene, mut outage: Outage, spec: &str, told: &[&str]) {
    due_in(&scene, &outage, &format!("timeouts: {{attemptSeconds: 15, runSeconds: 15}}, {spec}")).await;
    outage.begins().await;
    let job = ended_job(&scene, &outage, 90).await;
    outage.ends().await;
    let run = recorded(&scene, &job).await;
    let status = status(&run);
    assert_eq!(status.outcome, Some(Outcome::TimedOut), "{status:?}");
    let message = status.message.unwrap_or_default();
    assert!(told.iter().all(|word| message.contains(word)), "to act on, {told:?}: {message}");
    for attempt in &status.attempts {
        assert_eq!(
            (attempt.exit_code, &attempt.start_time, &attempt.finish_time),
            (None, &None, &None),
            "nothing is invented: {attempt:?}"
        );
    }
}

pub async fn unschedulable(scene: Scene, outage: Outage) {
    let spec = "command: ['true'], template: {spec: {nodeSelector: {nowhere: 'true'}}}";
    ended_by_run_seconds(scene, outage, spec, &["timeouts.runSeconds (15 s)", "no node can take the pod", "node affinity/selector"]).await;
}

pub async fn image_missing(scene: Scene, outage: Outage) {
    let spec = "command: ['true'], image: 'localhost/nightshift/nosuch:1'";
    ended_by_run_seconds(scene, outage, spec, &["15 s", "nosuch:1", "pull"]).await;
}

pub async fn secret_missing(scene: Scene, outage: Outage) {
    let spec = "command: ['true'], secrets: [{name: PASSWORD, secretKeyRef: {name: nosuch, key: password}}]";
    ended_by_run_seconds(scene, outage, spec, &["15 s", "nosuch"]).await;
}

pub async fn secret_file_missing(scene: Scene, outage: Outage) {
    let spec = "command: ['true'], secrets: [{name: PASSWORD, secretKeyRef: {name: nosuch, key: password}, mountPath: /etc/password}]";
    ended_by_run_seconds(scene, outage, spec, &["15 s", "nosuch", "create it, or correct secrets[].secretKeyRef"]).await;
}

pub async fn service_account_missing(scene: Scene, outage: Outage) {
    ended_by_run_seconds(scene, outage, "command: ['true'], serviceAccountName: nosuch", &["15 s", "nosuch", "create it"]).await;
}

pub async fn quota_used_up(scene: Scene, outage: Outage) {
    let quota: ResourceQuota = yaml("{metadata: {name: none}, spec: {hard: {pods: '0'}}}");
    scene.create(&quota).await;
    ended_by_run_seconds(scene, outage, "command: ['true']", &["15 s", "exceeded quota", "ResourceQuota"]).await;
}
