//! What is known about a workflow.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::{Api, Client, ResourceExt, api::ListParams};

use super::{Caches, Error, caches::key, reading};
use crate::{
    api::{AutomationRun, Workflow, label},
    build::{Bundle, Unbundled},
    graph::Definition,
    plan::{
        automation_task::RevisionSeen,
        workflow::{Rejected, Seen},
    },
};

/// Reads all that is known about a workflow.
///
/// # Errors
/// Where the API server would not answer a live look.
pub async fn observe(client: &Client, caches: &Caches, workflow: Arc<Workflow>) -> Result<Seen, Error> {
    let of_workflow = key("workflow", &workflow.namespace().unwrap_or_default(), &workflow.name_any());
    let definition = definition(caches, &workflow);
    let known = workflow.status.as_ref().and_then(|status| status.revision.clone());
    let is_new = definition.as_ref().is_ok_and(|definition| known.as_ref() != Some(&definition.name));
    let revisions = if is_new { revisions(client, &workflow).await? } else { Vec::new() };
    Ok(Seen {
        runs: caches.runs.group(&of_workflow),
        backfills: caches.backfills.group(&of_workflow),
        workflow,
        definition,
        revisions,
        runs_made: Vec::new(),
        revisions_made: Vec::new(),
        refusals: Vec::new(),
    })
}

/// What a run of the workflow would run, as all that it refers to is now.
pub(super) fn definition(caches: &Caches, workflow: &Workflow) -> Result<Arc<Definition>, Rejected> {
    let namespace = workflow.namespace().unwrap_or_default();
    let bundle = Bundle::gather(workflow, |name| caches.tasks.get(&namespace, name), |name| caches.workflows.get(&namespace, name));
    let bundle = bundle.map_err(|Unbundled { is_missing, problems }| Rejected { is_missing, problems })?;
    caches.definitions.of(&namespace, bundle).map_err(|problems| Rejected { is_missing: false, problems })
}

/// The definitions of the workflow that are kept, where one has to be made: asked for then, and not watched.
async fn revisions(client: &Client, workflow: &Workflow) -> Result<Vec<RevisionSeen>, Error> {
    let (namespace, name) = (workflow.namespace().unwrap_or_default(), workflow.name_any());
    let revisions: Api<ControllerRevision> = Api::namespaced(client.clone(), &namespace);
    let of_workflow = ListParams::default().labels(&format!("{},{}={name}", label::SELECTOR, label::WORKFLOW));
    let listed = revisions.list_metadata(&of_workflow).await.map_err(reading("revisions"))?.items;
    if listed.is_empty() {
        return Ok(Vec::new());
    }
    let runs: Api<AutomationRun> = Api::namespaced(client.clone(), &namespace);
    let runs = runs.list(&ListParams::default().fields(&format!("spec.workflowRef.name={name}"))).await.map_err(reading("runs"))?.items;
    // Runs of steps and of slots bear what they are to run; one that has only begun may not have told yet.
    let all: Api<AutomationRun> = Api::namespaced(client.clone(), &namespace);
    let marked = all.list_metadata(&ListParams::default()).await.map_err(reading("runs"))?.items;
    let mut seen: Vec<RevisionSeen> = listed.iter().map(|revision| RevisionSeen::read(revision, runs.iter())).collect();
    for revision in &mut seen {
        revision.needed |= marked.iter().any(|run| run.annotations().get(label::REVISION) == Some(&revision.name));
    }
    Ok(seen)
}
