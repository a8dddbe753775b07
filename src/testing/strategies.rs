//! Scenarios that nobody thought of.

use jiff::SignedDuration;
use proptest::{
    collection, option,
    prelude::*,
    sample::select,
    test_runner::{Config, FileFailurePersistence, RngSeed},
};
use serde_json::{Map, Value, json};

use crate::api::{ConcurrencyPolicy, Definition, SlotSelection};

use super::{
    caches::{Lag, Lags},
    operator::Mishaps,
    people::Act,
    scenario::{self, Scenario},
    script::{End, Life, OnTerm, Script, Start},
};

/// So many cases, always the same ones: a red check is about the change at hand. `PROPTEST_CASES` asks for more, and for
/// others each time.
pub fn config(cases: u32) -> Config {
    let asked = std::env::var_os("PROPTEST_CASES").is_some();
    let config = Config {
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        max_shrink_iters: 40,
        ..Config::default()
    };
    if asked { config } else { Config { cases, rng_seed: RngSeed::Fixed(20_261_124), ..config } }
}

/// Anything: people who meddle, watches that lag, crashes.
pub fn any_scenario() -> impl Strategy<Value = Scenario> {
    (any::<u64>(), spec(), script(), acts(), lags(), mishaps()).prop_map(|(seed, spec, script, acts, lags, mishaps)| Scenario {
        seed,
        spec,
        workflow: None,
        script,
        acts,
        lags,
        mishaps,
        seconds: 420,
    })
}

/// Mishaps, and nobody who meddles: how each run ends follows from its script.
pub fn undisturbed_scenario() -> impl Strategy<Value = Scenario> {
    let away = collection::vec((0..400_i64, select(vec![1_i64, 30, 200])), 0..3);
    (any_scenario(), away, scripts_of(judged_life())).prop_map(|(scenario, away, script)| {
        let away = away.into_iter().map(|(at, seconds)| (at, Act::StopOperator(seconds)));
        let mut acts: Vec<(i64, Act)> = away.collect();
        acts.push((40, create_run("r1")));
        acts.push((100, Act::RepeatEvents));
        Scenario { script, acts, ..scenario }
    })
}

/// A task that the operator alone can keep, with mishaps, and nobody who edits its schedule or takes runs away.
pub fn clocked_scenario() -> impl Strategy<Value = Scenario> {
    let away = collection::vec((0..400_i64, select(vec![1_i64, 30, 200])), 0..3);
    let pause = option::of((0..400_i64, 0..200_i64));
    (any_scenario(), away, pause, scripts_of(judged_life())).prop_map(|(mut scenario, away, pause, script)| {
        let mut acts: Vec<(i64, Act)> = away.into_iter().map(|(at, seconds)| (at, Act::StopOperator(seconds))).collect();
        if let Some((at, seconds)) = pause {
            acts.extend([(at, Act::Suspend(true)), (at + seconds, Act::Suspend(false))]);
        }
        if scenario.spec["schedule"].is_null() {
            scenario.spec["schedule"] = json!({ "cron": ["*/2 * * * *"] });
        }
        scenario.spec["schedule"]["exclude"] = json!(["2000-01-01"]);
        Scenario { script, acts, ..scenario }
    })
}

