//! The objects that are measured: a trivial task and its runs, and bare Jobs and CronJobs with the pod that it renders.

use anyhow::Context;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use kube::ResourceExt;
use nightshift::api::{AutomationRun, AutomationTask};
use serde_json::{Value, json};

/// An image whose pods kwok completes after a second.
pub const ENDS: &str = "ends";
/// An image whose pods kwok lets run for ever.
pub const HOLD: &str = "hold";
/// Once a year, which is not now.
pub const YEARLY: &str = "0 0 1 1 *";

/// A task as small as one can be. It keeps as many finished runs as a task may.
pub fn task(name: &str, image: &str, cron: Option<&str>) -> anyhow::Result<AutomationTask> {
    let mut object = json!({
        "apiVersion": "nightshift.dev/v1alpha1", "kind": "AutomationTask",
        "metadata": { "name": name },
        "spec": { "owner": { "team": "bench" }, "image": image, "command": ["true"], "history": { "succeeded": 50, "failed": 50 } },
    });
    if let Some(cron) = cron {
        object["spec"]["schedule"] = json!({ "cron": [cron], "timeZone": "Etc/UTC" });
    }
    serde_json::from_value(object).context("a task")
}

/// The same, on the operator's clock: a CronJob has no place for a day without slots.
pub fn clocked_task(name: &str, cron: &str) -> anyhow::Result<AutomationTask> {
    let mut task = task(name, ENDS, Some(cron))?;
    if let Some(schedule) = &mut task.spec.schedule {
        schedule.exclude = vec!["2000-01-01".to_owned()];
    }
    Ok(task)
}

/// "Run now".
pub fn run(name: &str, task: &str) -> anyhow::Result<AutomationRun> {
    let object = json!({
        "apiVersion": "nightshift.dev/v1alpha1", "kind": "AutomationRun",
        "metadata": { "name": name }, "spec": { "taskRef": { "name": task } },
    });
    serde_json::from_value(object).context("a run")
}

/// The spec of a bare Job, as anybody would write it: nothing but the pod template of a Job that the operator has made.
pub fn bare(rendered: &Job) -> anyhow::Result<Value> {
    let mut template = serde_json::to_value(&rendered.spec.as_ref().context("the Job has no spec")?.template)?;
    template.as_object_mut().context("a template is an object")?.remove("metadata");
    Ok(json!({ "template": template }))
}

/// A bare Job.
pub fn job(name: &str, spec: &Value) -> anyhow::Result<Job> {
    serde_json::from_value(json!({ "metadata": { "name": name }, "spec": spec })).context("a Job")
}

/// A bare CronJob, with the overlap policy that a task has.
pub fn cron_job(name: &str, cron: &str, spec: &Value) -> anyhow::Result<CronJob> {
    let spec = json!({
        "schedule": cron, "timeZone": "Etc/UTC", "concurrencyPolicy": "Forbid", "startingDeadlineSeconds": 60,
        "jobTemplate": { "spec": spec },
    });
    serde_json::from_value(json!({ "metadata": { "name": name }, "spec": spec })).context("a CronJob")
}

/// A finished run of `task`: a copy of one that the operator has recorded, under another name.
pub fn finished(name: &str, task: &AutomationTask, real: &AutomationRun) -> AutomationRun {
    let mut run = real.clone();
    run.metadata = kube::api::ObjectMeta {
        name: Some(name.to_owned()),
        namespace: task.namespace(),
        owner_references: Some(vec![nightshift::build::owned_by_task(task)]),
        ..Default::default()
    };
    run.spec.task_ref = Some(nightshift::api::TaskRef { name: task.name_any() });
    for attempt in run.status.iter_mut().flat_map(|status| &mut status.attempts) {
        attempt.job = format!("{name}-1");
        attempt.pod = Some(format!("{name}-1-0-abcde"));
    }
    run
}
