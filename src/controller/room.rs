//! Lets runs in under caps: one decision at a time for a namespace, in one process.
//!
//! Runs are looked at side by side and from views that lag, so two of them could each see the same free slot. So none decides
//! for itself: it asks here, where a lock is held from the view to the memory of what was decided. Whoever begins to lead first
//! waits until its caches show what the one before it has left.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{StreamExt, stream::FuturesUnordered};
use jiff::Timestamp;
use kube::{ResourceExt, runtime::reflector::ObjectRef};
use tokio::{
    sync::{
        Semaphore,
        mpsc::{UnboundedReceiver, UnboundedSender},
    },
    time::{Instant, sleep, sleep_until},
};

use super::{Context, Error};
use crate::{
    admission::{Answer, Memory, Needs, Source},
    api::ConcurrencyPool,
    build,
    observe::{Caches, InNamespace, Touched},
    plan::concurrency_pool::Seen,
};

/// How often those near the front of a queue are told how it moves, and how many at once.
const TELL_PLACES: Duration = Duration::from_secs(10);
const TOLD_AT_ONCE: usize = 50;
/// How long to wait after a decision, for each that waits, and at most. Few cost nothing worth waiting for.
const FOR_EACH: Duration = Duration::from_micros(100);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);
const FEW: usize = 50;
/// How long what the one before us has sent may be on its way still. Its gate sends nothing once the lease is gone, and a lease
/// that was given back can be ours at once.
const SETTLE: Duration = Duration::from_secs(1);
/// How often the Jobs of runs that are gone are asked for.
const FIND_AGAIN: Duration = Duration::from_secs(5);
/// How often it is looked whether the caches have caught up.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// By when they show all but what is gone. One after the other of what they do not show is asked for then.
const MOSTLY_SHOWN: Duration = Duration::from_secs(1);
/// After how long it is told that they do not.
const TELL_BEHIND: Duration = Duration::from_secs(5);
/// How many namespaces are listed at once.
const LISTS: usize = 4;

/// Who was let in.
pub(super) struct Room {
    namespaces: Mutex<HashMap<String, Memory>>,
    views: Mutex<HashMap<String, View>>,
    lists: Semaphore,
    /// Where what has to be looked at is sent.
    touched: UnboundedSender<Touched>,
}

/// Whether the caches show what was there in a namespace when this process began to lead.
enum View {
    /// Not yet. UIDs of the runs that have asked: they are looked at then.
    Behind(BTreeSet<String>),
    /// They do.
    Whole,
}

/// The caches as far as they are about one namespace.
fn inside<'a>(caches: &'a Caches, namespace: &'a str) -> InNamespace<'a> {
    InNamespace { caches, namespace }
}

impl Room {
    pub(super) fn new(touched: UnboundedSender<Touched>) -> Self {
        Self { namespaces: Mutex::default(), views: Mutex::default(), lists: Semaphore::new(LISTS), touched }
    }

    /// A run of that UID asks to be let in, with what it needs, and says already that it waits or not.
    pub(super) fn ask(
        &self,
        caches: &Caches,
        namespace: &str,
        (uid, needs, is_queued): (&str, &Arc<Needs>, bool),
    ) -> Result<Answer, Error> {
        if self.is_behind(namespace, uid) {
            return Ok(Answer::Behind);
        }
        let (answer, others) = self.with(namespace, |memory| memory.ask(uid, needs, is_queued, &inside(caches, namespace)));
        self.look_at(caches, namespace, &others);
        if !is_queued || !others.is_empty() {
            // Who holds, or waits, is another one now.
            self.look_at_pools(caches, namespace);
        }
        // It is not there any more, as far as the caches know, or is on its way out.
        answer.ok_or(Error::Gone)
    }

