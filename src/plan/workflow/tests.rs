//! Workflows as they come, are edited, are due, and run.

use serde_json::{Value, json};

use super::*;
use crate::{
    api::{AutomationTask, condition},
    build::Bundle,
    plan::RefusalKind,
};

/// A workflow on a server of its own.
struct World {
    workflow: Workflow,
    runs: Vec<AutomationRun>,
    backfills: Vec<Backfill>,
    revisions: Vec<String>,
    now: Timestamp,
}

impl World {
    fn new(spec: &Value) -> Self {
        let mut whole = json!({ "owner": { "team": "a" }, "steps": [{ "name": "a", "taskRef": { "name": "t" } }] });
        whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        let metadata = json!({ "name": "w", "namespace": "ns", "uid": "u", "generation": 1, "creationTimestamp": "2026-11-26T00:00:00Z" });
        let workflow = serde_json::from_value(json!({ "metadata": metadata, "spec": whole })).unwrap();
        Self { workflow, runs: Vec::new(), backfills: Vec::new(), revisions: Vec::new(), now: "2026-11-26T00:00:00Z".parse().unwrap() }
    }

    fn seen(&self) -> Seen {
        let task = json!({ "metadata": { "name": "t", "uid": "t" }, "spec": { "owner": { "team": "a" }, "image": "i" } });
        let task: AutomationTask = serde_json::from_value(task).unwrap();
        let bundle = Bundle::gather(&self.workflow, |name| (name == "t").then(|| Arc::new(task.clone())), |_| None);
        let definition =
            bundle.map_err(|unbundled| Rejected { is_missing: unbundled.is_missing, problems: unbundled.problems }).and_then(|bundle| {
                let name = bundle.name();
                Definition::of(bundle, name).map(Arc::new).map_err(|problems| Rejected { is_missing: false, problems })
            });
        Seen {
            workflow: Arc::new(self.workflow.clone()),
            definition,
            runs: self.runs.iter().cloned().map(Arc::new).collect(),
            revisions: Vec::new(),
            backfills: self.backfills.iter().cloned().map(Arc::new).collect(),
            runs_made: Vec::new(),
            revisions_made: Vec::new(),
            refusals: Vec::new(),
        }
    }

    /// Plans and carries out until nothing is left to do.
    fn settle(&mut self, at: &str) -> Plan<WorkflowStatus> {
        self.now = at.parse().unwrap();
        for _ in 0..10 {
            let mut seen = self.seen();
            let plan = plan(&seen, self.now);
            for change in &plan.changes {
                match change {
                    Change::CreateRevision { name, object } => {
                        assert_eq!(object["metadata"]["ownerReferences"][0]["uid"], "u");
                        self.revisions.push(name.clone());
                        seen.revisions_made.push(name.clone());
                    }
                    Change::CreateRun(run) => {
                        let mut run = (**run).clone();
                        run.metadata.uid.clone_from(&run.metadata.name);
                        seen.runs_made.extend(run.metadata.name.clone());
                        assert!(self.runs.iter().all(|other| other.metadata.name != run.metadata.name), "once");
                        self.runs.push(run);
                    }
                    Change::DeleteRun { name, .. } => self.runs.retain(|run| run.metadata.name.as_ref() != Some(name)),
                    Change::CancelRun { name, .. } => {
                        self.runs
                            .iter_mut()
                            .filter(|run| run.metadata.name.as_ref() == Some(name))
                            .for_each(|run| run.spec.cancel = Some(true));
                    }
                    other => panic!("{other:?}"),
                }
            }
            let after = super::plan(&seen, self.now);
            self.workflow.status = Some(after.status.clone());
            let quiet = super::plan(&self.seen(), self.now);
            if quiet.changes.is_empty() && quiet.status == after.status {
                return quiet;
            }
        }
        panic!("it does not settle");
    }

    fn end(&mut self, at: &str) {
        for run in self.runs.iter_mut().filter(|run| run.status.is_none()) {
            let status =
                json!({ "phase": "Finished", "outcome": "Succeeded", "result": "Good", "reason": "StepsEnded", "completionTime": at });
            run.status = Some(serde_json::from_value(status).unwrap());
        }
    }

    fn names(&self) -> Vec<&str> {
        self.runs.iter().filter_map(|run| run.metadata.name.as_deref()).collect()
    }

    fn not_run(&self) -> Vec<(Outcome, String, i64)> {
        let status = self.workflow.status.clone().unwrap();
        status.not_run.into_iter().map(|group| (group.outcome, group.reason, group.slots)).collect()
    }

    fn ready(&self) -> (String, String, String) {
        let status = self.workflow.status.clone().unwrap();
        let ready = condition::find(&status.conditions, condition::READY).unwrap().clone();
        (ready.status, ready.reason, ready.message)
    }
}

use crate::api::Outcome;

