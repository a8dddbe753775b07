//! Writes the status where it differs, then publishes what is worth telling.

use std::fmt::Debug;

use kube::{
    Api, Resource, ResourceExt,
    api::{Patch, PatchParams},
    core::NamespaceResourceScope,
    runtime::events::{Event, EventType},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;

use super::{Context, Error, apply::in_time};
use crate::{api::label, plan::Notice};

/// What there is to report of an object.
pub(super) struct Report<'a, S> {
    /// The status as it was seen.
    pub(super) before: Option<&'a S>,
    /// The status as planned.
    pub(super) after: &'a S,
    /// What is worth telling.
    pub(super) notices: &'a [Notice],
    /// The object's version after this pass's own write to it, which was made from the same view.
    pub(super) version: Option<u64>,
}

/// Writes the status where it differs, and publishes the notices once it is written: a crash in between loses an Event,
/// never tells one twice. Returns the object as the write left it.
///
/// The patch carries the resource version that the plan was made from, so a plan from an old view cannot move a newer
/// status backwards.
pub(super) async fn report<K, S>(context: &Context, object: &K, report: Report<'_, S>) -> Result<Option<K>, Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    S: Serialize + PartialEq + Default,
{
    let Report { before, after, notices, version } = report;
    if before.map_or_else(|| *after == S::default(), |before| before == after) {
        return Ok(None);
    }
    let namespace = object.namespace().unwrap_or_default();
    let name = object.name_any();
    let version = version.map(|version| version.to_string()).or_else(|| object.resource_version());
    let patch = json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        "metadata": { "name": name, "resourceVersion": version },
        "status": after,
    });
    let api: Api<K> = Api::namespaced(context.client.clone(), &namespace);
    let params = PatchParams::apply(label::NIGHTSHIFT).force();
    context.metrics.wrote("patch", &format!("{}/status", K::plural(&())));
    let patch = Patch::Apply(&patch);
    let write = api.patch_status(&name, &params, &patch);
    let left = match in_time("write the status", write).await? {
        Ok(left) => left,
        // It was deleted meanwhile: nobody is left to report to.
        Err(kube::Error::Api(status)) if status.code == 404 => return Ok(None),
        Err(error) => return Err(Error::Report(Box::new(error))),
    };
    for notice in notices {
        let event = Event {
            type_: if notice.warning { EventType::Warning } else { EventType::Normal },
            reason: notice.reason.clone(),
            note: Some(notice.message.clone()),
            action: notice.action.to_owned(),
            secondary: None,
        };
        tracing::info!(kind = %K::kind(&()), namespace, name, reason = notice.reason, "{}", notice.message);
        context.metrics.wrote("create", "events");
        match in_time("publish an event", context.recorder.publish(&event, &object.object_ref(&()))).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(namespace, name, %error, "an event is lost"),
            Err(error) => tracing::warn!(namespace, name, %error, "an event is lost"),
        }
    }
    Ok(Some(left))
}
