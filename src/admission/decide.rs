//! Who of those that wait may start: by priority, then age; all that a run needs or nothing.

use std::{cmp::Reverse, collections::BTreeMap, fmt, sync::Arc};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::needs::{Needs, Slots};
use crate::outcome::{cut, reason};

/// How many holders a run that waits is told by name.
const NAMED: usize = 3;
/// Runs so far in front are told how their place changes. To tell all of a long queue would be a write for each of them
/// whenever one goes.
pub const NEAR: usize = 10;

/// A run that holds room under caps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its name.
    pub run: String,
    /// Its task.
    pub task: String,
    /// What it holds of pools.
    pub pools: Slots,
}

/// A run that could start, were there room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// UID.
    pub uid: String,
    /// Its name.
    pub run: String,
    /// When it was created.
    pub created: Option<Time>,
    /// What it needs.
    pub needs: Arc<Needs>,
}

/// What a run lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lack {
    /// There is no pool of that name.
    NoPool(String),
    /// The pool has no slots at all.
    Closed(String),
    /// The pool has fewer slots than the run needs.
    TooSmall {
        /// Name of the pool.
        pool: String,
        /// What the run needs.
        needs: i64,
        /// What there is.
        slots: i64,
    },
    /// As many runs of the task go on as may.
    Max {
        /// Name of the task.
        task: String,
        /// How many may.
        max: i64,
        /// How many do.
        used: i64,
    },
    /// Others hold the slots.
    Full {
        /// Name of the pool.
        pool: String,
        /// What the run needs.
        needs: i64,
        /// What there is.
        slots: i64,
        /// What is held.
        used: i64,
    },
}

/// Why a run does not start yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waits {
    /// What it lacks.
    pub lack: Lack,
    /// Its place among those that wait for the same.
    pub place: usize,
    /// Names of the first runs that hold it.
    pub holders: Arc<Vec<String>>,
    /// How many others hold it.
    pub others: usize,
}

/// What was decided.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// UIDs of the runs that may start, in order.
    pub admitted: Vec<String>,
    /// Those that wait, in the order in which they were looked at.
    pub waiting: Vec<(Candidate, Waits)>,
}

impl Decision {
    /// Why the run of that UID waits.
    #[must_use]
    pub fn waits(&self, uid: &str) -> Option<&Waits> {
        self.waiting.iter().find(|(candidate, _)| candidate.uid == uid).map(|(_, waits)| waits)
    }
}

/// A cap: of a task, or a pool.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cap {
    Task(String),
    Pool(String),
}

#[derive(Default)]
struct Use {
    used: i64,
    holders: Arc<Vec<String>>,
    count: usize,
    waiting: usize,
}

struct Room<'a> {
    pools: &'a Slots,
    uses: BTreeMap<Cap, Use>,
}

impl Room<'_> {
    fn take(&mut self, run: &str, task: &str, pools: &Slots) {
        let caps = pools.iter().map(|(pool, slots)| (Cap::Pool(pool.clone()), *slots));
        for (cap, slots) in caps.chain([(Cap::Task(task.to_owned()), 1)]) {
            let of = self.uses.entry(cap).or_default();
            of.used = of.used.saturating_add(slots);
            of.count += 1;
            if of.holders.len() < NAMED {
                Arc::make_mut(&mut of.holders).push(run.to_owned());
            }
        }
    }

    fn used(&self, cap: &Cap) -> i64 {
        self.uses.get(cap).map_or(0, |of| of.used)
    }

    /// The first thing that the run lacks. What cannot be had at all is told before what others hold.
    fn lack(&self, needs: &Needs) -> Option<Lack> {
        let never = needs.pools.iter().find_map(|(pool, needs)| {
            let pool = pool.clone();
            match self.pools.get(&pool) {
                None => Some(Lack::NoPool(pool)),
                Some(0) => Some(Lack::Closed(pool)),
                Some(slots) => (needs > slots).then_some(Lack::TooSmall { pool, needs: *needs, slots: *slots }),
            }
        });
        let at_max = || {
            let (max, used) = (needs.max?, self.used(&Cap::Task(needs.task.clone())));
            (used >= max).then(|| Lack::Max { task: needs.task.clone(), max, used })
        };
        let full = || {
            needs.pools.iter().find_map(|(pool, needs)| {
                let (slots, used) = (*self.pools.get(pool)?, self.used(&Cap::Pool(pool.clone())));
                (used.saturating_add(*needs) > slots).then(|| Lack::Full { pool: pool.clone(), needs: *needs, slots, used })
            })
        };
        never.or_else(at_max).or_else(full)
    }

    fn waits(&mut self, lack: Lack) -> Waits {
        let of = self.uses.entry(lack.cap()).or_default();
        of.waiting += 1;
        Waits { lack, place: of.waiting, holders: of.holders.clone(), others: of.count - of.holders.len() }
    }
}

