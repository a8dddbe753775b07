use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use proptest::{
    collection,
    prelude::*,
    sample::select,
    test_runner::{Config, RngSeed},
};
use serde_json::{Value, json};

use super::*;
use crate::{
    api::{AutomationTask, ConcurrencyPool},
    outcome::{has_ended, reason},
};
use k8s_openapi::api::batch::v1::Job;

/// So many cases, always the same ones; `PROPTEST_CASES` asks for more, and for others each time.
fn config(cases: u32) -> Config {
    let config = Config { failure_persistence: None, ..Config::default() };
    if std::env::var_os("PROPTEST_CASES").is_some() { config } else { Config { cases, rng_seed: RngSeed::Fixed(20_261_127), ..config } }
}

fn needs(pools: &[(&str, i64)], priority: i32) -> Arc<Needs> {
    let pools = pools.iter().map(|(pool, slots)| ((*pool).to_owned(), *slots)).collect();
    Arc::new(Needs { task: "t".to_owned(), max: None, pools, priority })
}

/// A run that waits, created in that second.
fn candidate(run: &str, second: i64, needs: Arc<Needs>) -> Candidate {
    let created = jiff::Timestamp::from_second(1_000_000 + second).unwrap();
    Candidate {
        uid: run.to_owned(),
        run: run.to_owned(),
        created: Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(created)),
        needs,
    }
}

fn holder(run: &str, pools: &[(&str, i64)]) -> Holder {
    Holder { run: run.to_owned(), task: "t".to_owned(), pools: needs(pools, 0).pools.clone() }
}

fn pools(of: &[(&str, i64)]) -> Slots {
    needs(of, 0).pools.clone()
}

#[test]
fn by_priority_then_by_age_and_those_that_fit_pass_those_that_do_not() {
    let there = pools(&[("db", 4), ("ftp", 1)]);
    let decision = decide(
        &there,
        &[holder("h", &[("db", 1)])],
        vec![
            candidate("old", 1, needs(&[("db", 1)], 0)),
            candidate("older", 0, needs(&[("db", 1)], 0)),
            candidate("urgent", 9, needs(&[("db", 2)], 5)),
            // It does not fit any more, and takes nothing: neither of the pool that has room nor of the one that has not.
            candidate("both", 2, needs(&[("db", 3), ("ftp", 1)], 1)),
            candidate("ftp", 8, needs(&[("ftp", 1)], -5)),
        ],
    );
    assert_eq!(decision.admitted, ["urgent", "older", "ftp"]);
    let told = |run: &str| decision.waits(run).unwrap().message();
    assert_eq!(told("both"), "needs 3 slots of ConcurrencyPool db, and 3 of 4 are held: h, urgent; place 1 in the queue");
    assert_eq!(told("old"), "needs 1 slot of ConcurrencyPool db, and 4 of 4 are held: h, urgent, older; place 2 in the queue");
}

#[test]
fn what_can_never_be_had_is_told_first_and_keeps_nobody_waiting() {
    let there = pools(&[("db", 2), ("closed", 0)]);
    let lacking = |asks: &[(&str, i64)]| {
        let decision = decide(&there, &[holder("h", &[("db", 2)])], vec![candidate("r", 1, needs(asks, 0))]);
        let waits = decision.waits("r").unwrap();
        (waits.lack.reason(), waits.message())
    };
    assert_eq!(lacking(&[("db", 1), ("gone", 1)]).0, reason::POOL_NOT_FOUND);
    assert_eq!(lacking(&[("closed", 1), ("db", 1)]).0, reason::POOL_CLOSED);
    let (why, message) = lacking(&[("db", 3)]);
    assert_eq!(why, reason::POOL_TOO_SMALL);
    assert!(message.contains("asks for 3 slots of ConcurrencyPool db, which has 2; lower it"), "{message}");
    let impossible = candidate("never", 0, needs(&[("db", 3)], 100));
    let decision = decide(&there, &[], vec![impossible, candidate("r", 1, needs(&[("db", 2)], 0))]);
    assert_eq!(decision.admitted, ["r"]);
}

#[test]
fn max_counts_all_runs_of_the_task_and_a_cap_below_what_runs_lets_nobody_in() {
    let capped = |max| Arc::new(Needs { task: "t".to_owned(), max: Some(max), ..Needs::default() });
    let holders = [holder("a", &[]), holder("b", &[]), Holder { task: "other".to_owned(), ..holder("c", &[]) }];
    let decide = |max| decide(&Slots::new(), &holders, (0..3).map(|n| candidate(&format!("r{n}"), n, capped(max))).collect());
    assert_eq!(decide(1).admitted.len(), 0, "lowered below what runs");
    assert_eq!(decide(2).admitted.len(), 0);
    assert_eq!(decide(4).admitted, ["r0", "r1"]);
    assert_eq!(decide(1).waiting[1].1.message(), "concurrency.max of task t is 1, and 2 of its runs go on: a, b; place 2 in the queue");
}