/// A task that Kubernetes keeps, watches that lag, crashes, and absences of everybody; nobody takes Jobs or runs away. What
/// people do they do some seconds after a minute, so that nothing falls on a slot.
pub fn native_scenario() -> impl Strategy<Value = Scenario> {
    let lines = select(vec![json!(["*/2 * * * *"]), json!(["*/3 * * * *"]), json!(["*/4 * * * *", "1-59/4 * * * *"])]);
    let schedule = (lines, select(vec!["Allow", "Forbid", "Replace"]), select(vec![10, 60, 200]), option::weighted(0.2, Just("Latest")));
    let act = prop_oneof![
        3 => select(vec![1_i64, 30, 200, 600]).prop_map(|seconds| vec![(0, Act::StopOperator(seconds))]),
        3 => select(vec![30_i64, 100, 300]).prop_map(|seconds| vec![(0, Act::StopCronJobs(seconds))]),
        2 => (1..5_i64).prop_map(|minutes| vec![(0, Act::RefuseJobs(true)), (minutes * 60, Act::RefuseJobs(false))]),
        2 => (1..8_i64).prop_map(|minutes| vec![(0, Act::Suspend(true)), (minutes * 60, Act::Suspend(false))]),
        1 => select(vec!["*/5 * * * *", "*/2 * * * *"]).prop_map(|line| vec![(0, Act::Reschedule(line.to_owned()))]),
        2 => select(vec![ConcurrencyPolicy::Allow, ConcurrencyPolicy::Forbid, ConcurrencyPolicy::Replace])
            .prop_map(|policy| vec![(0, Act::Policy(policy))]),
        1 => Just(vec![(0, Act::ChangeImage)]),
        1 => Just(vec![(0, Act::RepeatEvents)]),
    ];
    let acts = collection::vec((0..25_i64, act), 0..6);
    let life = (select(vec![0_i64, 5, 50, 100, 170, 400]), select(vec![0, 0, 1])).prop_map(|(after, code)| Life::exit(after, code));
    (any::<u64>(), schedule, acts, lags(), mishaps(), scripts_of(life)).prop_map(
        |(seed, (lines, policy, deadline, latest), acts, lags, mishaps, script)| {
            // With several lines another policy would be the operator's to keep.
            let several = lines.as_array().is_some_and(|lines| lines.len() > 1);
            let policy = if several { "Allow" } else { policy };
            let mut schedule = json!({ "cron": lines, "concurrencyPolicy": policy, "startingDeadlineSeconds": deadline });
            if let Some(latest) = latest {
                schedule["catchUp"] = json!({ "policy": latest });
            }
            let acts =
                acts.into_iter().flat_map(|(minute, acts)| acts.into_iter().map(move |(after, act)| (minute * 60 + 40 + after, act)));
            let acts = acts.filter(|(_, act)| !(several && matches!(act, Act::Policy(_))));
            Scenario {
                seed,
                spec: json!({ "schedule": schedule, "timeouts": { "attemptSeconds": 3000 } }),
                workflow: None,
                script,
                acts: acts.collect(),
                lags,
                // What is carried out late can fall on a slot.
                mishaps: Mishaps { delays: std::collections::BTreeMap::new(), ..mishaps },
                seconds: 1870,
            }
        },
    )
}

/// Four months of a task that Kubernetes keeps, over the change to summer time: everybody is away for hours, days and weeks,
/// and nothing is due but at full hours.
pub fn native_months() -> impl Strategy<Value = Scenario> {
    const HOUR: i64 = 3600;
    let lines = || select(vec!["0 2 * * *", "0 */8 * * *", "0 3 * * 1-5", "0 0 1,15 * *"]);
    let policy = select(vec!["Allow", "Forbid", "Replace"]);
    let schedule = (lines(), policy, select(vec!["UTC", "Europe/Berlin"]), select(vec![60, HOUR, 30 * HOUR]));
    let away = || select(vec![HOUR, 12 * HOUR, 50 * HOUR, 300 * HOUR, 900 * HOUR]);
    let act = prop_oneof![
        3 => away().prop_map(|seconds| vec![(0, Act::StopOperator(seconds))]),
        3 => away().prop_map(|seconds| vec![(0, Act::StopCronJobs(seconds))]),
        2 => away().prop_map(|seconds| vec![(0, Act::RefuseJobs(true)), (seconds, Act::RefuseJobs(false))]),
        2 => away().prop_map(|seconds| vec![(0, Act::Suspend(true)), (seconds, Act::Suspend(false))]),
        2 => lines().prop_map(|line| vec![(0, Act::Reschedule(line.to_owned()))]),
    ];
    let acts = collection::vec((0..125 * 24_i64, act), 0..7);
    let life = (select(vec![5_i64, 50, 20 * HOUR + 600]), select(vec![0, 0, 1])).prop_map(|(after, code)| Life::exit(after, code));
    (any::<u64>(), schedule, acts, scripts_of(life)).prop_map(|(seed, (line, policy, zone, deadline), acts, script)| {
        let schedule = json!({ "cron": [line], "timeZone": zone, "concurrencyPolicy": policy, "startingDeadlineSeconds": deadline });
        let acts = acts.into_iter().flat_map(|(hour, acts)| acts.into_iter().map(move |(after, act)| (hour * HOUR + 1840 + after, act)));
        let spec = json!({ "schedule": schedule, "timeouts": { "attemptSeconds": 80 * HOUR } });
        Scenario { seed, acts: acts.collect(), script, ..Scenario::new(spec, Vec::new()).during(128 * 24 * HOUR + 1870) }
    })
}

fn create_run(name: &str) -> Act {
    Act::CreateRun { name: name.to_owned(), parameters: Vec::new() }
}

fn spec() -> impl Strategy<Value = Value> {
    let schedule = option::weighted(0.8, schedule());
    (schedule, retry(), exit_codes(), timeouts(), option::of((0..3_i32, 0..3_i32))).prop_map(
        |(schedule, retry, exit_codes, timeouts, history)| {
            let mut spec = Map::new();
            spec.extend(schedule.map(|schedule| ("schedule".to_owned(), schedule)));
            spec.insert("retry".to_owned(), retry);
            spec.insert("exitCodes".to_owned(), exit_codes);
            spec.insert("timeouts".to_owned(), timeouts);
            let history = history.map(|(succeeded, failed)| json!({ "succeeded": succeeded, "failed": failed }));
            spec.extend(history.map(|history| ("history".to_owned(), history)));
            spec.insert("parameters".to_owned(), json!([{ "name": "DAY", "pattern": "[0-9]+", "default": "1" }]));
            Value::Object(spec)
        },
    )
}