    /// Whether nobody can be let in yet. The run that asks is looked at when somebody can.
    fn is_behind(&self, namespace: &str, uid: &str) -> bool {
        match self.views().entry(namespace.to_owned()).or_insert_with(|| View::Behind(BTreeSet::new())) {
            View::Whole => false,
            View::Behind(asked) => {
                if asked.is_empty() {
                    let _ = self.touched.send(Touched::Room(namespace.to_owned()));
                }
                asked.insert(uid.to_owned());
                true
            }
        }
    }

    /// The Job of the run is about to be sent. Says whether it was sent before.
    pub(super) fn send(&self, namespace: &str, uid: &str, needs: &Needs, now: Timestamp) -> Result<bool, Error> {
        // It may have been let in with what its task does not ask for any more.
        self.with(namespace, |memory| memory.send(uid, needs, now)).ok_or(Error::Gone)
    }

    /// The Job that was sent is not there.
    pub(super) fn refused(&self, namespace: &str, uid: &str) {
        self.with(namespace, |memory| memory.refused(uid));
    }

    /// The run does not start after all, where it had been let in: others may.
    pub(super) fn give_back(&self, namespace: &str, uid: &str) {
        if self.memories().get_mut(namespace).is_some_and(|memory| memory.release(uid)) {
            let _ = self.touched.send(Touched::Room(namespace.to_owned()));
        }
    }

    /// What is known of a pool.
    pub(super) fn of_pool(&self, caches: &Caches, pool: Arc<ConcurrencyPool>) -> Seen {
        let namespace = pool.namespace().unwrap_or_default();
        self.with(&namespace, |memory| crate::observe::concurrency_pool(caches, memory, pool))
    }

    /// Decides wherever there may be room. Never ends by itself.
    pub(super) async fn decide(&self, context: &Context, mut queue: UnboundedReceiver<String>) {
        context.caches.synced().await;
        let mut tell: HashMap<String, Instant> = HashMap::new();
        let mut told: HashMap<String, Instant> = HashMap::new();
        let mut find: HashMap<String, Instant> = HashMap::new();
        let (mut begun, mut catching_up, mut started) = (None, FuturesUnordered::new(), BTreeSet::new());
        loop {
            let next = tell.values().chain(find.values()).min().copied();
            let mut namespaces = BTreeSet::new();
            tokio::select! {
                one = queue.recv() => match one {
                    Some(namespace) => drop(namespaces.insert(namespace)),
                    None => return,
                },
                Some(namespace) = catching_up.next() => { namespaces.insert(namespace); }
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
            }
            while let Ok(namespace) = queue.try_recv() {
                namespaces.insert(namespace);
            }
            for namespace in due(&mut find) {
                self.find_lost(context, &namespace).await;
                namespaces.insert(namespace);
            }
            let mut longest = 0;
            for namespace in namespaces {
                let is_behind = matches!(self.views().get(&namespace), Some(View::Behind(_)));
                if is_behind && started.insert(namespace.clone()) {
                    let settled = *begun.get_or_insert_with(Instant::now) + SETTLE;
                    catching_up.push(self.catch_up(context, namespace.clone(), settled));
                }
                let waiting = self.decide_once(&context.caches, &namespace);
                longest = longest.max(waiting);
                if self.with(&namespace, |memory| memory.has_lost()) {
                    find.entry(namespace.clone()).or_insert_with(|| Instant::now() + FIND_AGAIN);
                }
                if waiting > 0 {
                    let at = told.get(&namespace).map_or_else(Instant::now, |told| *told + TELL_PLACES);
                    tell.entry(namespace).or_insert(at);
                }
            }
            for namespace in due(&mut tell) {
                if self.tell_places(&context.caches, &namespace) {
                    tell.insert(namespace.clone(), Instant::now() + TELL_PLACES);
                }
                told.insert(namespace, Instant::now());
            }
            told.retain(|_, at| at.elapsed() < TELL_PLACES);
            // Each of a thousand ends would otherwise be a look at a thousand that wait; together they are one.
            let pause = FOR_EACH.saturating_mul(u32::try_from(longest).unwrap_or(u32::MAX)).min(LONGEST_PAUSE);
            if longest > FEW {
                sleep(pause).await;
            }
        }
    }

