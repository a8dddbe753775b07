//! The shell: watches feed queues, and each object that is due is read, planned, changed and reported.

mod apply;
mod automation_run;
mod automation_task;
mod context;
mod error;
mod event;
mod expectations;
mod left;
mod report;
mod turns;

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
    metrics::Metrics,
    observe::{self, Touched},
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
    use super::*;

    #[tokio::test]
    async fn a_panic_over_one_object_is_that_objects_error() {
        let ended = isolated(async { panic!("a bug") }.boxed()).await;
        assert!(matches!(ended, Err(Error::Panicked)));
    }
}
