//! Writes the status where it differs, then publishes what is worth telling.

use std::fmt::Debug;

use jiff::Timestamp;
use kube::{Resource, ResourceExt, core::NamespaceResourceScope};
use serde::Serialize;
use serde_json::json;

use super::{
    Context, Error,
    apply::in_time,
    error::key,
    event,
    expectations::{Kind, Wrote},
    left::{Kept, Left},
};
use crate::plan::Plan;

/// What there is to report of an object.
pub(super) struct Report<'a, S> {
    /// What it is.
    pub(super) kind: Kind,
    /// The status as it was seen.
    pub(super) before: Option<&'a S>,
    /// What was planned from it.
    pub(super) plan: &'a Plan<S>,
    /// The object's version after this pass's own write to it, which was made from the same view.
    pub(super) version: Option<u64>,
}

/// What became of a report.
#[derive(Default)]
struct Reported {
    /// What the write left.
    left: Option<Left>,
    /// When to report instead, where it is not its turn.
    again: Option<Timestamp>,
}

/// Ends a pass: reports, waits for the caches to show what was written (`wrote` before, and the status), and counts. Returns
/// when to report instead, where it is not its turn.
pub(super) async fn report<K, S>(
    context: &Context,
    object: &K,
    report: Report<'_, S>,
    mut wrote: Vec<Wrote>,
) -> Result<Option<Timestamp>, Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Debug,
    S: Serialize + PartialEq + Default,
{
    let (key, kind) = (key(object), report.kind);
    let reported = write(context, object, report).await;
    if let Ok(Reported { left: Some(left), .. }) = &reported {
        wrote.extend(Wrote::of(kind, left));
    }
    context.expectations.expect(&key, wrote, context.clock.now());
    let again = reported?.again;
    context.succeeded(&key);
    context.metrics.reconciled(&K::kind(&()));
    Ok(again)
}

/// Writes the status where it differs and it is its turn, and publishes the notices once it is written: a crash in between
/// loses an Event, never tells one twice.
///
/// The write carries the resource version that the plan was made from, so a plan from an old view cannot move a newer
/// status backwards. It replaces the status as a whole, which costs the API server half of what a patch does; the rest of
/// the object is the server's own.
async fn write<K, S>(context: &Context, object: &K, report: Report<'_, S>) -> Result<Reported, Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Debug,
    S: Serialize + PartialEq + Default,
{
    let Report { before, plan, version, .. } = report;
    let Plan { status: after, report_after, notices, .. } = plan;
    if before.map_or_else(|| *after == S::default(), |before| before == after) {
        return Ok(Reported::default());
    }
    let (key, now) = (key(object), context.clock.now());
    if plan.may_wait(now) {
        return Ok(Reported { left: None, again: *report_after });
    }
    if report_after.is_none() {
        context.turns.give_up(&key);
    } else {
        let turn = context.turns.of(&key, now);
        if now < turn {
            return Ok(Reported { left: None, again: Some(turn) });
        }
    }
    let namespace = object.namespace().unwrap_or_default();
    let name = object.name_any();
    let version = version.map(|version| version.to_string()).or_else(|| object.resource_version());
    let whole = json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        "metadata": { "name": name, "namespace": namespace, "uid": object.uid(), "resourceVersion": version },
        "status": after,
    });
    context.writes("update", &format!("{}/status", K::plural(&())))?;
    let objects = Kept::of::<K>(&context.client, &namespace);
    let left = match in_time("write the status", objects.replace_status(&name, &whole)).await? {
        Ok(left) => left,
        // It was deleted meanwhile: nobody is left to report to.
        Err(kube::Error::Api(status)) if status.code == 404 => return Ok(Reported::default()),
        Err(error) => return Err(Error::Report(Box::new(error))),
    };
    for notice in notices {
        event::publish(context, object, notice).await;
    }
    Ok(Reported { left: Some(left), again: None })
}