fn hourly(more: &Value) -> Value {
    let mut schedule = json!({ "cron": ["0 * * * *"], "timeZone": "Europe/Berlin" });
    schedule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({ "schedule": schedule, "parameters": [{ "name": "DAY", "fromSlot": "format(slot, '%F %H')" }] })
}

#[test]
fn a_slot_brings_a_run_of_what_is_kept_with_values_from_the_slot() {
    let mut world = World::new(&hourly(&json!({})));
    let plan = world.settle("2026-11-26T00:00:10Z");
    assert_eq!(world.names(), [] as [&str; 0]);
    assert_eq!(plan.wake, Some("2026-11-26T01:00:00Z".parse().unwrap()));
    assert_eq!(world.ready(), ("True".to_owned(), "Accepted".to_owned(), "armed: 0 * * * * (Europe/Berlin)".to_owned()));
    assert_eq!(plan.status.next.as_deref(), Some("2026-11-26 02:00 CET"));
    world.settle("2026-11-26T01:00:01Z");
    assert_eq!(world.names(), ["w-wf-29927580"]);
    let run = &world.runs[0];
    assert_eq!((run.spec.workflow_name(), run.spec.parameters[0].value.as_str()), (Some("w"), "2026-11-26 02"));
    assert_eq!(run.metadata.annotations.as_ref().unwrap()["nightshift.dev/revision"], world.revisions[0]);
    world.settle("2026-11-26T01:30:00Z");
    assert_eq!((world.names().len(), world.revisions.len()), (1, 1), "each once");
    world.end("2026-11-26T01:40:00Z");
    let plan = world.settle("2026-11-26T01:40:01Z");
    assert_eq!(plan.status.last_run.map(|last| last.outcome), Some(Outcome::Succeeded));
    assert_eq!((plan.status.active_count, plan.status.last_successful_time), (0, Some(k8s_time("2026-11-26T01:40:00Z"))));
}

fn k8s_time(text: &str) -> k8s_openapi::apimachinery::pkg::apis::meta::v1::Time {
    k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(text.parse().unwrap())
}

#[test]
fn slots_beside_a_run_that_goes_on_follow_the_policy() {
    for (policy, names, not_run) in [
        ("Forbid", &["w-wf-29927580"][..], vec![(Outcome::Skipped, "Forbid".to_owned(), 1)]),
        ("Allow", &["w-wf-29927580", "w-wf-29927640"], vec![]),
        ("Queue", &["w-wf-29927580", "w-wf-29927640"], vec![]),
        ("Replace", &["w-wf-29927580", "w-wf-29927640"], vec![]),
    ] {
        let mut world = World::new(&hourly(&json!({ "concurrencyPolicy": policy })));
        world.settle("2026-11-26T00:00:10Z");
        world.settle("2026-11-26T01:00:01Z");
        world.settle("2026-11-26T02:00:01Z");
        world.settle("2026-11-26T02:01:02Z");
        assert_eq!((world.names().as_slice(), world.not_run()), (names, not_run), "{policy}");
        let cancelled = world.runs.iter().map(|run| run.spec.cancel == Some(true)).collect::<Vec<_>>();
        assert_eq!(cancelled.first(), Some(&(policy == "Replace")), "{policy}");
    }
}

#[test]
fn what_passed_is_caught_up_as_asked_and_a_pause_is_told() {
    let mut world = World::new(&hourly(&json!({ "catchUp": { "policy": "Latest" } })));
    world.settle("2026-11-26T00:00:10Z");
    world.settle("2026-11-26T03:30:00Z");
    assert_eq!(world.names(), ["w-wf-29927700"], "the newest of three");
    assert_eq!(world.runs[0].spec.trigger, Some(crate::api::Trigger::CatchUp));
    assert_eq!(world.not_run(), [(Outcome::Missed, "Superseded".to_owned(), 2)]);
    world.end("2026-11-26T03:31:00Z");
    world.workflow.spec.schedule.as_mut().unwrap().suspend = Some(true);
    let plan = world.settle("2026-11-26T03:40:00Z");
    assert!(condition::is_true(&plan.status.conditions, condition::SUSPENDED) && plan.status.next.is_none());
    world.settle("2026-11-26T05:30:00Z");
    world.workflow.spec.schedule.as_mut().unwrap().suspend = None;
    world.settle("2026-11-26T05:40:00Z");
    assert_eq!(world.not_run().last(), Some(&(Outcome::Skipped, "Suspended".to_owned(), 2)));
    world.settle("2026-11-26T06:00:00Z");
    assert_eq!(world.names().len(), 2, "and it goes on");
    world.end("2026-11-26T06:01:00Z");
    world.workflow.spec.schedule.as_mut().unwrap().cron = vec!["30 * * * *".to_owned()];
    world.settle("2026-11-26T06:40:00Z");
    assert_eq!(world.names().len(), 2, "an edit runs no slot that lies before it");
}