    /// Lets in whoever may, and says how many wait. Nobody where it is not known yet who holds room: whoever waits asks, and that
    /// comes first.
    fn decide_once(&self, caches: &Caches, namespace: &str) -> usize {
        self.look_at_pools(caches, namespace);
        if !matches!(self.views().get(namespace), Some(View::Whole)) {
            return 0;
        }
        let (admitted, waiting) = self.with(namespace, |memory| (memory.look(&inside(caches, namespace)), memory.waiting()));
        self.look_at(caches, namespace, &admitted.unwrap_or_default());
        waiting
    }

    /// Asks the API server for the Jobs of runs that are gone, where nobody has seen them: they hold room as long as they are there.
    async fn find_lost(&self, context: &Context, namespace: &str) {
        let now = context.clock.now();
        let job = |(uid, run): (&str, &str)| (uid.to_owned(), build::job_name(run, 1));
        let lost: Vec<(String, String)> = self.with(namespace, |memory| memory.lost(now).map(job).collect());
        for (uid, job) in lost {
            if inside(&context.caches, namespace).is_over(&context.client, &job).await.unwrap_or(false) {
                self.with(namespace, |memory| memory.forget(&uid));
            }
        }
    }

    /// Looks and decides without anybody in between.
    fn with<T>(&self, namespace: &str, decide: impl FnOnce(&mut Memory) -> T) -> T {
        decide(self.memories().entry(namespace.to_owned()).or_default())
    }

    fn memories(&self) -> MutexGuard<'_, HashMap<String, Memory>> {
        self.namespaces.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn views(&self) -> MutexGuard<'_, HashMap<String, View>> {
        self.views.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look_at(&self, caches: &Caches, namespace: &str, uids: &[String]) {
        if uids.is_empty() {
            return;
        }
        let uids: BTreeSet<&String> = uids.iter().collect();
        for run in inside(caches, namespace).live_runs() {
            if run.metadata.uid.as_ref().is_some_and(|uid| uids.contains(uid)) {
                let _ = self.touched.send(Touched::Run(ObjectRef::from_obj(&*run)));
            }
        }
    }

    fn look_at_pools(&self, caches: &Caches, namespace: &str) {
        for pool in inside(caches, namespace).pools() {
            let _ = self.touched.send(Touched::Pool(ObjectRef::from_obj(&*pool)));
        }
    }

    /// Looks at those near the front that stand elsewhere than they have told. Says whether there are more of them.
    fn tell_places(&self, caches: &Caches, namespace: &str) -> bool {
        let mut runs = inside(caches, namespace).live_runs();
        self.with(namespace, |memory| runs.retain(|run| memory.has_moved(run)));
        for run in runs.iter().take(TOLD_AT_ONCE) {
            let _ = self.touched.send(Touched::Run(ObjectRef::from_obj(&**run)));
        }
        runs.len() > TOLD_AT_ONCE
    }

    /// Waits until the caches show what was there when this process began to lead, and has all looked at that have asked until
    /// then. Returns the namespace.
    async fn catch_up(&self, context: &Context, namespace: String, settled: Instant) -> String {
        let here = inside(&context.caches, &namespace);
        sleep_until(settled).await;
        let mut awaited = loop {
            let listed = {
                let _turn = self.lists.acquire().await;
                here.there(&context.client).await
            };
            match listed {
                Ok(there) => break there,
                Err(error) => tracing::warn!(namespace, %error, "nobody is let in under caps before this is known"),
            }
            sleep(MOSTLY_SHOWN).await;
        };
        let (started, mut is_told) = (Instant::now(), false);
        loop {
            awaited.retain(|there| !here.shows(there));
            let Some(first) = awaited.first().cloned() else { break };
            if started.elapsed() > TELL_BEHIND && !is_told {
                tracing::warn!(namespace, name = first.name, "the caches do not show this yet, and nobody is let in under caps before");
                is_told = true;
            }
            // What has gone meanwhile is never shown.
            if started.elapsed() > MOSTLY_SHOWN {
                awaited.swap_remove(0);
                if here.is_gone(&context.client, &first).await.unwrap_or(false) {
                    continue;
                }
                awaited.push(first);
            }
            sleep(LOOK_AGAIN).await;
        }
        let view = self.views().insert(namespace.clone(), View::Whole);
        if let Some(View::Behind(asked)) = view {
            self.look_at(&context.caches, &namespace, &asked.into_iter().collect::<Vec<_>>());
        }
        namespace
    }
}

