//! What is known about a run of a workflow.

use std::sync::Arc;

use kube::{Api, Client, ResourceExt, api::ListParams};

use super::{Caches, Error, caches::key, reading, workflow::definition};
use crate::{
    api::{AutomationRun, Definition as Wanted, Trigger, label},
    ledger,
    plan::workflow_run::{Defined, Original, Seen},
};

/// Reads all that is known about a run of a workflow.
///
/// # Errors
/// Where the API server would not answer a live look.
pub async fn observe(client: &Client, caches: &Caches, run: Arc<AutomationRun>) -> Result<Seen, Error> {
    let namespace = run.namespace().unwrap_or_default();
    let name = run.spec.workflow_name().unwrap_or_default();
    let workflow = caches.workflows.get(&namespace, name);
    let mut seen = Seen {
        children: children(caches, &run),
        defined: workflow.as_deref().map_or(Defined::NoWorkflow, |workflow| Defined::AsItIs(definition(caches, workflow))),
        workflow,
        run: run.clone(),
        siblings: Vec::new(),
        originals: Vec::new(),
        refusals: Vec::new(),
    };
    if ledger::is_finished(&run) {
        return Ok(seen);
    }
    if run.spec.step_of().is_none() && seen.children.is_empty() {
        seen.siblings = caches.runs.group(&key("workflow", &namespace, name));
    }
    let unknown = run.status.as_ref().is_none_or(|status| status.idempotency_key.is_none());
    if run.spec.rerun_of.is_some() && unknown {
        // What goes on of the same slot may be newer than the cache is.
        let api: Api<AutomationRun> = Api::namespaced(client.clone(), &namespace);
        let params = ListParams::default().fields(&format!("spec.workflowRef.name={name}"));
        let listed = api.list(&params).await.map_err(reading(format!("runs of workflow {name}")))?;
        seen.siblings = listed.items.into_iter().map(Arc::new).collect();
    }
    if let Some(revision) = revision(&seen) {
        let found = caches.definitions.named(client, &namespace, &revision).await?;
        seen.defined = found.map_or(Defined::Gone(revision), Defined::Frozen);
    }
    if run.spec.from_failed == Some(true) {
        seen.originals = originals(client, caches, &run).await?;
    }
    Ok(seen)
}

/// How many runs are looked through that were each run again from their failed steps.
const CHAIN: usize = 10;

/// The run that it repeats, the one that this one repeated in the same way, and so on.
async fn originals(client: &Client, caches: &Caches, run: &AutomationRun) -> Result<Vec<Original>, Error> {
    let namespace = run.namespace().unwrap_or_default();
    let (mut originals, mut next) = (Vec::new(), run.spec.rerun_of.clone());
    while let Some(name) = next.take().filter(|_| originals.len() < CHAIN) {
        let Some(original) = original(client, caches, &namespace, &name).await? else { break };
        if original.spec.from_failed == Some(true) {
            next.clone_from(&original.spec.rerun_of);
        }
        let revision = original.status.as_ref().and_then(|status| status.revision.clone());
        let definition = match revision {
            Some(revision) => caches.definitions.named(client, &namespace, &revision).await?,
            None => None,
        };
        originals.push(Original { children: children(caches, &original), run: original, definition });
    }
    Ok(originals)
}

/// A run that is finished, whole: the cache holds no more of it than others need. One that goes on is waited for.
async fn original(client: &Client, caches: &Caches, namespace: &str, name: &str) -> Result<Option<Arc<AutomationRun>>, Error> {
    let Some(uid) = caches.runs.get(namespace, name).and_then(|run| run.uid()) else { return Ok(None) };
    if let Some(held) = caches.originals.get(&uid) {
        return Ok(Some(held));
    }
    let api: Api<AutomationRun> = Api::namespaced(client.clone(), namespace);
    let found = api.get_opt(name).await.map_err(reading(format!("run {name}")))?.map(Arc::new);
    if let Some(found) = found.as_ref().filter(|run| ledger::is_finished(run)) {
        caches.originals.hold(found.uid().unwrap_or_default(), found);
    }
    Ok(found)
}

/// The runs of its steps. A name proves nothing: they are those that it owns.
fn children(caches: &Caches, run: &AutomationRun) -> Vec<Arc<AutomationRun>> {
    let (namespace, uid) = (run.namespace().unwrap_or_default(), run.uid());
    let mut children = caches.runs.group(&key("parent", &namespace, &run.name_any()));
    children.retain(|child| child.owner_references().iter().any(|owner| Some(&owner.uid) == uid.as_ref()));
    children
}

/// Name of the revision that it is to go on with: the one on record, or that its steps have begun with, or that it was
/// created for, or the one of the run that it repeats.
fn revision(seen: &Seen) -> Option<String> {
    let run = &seen.run;
    let recorded = run.status.as_ref().and_then(|status| status.revision.clone());
    let annotated = |run: &AutomationRun| run.annotations().get(label::REVISION).cloned();
    let begun = || seen.children.iter().find_map(|child| annotated(child));
    // What people write on a run of theirs says nothing.
    let ours = matches!(run.spec.triggered_by(), Trigger::Step | Trigger::Schedule | Trigger::CatchUp | Trigger::Backfill);
    let given = || annotated(run).filter(|_| ours);
    let original = || {
        let repeated = run.spec.rerun_of.as_ref().filter(|_| run.spec.definition == Some(Wanted::Original))?;
        seen.siblings.iter().find(|other| other.metadata.name.as_ref() == Some(repeated))?.status.as_ref()?.revision.clone()
    };
    recorded.or_else(begun).or_else(given).or_else(original)
}