fn schedule() -> impl Strategy<Value = Value> {
    let lines =
        select(vec![json!(["*/2 * * * *"]), json!(["*/3 * * * *"]), json!(["*/5 * * * *"]), json!(["*/4 * * * *", "1-59/4 * * * *"])]);
    let policy = select(vec!["Allow", "Forbid", "Replace", "Allow", "Forbid", "Replace", "Queue"]);
    let catch_up = option::weighted(0.3, (select(vec!["None", "Latest", "All"]), 1..4_i32));
    let deadline = option::of(select(vec![10, 60, 200]));
    (lines, policy, deadline, catch_up, prop::bool::weighted(0.3)).prop_map(|(lines, policy, deadline, catch_up, needs_operator)| {
        let mut schedule = json!({ "cron": lines, "concurrencyPolicy": policy });
        if let Some(deadline) = deadline {
            schedule["startingDeadlineSeconds"] = json!(deadline);
        }
        if needs_operator {
            schedule["daylightSaving"] = json!({ "gap": "RunAfter" });
        }
        match catch_up {
            Some(("All", limit)) if matches!(policy, "Allow" | "Queue") => schedule["catchUp"] = json!({ "policy": "All", "limit": limit }),
            Some((policy, _)) if policy != "All" => schedule["catchUp"] = json!({ "policy": policy }),
            _ => {}
        }
        schedule
    })
}

fn any_selection() -> impl Strategy<Value = SlotSelection> {
    select(vec![SlotSelection::Missing, SlotSelection::Failed, SlotSelection::MissingOrFailed, SlotSelection::All])
}

fn retry() -> impl Strategy<Value = Value> {
    let back_off = (select(vec![5_i64, 20]), select(vec![100, 200, 300]), select(vec![0, 50]));
    (0..4_i32, option::of(back_off), option::of(any::<bool>())).prop_map(|(limit, back_off, on_timeout)| {
        let mut retry = json!({ "limit": limit });
        if let Some((initial, factor, jitter)) = back_off.filter(|_| limit > 0) {
            retry["backoff"] = json!({ "initialSeconds": initial, "factorPercent": factor, "maxSeconds": 60, "jitterPercent": jitter });
        }
        if let Some(on_timeout) = on_timeout {
            retry["onTimeout"] = json!(on_timeout);
        }
        retry
    })
}

fn exit_codes() -> impl Strategy<Value = Value> {
    let lists = (select(vec![vec![], vec![2]]), select(vec![vec![], vec![1], vec![137]]), select(vec![vec![], vec![3], vec![3, 143]]));
    (lists, option::of(select(vec!["Retryable", "Fatal"]))).prop_map(|((no_data, retryable, fatal), otherwise)| {
        let mut codes = json!({ "noData": no_data, "retryable": retryable, "fatal": fatal });
        if let Some(otherwise) = otherwise {
            codes["otherwise"] = json!(otherwise);
        }
        codes
    })
}

fn timeouts() -> impl Strategy<Value = Value> {
    (select(vec![20_i64, 60]), select(vec![15_i64, 60, 900]), option::of(select(vec![60_i64, 90, 400])), any::<bool>()).prop_map(
        |(attempt, pending, run, short)| {
            let mut timeouts = json!({ "attemptSeconds": attempt, "pendingSeconds": pending });
            if let Some(run) = run.filter(|_| short) {
                timeouts["runSeconds"] = json!(run);
            }
            timeouts
        },
    )
}

fn script() -> impl Strategy<Value = Script> {
    let start = prop_oneof![
        8 => (0..4_i64).prop_map(Start::After),
        1 => select(vec![Start::Unschedulable, Start::NoImage, Start::NoSecret, Start::NoMount]),
    ];
    scripts_of((start, judged_life()).prop_map(|(start, life)| Life { start, ..life }))
}

/// What ends by itself or by a timeout.
fn judged_life() -> impl Strategy<Value = Life> {
    let end = prop_oneof![
        12 => (select(vec![0_i64, 3, 15, 45]), select(vec![0, 0, 0, 1, 2, 3, 7, 143])).prop_map(|(after, code)| End::Exit { after, code }),
        1 => Just(End::OutOfMemory { after: 3 }),
        1 => Just(End::CannotStart),
        1 => Just(End::Evicted { after: 5 }),
        1 => Just(End::NodeLost { after: 5 }),
        1 => Just(End::Never),
    ];
    let on_term = prop_oneof![
        2 => Just(OnTerm::Dies),
        2 => (0..4_i64, select(vec![0, 2, 3, 7])).prop_map(|(after, code)| OnTerm::Exits { after, code }),
        1 => Just(OnTerm::Ignores),
    ];
    (0..4_i64, end, on_term).prop_map(|(start, end, on_term)| Life { start: Start::After(start), end, on_term })
}