#[test]
fn far_behind_the_place_is_said_to_be_of_its_time() {
    let all = (0..30).map(|n| candidate(&format!("r{n:02}"), n, needs(&[("db", 1)], 0))).collect();
    let decision = decide(&pools(&[("db", 1)]), &[], all);
    assert!(decision.waits("r10").unwrap().message().ends_with("held: r00; place 10 in the queue"));
    assert!(decision.waits("r11").unwrap().message().ends_with("held: r00; place 11 in the queue when this was told"));
}

proptest! {
    #![proptest_config(config(60))]

    /// All or none, never over, and nobody waits who would fit in what is left: so there is no deadlock, and no queue stands
    /// still while there is room for any of it.
    #[test]
    fn nothing_is_over_and_nobody_waits_who_fits(
        sizes in collection::vec(0..6_i64, 3),
        held in collection::vec((0..3_usize, 1..3_i64), 0..4),
        asks in collection::vec((collection::vec(0..4_i64, 3), -1..2_i32, 0..5_i64), 0..12),
        max in 1..6_i64,
    ) {
        let names = ["a", "b", "c"];
        let there: Slots = names.iter().zip(&sizes).map(|(name, size)| ((*name).to_owned(), *size)).collect();
        let holders: Vec<Holder> = held.iter().enumerate().map(|(n, (pool, slots))| holder(&format!("h{n}"), &[(names[*pool], *slots)])).collect();
        let of = |asks: &[i64], priority| {
            let pools = names.iter().zip(asks).filter(|(_, slots)| **slots > 0).map(|(name, slots)| ((*name).to_owned(), *slots)).collect();
            Arc::new(Needs { task: "t".to_owned(), max: Some(max), pools, priority })
        };
        let all: Vec<Candidate> = asks.iter().enumerate().map(|(n, (asks, priority, at))| candidate(&format!("r{n}"), *at, of(asks, *priority))).collect();
        let decision = decide(&there, &holders, all.clone());
        let mut used: BTreeMap<String, i64> = BTreeMap::new();
        for (pool, slots) in holders.iter().flat_map(|holder| &holder.pools) {
            *used.entry(pool.clone()).or_default() += slots;
        }
        let before = used.clone();
        let mut runs = i64::try_from(holders.len()).unwrap();
        for uid in &decision.admitted {
            runs += 1;
            for (pool, slots) in &all.iter().find(|one| one.uid == *uid).unwrap().needs.pools {
                *used.entry(pool.clone()).or_default() += slots;
            }
        }
        for (pool, used) in &used {
            prop_assert!(used <= &there[pool] || before.get(pool) == Some(used), "{pool}: {used}");
        }
        prop_assert!(runs <= max || decision.admitted.is_empty());
        let fits = |needs: &Needs| runs < max && needs.pools.iter().all(|(pool, slots)| there[pool] - used.get(pool).unwrap_or(&0) >= *slots);
        prop_assert!(decision.waiting.iter().all(|(candidate, _)| !fits(&candidate.needs)));
        prop_assert_eq!(decision.admitted.len() + decision.waiting.len(), all.len());
        // Who waits is passed by nobody that takes what it lacks and comes after it, but by those that fit where it did not.
        let again = decide(&there, &holders, all.into_iter().rev().collect());
        prop_assert_eq!(again.admitted, decision.admitted, "whatever the order in which they are seen");
    }
}

/// The objects of a namespace, as somebody sees them.
#[derive(Clone, Default)]
struct View {
    runs: Vec<Arc<AutomationRun>>,
    jobs: Vec<Arc<Job>>,
    tasks: Vec<Arc<AutomationTask>>,
    pools: Vec<Arc<ConcurrencyPool>>,
}

impl Source for View {
    fn live_runs(&self) -> Vec<Arc<AutomationRun>> {
        self.runs.iter().filter(|run| !ledger::is_finished(run)).cloned().collect()
    }

    fn run(&self, name: &str) -> Option<Arc<AutomationRun>> {
        self.runs.iter().find(|run| run.metadata.name.as_deref() == Some(name)).cloned()
    }

    fn task(&self, name: &str) -> Option<Arc<AutomationTask>> {
        self.tasks.iter().find(|task| task.metadata.name.as_deref() == Some(name)).cloned()
    }

    fn marked_jobs(&self) -> Vec<Arc<Job>> {
        self.jobs.iter().filter(|job| is_marked(job) && !has_ended(job)).cloned().collect()
    }

    fn jobs_of(&self, run: &AutomationRun) -> Vec<Arc<Job>> {
        let owned =
            |job: &&Arc<Job>| job.metadata.owner_references.iter().flatten().any(|owner| Some(&owner.uid) == run.metadata.uid.as_ref());
        self.jobs.iter().filter(owned).cloned().collect()
    }

    fn has_queue(&self) -> bool {
        self.live_runs().iter().any(|run| waits_for_room(run))
    }

    fn pools(&self) -> Vec<Arc<ConcurrencyPool>> {
        self.pools.clone()
    }
}

fn object<K: serde::de::DeserializeOwned>(name: &str, spec: &Value) -> Arc<K> {
    let meta = json!({ "name": name, "namespace": "ns", "uid": format!("uid-{name}"), "creationTimestamp": "2026-11-27T00:00:00Z" });
    Arc::new(serde_json::from_value(json!({ "metadata": meta, "spec": spec })).unwrap())
}

