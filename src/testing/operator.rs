//! The operator's shell, as `controller` has it: watches touch, and what is touched is observed, planned, changed and
//! reported. It can crash after any write, and lose the answer to any.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use super::{
    apply::{Applied, Failure, Wrote},
    caches::{Caches, Key, Lags, is_evidence},
    cluster::Cluster,
    dice::Dice,
    observe,
};
use crate::{
    admission::{Answer, Memory, Needs},
    api::{AutomationRunStatus, AutomationTaskStatus, BackfillStatus, WorkflowStatus},
    build,
    plan::{self, Change, Plan, automation_run, automation_task, backfill, workflow, workflow_run},
};

/// A watch that has said nothing for this long is not waited for, as in `controller::expectations`.
const PATIENCE: SignedDuration = SignedDuration::from_secs(5);

/// What befalls the operator, counted in its writes from 1.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mishaps {
    /// It dies after this write, and starts again so many seconds later.
    pub crashes: BTreeMap<usize, i64>,
    /// The write is made, and its answer lost.
    pub lost_answers: BTreeSet<usize>,
    /// Counted in plans that change something: this one is carried out so many seconds after it was made.
    pub delays: BTreeMap<usize, i64>,
}

/// A plan, and what it was made from.
#[derive(Clone, Debug)]
pub enum Planned {
    Task { seen: automation_task::Seen, now: Timestamp, plan: Plan<AutomationTaskStatus> },
    Run { seen: automation_run::Seen, now: Timestamp, plan: Plan<AutomationRunStatus> },
    Workflow { seen: workflow::Seen, now: Timestamp, plan: Plan<WorkflowStatus> },
    WorkflowRun { seen: workflow_run::Seen, now: Timestamp, plan: Plan<AutomationRunStatus> },
    Backfill { seen: backfill::Seen, now: Timestamp, plan: Plan<BackfillStatus> },
}

/// One write request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    pub at: Timestamp,
    pub what: String,
}

/// The process, and a record of what it did over all its lives.
#[derive(Clone, Debug)]
pub struct Operator {
    /// `None` while it is down.
    caches: Option<Caches>,
    queue: BTreeSet<Key>,
    wakes: BTreeMap<Key, Timestamp>,
    failures: BTreeMap<Key, u32>,
    expected: BTreeMap<Key, (Timestamp, Vec<Wrote>)>,
    /// Who was let in under caps.
    pub(super) memory: Memory,
    /// Whether something has changed for those that wait for room, and was not decided yet.
    room: bool,
    /// When the Jobs of runs that are gone are asked for.
    find: Option<Timestamp>,
    /// Plans that wait to be carried out, and since when not before. Their objects are not looked at meanwhile.
    delayed: BTreeMap<Key, (Timestamp, Planned)>,
    /// How many plans so far change something.
    busy_plans: usize,
    /// Down until then, at least.
    pub down_until: Timestamp,
    pub lags: Lags,
    pub mishaps: Mishaps,
    pub writes: Vec<Write>,
    /// Laws that were seen broken while it worked.
    pub broken: Vec<String>,
    /// Every plan, where they are wanted.
    pub planned: Option<Vec<Planned>>,
    /// Whether it writes at once what may wait.
    pub tells_all: bool,
}

impl Operator {
    #[expect(clippy::large_types_passed_by_value, reason = "it is kept")]
    pub fn new(lags: Lags, mishaps: Mishaps, started: Timestamp) -> Self {
        Self {
            caches: None,
            queue: BTreeSet::new(),
            wakes: BTreeMap::new(),
            failures: BTreeMap::new(),
            expected: BTreeMap::new(),
            memory: Memory::default(),
            room: false,
            find: None,
            delayed: BTreeMap::new(),
            busy_plans: 0,
            down_until: started,
            lags,
            mishaps,
            writes: Vec::new(),
            broken: Vec::new(),
            planned: None,
            tells_all: false,
        }
    }

    /// Loses all that it had in memory.
    pub fn crash(&mut self, until: Timestamp) {
        self.caches = None;
        self.queue.clear();
        self.wakes.clear();
        self.failures.clear();
        self.expected.clear();
        self.memory = Memory::default();
        (self.room, self.find) = (false, None);
        self.delayed.clear();
        self.down_until = self.down_until.max(until);
    }

