//! Lets runs in under caps: one decision at a time for a namespace, in one process.
//!
//! Runs are looked at side by side and from views that lag, so two of them could each see the same free slot. So none decides
//! for itself: it asks here, where a lock is held from the view to the memory of what was decided. Whoever begins to lead first
//! waits until its caches show what the one before it has left.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use kube::{ResourceExt, runtime::reflector::ObjectRef};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender},
    time::{Instant, sleep, sleep_until},
};

use super::{Context, Error};
use crate::{
    admission::{Answer, Decision, Memory, NEAR, Needs, Snapshot, Source},
    api::ConcurrencyPool,
    build,
    observe::{Caches, InNamespace, Touched},
    plan::concurrency_pool::Seen,
};

/// How often those near the front of a queue are told how it moves.
const TELL_PLACES: Duration = Duration::from_secs(10);
/// How long to wait after a decision, for each that waits, and at most. Few cost nothing worth waiting for.
const FOR_EACH: Duration = Duration::from_micros(100);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);
const FEW: usize = 50;
/// How long what the one before us has sent may be on its way still. Its gate sends nothing once the lease is gone, and a lease
/// that was given back can be ours at once.
const SETTLE: Duration = Duration::from_secs(1);
/// When the Job of a run that is gone is asked for once more.
const FIND_AGAIN: Duration = Duration::from_secs(5);
/// How long the caches are waited for before a run has to ask again.
const CATCH_UP: Duration = Duration::from_secs(5);
/// By when they show all but what is gone.
const MOSTLY_SHOWN: Duration = Duration::from_secs(1);

/// Who was let in.
pub(super) struct Room {
    namespaces: Mutex<HashMap<String, Memory>>,
    /// Namespaces of which the caches were found to show what was there when this process began to lead.
    caught_up: Mutex<BTreeSet<String>>,
    catching_up: tokio::sync::Mutex<()>,
    /// When somebody first asked.
    begun: OnceLock<Instant>,
    /// Where what has to be looked at is sent.
    touched: UnboundedSender<Touched>,
}

impl Room {
    pub(super) fn new(touched: UnboundedSender<Touched>) -> Self {
        Self {
            namespaces: Mutex::default(),
            caught_up: Mutex::default(),
            catching_up: tokio::sync::Mutex::default(),
            begun: OnceLock::new(),
            touched,
        }
    }

    /// A run of that UID and task asks to be let in, that says already that it waits or not.
    pub(super) async fn ask(
        &self,
        context: &Context,
        namespace: &str,
        (uid, task, is_queued): (&str, &str, bool),
    ) -> Result<Answer, Error> {
        self.catch_up(context, namespace).await?;
        let needs = context.caches.tasks.get(namespace, task).and_then(|task| Needs::of(&task));
        let known = {
            let mut namespaces = self.namespaces.lock().unwrap_or_else(PoisonError::into_inner);
            namespaces.entry(namespace.to_owned()).or_default().known(uid, needs.as_ref(), is_queued)
        };
        let (answer, others) = match known {
            Some(answer) => (Some(answer), Vec::new()),
            None => self.with(&context.caches, namespace, |memory, snapshot| {
                let answer = memory.ask(uid, snapshot);
                if memory.lost().next().is_some() {
                    // It may wait for a Job that is not there any more.
                    let _ = self.touched.send(Touched::Room(namespace.to_owned()));
                }
                answer
            }),
        };
        self.look_at(&context.caches, namespace, &others);
        if !is_queued || !others.is_empty() {
            // Who holds, or waits, is another one now.
            self.look_at_pools(&context.caches, namespace);
        }
        // It is not there any more, as far as the caches know, or is on its way out.
        answer.ok_or(Error::Gone)
    }

    /// The Job of the run was sent, and not refused.
    pub(super) fn sent(&self, namespace: &str, uid: &str) {
        let mut namespaces = self.namespaces.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(memory) = namespaces.get_mut(namespace) {
            memory.sent(uid);
        }
    }

    /// The run does not start after all, where it had been let in: others may.
    pub(super) fn give_back(&self, namespace: &str, uid: &str) {
        let mut namespaces = self.namespaces.lock().unwrap_or_else(PoisonError::into_inner);
        if namespaces.get_mut(namespace).is_some_and(|memory| memory.release(uid)) {
            let _ = self.touched.send(Touched::Room(namespace.to_owned()));
        }
    }

