//! What is seen of the runs of a namespace that are under caps.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use k8s_openapi::api::batch::v1::Job;

use super::{
    decide::Holder,
    memory::Memory,
    needs::{Needs, Slots, is_marked, marked},
};
use crate::{
    api::{AutomationRun, AutomationTask, ConcurrencyPool, Phase, label},
    ledger,
    outcome::{self, reason},
};

/// Where the objects of one namespace are read from.
pub trait Source {
    /// Runs of tasks that are not finished.
    fn live_runs(&self) -> Vec<Arc<AutomationRun>>;
    /// The run of that name, finished or not.
    fn run(&self, name: &str) -> Option<Arc<AutomationRun>>;
    /// The task of that name, where it is there and not about to go.
    fn task(&self, name: &str) -> Option<Arc<AutomationTask>>;
    /// The Jobs that are marked with what their runs hold and have not ended, whoever owns them.
    fn marked_jobs(&self) -> Vec<Arc<Job>>;
    /// The Jobs of the run, ended or not.
    fn jobs_of(&self, run: &AutomationRun) -> Vec<Arc<Job>>;
    /// The pools.
    fn pools(&self) -> Vec<Arc<ConcurrencyPool>>;
    /// Whether anybody says that it waits for room under a cap.
    fn has_queue(&self) -> bool;
}

/// How far a run is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It was let in, as its Job says, and holds this.
    Holds(Slots),
    /// It began, and no mark is seen: before its task had caps, or Kubernetes has started it, or its Job is not seen. It counts.
    Began,
    /// It says that it waits for room.
    Waits,
    /// It has not asked yet, as far as is seen.
    New,
    /// It asks for nothing: it is to be deleted or cancelled, or nobody knows what it needs.
    Rests,
}

/// A run under caps.
#[derive(Clone, Debug)]
pub struct RunSeen {
    /// The run.
    pub run: Arc<AutomationRun>,
    /// What its task asks of it, as the task is now; where there is none, what it asked for itself.
    pub needs: Arc<Needs>,
    /// How far it is.
    pub stage: Stage,
}

impl RunSeen {
    /// UID.
    #[must_use]
    pub fn uid(&self) -> &str {
        self.run.metadata.uid.as_deref().unwrap_or_default()
    }

    /// Name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.run.metadata.name.as_deref().unwrap_or_default()
    }
}

/// The runs of a namespace that are under caps, and the pools.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// How many slots each pool has.
    pub pools: Slots,
    /// Runs that are not finished.
    pub runs: Vec<RunSeen>,
    /// Jobs that go on although their run is gone or finished: what they hold is free when they have ended too.
    pub orphans: Vec<Holder>,
    /// UIDs of runs that were let in and are seen to be finished.
    pub over: BTreeSet<String>,
}

/// Whether the run says that it waits for room under a cap.
#[must_use]
pub fn waits_for_room(run: &AutomationRun) -> bool {
    let waiting = run.status.as_ref().filter(|status| status.phase == Some(Phase::Queued)).and_then(|status| status.waiting_on.as_ref());
    waiting.is_some_and(|waiting| reason::is_of_caps(&waiting.reason))
}

/// Whether there may be room since that Job ended, or went. One that belongs to a run that goes on does not tell: that run does.
#[must_use]
pub fn job_frees(job: &Job, is_gone: bool, run: Option<&AutomationRun>) -> bool {
    let owners = || job.metadata.owner_references.iter().flatten();
    let tells = |run: &AutomationRun| !ledger::is_finished(run) && owners().any(|owner| Some(&owner.uid) == run.metadata.uid.as_ref());
    is_marked(job) && !run.is_some_and(tells) && is_gone != outcome::has_ended(job)
}

/// Whether an edit of the task may change who is let in.
#[must_use]
pub fn task_frees(before: Option<&AutomationTask>, now: &AutomationTask) -> bool {
    let told =
        |task: &AutomationTask| (task.metadata.uid.clone(), task.metadata.deletion_timestamp.is_some(), task.spec.concurrency.clone());
    before.is_none_or(|before| told(before) != told(now))
}

impl Snapshot {
    /// Reads it. An old view may show as held what is free, never the other way round: a run that is seen to be finished is
    /// so, and what is not seen yet to have begun stands in the memory. Runs that the memory knows of are told in any case.
    ///
    /// The Jobs come first: one whose run goes while this is read is left over, and counts by itself.
    #[must_use]
    pub fn read(source: &impl Source, memory: &Memory) -> Self {
        let pools = source.pools();
        let pools = pools.iter().map(|pool| (pool.metadata.name.clone().unwrap_or_default(), i64::from(pool.spec.slots))).collect();
        let mut snapshot = Self { pools, ..Self::default() };
        let mut held: BTreeMap<String, Holder> = BTreeMap::new();
        for job in source.marked_jobs() {
            let Some(pools) = marked(&job) else { continue };
            let label = |key: &str| job.metadata.labels.as_ref().and_then(|labels| labels.get(key)).cloned().unwrap_or_default();
            let owner = job.metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
            let run = owner.map_or_else(|| label(label::RUN), |owner| owner.name.clone());
            let holder = Holder { run, task: label(label::TASK), pools };
            match owner {
                Some(owner) => drop(held.insert(owner.uid.clone(), holder)),
                // Its run was deleted, and somebody wanted the Job to stay.
                None => snapshot.orphans.push(holder),
            }
        }
        let is_over = |uid: &str, name: &str| {
            source.run(name).is_some_and(|run| run.metadata.uid.as_deref() == Some(uid) && ledger::is_finished(&run))
        };
        snapshot.over = memory.granted().filter(|(uid, name)| is_over(uid, name)).map(|(uid, _)| uid.to_owned()).collect();
        // Nothing where the task is not there: then nobody knows its caps.
        let mut tasks = BTreeMap::new();
        for run in source.live_runs() {
            let (task, uid) = (run.spec.task_name(), run.metadata.uid.as_deref().unwrap_or_default());
            if !tasks.contains_key(task) {
                tasks.insert(task.to_owned(), source.task(task).map(|task| Needs::of(&task).map(Arc::new)));
            }
            let present: Option<_> = tasks.get(task).cloned().flatten();
            let own = memory.needs_of(uid);
            let mark = held.remove(uid).map(|holder| holder.pools);
            let jobs = if mark.is_some() { Vec::new() } else { source.jobs_of(&run) };
            // Between two attempts, the Job of the one that has ended tells.
            let mark = mark.or_else(|| jobs.iter().find_map(|job| marked(job)));
            let waits = waits_for_room(&run);
            if mark.is_none() && !waits && own.is_none() && !matches!(&present, Some(Some(_))) {
                continue;
            }
            let is_known = present.is_some() || own.is_some();
            let needs = present.unwrap_or_else(|| own.cloned());
            let needs = needs.unwrap_or_else(|| Arc::new(Needs { task: task.to_owned(), ..Needs::default() }));
            let stage = match mark {
                Some(slots) => Stage::Holds(slots),
                None if ledger::has_begun(&run) || !jobs.is_empty() => Stage::Began,
                None if run.spec.cancel == Some(true) || run.metadata.deletion_timestamp.is_some() || !is_known => Stage::Rests,
                None if waits => Stage::Waits,
                None => Stage::New,
            };
            snapshot.runs.push(RunSeen { run, needs, stage });
        }
        snapshot.orphans.extend(held.into_values());
        snapshot
    }
}