    /// Starts where it is time, takes the news, and queues what is due.
    pub fn listen(&mut self, cluster: &Cluster) {
        if self.caches.is_none() && cluster.now >= self.down_until {
            let mut caches = Caches::default();
            self.queue.extend(caches.list(cluster));
            caches.pools.clone_from(&cluster.pools);
            self.caches = Some(caches);
        }
        let Some(caches) = &mut self.caches else { return };
        self.room |= caches.pools != cluster.pools;
        caches.pools.clone_from(&cluster.pools);
        self.queue.extend(caches.take(cluster, &self.lags));
        self.room |= std::mem::take(&mut caches.frees);
        if self.find.take_if(|at| *at <= cluster.now).is_some() {
            self.find_lost(cluster);
            self.room = true;
        }
        // Sooner or later: at the latest when there is nothing else to do.
        if self.room && (self.writes.len().is_multiple_of(2) || self.queue.is_empty()) {
            self.let_in(cluster.now);
        }
        let due: Vec<Key> = self.wakes.iter().filter(|(_, at)| **at <= cluster.now).map(|(key, _)| key.clone()).collect();
        for key in due {
            self.wakes.remove(&key);
            self.queue.insert(key);
        }
    }

    /// Decides who may start under caps, as `controller::room` does when something has changed.
    fn let_in(&mut self, now: Timestamp) {
        let Some(caches) = &self.caches else { return };
        self.room = false;
        let admitted = self.memory.look(caches).unwrap_or_default();
        self.queue.extend(caches.named(&admitted));
        if self.memory.has_lost() {
            self.find.get_or_insert(now + SignedDuration::from_secs(5));
        }
    }

    /// Asks the API server for the Jobs of runs that are gone.
    fn find_lost(&mut self, cluster: &Cluster) {
        let is_lost = |(_, run): &(&str, &str)| cluster.jobs.get(&build::job_name(run, 1)).is_none();
        let lost: Vec<String> = self.memory.lost(cluster.now).filter(is_lost).map(|(uid, _)| uid.to_owned()).collect();
        for uid in lost {
            self.memory.forget(&uid);
        }
    }

    /// A run asks to be let in. Nothing where it is not there any more as it was.
    pub fn ask_for_room(&mut self, uid: &str, needs: &Arc<Needs>, is_queued: bool) -> Result<Answer, Failure> {
        let Some(caches) = &self.caches else { return Err(Failure::NoAnswer) };
        let (answer, others) = self.memory.ask(uid, needs, is_queued, caches);
        self.queue.extend(caches.named(&others));
        answer.ok_or(Failure::Conflict)
    }

    /// Whether it knows from memory alone how a pod ended: the server does not have it any more. That is lost with it.
    pub fn remembers_a_pod(&self, cluster: &Cluster) -> bool {
        let gone = |pod: &std::sync::Arc<k8s_openapi::api::core::v1::Pod>| is_evidence(pod) && cluster.pods.get(&pod.name_any()).is_none();
        self.caches.as_ref().is_some_and(|caches| caches.pods.iter().any(gone))
    }

    /// Carries out a plan that was delayed until now.
    pub fn carry_out_late(&mut self, cluster: &mut Cluster) -> bool {
        let due = self.delayed.iter().find(|(_, (at, _))| *at <= cluster.now).map(|(key, _)| key.clone());
        let Some((key, (_, planned))) = due.and_then(|key| self.delayed.remove_entry(&key)) else { return false };
        self.carry_out(cluster, &key, planned);
        true
    }

    /// Queues everything, as a watch does that begins anew.
    pub fn touch_all(&mut self, cluster: &Cluster) {
        if let Some(caches) = &mut self.caches {
            self.queue.extend(caches.list(cluster));
            self.room = true;
        }
    }

    pub fn next(&self, cluster: &Cluster) -> Option<Timestamp> {
        let Some(caches) = &self.caches else { return Some(self.down_until) };
        let late = self.delayed.values().map(|(at, _)| *at);
        self.wakes.values().copied().chain(late).chain(self.find).chain(caches.next(cluster, &self.lags)).min()
    }

    /// Takes something from the queue; which, is chance.
    pub fn pick(&mut self, dice: &mut Dice) -> Option<Key> {
        let free: Vec<&Key> = self.queue.iter().filter(|key| !self.delayed.contains_key(key)).collect();
        let key = (*free.get(dice.below(free.len()))?).clone();
        self.queue.remove(&key);
        Some(key)
    }

    /// Looks at one object.
    pub fn reconcile(&mut self, cluster: &mut Cluster, key: &Key) {
        let now = cluster.now;
        self.wakes.remove(key);
        if !self.expectations_are_met(key, now) {
            self.wakes.insert(key.clone(), now + SignedDuration::from_secs(1));
            return;
        }
        let Some(planned) = self.plan(cluster, key) else { return };
        if let Some(all) = &mut self.planned {
            all.push(planned.clone());
        }
        if !planned.changes().is_empty() {
            self.busy_plans += 1;
            if let Some(seconds) = self.mishaps.delays.get(&self.busy_plans) {
                self.delayed.insert(key.clone(), (now + SignedDuration::from_secs(*seconds), planned));
                return;
            }
        }
        self.carry_out(cluster, key, planned);
    }

