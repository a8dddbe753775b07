//! An outage of the operator that many cases share, because each costs minutes.

use std::{panic::AssertUnwindSafe, time::Duration};

use futures::{
    FutureExt, StreamExt,
    future::{LocalBoxFuture, join, join_all},
    stream::FuturesUnordered,
};
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use kube::{Client, ResourceExt};
use nightshift::api::label;
use tokio::sync::{oneshot, watch};

use crate::support::{Scene, eventually, now, operator_down, operator_up, slot_after, with_temp_namespace};

/// What a case knows of the outage.
pub struct Outage {
    /// A slot that comes while the operator is down.
    pub slot: Timestamp,
    prepared: Option<oneshot::Sender<()>>,
    done: Option<oneshot::Sender<()>>,
    stage: watch::Receiver<Stage>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Before,
    Down,
    After,
}

impl Outage {
    /// Says that the case is prepared, and returns when the operator is gone.
    pub async fn begins(&mut self) {
        drop(self.prepared.take());
        self.reaches(Stage::Down).await;
        assert!(now() < self.slot, "the operator was to be gone before the slot of {}", self.slot);
    }

    /// Says that Kubernetes has done all that the case wants of it, and returns when the operator is back.
    pub async fn ends(&mut self) {
        drop(self.done.take());
        self.reaches(Stage::After).await;
    }

    async fn reaches(&mut self, stage: Stage) {
        self.stage.wait_for(|now| *now >= stage).await.expect("the outage outlives its cases");
    }
}

/// A case: its name, and what it does.
pub struct Case {
    name: &'static str,
    play: Box<dyn FnOnce(Outage) -> LocalBoxFuture<'static, ()>>,
}

/// A case in a namespace of its own. Afterwards each Job must have one run, and each run that is over must stay so.
pub fn case<F: Future<Output = ()> + 'static>(name: &'static str, test: impl FnOnce(Scene, Outage) -> F + 'static) -> Case {
    let play = async move |outage: Outage| {
        with_temp_namespace(async |client: Client, namespace| {
            let scene = Scene::new(&client, &namespace);
            test(scene.clone(), outage).await;
            each_job_has_one_run(&scene).await;
        })
        .await;
    };
    Case { name, play: Box::new(move |outage| play(outage).boxed_local()) }
}

async fn each_job_has_one_run(scene: &Scene) {
    eventually("each Job has one run", Duration::from_secs(30), async || {
        let runs = scene.runs().await;
        for job in scene.ours::<Job>().await {
            let of_job = |run: &&nightshift::api::AutomationRun| {
                let adopted = run.annotations().get(label::ADOPTED_UID) == job.metadata.uid.as_ref();
                adopted || job.owner_references().iter().any(|owner| Some(&owner.uid) == run.metadata.uid.as_ref())
            };
            let count = runs.iter().filter(of_job).count();
            if count != 1 {
                return Err(format!("{count} runs of Job {}", job.name_any()));
            }
        }
        Ok(())
    })
    .await;
}

/// Plays the cases over one outage, all at once, and fails with the list of those that failed.
pub async fn play(client: &Client, cases: Vec<Case>) {
    let (stage, watch) = watch::channel(Stage::Before);
    let slot = slot_after(45);
    let (mut prepared, mut done, mut plays) = (Vec::new(), Vec::new(), Vec::new());
    let up = operator_up(client).await;
    for case in cases {
        let ((prepared_tx, prepared_rx), (done_tx, done_rx)) = (oneshot::channel(), oneshot::channel());
        prepared.push(prepared_rx);
        done.push(done_rx);
        let outage = Outage { slot, prepared: Some(prepared_tx), done: Some(done_tx), stage: watch.clone() };
        plays.push(AssertUnwindSafe((case.play)(outage)).catch_unwind().map(move |result| (case.name, result)));
    }
    let conduct = async {
        // A sender that is dropped has said so too: a case that failed holds up nobody.
        join_all(prepared).await;
        drop(up);
        let down = operator_down(client).await;
        eprintln!("{} the operator is gone", now());
        let _ = stage.send(Stage::Down);
        join_all(done).await;
        down.end(client).await;
        eprintln!("{} the operator is back", now());
        let _ = stage.send(Stage::After);
    };
    let all = plays.into_iter().collect::<FuturesUnordered<_>>();
    let results = all.inspect(|(name, result)| eprintln!("{} {name}: {}", now(), if result.is_ok() { "ok" } else { "FAILED" }));
    let ((), results) = join(conduct, results.collect::<Vec<_>>()).await;
    let failed: Vec<_> = results.iter().filter(|(_, result)| result.is_err()).map(|(name, _)| *name).collect();
    assert!(failed.is_empty(), "{} of {} cases failed: {}", failed.len(), results.len(), failed.join("; "));
}
