//! Plans: what to do about what was seen, as a value. One planner for each kind; each is total and pure.
//!
//! The laws of a plan, each a property test over the model world in `testing::world`:
//!
//! - *Deterministic*: the same `Seen` and `now` give an equal plan.
//! - *Convergent*: applied again and again at one time, plans come to one without changes.
//! - *Prefix-safe*: stopped after any change and planned again, the same end is reached.
//! - *At most once*: never two Jobs for one (run, attempt), nor two runs for one slot. Names are the locks.
//! - *Stale-safe*: a plan made from an older view never moves the world backwards.
//! - *Monotone*: a finished run never becomes unfinished, and its completion time is written once.
//! - *Explained*: a run that neither runs nor is finished says what it waits on.
//! - *Quiet*: planning from the status that a plan would write gives the same status and no changes.
//! - *Awake*: there are changes, or a wake in the future, or something outside will change, or the end is reached.

pub mod automation_run;
pub mod automation_task;
pub mod backfill;
pub mod concurrency_pool;
mod identity;
mod pause;
mod slots;
mod standing;
pub mod workflow;
pub mod workflow_run;

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use serde_json::Value;

use crate::{admission::Needs, api::AutomationRun, build::CronJobSpec, outcome::StopReason};

/// What to do about one object: writes in order, the status to report, what to tell people, and when to look again.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan<Status> {
    /// Writes, in the order in which they must be made.
    pub changes: Vec<Change>,
    /// The status, as far as it follows from what was seen.
    pub status: Status,
    /// Where set, the status says only that all goes its usual way. It need not be written before this time, by which it is
    /// likely to be overtaken, and then takes turns with others of its kind.
    pub report_after: Option<Timestamp>,
    /// Events to publish once the status is written.
    pub notices: Vec<Notice>,
    /// When to look again although nothing has changed.
    pub wake: Option<Timestamp>,
}

impl<Status> Plan<Status> {
    /// What is as it should be: nothing to do until something changes.
    #[must_use]
    pub fn nothing(status: Status) -> Self {
        Self { changes: Vec::new(), status, report_after: None, notices: Vec::new(), wake: None }
    }

    /// Whether the status may wait.
    #[must_use]
    pub fn may_wait(&self, now: Timestamp) -> bool {
        self.report_after.is_some_and(|after| now < after)
    }

    /// The status may wait until `after`, and something will look again then.
    fn reported_after(mut self, after: Option<Timestamp>, now: Timestamp) -> Self {
        self.report_after = after;
        self.wake = [self.wake, after.filter(|after| now < *after)].into_iter().flatten().min();
        self
    }
}

/// So many seconds later, or never.
fn after(time: Timestamp, seconds: i64) -> Timestamp {
    time.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX)
}

