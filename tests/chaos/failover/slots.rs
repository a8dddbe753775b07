//! Slots of both clocks while the operators that lead are killed and deleted around them.

use std::time::Duration;

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, ResourceExt, api::DeleteParams};
use nightshift::api::AutomationTask;

use super::installed::{SYSTEM, find_process, leader_of_two, signal};
use crate::support::{
    Scene, await_moment, await_second, client, eventually, install_crds, now, operator_alone,
    record::{MINUTE, RAN, until_told},
    with_temp_namespace,
};

/// How long before or after each slot the one that leads comes to its end, in milliseconds; and whether its pod is deleted
/// or its process killed.
const ENDS: [(i64, bool); 4] = [(-700, false), (40, false), (-150, true), (400, true)];

pub async fn each_runs_once() {
    let client = client().await;
    install_crds(&client).await;
    let alone = operator_alone(&client).await;
    with_temp_namespace(async |client: Client, namespace| {
        let scene = Scene::new(&client, &namespace);
        let slot = await_second(0..45).await + MINUTE;
        let tasks = [
            ("allow", "concurrencyPolicy: Allow, exclude: ['2000-01-01']"),
            ("forbid", "concurrencyPolicy: Forbid, exclude: ['2000-01-01']"),
            ("replace", "concurrencyPolicy: Replace, exclude: ['2000-01-01']"),
            ("queue", "concurrencyPolicy: Queue"),
            ("native", "concurrencyPolicy: Allow"),
        ];
        for (task, schedule) in tasks {
            scene.armed_task(task, &format!("{{command: ['true'], schedule: {{cron: ['* * * * *'], {schedule}}}}}")).await;
        }
        assert!(now() < slot, "all were to be armed before the first slot");
        for (n, (milliseconds, delete)) in ENDS.into_iter().enumerate() {
            // Whoever it is, with another beside it to follow. Right after its end a process may be said to lead still.
            let (leader, process) = eventually("the one that leads has a process", Duration::from_secs(45), async || {
                let leader = leader_of_two(&client).await;
                find_process(&leader).map(|process| (leader, process))
            })
            .await;
            let moment = slot + MINUTE * i32::try_from(n).expect("few") + SignedDuration::from_millis(milliseconds);
            assert!(now() < moment, "two were to be up before {moment}");
            await_moment(moment).await;
            if delete {
                let pods = Api::<Pod>::namespaced(client.clone(), SYSTEM);
                pods.delete(&leader.name_any(), &DeleteParams::default()).await.expect("deleting a pod");
            } else {
                signal("KILL", process);
            }
            eprintln!("{} {} was {}", now(), leader.name_any(), if delete { "deleted" } else { "killed" });
        }
        // And one that nothing befalls: the slots before it have got no second run meanwhile.
        for (task, _) in tasks {
            until_told(&scene, task, slot, &[RAN; ENDS.len() + 1], 150).await;
        }
        for (task, _) in tasks {
            scene.delete::<AutomationTask>(task).await;
        }
        leader_of_two(&client).await;
    })
    .await;
    drop(alone);
}