/// Decides for all that wait. A run that does not fit takes nothing, so those after it that do fit are not kept waiting; and
/// since none holds a part of what it needs, no two can wait for one another.
#[must_use]
pub fn decide(pools: &Slots, holders: &[Holder], mut candidates: Vec<Candidate>) -> Decision {
    let mut room = Room { pools, uses: BTreeMap::new() };
    for holder in holders {
        room.take(&holder.run, &holder.task, &holder.pools);
    }
    candidates.sort_by(|a, b| {
        let priority = |c: &Candidate| Reverse(c.needs.priority);
        priority(a).cmp(&priority(b)).then_with(|| a.created.cmp(&b.created)).then_with(|| a.run.cmp(&b.run))
    });
    let mut decision = Decision::default();
    for candidate in candidates {
        match room.lack(&candidate.needs) {
            None => {
                room.take(&candidate.run, &candidate.needs.task, &candidate.needs.pools);
                decision.admitted.push(candidate.uid);
            }
            Some(lack) => {
                let waits = room.waits(lack);
                decision.waiting.push((candidate, waits));
            }
        }
    }
    decision
}

fn slots(count: i64) -> String {
    if count == 1 { "1 slot".to_owned() } else { format!("{count} slots") }
}

impl Lack {
    pub(super) fn cap(&self) -> Cap {
        match self {
            Lack::NoPool(pool) | Lack::Closed(pool) | Lack::TooSmall { pool, .. } | Lack::Full { pool, .. } => Cap::Pool(pool.clone()),
            Lack::Max { task, .. } => Cap::Task(task.clone()),
        }
    }

    /// In one word.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Lack::NoPool(_) => reason::POOL_NOT_FOUND,
            Lack::Closed(_) => reason::POOL_CLOSED,
            Lack::TooSmall { .. } => reason::POOL_TOO_SMALL,
            Lack::Max { .. } => reason::MAX_REACHED,
            Lack::Full { .. } => reason::POOL_FULL,
        }
    }
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Lack::NoPool(pool) => write!(
                f,
                "concurrency.pools of its task: there is no ConcurrencyPool {pool} in this namespace; create it, or correct the name"
            ),
            Lack::Closed(pool) => write!(f, "ConcurrencyPool {pool} is closed: its slots are set to 0; raise spec.slots of the pool"),
            Lack::TooSmall { pool, needs, slots: there } => write!(
                f,
                "concurrency.pools of its task asks for {} of ConcurrencyPool {pool}, which has {there}; lower it, or raise spec.slots of the pool",
                slots(*needs)
            ),
            Lack::Max { task, max, used } => write!(f, "concurrency.max of task {task} is {max}, and {used} of its runs go on"),
            Lack::Full { pool, needs, slots: there, used } => {
                write!(f, "needs {} of ConcurrencyPool {pool}, and {used} of {there} are held", slots(*needs))
            }
        }
    }
}

impl Waits {
    /// What the run says of it.
    #[must_use]
    pub fn message(&self) -> String {
        if !matches!(self.lack, Lack::Max { .. } | Lack::Full { .. }) {
            return self.lack.to_string();
        }
        let by = match (self.holders.join(", "), self.others) {
            (names, _) if names.is_empty() => String::new(),
            (names, 0) => format!(": {names}"),
            (names, others) => format!(": {names} and {others} more"),
        };
        let then = if self.place > NEAR { " when this was told" } else { "" };
        cut(&format!("{}{by}; place {} in the queue{then}", self.lack, self.place), 1024)
    }
}