/// Takes out the namespaces whose time has come.
fn due(times: &mut HashMap<String, Instant>) -> Vec<String> {
    let now = Instant::now();
    let due: Vec<String> = times.iter().filter(|(_, at)| **at <= now).map(|(namespace, _)| namespace.clone()).collect();
    times.retain(|_, at| *at > now);
    due
}

#[cfg(test)]
mod tests {
    use http::{Method, Request, Response};
    use k8s_openapi::api::batch::v1::Job;
    use kube::{Client, client::Body, runtime::watcher::Event};
    use serde::de::DeserializeOwned;
    use serde_json::{Value, json};
    use tower::{BoxError, service_fn};

    use super::*;
    use crate::{
        api::{AutomationRun, label},
        clock::Clock,
        controller::apply::apply,
        leader::Leadership,
        metrics::Metrics,
        observe,
        outcome::reason,
        plan::Change,
    };

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

    /// An API server that knows of run `a` and its Job, whatever the namespace.
    fn lists(request: &Request<Body>) -> (u16, Value) {
        let (name, version) = if request.uri().path().ends_with("/jobs") { ("a-1", "8") } else { ("a", "7") };
        let item = json!({
            "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
            "metadata": { "name": name, "namespace": "ns", "resourceVersion": version },
        });
        let list = json!({
            "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadataList", "metadata": { "resourceVersion": "9" }, "items": [item],
        });
        (200, list)
    }

    fn says(code: u16, reason: &str) -> (u16, Value) {
        let status = json!({
            "apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": "no", "metadata": {},
        });
        (code, status)
    }

    fn context(answer: fn(&Request<Body>) -> (u16, Value)) -> (Context, UnboundedReceiver<Touched>) {
        let server = service_fn(move |request: Request<Body>| {
            let (code, body) = answer(&request);
            let response = Response::builder().status(code).body(Body::from(body.to_string().into_bytes()));
            std::future::ready(response.map_err(BoxError::from))
        });
        let (touched, looked_at) = tokio::sync::mpsc::unbounded_channel();
        let client = Client::new(server, "default");
        let (caches, _) = observe::start(&client, &[], touched.clone());
        let metrics = Metrics::new().unwrap();
        (Context::new(client, caches, Clock::system(), metrics, Leadership::always(), touched), looked_at)
    }

    /// One whose caches are known to show all, and in which run `b` asks for the only slot.
    fn caught_up(answer: fn(&Request<Body>) -> (u16, Value)) -> (Context, UnboundedReceiver<Touched>) {
        let (context, looked_at) = context(answer);
        one_slot(&context);
        context.room.views().insert("ns".to_owned(), View::Whole);
        (context, looked_at)
    }

    fn pool(slots: i32) -> ConcurrencyPool {
        object("db", "1", &json!({ "spec": { "slots": slots } }))
    }

    /// One slot, and a run that asks for it.
    fn one_slot(context: &Context) {
        let spec = json!({ "owner": { "team": "a" }, "image": "i", "concurrency": { "pools": [{ "poolRef": { "name": "db" } }] } });
        context.caches.tasks.take(0, Event::Apply(object("t", "1", &json!({ "spec": spec }))));
        context.caches.pools.take(0, Event::Apply(pool(1)));
        context.caches.runs.take(0, Event::Apply(run("b", "2")));
    }