    /// Observes and plans. Nothing where the object is gone, as far as the cache knows.
    fn plan(&self, cluster: &Cluster, key: &Key) -> Option<Planned> {
        let now = cluster.now;
        let caches = self.caches.as_ref()?;
        Some(match key {
            Key::Task(name) => {
                let seen = observe::task(cluster, caches, caches.tasks.get(name)?.clone());
                Planned::Task { plan: plan::automation_task::plan(&seen, now), seen, now }
            }
            Key::Workflow(name) => {
                let seen = observe::workflow(cluster, caches, caches.workflows.get(name)?);
                Planned::Workflow { plan: plan::workflow::plan(&seen, now), seen, now }
            }
            Key::Run(name) if caches.runs.get(name)?.spec.workflow_ref.is_some() => {
                let seen = observe::workflow_run(cluster, caches, caches.runs.get(name)?);
                Planned::WorkflowRun { plan: plan::workflow_run::plan(&seen, now), seen, now }
            }
            Key::Run(name) => {
                let seen = observe::run(cluster, caches, caches.runs.get(name)?);
                Planned::Run { plan: plan::automation_run::plan(&seen, now), seen, now }
            }
            Key::Backfill(name) => {
                let seen = observe::backfill(cluster, caches, caches.backfills.get(name)?);
                Planned::Backfill { plan: plan::backfill::plan(&seen, now), seen, now }
            }
        })
    }

    fn carry_out(&mut self, cluster: &mut Cluster, key: &Key, planned: Planned) {
        let now = cluster.now;
        let ended = match planned {
            Planned::Task { seen, plan, .. } => self.carry_out_task(cluster, key, seen, plan),
            Planned::Run { seen, plan, .. } => self.carry_out_run(cluster, key, seen, plan),
            Planned::Workflow { seen, plan, .. } => self.carry_out_workflow(cluster, key, seen, plan),
            Planned::WorkflowRun { seen, plan, .. } => self.carry_out_workflow_run(cluster, key, seen, plan),
            Planned::Backfill { seen, plan, .. } => self.carry_out_backfill(cluster, key, seen, plan),
        };
        match ended {
            Ok(wake) => {
                self.failures.remove(key);
                if let Some(wake) = wake {
                    // As `controller::again` has it: what should have been done already is done at once.
                    self.wakes.insert(key.clone(), wake.max(now));
                }
            }
            Err(Failure::Crashed { down_seconds }) => self.crash(now + SignedDuration::from_secs(down_seconds)),
            Err(Failure::Conflict) => {
                self.wakes.insert(key.clone(), now + SignedDuration::from_secs(1));
            }
            Err(Failure::NoAnswer) => {
                let failures = self.failures.entry(key.clone()).or_default();
                *failures += 1;
                let wait = (1_i64 << (*failures).min(9).saturating_sub(1)).min(300);
                self.wakes.insert(key.clone(), now + SignedDuration::from_secs(wait));
            }
        }
    }

    fn carry_out_task(
        &mut self,
        cluster: &mut Cluster,
        key: &Key,
        mut seen: automation_task::Seen,
        mut plan: Plan<AutomationTaskStatus>,
    ) -> Result<Option<Timestamp>, Failure> {
        let mut applied = self.apply(cluster, &plan.changes)?;
        if applied.answers() {
            seen.refusals = std::mem::take(&mut applied.refusals);
            seen.written = std::mem::take(&mut applied.cron_jobs);
            seen.runs_made = std::mem::take(&mut applied.runs_made);
            seen.revisions_made = std::mem::take(&mut applied.revisions_made);
            plan = plan::automation_task::plan(&seen, cluster.now);
        }
        let before = seen.task.status.as_ref();
        let differs = before.map_or(plan.status != AutomationTaskStatus::default(), |before| *before != plan.status);
        if differs && (self.tells_all || !plan.may_wait(cluster.now)) {
            applied.wrote.extend(self.report_task(cluster, &seen.task, plan.status)?);
        }
        self.expect(key, applied, cluster.now);
        Ok(plan.wake)
    }

