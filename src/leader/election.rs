//! The Lease in the cluster: taken, renewed, and released.

use std::{
    hash::{BuildHasher, RandomState},
    str::FromStr,
    time::Duration,
};

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{
    Api, Client, Config,
    api::{ObjectMeta, PostParams},
};

use super::{
    Leadership,
    decision::{Decision, Known, Record, Terms, decide},
};
use crate::{api::label, clock::Clock, metrics::Metrics};

/// Where the Lease is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseName {
    /// Its namespace.
    pub namespace: String,
    /// Its name there.
    pub name: String,
}

impl FromStr for LeaseName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('/') {
            Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
                Ok(Self { namespace: namespace.to_owned(), name: name.to_owned() })
            }
            _ => Err("want NAMESPACE/NAME".to_owned()),
        }
    }
}

/// Takes part in the election of a leader.
///
/// Each write of the Lease carries the version that was seen, so of two who take it at once one is refused. A process that
/// dies leaves the Lease as it is: the others wait until it has run out, for ten seconds after they saw the last renewal.
pub struct Election {
    leases: Api<Lease>,
    name: LeaseName,
    me: String,
    terms: Terms,
    clock: Clock,
    metrics: Metrics,
    leadership: Leadership,
    known: Known,
    /// As the server last sent it; `None` where it has none.
    lease: Option<Lease>,
}

impl Election {
    /// A part in the election, under a name that no other process has got at the same time.
    ///
    /// # Errors
    /// Where the configuration makes no client.
    pub fn new(mut config: Config, name: LeaseName, identity: Option<String>, clock: Clock, metrics: Metrics) -> kube::Result<Self> {
        // A client and connections of its own: a renewal must not queue behind other requests. It repeats nothing by itself.
        config.default_retry = false;
        let client = Client::try_from(config)?;
        Ok(Self::on(client, name, identity.unwrap_or_else(a_name), Terms::default(), clock, metrics))
    }

    fn on(client: Client, name: LeaseName, me: String, terms: Terms, clock: Clock, metrics: Metrics) -> Self {
        let leases = Api::namespaced(client, &name.namespace);
        let leadership = Leadership::standing_by(clock, terms.deadline);
        Self { leases, name, me, terms, clock, metrics, leadership, known: Known::default(), lease: None }
    }

    /// What this process may know of it.
    #[must_use]
    pub fn leadership(&self) -> Leadership {
        self.leadership.clone()
    }

    /// Takes the lease when it is free, and renews it. Returns why when it is lost, after which the process must end: its
    /// caches and plans are those of a leader, and a new process stands by with nothing to forget.
    pub async fn run(&mut self) -> String {
        tracing::info!(lease = %self.name, identity = self.me, "standing by");
        self.look().await;
        loop {
            match decide(&self.me, &self.known, &self.terms, self.clock.monotonic()) {
                Decision::Take | Decision::Renew => self.write().await,
                Decision::Wait(wait) => {
                    tokio::time::sleep(wait).await;
                    if self.known.held.is_none() {
                        self.look().await;
                    }
                }
                Decision::Lost(why) => {
                    self.leadership.give_up();
                    self.metrics.leads(false);
                    tracing::error!(lease = %self.name, identity = self.me, why, "lost the lease");
                    return why;
                }
            }
        }
    }

    /// Lets the next one take over at once, where we lead. To be called when nothing of ours writes any more: what is on
    /// its way to the API server can still arrive, and then meets names and versions as any write does. A crash before
    /// this costs the next one ten seconds.
    pub async fn release(mut self) {
        let led = self.leadership.is_held();
        self.leadership.give_up();
        self.metrics.leads(false);
        let Some(lease) = self.lease.take().filter(|_| led) else { return };
        let spec =
            LeaseSpec { holder_identity: Some(String::new()), lease_duration_seconds: Some(1), ..lease.spec.clone().unwrap_or_default() };
        let released = self.replace(Lease { spec: Some(spec), ..lease }).await;
        match released {
            Ok(_) => tracing::info!(lease = %self.name, identity = self.me, "released the lease"),
            Err(failed) => tracing::warn!(lease = %self.name, why = failed.why, "could not release the lease: it runs out"),
        }
    }

    /// Reads the Lease.
    async fn look(&mut self) {
        match self.in_time(self.leases.get_opt(&self.name.name)).await {
            Ok(lease) => self.saw(lease),
            Err(error) => self.failed(&error),
        }
    }

