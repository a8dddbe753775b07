//! Two operators, of which the one that leads is killed, stopped or frozen.

use std::time::Duration;

use futures::future::join_all;
use http::Method;
use k8s_openapi::api::{batch::v1::Job, coordination::v1::Lease};
use kube::Client;
use tokio::time::Instant;

use super::{replica::Replica, wire::Place};
use crate::{
    end::End,
    support::{Scene, client, eventually, install_crds, operator_down, with_temp_namespace},
};

/// Others take over within this time of a death.
const FAILOVER: Duration = Duration::from_secs(15);
/// And of a good-bye.
const HANDOVER: Duration = Duration::from_secs(3);

/// Two operators that serve a namespace: the first leads, the second stands by and has read all that there is.
struct Pair {
    scene: Scene,
    first: Replica,
    second: Replica,
}

impl Pair {
    async fn start(client: &Client, namespace: &str) -> Self {
        let scene = Scene::new(client, namespace);
        scene.task("world", "{command: ['true']}").await;
        let first = Replica::start("first", namespace).await;
        holds(&scene, "first", FAILOVER).await;
        scene.armed("world").await;
        let second = Replica::start("second", namespace).await;
        second.ready().await;
        Self { scene, first, second }
    }

    /// The run that `begin` has created ends as it does without any trouble, and all of it is there once.
    async fn ends_well(&self) {
        self.scene.finished("world-now", 60).await;
        let end = End {
            outcome: Some(("Succeeded", "Completed")),
            attempts: vec![("TASK-now-1", "Success", Some(0), "Completed")],
            jobs: vec!["TASK-now-1"],
            ..End::default()
        };
        eventually("the world is as it would be without", Duration::from_secs(30), async || {
            let differences = end.differences(&self.scene, "world").await;
            if differences.is_empty() { Ok(()) } else { Err(differences.join("; ")) }
        })
        .await;
    }
}

/// Awaits that the process holds the Lease.
async fn holds(scene: &Scene, name: &str, limit: Duration) {
    let leases = scene.api::<Lease>();
    eventually(&format!("{name} leads"), limit, async || {
        let lease = leases.get_opt("election").await.map_err(|error| error.to_string())?;
        let holder = lease.and_then(|lease| lease.spec?.holder_identity).unwrap_or_default();
        if holder == name { Ok(()) } else { Err(format!("{holder:?} does")) }
    })
    .await;
}

/// Plays with two operators, with the installed ones gone.
async fn play(story: impl AsyncFnOnce(Pair)) {
    let client = client().await;
    install_crds(&client).await;
    let down = operator_down(&client).await;
    with_temp_namespace(async |client: Client, namespace| story(Pair::start(&client, &namespace).await).await).await;
    down.end(&client).await;
}

pub async fn killed() {
    play(async |mut pair: Pair| {
        pair.first.kill();
        let killed = Instant::now();
        pair.scene.run("world-now", "world").await;
        pair.scene.until::<Job, _>("world-now-1", "to exist", 60, |_| true).await;
        let took = killed.elapsed();
        eprintln!("a leader was killed: a run created then had its Job {took:.1?} later");
        assert!(took <= FAILOVER, "{took:?}");
        pair.first.ended().await;
        pair.ends_well().await;
    })
    .await;
}

pub async fn stopped() {
    play(async |mut pair: Pair| {
        pair.first.stop();
        let stopped = Instant::now();
        pair.scene.run("world-now", "world").await;
        holds(&pair.scene, "second", HANDOVER).await;
        pair.scene.until::<Job, _>("world-now-1", "to exist", 60, |_| true).await;
        let took = stopped.elapsed();
        eprintln!("a leader was stopped: a run created then had its Job {took:.1?} later");
        assert!(took <= HANDOVER, "{took:?}");
        assert_eq!(pair.first.ended().await.code(), Some(0), "{}", pair.first.log());
        pair.ends_well().await;
    })
    .await;
}

/// Freezes the leader between a write, of which it has not heard yet, and what it does next.
async fn freeze(pair: &mut Pair, place: Place) {
    pair.first.wire.hold(place);
    pair.scene.run("world-now", "world").await;
    pair.first.wire.held().await;
    pair.first.freeze().await;
    // The answer now waits in its socket: the first thing that it finds when it goes on.
    pair.first.wire.release();
}

/// Writes after which another is to follow.
fn places() -> [Place; 3] {
    [(Method::PATCH, "/automationruns/world-now"), (Method::POST, "/jobs"), (Method::PUT, "/automationruns/world-now/status")]
}

pub async fn frozen() {
    let told = async |place: Place| {
        let shown = format!("{} …{}", place.0, place.1);
        play(async |mut pair: Pair| {
            freeze(&mut pair, place).await;
            let frozen = Instant::now();
            holds(&pair.scene, "second", FAILOVER).await;
            eprintln!("a leader was frozen after {shown}: the other led {:.1?} later", frozen.elapsed());
            pair.ends_well().await;
            let before = pair.first.wire.writes();
            pair.first.thaw();
            let status = pair.first.ended().await;
            assert_eq!(status.code(), Some(1), "it ends, and says that all is not well: {}", pair.first.log());
            pair.first.says("lost the lease").await;
            assert_eq!(pair.first.wire.writes(), before, "it makes no further write");
            pair.ends_well().await;
        })
        .await;
    };
    join_all(places().map(told)).await;
}

/// The control of the story above: frozen at the same places for less time than the lease lasts, it does go on to write.
pub async fn frozen_shortly() {
    let told = async |place: Place| {
        play(async |mut pair: Pair| {
            freeze(&mut pair, place).await;
            let before = pair.first.wire.writes().len();
            // Shorter than a leader may be silent, and no condition to wait for.
            tokio::time::sleep(Duration::from_secs(2)).await;
            pair.first.thaw();
            pair.ends_well().await;
            assert!(pair.first.wire.writes().len() > before, "it goes on where it was: {:?}", pair.first.wire.writes());
            holds(&pair.scene, "first", Duration::from_secs(1)).await;
            assert!(pair.second.wire.writes().is_empty(), "who stands by writes nothing: {:?}", pair.second.wire.writes());
        })
        .await;
    };
    join_all(places().map(told)).await;
}