#[test]
fn what_cannot_be_run_is_told_and_starts_no_slot() {
    let mut missing = World::new(&hourly(&json!({})));
    missing.settle("2026-11-26T00:00:10Z");
    missing.workflow.spec.steps[0].task_ref = Some(crate::api::TaskRef { name: "gone".to_owned() });
    missing.settle("2026-11-26T01:00:01Z");
    assert_eq!(missing.names(), [] as [&str; 0]);
    let (status, reason, message) = missing.ready();
    assert_eq!((status.as_str(), reason.as_str()), ("False", "ReferenceNotFound"));
    assert!(message.ends_with("create it, or correct the name. Until then no slot starts"), "{message}");
    assert!(!condition::is_true(&missing.workflow.status.as_ref().unwrap().conditions, condition::STALLED), "it may come");

    let mut wrong = World::new(&json!({ "schedule": { "cron": ["0 25 * * *"] } }));
    wrong.settle("2026-11-26T00:00:10Z");
    assert_eq!(wrong.ready().1, "InvalidSchedule");
    assert!(condition::is_true(&wrong.workflow.status.as_ref().unwrap().conditions, condition::STALLED));

    let mut refused = World::new(&json!({}));
    let mut seen = refused.seen();
    let Change::CreateRevision { name, .. } = &plan(&seen, refused.now).changes[0] else { panic!() };
    seen.refusals.push(Refusal { name: name.clone(), kind: RefusalKind::Refused, message: "too large".to_owned() });
    refused.workflow.status = Some(plan(&seen, refused.now).status);
    assert_eq!(refused.ready().1, "Refused");
    assert_eq!(refused.workflow.status.unwrap().revision, None);
}

#[test]
fn history_keeps_as_many_as_it_says_once_they_are_recorded() {
    let mut world = World::new(&json!({ "schedule": { "cron": ["* * * * *"] }, "history": { "succeeded": 2, "failed": 2 } }));
    world.settle("2026-11-26T00:00:10Z");
    for minute in 1..6 {
        world.settle(&format!("2026-11-26T00:{minute:02}:00Z"));
        world.end(&format!("2026-11-26T00:{minute:02}:20Z"));
        world.settle(&format!("2026-11-26T00:{minute:02}:30Z"));
    }
    assert_eq!(world.names(), ["w-wf-29927524", "w-wf-29927525"]);
}

fn backfill(status: &Value) -> Backfill {
    let spec = json!({ "workflowRef": { "name": "w" }, "slots": ["2026-11-25T00:00:00Z"] });
    serde_json::from_value(json!({ "metadata": { "name": "b", "uid": "b1" }, "spec": spec, "status": status })).unwrap()
}

#[test]
fn a_run_of_a_backfill_goes_once_that_has_counted_it() {
    let mut world = World::new(&json!({ "history": { "succeeded": 0 } }));
    let run = json!({
        "metadata": { "name": "b-bf-29926080", "uid": "r", "labels": { "nightshift.dev/backfill": "b" }, "annotations": { "nightshift.dev/backfill-uid": "b1" } },
        "spec": { "workflowRef": { "name": "w" }, "trigger": "Backfill", "scheduledTime": "2026-11-25T00:00:00Z" },
    });
    world.runs.push(serde_json::from_value(run).unwrap());
    world.end("2026-11-26T00:00:05Z");
    let active = json!([{ "slot": "2026-11-25T00:00:00Z", "run": "b-bf-29926080" }]);
    let decided = "2026-11-25T00:00:00Z";
    for (status, goes) in [
        (json!({ "phase": "Running" }), false),
        (json!({ "phase": "Running", "decidedThrough": decided, "active": active }), false),
        (json!({ "phase": "Running", "decidedThrough": decided }), true),
        (json!({ "phase": "Finished" }), true),
    ] {
        let mut world =
            World { backfills: vec![backfill(&status)], runs: world.runs.clone(), ..World::new(&json!({ "history": { "succeeded": 0 } })) };
        world.settle("2026-11-26T00:00:10Z");
        assert_eq!(world.names().is_empty(), goes, "{status}");
    }
}

#[test]
fn the_revision_that_a_backfill_began_with_is_kept_while_it_makes_runs_of_it() {
    let created = |n: i64| "2026-11-20T00:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_hours(n);
    let old = |n: i64| RevisionSeen { name: format!("w-{n}"), uid: format!("u{n}"), created: created(n), needed: false };
    for (phase, gone) in [("Running", &["w-1"][..]), ("Finished", &["w-1", "w-0"])] {
        let mut world = World::new(&json!({}));
        world.backfills = vec![backfill(&json!({ "phase": phase, "revision": "w-0" }))];
        let seen = Seen { revisions: (0..12).map(old).collect(), ..world.seen() };
        let plan = plan(&seen, world.now);
        let deleted = plan.changes.iter().filter_map(|change| match change {
            Change::DeleteRevision { name, .. } => Some(name.as_str()),
            _ => None,
        });
        assert_eq!(deleted.collect::<Vec<_>>(), gone, "{phase}");
    }
}