    /// Takes the Lease, or renews it.
    async fn write(&mut self) {
        let begun = self.clock.monotonic();
        let mine = self.mine();
        let leads = self.known.held.is_some();
        let written = match mine.metadata.resource_version {
            Some(_) => self.replace(mine).await,
            None => self.in_time(self.leases.create(&PostParams::default(), &mine)).await,
        };
        match written {
            Ok(lease) => {
                self.saw(Some(lease));
                self.known.held = Some(begun);
                self.leadership.renewed(begun);
                if !leads {
                    self.metrics.leads(true);
                    tracing::info!(lease = %self.name, identity = self.me, "leading");
                }
            }
            // Somebody else was faster, or it is gone. What has become of it is seen at once: a leader has perhaps lost it.
            Err(Failed { changed: true, .. }) => {
                self.look().await;
                if leads && self.lease.is_none() && self.known.failed.is_none() {
                    self.known.record = Some(Record::default());
                }
            }
            Err(error) => self.failed(&error),
        }
    }

    /// The Lease as it is to become.
    fn mine(&self) -> Lease {
        let now = MicroTime(self.clock.now());
        let (metadata, before) = match self.lease.clone() {
            Some(lease) => (lease.metadata, lease.spec.unwrap_or_default()),
            None => (ObjectMeta { name: Some(self.name.name.clone()), ..ObjectMeta::default() }, LeaseSpec::default()),
        };
        let renews = self.known.held.is_some();
        let transitions = before.lease_transitions.unwrap_or(0);
        let spec = LeaseSpec {
            holder_identity: Some(self.me.clone()),
            lease_duration_seconds: i32::try_from(self.terms.lease.as_secs()).ok(),
            acquire_time: if renews { before.acquire_time } else { Some(now.clone()) },
            renew_time: Some(now),
            lease_transitions: Some(if renews { transitions } else { transitions.saturating_add(1) }),
            ..before
        };
        Lease { metadata, spec: Some(spec) }
    }

    async fn replace(&self, lease: Lease) -> Result<Lease, Failed> {
        let params = PostParams { field_manager: Some(label::NIGHTSHIFT.to_owned()), ..PostParams::default() };
        self.in_time(self.leases.replace(&self.name.name, &params, &lease)).await
    }

    /// Awaits a request for as long as one may take: a leader must hear in time that it has to stop.
    async fn in_time<T>(&self, request: impl Future<Output = kube::Result<T>>) -> Result<T, Failed> {
        let left = self.known.held.map(|begun| (begun + self.terms.deadline).saturating_sub(self.clock.monotonic()));
        let limit = left.map_or(self.terms.request, |left| left.min(self.terms.request));
        match tokio::time::timeout(limit, request).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                let changed = matches!(&error, kube::Error::Api(status) if matches!(status.code, 404 | 409));
                Err(Failed { changed, why: error.to_string() })
            }
            Err(_) => Err(Failed { changed: false, why: format!("no answer within {} ms", limit.as_millis()) }),
        }
    }

    /// What the server has sent. When it was sent is not known; that it came just now lets others wait longer, not shorter.
    fn saw(&mut self, lease: Option<Lease>) {
        self.known.seen(lease.as_ref().map(Record::of), self.clock.monotonic());
        self.lease = lease;
    }

    fn failed(&mut self, error: &Failed) {
        // Told once: it is tried again twice a second.
        if self.known.failed.replace(self.clock.monotonic()).is_none() {
            tracing::warn!(lease = %self.name, why = error.why, "the lease cannot be read or written");
        }
    }
}

impl Record {
    fn of(lease: &Lease) -> Self {
        let spec = lease.spec.clone().unwrap_or_default();
        let seconds = u64::try_from(spec.lease_duration_seconds.unwrap_or(0)).unwrap_or(0);
        Self {
            holder: spec.holder_identity.unwrap_or_default(),
            duration: Duration::from_secs(seconds),
            renewed: format!("{:?} {:?}", spec.renew_time, spec.lease_transitions),
        }
    }
}

/// A request that was not answered as it should.
struct Failed {
    /// The Lease is not what we took it for.
    changed: bool,
    why: String,
}

