//! Pods that do not start: each run says why, ends by `pendingSeconds`, and stands in nobody's way.

use futures::future::join_all;
use k8s_openapi::api::{
    batch::v1::Job,
    core::v1::{Namespace, Pod},
};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use nightshift::api::AutomationRunStatus;
use serde_json::json;

use super::place::{Place, end, message, says, story};

/// One way not to start, and what makes it start.
struct Obstacle {
    name: &'static str,
    spec: &'static str,
    reason: &'static str,
    says: &'static [&'static str],
    /// The object that was missing.
    fix: Option<&'static str>,
}

const OBSTACLES: [Obstacle; 7] = [
    Obstacle {
        name: "image",
        spec: "{image: 'localhost/nightshift/no-such-image:1'}",
        reason: "ImagePullBackOff",
        says: &["the image of container main cannot be pulled", "localhost/nightshift/no-such-image:1"],
        fix: None,
    },
    Obstacle {
        name: "image-name",
        spec: "{image: 'Not/An/Image'}",
        reason: "ImagePullBackOff",
        says: &["the image of container main cannot be pulled", "Not/An/Image"],
        fix: None,
    },
    Obstacle {
        name: "secret",
        spec: "{secrets: [{name: PASSWORD, secretKeyRef: {name: database, key: password}}]}",
        reason: "SecretMissing",
        says: &["container main cannot start: secret \"database\" not found", "create it, or correct secrets[].secretKeyRef"],
        fix: Some("{apiVersion: v1, kind: Secret, metadata: {name: database}, stringData: {password: x}}"),
    },
    Obstacle {
        name: "key",
        spec: "{secrets: [{name: PASSWORD, secretKeyRef: {name: partner, key: passwort}}]}",
        reason: "SecretMissing",
        says: &["couldn't find key passwort in Secret", "partner", "correct secrets[].secretKeyRef"],
        fix: None,
    },
    Obstacle {
        name: "secret-file",
        spec: "{secrets: [{name: CERTIFICATE, secretKeyRef: {name: certificate, key: tls}, mountPath: /run/tls.crt}]}",
        reason: "SecretMissing",
        says: &["a volume cannot be mounted", "secret \"certificate\" not found", "create it, or correct secrets[].secretKeyRef"],
        fix: Some("{apiVersion: v1, kind: Secret, metadata: {name: certificate}, stringData: {tls: x}}"),
    },
    Obstacle {
        name: "node",
        spec: "{template: {spec: {nodeSelector: {disk: nvme}}}}",
        reason: "Unschedulable",
        says: &["no node can take the pod", "didn't match Pod's node affinity/selector"],
        fix: None,
    },
    Obstacle {
        name: "account",
        spec: "{serviceAccountName: importer}",
        reason: "ServiceAccountMissing",
        says: &["the API server refuses it", "\"importer\" not found", "create it, or correct serviceAccountName"],
        fix: Some("{apiVersion: v1, kind: ServiceAccount, metadata: {name: importer}}"),
    },
];

/// The run's end, which must be that it did not start for that reason.
async fn did_not_start(place: &Place, run: &str, reason: &'static str, parts: &[&str]) -> AutomationRunStatus {
    let waiting = place.waiting(run, reason).await;
    says(message(&waiting), parts);
    assert!(waiting.waiting_on.is_some_and(|on| on.until.is_some()), "{run} says until when it waits");
    let status = place.finished(run).await;
    assert_eq!(end(&status).split(':').next(), Some(format!("TimedOut {reason}").as_str()), "{run}");
    says(message(&status), &["start within timeouts.pendingSeconds ("]);
    says(message(&status), parts);
    assert!(
        status.attempts.iter().all(|a| a.exit_code.is_none() && a.start_time.is_none()),
        "{run} invents nothing: {:?}",
        status.attempts
    );
    says(&place.events(run, reason).await.join("\n"), parts);
    status
}

#[tokio::test]
async fn a_run_that_cannot_start_says_why_ends_in_time_and_does_not_block_the_next() {
    story(async |place| {
        place.given("{apiVersion: v1, kind: Secret, metadata: {name: partner}, stringData: {password: x}}").await;
        join_all(OBSTACLES.iter().map(async |obstacle| {
            let &Obstacle { name, spec, reason, says: parts, fix } = obstacle;
            let spec = spec.strip_suffix('}').expect("it ends so");
            place.script(name, "exit 0", &format!("{spec}, timeouts: {{pendingSeconds: 30}}}}")).await;
            place.run(&format!("{name}-1"), name).await;
            let status = did_not_start(place, &format!("{name}-1"), reason, parts).await;
            let took = status.completion_time.expect("it ended").0.duration_since(status.start_time.expect("there was a Job").0);
            assert!((29..90).contains(&took.as_secs()), "{name}: pendingSeconds is 30, and it took {took}");
            if let Some(object) = fix {
                place.given(object).await;
                place.run(&format!("{name}-2"), name).await;
                assert_eq!(end(&place.finished(&format!("{name}-2")).await), "Succeeded Completed: Success 0", "{name}, put right");
            }
        }))
        .await;
    })
    .await;
}

