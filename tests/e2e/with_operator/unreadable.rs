//! A stored object that the operator cannot read stops no other.

use k8s_openapi::api::batch::v1::Job;
use kube::{
    ResourceExt,
    api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams},
};
use nightshift::{
    api::{AutomationRun, AutomationTask},
    clock::Clock,
    controller::Operator,
    metrics::Metrics,
};
use serde_json::json;

use super::place::{end, says, story};
use crate::support::{kubectl_ok, leader, operator_client, yaml};

/// A time that the API server takes and that lies outside our calendar.
const AFTER_ALL_TIME: &str = "9999-12-31T23:59:59Z";

#[tokio::test]
async fn one_bad_stored_object_never_stops_the_others() {
    story(async |place| {
        place.script("import", "exit 0", "{}").await;
        place.script("spoilt", "exit 0", "{}").await;
        place.armed("spoilt").await;
        let bad = format!(
            "{{apiVersion: nightshift.dev/v1alpha1, kind: AutomationRun, metadata: {{name: bad}}, spec: {{taskRef: {{name: import}}, trigger: Schedule, scheduledTime: '{AFTER_ALL_TIME}'}}}}"
        );
        // Admission lets nobody else write either of the two.
        let operator = operator_client().await;
        let all = |kind| kube::Api::<DynamicObject>::namespaced_with(operator.clone(), &place.namespace, &kind);
        let (runs, tasks) = (all(ApiResource::erase::<AutomationRun>(&())), all(ApiResource::erase::<AutomationTask>(&())));
        runs.create(&PostParams::default(), &yaml(&bad)).await.expect("the server takes it");
        let spoil = Patch::Merge(json!({ "status": { "nextScheduleTime": AFTER_ALL_TIME } }));
        tasks.patch_status("spoilt", &PatchParams::default(), &spoil).await.expect("changing a status as the operator");
        assert!(place.api::<AutomationRun>().get("bad").await.is_err(), "our own types cannot read it");
        assert!(place.api::<AutomationTask>().get("spoilt").await.is_err(), "our own types cannot read it");

        // An operator that finds them as it starts, as well as the one that has seen them come.
        let own = Operator::new(operator, std::slice::from_ref(&place.namespace), Clock::system(), Metrics::new().expect("counters"));
        let context = own.context.clone();
        let running = tokio::spawn(own.run());
        tokio::time::timeout(std::time::Duration::from_secs(30), context.caches.synced()).await.expect("it has read all that it can read");
        place.run("good", "import").await;
        assert_eq!(end(&place.finished("good").await), "Succeeded Completed: Success 0");
        running.abort();
        place.get::<Job>("good-1").await;

        let pod = leader(&place.client).await.name_any();
        let log = kubectl_ok(&["--namespace", "nightshift-system", "logs", &pod, "--tail=-1"], None).await;
        let told = log.lines().find(|line| line.contains(&place.namespace) && line.contains("does not parse"));
        says(told.expect("the operator tells of it"), &["correct it or delete it"]);
    })
    .await;
}
