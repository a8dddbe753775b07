//! What the leader has decided and does not see yet.
//!
//! One decision at a time for a namespace, from what is seen and what was decided before. A run that was let in is in memory
//! until the mark of its Job is seen; so no view, however old, shows as free what it will hold. To crash forgets who was let in
//! and has no Job: nobody started, and whoever comes next decides anew. Who has a Job is seen by it.
//!
//! Whoever is told to wait is decided anew whenever something changes ([`Memory::look`]): it need not ask again.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};

use super::{
    decide::{Candidate, Cap, Decision, Holder, NEAR, Waits, decide},
    needs::Needs,
    snapshot::{RunSeen, Snapshot, Source, Stage},
};
use crate::api::AutomationRun;

/// How long a Job that was sent may be on its way: longer than a write is waited for.
const ON_ITS_WAY: SignedDuration = SignedDuration::from_secs(15);

/// What a run is told that asks to be let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It may start, with this.
    Granted(Arc<Needs>),
    /// It must wait.
    Waits(Waits),
    /// Whoever leads has only just begun to, and does not know yet who holds room. When it does, the run is looked at.
    Behind,
}

/// What the leader knows of one namespace beyond what it sees.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// By UID, what runs need that ask, and may not say so on their status yet.
    asked: BTreeMap<String, Arc<Needs>>,
    /// By UID, what runs were let in with whose Jobs are not seen.
    granted: BTreeMap<String, Granted>,
    /// UIDs of runs that did not start when they were let in, and have not asked since: they may be seen to wait still.
    declined: BTreeSet<String>,
    told: Told,
}

#[derive(Clone, Debug, Default)]
struct Granted {
    run: String,
    needs: Arc<Needs>,
    /// When its Job was sent, where it may be there.
    sent: Option<Timestamp>,
    /// Whether the run is gone, and its Job may be there.
    lost: bool,
}

/// What those were told that must wait, since the last decision.
#[derive(Clone, Debug, Default)]
struct Told {
    /// By UID, what they need and why they wait.
    waits: BTreeMap<String, (Arc<Needs>, Waits)>,
    /// By task, the last of its runs.
    last: BTreeMap<String, String>,
    /// How many wait for the same.
    queues: BTreeMap<Cap, usize>,
}

impl Told {
    fn of(waiting: Vec<(Candidate, Waits)>) -> Self {
        let mut told = Self::default();
        for (one, waits) in waiting {
            told.last.insert(one.needs.task.clone(), one.uid.clone());
            *told.queues.entry(waits.lack.cap()).or_default() += 1;
            told.waits.insert(one.uid, (one.needs, waits));
        }
        told
    }

    /// A run that comes new behind another of its task lacks the same: it has its place at the end.
    fn behind(&mut self, uid: &str, needs: &Arc<Needs>) -> Option<Waits> {
        let (before, waits) = self.waits.get(self.last.get(&needs.task)?)?;
        if before != needs {
            return None;
        }
        let mut waits = waits.clone();
        let queue = self.queues.entry(waits.lack.cap()).or_default();
        *queue += 1;
        waits.place = *queue;
        self.last.insert(needs.task.clone(), uid.to_owned());
        self.waits.insert(uid.to_owned(), (needs.clone(), waits.clone()));
        Some(waits)
    }
}

impl Memory {
    /// A run asks to be let in, with what it needs, and says already that it waits or not; it is answered at once. Others may be
    /// let in by the same decision: they are returned too. No answer where it is not seen any more, or is on its way out.
    pub fn ask(&mut self, uid: &str, needs: &Arc<Needs>, is_queued: bool, source: &impl Source) -> (Option<Answer>, Vec<String>) {
        if let Some(answer) = self.known(uid, needs, is_queued) {
            return (Some(answer), Vec::new());
        }
        self.asks(uid, needs);
        let mut admitted = self.admit(source);
        admitted.retain(|other| other != uid);
        let granted = self.granted.get(uid).map(|granted| Answer::Granted(granted.needs.clone()));
        let waits = || self.told.waits.get(uid).map(|(_, waits)| Answer::Waits(waits.clone()));
        (granted.or_else(waits), admitted)
    }

