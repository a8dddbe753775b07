//! What came of the changes of a plan.

use super::expectations::Wrote;
use crate::{
    admission::Answer,
    plan::{Refusal, automation_task::CronJobSeen},
};

/// What the API server answered.
#[derive(Debug, Default)]
pub(super) struct Applied {
    /// CronJobs as they stand after our writes.
    pub(super) cron_jobs: Vec<CronJobSeen>,
    /// Runs that were made, or were there.
    pub(super) runs_made: Vec<String>,
    /// Revisions that were made, or were there.
    pub(super) revisions_made: Vec<String>,
    /// What was refused.
    pub(super) refusals: Vec<Refusal>,
    /// What a run was answered that asked to be let in.
    pub(super) answer: Option<Answer>,
    /// What the writes left, for the caches to catch up with.
    pub(super) wrote: Vec<Wrote>,
    /// What was to follow must not: the run that was planned is gone, or its Job was not made.
    pub(super) ended: bool,
}

impl Applied {
    pub(super) fn extend(&mut self, other: Self) {
        self.cron_jobs.extend(other.cron_jobs);
        self.runs_made.extend(other.runs_made);
        self.revisions_made.extend(other.revisions_made);
        self.refusals.extend(other.refusals);
        self.answer = other.answer.or(self.answer.take());
        self.wrote.extend(other.wrote);
        self.ended |= other.ended;
    }

    /// Whether there is more to plan from than there was before.
    pub(super) fn answers(&self) -> bool {
        !(self.refusals.is_empty() && self.cron_jobs.is_empty() && self.runs_made.is_empty() && self.revisions_made.is_empty())
    }
}