impl std::fmt::Display for LeaseName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// The name of this machine, and what makes it this process.
fn a_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let unique = RandomState::new().hash_one(std::process::id());
    format!("{}_{unique:016x}", host.trim())
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use http::{Method, Request, Response};
    use kube::client::Body;
    use serde_json::{Value, json};
    use tokio::{sync::watch, task::JoinHandle};
    use tower::{BoxError, service_fn};

    use super::*;

    /// An API server that has one Lease, or none. Where it is down, it does not answer.
    #[derive(Clone)]
    struct Server {
        lease: Arc<Mutex<Option<Value>>>,
        version: Arc<Mutex<u64>>,
        up: watch::Sender<bool>,
    }

    impl Server {
        fn new() -> Self {
            Self { lease: Arc::default(), version: Arc::default(), up: watch::channel(true).0 }
        }

        fn client(&self) -> Client {
            let server = self.clone();
            let service = service_fn(move |request: Request<Body>| {
                let server = server.clone();
                async move {
                    server.up.subscribe().wait_for(|up| *up).await?;
                    let method = request.method().clone();
                    let sent = request.into_body().collect_bytes().await?;
                    let (code, body) = server.answer(&method, serde_json::from_slice(&sent).unwrap_or_default());
                    let body = Body::from(body.to_string().into_bytes());
                    Ok::<_, BoxError>(Response::builder().status(code).body(body)?)
                }
            });
            Client::new(service, "ns")
        }

        fn answer(&self, method: &Method, mut sent: Value) -> (u16, Value) {
            let mut lease = self.lease.lock().unwrap();
            let status = |code: u16| {
                let reason = if code == 404 { "NotFound" } else { "Conflict" };
                (code, json!({ "kind": "Status", "status": "Failure", "message": reason, "reason": reason, "code": code }))
            };
            let code = match (method.as_str(), &*lease) {
                ("GET", Some(lease)) => return (200, lease.clone()),
                ("POST", Some(_)) => return status(409),
                ("PUT" | "GET", None) => return status(404),
                ("PUT", Some(lease)) if lease["metadata"]["resourceVersion"] != sent["metadata"]["resourceVersion"] => return status(409),
                ("POST", None) => 201,
                _ => 200,
            };
            let mut version = self.version.lock().unwrap();
            *version += 1;
            sent["metadata"]["resourceVersion"] = json!(version.to_string());
            *lease = Some(sent.clone());
            (code, sent)
        }

        fn holder(&self) -> String {
            let lease = self.lease.lock().unwrap();
            let holder = lease.as_ref().and_then(|lease| lease["spec"]["holderIdentity"].as_str());
            holder.unwrap_or_default().to_owned()
        }

        /// Another writes the Lease, and does not ask whether it may.
        fn seize(&self, holder: &str) {
            let lease = self.lease.lock().unwrap().clone().unwrap();
            let mut seized = lease;
            seized["spec"]["holderIdentity"] = json!(holder);
            assert_eq!(self.answer(&Method::PUT, seized).0, 200);
        }

        fn election(&self, me: &str) -> Election {
            // A fifth of the real ones. Leases are in whole seconds.
            let terms = Terms {
                lease: Duration::from_secs(2),
                deadline: Duration::from_millis(1400),
                renew: Duration::from_millis(200),
                look: Duration::from_millis(100),
                again: Duration::from_millis(50),
                request: Duration::from_millis(200),
            };
            let name = "ns/nightshift".parse().unwrap();
            Election::on(self.client(), name, me.to_owned(), terms, Clock::system(), Metrics::new().unwrap())
        }
    }

    /// A process that takes part until it loses, or is told to stop.
    struct Process {
        leadership: Leadership,
        stop: watch::Sender<bool>,
        ended: JoinHandle<Option<String>>,
    }

    impl Process {
        fn start(mut election: Election) -> Self {
            let (stop, mut stopped) = watch::channel(false);
            let leadership = election.leadership();
            let ended = tokio::spawn(async move {
                let lost = tokio::select! {
                    why = election.run() => Some(why),
                    _ = stopped.wait_for(|stop| *stop) => None,
                };
                election.release().await;
                lost
            });
            Self { leadership, stop, ended }
        }

        async fn leads(&self) {
            let leads = tokio::time::timeout(Duration::from_secs(5), self.leadership.begins());
            leads.await.expect("it leads within five seconds");
            assert!(self.leadership.is_held());
        }

        async fn lost(self) -> String {
            let lost = tokio::time::timeout(Duration::from_secs(5), self.ended).await.expect("it ends within five seconds").unwrap();
            assert!(!self.leadership.is_held());
            lost.expect("it lost the lease")
        }

        async fn stop(self) {
            self.stop.send_replace(true);
            assert_eq!(self.ended.await.unwrap(), None, "it lost nothing");
            assert!(!self.leadership.is_held());
        }
    }

    #[tokio::test]
    async fn one_leads_and_the_other_takes_over_when_it_stops() {
        let server = Server::new();
        let first = Process::start(server.election("first"));
        first.leads().await;
        let second = Process::start(server.election("second"));
        // Twice as long as an unrenewed lease would last.
        tokio::time::sleep(Duration::from_secs(4)).await;
        assert_eq!((first.leadership.is_held(), second.leadership.is_held(), server.holder().as_str()), (true, false, "first"));
        first.stop().await;
        second.leads().await;
        assert_eq!(server.holder(), "second");
        let transitions = server.lease.lock().unwrap().as_ref().unwrap()["spec"]["leaseTransitions"].clone();
        assert_eq!(transitions, json!(2));
        second.stop().await;
        assert_eq!(server.holder(), "", "released");
    }

    #[tokio::test]
    async fn one_that_vanishes_is_waited_for_and_never_do_two_lead() {
        let server = Server::new();
        let first = Process::start(server.election("first"));
        first.leads().await;
        let second = Process::start(server.election("second"));
        first.ended.abort();
        let leads_no_more = async {
            while first.leadership.is_held() {
                assert!(!second.leadership.is_held());
                tokio::task::yield_now().await;
            }
        };
        leads_no_more.await;
        assert!(!second.leadership.is_held(), "there is a pause between the two");
        second.leads().await;
    }

    #[tokio::test]
    async fn the_same_pod_takes_its_lease_again_at_once() {
        let server = Server::new();
        let first = Process::start(server.election("pod"));
        first.leads().await;
        first.ended.abort();
        let second = Process::start(server.election("pod"));
        tokio::time::timeout(Duration::from_secs(1), second.leads()).await.expect("without waiting for the lease to run out");
    }

    #[tokio::test]
    async fn a_leader_whose_lease_is_taken_or_deleted_ends() {
        let server = Server::new();
        let first = Process::start(server.election("first"));
        first.leads().await;
        server.seize("usurper");
        assert!(first.lost().await.contains("now usurper"));
        assert_eq!(server.holder(), "usurper", "and is not released by who does not hold it");

        let second = Process::start(server.election("second"));
        second.leads().await;
        *server.lease.lock().unwrap() = None;
        assert!(second.lost().await.contains("nobody holds it"));
    }

    #[tokio::test]
    async fn a_leader_that_hears_nothing_ends_in_time_and_a_standby_waits_on() {
        let server = Server::new();
        let first = Process::start(server.election("first"));
        first.leads().await;
        let second = Process::start(server.election("second"));
        server.up.send_replace(false);
        assert!(first.lost().await.contains("last renewed"));
        assert!(!second.ended.is_finished(), "who does not lead has nothing to lose");
        server.up.send_replace(true);
        second.leads().await;
    }

    #[tokio::test]
    async fn a_short_silence_and_a_foreign_edit_are_survived() {
        let server = Server::new();
        let first = Process::start(server.election("first"));
        first.leads().await;
        server.up.send_replace(false);
        tokio::time::sleep(Duration::from_millis(300)).await;
        server.up.send_replace(true);
        // Somebody annotates it: the next renewal meets another version.
        let mut annotated = server.lease.lock().unwrap().clone().unwrap();
        annotated["metadata"]["annotations"] = json!({ "note": "kept" });
        assert_eq!(server.answer(&Method::PUT, annotated).0, 200);
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert!(first.leadership.is_held());
        let lease = server.lease.lock().unwrap().clone().unwrap();
        assert_eq!(lease["metadata"]["annotations"]["note"], json!("kept"));
        first.stop().await;
    }

    #[test]
    fn a_lease_is_named_by_namespace_and_name() {
        let name: LeaseName = "nightshift-system/nightshift".parse().unwrap();
        assert_eq!(
            (name.namespace.as_str(), name.name.as_str(), name.to_string().as_str()),
            ("nightshift-system", "nightshift", "nightshift-system/nightshift")
        );
        for wrong in ["", "nightshift", "/nightshift", "ns/", "a/b/c"] {
            assert!(wrong.parse::<LeaseName>().is_err(), "{wrong}");
        }
        assert_ne!(a_name(), a_name());
    }
}