    /// What it is told without a look at all the others. Where something has changed since the last decision it is decided anew
    /// for all that ask, and this one among them.
    fn known(&mut self, uid: &str, needs: &Arc<Needs>, is_queued: bool) -> Option<Answer> {
        if let Some(granted) = self.granted.get(uid) {
            // It was let in with what its task asked for then.
            return (granted.sent.is_some() || granted.needs == *needs).then(|| Answer::Granted(granted.needs.clone()));
        }
        let same = self.told.waits.get(uid).filter(|(before, _)| before == needs).map(|(_, waits)| waits.clone());
        let is_new = !is_queued && !self.told.waits.contains_key(uid);
        let waits = same.or_else(|| is_new.then(|| self.told.behind(uid, needs))?)?;
        self.asks(uid, needs);
        Some(Answer::Waits(waits))
    }

    fn asks(&mut self, uid: &str, needs: &Arc<Needs>) {
        self.declined.remove(uid);
        self.asked.insert(uid.to_owned(), needs.clone());
    }

    /// Something has changed: lets in whoever may, and returns their UIDs. `None` where nobody asks.
    pub fn look(&mut self, source: &impl Source) -> Option<Vec<String>> {
        if self.asked.is_empty() && self.granted.is_empty() && !source.has_queue() {
            // Who comes next is not behind those that have gone.
            self.told = Told::default();
            return None;
        }
        Some(self.admit(source))
    }

    fn admit(&mut self, source: &impl Source) -> Vec<String> {
        let snapshot = Snapshot::read(source, self);
        let runs: BTreeMap<&str, &RunSeen> = snapshot.runs.iter().map(|run| (run.uid(), run)).collect();
        // The name is the lock: it is the Job that was sent.
        let shown: BTreeSet<&str> = snapshot.orphans.iter().map(|holder| holder.run.as_str()).collect();
        self.granted.retain(|uid, granted| {
            let run = runs.get(uid.as_str());
            granted.lost = run.is_none();
            let sent = granted.sent.is_some();
            match run.map(|run| (&run.stage, &run.needs)) {
                // Its Job is the record now.
                Some((Stage::Holds(_), _)) => false,
                Some((Stage::Waits | Stage::New, needs)) => sent || granted.needs == *needs,
                Some((Stage::Began | Stage::Rests, _)) => sent,
                // Of a run that is gone the Job goes on until it is collected, also where it was not seen yet.
                None => sent && !snapshot.over.contains(uid) && !shown.contains(granted.run.as_str()),
            }
        });
        let stage = |uid: &String| runs.get(uid.as_str()).map(|run| &run.stage);
        self.asked.retain(|uid, _| matches!(stage(uid), Some(Stage::New | Stage::Waits)) && !self.granted.contains_key(uid));
        self.declined.retain(|uid| matches!(stage(uid), Some(Stage::Waits)));
        let decision = decide(&snapshot.pools, &self.holders(&snapshot), self.candidates(&snapshot));
        for uid in &decision.admitted {
            self.asked.remove(uid);
            if let Some(run) = runs.get(uid.as_str()) {
                let granted = Granted { run: run.name().to_owned(), needs: run.needs.clone(), ..Granted::default() };
                self.granted.insert(uid.clone(), granted);
            }
        }
        self.told = Told::of(decision.waiting);
        decision.admitted
    }

    /// Who holds what, and how it would be decided; nobody is let in.
    #[must_use]
    pub fn standing(&self, source: &impl Source) -> (Vec<Holder>, Decision) {
        let snapshot = Snapshot::read(source, self);
        let holders = self.holders(&snapshot);
        let decision = decide(&snapshot.pools, &holders, self.candidates(&snapshot));
        (holders, decision)
    }

    /// The Job of a run that was let in with this is about to be sent: from now on it may be there. Says whether it was sent
    /// before. `None` where the run is not let in any more, or with something else: its Job must not be sent.
    pub fn send(&mut self, uid: &str, needs: &Needs, now: Timestamp) -> Option<bool> {
        let granted = self.granted.get_mut(uid).filter(|granted| *granted.needs == *needs)?;
        Some(granted.sent.replace(now).is_some())
    }

    /// The Job is not there: the API server has refused it.
    pub fn refused(&mut self, uid: &str) {
        if let Some(granted) = self.granted.get_mut(uid) {
            granted.sent = None;
        }
    }

