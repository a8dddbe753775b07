//! What stops a reconcile: the API server would not answer. A user's mistake is a condition, and a wait a `WaitingOn`.

use std::{sync::Arc, time::Duration};

use kube::{Resource, ResourceExt, runtime::controller::Action};

use super::Context;
use crate::observe;

/// What we were doing when the API server would not.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Reading.
    #[error(transparent)]
    Observe(#[from] observe::Error),
    /// Writing a change.
    #[error("cannot {what}: {source}")]
    Apply {
        /// The change.
        what: String,
        /// Why not.
        #[source]
        source: Box<kube::Error>,
    },
    /// Writing the status.
    #[error("cannot write the status: {0}")]
    Report(#[source] Box<kube::Error>),
    /// A write that did not end in time.
    #[error("no answer within {seconds} s to: {what}")]
    Timeout {
        /// The write.
        what: String,
        /// How long we waited.
        seconds: u64,
    },
    /// A write that was not sent: this process leads no longer, and is about to end.
    #[error("this process does not lead, so it does not write")]
    NotLeading,
    /// The run that asked to be let in is not there as it was.
    #[error("the run has changed while it asked to be let in")]
    Gone,
    /// A bug of ours. The panic's own words are in the log.
    #[error("a bug in Nightshift stopped the work on this object")]
    Panicked,
}

impl Error {
    /// In one word, for the metric.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Error::Observe(_) => "observe",
            Error::Apply { .. } => "apply",
            Error::Report(_) => "report",
            Error::Timeout { .. } => "timeout",
            Error::NotLeading => "lease",
            Error::Gone => "behind",
            Error::Panicked => "panic",
        }
    }

    /// Whether somebody else was faster: our view was old, and the newer one is on its way.
    fn is_conflict(&self) -> bool {
        if matches!(self, Error::Gone) {
            return true;
        }
        let (Error::Apply { source, .. } | Error::Report(source)) = self else { return false };
        matches!(&**source, kube::Error::Api(status) if status.code == 409)
    }
}

/// Tries again after a wait that doubles with each failure in a row of the same object, from 1 s to 5 min; soon where
/// our view was merely old.
#[expect(clippy::needless_pass_by_value, reason = "the signature is kube's")]
pub(super) fn policy<K>(object: Arc<K>, error: &Error, context: Arc<Context>) -> Action
where
    K: Resource<DynamicType = ()>,
{
    let key = key(&*object);
    let failures = context.failed(&key);
    context.metrics.reconcile_error(&K::kind(&()), error.reason());
    let wait = Duration::from_secs(1 << failures.clamp(1, 9).saturating_sub(1)).min(Duration::from_secs(300));
    if error.is_conflict() {
        tracing::debug!(object = key, %error, "planning again from a newer view");
        return Action::requeue(wait / 4);
    }
    tracing::warn!(object = key, %error, again_in = ?wait, "could not reconcile");
    Action::requeue(wait)
}

/// Names an object in logs.
pub(super) fn key<K: Resource<DynamicType = ()>>(object: &K) -> String {
    format!("{} {}/{}", K::kind(&()), object.namespace().unwrap_or_default(), object.name_any())
}
