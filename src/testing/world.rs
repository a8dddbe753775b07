//! The model world: a cluster, its controllers and node, people, and the operator, on one clock.
//!
//! At each time all of them act, in an order that chance decides, until nothing moves any more; then the clock goes to
//! the next time at which something is due. Nothing in it sleeps, and the same scenario always goes the same way.

use jiff::{SignedDuration, Timestamp};

use super::{
    caches::Key,
    cluster::Cluster,
    cron_job_controller::CronJobController,
    dice::Dice,
    job_controller::JobController,
    kubelet::Kubelet,
    operator::Operator,
    people::Act,
    scenario::{self, Scenario},
};

/// More rounds than anything sensible takes to come to rest at one time.
const ROUNDS: usize = 150;
/// More times than anything sensible takes to come to its end.
const TIMES: usize = 1500;

/// All there is.
#[derive(Clone, Debug)]
pub struct World {
    pub scenario: Scenario,
    pub cluster: Cluster,
    pub operator: Operator,
    /// Another one that takes itself for the leader too.
    pub rival: Option<Operator>,
    pub kubelet: Kubelet,
    cron_job_controller: CronJobController,
    job_controller: JobController,
    dice: Dice,
    /// What people will still do, the next last.
    acts: Vec<(Timestamp, Act)>,
}

impl World {
    pub fn new(scenario: &Scenario) -> Self {
        let now = scenario::start();
        let at = |seconds: i64| now + SignedDuration::from_secs(seconds);
        let mut acts: Vec<(Timestamp, Act)> = scenario.acts.iter().map(|(seconds, act)| (at(*seconds), act.clone())).collect();
        acts.push((at(scenario.seconds), Act::Unschedule));
        acts.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
        let mut cluster = Cluster { now, ..Cluster::default() };
        // The store is empty: the name is free.
        drop(cluster.tasks.create(now, scenario.task()));
        drop(scenario.workflow().map(|workflow| cluster.workflows.create(now, workflow)));
        Self {
            cluster,
            operator: Operator::new(scenario.lags, scenario.mishaps.clone(), now),
            rival: None,
            kubelet: Kubelet::new(scenario.script.clone()),
            cron_job_controller: CronJobController::default(),
            job_controller: JobController::default(),
            dice: Dice::new(scenario.seed),
            acts,
            scenario: scenario.clone(),
        }
    }

    /// A world in which all has come to its end.
    pub fn ended(scenario: &Scenario) -> Self {
        let mut world = Self::new(scenario);
        world.run();
        world
    }

    /// A world like that, with every plan kept.
    pub fn ended_with_plans(scenario: &Scenario) -> Self {
        let mut world = Self::new(scenario);
        world.operator.planned = Some(Vec::new());
        world.run();
        world
    }

    pub fn run(&mut self) {
        self.run_watched(&mut |_, _| {});
    }

    /// Runs to the end. `before` is shown the world and the object before each look of the operator at one.
    pub fn run_watched(&mut self, before: &mut dyn FnMut(&World, &Key)) {
        for _ in 0..TIMES {
            self.come_to_rest(before);
            let Some(next) = self.next() else { return };
            self.cluster.now = next;
        }
        self.give_up("it never comes to an end");
    }

    /// Goes on until that time.
    pub fn run_until(&mut self, until: jiff::Timestamp) {
        for _ in 0..TIMES {
            self.come_to_rest(&mut |_, _| {});
            match self.next().filter(|next| *next <= until) {
                Some(next) => self.cluster.now = next,
                None => return,
            }
        }
        self.give_up("it does not get there");
    }

    /// Lets everybody act until nothing moves at this time.
    pub fn come_to_rest(&mut self, before: &mut dyn FnMut(&World, &Key)) {
        let mut idle = 0;
        for _ in 0..ROUNDS * 6 {
            if idle >= 6 {
                if self.is_at_rest(before) {
                    return;
                }
                idle = 0;
            }
            let version = self.cluster.version();
            let who = self.dice.below(6 + usize::from(self.rival.is_some()));
            let moved = self.act(who, before);
            idle = if moved || self.cluster.version() != version { 0 } else { idle + 1 };
        }
        self.give_up("it does not come to rest");
    }

    /// Chance may have passed somebody over: asks each in turn.
    fn is_at_rest(&mut self, before: &mut dyn FnMut(&World, &Key)) -> bool {
        let version = self.cluster.version();
        let moved = (0..7).filter(|who| self.act(*who, before)).count() > 0;
        !moved && self.cluster.version() == version
    }

    fn act(&mut self, who: usize, before: &mut dyn FnMut(&World, &Key)) -> bool {
        match who {
            0 => return self.people_act(),
            1 => self.cron_job_controller.sync(&mut self.cluster),
            2 => self.kubelet.sync(&mut self.cluster),
            3 => self.job_controller.sync(&mut self.cluster),
            4 => self.cluster.collect_garbage(),
            5 => return self.operator_acts(before),
            _ => return self.rival_acts(),
        }
        false
    }

    fn people_act(&mut self) -> bool {
        match self.acts.pop_if(|(at, _)| *at <= self.cluster.now) {
            Some((_, act)) => act.carry_out(&mut self.cluster, &mut self.operator),
            None => return false,
        }
        true
    }

    fn operator_acts(&mut self, before: &mut dyn FnMut(&World, &Key)) -> bool {
        self.operator.listen(&self.cluster);
        if self.operator.carry_out_late(&mut self.cluster) {
            return true;
        }
        let Some(key) = self.operator.pick(&mut self.dice) else { return false };
        before(self, &key);
        self.operator.reconcile(&mut self.cluster, &key);
        true
    }

    fn rival_acts(&mut self) -> bool {
        let Some(rival) = self.rival.take() else { return false };
        let operator = std::mem::replace(&mut self.operator, rival);
        let moved = self.operator_acts(&mut |_, _| {});
        self.rival = Some(std::mem::replace(&mut self.operator, operator));
        moved
    }

    /// The next time at which something is due.
    fn next(&mut self) -> Option<Timestamp> {
        let next = [
            self.acts.last().map(|(at, _)| *at),
            self.cron_job_controller.next(&self.cluster),
            self.kubelet.next(&self.cluster),
            self.job_controller.next(&self.cluster),
            self.operator.next(&self.cluster),
            self.rival.as_ref().and_then(|rival| rival.next(&self.cluster)),
        ];
        next.into_iter().flatten().min().map(|next| next.max(self.cluster.now))
    }

    fn give_up(&self, why: &str) -> ! {
        let last: Vec<_> = self.operator.writes.iter().rev().take(12).collect();
        panic!("at {}: {why}; the operator's last writes: {last:#?}\nscenario: {:#?}", self.cluster.now, self.scenario)
    }
}