    /// The run that was let in does not start after all. Where its Job may be there it keeps what it has, whatever is said of it
    /// now, until it is seen to have begun or to be over. Otherwise it is let in when it asks again. Says whether there is room
    /// again.
    pub fn release(&mut self, uid: &str) -> bool {
        self.asked.remove(uid);
        let gives_back = self.granted.get(uid).is_some_and(|granted| granted.sent.is_none());
        if gives_back {
            self.granted.remove(uid);
            self.declined.insert(uid.to_owned());
        }
        gives_back
    }

    /// Whether runs are gone whose Jobs may be there and were not seen.
    #[must_use]
    pub fn has_lost(&self) -> bool {
        self.granted.values().any(|granted| granted.lost)
    }

    /// Those of them whose Jobs cannot be on their way any more: UID and name. Somebody has to ask the API server.
    pub fn lost(&self, now: Timestamp) -> impl Iterator<Item = (&str, &str)> {
        let arrived = move |granted: &Granted| granted.sent.is_some_and(|sent| now.duration_since(sent) >= ON_ITS_WAY);
        let lost = self.granted.iter().filter(move |(_, granted)| granted.lost && arrived(granted));
        lost.map(|(uid, granted)| (uid.as_str(), granted.run.as_str()))
    }

    /// No Job of that run goes on.
    pub fn forget(&mut self, uid: &str) {
        self.granted.remove(uid);
    }

    /// Those that were let in and whose Jobs are not seen: UID and name.
    pub fn granted(&self) -> impl Iterator<Item = (&str, &str)> {
        self.granted.iter().map(|(uid, granted)| (uid.as_str(), granted.run.as_str()))
    }

    /// What the run of that UID has asked for, or was let in with.
    #[must_use]
    pub fn needs_of(&self, uid: &str) -> Option<&Arc<Needs>> {
        self.granted.get(uid).map(|granted| &granted.needs).or_else(|| self.asked.get(uid))
    }

    /// How many wait, as far as was decided.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.told.waits.len()
    }

    /// Whether the run is near the front of its queue, and has not told where it stands now.
    #[must_use]
    pub fn has_moved(&self, run: &AutomationRun) -> bool {
        let near = run.metadata.uid.as_ref().and_then(|uid| self.told.waits.get(uid)).filter(|(_, waits)| waits.place <= NEAR);
        let told = run.status.as_ref().and_then(|status| status.waiting_on.as_ref()).map(|waiting| waiting.message.as_str());
        near.is_some_and(|(_, waits)| told != Some(waits.message().as_str()))
    }

    /// Who holds what, by name.
    fn holders(&self, snapshot: &Snapshot) -> Vec<Holder> {
        let held = |run: &RunSeen| match (&run.stage, self.granted.get(run.uid())) {
            (Stage::Holds(slots), _) => Some(slots.clone()),
            (_, Some(granted)) => Some(granted.needs.pools.clone()),
            (Stage::Began, None) => Some(run.needs.pools.clone()),
            (_, None) => None,
        };
        let holders = snapshot
            .runs
            .iter()
            .filter_map(|run| Some(Holder { run: run.name().to_owned(), task: run.run.spec.task_name().to_owned(), pools: held(run)? }));
        let lost = self.granted.values().filter(|granted| granted.lost);
        let lost = lost.map(|lost| Holder { run: lost.run.clone(), task: lost.needs.task.clone(), pools: lost.needs.pools.clone() });
        let mut holders: Vec<Holder> = holders.chain(snapshot.orphans.iter().cloned()).chain(lost).collect();
        holders.sort_by(|a, b| a.run.cmp(&b.run));
        holders
    }

    fn candidates(&self, snapshot: &Snapshot) -> Vec<Candidate> {
        let waits = |run: &&RunSeen| match run.stage {
            Stage::Waits => !self.declined.contains(run.uid()),
            Stage::New => self.asked.contains_key(run.uid()),
            Stage::Holds(_) | Stage::Began | Stage::Rests => false,
        };
        let waiting = snapshot.runs.iter().filter(|run| !self.granted.contains_key(run.uid())).filter(waits);
        let candidate = |run: &RunSeen| Candidate {
            uid: run.uid().to_owned(),
            run: run.name().to_owned(),
            created: run.run.metadata.creation_timestamp.clone(),
            needs: run.needs.clone(),
        };
        waiting.map(candidate).collect()
    }
}
