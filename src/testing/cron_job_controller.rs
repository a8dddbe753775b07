//! Kubernetes' CronJob controller: which slot is due, and whether its Job may start.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use k8s_openapi::{
    api::batch::v1::{CronJob, Job},
    apimachinery::pkg::apis::meta::v1::Time,
};
use kube::ResourceExt;
use serde_json::{Value, json};

use super::{cluster::Cluster, job_controller};
use crate::{
    api::label,
    outcome::{JobEnd, JobSeen},
    schedule::CronLine,
};

/// The controller. It remembers the slots that it has worked out, since that is slow work and asked for all the time.
#[derive(Clone, Debug, Default)]
pub struct CronJobController {
    /// The slot that comes first after a time, by line and zone.
    slots: BTreeMap<(String, String, Timestamp), Timestamp>,
}

impl CronJobController {
    /// Starts what is due. Of several missed slots only the newest counts.
    pub fn sync(&mut self, cluster: &mut Cluster) {
        if cluster.now < cluster.cron_jobs_down_until {
            return;
        }
        for cron_job in cluster.cron_jobs.all() {
            forget_old_jobs(cluster, &cron_job);
            if let Some(slot) = self.due(&cron_job, cluster.now) {
                start(cluster, &cron_job, slot);
            }
        }
    }

    /// When a slot is due next.
    pub fn next(&mut self, cluster: &Cluster) -> Option<Timestamp> {
        if cluster.now < cluster.cron_jobs_down_until {
            return Some(cluster.cron_jobs_down_until);
        }
        let armed = cluster.cron_jobs.iter().filter(|cron_job| !suspended(cron_job));
        armed.filter_map(|cron_job| self.slot_after(cron_job, cluster.now)).min()
    }

    fn slot_after(&mut self, cron_job: &CronJob, after: Timestamp) -> Option<Timestamp> {
        let spec = cron_job.spec.as_ref()?;
        let (line, zone) = (spec.schedule.clone(), spec.time_zone.clone()?);
        let known = self.slots.range(..=(line.clone(), zone.clone(), after)).next_back();
        if let Some((_, slot)) = known.filter(|((l, z, _), slot)| *l == line && *z == zone && **slot > after) {
            return Some(*slot);
        }
        let slot = CronLine::parse(&line, "").ok()?.next(after, &TimeZone::get(&zone).ok()?)?;
        self.slots.insert((line, zone, after), slot);
        Some(slot)
    }

    fn due(&mut self, cron_job: &CronJob, now: Timestamp) -> Option<Timestamp> {
        if suspended(cron_job) {
            return None;
        }
        let last = cron_job.status.as_ref().and_then(|status| status.last_schedule_time.as_ref());
        let mut earliest = last.or(cron_job.metadata.creation_timestamp.as_ref())?.0;
        if let Some(deadline) = cron_job.spec.as_ref()?.starting_deadline_seconds {
            earliest = earliest.max(now - SignedDuration::from_secs(deadline));
        }
        let mut newest = None;
        while let Some(slot) = self.slot_after(cron_job, newest.unwrap_or(earliest)).filter(|slot| *slot <= now) {
            newest = Some(slot);
        }
        newest
    }
}

fn suspended(cron_job: &CronJob) -> bool {
    cron_job.spec.as_ref().is_some_and(|spec| spec.suspend == Some(true))
}

/// Of the Jobs that have ended, and of those that have failed, only the newest are kept.
fn forget_old_jobs(cluster: &mut Cluster, cron_job: &CronJob) {
    let uid = cron_job.uid().unwrap_or_default();
    let spec = cron_job.spec.clone().unwrap_or_default();
    for (complete, limit) in [(true, spec.successful_jobs_history_limit), (false, spec.failed_jobs_history_limit)] {
        let no_pods: [std::sync::Arc<k8s_openapi::api::core::v1::Pod>; 0] = [];
        let of_kind =
            |job: &JobSeen| job.owners.contains(&uid) && job.end.as_ref().is_some_and(|end| (*end == JobEnd::Complete) == complete);
        let mut jobs: Vec<JobSeen> = cluster.jobs.iter().map(|job| JobSeen::read(job, &no_pods)).filter(of_kind).collect();
        jobs.sort_by_key(|job| job.created);
        let over = jobs.len().saturating_sub(limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX));
        jobs[..over].iter().for_each(|job| cluster.jobs.remove(cluster.now, &job.name));
    }
}

fn start(cluster: &mut Cluster, cron_job: &CronJob, slot: Timestamp) {
    let uid = cron_job.uid().unwrap_or_default();
    // A Job made by hand from the CronJob is not among those that it counts as active.
    let is_active = |job: &Job| {
        job.owner_references().iter().any(|owner| owner.uid == uid)
            && job.annotations().contains_key(label::CRONJOB_SLOT)
            && !job_controller::is_finished(job)
    };
    let active: Vec<String> = cluster.jobs.iter().filter(|job| is_active(job)).map(|job| job.name_any()).collect();
    let policy = cron_job.spec.as_ref().and_then(|spec| spec.concurrency_policy.as_deref()).unwrap_or("Allow");
    if policy == "Forbid" && !active.is_empty() {
        return;
    }
    if policy == "Replace" {
        for name in active {
            cluster.jobs.remove(cluster.now, &name);
        }
    }
    let mut job = job_of(cron_job, &format!("{}-{}", cron_job.name_any(), slot.as_second() / 60));
    job["metadata"]["annotations"][label::CRONJOB_SLOT] = json!(slot.to_string());
    match cluster.create_job(&job) {
        Err(denied) if denied.code == 403 => cluster.warn(cron_job, "FailedCreate", &denied.message),
        _ => cluster.cron_jobs.edit(cluster.now, &cron_job.name_any(), |cron_job| {
            cron_job.status.get_or_insert_default().last_schedule_time = Some(Time(slot));
        }),
    }
}

/// What `kubectl create job --from=cronjob/…` sends.
pub fn job_by_hand(cron_job: &CronJob, name: &str) -> Value {
    let mut job = job_of(cron_job, name);
    job["metadata"]["annotations"]["cronjob.kubernetes.io/instantiate"] = json!("manual");
    job
}

fn job_of(cron_job: &CronJob, name: &str) -> Value {
    let template = cron_job.spec.as_ref().map(|spec| &spec.job_template);
    let meta = template.and_then(|template| template.metadata.clone()).unwrap_or_default();
    json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name,
            "labels": meta.labels,
            "annotations": meta.annotations.unwrap_or_default(),
            "ownerReferences": [{
                "apiVersion": "batch/v1", "kind": "CronJob", "controller": true,
                "name": cron_job.name_any(), "uid": cron_job.uid(),
            }],
        },
        "spec": template.and_then(|template| template.spec.clone()),
    })
}
