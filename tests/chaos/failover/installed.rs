//! The installed operators, on their way through what happens to pods: deleted, killed, frozen.
//!
//! Their processes are found on this machine, which is the local cluster's only node.

use std::{fs, process::Command, time::Duration};

use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};
use kube::{Api, Client, ResourceExt, api::DeleteParams};
use tokio::time::Instant;

use crate::support::{Scene, client, eventually, find_leader, install_crds, kubectl_ok, leader, operator_alone, with_temp_namespace};

pub const SYSTEM: &str = "nightshift-system";

/// The operator's process in a pod: the chart puts the pod's UID into its environment.
pub fn process_of(pod: &Pod) -> u32 {
    find_process(pod).unwrap_or_else(|found| panic!("{found}"))
}

/// The same, where there may be none at the moment: a container that was killed is started again after a while.
pub fn find_process(pod: &Pod) -> Result<u32, String> {
    let mark = format!("POD_UID={}", pod.uid().expect("a UID"));
    let of_pod = |pid: &u32| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
    };
    let all = fs::read_dir("/proc").expect("a /proc").filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let found: Vec<u32> = all.filter(of_pod).collect();
    match found.as_slice() {
        [pid] => Ok(*pid),
        _ => Err(format!("the processes of pod {}: {found:?}", pod.name_any())),
    }
}

pub fn signal(name: &str, pid: u32) {
    let sent = Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).status();
    assert!(sent.is_ok_and(|status| status.success()), "kill -{name} {pid}");
}

/// Awaits that another pod than this one leads.
async fn another_leads(client: &Client, than: &Pod, limit: Duration) -> Pod {
    eventually("another leads", limit, async || {
        let now = find_leader(client).await?;
        if now.uid() == than.uid() { Err(format!("{} still does", now.name_any())) } else { Ok(now) }
    })
    .await
}

/// How often the pod's container was started again, and how it ended last.
async fn restarts(client: &Client, pod: &Pod) -> (i32, Option<i32>) {
    let pod = Api::<Pod>::namespaced(client.clone(), SYSTEM).get(&pod.name_any()).await.expect("the pod");
    let statuses = pod.status.and_then(|status| status.container_statuses).unwrap_or_default();
    let last = statuses.iter().find_map(|status| Some(status.last_state.as_ref()?.terminated.as_ref()?.exit_code));
    (statuses.iter().map(|status| status.restart_count).sum(), last)
}

/// Creates a run, and returns how long after `since` it had its Job.
async fn job_after(scene: &Scene, run: &str, since: Instant) -> Duration {
    scene.run(run, "world").await;
    scene.until::<Job, _>(&format!("{run}-1"), "to exist", 60, |_| true).await;
    since.elapsed()
}

pub async fn hand_over() {
    let client = client().await;
    install_crds(&client).await;
    let alone = operator_alone(&client).await;
    with_temp_namespace(async |client: Client, namespace| {
        let scene = Scene::new(&client, &namespace);
        scene.armed_task("world", "{command: ['true']}").await;

        let deleted = leader(&client).await;
        Api::<Pod>::namespaced(client.clone(), SYSTEM).delete(&deleted.name_any(), &DeleteParams::default()).await.expect("deleting a pod");
        let since = Instant::now();
        // The kubelet's way to the process is in it: how soon a process hands over by itself is told by `pair::stopped`.
        let next = another_leads(&client, &deleted, Duration::from_secs(6)).await;
        let took = job_after(&scene, "deleted", since).await;
        eprintln!("the leader's pod was deleted: a run had its Job {took:.1?} later");
        assert!(took <= Duration::from_secs(8), "{took:?}");

        let killed = next;
        signal("KILL", process_of(&killed));
        let took = job_after(&scene, "killed", Instant::now()).await;
        eprintln!("the leader's process was killed: a run created then had its Job {took:.1?} later");
        assert!(took <= Duration::from_secs(15), "{took:?}");

        // Whoever it is now; and there must be another.
        let frozen = leader_of_two(&client).await;
        let (before, _) = restarts(&client, &frozen).await;
        let process = process_of(&frozen);
        signal("STOP", process);
        let since = Instant::now();
        another_leads(&client, &frozen, Duration::from_secs(15)).await;
        let took = job_after(&scene, "frozen", since).await;
        eprintln!("the leader's process was frozen: another led, and a run had its Job, {took:.1?} later");
        signal("CONT", process);
        eventually("the container that lost the lease ends and is started again", Duration::from_secs(60), async || {
            match restarts(&client, &frozen).await {
                (now, Some(1)) if now > before => Ok(()),
                seen => Err(format!("restarts and exit code: {seen:?}")),
            }
        })
        .await;
        let log = kubectl_ok(&["--namespace", SYSTEM, "logs", &frozen.name_any(), "--previous"], None).await;
        assert!(log.contains("lost the lease"), "{log}");
        for run in ["deleted", "killed", "frozen"] {
            scene.finished(run, 60).await;
        }
        assert_eq!(scene.ours::<Job>().await.len(), 3, "one Job for each run");
    })
    .await;
    drop(alone);
}

/// Awaits that two pods are ready again, of which one leads.
pub async fn leader_of_two(client: &Client) -> Pod {
    let pods = Api::<Pod>::namespaced(client.clone(), SYSTEM);
    let ours = kube::api::ListParams::default().labels("app.kubernetes.io/name=nightshift");
    eventually("two operators are ready", Duration::from_secs(60), async || {
        let all = pods.list(&ours).await.map_err(|error| error.to_string())?.items;
        let is_ready = |pod: &&Pod| {
            let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
            conditions.into_iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == "True")
        };
        let ready = all.iter().filter(is_ready).count();
        if ready == 2 { Ok(()) } else { Err(format!("{ready} of {}", all.len())) }
    })
    .await;
    leader(client).await
}
