//! What keeps a run from its Job. Where it passes, the run waits, says why, and starts by itself; a Job of the same name
//! that is somebody else's, or its own that somebody deleted, ends it.

use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt;
use nightshift::api::Outcome;

use super::place::{end, message, says, story};
use crate::support::{IMAGE, kubectl_ok};

#[tokio::test]
async fn a_webhook_that_is_down_is_named_and_the_run_starts_once_it_is_gone() {
    story(async |place| {
        place.script("import", "exit 0", "{}").await;
        let webhook = format!("down-in-{}", place.namespace);
        place
            .given(&format!(
                "{{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingWebhookConfiguration, metadata: {{name: {webhook}}}, webhooks: [{{
                   name: jobs.example.com, failurePolicy: Fail, sideEffects: None, admissionReviewVersions: [v1], timeoutSeconds: 2,
                   clientConfig: {{service: {{name: nobody, namespace: {ns}, path: /}}}},
                   namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: {ns}}}}},
                   rules: [{{apiGroups: [batch], apiVersions: [v1], operations: [CREATE], resources: [jobs]}}]}}]}}",
                ns = place.namespace
            ))
            .await;
        place.run("import-1", "import").await;
        let waits = place.waiting("import-1", "WebhookFailed").await;
        kubectl_ok(&["delete", "validatingwebhookconfiguration", &webhook], None).await;
        says(message(&waits), &["jobs.example.com", "an admission webhook of the cluster does not answer: mend it, or ask who runs it"]);
        let status = place.finished("import-1").await;
        assert_eq!(status.outcome, Some(Outcome::Succeeded), "{}", end(&status));
    })
    .await;
}

#[tokio::test]
async fn a_run_made_again_under_the_name_of_a_deleted_one_starts_when_the_old_job_is_gone() {
    story(async |place| {
        // The old pod takes its time to end, and so does its Job to go.
        place
            .script(
                "import",
                "trap 'sleep 4; exit 0' TERM; if test $DAY = 1; then sleep 300 & wait; fi",
                "{parameters: [{name: DAY}], template: {spec: {terminationGracePeriodSeconds: 20}}}",
            )
            .await;
        place.run_with("import-1", "import", &[("DAY", "1")]).await;
        place.running("import-1").await;
        place.kubectl(&["delete", "arun", "import-1"]).await;
        place.run_with("import-1", "import", &[("DAY", "2")]).await;
        let status = place.finished("import-1").await;
        assert_eq!(end(&status), "Succeeded Completed: Success 0");
    })
    .await;
}

#[tokio::test]
async fn a_job_of_the_same_name_that_is_somebody_elses_ends_the_run_and_is_left_alone() {
    story(async |place| {
        place.script("import", "exit 0", "{}").await;
        // Suspended, so that Kubernetes leaves it as it is too.
        let pod = format!("{{spec: {{restartPolicy: Never, containers: [{{name: theirs, image: '{IMAGE}', command: ['true']}}]}}}}");
        let job = format!("{{apiVersion: batch/v1, kind: Job, metadata: {{name: import-1-1}}, spec: {{suspend: true, template: {pod}}}}}");
        place.given(&job).await;
        let before = place.get::<Job>("import-1-1").await;
        place.run("import-1", "import").await;
        let status = place.finished("import-1").await;
        assert_eq!(end(&status), "Failed NameTaken: ");
        let told = ["a Job import-1-1 exists and is not this run's", "delete it, or create the run under another name"];
        says(message(&status), &told);
        let after = place.get::<Job>("import-1-1").await;
        assert_eq!((after.uid(), after.labels(), &after.spec), (before.uid(), before.labels(), &before.spec), "the Job is as it was");
        assert!(after.owner_references().is_empty() && after.metadata.deletion_timestamp.is_none(), "{:?}", after.metadata);
    })
    .await;
}

#[tokio::test]
async fn a_run_whose_job_somebody_deletes_has_an_unknown_end_and_is_not_started_again() {
    story(async |place| {
        // Retries are left; but nobody knows what was done by then.
        place.script("import", "sleep 300", "{retry: {limit: 3, backoff: {initialSeconds: 1}}}").await;
        place.script("other", "exit 0", "{}").await;
        place.run("import-1", "import").await;
        place.running("import-1").await;
        place.kubectl(&["delete", "job", "import-1-1"]).await;
        let status = place.finished("import-1").await;
        assert_eq!(end(&status), "Unknown JobGone: PodGone");
        assert_eq!(status.result, None, "neither good nor bad");
        says(message(&status), &["its Job was deleted before its end was seen", "create another AutomationRun to run it again"]);
        // A run after it shows that the operator has had its turn.
        place.run("other-1", "other").await;
        place.finished("other-1").await;
        assert_eq!(place.jobs("import-1").await.len(), 0);
    })
    .await;
}
