//! What people do to the objects: at any time, in any order, and not always wisely.

use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{Resource, ResourceExt};
use serde_json::json;

use super::{
    NAMESPACE,
    cluster::Cluster,
    cron_job_controller, job_controller,
    operator::Operator,
    scenario::{TASK, WORKFLOW},
    store::Store,
};
use crate::{
    api::{AutomationRun, BackfillSpec, CatchUpPolicy, ConcurrencyPolicy, Definition, SlotRange, SlotSelection, TaskRef, label},
    ledger,
};

/// One act. Where there are several objects to choose from, the number chooses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    CreateRun {
        name: String,
        parameters: Vec<(String, String)>,
    },
    JobFromCronJob {
        name: String,
    },
    Cancel(usize),
    ChangeImage,
    Reschedule(String),
    Suspend(bool),
    /// Annotates the task, so that its schedule is paused for so many seconds.
    PauseFor(i64),
    /// The task's `concurrencyPolicy` becomes this.
    Policy(ConcurrencyPolicy),
    /// The schedule gets something that a CronJob has no place for, or loses it.
    NeedOperator(bool),
    /// Runs a run again.
    Rerun {
        name: String,
        of: usize,
        definition: Definition,
    },
    /// Asks for the slots of the last so many seconds.
    Backfill {
        name: String,
        seconds: i64,
        select: SlotSelection,
        concurrency: i32,
    },
    /// The same of the workflow.
    BackfillWorkflow {
        name: String,
        seconds: i64,
        select: SlotSelection,
        concurrency: i32,
    },
    /// The workflow's first step runs the task of that name.
    StepRuns(String),
    DeleteWorkflow,
    /// Cancels the first backfill.
    CancelBackfill,
    /// Pauses the first backfill, or lets it go on.
    SuspendBackfill(bool),
    DeleteBackfill,
    /// Task and workflow have no schedule any more.
    Unschedule,
    DeleteTask,
    DeleteCronJob,
    EditCronJob,
    DeleteJob(usize),
    /// Suspends a Job that goes on, or resumes it.
    SuspendJob(usize, bool),
    DeletePod(usize),
    DeleteRun(usize),
    RefuseJobs(bool),
    RefusePods(bool),
    /// The operator is away for so many seconds.
    StopOperator(i64),
    /// Kubernetes' CronJob controller is away for so many seconds.
    StopCronJobs(i64),
    /// Its watches begin anew, and tell again what they have told.
    RepeatEvents,
}

impl Act {
    /// Whether it takes evidence away, so that nobody can be sure of how a run went.
    pub fn destroys(&self) -> bool {
        matches!(
            self,
            Act::DeleteTask | Act::DeleteWorkflow | Act::DeleteCronJob | Act::DeleteJob(_) | Act::DeleteRun(_) | Act::DeleteBackfill
        )
    }

