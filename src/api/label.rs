//! Every label and annotation that Nightshift writes or reads. Nothing else spells these strings.

/// Label on all that we create, and the selector of all that we watch: we never cache the cluster's other Jobs and pods.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// The value of [`MANAGED_BY`], and our field manager.
pub const NIGHTSHIFT: &str = "nightshift";
/// Label selector for [`MANAGED_BY`].
pub const SELECTOR: &str = "app.kubernetes.io/managed-by=nightshift";
/// Label on CronJobs, Jobs, pods and runs: the task's name.
pub const TASK: &str = "nightshift.dev/task";
/// Label on runs: the workflow's name.
pub const WORKFLOW: &str = "nightshift.dev/workflow";
/// Label on the run of a step: the run of the workflow that it is a step of.
pub const WORKFLOW_RUN: &str = "nightshift.dev/workflow-run";
/// Label on the run of a step: the step's name.
pub const STEP: &str = "nightshift.dev/step";
/// Label on CronJobs, Jobs, pods: the owning team, for cost and alert routing.
pub const TEAM: &str = "nightshift.dev/team";
/// Label on a Job: the run that it belongs to. A native Job gets it when it is adopted.
pub const RUN: &str = "nightshift.dev/run";
/// Label on a Job that the operator made: which attempt of the run it is (1 is the first).
pub const ATTEMPT: &str = "nightshift.dev/attempt";
/// Annotation on a Job: what was promised when it was rendered (exit codes, retries, timeouts), as JSON. It freezes the
/// definition: a run is judged by its own Job's contract, never by the task as it is now.
pub const CONTRACT: &str = "nightshift.dev/contract";
/// Annotation on a Job: why the operator stopped it. Written in the same patch that begins the stop, so no crash can
/// separate the act from its reason.
pub const STOPPED: &str = "nightshift.dev/stopped";
/// Annotation on a CronJob: hash of the spec that we wanted when we last wrote it.
pub const DESIRED: &str = "nightshift.dev/desired";
/// Annotation on a run that the operator starts: the run's own UID, once the Job of its first attempt was made. That Job is
/// not made again. A run that somebody makes from a copy of another has the mark of that one, which says nothing of it.
pub const STARTED: &str = "nightshift.dev/started";
/// Annotation on an adopted run: the name of the Job that Kubernetes started and the run records.
pub const ADOPTED_JOB: &str = "nightshift.dev/adopted-job";
/// Annotation on an adopted run: that Job's UID.
pub const ADOPTED_UID: &str = "nightshift.dev/adopted-uid";
/// Annotation on a Job, and on a run that the operator created: name of the `ControllerRevision` that holds the definition
/// that it runs.
pub const REVISION: &str = "nightshift.dev/revision";
/// Annotation on a run that a later slot stops, under Replace: that slot. Written in the patch that cancels the run.
pub const REPLACED_BY: &str = "nightshift.dev/replaced-by";
/// Annotation on a run whose idempotency key is not made from its own name.
pub const IDEMPOTENCY_KEY: &str = "nightshift.dev/idempotency-key";
/// Annotation on a run: UID of the `Backfill` that created it. One of the same name that came later has other runs.
pub const BACKFILL_UID: &str = "nightshift.dev/backfill-uid";
/// Label on a run: the `Backfill` that created it.
pub const BACKFILL: &str = "nightshift.dev/backfill";
/// Annotation on a task, for people to pause its schedule by hand where the spec is Git's: a time such as
/// `2026-12-01T06:00:00Z`, or `indefinite`. Git does not have it, so it is not put back.
pub const PAUSED_UNTIL: &str = "nightshift.dev/paused-until";
/// Annotation on a task: why it is paused, for whoever wonders.
pub const PAUSE_REASON: &str = "nightshift.dev/pause-reason";
/// Annotation on a Job, for people who look at it: `owner.contact`.
pub const CONTACT: &str = "nightshift.dev/contact";
/// Annotation on a Job, for people who look at it: `owner.onCall`.
pub const ON_CALL: &str = "nightshift.dev/on-call";
/// Annotation on a Job, for people who look at it: `owner.runbook`.
pub const RUNBOOK: &str = "nightshift.dev/runbook";
/// Annotation on a Job of a run under caps: what the run holds of pools, as JSON. The Job is the record that it was let in.
pub const HOLDS: &str = "nightshift.dev/holds";
/// What all our own labels and annotations begin with.
pub const PREFIX: &str = "nightshift.dev/";

/// Set by the CronJob controller on each Job of a slot: the slot, RFC 3339 in the CronJob's zone.
pub const CRONJOB_SLOT: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";
/// Set by the Job controller on each pod of an Indexed Job: counted failures before it.
pub const FAILURE_COUNT: &str = "batch.kubernetes.io/job-index-failure-count";
/// Set by the Job controller on each pod: its Job's name.
pub const JOB_NAME: &str = "batch.kubernetes.io/job-name";
/// Set by the Job controller on each pod: its Job's UID.
pub const CONTROLLER_UID: &str = "batch.kubernetes.io/controller-uid";