    fn carry_out_run(
        &mut self,
        cluster: &mut Cluster,
        key: &Key,
        mut seen: automation_run::Seen,
        mut plan: Plan<AutomationRunStatus>,
    ) -> Result<Option<Timestamp>, Failure> {
        let uid = seen.run.uid().unwrap_or_default();
        let mut applied = self.apply(cluster, &plan.changes)?;
        if let Some(answer) = applied.answer.take() {
            seen.answer = Some(answer);
            plan = plan::automation_run::plan(&seen, cluster.now);
            applied = self.apply(cluster, &plan.changes)?;
        }
        let refused = !applied.refusals.is_empty();
        let waits = matches!(seen.answer, Some(Answer::Waits(_) | Answer::Behind));
        let starts = makes_job(&plan.changes) && !refused;
        if seen.jobs.is_empty() && !waits && !starts {
            self.room |= self.memory.release(&uid);
        }
        if refused {
            seen.refusals = std::mem::take(&mut applied.refusals);
            plan = plan::automation_run::plan(&seen, cluster.now);
        }
        let before = seen.run.status.as_ref();
        let differs = before.map_or(plan.status != AutomationRunStatus::default(), |before| *before != plan.status);
        if differs && (self.tells_all || !plan.may_wait(cluster.now)) {
            let version = applied.version_of_run(&seen.run);
            applied.wrote.extend(self.report_run(cluster, &seen.run, version, plan.status)?);
        }
        self.expect(key, applied, cluster.now);
        Ok(plan.wake)
    }

    fn carry_out_workflow(
        &mut self,
        cluster: &mut Cluster,
        key: &Key,
        mut seen: workflow::Seen,
        mut plan: Plan<WorkflowStatus>,
    ) -> Result<Option<Timestamp>, Failure> {
        let mut applied = self.apply(cluster, &plan.changes)?;
        if applied.answers() {
            seen.refusals = std::mem::take(&mut applied.refusals);
            seen.runs_made = std::mem::take(&mut applied.runs_made);
            seen.revisions_made = std::mem::take(&mut applied.revisions_made);
            plan = plan::workflow::plan(&seen, cluster.now);
        }
        let differs = seen.workflow.status.as_ref() != Some(&plan.status);
        if differs && (self.tells_all || !plan.may_wait(cluster.now)) {
            applied.wrote.extend(self.report_workflow(cluster, &seen.workflow, plan.status)?);
        }
        self.expect(key, applied, cluster.now);
        Ok(plan.wake)
    }

    fn carry_out_workflow_run(
        &mut self,
        cluster: &mut Cluster,
        key: &Key,
        mut seen: workflow_run::Seen,
        mut plan: Plan<AutomationRunStatus>,
    ) -> Result<Option<Timestamp>, Failure> {
        let mut applied = self.apply(cluster, &plan.changes)?;
        if !applied.refusals.is_empty() {
            seen.refusals = std::mem::take(&mut applied.refusals);
            plan = plan::workflow_run::plan(&seen, cluster.now);
        }
        let before = seen.run.status.as_ref();
        let differs = before.map_or(plan.status != AutomationRunStatus::default(), |before| *before != plan.status);
        if differs && (self.tells_all || !plan.may_wait(cluster.now)) {
            let version = applied.version_of_run(&seen.run);
            applied.wrote.extend(self.report_run(cluster, &seen.run, version, plan.status)?);
        }
        self.expect(key, applied, cluster.now);
        Ok(plan.wake)
    }

    fn carry_out_backfill(
        &mut self,
        cluster: &mut Cluster,
        key: &Key,
        mut seen: backfill::Seen,
        mut plan: Plan<BackfillStatus>,
    ) -> Result<Option<Timestamp>, Failure> {
        let mut applied = self.apply(cluster, &plan.changes)?;
        if applied.answers() {
            seen.refusals = std::mem::take(&mut applied.refusals);
            seen.runs_made = std::mem::take(&mut applied.runs_made);
            plan = plan::backfill::plan(&seen, cluster.now);
        }
        if seen.backfill.status.as_ref() != Some(&plan.status) {
            applied.wrote.extend(self.report_backfill(cluster, &seen.backfill, plan.status)?);
        }
        self.expect(key, applied, cluster.now);
        Ok(plan.wake)
    }

    fn expect(&mut self, key: &Key, applied: Applied, now: Timestamp) {
        if !applied.wrote.is_empty() {
            self.expected.insert(key.clone(), (now, applied.wrote));
        }
    }

    fn expectations_are_met(&mut self, key: &Key, now: Timestamp) -> bool {
        let (Some((since, wrote)), Some(caches)) = (self.expected.get(key), &self.caches) else { return true };
        let met = wrote.iter().all(|wrote| wrote.is_seen(caches)) || now.duration_since(*since) > PATIENCE;
        if met {
            self.expected.remove(key);
        }
        met
    }
}

fn makes_job(changes: &[Change]) -> bool {
    changes.iter().any(|change| matches!(change, Change::CreateJob { .. }))
}
