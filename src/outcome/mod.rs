//! What happened, and what it means: evidence read from Jobs and pods, attempts classified, runs concluded.

mod attempts;
mod classify;
mod conclude;
mod evidence;
#[cfg(test)]
mod tests;
mod waiting;

pub(crate) use attempts::cut;
pub use attempts::{outputs, record};
pub use classify::{Ended, classify};
pub use conclude::{Conclusion, conclude};
pub use evidence::{ContainerSeen, JobEnd, JobSeen, PodPhase, PodSeen, StopReason};
pub use waiting::{Trouble, waited, waiting};
pub(crate) use waiting::{refusal, starting};

/// The words that say why something ended. One vocabulary for attempts, runs, conditions and events.
pub mod reason {
    /// Exit code 0.
    pub const COMPLETED: &str = "Completed";
    /// Exit code 0 while the cluster, or somebody, was taking the pod away.
    pub const COMPLETED_DURING_DISRUPTION: &str = "CompletedDuringDisruption";
    /// Exit code listed in `exitCodes.noData`.
    pub const EXIT_CODE_NO_DATA: &str = "ExitCodeNoData";
    /// Exit code listed in `exitCodes.retryable`.
    pub const EXIT_CODE_RETRYABLE: &str = "ExitCodeRetryable";
    /// Exit code listed in `exitCodes.fatal`.
    pub const EXIT_CODE_FATAL: &str = "ExitCodeFatal";
    /// Exit code in no list: `exitCodes.otherwise`.
    pub const EXIT_CODE_OTHERWISE: &str = "ExitCodeOtherwise";
    /// `timeouts.attemptSeconds` passed.
    pub const ATTEMPT_TIMEOUT: &str = "AttemptTimeout";
    /// `timeouts.runSeconds` passed.
    pub const RUN_TIMEOUT: &str = "RunTimeout";
    /// `timeouts.pendingSeconds` passed, and nothing more telling is known.
    pub const PENDING_TIMEOUT: &str = "PendingTimeout";
    /// `spec.cancel`.
    pub const CANCELLED: &str = "Cancelled";
    /// It waits for another run to end.
    pub const QUEUED: &str = "Queued";
    /// It waits for its next attempt to be due.
    pub const BACKOFF: &str = "Backoff";
    /// Another run of the same slot goes on.
    pub const SLOT_TAKEN: &str = "SlotTaken";
    /// The run to run again is not there, or is none that can be.
    pub const INVALID_RERUN: &str = "InvalidRerun";
    /// The definition that it was to run is gone.
    pub const REVISION_GONE: &str = "RevisionGone";
    /// A later slot replaced the run.
    pub const REPLACED: &str = "Replaced";
    /// The cluster took the pod away.
    pub const DISRUPTED: &str = "Disrupted";
    /// Somebody deleted the pod.
    pub const POD_DELETED: &str = "PodDeleted";
    /// The pod was gone before its end was seen.
    pub const POD_GONE: &str = "PodGone";
    /// The Job was gone before its end was seen.
    pub const JOB_GONE: &str = "JobGone";
    /// A container other than `main` failed the pod.
    pub const OTHER_CONTAINER_FAILED: &str = "OtherContainerFailed";
    /// A Job failed for a reason of Kubernetes that we do not know.
    pub const JOB_FAILED: &str = "JobFailed";
}
