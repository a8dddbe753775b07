//! What keeps the API server from taking a run's Job, and passes: the run waits, says why, and starts by itself.

use nightshift::api::Outcome;

use super::place::{end, message, says, story};
use crate::support::kubectl_ok;

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
