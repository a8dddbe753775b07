//! The shell: watches feed queues, and each object that is due is read, planned, changed and reported.

mod applied;
mod apply;
mod automation_run;
mod automation_task;
mod backfill;
mod concurrency_pool;
mod context;
mod error;
mod event;
mod expectations;
mod left;
mod pace;
mod report;
mod room;
mod turns;
mod workflow;
mod workflow_run;

pub use context::Context;
pub use error::Error;

use std::{fmt::Debug, hash::Hash, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::{FutureExt, Stream, StreamExt, future::BoxFuture};
use jiff::Timestamp;
use kube::{
    Client, Resource,
    runtime::{
        controller::{Action, Config, applier},
        reflector::{ObjectRef, Store},
    },
};
use tokio::sync::mpsc;

use crate::{
    clock::Clock,
    leader::Leadership,
    metrics::Metrics,
    observe::{self, Caches, Touched},
};

/// What a reconciler returns: when to look again.
type Reconciled = BoxFuture<'static, Result<Action, Error>>;

/// How many objects of a kind are looked at at once. Reconciling is mostly waiting for the API server.
const CONCURRENCY: u16 = 16;

/// A running operator, to be polled until the process ends.
pub struct Operator {
    /// What the reconcilers share.
    pub context: Arc<Context>,
    run: BoxFuture<'static, ()>,
}

impl Operator {
    /// An operator for all namespaces, or for those given: the only one there is.
    #[must_use]
    pub fn new(client: Client, namespaces: &[String], clock: Clock, metrics: Metrics) -> Self {
        Self::elected(client, namespaces, clock, metrics, Leadership::always())
    }

    /// An operator that fills its caches at once, and does nothing else until it leads. Its client must have the gate of
    /// that leadership.
    #[must_use]
    pub fn elected(client: Client, namespaces: &[String], clock: Clock, metrics: Metrics, leadership: Leadership) -> Self {
        let (touched, mut all) = mpsc::unbounded_channel();
        let (caches, watch) = observe::start(&client, namespaces, touched.clone());
        let context = Arc::new(Context::new(client, caches, clock, metrics, leadership, touched));
        let (task_queue, tasks) = mpsc::unbounded_channel();
        let (workflow_queue, workflows) = mpsc::unbounded_channel();
        let (run_queue, runs) = mpsc::unbounded_channel();
        let (workflow_run_queue, workflow_runs) = mpsc::unbounded_channel();
        let (backfill_queue, backfills) = mpsc::unbounded_channel();
        let (pool_queue, pools) = mpsc::unbounded_channel();
        let (room_queue, rooms) = mpsc::unbounded_channel();
        let queue = move |one| {
            let _ = match one {
                Touched::Task(task) => task_queue.send(task).map_err(drop),
                Touched::Workflow(workflow) => workflow_queue.send(workflow).map_err(drop),
                Touched::Run(run) => run_queue.send(run).map_err(drop),
                Touched::WorkflowRun(run) => workflow_run_queue.send(run).map_err(drop),
                Touched::Backfill(backfill) => backfill_queue.send(backfill).map_err(drop),
                Touched::Pool(pool) => pool_queue.send(pool).map_err(drop),
                Touched::Room(namespace) => room_queue.send(namespace).map_err(drop),
            };
        };
        let sorted = context.clone();
        let sort = async move {
            stand_by(&sorted.leadership, &sorted.caches, &mut all).await.into_iter().for_each(&queue);
            while let Some(one) = all.recv().await {
                queue(one);
            }
        };
        let task_loop = drive(context.caches.tasks.store(), tasks, context.clone(), automation_task::reconcile);
        let run_loop = drive(context.caches.runs.store(), runs, context.clone(), automation_run::reconcile);
        let workflow_loop = drive(context.caches.workflows.store(), workflows, context.clone(), workflow::reconcile);
        let workflow_run_loop = drive(context.caches.runs.store(), workflow_runs, context.clone(), workflow_run::reconcile);
        let backfill_loop = drive(context.caches.backfills.store(), backfills, context.clone(), backfill::reconcile);
        let pool_loop = drive(context.caches.pools.store(), pools, context.clone(), concurrency_pool::reconcile);
        let deciding = context.clone();
        let room_loop = async move { deciding.room.decide(&deciding, rooms).await };
        let run = async move {
            // Any of them ending means the process must: a half of an operator would look alive.
            tokio::select! {
                () = watch => {}
                () = sort => {}
                () = task_loop => {}
                () = run_loop => {}
                () = workflow_loop => {}
                () = workflow_run_loop => {}
                () = backfill_loop => {}
                () = pool_loop => {}
                () = room_loop => {}
            }
        };
        Self { context, run: Box::pin(run) }
    }

    /// Runs until the watches end, which they do not do by themselves. To drop this is safe at any moment: what was
    /// being done is planned again by the next operator.
    pub async fn run(self) {
        self.run.await;
    }
}

/// Lets go what is touched until this process leads, or it would pile up, and returns all that there is to look at then.
/// Nothing is missed: what was let go is in the caches already, and what comes later is touched again.
async fn stand_by(leadership: &Leadership, caches: &Caches, all: &mut mpsc::UnboundedReceiver<Touched>) -> Vec<Touched> {
    let mut begins = std::pin::pin!(leadership.begins());
    loop {
        tokio::select! {
            biased;
            () = &mut begins => return caches.everything(),
            one = all.recv() => if one.is_none() { return Vec::new() },
        }
    }
}

/// Reconciles what the queue names, never one object twice at a time, once all caches have been listed: a decision from
/// half a view would be a wrong one.
async fn drive<K>(
    store: Store<K>,
    queue: mpsc::UnboundedReceiver<ObjectRef<K>>,
    context: Arc<Context>,
    reconcile: fn(Arc<K>, Arc<Context>) -> Reconciled,
) where
    K: Resource<DynamicType = ()> + Clone + Debug + Send + Sync + 'static,
    K::DynamicType: Eq + Hash + Clone + Debug + Unpin,
{
    context.caches.synced().await;
    let queue = unfold(queue).map(Ok::<_, std::convert::Infallible>);
    let config = Config::default().concurrency(CONCURRENCY);
    let reconciled = applier(move |object, context| isolated(reconcile(object, context)), error::policy, context, store, queue, config);
    reconciled
        .for_each(|result| {
            // An object that went between being queued and being looked at is no news.
            if let Err(error) = result {
                tracing::debug!(%error, "reconcile");
            }
            std::future::ready(())
        })
        .await;
}

/// A panic over one object must not end the work on all others: it is that object's error.
fn isolated(reconcile: Reconciled) -> Reconciled {
    let caught = AssertUnwindSafe(reconcile).catch_unwind();
    caught.map(|ended| ended.unwrap_or(Err(Error::Panicked))).boxed()
}

fn unfold<T: Send + 'static>(receiver: mpsc::UnboundedReceiver<T>) -> impl Stream<Item = T> + Send {
    futures::stream::unfold(receiver, |mut receiver| async move { receiver.recv().await.map(|item| (item, receiver)) })
}

