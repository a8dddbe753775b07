//! An operator as a process: a thread and a runtime of its own, so that it can be killed.

use std::{
    sync::Arc,
    thread::{self, JoinHandle},
};

use nightshift::{clock::Clock, controller::Operator, metrics::Metrics};
use tokio::{runtime, sync::watch};

use crate::{fault::Line, support::operator_client};

/// Looks after a namespace until it is dropped. Where it is killed, another takes its place.
pub struct Process {
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Process {
    pub fn start(namespace: &str, line: Arc<Line>) -> Self {
        let (stop, stopped) = watch::channel(false);
        let namespaces = [namespace.to_owned()];
        let life = move || {
            while !live(&namespaces, &line, stopped.clone()) {
                line.revive();
            }
        };
        Self { stop, thread: Some(thread::spawn(life)) }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            // What it died of has been told by its own panic; the story then misses it.
            let _ = thread.join();
        }
    }
}

/// One life of an operator. Returns whether it ended because it was stopped, and not killed.
fn live(namespaces: &[String], line: &Arc<Line>, mut stopped: watch::Receiver<bool>) -> bool {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let stopped = runtime.block_on(async {
        let client = line.client(operator_client().await);
        let operator = Operator::new(client, namespaces, Clock::system(), Metrics::new().expect("metrics"));
        tokio::select! {
            () = operator.run() => panic!("the watches ended"),
            () = line.killed() => false,
            _ = stopped.wait_for(|stopped| *stopped) => true,
        }
    });
    // What was under way is not awaited: its tasks are dropped where they stand.
    drop(runtime);
    stopped
}