    /// What is known of a pool.
    pub(super) fn of_pool(&self, caches: &Caches, pool: Arc<ConcurrencyPool>) -> Seen {
        let namespaces = self.namespaces.lock().unwrap_or_else(PoisonError::into_inner);
        let nothing = Memory::default();
        let memory = namespaces.get(&pool.namespace().unwrap_or_default()).unwrap_or(&nothing);
        crate::observe::concurrency_pool(caches, memory, pool)
    }

    /// Decides wherever there may be room. Never ends by itself.
    pub(super) async fn decide(&self, context: &Context, mut queue: UnboundedReceiver<String>) {
        context.caches.synced().await;
        let mut tell: HashMap<String, Instant> = HashMap::new();
        let mut told: HashMap<String, Instant> = HashMap::new();
        loop {
            let next = tell.values().min().copied();
            let mut namespaces = BTreeSet::new();
            tokio::select! {
                one = queue.recv() => match one {
                    Some(namespace) => drop(namespaces.insert(namespace)),
                    None => return,
                },
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
            }
            while let Ok(namespace) = queue.try_recv() {
                namespaces.insert(namespace);
            }
            let mut longest = 0;
            for namespace in namespaces {
                let Some(decision) = self.decide_once(&context.caches, &namespace) else { continue };
                self.find_lost(context, &namespace).await;
                self.look_at(&context.caches, &namespace, &decision.admitted);
                self.look_at_pools(&context.caches, &namespace);
                longest = longest.max(decision.waiting.len());
                if !decision.waiting.is_empty() {
                    let at = told.get(&namespace).map_or_else(Instant::now, |told| *told + TELL_PLACES);
                    tell.entry(namespace).or_insert(at);
                }
            }
            let now = Instant::now();
            let due: Vec<String> = tell.iter().filter(|(_, at)| **at <= now).map(|(namespace, _)| namespace.clone()).collect();
            for namespace in due {
                tell.remove(&namespace);
                told.insert(namespace.clone(), now);
                self.tell_places(&context.caches, &namespace);
            }
            told.retain(|_, at| now.duration_since(*at) < TELL_PLACES);
            // Each of a thousand ends would otherwise be a look at a thousand that wait; together they are one.
            let pause = FOR_EACH.saturating_mul(u32::try_from(longest).unwrap_or(u32::MAX)).min(LONGEST_PAUSE);
            if longest > FEW {
                sleep(pause).await;
            }
        }
    }

    /// Lets in whoever may. `None` where nobody asks, or nobody may be let in yet.
    fn decide_once(&self, caches: &Caches, namespace: &str) -> Option<Decision> {
        let here = InNamespace { caches, namespace };
        if !self.is_caught_up(namespace) {
            // Whoever waits asks, and that comes first.
            self.look_at_pools(caches, namespace);
            return None;
        }
        let asked = self.namespaces.lock().unwrap_or_else(PoisonError::into_inner).get(namespace).is_some_and(Memory::is_asked);
        let lost = self.namespaces.lock().unwrap_or_else(PoisonError::into_inner).get(namespace).is_some_and(|m| m.lost().next().is_some());
        if !asked && !lost && !here.has_queue() {
            self.look_at_pools(caches, namespace);
            return None;
        }
        Some(self.with(caches, namespace, Memory::admit))
    }

    /// Asks the API server for the Jobs of runs that are gone, where nobody has seen them: they hold room as long as they are there.
    async fn find_lost(&self, context: &Context, namespace: &str) {
        let lost: Vec<(String, String)> = {
            let namespaces = self.namespaces.lock().unwrap_or_else(PoisonError::into_inner);
            let lost = namespaces.get(namespace).into_iter().flat_map(Memory::lost);
            lost.map(|(uid, run)| (uid.to_owned(), build::job_name(run, 1))).collect()
        };
        if lost.is_empty() {
            return;
        }
        let here = InNamespace { caches: &context.caches, namespace };
        let mut wait = FIND_AGAIN;
        for (uid, job) in lost {
            if here.has_no_job(&context.client, &job).await.unwrap_or(false) {
                let mut namespaces = self.namespaces.lock().unwrap_or_else(PoisonError::into_inner);
                namespaces.entry(namespace.to_owned()).or_default().forget(&uid);
                wait = Duration::ZERO;
            }
        }
        // The watch may tell of them first, and then this finds nothing to do.
        let (touched, namespace) = (self.touched.clone(), namespace.to_owned());
        tokio::spawn(async move {
            sleep(wait).await;
            let _ = touched.send(Touched::Room(namespace));
        });
    }