/// The last life of each run ends by itself, since it is lived again and again.
fn scripts_of(life: impl Strategy<Value = Life>) -> impl Strategy<Value = Script> {
    let last = select(vec![0, 0, 1, 3]).prop_map(|code| Life::exit(4, code));
    collection::vec((collection::vec(life, 0..4), last), 1..3)
        .prop_map(|runs| Script(runs.into_iter().map(|(lives, last)| lives.into_iter().chain([last]).collect()).collect()))
}

fn acts() -> impl Strategy<Value = Vec<(i64, Act)>> {
    let act = prop_oneof![
        4 => select(vec!["r1", "r2"]).prop_map(create_run),
        1 => Just(Act::CreateRun { name: "r3".to_owned(), parameters: vec![("DAY".to_owned(), "x".to_owned())] }),
        2 => Just(Act::JobFromCronJob { name: "by-hand".to_owned() }),
        3 => (0..4_usize).prop_map(Act::Cancel),
        1 => Just(Act::ChangeImage),
        1 => Just(Act::Reschedule("*/4 * * * *".to_owned())),
        1 => any::<bool>().prop_map(Act::Suspend),
        1 => (1..200_i64).prop_map(Act::PauseFor),
        1 => Just(Act::DeleteTask),
        1 => Just(Act::DeleteCronJob),
        1 => Just(Act::EditCronJob),
        1 => select(vec![ConcurrencyPolicy::Allow, ConcurrencyPolicy::Queue, ConcurrencyPolicy::Forbid]).prop_map(Act::Policy),
        2 => any::<bool>().prop_map(Act::NeedOperator),
        2 => (select(vec!["r4", "r5"]), 0..4_usize, select(vec![Definition::Current, Definition::Original]))
            .prop_map(|(name, of, definition)| Act::Rerun { name: name.to_owned(), of, definition }),
        2 => (select(vec!["b1", "b2"]), select(vec![100_i64, 500]), any_selection(), 1..4_i32)
            .prop_map(|(name, seconds, select, concurrency)| Act::Backfill { name: name.to_owned(), seconds, select, concurrency }),
        1 => Just(Act::CancelBackfill),
        1 => any::<bool>().prop_map(Act::SuspendBackfill),
        1 => Just(Act::DeleteBackfill),
        1 => (0..4_usize).prop_map(Act::DeleteJob),
        1 => (0..4_usize, any::<bool>()).prop_map(|(which, suspend)| Act::SuspendJob(which, suspend)),
        2 => (0..4_usize).prop_map(Act::DeletePod),
        1 => (0..4_usize).prop_map(Act::DeleteRun),
        1 => any::<bool>().prop_map(Act::RefuseJobs),
        1 => any::<bool>().prop_map(Act::RefusePods),
        2 => select(vec![1_i64, 20, 100]).prop_map(Act::StopOperator),
        1 => Just(Act::RepeatEvents),
    ];
    collection::vec((0..420_i64, act), 0..7)
}

fn lags() -> impl Strategy<Value = Lags> {
    let lag = || {
        let silent = option::weighted(0.2, (0..400_i64, select(vec![4_i64, 20])));
        (select(vec![0_i64, 0, 0, 1, 3]), silent).prop_map(|(seconds, silent)| Lag {
            seconds,
            silent: silent.map(|(from, length)| {
                let at = |seconds| scenario::start() + SignedDuration::from_secs(seconds);
                (at(from), at(from + length))
            }),
        })
    };
    (lag(), lag(), lag(), lag(), lag(), lag()).prop_map(|(tasks, runs, cron_jobs, jobs, pods, backfills)| Lags {
        tasks,
        workflows: tasks,
        runs,
        cron_jobs,
        jobs,
        pods,
        backfills,
    })
}

fn mishaps() -> impl Strategy<Value = Mishaps> {
    let crashes = collection::btree_map(1..40_usize, select(vec![0_i64, 1, 30]), 0..3);
    let lost_answers = collection::btree_set(1..40_usize, 0..3);
    let delays = collection::btree_map(1..30_usize, select(vec![1_i64, 4, 9]), 0..3);
    (crashes, lost_answers, delays).prop_map(|(crashes, lost_answers, delays)| Mishaps { crashes, lost_answers, delays })
}
