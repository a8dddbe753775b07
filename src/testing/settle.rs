//! The operator alone at one time, with everything else standing still: where do its plans lead?

use super::{
    cluster::Cluster,
    dice::Dice,
    operator::{Mishaps, Operator},
    world::World,
};
use kube::ResourceExt;

/// Rounds after which plans at one time must have come to rest: adopt, mark, record, take up, prune.
const ENOUGH: usize = 8;

impl World {
    /// Lets the operator look at everything, with fresh eyes and without mishaps, until it changes nothing any more.
    /// Returns what there is then, or how it went on.
    pub fn settled(&self) -> Result<Cluster, String> {
        let mut cluster = self.cluster.clone();
        let mut dice = Dice::new(self.scenario.seed);
        for _ in 0..ENOUGH {
            let version = cluster.version();
            let mut operator = Operator::new(super::caches::Lags::default(), Mishaps::default(), cluster.now);
            // What may wait is told in the end, and it is the end that counts.
            operator.tells_all = true;
            operator.listen(&cluster);
            while let Some(key) = operator.pick(&mut dice) {
                operator.reconcile(&mut cluster, &key);
            }
            // What is refused is asked for again, and only that.
            if operator.writes.is_empty() || (cluster.jobs_refused && cluster.version() == version) {
                return Ok(cluster);
            }
        }
        Err(format!("plans at one time come to no end, at {}", cluster.now))
    }
}

/// What there is, without versions and generations, which count writes and say nothing else.
pub fn essence(cluster: &Cluster) -> Vec<String> {
    let runs =
        cluster.runs.iter().map(|run| format!("{} {:?} {:?} {:?}", run.name_any(), run.metadata.owner_references, run.spec, run.status));
    let cron_jobs =
        cluster.cron_jobs.iter().map(|c| format!("{} {:?} {:?}", c.name_any(), c.metadata.owner_references, c.metadata.annotations));
    let jobs = cluster.jobs.iter().map(|job| {
        let meta = &job.metadata;
        // Of the spec only this is ever patched.
        let limits = job.spec.as_ref().map(|spec| (spec.backoff_limit, spec.active_deadline_seconds));
        format!("{} {:?} {:?} {:?} {limits:?}", job.name_any(), meta.owner_references, meta.labels, meta.annotations)
    });
    let pods = cluster.pods.iter().map(|pod| {
        format!("{} {:?} {:?}", pod.name_any(), pod.metadata.deletion_timestamp, pod.spec.as_ref().map(|spec| spec.active_deadline_seconds))
    });
    let tasks = cluster.tasks.iter().map(|task| {
        let mut status = task.status.clone().unwrap_or_default();
        status.cron_jobs.iter_mut().for_each(|record| record.generation = 0);
        format!("{} {status:?}", task.name_any())
    });
    let workflows = cluster.workflows.iter().map(|workflow| format!("{} {:?}", workflow.name_any(), workflow.status));
    let backfills = cluster.backfills.iter().map(|backfill| format!("{} {:?}", backfill.name_any(), backfill.status));
    let revisions = cluster.revisions.iter().map(|revision| revision.name_any());
    tasks.chain(workflows).chain(runs).chain(cron_jobs).chain(jobs).chain(pods).chain(backfills).chain(revisions).collect()
}
