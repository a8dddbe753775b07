//! What people and the cluster do while the operator dies: each story is told many times, each time with another fault.

use k8s_openapi::{
    api::{
        authentication::v1::SelfSubjectReview,
        batch::v1::{CronJob, Job},
    },
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};
use kube::{
    Api, ResourceExt,
    api::{ObjectMeta, PostParams},
};
use nightshift::api::{AutomationRun, AutomationTask, Workflow, label};
use serde_json::{Value, json};

use crate::{
    end::{Attempt, End},
    support::{Scene, ready},
};

/// A story about one task, of whatever name.
pub trait Story: Sync {
    /// What its end is, without a fault and with any.
    fn end(&self) -> End;
    /// Tells it: does what people do, and waits for what is to come of it.
    async fn tell(&self, scene: &Scene, task: &str);
}

const FAILS_ONCE: &str = "script: {source: 'test $NIGHTSHIFT_RETRY -gt 0 || exit 4'}, exitCodes: {retryable: [4]}, retry: {limit: 1, backoff: {initialSeconds: 1}}";
const SECONDS: u64 = 90;

fn failed_once(jobs: [&'static str; 2]) -> Vec<Attempt> {
    vec![(jobs[0], "Retryable", Some(4), "ExitCodeRetryable"), (jobs[1], "Success", Some(0), "Completed")]
}

/// A run on demand whose first attempt fails.
pub struct RetriedRun;

impl Story for RetriedRun {
    fn end(&self) -> End {
        End {
            outcome: Some(("Succeeded", "Completed")),
            attempts: failed_once(["TASK-now-1", "TASK-now-2"]),
            jobs: vec!["TASK-now-1", "TASK-now-2"],
            ..End::default()
        }
    }

    async fn tell(&self, scene: &Scene, task: &str) {
        scene.task(task, &format!("{{{FAILS_ONCE}}}")).await;
        let run = format!("{task}-now");
        scene.run(&run, task).await;
        scene.finished(&run, SECONDS).await;
    }
}

/// A Job of a slot, as the CronJob controller makes one, whose first attempt fails.
pub struct AdoptedSlot;

const SLOT: &str = "2026-01-01T00:00:00Z";

impl Story for AdoptedSlot {
    fn end(&self) -> End {
        End {
            outcome: Some(("Succeeded", "Completed")),
            attempts: failed_once(["TASK-29453760", "TASK-29453760-2"]),
            jobs: vec!["TASK-29453760", "TASK-29453760-2"],
            cron_jobs: vec![("TASK", "0 0 1 1 *", "")],
            ..End::default()
        }
    }

    async fn tell(&self, scene: &Scene, task: &str) {
        scene.task(task, &format!("{{schedule: {{cron: ['0 0 1 1 *']}}, {FAILS_ONCE}}}")).await;
        let cron_job = scene.until::<CronJob, _>(task, "to exist", SECONDS, |_| true).await;
        let template = cron_job.spec.as_ref().expect("a spec").job_template.clone();
        let of_template = template.metadata.unwrap_or_default();
        let mut annotations = of_template.annotations.unwrap_or_default();
        annotations.insert(label::CRONJOB_SLOT.to_owned(), SLOT.to_owned());
        let owner = OwnerReference {
            api_version: "batch/v1".to_owned(),
            kind: "CronJob".to_owned(),
            name: cron_job.name_any(),
            uid: cron_job.uid().expect("a UID"),
            controller: Some(true),
            block_owner_deletion: Some(true),
        };
        let metadata = ObjectMeta {
            name: Some(format!("{task}-29453760")),
            labels: of_template.labels,
            annotations: Some(annotations),
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        };
        let job = scene.create(&Job { metadata, spec: template.spec, status: None }).await;
        scene.finished(&job.name_any(), SECONDS).await;
    }
}

/// A Job that somebody made from the CronJob.
pub struct AdoptedByHand;

impl Story for AdoptedByHand {
    fn end(&self) -> End {
        End {
            outcome: Some(("NoData", "ExitCodeNoData")),
            attempts: vec![("TASK-by-hand", "NoData", Some(2), "ExitCodeNoData")],
            jobs: vec!["TASK-by-hand"],
            cron_jobs: vec![("TASK", "0 0 1 1 *", "")],
            ..End::default()
        }
    }

    async fn tell(&self, scene: &Scene, task: &str) {
        scene.task(task, "{script: {source: 'exit 2'}, exitCodes: {noData: [2]}, schedule: {cron: ['0 0 1 1 *']}}").await;
        scene.until::<CronJob, _>(task, "to exist", SECONDS, |_| true).await;
        let job = format!("{task}-by-hand");
        scene.job_from_cron_job(&job, task).await;
        let run = scene.run_of_job(&job, SECONDS).await;
        scene.finished(&run.name_any(), SECONDS).await;
    }
}

/// A run that somebody cancels while its container runs.
pub struct CancelledRun;

impl Story for CancelledRun {
    fn end(&self) -> End {
        End {
            outcome: Some(("Cancelled", "Cancelled")),
            attempts: vec![("TASK-now-1", "Stopped", Some(7), "Cancelled")],
            jobs: vec!["TASK-now-1"],
            ..End::default()
        }
    }

    async fn tell(&self, scene: &Scene, task: &str) {
        // The kubelet calls the pod failed two seconds before its container has ended, and told its code.
        let spec = r#"{
            script: {source: "trap 'sleep 2; exit 7' TERM; sleep 600 & wait"}, retry: {limit: 1, backoff: {initialSeconds: 1}},
            template: {spec: {terminationGracePeriodSeconds: 10}}
        }"#;
        scene.task(task, spec).await;
        let run = format!("{task}-now");
        scene.run(&run, task).await;
        scene.pod_running(&format!("{run}-1"), SECONDS).await;
        scene.change::<AutomationRun>(&run, json!({ "spec": { "cancel": true } })).await;
        scene.finished(&run, SECONDS).await;
    }
}

