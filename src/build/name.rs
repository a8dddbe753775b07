//! Names of what we create. A name is a lock: made from what it is for, so that creating it twice is refused.

use jiff::Timestamp;

use crate::schedule::Schedule;

/// Longest name of a run.
const RUN: usize = 55;

/// The CronJob of a cron line. The first line's has the task's name; each further one's ends in a hash of its line, so
/// that taking a line out leaves the others alone.
#[must_use]
pub fn cron_job_name(task: &str, index: usize, line: &str) -> String {
    if index == 0 { task.to_owned() } else { format!("{task}-{:05x}", hash(line) & 0xf_ffff) }
}

/// The Job that the operator makes for an attempt (1 is the first) of a run.
#[must_use]
pub fn job_name(run: &str, attempt: u32) -> String {
    format!("{run}-{attempt}")
}

/// The run that records a Job made by hand from a CronJob, or one whose own name is taken: the Job's name and part of its UID.
#[must_use]
pub fn manual_run_name(job: &str, uid: &str) -> String {
    let tail: String = uid.chars().filter(char::is_ascii_alphanumeric).take(6).collect::<String>().to_ascii_lowercase();
    let room = RUN - 1 - tail.len();
    let head: String = job.chars().take(room).collect();
    format!("{}-{tail}", head.trim_end_matches('-'))
}

/// The run of a slot of the task's schedule: what its Job would be called if the CronJob of its line had started it. Under
/// either clock it is the lock for the slot.
#[must_use]
pub fn slot_run_name(task: &str, schedule: &Schedule, slot: Timestamp) -> String {
    let index = schedule.line_of(slot).unwrap_or(0);
    let line = schedule.lines.get(index).map_or("", |line| line.as_str());
    format!("{}-{}", cron_job_name(task, index, line), minutes(slot))
}

/// The run of a slot of a workflow's schedule. Not a name that the run of a task's slot could have: a task that becomes a
/// workflow may leave its name to it.
#[must_use]
pub fn workflow_slot_run_name(workflow: &str, slot: Timestamp) -> String {
    format!("{workflow}-wf-{}", minutes(slot))
}

/// The run that a backfill makes for a slot. Not a name that a slot's own run could have.
#[must_use]
pub fn backfill_run_name(backfill: &str, slot: Timestamp) -> String {
    format!("{backfill}-bf-{}", minutes(slot))
}

/// What a slot's run, its attempts and its reruns have in common: the name of the slot's own run, in its namespace.
#[must_use]
pub fn idempotency_key(namespace: &str, run: &str) -> String {
    format!("{namespace}/{run}")
}

/// Longest idempotency key.
const KEY: usize = 128;
/// How much of a step's name the name of its run has where both do not fit.
const STEP: usize = 24;

/// The run of a step, or of an item of it, of the workflow's run of that name and UID: of no other run.
#[must_use]
pub fn step_run_name(run: &str, uid: &str, step: &str, item: Option<usize>) -> String {
    let item = item.map_or(String::new(), |item| format!("-{item}"));
    let tail = format!("{item}-{:08x}", hash(&format!("{uid} {step}{item}")) & 0xffff_ffff);
    let room = RUN - tail.len() - 1;
    let step = if run.len() + step.len() > room { &step[..step.len().min(STEP)] } else { step };
    let run = &run[..run.len().min(room - step.len())];
    format!("{}-{}{tail}", run.trim_end_matches('-'), step.trim_end_matches('-'))
}

/// What the task is called that is written inside a step: a name that fits wherever a task's does, and is no other's.
#[must_use]
pub fn inline_task_name(workflow: &str, step: &str) -> String {
    let head: String = format!("{workflow}-{step}").chars().take(31).collect();
    format!("{}-{:08x}", head.trim_end_matches('-'), hash(&format!("{workflow}/{step}")) & 0xffff_ffff)
}

/// The idempotency key of a step's run, from that of the workflow's run.
#[must_use]
pub fn step_key(key: &str, step: &str, item: Option<usize>) -> String {
    let item = item.map_or(String::new(), |item| format!("/{item}"));
    let whole = format!("{key}/{step}{item}");
    if whole.len() <= KEY {
        return whole;
    }
    let tail = format!("-{:016x}", hash(&whole));
    let head: String = whole.chars().take(KEY - tail.len()).collect();
    format!("{head}{tail}")
}

fn minutes(slot: Timestamp) -> i64 {
    slot.as_second().div_euclid(60)
}

/// FNV-1a.
pub(super) fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