#[tokio::test]
async fn a_run_that_waits_starts_as_soon_as_what_it_waits_for_is_there() {
    story(async |place| {
        place.script("import", "exit 0", "{secrets: [{name: PASSWORD, secretKeyRef: {name: database, key: password}}]}").await;
        place.run("import-1", "import").await;
        place.waiting("import-1", "SecretMissing").await;
        place.given("{apiVersion: v1, kind: Secret, metadata: {name: database}, stringData: {password: x}}").await;
        assert_eq!(end(&place.finished("import-1").await), "Succeeded Completed: Success 0");
    })
    .await;
}

#[tokio::test]
async fn a_pod_that_pod_security_refuses_is_told_and_ours_conform() {
    story(async |place| {
        let label = Patch::Merge(json!({ "metadata": { "labels": { "pod-security.kubernetes.io/enforce": "restricted" } } }));
        let namespaces = Api::<Namespace>::all(place.client.clone());
        namespaces.patch(&place.namespace, &PatchParams::default(), &label).await.expect("labelling the namespace");
        let privileged =
            "{timeouts: {pendingSeconds: 10}, template: {spec: {containers: [{name: main, securityContext: {privileged: true}}]}}}";
        place.script("privileged", "exit 0", privileged).await;
        let proxy =
            format!("{{template: {{spec: {{containers: [{{name: proxy, image: '{}', command: ['true']}}]}}}}}}", crate::support::IMAGE);
        place.script("ordinary", "exit 0", &proxy).await;
        place.run("privileged-1", "privileged").await;
        place.run("ordinary-1", "ordinary").await;
        did_not_start(
            place,
            "privileged-1",
            "PodSecurityDenied",
            &["violates PodSecurity \"restricted", "privileged", "make the template conform, or relax the namespace's Pod Security level"],
        )
        .await;
        assert_eq!(end(&place.finished("ordinary-1").await), "Succeeded Completed: Success 0", "what we render conforms to restricted");
    })
    .await;
}

#[tokio::test]
async fn a_quota_on_pods_or_jobs_is_told_and_waited_for() {
    story(async |place| {
        let quota = "{apiVersion: v1, kind: ResourceQuota, metadata: {name: pods}, spec: {hard: {pods: '0'}}}";
        place.given(quota).await;
        place.script("import", "exit 0", "{timeouts: {pendingSeconds: 10}}").await;
        place.script("patient", "exit 0", "{}").await;
        place.kubectl(&["wait", "--for=jsonpath={.status.hard.pods}=0", "resourcequota/pods"]).await;
        place.run("no-pod", "import").await;
        let told = ["exceeded quota: pods", "wait for others to end, or raise the namespace's ResourceQuota"];
        did_not_start(place, "no-pod", "QuotaExceeded", &told).await;
        place.delete::<k8s_openapi::api::core::v1::ResourceQuota>("pods").await;

        let quota = "{apiVersion: v1, kind: ResourceQuota, metadata: {name: jobs}, spec: {hard: {count/jobs.batch: '1'}}}";
        place.given(quota).await;
        place.kubectl(&["wait", "--for=jsonpath={.status.used.count/jobs\\.batch}=1", "resourcequota/jobs"]).await;
        place.run("no-job", "import").await;
        place.run("patient-1", "patient").await;
        let told = ["exceeded quota: jobs", "wait for others to end, or raise the namespace's ResourceQuota"];
        did_not_start(place, "no-job", "QuotaExceeded", &told).await;
        assert_eq!(place.jobs("no-job").await.len(), 0);
        place.waiting("patient-1", "QuotaExceeded").await;
        place.delete::<k8s_openapi::api::core::v1::ResourceQuota>("jobs").await;
        assert_eq!(end(&place.finished("patient-1").await), "Succeeded Completed: Success 0", "once there is room");
    })
    .await;
}

#[tokio::test]
async fn a_night_that_could_not_start_leaves_the_next_night_alone() {
    story(async |place| {
        let spec = "{image: 'localhost/nightshift/no-such-image:1', timeouts: {pendingSeconds: 10}, schedule: {cron: ['* * * * *'], concurrencyPolicy: Forbid}}";
        place.task("nightly", spec).await;
        let ended = async |jobs: usize| {
            crate::support::eventually(&format!("{jobs} nights are over"), std::time::Duration::from_secs(150), async || {
                let runs = place.runs().await;
                let over = runs.iter().filter_map(|run| run.status.clone()).filter(|status| status.outcome.is_some()).collect::<Vec<_>>();
                if over.len() >= jobs { Ok(over) } else { Err(format!("{over:?}")) }
            })
            .await
        };
        for status in ended(2).await {
            assert_eq!(end(&status).split(':').next(), Some("TimedOut ImagePullBackOff"));
            says(message(&status), &["did not start within timeouts.pendingSeconds (10 s)", "no-such-image"]);
        }
        assert_eq!(place.ours::<Pod>().await.len(), 0, "no pod waits on");
        assert!(place.ours::<Job>().await.len() >= 2);
    })
    .await;
}
