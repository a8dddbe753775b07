//! What is seen of the runs of a namespace that are under caps.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};

use super::{
    decide::Holder,
    memory::Memory,
    needs::{Needs, Slots, marked},
};
use crate::{
    api::{AutomationRun, AutomationTask, ConcurrencyPool, Phase, label},
    ledger,
    outcome::{JobSeen, reason},
};

/// Where the objects of one namespace are read from.
pub trait Source {
    /// Runs of tasks that are not finished.
    fn live_runs(&self) -> Vec<Arc<AutomationRun>>;
    /// The run of that name, finished or not.
    fn run(&self, name: &str) -> Option<Arc<AutomationRun>>;
    /// The task of that name.
    fn task(&self, name: &str) -> Option<Arc<AutomationTask>>;
    /// The Jobs that are marked with what their runs hold.
    fn marked_jobs(&self) -> Vec<Arc<Job>>;
    /// Whether the run has a Job.
    fn has_job(&self, run: &AutomationRun) -> bool;
    /// The pools.
    fn pools(&self) -> Vec<Arc<ConcurrencyPool>>;
}

/// How far a run is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It was let in, or began before there were caps, and holds this.
    Holds(Slots),
    /// It says that it waits for room.
    Waits,
    /// It has not asked yet, as far as is seen.
    New,
    /// It is to be deleted or cancelled, and has not begun.
    Leaves,
}

/// A run under caps.
#[derive(Clone, Debug)]
pub struct RunSeen {
    /// The run.
    pub run: Arc<AutomationRun>,
    /// What its task asks of it, as the task is now.
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
    /// Jobs that go on although their run is gone: what they hold is free when they are gone too.
    pub orphans: Vec<Holder>,
    /// UIDs of runs whose marked Jobs are seen.
    pub shown: BTreeSet<String>,
    /// UIDs of runs that were let in and are seen to be finished.
    pub over: BTreeSet<String>,
}

/// Whether the run says that it waits for room under a cap.
#[must_use]
pub fn waits_for_room(run: &AutomationRun) -> bool {
    let waiting = run.status.as_ref().filter(|status| status.phase == Some(Phase::Queued)).and_then(|status| status.waiting_on.as_ref());
    waiting.is_some_and(|waiting| reason::is_of_caps(&waiting.reason))
}

impl Snapshot {
    /// Reads it. An old view may show as held what is free, never the other way round: a run that is seen to be finished is
    /// so, and what is not seen yet to have begun stands in the memory. Runs that the
    /// memory knows of are told in any case.
    #[must_use]
    pub fn read(source: &impl Source, memory: &Memory) -> Self {
        let pools = source.pools();
        let pools = pools.iter().map(|pool| (pool.metadata.name.clone().unwrap_or_default(), i64::from(pool.spec.slots))).collect();
        let mut snapshot = Self { pools, ..Self::default() };
        let mut held: BTreeMap<String, Slots> = BTreeMap::new();
        for job in source.marked_jobs() {
            let Some(slots) = marked(&job) else { continue };
            let owners = job.metadata.owner_references.iter().flatten();
            let Some(owner) = owners.into_iter().find(|owner| owner.controller == Some(true)) else { continue };
            snapshot.shown.insert(owner.uid.clone());
            match source.run(&owner.name).filter(|run| run.metadata.uid.as_ref() == Some(&owner.uid)) {
                Some(run) if ledger::is_finished(&run) => {}
                // A later attempt is made from the first one, and holds the same.
                Some(_) => drop(held.insert(owner.uid.clone(), slots)),
                None if goes_on(&job) => {
                    let task = job.metadata.labels.as_ref().and_then(|labels| labels.get(label::TASK)).cloned().unwrap_or_default();
                    snapshot.orphans.push(Holder { run: owner.name.clone(), task, pools: slots });
                }
                None => {}
            }
        }
        let is_over = |uid: &str, name: &str| {
            source.run(name).is_some_and(|run| run.metadata.uid.as_deref() == Some(uid) && ledger::is_finished(&run))
        };
        snapshot.over = memory.granted().filter(|(uid, name)| is_over(uid, name)).map(|(uid, _)| uid.to_owned()).collect();
        let mut tasks: BTreeMap<String, Option<Arc<Needs>>> = BTreeMap::new();
        for run in source.live_runs() {
            let task = run.spec.task_name();
            if !tasks.contains_key(task) {
                tasks.insert(task.to_owned(), source.task(task).and_then(|task| Needs::of(&task)).map(Arc::new));
            }
            let needs = tasks.get(task).cloned().flatten();
            let mark = held.remove(run.metadata.uid.as_deref().unwrap_or_default());
            let waits = waits_for_room(&run);
            if needs.is_none() && mark.is_none() && !waits && !run.metadata.uid.as_deref().is_some_and(|uid| memory.knows(uid)) {
                continue;
            }
            let needs = needs.unwrap_or_else(|| Arc::new(Needs { task: task.to_owned(), ..Needs::default() }));
            let stage = match mark {
                Some(slots) => Stage::Holds(slots),
                // It began before its task had caps, or Kubernetes has started it: it counts, and was not asked. One that says that
                // it waits has no Job but a marked one.
                None if ledger::has_begun(&run) || !waits && source.has_job(&run) => Stage::Holds(needs.pools.clone()),
                None if run.spec.cancel == Some(true) || run.metadata.deletion_timestamp.is_some() => Stage::Leaves,
                None if waits => Stage::Waits,
                None => Stage::New,
            };
            snapshot.runs.push(RunSeen { run, needs, stage });
        }
        snapshot
    }
}

fn goes_on(job: &Job) -> bool {
    let no_pods: [Arc<Pod>; 0] = [];
    JobSeen::read(job, &no_pods).end.is_none()
}
