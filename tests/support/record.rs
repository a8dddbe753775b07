//! What became of each slot of a task that is due every minute.

use std::{collections::BTreeMap, time::Duration};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt;
use nightshift::api::{AutomationRun, AutomationTask, label};

use super::{Scene, eventually};

pub const MINUTE: SignedDuration = SignedDuration::from_secs(60);

/// What a slot that was run once is told as.
pub const RAN: &str = "ran";

/// What became of the slots from `first` on, one for each minute: `ran`, `Skipped(Suspended)`, or that nothing is told yet.
/// A slot with two Jobs, of whichever clock, with a Job and without a run, or with a run and a reason why there is none, is
/// told in full.
pub async fn told(scene: &Scene, task: &str, first: Timestamp, count: usize) -> Vec<String> {
    let of_task: AutomationTask = scene.get(task).await;
    let mut runs = scene.runs().await;
    runs.retain(|run| run.spec.task_name() == task && run.spec.triggered_by().is_scheduled());
    let mut jobs = scene.ours::<Job>().await;
    jobs.retain(|job| job.labels().get(label::TASK).is_some_and(|of| of == task));
    let mut found: BTreeMap<Timestamp, (usize, usize)> = BTreeMap::new();
    for run in &runs {
        found.entry(slot_of(run)).or_default().0 += 1;
    }
    for job in &jobs {
        if let Some(slot) = slot_of_job(job, &runs) {
            found.entry(slot).or_default().1 += 1;
        }
    }
    let groups = of_task.status.map(|status| status.not_run).unwrap_or_default();
    let minutes = (0..).take(count).map(|n| first + MINUTE * n);
    minutes
        .map(|slot| {
            let (runs, jobs) = found.get(&slot).copied().unwrap_or_default();
            // A group may reach over slots that have run: it tells how many have not.
            let over = |group: &&nightshift::api::NotRun| group.first_slot.0 <= slot && slot <= group.last_slot.0;
            let is_whole =
                |group: &nightshift::api::NotRun| group.slots * 60 == group.last_slot.0.as_second() - group.first_slot.0.as_second() + 60;
            let reasons: Vec<String> = groups
                .iter()
                .filter(over)
                .filter(|group| runs == 0 || is_whole(group))
                .map(|group| format!("{:?}({})", group.outcome, group.reason))
                .collect();
            match (runs, jobs, reasons.as_slice()) {
                (1, 1, []) => RAN.to_owned(),
                (0, 0, [reason]) => reason.clone(),
                (0, 0, []) => "nothing".to_owned(),
                (runs, jobs, reasons) => format!("{runs} runs, {jobs} Jobs, {reasons:?}"),
            }
        })
        .collect()
}

/// The slot of a scheduled run.
pub fn slot_of(run: &AutomationRun) -> Timestamp {
    run.spec.scheduled_time.as_ref().expect("a scheduled run has a slot").0
}

/// The slot that a Job was made for, by either clock.
fn slot_of_job(job: &Job, runs: &[AutomationRun]) -> Option<Timestamp> {
    if let Some(slot) = job.annotations().get(label::CRONJOB_SLOT) {
        return Some(slot.parse().expect("a time"));
    }
    let owned = |run: &&AutomationRun| job.owner_references().iter().any(|owner| Some(&owner.uid) == run.metadata.uid.as_ref());
    runs.iter().find(owned).map(slot_of)
}

/// Awaits that this became of the slots from `first` on.
#[track_caller]
pub fn until_told<'a>(scene: &'a Scene, task: &'a str, first: Timestamp, expected: &[&str], seconds: u64) -> impl Future<Output = ()> + 'a {
    let expected: Vec<String> = expected.iter().map(|&text| text.to_owned()).collect();
    let what = format!("the slots of {task} from {first} on are {expected:?}");
    eventually(&what, Duration::from_secs(seconds), async move || {
        let told = told(scene, task, first, expected.len()).await;
        if told == expected { Ok(()) } else { Err(format!("{told:?}")) }
    })
}