fn run(name: &str) -> Arc<AutomationRun> {
    object(name, &json!({ "taskRef": { "name": "t" } }))
}

fn with_status(run: &Arc<AutomationRun>, status: &Value) -> Arc<AutomationRun> {
    let mut run = (**run).clone();
    run.status = serde_json::from_value(status.clone()).unwrap();
    Arc::new(run)
}

fn job_of(run: &str, mark: Option<&str>) -> Arc<Job> {
    let annotations = mark.map_or(json!({}), |mark| json!({ label::HOLDS: mark }));
    let owner = json!({ "apiVersion": "nightshift.dev/v1alpha1", "kind": "AutomationRun", "name": run, "uid": format!("uid-{run}"), "controller": true });
    let meta = json!({ "name": format!("{run}-1"), "labels": { label::TASK: "t", label::RUN: run }, "annotations": annotations, "ownerReferences": [owner] });
    Arc::new(serde_json::from_value(json!({ "metadata": meta })).unwrap())
}

fn ended(job: &Job) -> Arc<Job> {
    let mut ended = job.clone();
    ended.status = serde_json::from_value(json!({ "conditions": [{ "type": "Complete", "status": "True" }] })).unwrap();
    Arc::new(ended)
}

/// A task that takes one of `slots` slots of pool `db`, and those runs.
fn view(slots: i32, runs: &[&str]) -> View {
    let concurrency = json!({ "pools": [{ "poolRef": { "name": "db" } }] });
    View {
        runs: runs.iter().map(|name| run(name)).collect(),
        jobs: Vec::new(),
        tasks: vec![object("t", &json!({ "owner": { "team": "a" }, "image": "i", "concurrency": concurrency }))],
        pools: vec![object("db", &json!({ "slots": slots }))],
    }
}

impl View {
    /// What a run of the task needs.
    fn needs(&self) -> Arc<Needs> {
        Arc::new(Needs::of(&self.tasks[0]).unwrap())
    }

    fn replace(&mut self, run: &str, status: &Value) {
        let run = self.runs.iter_mut().find(|one| one.metadata.name.as_deref() == Some(run)).unwrap();
        *run = with_status(run, status);
    }

    fn waits(&mut self, run: &str) {
        self.replace(run, &json!({ "phase": "Queued", "waitingOn": { "reason": "PoolFull", "message": "" } }));
    }

    fn finish(&mut self, run: &str) {
        self.replace(run, &json!({ "phase": "Finished" }));
    }

    /// The task asks for so many slots of the pool.
    fn asks_for(&mut self, slots: i32) {
        let concurrency = json!({ "pools": [{ "poolRef": { "name": "db" }, "slots": slots }] });
        self.tasks = vec![object("t", &json!({ "owner": { "team": "a" }, "image": "i", "concurrency": concurrency }))];
    }
}

/// A namespace that must not be looked at.
struct Blind;

impl Source for Blind {
    fn live_runs(&self) -> Vec<Arc<AutomationRun>> {
        panic!("a look at all runs")
    }

    fn run(&self, _: &str) -> Option<Arc<AutomationRun>> {
        panic!("a look at a run")
    }

    fn task(&self, _: &str) -> Option<Arc<AutomationTask>> {
        panic!("a look at a task")
    }

    fn marked_jobs(&self) -> Vec<Arc<Job>> {
        panic!("a look at all Jobs")
    }

    fn jobs_of(&self, _: &AutomationRun) -> Vec<Arc<Job>> {
        panic!("a look at Jobs")
    }

    fn pools(&self) -> Vec<Arc<ConcurrencyPool>> {
        panic!("a look at the pools")
    }

    fn has_queue(&self) -> bool {
        panic!("a look at the queue")
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + second).unwrap()
}

fn told(answer: Option<Answer>) -> Result<(), &'static str> {
    match answer.unwrap() {
        Answer::Granted(_) => Ok(()),
        Answer::Waits(waits) => Err(waits.lack.reason()),
        Answer::Behind => Err("behind"),
    }
}

/// It is decided anew, since something may have changed; then the run asks.
fn asks(memory: &mut Memory, run: &str, view: &View) -> Result<(), &'static str> {
    memory.look(view);
    told(memory.ask(&format!("uid-{run}"), &view.needs(), false, view).0)
}

/// The run asks, is let in, and its Job is sent.
fn sends(memory: &mut Memory, run: &str, view: &View) {
    assert_eq!(asks(memory, run, view), Ok(()));
    assert!(memory.send(&format!("uid-{run}"), &view.needs(), at(0)).is_some());
}

