//! How a story ended: what must be the same whatever went wrong.

use k8s_openapi::api::{
    batch::v1::{CronJob, Job},
    core::v1::{Event, Pod},
};
use kube::{ResourceExt, api::ListParams};
use nightshift::api::{AutomationRun, AutomationTask, Phase, Workflow, label};

use crate::support::{Scene, ready, status};

/// Job, class, exit code, reason.
pub type Attempt = (&'static str, &'static str, Option<i32>, &'static str);

/// What must come of a story, with `TASK` for the task's name.
#[derive(Default)]
pub struct End {
    /// Outcome and reason of the one run; `None` where there is to be none.
    pub outcome: Option<(&'static str, &'static str)>,
    /// Its attempts.
    pub attempts: Vec<Attempt>,
    /// Its Jobs, with one pod each.
    pub jobs: Vec<&'static str>,
    /// Where a workflow of the same name is run: its steps and how they ended. Each that was not skipped has one run, one Job and
    /// one pod, but for one that was approved.
    pub steps: Vec<(&'static str, &'static str)>,
    /// The CronJobs: name, line, and the value of the variable EDIT.
    pub cron_jobs: Vec<(&'static str, &'static str, &'static str)>,
}

impl End {
    /// What differs from it in the world.
    pub async fn differences(&self, scene: &Scene, task: &str) -> Vec<String> {
        if !self.steps.is_empty() {
            return self.differences_of_steps(scene, task).await;
        }
        let named = |name: &str| name.replace("TASK", task);
        let mut differences = Vec::new();
        let mut compare = |what: &str, wanted: String, found: String| {
            if wanted != found {
                differences.push(format!("{what}: wanted {wanted}, found {found}"));
            }
        };
        let of_task = |labels: &std::collections::BTreeMap<String, String>| labels.get(label::TASK).is_some_and(|t| t == task);

        let mut runs = scene.runs().await;
        runs.retain(|run| run.spec.task_name() == task);
        compare("runs", usize::from(self.outcome.is_some()).to_string(), runs.len().to_string());
        let mut jobs = scene.ours::<Job>().await;
        jobs.retain(|job| of_task(job.labels()));
        let names: Vec<String> = jobs.iter().map(ResourceExt::name_any).collect();
        compare("Jobs", format!("{:?}", self.jobs.iter().map(|job| named(job)).collect::<Vec<_>>()), format!("{names:?}"));
        let mut pods = scene.ours::<Pod>().await;
        pods.retain(|pod| of_task(pod.labels()));
        compare("pods", self.jobs.len().to_string(), pods.len().to_string());
        if let Some(run) = runs.first() {
            self.compare_run(run, &named, &mut compare);
            for job in &jobs {
                let owned = job.owner_references().iter().any(|owner| Some(&owner.uid) == run.metadata.uid.as_ref());
                let labelled = job.labels().get(label::RUN) == Some(&run.name_any());
                compare(&format!("Job {} is the run's", job.name_any()), "true true".to_owned(), format!("{owned} {labelled}"));
            }
            // A crash may lose an Event, and never tells one twice.
            let about = ListParams::default().fields(&format!("involvedObject.name={}", run.name_any()));
            let events = scene.api::<Event>().list(&about).await.expect("listing events").items;
            let ends = events.iter().filter(|event| event.action.as_deref() == Some("Conclude")).count();
            compare("Events of the end", "at most 1".to_owned(), if ends <= 1 { "at most 1".to_owned() } else { ends.to_string() });
        }
        let wanted: Vec<_> =
            self.cron_jobs.iter().map(|(name, line, edit)| (named(name), (*line).to_owned(), (*edit).to_owned())).collect();
        let mut cron_jobs = scene.cron_jobs().await;
        cron_jobs.retain(|cron_job| of_task(cron_job.labels()));
        compare("CronJobs", format!("{wanted:?}"), format!("{:?}", cron_jobs.iter().map(line).collect::<Vec<_>>()));

        let task: AutomationTask = scene.get(task).await;
        compare("Ready", r#"Some("True")"#.to_owned(), format!("{:?}", ready(&task).map(|(status, ..)| status)));
        let told = task.status.unwrap_or_default();
        compare("active", "0 []".to_owned(), format!("{} {:?}", told.active_count, told.active));
        let last = runs.first().map(|run| (run.name_any(), status(run).completion_time));
        compare("last run", format!("{last:?}"), format!("{:?}", told.last_run.map(|last| (last.name, last.completion_time))));
        let recorded: Vec<_> = told.cron_jobs.iter().map(|c| (c.name.clone(), c.uid.clone(), c.generation)).collect();
        let there: Vec<_> =
            cron_jobs.iter().map(|c| (c.name_any(), c.uid().unwrap_or_default(), c.metadata.generation.unwrap_or_default())).collect();
        compare("CronJobs on record", format!("{there:?}"), format!("{recorded:?}"));
        if !differences.is_empty() {
            differences.extend(pods.iter().map(|pod| format!("pod {}: {}", pod.name_any(), serde_json::json!(pod.status))));
        }
        differences
    }

    /// What differs in the run of a workflow.
    async fn differences_of_steps(&self, scene: &Scene, workflow: &str) -> Vec<String> {
        let mut differences = Vec::new();
        let mut compare = |what: &str, wanted: String, found: String| {
            if wanted != found {
                differences.push(format!("{what}: wanted {wanted}, found {found}"));
            }
        };
        let name = format!("{workflow}-now");
        let run: AutomationRun = scene.get(&name).await;
        let told = status(&run);
        let outcome = told.outcome.map(|outcome| format!("{outcome:?} {}", told.reason.as_deref().unwrap_or_default()));
        compare("outcome", format!("{:?}", self.outcome.map(|(outcome, reason)| format!("{outcome} {reason}"))), format!("{outcome:?}"));
        let found = told.steps.iter().map(|step| format!("{} {:?}", step.name, step.outcome)).collect::<Vec<_>>();
        let wanted = self.steps.iter().map(|(step, outcome)| format!("{step} Some({outcome})")).collect::<Vec<_>>();
        compare("steps", format!("{wanted:?}"), format!("{found:?}"));
        let asked =
            |step: &str| told.steps.iter().any(|told| told.name == step && told.approval.as_ref().is_some_and(|one| one.by.is_some()));
        let ran: Vec<_> = self.steps.iter().filter(|(step, outcome)| *outcome != "Skipped" && !asked(step)).collect();
        let mut children = scene.runs().await;
        children.retain(|child| child.spec.step.as_ref().is_some_and(|of| of.workflow_run == name));
        let mut of: Vec<_> = children
            .iter()
            .map(|child| format!("{} {:?}", child.spec.step.as_ref().map_or("", |of| &of.name), status(child).outcome))
            .collect();
        let mut wanted: Vec<_> = ran.iter().map(|(step, outcome)| format!("{step} Some({outcome})")).collect();
        of.sort();
        wanted.sort();
        compare("runs of steps", format!("{wanted:?}"), format!("{of:?}"));
        let of_task = |labels: &std::collections::BTreeMap<String, String>| labels.get(label::TASK).is_some_and(|task| task == workflow);
        let jobs = scene.ours::<Job>().await.into_iter().filter(|job| of_task(job.labels())).count();
        let pods = scene.ours::<Pod>().await.into_iter().filter(|pod| of_task(pod.labels())).count();
        compare("Jobs and pods", format!("{} {}", ran.len(), ran.len()), format!("{jobs} {pods}"));
        let told = scene.get::<Workflow>(workflow).await.status.unwrap_or_default();
        compare(
            "active, last",
            format!("0 {:?}", Some(&name)),
            format!("{} {:?}", told.active_count, told.last_run.map(|last| last.name).as_ref()),
        );
        differences
    }

    fn compare_run(&self, run: &AutomationRun, named: &impl Fn(&str) -> String, compare: &mut impl FnMut(&str, String, String)) {
        let told = status(run);
        compare("phase", format!("{:?}", Some(Phase::Finished)), format!("{:?}", told.phase));
        let outcome = told.outcome.map(|outcome| format!("{outcome:?} {}", told.reason.as_deref().unwrap_or_default()));
        compare("outcome", format!("{:?}", self.outcome.map(|(outcome, reason)| format!("{outcome} {reason}"))), format!("{outcome:?}"));
        let wanted: Vec<_> =
            self.attempts.iter().map(|(job, class, code, reason)| format!("{} {class} {code:?} {reason}", named(job))).collect();
        let found = told.attempts.iter().map(|a| {
            let class = a.class.map(|class| format!("{class:?}")).unwrap_or_default();
            format!("{} {class} {:?} {}", a.job, a.exit_code, a.reason.as_deref().unwrap_or_default())
        });
        compare("attempts", format!("{wanted:?}"), format!("{:?}", found.collect::<Vec<_>>()));
        compare("attempt count", self.attempts.len().to_string(), told.attempt_count.unwrap_or_default().to_string());
    }
}

fn line(cron_job: &CronJob) -> (String, String, String) {
    let spec = cron_job.spec.clone().unwrap_or_default();
    let pod = spec.job_template.spec.and_then(|job| job.template.spec);
    let env = pod.into_iter().flat_map(|pod| pod.containers).flat_map(|container| container.env.unwrap_or_default());
    let edit = env.into_iter().find(|variable| variable.name == "EDIT").and_then(|variable| variable.value);
    (cron_job.name_any(), spec.schedule, edit.unwrap_or_default())
}