/// A workflow of which a step hands on what it has found, one fails, and `finally` closes.
pub struct Steps;

impl Story for Steps {
    fn end(&self) -> End {
        End {
            outcome: Some(("Failed", "StepFailed")),
            steps: vec![("fetch", "Succeeded"), ("ask", "Succeeded"), ("load", "Failed"), ("never", "Skipped"), ("close", "Succeeded")],
            ..End::default()
        }
    }

    async fn tell(&self, scene: &Scene, task: &str) {
        let script = r#"printf '{"code": 3}' > /dev/termination-log; exit "${CODE:-0}""#;
        let spec = json!({ "script": { "source": script }, "parameters": [{ "name": "CODE" }], "outputs": [{ "name": "code", "type": "Integer" }] });
        scene.task(task, &spec.to_string()).await;
        let step = |name: &str, more: Value| {
            let mut step = json!({ "name": name, "taskRef": { "name": task } });
            step.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
            step
        };
        let steps = [
            step("fetch", json!({})),
            json!({ "name": "ask", "dependsOn": [{ "step": "fetch" }], "approval": {} }),
            step(
                "load",
                json!({ "dependsOn": [{ "step": "fetch" }, { "step": "ask" }], "parameters": [{ "name": "CODE", "expression": "steps.fetch.outputs.code" }] }),
            ),
            step("never", json!({ "dependsOn": [{ "step": "load" }] })),
        ];
        let workflow = json!({
            "apiVersion": "nightshift.dev/v1alpha1", "kind": "Workflow", "metadata": { "name": task },
            "spec": { "owner": { "team": "tests" }, "steps": steps, "finally": [step("close", json!({}))] },
        });
        scene.create::<Workflow>(&serde_json::from_value(workflow).expect("a workflow")).await;
        let run = format!("{task}-now");
        let object = json!({
            "apiVersion": "nightshift.dev/v1alpha1", "kind": "AutomationRun",
            "metadata": { "name": run }, "spec": { "workflowRef": { "name": task } },
        });
        scene.create::<AutomationRun>(&serde_json::from_value(object).expect("a run")).await;
        approve(scene, &run, "ask").await;
        scene.finished(&run, 2 * SECONDS).await;
    }
}

/// Says yes once the step asks, in the name of whoever the tests are.
async fn approve(scene: &Scene, run: &str, step: &'static str) {
    let asks = |run: &AutomationRun| {
        let steps = run.status.iter().flat_map(|status| &status.steps);
        steps.into_iter().any(|one| one.name == step && one.approval.is_some())
    };
    scene.until::<AutomationRun, _>(run, "to ask", 2 * SECONDS, asks).await;
    let me = Api::<SelfSubjectReview>::all(scene.client.clone()).create(&PostParams::default(), &SelfSubjectReview::default()).await;
    let me = me.ok().and_then(|me| me.status?.user_info?.username).expect("a user name");
    let answer = json!([{ "step": step, "decision": "Approve", "by": me }]);
    scene.change::<AutomationRun>(run, json!({ "spec": { "approvals": answer } })).await;
}

/// A task with two cron lines that loses one, and gets another line and another command.
pub struct EditedTask;

impl Story for EditedTask {
    fn end(&self) -> End {
        End { cron_jobs: vec![("TASK", "0 5 1 1 *", "after")], ..End::default() }
    }

    async fn tell(&self, scene: &Scene, task: &str) {
        let before = "{command: ['true'], env: [{name: EDIT, value: before}], schedule: {cron: ['0 3 1 1 *', '0 15 2 1 *']}}";
        scene.task(task, before).await;
        scene.armed(task).await;
        let after: Value = json!([{ "name": "EDIT", "value": "after" }]);
        let edit = json!({ "spec": { "schedule": { "cron": ["0 5 1 1 *"] }, "env": after } });
        scene.change::<AutomationTask>(task, edit).await;
        // Five writes, each of which may fail once, and the wait after each failure doubles: 31 seconds.
        let armed = |task: &AutomationTask| {
            ready(task).is_some_and(|(status, reason, _)| (status.as_str(), reason.as_str()) == ("True", "Accepted"))
        };
        scene.until::<AutomationTask, _>(task, "to be armed anew", SECONDS, armed).await;
    }
}
