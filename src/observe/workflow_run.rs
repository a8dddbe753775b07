//! What is known about a run of a workflow.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::{Api, Client, ResourceExt, api::ListParams};
use serde_json::json;

use super::{Caches, Error, caches::key, reading, workflow::definition};
use crate::{
    api::{AutomationRun, Definition as Wanted, Trigger, label},
    ledger,
    plan::workflow_run::{Defined, Original, Seen, approvals},
};

/// Reads all that is known about a run of a workflow.
///
/// # Errors
/// Where the API server would not answer a live look.
pub async fn observe(client: &Client, caches: &Caches, run: Arc<AutomationRun>, now: Timestamp) -> Result<Seen, Error> {
    let namespace = run.namespace().unwrap_or_default();
    let name = run.spec.workflow_name().unwrap_or_default();
    let workflow = caches.workflows.get(&namespace, name);
    let mut seen = Seen {
        children: children(caches, &run),
        defined: Defined::NoWorkflow,
        workflow,
        run: run.clone(),
        siblings: Vec::new(),
        answered: BTreeMap::new(),
        originals: Vec::new(),
        refusals: Vec::new(),
    };
    if ledger::is_finished(&run) {
        return Ok(seen);
    }
    let runs: Api<AutomationRun> = Api::namespaced(client.clone(), &namespace);
    let list = async |field: &str, value: &str| {
        let params = ListParams::default().fields(&format!("{field}={value}"));
        let listed = runs.list(&params).await.map_err(reading(format!("runs with {field} {value}")))?;
        Ok(listed.items.into_iter().map(Arc::new).collect::<Vec<_>>())
    };
    if run.spec.cancel == Some(true) && seen.children.is_empty() {
        // That nothing has begun takes the server's word.
        seen.children = list("spec.step.workflowRun", &run.name_any()).await?;
        seen.children.retain(|child| is_child(child, &run));
    }
    let status = run.status.as_ref();
    let begun = !seen.children.is_empty() || status.is_some_and(|status| status.start_time.is_some());
    let unknown = status.is_none_or(|status| status.idempotency_key.is_none());
    if run.spec.rerun_of.is_some() && (unknown || !begun) {
        // What goes on of the same slot may be newer than the cache is, and a step of another run.
        seen.siblings = list("spec.workflowRef.name", name).await?;
    } else if run.spec.step_of().is_none() && !begun {
        seen.siblings = caches.runs.group(&key("workflow", &namespace, name));
    }
    seen.defined = match (revision(&seen), seen.workflow.as_deref()) {
        (Some(revision), _) => {
            let found = caches.definitions.named(client, &namespace, &revision).await?;
            found.map_or(Defined::Gone(revision), Defined::Frozen)
        }
        (None, Some(workflow)) => Defined::AsItIs(definition(caches, workflow)),
        (None, None) => Defined::NoWorkflow,
    };
    let late = approvals::late(&run, now);
    if !late.is_empty() {
        let told = runs.get_metadata_opt(&run.name_any()).await.map_err(reading(format!("run {}", run.name_any())))?;
        let given = |step: &str| Some((step.to_owned(), given(told.as_ref()?.managed_fields(), step)?));
        seen.answered = late.into_iter().filter_map(given).collect();
    }
    if run.spec.from_failed == Some(true) {
        seen.originals = originals(client, caches, &run).await?;
    }
    Ok(seen)
}

/// When the answer to a step was written, as the API server noted it; where its writer has written the run again since, then.
fn given(managed: &[ManagedFieldsEntry], step: &str) -> Option<Timestamp> {
    let key = format!("k:{}", json!({ "step": step }));
    let wrote = |entry: &&ManagedFieldsEntry| {
        let fields = entry.fields_v1.as_ref().map(|fields| &fields.0);
        fields.is_some_and(|fields| fields["f:spec"]["f:approvals"].get(&key).is_some())
    };
    managed.iter().filter(wrote).filter_map(|entry| entry.time.as_ref()).map(|time| time.0).max()
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
    let mut children = caches.runs.group(&key("parent", &run.namespace().unwrap_or_default(), &run.name_any()));
    children.retain(|child| is_child(child, run));
    children
}

fn is_child(child: &AutomationRun, run: &AutomationRun) -> bool {
    let uid = run.uid();
    child.spec.step_of().is_some() && child.owner_references().iter().any(|owner| Some(&owner.uid) == uid.as_ref())
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
        let of = seen.siblings.iter().find(|other| other.metadata.name.as_ref() == Some(repeated));
        let ran = of.and_then(|of| of.status.as_ref()?.revision.clone());
        Some(ran.unwrap_or_else(|| format!("of run {repeated}")))
    };
    recorded.or_else(begun).or_else(given).or_else(original)
}
