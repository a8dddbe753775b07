//! What to say of a pool. There is nothing to do about one: runs are let in one by one, and the pool shows it.

use std::sync::Arc;

use jiff::Timestamp;

use super::Plan;
use crate::{
    admission::{Candidate, Holder},
    api::{
        ConcurrencyPool, ConcurrencyPoolStatus, PoolRun,
        condition::{self, Set, Status},
    },
    outcome::cut,
};

/// How many holders are on status.
const HOLDERS: usize = 50;
/// How long a name can be. That of a Job's owner can be anything.
const NAME: usize = 63;
/// How many of those that wait are on status.
const QUEUE: usize = 10;

/// All that is known about a pool.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The pool.
    pub pool: Arc<ConcurrencyPool>,
    /// Runs of its namespace that hold room under caps, by name.
    pub holders: Vec<Holder>,
    /// Runs of its namespace that wait, in order.
    pub waiting: Vec<Candidate>,
}

/// Plans a pool.
#[must_use]
pub fn plan(seen: &Seen, now: Timestamp) -> Plan<ConcurrencyPoolStatus> {
    let pool = &seen.pool;
    let name = pool.metadata.name.as_deref().unwrap_or_default();
    let before = pool.status.clone().unwrap_or_default();
    if pool.metadata.deletion_timestamp.is_some() {
        return Plan::nothing(before);
    }
    let held = |run: &str, task: &str, slots: i64| PoolRun {
        run: cut(run, NAME),
        task: task.to_owned(),
        slots: i32::try_from(slots).unwrap_or(i32::MAX),
    };
    let mut holders: Vec<PoolRun> =
        seen.holders.iter().filter_map(|holder| Some(held(&holder.run, &holder.task, *holder.pools.get(name)?))).collect();
    let mut queue: Vec<PoolRun> =
        seen.waiting.iter().filter_map(|run| Some(held(&run.run, &run.needs.task, *run.needs.pools.get(name)?))).collect();
    let used: i32 = holders.iter().map(|holder| holder.slots).fold(0, i32::saturating_add);
    let count = |runs: &[PoolRun]| i32::try_from(runs.len()).unwrap_or(i32::MAX);
    let (holding, queued) = (count(&holders), count(&queue));
    // The Job of a run that was deleted may go on beside a run of the same name.
    holders.dedup_by(|a, b| a.run == b.run);
    holders.truncate(HOLDERS);
    queue.truncate(QUEUE);
    let slots = pool.spec.slots;
    let (status, reason, message) = if slots == 0 {
        (Status::False, "Closed", format!("closed: spec.slots is 0, and nobody starts; {used} held by {holding} runs, {queued} wait"))
    } else if used > slots {
        let message = format!(
            "{used} held by {holding} runs, {} more than there are: nobody starts until enough of them have ended; {queued} wait",
            used - slots
        );
        (Status::True, "OverUsed", message)
    } else {
        (Status::True, "Open", format!("{used} of {slots} held by {holding} runs, {queued} wait"))
    };
    let generation = pool.metadata.generation;
    // What changes with each run stands in the message of the status, so that the condition is still.
    let told = match reason {
        "Closed" => "spec.slots is 0: nobody starts; raise it to open the pool",
        "OverUsed" => "spec.slots was lowered below what is held: nobody starts until enough runs have ended",
        _ => "runs may take its slots",
    };
    let set = Set { kind: condition::READY, status, reason, message: told.to_owned() };
    let status = ConcurrencyPoolStatus {
        observed_generation: generation,
        used,
        holding,
        queued,
        message: Some(message),
        holders,
        queue,
        conditions: condition::conditions(&before.conditions, vec![set], generation, now),
    };
    Plan::nothing(status)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::admission::{Needs, Slots};

    fn seen(slots: i32, status: Option<ConcurrencyPoolStatus>) -> Seen {
        let mut pool: ConcurrencyPool = serde_json::from_value(json!({
            "metadata": { "name": "db", "namespace": "ns", "generation": 3 }, "spec": { "slots": slots },
        }))
        .unwrap();
        pool.status = status;
        let of = |pool: &str, slots: i64| Slots::from([(pool.to_owned(), slots)]);
        let holder = |run: &str, pools: Slots| Holder { run: run.to_owned(), task: "t".to_owned(), pools };
        let waits = |run: String, pool: &str| Candidate {
            uid: run.clone(),
            run,
            created: None,
            needs: Arc::new(Needs { task: "t".to_owned(), pools: of(pool, 1), ..Needs::default() }),
        };
        Seen {
            pool: Arc::new(pool),
            holders: vec![holder("a", of("db", 2)), holder("b", of("other", 4)), holder("c", of("db", 1))],
            waiting: (0..12).map(|n| waits(format!("w{n:02}"), "db")).chain([waits("x".to_owned(), "other")]).collect(),
        }
    }

    #[test]
    fn it_tells_who_holds_and_who_waits_and_is_still_then() {
        let now: Timestamp = "2026-11-27T00:00:00Z".parse().unwrap();
        let plan = plan(&seen(4, None), now);
        let status = &plan.status;
        assert_eq!((status.used, status.holding, status.queued, status.observed_generation), (3, 2, 12, Some(3)));
        let names = |runs: &[PoolRun]| runs.iter().map(|run| format!("{}:{}", run.run, run.slots)).collect::<Vec<_>>();
        assert_eq!(names(&status.holders), ["a:2", "c:1"]);
        assert_eq!((status.queue.len(), status.queue[0].run.as_str()), (10, "w00"), "the first ten");
        assert_eq!(status.message.as_deref(), Some("3 of 4 held by 2 runs, 12 wait"));
        let again = super::plan(&seen(4, Some(status.clone())), now);
        assert_eq!(again, Plan::nothing(status.clone()), "quiet");
    }

    #[test]
    fn names_that_no_run_could_have_do_not_make_the_status_invalid() {
        let mut seen = seen(4, None);
        let long = |end: &str| Holder { run: format!("{}{end}", "x".repeat(250)), ..seen.holders[0].clone() };
        seen.holders = vec![long("a"), long("b")];
        let status = plan(&seen, Timestamp::UNIX_EPOCH).status;
        assert_eq!((status.used, status.holding), (4, 2));
        assert_eq!(status.holders.iter().map(|holder| holder.run.chars().count()).collect::<Vec<_>>(), [63], "each name once");
    }

    #[test]
    fn a_pool_that_is_closed_or_was_lowered_says_so() {
        let now: Timestamp = "2026-11-27T00:00:00Z".parse().unwrap();
        let ready = |slots: i32| {
            let status = plan(&seen(slots, None), now).status;
            let ready = condition::find(&status.conditions, condition::READY).unwrap();
            (ready.status.clone(), ready.reason.clone(), status.message.unwrap())
        };
        assert_eq!((ready(0).0.as_str(), ready(0).1.as_str()), ("False", "Closed"));
        assert_eq!((ready(2).0.as_str(), ready(2).1.as_str()), ("True", "OverUsed"));
        assert!(ready(2).2.contains("1 more than there are"), "{}", ready(2).2);
    }
}