    /// Looks and decides without anybody in between.
    fn with<T>(&self, caches: &Caches, namespace: &str, decide: impl FnOnce(&mut Memory, &Snapshot) -> T) -> T {
        let mut namespaces = self.namespaces.lock().unwrap_or_else(PoisonError::into_inner);
        let memory = namespaces.entry(namespace.to_owned()).or_default();
        let snapshot = Snapshot::read(&InNamespace { caches, namespace }, memory);
        decide(memory, &snapshot)
    }

    fn look_at(&self, caches: &Caches, namespace: &str, uids: &[String]) {
        if uids.is_empty() {
            return;
        }
        let uids: BTreeSet<&String> = uids.iter().collect();
        for run in (InNamespace { caches, namespace }).live_runs() {
            if run.metadata.uid.as_ref().is_some_and(|uid| uids.contains(uid)) {
                let _ = self.touched.send(Touched::Run(ObjectRef::from_obj(&*run)));
            }
        }
    }

    fn look_at_pools(&self, caches: &Caches, namespace: &str) {
        for pool in (InNamespace { caches, namespace }).pools() {
            let _ = self.touched.send(Touched::Pool(ObjectRef::from_obj(&*pool)));
        }
    }

    /// Looks at those near the front, which say where they stand.
    fn tell_places(&self, caches: &Caches, namespace: &str) {
        let (_, decision) = self.with(caches, namespace, |memory, snapshot| memory.standing(snapshot));
        for (candidate, _) in decision.waiting.iter().filter(|(_, waits)| waits.place <= NEAR) {
            let _ = self.touched.send(Touched::Run(ObjectRef::new(&candidate.run).within(namespace)));
        }
    }

    fn is_caught_up(&self, namespace: &str) -> bool {
        self.caught_up.lock().unwrap_or_else(PoisonError::into_inner).contains(namespace)
    }

