//! What the leader has decided and does not see yet.
//!
//! One decision at a time for a namespace, from what is seen and what was decided before. A run that was let in is in memory
//! until it is seen to have begun; so no view, however old, shows as free what it will hold. To crash forgets who was let in
//! and has no Job: nobody started, and whoever comes next decides anew. Who has a Job is seen by it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    decide::{Candidate, Decision, Holder, Waits, decide},
    needs::Needs,
    snapshot::{RunSeen, Snapshot, Stage},
};

/// What a run is told that asks to be let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It may start, with this.
    Granted(Arc<Needs>),
    /// It must wait.
    Waits(Waits),
}

/// What the leader knows of one namespace beyond what it sees.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// UIDs of runs that ask, and may not say so on their status yet.
    asked: BTreeSet<String>,
    /// By UID, what runs were let in with that are not seen to have begun.
    granted: BTreeMap<String, Granted>,
    /// By task, what the last of its runs was told that had to wait, and what it needed.
    last: BTreeMap<String, (Arc<Needs>, Waits)>,
}

#[derive(Clone, Debug, Default)]
struct Granted {
    run: String,
    needs: Arc<Needs>,
    /// Whether its Job may be there: it was sent, and not refused.
    sent: bool,
    /// Whether the run is gone, and its Job may be there.
    lost: bool,
}

impl Memory {
    /// What a run is told that needs no look at all the others: it was let in already, or comes new behind another run of its task
    /// that must wait. When that has changed it is decided anew for all that ask, and this one among them.
    pub fn known(&mut self, uid: &str, needs: Option<&Needs>, is_queued: bool) -> Option<Answer> {
        if let Some(granted) = self.granted.get(uid) {
            return Some(Answer::Granted(granted.needs.clone()));
        }
        let needs = needs.filter(|_| !is_queued && !self.asked.contains(uid))?;
        let (before, waits) = self.last.get_mut(&needs.task)?;
        if **before != *needs {
            return None;
        }
        waits.place += 1;
        self.asked.insert(uid.to_owned());
        Some(Answer::Waits(waits.clone()))
    }

    /// A run asks to be let in; it is answered at once. Others may be let in by the same decision: they are returned too.
    pub fn ask(&mut self, uid: &str, snapshot: &Snapshot) -> (Option<Answer>, Vec<String>) {
        if let Some(granted) = self.granted.get(uid) {
            return (Some(Answer::Granted(granted.needs.clone())), Vec::new());
        }
        self.asked.insert(uid.to_owned());
        let decision = self.admit(snapshot);
        let answer = match self.granted.get(uid) {
            Some(granted) => Some(Answer::Granted(granted.needs.clone())),
            None => decision.waits(uid).cloned().map(Answer::Waits),
        };
        (answer, decision.admitted.into_iter().filter(|admitted| admitted != uid).collect())
    }

    /// Lets in whoever may.
    pub fn admit(&mut self, snapshot: &Snapshot) -> Decision {
        let runs: BTreeMap<&str, &RunSeen> = snapshot.runs.iter().map(|run| (run.uid(), run)).collect();
        let has_begun = |run: &RunSeen| matches!(run.stage, Stage::Holds(_));
        // Of a run that is gone the Job goes on until it is collected, also where it was not seen yet.
        let goes_on = |uid: &String| !snapshot.over.contains(uid) && !snapshot.shown.contains(uid);
        self.granted.retain(|uid, granted| {
            granted.lost = !runs.contains_key(uid.as_str());
            if granted.lost { granted.sent && goes_on(uid) } else { !has_begun(runs[uid.as_str()]) }
        });
        self.asked.retain(|uid| runs.get(uid.as_str()).is_some_and(|run| matches!(run.stage, Stage::New | Stage::Waits)));
        let decision = decide(&snapshot.pools, &self.holders(snapshot), self.candidates(snapshot));
        let last = decision.waiting.iter().map(|(one, waits)| (one.needs.task.clone(), (one.needs.clone(), waits.clone())));
        self.last = last.collect();
        for uid in &decision.admitted {
            self.asked.remove(uid);
            if let Some(run) = runs.get(uid.as_str()) {
                let granted = Granted { run: run.name().to_owned(), needs: run.needs.clone(), ..Granted::default() };
                self.granted.insert(uid.clone(), granted);
            }
        }
        decision
    }

    /// How it would be decided, and letting nobody in.
    #[must_use]
    pub fn standing(&self, snapshot: &Snapshot) -> (Vec<Holder>, Decision) {
        let holders = self.holders(snapshot);
        let decision = decide(&snapshot.pools, &holders, self.candidates(snapshot));
        (holders, decision)
    }

    /// The Job of a run that was let in was sent, and not refused: it is there, or may come yet.
    pub fn sent(&mut self, uid: &str) {
        if let Some(granted) = self.granted.get_mut(uid) {
            granted.sent = true;
        }
    }

    /// The run that was let in does not start after all. Where its Job may be there it keeps what it has, whatever is said of it
    /// now, until it is seen to have begun or to be over. Says whether there is room again.
    pub fn release(&mut self, uid: &str) -> bool {
        self.asked.remove(uid);
        self.granted.get(uid).is_some_and(|granted| !granted.sent) && self.granted.remove(uid).is_some()
    }

    /// Runs that are gone and whose Jobs may be there and were not seen: UID and name. Somebody has to ask the API server.
    pub fn lost(&self) -> impl Iterator<Item = (&str, &str)> {
        self.granted.iter().filter(|(_, granted)| granted.lost).map(|(uid, granted)| (uid.as_str(), granted.run.as_str()))
    }

    /// The API server has no Job of that run.
    pub fn forget(&mut self, uid: &str) {
        self.granted.remove(uid);
    }

    /// Those that were let in and are not seen to have begun: UID and name.
    pub fn granted(&self) -> impl Iterator<Item = (&str, &str)> {
        self.granted.iter().map(|(uid, granted)| (uid.as_str(), granted.run.as_str()))
    }

    /// Whether it was asked by the run of that UID, or has let it in.
    #[must_use]
    pub fn knows(&self, uid: &str) -> bool {
        self.granted.contains_key(uid) || self.asked.contains(uid)
    }

    /// Whether the run of that UID was let in and is not seen to have begun.
    #[must_use]
    pub fn granted_to(&self, uid: &str) -> bool {
        self.granted.contains_key(uid)
    }

    /// Whether anybody waits, as far as is known.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        !self.asked.is_empty()
    }

    /// Who holds what, by name.
    fn holders(&self, snapshot: &Snapshot) -> Vec<Holder> {
        let held = |run: &RunSeen| match (&run.stage, self.granted.get(run.uid())) {
            (Stage::Holds(slots), _) => Some(slots.clone()),
            (_, granted) => granted.map(|granted| granted.needs.pools.clone()),
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
            Stage::Waits => true,
            Stage::New => self.asked.contains(run.uid()),
            Stage::Holds(_) | Stage::Leaves => false,
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