const ONE: Option<&str> = Some(r#"{"db":1}"#);

#[test]
fn who_was_let_in_holds_its_slot_until_its_job_is_seen_and_then_until_its_end() {
    let (mut memory, mut seen) = (Memory::default(), view(1, &["a", "b"]));
    assert_eq!(asks(&mut memory, "a", &seen), Ok(()));
    assert_eq!(asks(&mut memory, "b", &seen), Err(reason::POOL_FULL), "although nothing is to be seen of a");
    assert_eq!(asks(&mut memory, "a", &seen), Ok(()), "as often as it asks");
    seen.jobs.push(job_of("a", ONE));
    assert_eq!(asks(&mut memory, "b", &seen), Err(reason::POOL_FULL));
    assert_eq!(asks(&mut Memory::default(), "b", &seen), Err(reason::POOL_FULL), "whoever comes next knows it by its Job");
    // Between two attempts it holds what it was let in with, whatever its task asks for now.
    let mut between = View { pools: view(2, &[]).pools, ..seen.clone() };
    between.jobs = vec![ended(&job_of("a", Some(r#"{"db":2}"#)))];
    assert_eq!(asks(&mut Memory::default(), "b", &between), Err(reason::POOL_FULL));
    seen.jobs = vec![ended(&seen.jobs[0])];
    seen.finish("a");
    assert_eq!(asks(&mut memory, "b", &seen), Ok(()));
}

#[test]
fn a_job_that_goes_on_holds_its_slot_whatever_becomes_of_its_run() {
    let mut seen = view(1, &["a", "b"]);
    seen.jobs.push(job_of("a", ONE));
    seen.finish("a");
    let refused = |seen: &View| assert_eq!(asks(&mut Memory::default(), "b", seen), Err(reason::POOL_FULL));
    refused(&seen);
    // Deleted: its Job goes on until the garbage collector takes it.
    seen.runs.remove(0);
    refused(&seen);
    // With --cascade=orphan nobody takes it.
    let mut stripped = (*seen.jobs[0]).clone();
    stripped.metadata.owner_references = None;
    seen.jobs = vec![Arc::new(stripped)];
    refused(&seen);
    let mut memory = Memory::default();
    sends(&mut memory, "a", &view(1, &["a"]));
    memory.look(&seen);
    assert!(!memory.has_lost(), "nor does it count twice");
    let holders = Memory::default().standing(&seen).0;
    assert_eq!(holders.iter().map(|holder| holder.run.as_str()).collect::<Vec<_>>(), ["a"], "by the name that its Job is marked with");
    seen.jobs = vec![ended(&seen.jobs[0])];
    assert_eq!(asks(&mut Memory::default(), "b", &seen), Ok(()));
}

#[test]
fn a_run_that_goes_while_it_is_looked_is_not_overlooked() {
    /// Its run goes between the look at the Jobs and that at the runs.
    struct Shifting(View);
    impl Source for Shifting {
        fn live_runs(&self) -> Vec<Arc<AutomationRun>> {
            self.0.live_runs().into_iter().filter(|run| run.metadata.name.as_deref() != Some("a")).collect()
        }
        fn run(&self, name: &str) -> Option<Arc<AutomationRun>> {
            self.0.run(name)
        }
        fn task(&self, name: &str) -> Option<Arc<AutomationTask>> {
            self.0.task(name)
        }
        fn marked_jobs(&self) -> Vec<Arc<Job>> {
            self.0.marked_jobs()
        }
        fn jobs_of(&self, run: &AutomationRun) -> Vec<Arc<Job>> {
            self.0.jobs_of(run)
        }
        fn pools(&self) -> Vec<Arc<ConcurrencyPool>> {
            self.0.pools()
        }
        fn has_queue(&self) -> bool {
            self.0.has_queue()
        }
    }
    let mut seen = view(1, &["a", "b"]);
    seen.jobs.push(job_of("a", ONE));
    let needs = seen.needs();
    assert_eq!(told(Memory::default().ask("uid-b", &needs, false, &Shifting(seen)).0), Err(reason::POOL_FULL));
}

#[test]
fn a_run_that_was_let_in_and_does_not_start_gives_its_slot_back_unless_its_job_may_be_there() {
    let (mut memory, seen) = (Memory::default(), view(1, &["a", "b"]));
    assert_eq!(asks(&mut memory, "a", &seen), Ok(()));
    assert!(memory.release("uid-a"));
    sends(&mut memory, "b", &seen);
    assert!(!memory.release("uid-b"), "its Job may be there");
    assert_eq!(asks(&mut memory, "a", &seen), Err(reason::POOL_FULL));
    memory.refused("uid-b");
    assert!(memory.release("uid-b"), "the API server has said no");
    assert_eq!(asks(&mut memory, "a", &seen), Ok(()));
}

#[test]
fn the_job_of_a_run_that_is_deleted_while_it_is_sent_is_waited_for_and_then_asked_for() {
    let (mut memory, seen) = (Memory::default(), view(1, &["a", "b"]));
    sends(&mut memory, "b", &seen);
    let mut gone = view(1, &["a"]);
    assert_eq!(asks(&mut memory, "a", &gone), Err(reason::POOL_FULL), "b was deleted, and its Job may go on");
    assert!(memory.has_lost());
    assert_eq!(memory.lost(at(14)).count(), 0, "it may be on its way");
    assert_eq!(memory.lost(at(15)).collect::<Vec<_>>(), [("uid-b", "b")]);
    let mut told_of_job = memory.clone();
    memory.forget("uid-b");
    assert_eq!(asks(&mut memory, "a", &gone), Ok(()), "the API server has none");
    gone.jobs.push(job_of("b", ONE));
    assert_eq!(asks(&mut told_of_job, "a", &gone), Err(reason::POOL_FULL));
    assert!(!told_of_job.has_lost(), "it counts by itself");
}

#[test]
fn who_did_not_start_is_not_let_in_again_before_it_asks() {
    let (mut memory, mut seen) = (Memory::default(), view(1, &["a", "b"]));
    seen.waits("a");
    assert_eq!(memory.look(&seen).unwrap(), ["uid-a"]);
    assert!(memory.release("uid-a"), "its Job was refused");
    assert_eq!(memory.look(&seen).unwrap(), Vec::<String>::new(), "it has not told yet, or could not");
    assert_eq!(asks(&mut memory, "b", &seen), Ok(()), "others may");
    assert!(memory.release("uid-b"));
    assert_eq!(asks(&mut memory, "a", &seen), Ok(()));
}

#[test]
fn the_start_of_a_run_is_seen_before_its_job_and_holds_what_it_was_let_in_with() {
    let (mut memory, mut seen) = (Memory::default(), view(2, &["a", "b"]));
    seen.asks_for(2);
    sends(&mut memory, "a", &seen);
    let mut started = (*seen.runs[0]).clone();
    started.metadata.annotations = Some([(label::STARTED.to_owned(), "uid-a".to_owned())].into());
    seen.runs[0] = Arc::new(started);
    seen.asks_for(1);
    assert_eq!(asks(&mut memory, "b", &seen), Err(reason::POOL_FULL), "it holds both");
    seen.jobs.push(job_of("a", Some(r#"{"db":2}"#)));
    assert_eq!(asks(&mut memory, "b", &seen), Err(reason::POOL_FULL));
}

#[test]
fn caps_that_change_are_those_of_now_and_what_was_sent_counts_as_it_was() {
    let (mut memory, mut seen) = (Memory::default(), view(2, &["a", "b", "c"]));
    sends(&mut memory, "a", &seen);
    sends(&mut memory, "b", &seen);
    seen.jobs = vec![job_of("a", ONE)];
    // The task has no caps any more: b, which is not seen to have begun, still holds what it was let in with.
    let uncapped = object("t", &json!({ "owner": { "team": "a" }, "image": "i" }));
    let capped = std::mem::replace(&mut seen.tasks, vec![uncapped]);
    memory.look(&seen);
    assert_eq!(memory.standing(&seen).0.iter().map(|holder| holder.pools.get("db").copied()).collect::<Vec<_>>(), [Some(1), Some(1)]);
    // One that says that it waits is let in by that.
    seen.waits("c");
    assert_eq!(memory.look(&seen).unwrap(), ["uid-c"]);
    // One that began without a mark holds what its task asks for now.
    let mut begun = View { tasks: capped, ..view(1, &["a", "b"]) };
    begun.jobs = vec![job_of("a", None)];
    assert_eq!(asks(&mut Memory::default(), "b", &begun), Err(reason::POOL_FULL));
}

#[test]
fn who_was_let_in_and_not_sent_goes_by_what_its_task_asks_for_now() {
    let (mut memory, mut seen) = (Memory::default(), view(4, &["a", "b"]));
    let before = seen.needs();
    assert_eq!(asks(&mut memory, "a", &seen), Ok(()));
    seen.asks_for(4);
    memory.look(&seen);
    assert_eq!(memory.send("uid-a", &before, at(0)), None, "it was let in with less");
    assert_eq!(memory.ask("uid-a", &seen.needs(), false, &seen).0, Some(Answer::Granted(seen.needs())));
    assert_eq!(memory.send("uid-a", &before, at(0)), None, "nor is what was made of the old answer");
    assert_eq!(memory.send("uid-a", &seen.needs(), at(0)), Some(false));
    assert_eq!(memory.send("uid-a", &seen.needs(), at(1)), Some(true), "once more");
    assert_eq!(asks(&mut memory, "b", &seen), Err(reason::POOL_FULL));
}

#[test]
fn a_task_that_is_deleted_and_made_anew_lets_nobody_in_beyond_its_caps() {
    let (mut memory, mut seen) = (Memory::default(), view(1, &["a", "b", "c"]));
    sends(&mut memory, "a", &seen);
    seen.jobs.push(job_of("a", ONE));
    let needs = seen.needs();
    for run in ["b", "c"] {
        assert_eq!(asks(&mut memory, run, &seen), Err(reason::POOL_FULL));
        seen.waits(run);
    }
    let task = seen.tasks.pop().unwrap();
    let mut next = Memory::default();
    for memory in [&mut memory, &mut next] {
        assert_eq!(memory.look(&seen).unwrap(), Vec::<String>::new(), "nobody knows its caps");
    }
    // A run whose definition is known asks with the caps of that.
    assert_eq!(told(next.ask("uid-b", &needs, true, &seen).0), Err(reason::POOL_FULL));
    seen.finish("a");
    seen.jobs.clear();
    assert_eq!(next.look(&seen).unwrap(), ["uid-b"]);
    seen.tasks.push(task);
    assert_eq!(memory.look(&seen).unwrap(), ["uid-b"], "one, as before");
}

#[test]
fn those_that_say_that_they_wait_are_let_in_before_those_that_come_later_also_by_whoever_comes_next() {
    let mut seen = view(1, &["a", "b", "c"]);
    seen.waits("a");
    let mut memory = Memory::default();
    let (answer, others) = memory.ask("uid-c", &seen.needs(), false, &seen);
    assert!(matches!(answer, Some(Answer::Waits(_))));
    assert_eq!(others, ["uid-a"], "and are looked at");
    let mut cancelled = (*seen.runs[0]).clone();
    cancelled.spec.cancel = Some(true);
    seen.runs[0] = Arc::new(cancelled);
    assert_eq!(asks(&mut Memory::default(), "b", &seen), Ok(()), "one that is cancelled asks for nothing");
}

fn owner(job: &Job) -> String {
    job.metadata.owner_references.as_ref().unwrap()[0].name.clone()
}

fn place(answer: Option<Answer>) -> usize {
    match answer {
        Some(Answer::Waits(waits)) => waits.place,
        other => panic!("it does not wait: {other:?}"),
    }
}

#[test]
fn who_comes_behind_another_of_its_task_or_asks_again_is_told_so_without_a_look_and_is_decided_with_all() {
    let (mut memory, mut seen) = (Memory::default(), view(1, &["a", "b", "c"]));
    let needs = seen.needs();
    assert_eq!((asks(&mut memory, "a", &seen), asks(&mut memory, "b", &seen)), (Ok(()), Err(reason::POOL_FULL)));
    assert!(matches!(memory.ask("uid-a", &needs, false, &Blind).0, Some(Answer::Granted(_))));
    assert_eq!(place(memory.ask("uid-c", &needs, false, &Blind).0), 2, "behind b");
    seen.waits("c");
    assert_eq!(place(memory.ask("uid-c", &needs, true, &Blind).0), 2, "nothing has changed");
    assert_eq!(place(memory.ask("uid-b", &needs, true, &Blind).0), 1);
    let urgent = Arc::new(Needs { priority: 1, ..(*needs).clone() });
    let looked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| memory.clone().ask("uid-d", &urgent, false, &Blind)));
    assert!(looked.is_err(), "it may be before b");
    seen.pools = vec![object("db", &json!({ "slots": 3 }))];
    assert_eq!(memory.look(&seen).unwrap(), ["uid-b", "uid-c"]);
}

#[test]
fn who_has_asked_is_let_in_when_there_is_room_also_where_it_does_not_say_yet_that_it_waits() {
    let (mut memory, mut seen) = (Memory::default(), view(1, &["a", "b"]));
    sends(&mut memory, "a", &seen);
    seen.jobs.push(job_of("a", ONE));
    assert_eq!(asks(&mut memory, "b", &seen), Err(reason::POOL_FULL));
    seen.finish("a");
    seen.jobs.clear();
    assert_eq!(memory.look(&seen).unwrap(), ["uid-b"]);
}

#[test]
fn nobody_waits_behind_those_that_have_gone() {
    let (mut memory, mut seen) = (Memory::default(), view(1, &["h", "w", "n"]));
    sends(&mut memory, "h", &seen);
    seen.jobs.push(job_of("h", ONE));
    assert_eq!(asks(&mut memory, "w", &seen), Err(reason::POOL_FULL));
    memory.release("uid-w");
    seen.finish("w");
    assert_eq!(memory.look(&seen), None, "nobody asks");
    seen.finish("h");
    seen.jobs.clear();
    assert_eq!(memory.look(&seen), None);
    assert_eq!(told(memory.ask("uid-n", &seen.needs(), false, &seen).0), Ok(()));
}

#[test]
fn the_place_is_among_all_that_wait_for_the_same_pool() {
    let mut seen = view(1, &["h", "w"]);
    let concurrency = json!({ "pools": [{ "poolRef": { "name": "db" } }] });
    seen.tasks.push(object("u", &json!({ "owner": { "team": "a" }, "image": "i", "concurrency": concurrency })));
    for name in ["x", "y"] {
        let run = object(name, &json!({ "taskRef": { "name": "u" } }));
        seen.runs.push(run);
        seen.waits(name);
    }
    let mut memory = Memory::default();
    sends(&mut memory, "h", &view(1, &["h"]));
    assert_eq!(asks(&mut memory, "w", &seen), Err(reason::POOL_FULL), "three wait");
    assert_eq!(place(memory.ask("uid-n", &seen.needs(), false, &Blind).0), 4, "and not the one behind w");
}

#[test]
fn those_near_the_front_are_looked_at_until_they_have_told_where_they_stand() {
    let names: Vec<String> = (0..13).map(|n| format!("r{n:02}")).collect();
    let mut seen = view(1, &names.iter().map(String::as_str).collect::<Vec<_>>());
    names[1..].iter().for_each(|name| seen.waits(name));
    let mut memory = Memory::default();
    sends(&mut memory, "r00", &view(1, &["r00"]));
    memory.look(&seen);
    let moved = |memory: &Memory, seen: &View| seen.runs.iter().filter(|run| memory.has_moved(run)).count();
    assert_eq!((memory.waiting(), moved(&memory, &seen)), (12, NEAR));
    let Some(Answer::Waits(waits)) = memory.ask("uid-r01", &seen.needs(), true, &Blind).0 else { panic!("it waits") };
    seen.replace("r01", &json!({ "phase": "Queued", "waitingOn": { "reason": "PoolFull", "message": waits.message() } }));
    assert_eq!(moved(&memory, &seen), NEAR - 1);
}

#[test]
fn what_people_write_on_a_job_takes_no_room_that_a_task_could_not_ask_for() {
    for spoilt in [r#"{"db":0}"#, r#"{"db":-5}"#, r#"{"db":1001}"#, r#"{"db":9223372036854775807}"#, "{", "[]"] {
        assert_eq!(marked(&job_of("a", Some(spoilt))), None, "{spoilt}");
    }
    assert_eq!(marked(&job_of("a", Some(r#"{"db":1000}"#))), Some(pools(&[("db", 1000)])));
    let full = [holder("a", &[("db", i64::MAX)]), holder("b", &[("db", 1)])];
    assert_eq!(decide(&pools(&[("db", 1)]), &full, vec![candidate("r", 1, needs(&[("db", 1)], 0))]).admitted.len(), 0);
}

/// What happens to a namespace of which the leader sees little.
#[derive(Clone, Debug)]
enum Event {
    /// A run asks; what becomes of its Job where it is let in.
    Asks(usize, Fate),
    /// A run that has a Job ends.
    Ends(usize),
    /// A run is deleted; its Job goes on.
    Deleted(usize),
    /// The garbage collector takes Jobs whose runs are gone.
    Collected,
    /// The watches tell: runs, Jobs.
    Told(bool, bool),
    /// It is decided anew.
    Looked,
    /// So many seconds pass.
    Passes(i64),
    /// Jobs of runs that are gone are asked for.
    Found,
    /// Another one leads, whose caches show what is there.
    NewLeader,
    /// The pool gets so many slots.
    Slots(i32),
}

#[derive(Clone, Copy, Debug)]
enum Fate {
    Made,
    /// It is on its way for a while, and nobody hears of it.
    Slow,
    /// The leader dies before it is sent.
    Died,
    Refused,
}

fn event() -> impl Strategy<Value = Event> {
    let fate = select(vec![Fate::Made, Fate::Made, Fate::Slow, Fate::Slow, Fate::Died, Fate::Refused]);
    prop_oneof![
        8 => (0..8_usize, fate).prop_map(|(run, fate)| Event::Asks(run, fate)),
        3 => (0..8_usize).prop_map(Event::Ends),
        2 => (0..8_usize).prop_map(Event::Deleted),
        1 => Just(Event::Collected),
        4 => (any::<bool>(), any::<bool>()).prop_map(|(runs, jobs)| Event::Told(runs, jobs)),
        3 => Just(Event::Looked),
        2 => (1..20_i64).prop_map(Event::Passes),
        2 => Just(Event::Found),
        1 => Just(Event::NewLeader),
        1 => (0..4_i32).prop_map(Event::Slots),
    ]
}

/// A namespace, and what the leader knows of it.
struct Played {
    truth: View,
    seen: View,
    memory: Memory,
    now: i64,
    /// Jobs that were sent and have not arrived, and when they were sent.
    wire: Vec<(i64, Arc<Job>)>,
    was_lowered: bool,
}

impl Played {
    fn new(names: &[String]) -> Self {
        let truth = view(2, &names.iter().map(String::as_str).collect::<Vec<_>>());
        Self { seen: truth.clone(), truth, memory: Memory::default(), now: 0, wire: Vec::new(), was_lowered: false }
    }

    /// What is wrong where one too many goes on now.
    fn arrives(&mut self, job: Arc<Job>) -> Result<(), String> {
        let is_over = self.truth.run(&owner(&job)).is_some_and(|run| ledger::is_finished(&run));
        if is_over || self.truth.jobs.iter().any(|there| there.metadata.name == job.metadata.name) {
            // It had its Job: the name is taken.
            return Ok(());
        }
        self.truth.jobs.push(job);
        let used = self.truth.marked_jobs().len();
        let slots = usize::try_from(self.truth.pools[0].spec.slots).unwrap();
        // What was let in before the cap was lowered may start.
        if used <= slots || self.was_lowered && used <= 3 { Ok(()) } else { Err(format!("{used} of {slots}")) }
    }

    /// Whoever sends waits no longer than that for an answer.
    fn arrive(&mut self, seconds: i64) -> Result<(), String> {
        let now = self.now;
        let (due, on_their_way): (Vec<_>, Vec<_>) = self.wire.drain(..).partition(|(sent, _)| now - sent >= seconds);
        self.wire = on_their_way;
        due.into_iter().try_for_each(|(_, job)| self.arrives(job))
    }

    fn new_leader(&mut self) -> Result<(), String> {
        self.arrive(0)?;
        (self.seen, self.memory) = (self.truth.clone(), Memory::default());
        Ok(())
    }

    fn asks(&mut self, name: &str, fate: Fate) -> Result<(), String> {
        // It is looked at where it is seen, and was not seen to begin.
        let Some(run) = self.seen.run(name).filter(|run| !ledger::is_finished(run) && self.seen.jobs_of(run).is_empty()) else {
            return Ok(());
        };
        let uid = run.metadata.uid.clone().unwrap();
        let Some(Answer::Granted(needs)) = self.memory.ask(&uid, &self.seen.needs(), false, &self.seen).0 else { return Ok(()) };
        if matches!(fate, Fate::Died) {
            return self.new_leader();
        }
        let Some(again) = self.memory.send(&uid, &needs, at(self.now)) else { return Ok(()) };
        let job = job_of(name, Some(&needs.mark()));
        match fate {
            Fate::Made => self.arrives(job)?,
            Fate::Slow => self.wire.push((self.now, job)),
            Fate::Refused if !again => self.memory.refused(&uid),
            _ => {}
        }
        // Whatever comes to mind later does not free what may be there.
        self.memory.release(&uid);
        Ok(())
    }

    fn happens(&mut self, event: &Event, names: &[String]) -> Result<(), String> {
        match *event {
            Event::Asks(n, fate) => return self.asks(&names[n], fate),
            Event::Ends(n) => {
                if self.truth.run(&names[n]).is_some_and(|run| !self.truth.jobs_of(&run).is_empty()) {
                    self.truth.finish(&names[n]);
                    // A run is finished when its Job is.
                    for job in self.truth.jobs.iter_mut().filter(|job| owner(job) == names[n]) {
                        *job = ended(job);
                    }
                }
            }
            Event::Deleted(n) => self.truth.runs.retain(|run| run.metadata.name.as_ref() != Some(&names[n])),
            Event::Collected => {
                let runs = self.truth.runs.clone();
                self.truth.jobs.retain(|job| runs.iter().any(|run| run.metadata.name.as_ref() == Some(&owner(job))));
            }
            Event::Told(runs, jobs) => {
                if runs {
                    self.seen.runs.clone_from(&self.truth.runs);
                }
                if jobs {
                    self.seen.jobs.clone_from(&self.truth.jobs);
                }
            }
            Event::Looked => drop(self.memory.look(&self.seen)),
            Event::Passes(seconds) => {
                self.now += seconds;
                return self.arrive(10);
            }
            Event::Found => self.find(),
            Event::NewLeader => return self.new_leader(),
            Event::Slots(slots) => {
                self.was_lowered = true;
                self.truth.pools = vec![object("db", &json!({ "slots": slots }))];
                self.seen.pools.clone_from(&self.truth.pools);
            }
        }
        Ok(())
    }

    /// The API server is asked for the Jobs of runs that are gone.
    fn find(&mut self) {
        let is_gone = |(_, run): &(&str, &str)| self.truth.jobs.iter().all(|job| owner(job) != *run);
        let lost: Vec<String> = self.memory.lost(at(self.now)).filter(is_gone).map(|(uid, _)| uid.to_owned()).collect();
        for uid in lost {
            self.memory.forget(&uid);
        }
    }
}

proptest! {
    #![proptest_config(config(200))]

    /// Whoever is let in fits into what is truly left, as the leader knows the pool, whatever it sees of the runs.
    #[test]
    fn never_one_over_the_cap_from_any_view(events in collection::vec(event(), 0..60)) {
        let names: Vec<String> = (0..8).map(|n| format!("r{n}")).collect();
        let mut played = Played::new(&names);
        for (n, event) in events.iter().enumerate() {
            let wrong = played.happens(event, &names);
            prop_assert!(wrong.is_ok(), "{wrong:?}: {:?}", &events[..=n]);
        }
        // Work-conserving: once all is told, whoever fits is let in when it asks.
        played.now += 100;
        played.arrive(0).unwrap();
        let collected = played.happens(&Event::Collected, &names);
        prop_assert!(collected.is_ok());
        played.seen = played.truth.clone();
        played.memory.look(&played.seen);
        played.find();
        let Played { truth, seen, mut memory, .. } = played;
        memory.look(&seen);
        let free = usize::try_from(truth.pools[0].spec.slots).unwrap().saturating_sub(memory.standing(&seen).0.len());
        let granted: Vec<String> = memory.granted().map(|(_, run)| run.to_owned()).collect();
        let mut live = seen.live_runs();
        live.retain(|run| seen.jobs_of(run).is_empty());
        let waiting: Vec<&String> = live.iter().filter_map(|run| run.metadata.name.as_ref()).filter(|run| !granted.contains(run)).collect();
        let admitted = waiting.iter().filter(|run| asks(&mut memory, run, &seen).is_ok()).count();
        prop_assert_eq!(admitted, free.min(waiting.len()), "{:?}", events);
    }
}