    fn run(name: &str, version: &str) -> AutomationRun {
        object(name, version, &json!({ "spec": { "taskRef": { "name": "t" } } }))
    }

    fn tell_of_a(context: &Context) {
        let owner =
            json!({ "apiVersion": "nightshift.dev/v1alpha1", "kind": "AutomationRun", "name": "a", "uid": "uid-a", "controller": true });
        let meta = json!({ "annotations": { label::HOLDS: r#"{"db":1}"# }, "ownerReferences": [owner] });
        context.caches.jobs.take(0, Event::Apply(object::<Job>("a-1", "8", &json!({ "metadata": meta }))));
        context.caches.runs.take(0, Event::Apply(run("a", "7")));
    }

    fn needs() -> Arc<Needs> {
        Arc::new(Needs { task: "t".to_owned(), pools: [("db".to_owned(), 1)].into(), ..Needs::default() })
    }

    fn ask(context: &Context, namespace: &str) -> Answer {
        context.room.ask(&context.caches, namespace, ("uid-b", &needs(), false)).unwrap()
    }

    fn names(looked_at: &mut UnboundedReceiver<Touched>) -> Vec<String> {
        let mut names: Vec<String> = std::iter::from_fn(|| looked_at.try_recv().ok())
            .map(|touched| match touched {
                Touched::Run(run) => format!("run {}", run.name),
                Touched::Pool(pool) => format!("pool {}", pool.name),
                Touched::Room(namespace) => format!("room in {namespace}"),
                other => format!("{other:?}"),
            })
            .collect();
        names.sort();
        names
    }

    #[tokio::test]
    async fn whoever_begins_to_lead_lets_nobody_in_before_its_caches_show_what_the_one_before_it_left() {
        let (context, mut looked_at) = context(lists);
        one_slot(&context);
        assert_eq!((ask(&context, "ns"), ask(&context, "ns")), (Answer::Behind, Answer::Behind));
        assert_eq!(names(&mut looked_at), ["room in ns"], "somebody begins to look");
        let catch_up = context.room.catch_up(&context, "ns".to_owned(), Instant::now());
        tokio::join!(catch_up, async {
            sleep(Duration::from_millis(150)).await;
            assert_eq!(ask(&context, "ns"), Answer::Behind);
            tell_of_a(&context);
        });
        assert_eq!(names(&mut looked_at), ["run b"], "who has asked is looked at");
        let Answer::Waits(waits) = ask(&context, "ns") else { panic!("the slot is taken by a run that the caches had not shown") };
        assert_eq!((waits.lack.reason(), waits.holders.as_slice()), (reason::POOL_FULL, ["a".to_owned()].as_slice()));
    }

    #[tokio::test]
    async fn a_namespace_that_never_catches_up_keeps_no_other_waiting() {
        let (context, _looked_at) = context(lists);
        one_slot(&context);
        tell_of_a(&context);
        for answer in [ask(&context, "stuck"), ask(&context, "ns")] {
            assert_eq!(answer, Answer::Behind, "at once");
        }
        let stuck = context.room.catch_up(&context, "stuck".to_owned(), Instant::now());
        let here = context.room.catch_up(&context, "ns".to_owned(), Instant::now());
        tokio::select! {
            namespace = stuck => panic!("{namespace} shows what is not there"),
            namespace = here => assert_eq!(namespace, "ns"),
        }
        assert_eq!(ask(&context, "stuck"), Answer::Behind);
        assert!(matches!(ask(&context, "ns"), Answer::Waits(_)));
    }

    #[tokio::test]
    async fn when_there_is_room_who_may_go_is_looked_at_and_nobody_else() {
        let (context, mut looked_at) = caught_up(lists);
        tell_of_a(&context);
        let waiting = json!({ "spec": { "taskRef": { "name": "t" } }, "status": { "phase": "Queued", "waitingOn": { "reason": "PoolFull", "message": "" } } });
        for n in 0..20 {
            context.caches.runs.take(0, Event::Apply(object(&format!("r{n:02}"), "3", &waiting)));
        }
        assert!(matches!(ask(&context, "ns"), Answer::Waits(_)));
        assert_eq!(names(&mut looked_at), ["pool db"], "which tells of one more that waits");
        context.caches.pools.take(0, Event::Apply(pool(3)));
        assert_eq!(context.room.decide_once(&context.caches, "ns"), 19);
        assert_eq!(names(&mut looked_at), ["pool db", "run b", "run r00"], "two slots are free");
        context.room.give_back("ns", "uid-b");
        assert_eq!(names(&mut looked_at), ["room in ns"], "others may");
        context.room.send("ns", "uid-r00", &needs(), context.clock.now()).unwrap();
        context.room.give_back("ns", "uid-r00");
        assert_eq!(names(&mut looked_at), Vec::<String>::new(), "its Job may be there");
    }

    #[tokio::test]
    async fn near_the_front_only_those_are_told_that_have_moved_and_not_all_at_once() {
        let (context, mut looked_at) = caught_up(lists);
        tell_of_a(&context);
        for n in 0..60 {
            // Each has a pool of its own, in which it is the first.
            let task = json!({ "spec": { "owner": { "team": "a" }, "image": "i", "concurrency": { "pools": [{ "poolRef": { "name": format!("p{n}") } }] } } });
            context.caches.tasks.take(0, Event::Apply(object(&format!("t{n}"), "1", &task)));
            let waiting = json!({ "spec": { "taskRef": { "name": format!("t{n}") } }, "status": { "phase": "Queued", "waitingOn": { "reason": "PoolFull", "message": "" } } });
            context.caches.runs.take(0, Event::Apply(object(&format!("r{n:02}"), "3", &waiting)));
        }
        assert_eq!(context.room.decide_once(&context.caches, "ns"), 60);
        names(&mut looked_at);
        assert!(context.room.tell_places(&context.caches, "ns"), "there are more");
        assert_eq!(names(&mut looked_at).len(), TOLD_AT_ONCE);
    }

    /// The run is let in, and is to be marked, and its Job made: says what becomes of it, and whether there is room again when it
    /// does not start.
    async fn starts(answer: fn(&Request<Body>) -> (u16, Value)) -> (bool, bool) {
        let (context, mut looked_at) = caught_up(answer);
        assert!(matches!(ask(&context, "ns"), Answer::Granted(_)));
        names(&mut looked_at);
        let run = run("b", "2");
        let create = |name: &str| Change::CreateJob {
            name: name.to_owned(),
            run_uid: "uid-b".to_owned(),
            object: json!({ "metadata": { "name": name, "namespace": "ns" } }),
            let_in: Some(needs()),
        };
        let own = Change::OwnRun {
            name: "b".to_owned(),
            uid: "uid-b".to_owned(),
            resource_version: "2".to_owned(),
            owners: Vec::new(),
            started: false,
        };
        let applied = apply(&context, &run, &[own, create("b-1")]).await;
        context.room.give_back("ns", "uid-b");
        (applied.is_ok(), names(&mut looked_at) == ["room in ns"])
    }

    #[tokio::test]
    async fn a_run_whose_job_was_not_sent_or_was_refused_gives_back_its_room_and_no_other() {
        assert_eq!(starts(|request| if *request.method() == Method::PATCH { says(409, "Conflict") } else { kept() }).await, (false, true));
        assert_eq!(starts(|request| if *request.method() == Method::PATCH { kept() } else { says(403, "Forbidden") }).await, (true, true));
        assert_eq!(
            starts(|request| if *request.method() == Method::PATCH { kept() } else { says(500, "InternalError") }).await,
            (false, false)
        );
        assert_eq!(starts(|_| kept()).await, (true, false));
    }

    fn kept() -> (u16, Value) {
        (200, json!({ "metadata": { "name": "b", "namespace": "ns", "resourceVersion": "9" } }))
    }
}
