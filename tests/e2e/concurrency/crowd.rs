//! Many runs over several pools: the Jobs are watched for the whole time.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures::{StreamExt, stream::BoxStream};
use k8s_openapi::api::batch::v1::Job;
use kube::{
    ResourceExt,
    api::{WatchEvent, WatchParams},
};
use nightshift::{
    admission::{Slots, marked},
    api::{AutomationRun, Outcome},
};

use super::{is_finished, pool, pool_seen};
use crate::{
    support::status,
    with_operator::place::{Place, story},
};

/// The pools, with their slots.
const POOLS: [(&str, i32); 3] = [("db", 6), ("ftp", 4), ("api", 3)];
/// The tasks: what a run of each holds, and how many of its runs go on at once.
const TASKS: [(&str, &str); 4] = [
    ("load", "{concurrency: {pools: [{poolRef: {name: db}, slots: 2}]}}"),
    ("fetch", "{concurrency: {pools: [{poolRef: {name: ftp}}, {poolRef: {name: db}}]}}"),
    ("call", "{concurrency: {pools: [{poolRef: {name: api}}], priority: 5}}"),
    ("all", "{concurrency: {max: 2, pools: [{poolRef: {name: db}}, {poolRef: {name: ftp}, slots: 2}, {poolRef: {name: api}}]}}"),
];
const MAX_OF_ALL: usize = 2;

/// What the watches have told.
#[derive(Default)]
struct Told {
    /// By UID of the run: its task, and what its Job holds.
    held: BTreeMap<String, (String, Slots)>,
    ended: BTreeSet<String>,
    most: BTreeMap<String, i64>,
    over: Vec<String>,
}

impl Told {
    fn job(&mut self, job: &Job) {
        let Some(slots) = marked(job) else { return };
        let owner = job.owner_references().first().map(|owner| owner.uid.clone()).unwrap_or_default();
        let task = job.labels().get(nightshift::api::label::TASK).cloned().unwrap_or_default();
        if !self.ended.contains(&owner) {
            self.held.insert(owner, (task, slots));
        }
        self.count();
    }

    fn run(&mut self, run: &AutomationRun) {
        if is_finished(run) {
            let uid = run.uid().unwrap_or_default();
            self.held.remove(&uid);
            self.ended.insert(uid);
        }
    }

    fn count(&mut self) {
        let of_all = self.held.values().filter(|(task, _)| task == "all").count();
        if of_all > MAX_OF_ALL {
            self.over.push(format!("{of_all} runs of task all"));
        }
        for (pool, slots) in POOLS {
            let used: i64 = self.held.values().filter_map(|(_, held)| held.get(pool)).sum();
            let most = self.most.entry(pool.to_owned()).or_default();
            *most = (*most).max(used);
            if used > i64::from(slots) {
                self.over.push(format!("{used} of {slots} slots of pool {pool}: {:?}", self.held));
            }
        }
    }
}

/// Every change of runs and Jobs, from the beginning. An end that is told after the Job that it made room for would look like
/// one too many: so each Job is counted only when all that the runs' watch knows up to its version has been told.
async fn watch(place: &Place, runs: usize) -> Told {
    let params = || WatchParams::default().timeout(290);
    let (run_api, job_api) = (place.api::<AutomationRun>(), place.api::<Job>());
    let mut ends: BoxStream<'_, _> = run_api.watch(&params(), "0").await.expect("a watch of runs").boxed();
    let mut starts: BoxStream<'_, _> = job_api.watch(&params(), "0").await.expect("a watch of Jobs").boxed();
    let mut told = Told::default();
    // Versions of all objects are of one order here: the API server keeps them in one store.
    let mut waiting: BTreeMap<u64, Job> = BTreeMap::new();
    let mut runs_told_to = 0;
    let version = |version: Option<String>| version.and_then(|version| version.parse::<u64>().ok()).unwrap_or(0);
    while told.ended.len() < runs {
        tokio::select! {
            event = ends.next() => match event.expect("the watch goes on").expect("an event") {
                WatchEvent::Added(run) | WatchEvent::Modified(run) | WatchEvent::Deleted(run) => {
                    let at = version(run.resource_version());
                    while let Some(first) = waiting.first_entry().filter(|first| *first.key() < at) {
                        told.job(&first.remove());
                    }
                    told.run(&run);
                    runs_told_to = runs_told_to.max(at);
                }
                _ => {}
            },
            event = starts.next() => {
                // Its first version is the one that matters.
                if let WatchEvent::Added(job) = event.expect("the watch goes on").expect("an event") {
                    let at = version(job.resource_version());
                    if at < runs_told_to { told.job(&job) } else { drop(waiting.insert(at, job)) }
                }
            }
            () = tokio::time::sleep(Duration::from_secs(120)) => panic!("nothing has ended for two minutes; {} of {runs} have", told.ended.len()),
        }
    }
    told
}

/// Lets so many runs through, and looks at all of them all the time.
async fn through(count: usize) {
    story(async |place| {
        for (name, slots) in POOLS {
            pool(place, name, slots).await;
        }
        for (task, spec) in TASKS {
            let mut whole: serde_json::Value = crate::support::yaml(spec);
            whole["history"] = serde_json::json!({ "succeeded": 50, "failed": 50 });
            place.script(task, "exit 0", &whole.to_string()).await;
            place.armed(task).await;
        }
        let names: Vec<(String, &str)> = (0..count).map(|n| (format!("run-{n:03}"), TASKS[n % TASKS.len()].0)).collect();
        let create = async {
            for (name, task) in &names {
                place.run(name, task).await;
            }
        };
        let (told, ()) = tokio::join!(watch(place, count), create);
        assert!(told.over.is_empty(), "{:#?}", told.over);
        for (name, slots) in POOLS {
            let most = told.most.get(name).copied().unwrap_or(0);
            assert!(most >= i64::from(slots) - 1, "pool {name} of {slots} was never used by more than {most}: runs waited for nothing");
        }
        for run in place.runs().await {
            assert_eq!(status(&run).outcome, Some(Outcome::Succeeded), "{}: {:?}", run.name_any(), run.status);
        }
        for (name, _) in POOLS {
            let seen = pool_seen(place, name, "to be free", |status| status.used == 0 && status.queued == 0).await;
            assert_eq!((seen.holding, seen.holders.len()), (0, 0));
        }
    })
    .await;
}

#[tokio::test]
async fn sixty_runs_over_three_pools_are_never_one_too_many() {
    through(60).await;
}

/// Many minutes on two cores; asked for by name.
#[tokio::test]
#[ignore = "takes many minutes; run it by name"]
async fn three_hundred_runs_over_three_pools_are_never_one_too_many() {
    through(300).await;
}
