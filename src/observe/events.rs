//! What Events say about a Job that does not begin: listed for that Job alone, never watched.

use k8s_openapi::api::core::v1::Event;
use kube::{Api, Client, api::ListParams};

use super::{Error, reading};
use crate::outcome::{JobSeen, Trouble};

/// Lists the warnings about a Job and its pods, oldest first.
pub(super) async fn troubles(client: &Client, namespace: &str, job: &JobSeen) -> Result<Vec<Trouble>, Error> {
    let api: Api<Event> = Api::namespaced(client.clone(), namespace);
    let list = async |fields: String| {
        let params = ListParams::default().fields(&fields).limit(100);
        let events = api.list(&params).await.map_err(reading(format!("events of Job {}", job.name)))?;
        Ok::<_, Error>(events.items)
    };
    let mut events = list(format!("type=Warning,involvedObject.uid={}", job.uid)).await?;
    if job.pods.is_empty() {
        // Its pods may have come and gone: their names begin with the Job's.
        let prefix = format!("{}-0-", job.name); // of the only index
        let all = list("type=Warning,involvedObject.kind=Pod".to_owned()).await?;
        events.extend(all.into_iter().filter(|event| event.involved_object.name.as_ref().is_some_and(|name| name.starts_with(&prefix))));
    }
    for pod in job.pods.iter().filter(|pod| !pod.begun) {
        events.extend(list(format!("type=Warning,involvedObject.uid={}", pod.uid)).await?);
    }
    let when = |event: &Event| {
        let last = event.series.as_ref().and_then(|s| s.last_observed_time.as_ref()).map(|t| t.0);
        last.or(event.last_timestamp.as_ref().map(|t| t.0)).or(event.event_time.as_ref().map(|t| t.0))
    };
    events.sort_by_key(when);
    Ok(events
        .into_iter()
        .map(|event| Trouble { reason: event.reason.unwrap_or_default(), message: event.message.unwrap_or_default() })
        .collect())
}