    /// Waits until the caches show what was there when this process began to lead.
    async fn catch_up(&self, context: &Context, namespace: &str) -> Result<(), Error> {
        if self.is_caught_up(namespace) {
            return Ok(());
        }
        let begun = *self.begun.get_or_init(Instant::now);
        sleep_until(begun + SETTLE).await;
        // All that ask wait for the one that looks.
        let _alone = self.catching_up.lock().await;
        if self.is_caught_up(namespace) {
            return Ok(());
        }
        let started = Instant::now();
        let here = InNamespace { caches: &context.caches, namespace };
        let mut awaited = here.there(&context.client).await?;
        loop {
            awaited.retain(|there| !here.shows(there));
            if awaited.is_empty() {
                self.caught_up.lock().unwrap_or_else(PoisonError::into_inner).insert(namespace.to_owned());
                return Ok(());
            }
            if started.elapsed() > CATCH_UP {
                return Err(Error::Behind);
            }
            sleep(Duration::from_millis(100)).await;
            // What has gone meanwhile is never shown.
            if started.elapsed() > MOSTLY_SHOWN && !awaited.is_empty() {
                let first = awaited.swap_remove(0);
                if !here.shows(&first) && !here.is_gone(&context.client, &first).await? {
                    awaited.push(first);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{Request, Response};
    use kube::{Client, client::Body, runtime::watcher::Event};
    use serde::de::DeserializeOwned;
    use serde_json::{Value, json};
    use tower::{BoxError, service_fn};

    use super::*;
    use crate::{clock::Clock, leader::Leadership, metrics::Metrics, observe, outcome::reason};

    fn object<K: DeserializeOwned>(name: &str, version: &str, more: &Value) -> K {
        let mut object =
            json!({ "metadata": { "name": name, "namespace": "ns", "uid": format!("uid-{name}"), "resourceVersion": version } });
        for (key, value) in more.as_object().unwrap() {
            match value.as_object().filter(|_| key == "metadata") {
                Some(more) => object["metadata"].as_object_mut().unwrap().extend(more.clone()),
                None => object[key] = value.clone(),
            }
        }
        serde_json::from_value(object).unwrap()
    }

    /// An API server that knows of run `a` and its Job.
    fn server() -> Client {
        let server = service_fn(|request: Request<Body>| {
            let (name, version) = if request.uri().path().ends_with("/jobs") { ("a-1", "8") } else { ("a", "7") };
            let item = json!({
                "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
                "metadata": { "name": name, "namespace": "ns", "resourceVersion": version },
            });
            let list = json!({
                "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadataList", "metadata": { "resourceVersion": "9" }, "items": [item],
            });
            std::future::ready(Ok::<_, BoxError>(Response::new(Body::from(list.to_string().into_bytes()))))
        });
        Client::new(server, "default")
    }

    fn context() -> (Context, UnboundedReceiver<Touched>) {
        let (touched, looked_at) = tokio::sync::mpsc::unbounded_channel();
        let client = server();
        let (caches, _) = observe::start(&client, &[], touched.clone());
        let metrics = Metrics::new().unwrap();
        (Context::new(client, caches, Clock::system(), metrics, Leadership::always(), touched), looked_at)
    }

    fn pool(slots: i32) -> ConcurrencyPool {
        object("db", "1", &json!({ "spec": { "slots": slots } }))
    }

    /// One slot, and a run that asks for it.
    fn one_slot(context: &Context) {
        let spec = json!({ "owner": { "team": "a" }, "image": "i", "concurrency": { "pools": [{ "poolRef": { "name": "db" } }] } });
        context.caches.tasks.take(0, Event::Apply(object("t", "1", &json!({ "spec": spec }))));
        context.caches.pools.take(0, Event::Apply(pool(1)));
        context.caches.runs.take(0, Event::Apply(object("b", "2", &json!({ "spec": { "taskRef": { "name": "t" } } }))));
    }

    fn tell_of_a(context: &Context) {
        let owner =
            json!({ "apiVersion": "nightshift.dev/v1alpha1", "kind": "AutomationRun", "name": "a", "uid": "uid-a", "controller": true });
        let meta = json!({ "annotations": { crate::api::label::HOLDS: r#"{"db":1}"# }, "ownerReferences": [owner] });
        context.caches.jobs.take(0, Event::Apply(object("a-1", "8", &json!({ "metadata": meta }))));
        context.caches.runs.take(0, Event::Apply(object("a", "7", &json!({ "spec": { "taskRef": { "name": "t" } } }))));
    }

    #[tokio::test]
    async fn whoever_begins_to_lead_lets_nobody_in_before_its_caches_show_what_the_one_before_it_left() {
        let (context, _looked_at) = context();
        one_slot(&context);
        let (answer, ()) = tokio::join!(context.room.ask(&context, "ns", ("uid-b", "t", false)), async {
            sleep(SETTLE + Duration::from_millis(150)).await;
            tell_of_a(&context);
        });
        let Answer::Waits(waits) = answer.unwrap() else { panic!("the slot is taken by a run that the caches had not shown") };
        assert_eq!((waits.lack.reason(), waits.holders.as_slice()), (reason::POOL_FULL, ["a".to_owned()].as_slice()));
    }

    #[tokio::test]
    async fn when_there_is_room_who_may_go_is_looked_at_and_nobody_else() {
        let (context, mut looked_at) = context();
        one_slot(&context);
        tell_of_a(&context);
        let waiting = json!({ "spec": { "taskRef": { "name": "t" } }, "status": { "phase": "Queued", "waitingOn": { "reason": "PoolFull", "message": "" } } });
        for n in 0..20 {
            context.caches.runs.take(0, Event::Apply(object(&format!("r{n:02}"), "3", &waiting)));
        }
        assert!(matches!(context.room.ask(&context, "ns", ("uid-b", "t", false)).await, Ok(Answer::Waits(_))));
        while looked_at.try_recv().is_ok() {}
        context.caches.pools.take(0, Event::Apply(pool(3)));
        let decision = context.room.decide_once(&context.caches, "ns").unwrap();
        context.room.look_at(&context.caches, "ns", &decision.admitted);
        let mut runs = Vec::new();
        while let Ok(touched) = looked_at.try_recv() {
            if let Touched::Run(run) = touched {
                runs.push(run.name);
            }
        }
        runs.sort();
        assert_eq!((decision.admitted.len(), decision.waiting.len()), (2, 19));
        assert_eq!(runs, ["b", "r00"], "two slots are free");
        context.room.give_back("ns", "uid-b");
        assert!(matches!(looked_at.try_recv(), Ok(Touched::Room(namespace)) if namespace == "ns"), "others may");
        context.room.sent("ns", "uid-r00");
        context.room.give_back("ns", "uid-r00");
        assert!(looked_at.try_recv().is_err(), "its Job may be there");
    }
}
