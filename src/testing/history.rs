//! What can be read from a world once it has come to its end.

use std::{fmt::Debug, sync::Arc};

use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt;

use super::world::World;
use crate::api::{Attempt, AutomationRun, AutomationRunStatus, Outcome, label};

impl World {
    /// The run of that name as it was last, whether it is still there or not.
    pub fn run_status(&self, name: &str) -> AutomationRunStatus {
        let last = self.cluster.runs.log().iter().rev().find(|entry| entry.name == name);
        last.and_then(|entry| entry.object.status.clone()).unwrap_or_default()
    }

    /// Every run that ever was, as it was last.
    pub fn all_runs(&self) -> Vec<Arc<AutomationRun>> {
        let last = |uid| self.cluster.runs.log().iter().rev().find(|entry| entry.object.uid() == uid).map(|entry| entry.object.clone());
        self.cluster.runs.births().filter_map(|entry| last(entry.object.uid())).collect()
    }

    /// Every Job that ever was, as it was last.
    pub fn all_jobs(&self) -> Vec<Arc<Job>> {
        let last = |uid| self.cluster.jobs.log().iter().rev().find(|entry| entry.object.uid() == uid).map(|entry| entry.object.clone());
        self.cluster.jobs.births().filter_map(|entry| last(entry.object.uid())).collect()
    }

    /// What there is at the end, without times and versions: what must not depend on when the operator crashed.
    pub fn end(&self) -> End {
        let mut runs: Vec<RunEnd> = self.all_runs().iter().map(|run| RunEnd::of(run)).collect();
        runs.sort_by(|a, b| a.name.cmp(&b.name));
        let jobs = self.cluster.jobs.iter().map(|job| (job.name_any(), job.labels().get(label::RUN).cloned())).collect();
        let cron_jobs = self.cluster.cron_jobs.iter().map(|cron_job| format!("{:?}", cron_job.spec)).collect();
        let conditions = self.cluster.tasks.iter().flat_map(|task| task.status.iter().flat_map(|status| &status.conditions));
        let conditions = conditions.map(|c| format!("{} {} {} {}", c.type_, c.status, c.reason, c.message)).collect();
        End { runs, jobs, cron_jobs, conditions }
    }
}

/// How a world ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    pub runs: Vec<RunEnd>,
    /// Jobs that are left, with the run that each is marked with.
    pub jobs: Vec<(String, Option<String>)>,
    pub cron_jobs: Vec<String>,
    pub conditions: Vec<String>,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunEnd {
    pub name: String,
    pub outcome: Option<Outcome>,
    pub reason: Option<String>,
    pub attempts: Vec<String>,
}

impl RunEnd {
    pub fn of(run: &AutomationRun) -> Self {
        let status = run.status.clone().unwrap_or_default();
        let told = |a: &Attempt| format!("{} {:?} {:?} {:?}", a.job, a.class, a.exit_code, a.reason);
        Self { name: run.name_any(), outcome: status.outcome, reason: status.reason, attempts: status.attempts.iter().map(told).collect() }
    }
}

/// Fails with the scenario, so that it can be played again.
#[track_caller]
pub fn expect_none<T: Debug>(world: &World, wrong: impl IntoIterator<Item = T>) {
    let wrong: Vec<T> = wrong.into_iter().collect();
    assert!(wrong.is_empty(), "{wrong:#?}\nscenario: {:#?}", world.scenario);
}
