use std::{collections::BTreeMap, sync::Arc};

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
    outcome::reason,
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
        self.jobs.iter().filter(|job| marked(job).is_some()).cloned().collect()
    }

    fn has_job(&self, run: &AutomationRun) -> bool {
        let owned =
            |job: &Arc<Job>| job.metadata.owner_references.iter().flatten().any(|owner| Some(&owner.uid) == run.metadata.uid.as_ref());
        self.jobs.iter().any(owned)
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
    let meta =
        json!({ "name": format!("{run}-1"), "labels": { label::TASK: "t" }, "annotations": annotations, "ownerReferences": [owner] });
    Arc::new(serde_json::from_value(json!({ "metadata": meta })).unwrap())
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

fn read(view: &View, memory: &Memory) -> Snapshot {
    Snapshot::read(view, memory)
}

fn asks(memory: &mut Memory, run: &str, view: &View) -> Result<(), &'static str> {
    let snapshot = read(view, memory);
    match memory.ask(&format!("uid-{run}"), &snapshot).0.unwrap() {
        Answer::Granted(_) => Ok(()),
        Answer::Waits(waits) => Err(waits.lack.reason()),
    }
}

#[test]
fn who_was_let_in_holds_its_slot_until_it_is_seen_to_have_begun_and_then_until_its_end() {
    let (mut memory, mut seen) = (Memory::default(), view(1, &["a", "b"]));
    assert_eq!(asks(&mut memory, "a", &seen), Ok(()));
    assert_eq!(asks(&mut memory, "b", &seen), Err(reason::POOL_FULL), "although nothing is to be seen of a");
    assert_eq!(asks(&mut memory, "a", &seen), Ok(()), "as often as it asks");
    seen.jobs.push(job_of("a", Some(r#"{"db":1}"#)));
    assert_eq!(asks(&mut memory, "b", &seen), Err(reason::POOL_FULL));
    assert_eq!(asks(&mut Memory::default(), "b", &seen), Err(reason::POOL_FULL), "whoever comes next knows it by its Job");
    let whole = seen.clone();
    seen.runs[0] = with_status(&seen.runs[0], &json!({ "phase": "Finished" }));
    assert_eq!(asks(&mut memory, "b", &seen), Ok(()));
    // Deleted: its Job goes on until the garbage collector takes it.
    let mut deleted = View { runs: vec![run("b")], ..whole };
    assert_eq!(asks(&mut Memory::default(), "b", &deleted), Err(reason::POOL_FULL));
    deleted.jobs.clear();
    assert_eq!(asks(&mut Memory::default(), "b", &deleted), Ok(()));
}

#[test]
fn a_run_that_was_let_in_and_does_not_start_gives_its_slot_back_unless_its_job_may_be_there() {
    let (mut memory, seen) = (Memory::default(), view(1, &["a", "b"]));
    assert_eq!(asks(&mut memory, "a", &seen), Ok(()));
    assert!(memory.release("uid-a"));
    assert_eq!(asks(&mut memory, "b", &seen), Ok(()));
    memory.sent("uid-b");
    assert!(!memory.release("uid-b"), "its Job may be there");
    assert_eq!(asks(&mut memory, "a", &seen), Err(reason::POOL_FULL));
    let gone = view(1, &["a"]);
    assert_eq!(asks(&mut memory, "a", &gone), Err(reason::POOL_FULL), "b was deleted, and its Job may go on");
    assert_eq!(memory.lost().collect::<Vec<_>>(), [("uid-b", "b")]);
    memory.forget("uid-b");
    assert_eq!(asks(&mut memory, "a", &gone), Ok(()), "the API server has none");
}

#[test]
fn caps_that_change_are_those_of_now_and_what_was_let_in_counts_as_it_was() {
    let (mut memory, mut seen) = (Memory::default(), view(2, &["a", "b", "c"]));
    assert_eq!((asks(&mut memory, "a", &seen), asks(&mut memory, "b", &seen)), (Ok(()), Ok(())));
    seen.jobs = vec![job_of("a", Some(r#"{"db":1}"#))];
    // The task has no caps any more: b, which is not seen to have begun, still holds what it was let in with.
    let uncapped = object("t", &json!({ "owner": { "team": "a" }, "image": "i" }));
    let capped = std::mem::replace(&mut seen.tasks, vec![uncapped]);
    let snapshot = read(&seen, &memory);
    memory.admit(&snapshot);
    assert_eq!(memory.standing(&snapshot).0.iter().map(|holder| holder.pools.get("db").copied()).collect::<Vec<_>>(), [Some(1), Some(1)]);
    // One that says that it waits is let in by that.
    seen.runs[2] = with_status(&seen.runs[2], &json!({ "phase": "Queued", "waitingOn": { "reason": "PoolFull", "message": "" } }));
    let snapshot = read(&seen, &memory);
    assert_eq!(memory.admit(&snapshot).admitted, ["uid-c"]);
    // One that began without a mark holds what its task asks for now.
    let mut begun = View { tasks: capped, ..view(1, &["a", "b"]) };
    begun.jobs = vec![job_of("a", None)];
    assert_eq!(asks(&mut Memory::default(), "b", &begun), Err(reason::POOL_FULL));
}

#[test]
fn those_that_say_that_they_wait_are_let_in_before_those_that_come_later_also_by_whoever_comes_next() {
    let mut seen = view(1, &["a", "b", "c"]);
    let waiting = json!({ "phase": "Queued", "waitingOn": { "reason": "PoolFull", "message": "" } });
    seen.runs[0] = with_status(&seen.runs[0], &waiting);
    let mut memory = Memory::default();
    let snapshot = read(&seen, &memory);
    let (answer, others) = memory.ask("uid-c", &snapshot);
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

#[test]
fn who_comes_behind_another_of_its_task_is_told_so_without_a_look_and_is_decided_with_all() {
    let (mut memory, mut seen) = (Memory::default(), view(1, &["a", "b", "c"]));
    let needs = Needs::of(&seen.tasks[0]);
    assert_eq!(memory.known("uid-a", needs.as_ref(), false), None, "nobody waits");
    assert_eq!((asks(&mut memory, "a", &seen), asks(&mut memory, "b", &seen)), (Ok(()), Err(reason::POOL_FULL)));
    assert!(matches!(memory.known("uid-a", needs.as_ref(), false), Some(Answer::Granted(_))));
    let Some(Answer::Waits(waits)) = memory.known("uid-c", needs.as_ref(), false) else { panic!("it is behind b") };
    assert_eq!(waits.place, 2);
    assert_eq!(memory.known("uid-c", needs.as_ref(), false), None, "it has its place, and asks where that is now");
    assert_eq!(memory.known("uid-d", needs.as_ref(), true), None, "so does one that says that it waits");
    let other = Needs { priority: 1, ..needs.clone().unwrap() };
    assert_eq!(memory.known("uid-d", Some(&other), false), None, "it may be before b");
    seen.pools = vec![object("db", &json!({ "slots": 3 }))];
    let snapshot = read(&seen, &memory);
    assert_eq!(memory.admit(&snapshot).admitted, ["uid-b", "uid-c"]);
    assert_eq!(memory.known("uid-d", needs.as_ref(), false), None, "nobody waits any more");
}

/// What happens to a namespace of which the leader sees little.
#[derive(Clone, Debug)]
enum Event {
    /// A run asks; where it is let in its Job is made, or the leader dies before, or nobody hears whether it was.
    Asks(usize, Fate),
    /// A run that has a Job ends.
    Ends(usize),
    /// A run is deleted; its Job goes on.
    Deleted(usize),
    /// The garbage collector takes Jobs whose runs are gone.
    Collected,
    /// The watches tell: runs, Jobs.
    Told(bool, bool),
    /// Another one leads, whose caches show what is there.
    NewLeader,
    /// The pool gets so many slots.
    Slots(i32),
}

#[derive(Clone, Copy, Debug)]
enum Fate {
    Made,
    Died,
    Unheard,
    Refused,
}

fn event() -> impl Strategy<Value = Event> {
    let fate = select(vec![Fate::Made, Fate::Made, Fate::Made, Fate::Died, Fate::Unheard, Fate::Refused]);
    prop_oneof![
        8 => (0..8_usize, fate).prop_map(|(run, fate)| Event::Asks(run, fate)),
        3 => (0..8_usize).prop_map(Event::Ends),
        1 => (0..8_usize).prop_map(Event::Deleted),
        1 => Just(Event::Collected),
        4 => (any::<bool>(), any::<bool>()).prop_map(|(runs, jobs)| Event::Told(runs, jobs)),
        1 => Just(Event::NewLeader),
        1 => (0..4_i32).prop_map(Event::Slots),
    ]
}

proptest! {
    #![proptest_config(config(200))]

    /// Whoever is let in fits into what is truly left, as the leader knows the pool, whatever it sees of the runs.
    #[test]
    fn never_one_over_the_cap_from_any_view(events in collection::vec(event(), 0..60)) {
        let names: Vec<String> = (0..8).map(|n| format!("r{n}")).collect();
        let mut truth = view(2, &names.iter().map(String::as_str).collect::<Vec<_>>());
        let (mut seen, mut memory) = (truth.clone(), Memory::default());
        let mut trail = Vec::new();
        for event in events {
            trail.push(event.clone());
            match event {
                Event::Asks(n, fate) => {
                    // It is looked at where it is seen, and was not seen to begin.
                    let Some(asking) = seen.run(&names[n]).filter(|run| !ledger::is_finished(run) && !seen.has_job(run)) else { continue };
                    let uid = asking.metadata.uid.clone().unwrap();
                    let known = memory.known(&uid, Needs::of(&seen.tasks[0]).as_ref(), false);
                    let snapshot = read(&seen, &memory);
                    let Some(Answer::Granted(needs)) = known.or_else(|| memory.ask(&uid, &snapshot).0) else { continue };
                    if matches!(fate, Fate::Refused) {
                        memory.release(&uid);
                        continue;
                    }
                    // What is gone cannot own a Job for long, and what has ended had its Job: the name is taken.
                    let there = truth.run(&names[n]).is_some_and(|run| !ledger::is_finished(&run));
                    if !matches!(fate, Fate::Died) && there && !truth.has_job(&asking) {
                        let goes_on = truth.jobs.iter().filter(|job| job.status.is_none());
                        let used = goes_on.count() + 1;
                        let slots = usize::try_from(truth.pools[0].spec.slots).unwrap();
                        // What was let in before the cap was lowered may start.
                        let lowered = trail.iter().any(|event| matches!(event, Event::Slots(_)));
                        prop_assert!(used <= slots || lowered && used <= 3, "{used} of {slots}: {trail:?}");
                        truth.jobs.push(job_of(&names[n], Some(&needs.mark())));
                    }
                    match fate {
                        Fate::Died => (seen, memory) = (truth.clone(), Memory::default()),
                        // Whatever comes to mind later does not free it.
                        Fate::Made | Fate::Unheard => {
                            memory.sent(&uid);
                            memory.release(&uid);
                        }
                        Fate::Refused => unreachable!("it was released"),
                    }
                }
                Event::Ends(n) => {
                    let Some(at) = truth.runs.iter().position(|run| run.metadata.name.as_ref() == Some(&names[n]) && truth.has_job(run)) else { continue };
                    truth.runs[at] = with_status(&truth.runs[at], &json!({ "phase": "Finished" }));
                    // A run is finished when its Job is.
                    for job in truth.jobs.iter_mut().filter(|job| owner(job) == names[n]) {
                        let mut ended = (**job).clone();
                        ended.status = serde_json::from_value(json!({ "conditions": [{ "type": "Complete", "status": "True" }] })).unwrap();
                        *job = Arc::new(ended);
                    }
                }
                Event::Deleted(n) => truth.runs.retain(|run| run.metadata.name.as_ref() != Some(&names[n])),
                Event::Collected => {
                    let runs = truth.runs.clone();
                    truth.jobs.retain(|job| runs.iter().any(|run| run.metadata.name.as_ref() == Some(&owner(job))));
                }
                Event::Told(runs, jobs) => {
                    if runs {
                        seen.runs.clone_from(&truth.runs);
                    }
                    if jobs {
                        seen.jobs.clone_from(&truth.jobs);
                    }
                }
                Event::NewLeader => (seen, memory) = (truth.clone(), Memory::default()),
                Event::Slots(slots) => {
                    truth.pools = vec![object("db", &json!({ "slots": slots }))];
                    seen.pools.clone_from(&truth.pools);
                }
            }
        }
        // Work-conserving: once all is told, whoever fits is let in when it asks.
        seen = truth.clone();
        let snapshot = read(&seen, &memory);
        memory.admit(&snapshot);
        let lost: Vec<String> = memory.lost().map(|(uid, _)| uid.to_owned()).collect();
        for uid in lost {
            memory.forget(&uid);
        }
        memory.admit(&snapshot);
        let (holders, _) = memory.standing(&snapshot);
        let free = usize::try_from(truth.pools[0].spec.slots).unwrap().saturating_sub(holders.len());
        let waiting: Vec<String> = seen.live_runs().iter().filter(|run| !seen.has_job(run)).filter_map(|run| run.metadata.name.clone()).collect();
        let granted_already = waiting.iter().filter(|run| memory.granted_to(&format!("uid-{run}"))).count();
        let admitted = waiting.iter().filter(|run| asks(&mut memory, run, &seen).is_ok()).count();
        prop_assert_eq!(admitted - granted_already, free.min(waiting.len() - granted_already), "{:?}", trail);
    }
}