    #[expect(clippy::too_many_lines, reason = "one act after the other")]
    pub fn carry_out(&self, cluster: &mut Cluster, operator: &mut Operator) {
        let now = cluster.now;
        match self {
            Act::CreateRun { name, parameters } => {
                let given: Vec<_> = parameters.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
                create_run(cluster, name, &json!({ "taskRef": { "name": TASK }, "parameters": given }));
            }
            Act::JobFromCronJob { name } => {
                let job = cluster.cron_jobs.iter().next().map(|cron_job| cron_job_controller::job_by_hand(cron_job, name));
                if let Some(job) = job {
                    // Refused where the name is taken or the quota is full, as people are.
                    drop(cluster.create_job(&job));
                }
            }
            Act::Cancel(which) => {
                let goes_on = |run: &AutomationRun| !ledger::is_finished(run);
                if let Some(name) = choose(&cluster.runs, *which, goes_on) {
                    cluster.runs.edit(now, &name, |run| {
                        run.spec.cancel = Some(true);
                        run.metadata.generation = run.metadata.generation.map(|generation| generation + 1);
                    });
                }
            }
            Act::ChangeImage => edit_task(cluster, |spec| spec.image = Some("registry/x:2".to_owned())),
            Act::Reschedule(line) => edit_task(cluster, |spec| {
                if let Some(schedule) = &mut spec.schedule {
                    schedule.cron = vec![line.clone()];
                }
            }),
            Act::Suspend(suspend) => edit_task(cluster, |spec| {
                if let Some(schedule) = &mut spec.schedule {
                    schedule.suspend = Some(*suspend);
                }
            }),
            Act::PauseFor(seconds) => {
                let until = (now + SignedDuration::from_secs(*seconds)).to_string();
                cluster.tasks.edit(now, TASK, |task| {
                    task.metadata.annotations.get_or_insert_default().insert(label::PAUSED_UNTIL.to_owned(), until);
                });
            }
            Act::Policy(policy) => edit_task(cluster, |spec| {
                if let Some(schedule) = spec.schedule.as_mut().filter(|schedule| schedule.catch_up_policy() != CatchUpPolicy::All) {
                    schedule.concurrency_policy = Some(*policy);
                }
            }),
            Act::NeedOperator(needed) => edit_task(cluster, |spec| {
                if let Some(schedule) = &mut spec.schedule {
                    schedule.exclude = if *needed { vec!["2000-01-01".to_owned()] } else { Vec::new() };
                }
            }),
            Act::Rerun { name, of, definition } => {
                if let Some(of) = choose(&cluster.runs, *of, |run| run.name_any() != *name) {
                    let spec = json!({ "taskRef": { "name": TASK }, "rerunOf": of, "definition": definition });
                    create_run(cluster, name, &spec);
                }
            }
            Act::Backfill { name, seconds, select, concurrency } => {
                let spec = json!({ "taskRef": { "name": TASK }, "select": select, "concurrency": concurrency });
                create_backfill(cluster, name, *seconds, spec);
            }
            Act::BackfillWorkflow { name, seconds, select, concurrency } => {
                let spec = json!({ "workflowRef": { "name": WORKFLOW }, "select": select, "concurrency": concurrency });
                create_backfill(cluster, name, *seconds, spec);
            }
            Act::StepRuns(task) => edit_workflow(cluster, |spec| spec.steps[0].task_ref = Some(TaskRef { name: task.clone() })),
            Act::DeleteWorkflow => cluster.workflows.remove(now, WORKFLOW),
            Act::CancelBackfill => edit_backfill(cluster, |spec| spec.cancel = Some(true)),
            Act::SuspendBackfill(suspend) => edit_backfill(cluster, |spec| spec.suspend = Some(*suspend)),
            Act::DeleteBackfill => {
                if let Some(name) = choose(&cluster.backfills, 0, |_| true) {
                    cluster.backfills.remove(now, &name);
                }
            }
            Act::Unschedule => {
                edit_task(cluster, |spec| spec.schedule = None);
                edit_workflow(cluster, |spec| spec.schedule = None);
            }
            Act::DeleteTask => cluster.tasks.remove(now, TASK),
            Act::DeleteCronJob => {
                if let Some(name) = choose(&cluster.cron_jobs, 0, |_| true) {
                    cluster.cron_jobs.remove(now, &name);
                }
            }
            Act::EditCronJob => {
                if let Some(name) = choose(&cluster.cron_jobs, 0, |_| true) {
                    cluster.cron_jobs.edit(now, &name, |cron_job| {
                        cron_job.spec.get_or_insert_default().concurrency_policy = Some("Allow".to_owned());
                        cron_job.metadata.generation = cron_job.metadata.generation.map(|generation| generation + 1);
                    });
                }
            }
            Act::DeleteJob(which) => {
                if let Some(name) = choose(&cluster.jobs, *which, |_| true) {
                    cluster.jobs.remove(now, &name);
                }
            }
            Act::SuspendJob(which, suspend) => {
                if let Some(name) = choose(&cluster.jobs, *which, |job| !job_controller::is_finished(job)) {
                    cluster.jobs.edit(now, &name, |job| job.spec.get_or_insert_default().suspend = Some(*suspend));
                }
            }
            Act::DeletePod(which) => {
                if let Some(name) = choose(&cluster.pods, *which, |_| true) {
                    cluster.delete_pod(&name);
                }
            }
            Act::DeleteRun(which) => {
                if let Some(name) = choose(&cluster.runs, *which, |_| true) {
                    cluster.runs.remove(now, &name);
                }
            }
            Act::RefuseJobs(refuse) => cluster.jobs_refused = *refuse,
            Act::RefusePods(refuse) => cluster.pods_refused = *refuse,
            Act::StopOperator(seconds) => operator.crash(now + SignedDuration::from_secs(*seconds)),
            Act::StopCronJobs(seconds) => {
                cluster.cron_jobs_down_until = cluster.cron_jobs_down_until.max(now + SignedDuration::from_secs(*seconds));
            }
            Act::RepeatEvents => operator.touch_all(cluster),
        }
    }
}

fn choose<K: Resource<DynamicType = ()> + Clone + PartialEq>(store: &Store<K>, which: usize, may: impl Fn(&K) -> bool) -> Option<String> {
    let names: Vec<String> = store.iter().filter(|object| may(object)).map(|object| object.name_any()).collect();
    names.get(which % names.len().max(1)).cloned()
}

fn create_run(cluster: &mut Cluster, name: &str, spec: &serde_json::Value) {
    let meta = json!({ "name": name, "namespace": NAMESPACE });
    let run = json!({ "apiVersion": "nightshift.dev/v1alpha1", "kind": "AutomationRun", "metadata": meta, "spec": spec });
    if let Ok(run) = serde_json::from_value(run) {
        // A name that is taken is refused, as people are.
        drop(cluster.runs.create(cluster.now, run));
    }
}

/// Asks for the slots of the last so many seconds.
fn create_backfill(cluster: &mut Cluster, name: &str, seconds: i64, mut spec: serde_json::Value) {
    let now = cluster.now;
    spec["range"] = json!(SlotRange { from: Time(now - SignedDuration::from_secs(seconds)), to: Time(now) });
    let meta = json!({ "name": name, "namespace": NAMESPACE });
    let backfill = json!({ "apiVersion": "nightshift.dev/v1alpha1", "kind": "Backfill", "metadata": meta, "spec": spec });
    if let Ok(backfill) = serde_json::from_value(backfill) {
        drop(cluster.backfills.create(now, backfill));
    }
}

fn edit_workflow(cluster: &mut Cluster, change: impl FnOnce(&mut crate::api::WorkflowSpec)) {
    let now = cluster.now;
    cluster.workflows.edit(now, WORKFLOW, |workflow| {
        change(&mut workflow.spec);
        workflow.metadata.generation = workflow.metadata.generation.map(|generation| generation + 1);
    });
}

fn edit_backfill(cluster: &mut Cluster, change: impl FnOnce(&mut BackfillSpec)) {
    let now = cluster.now;
    if let Some(name) = choose(&cluster.backfills, 0, |_| true) {
        cluster.backfills.edit(now, &name, |backfill| {
            change(&mut backfill.spec);
            backfill.metadata.generation = backfill.metadata.generation.map(|generation| generation + 1);
        });
    }
}

fn edit_task(cluster: &mut Cluster, change: impl FnOnce(&mut crate::api::AutomationTaskSpec)) {
    let now = cluster.now;
    cluster.tasks.edit(now, TASK, |task| {
        change(&mut task.spec);
        task.metadata.generation = task.metadata.generation.map(|generation| generation + 1);
    });
}