/// When to look again.
fn again(wake: Option<Timestamp>, clock: Clock) -> Action {
    let Some(wake) = wake else { return Action::await_change() };
    let wait = wake.duration_since(clock.now());
    Action::requeue(Duration::try_from(wait).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use http::{Request, Response};
    use kube::{client::Body, runtime::watcher::Event};
    use tower::{BoxError, service_fn};

    use super::*;

    #[tokio::test]
    async fn a_standby_lets_go_what_is_touched_and_then_looks_at_everything_once() {
        let silent = service_fn(|_: Request<Body>| std::future::pending::<Result<Response<Body>, BoxError>>());
        let (touched, mut all) = mpsc::unbounded_channel();
        let (caches, _watch) = observe::start(&Client::new(silent, "default"), &[], touched.clone());
        let task: crate::api::AutomationTask = serde_json::from_value(
            serde_json::json!({ "metadata": { "name": "t", "namespace": "ns" }, "spec": { "owner": { "team": "a" } } }),
        )
        .unwrap();
        let itself = ObjectRef::from_obj(&task);
        let leadership = Leadership::standing_by(Clock::system(), Duration::from_secs(7));
        let (queued, ()) = tokio::join!(stand_by(&leadership, &caches, &mut all), async {
            for _ in 0..1000 {
                touched.send(Touched::Task(itself.clone())).unwrap();
            }
            caches.tasks.take(0, Event::Apply(task));
            for _ in 0..100 {
                // The other side takes as many at a time as the runtime lets it.
                tokio::task::yield_now().await;
            }
            leadership.renewed(Duration::ZERO);
        });
        assert!(matches!(queued.as_slice(), [Touched::Task(one)] if *one == itself), "{queued:?}");
        assert!(all.try_recv().is_err(), "nothing has piled up");
    }

    #[tokio::test]
    async fn a_panic_over_one_object_is_that_objects_error() {
        let ended = isolated(async { panic!("a bug") }.boxed()).await;
        assert!(matches!(ended, Err(Error::Panicked)));
    }
}
