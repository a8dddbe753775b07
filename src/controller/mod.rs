//! The shell: watches feed queues, and each object that is due is read, planned, changed and reported.

mod apply;
mod automation_run;
mod automation_task;
mod context;
mod error;
mod expectations;
mod report;

pub use context::Context;
pub use error::Error;

use std::{fmt::Debug, hash::Hash, sync::Arc, time::Duration};

use futures::{Stream, StreamExt, TryFuture};
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
    metrics::Metrics,
    observe::{self, Touched},
};

/// How many objects of a kind are looked at at once. Reconciling is mostly waiting for the API server.
const CONCURRENCY: u16 = 16;

/// A running operator, to be polled until the process ends.
pub struct Operator {
    /// What the reconcilers share.
    pub context: Arc<Context>,
    run: futures::future::BoxFuture<'static, ()>,
}

impl Operator {
    /// An operator for all namespaces, or for those given.
    #[must_use]
    pub fn new(client: Client, namespaces: &[String], clock: Clock, metrics: Metrics) -> Self {
        let (touched, mut all) = mpsc::unbounded_channel();
        let (caches, watch) = observe::start(&client, namespaces, touched);
        let context = Arc::new(Context::new(client, caches, clock, metrics));
        let (task_queue, tasks) = mpsc::unbounded_channel();
        let (run_queue, runs) = mpsc::unbounded_channel();
        let sort = async move {
            while let Some(one) = all.recv().await {
                let _ = match one {
                    Touched::Task(task) => task_queue.send(task).map_err(drop),
                    Touched::Run(run) => run_queue.send(run).map_err(drop),
                };
            }
        };
        let task_loop = drive(context.caches.tasks.store(), tasks, context.clone(), automation_task::reconcile);
        let run_loop = drive(context.caches.runs.store(), runs, context.clone(), automation_run::reconcile);
        let run = async move {
            // Any of them ending means the process must: a half of an operator would look alive.
            tokio::select! {
                () = watch => {}
                () = sort => {}
                () = task_loop => {}
                () = run_loop => {}
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

/// Reconciles what the queue names, never one object twice at a time, once all caches have been listed: a decision from
/// half a view would be a wrong one.
async fn drive<K, Reconcile>(
    store: Store<K>,
    queue: mpsc::UnboundedReceiver<ObjectRef<K>>,
    context: Arc<Context>,
    reconcile: impl FnMut(Arc<K>, Arc<Context>) -> Reconcile,
) where
    K: Resource<DynamicType = ()> + Clone + Debug + Send + Sync + 'static,
    K::DynamicType: Eq + Hash + Clone + Debug + Unpin,
    Reconcile: TryFuture<Ok = Action, Error = Error> + Unpin + Send,
{
    context.synced().await;
    let queue = unfold(queue).map(Ok::<_, std::convert::Infallible>);
    let config = Config::default().concurrency(CONCURRENCY);
    let reconciled = applier(reconcile, error::policy, context, store, queue, config);
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

fn unfold<T: Send + 'static>(receiver: mpsc::UnboundedReceiver<T>) -> impl Stream<Item = T> + Send {
    futures::stream::unfold(receiver, |mut receiver| async move { receiver.recv().await.map(|item| (item, receiver)) })
}

/// When to look again.
fn again(wake: Option<Timestamp>, clock: Clock) -> Action {
    let Some(wake) = wake else { return Action::await_change() };
    let wait = wake.duration_since(clock.now());
    Action::requeue(Duration::try_from(wait).unwrap_or_default())
}