/// One write, in the namespace of the object that was planned.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Creates a CronJob.
    CreateCronJob(CronJobSpec),
    /// Replaces a CronJob of ours that is not as we want it.
    ReplaceCronJob {
        /// As we want it.
        wanted: CronJobSpec,
        /// UID and resource version of the one that was seen: a newer one is not overwritten.
        seen: (String, String),
        /// Slots up to this time must not be started by the new schedule.
        forget_slots_until: Option<Timestamp>,
    },
    /// Suspends a CronJob whose task is suspended while the rest of its spec cannot be carried out. It loses the mark of
    /// what was wanted, so that it is written anew once the spec is accepted again.
    SuspendCronJob {
        /// Name.
        name: String,
        /// UID.
        uid: String,
    },
    /// Deletes a CronJob that is not wanted any more. Its Jobs are kept by their runs.
    DeleteCronJob {
        /// Name.
        name: String,
        /// UID.
        uid: String,
    },
    /// Creates a run: the record of a Job which Kubernetes started, or the run of a slot. The name is the lock.
    CreateRun(Box<AutomationRun>),
    /// Makes the task the owner of a run, so that it goes when the task goes; and writes on the run that its first Job was
    /// made, so that it is not made again whatever becomes of that Job.
    OwnRun {
        /// Name.
        name: String,
        /// UID.
        uid: String,
        /// Resource version that was seen: owners that somebody else has added since are not overwritten.
        resource_version: String,
        /// All its owners, the task among them.
        owners: Vec<OwnerReference>,
        /// Whether the Job of its first attempt was made.
        started: bool,
    },
    /// Marks an adopted Job with its run, and makes the run an owner: the Job survives its CronJob.
    OwnJob {
        /// Name.
        name: String,
        /// UID.
        uid: String,
        /// The run.
        owner: OwnerReference,
    },
    /// Asks for room under the caps of a run's task. It is answered from the memory of whoever leads, and written nowhere: the Job
    /// that follows is the record. To crash before that is to have asked for nothing.
    AskForRoom {
        /// UID of the run.
        run_uid: String,
        /// What its task asks of it.
        needs: Arc<Needs>,
        /// Whether it says already that it waits.
        is_queued: bool,
    },
    /// Creates the Job of an attempt. The name is the lock.
    CreateJob {
        /// Name.
        name: String,
        /// UID of the run that must own it, should it exist already.
        run_uid: String,
        /// The whole object.
        object: Value,
        /// What its run was let in with, where it is the first Job of one under caps: it is not sent where that holds no longer.
        let_in: Option<Arc<Needs>>,
    },
    /// Begins to stop a Job: writes the reason on it and, in the same patch, forbids further retries.
    StopJob {
        /// Name.
        name: String,
        /// UID.
        uid: String,
        /// Why.
        reason: StopReason,
        /// The new `backoffLimit`: the failures so far. One less, and Kubernetes would call the Job failed at once, and
        /// delete the pod that runs with its evidence; one more, and it would try again.
        backoff_limit: i32,
        /// The new `activeDeadlineSeconds`: far away, to leave the pod and its evidence to [`Change::EndPod`]; or 1,
        /// which removes pods that have not begun.
        deadline_seconds: i64,
        /// Whether the Job is suspended. Its deadline counts only while it is not, so it is resumed, with room for no pod.
        suspended: bool,
    },
    /// Ends a pod by its own deadline, which keeps its exit code and log.
    EndPod {
        /// Name.
        name: String,
        /// UID.
        uid: String,
    },
    /// Lets Kubernetes delete a Job that is recorded, so long after its end.
    ExpireJob {
        /// Name.
        name: String,
        /// UID.
        uid: String,
        /// After how many seconds.
        seconds: i64,
    },
    /// Deletes a Job that is recorded.
    DeleteJob {
        /// Name.
        name: String,
        /// UID.
        uid: String,
    },
    /// Cancels a run, as `spec.cancel` does.
    CancelRun {
        /// Name.
        name: String,
        /// UID.
        uid: String,
        /// The slot that replaces it, where one does.
        replaced_by: Option<Timestamp>,
    },
    /// Keeps a task's definition as it is. The name says which it is.
    CreateRevision {
        /// Name.
        name: String,
        /// The whole object.
        object: Value,
    },
    /// Deletes a definition that no run needs any more.
    DeleteRevision {
        /// Name.
        name: String,
        /// UID.
        uid: String,
    },
    /// Deletes a finished run that `history` no longer keeps.
    DeleteRun {
        /// Name.
        name: String,
        /// UID.
        uid: String,
    },
}

impl Change {
    /// Makes an object the owner of a run, beside those that it has, and marks it as started where that is so.
    fn own_run(run: &AutomationRun, owner: Option<OwnerReference>, started: bool) -> Self {
        let meta = &run.metadata;
        let mut owners = meta.owner_references.clone().unwrap_or_default();
        if let Some(mut owner) = owner {
            if owners.iter().any(|owner| owner.controller == Some(true)) {
                (owner.controller, owner.block_owner_deletion) = (None, None);
            }
            owners.push(owner);
        }
        Change::OwnRun {
            name: meta.name.clone().unwrap_or_default(),
            uid: meta.uid.clone().unwrap_or_default(),
            resource_version: meta.resource_version.clone().unwrap_or_default(),
            owners,
            started,
        }
    }
}

/// Something to tell people, as an Event on the object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Whether it is a warning.
    pub warning: bool,
    /// Why, in one CamelCase word.
    pub reason: String,
    /// What was done, as a verb: `Run`, `Retry`, `Arm` …
    pub action: &'static str,
    /// In plain words.
    pub message: String,
}

/// The API server's refusal of a change: not a failure to reach it, but its answer. It is evidence for the next plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Name of the object that was refused.
    pub name: String,
    /// What kind of refusal.
    pub kind: RefusalKind,
    /// The API server's words.
    pub message: String,
}

/// Kinds of refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalKind {
    /// An object of that name exists, and is not ours.
    NameTaken,
    /// An object of that name is on its way out: it belonged to one of ours that was deleted.
    Leaving,
    /// Forbidden (quota, admission), invalid, or an admission webhook does not answer.
    Refused,
}
