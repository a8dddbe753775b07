//! Tells people what happened, as Events on the object.

use std::{
    fmt::Debug,
    sync::{Mutex, PoisonError},
};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::events::v1::Event;
use kube::{Resource, ResourceExt, core::NamespaceResourceScope};
use serde_json::json;

use super::{Context, Error, apply::in_time, left::Kept};
use crate::{api::label, plan::Notice};

/// How many Events that tell nothing out of the ordinary may come at once, and from one to the next in the long run.
const AT_ONCE: i32 = 50;
const EVERY: SignedDuration = SignedDuration::from_millis(200);

/// What may be told of the ordinary: a bucket that leaks.
#[derive(Default)]
pub(super) struct Allowance(Mutex<Timestamp>);

impl Allowance {
    fn allow(&self, now: Timestamp) -> bool {
        let mut spent_until = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let from = (*spent_until).max(now);
        let after = from.checked_add(EVERY).unwrap_or(from);
        let allowed = after.duration_since(now) <= EVERY * AT_ONCE;
        if allowed {
            *spent_until = after;
        }
        allowed
    }
}

/// Publishes a notice. An Event that cannot be written is lost: what it tells is on the status too. One that tells nothing
/// out of the ordinary is left out where too many come at once, as client-go does.
///
/// kube's recorder would do, but that it walks through all Events of the last minutes for each one, to find the same one
/// again: ours come from changes of a status, so none is like the one before.
pub(super) async fn publish<K>(context: &Context, object: &K, notice: &Notice)
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Debug,
{
    let namespace = object.namespace().unwrap_or_default();
    let name = object.name_any();
    tracing::info!(kind = %K::kind(&()), namespace, name, reason = notice.reason, "{}", notice.message);
    let now = context.clock.now();
    if !notice.warning && !context.ordinary_events.allow(now) {
        return;
    }
    if let Err(error) = send(context, &namespace, &event(object, notice, now)).await {
        tracing::warn!(namespace, name, %error, "an event is lost");
    }
}

async fn send(context: &Context, namespace: &str, event: &serde_json::Value) -> Result<(), Error> {
    context.writes("create", "events")?;
    let events = Kept::of::<Event>(&context.client, namespace);
    let sent = in_time("publish an event", events.create(event)).await?;
    sent.map(drop).map_err(|source| Error::Apply { what: "publish an event".to_owned(), source: Box::new(source) })
}

fn event<K>(object: &K, notice: &Notice, now: Timestamp) -> serde_json::Value
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    json!({
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        // As client-go names them: of the object, and unique.
        "metadata": { "name": format!("{name}.{:x}", now.as_nanosecond()), "namespace": namespace },
        "eventTime": k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime(now),
        "reportingController": label::NIGHTSHIFT,
        "reportingInstance": label::NIGHTSHIFT,
        "type": if notice.warning { "Warning" } else { "Normal" },
        "reason": notice.reason,
        "action": notice.action,
        "note": notice.message,
        "regarding": { "apiVersion": K::api_version(&()), "kind": K::kind(&()), "namespace": namespace, "name": name, "uid": object.uid() },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fifty_come_through_at_once_and_then_five_a_second() {
        let allowance = Allowance::default();
        let at = |milliseconds: i64| Timestamp::from_millisecond(1_000_000 + milliseconds).unwrap();
        let allowed = |from: i64, to: i64| (from..to).filter(|n| allowance.allow(at(*n))).count();
        assert_eq!(allowed(0, 100), 50);
        assert_eq!(allowed(100, 1100), 5);
        assert_eq!(allowed(60_000, 60_060), 50, "a pause fills it up, and no more than that");
    }
}
