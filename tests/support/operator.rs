//! The installed operator, and whose turn it is. Tests that need it run beside one another, and so do tests that need
//! it gone, but never the one kind beside the other.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use k8s_openapi::api::{apps::v1::Deployment, coordination::v1::Lease, core::v1::Pod};
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::json;
use tokio::time::sleep;

use super::{await_condition, eventually, kubectl::kubectl_blocking};

const NAMESPACE: &str = "nightshift-system";
const NAME: &str = "nightshift";
/// As installed: one leads, one stands by.
const REPLICAS: &str = "2";

/// How many tests need it up, how many gone, and whether one has it to itself.
struct Users {
    up: usize,
    down: usize,
    alone: bool,
}

static USERS: Mutex<Users> = Mutex::new(Users { up: 0, down: 0, alone: false });

/// Runs `with` on the users, as soon as it says so.
async fn join(with: impl Fn(&mut Users) -> bool) {
    while !with(&mut USERS.lock().unwrap_or_else(PoisonError::into_inner)) {
        sleep(Duration::from_millis(100)).await;
    }
}

/// While it lives, the installed operator stays up.
pub struct Up(());

/// Waits until the installed operator is up, and keeps it so.
pub async fn operator_up(client: &Client) -> Up {
    join(|users| {
        let free = users.down == 0 && !users.alone;
        users.up += usize::from(free);
        free
    })
    .await;
    let up = Up(());
    await_up(client).await;
    up
}

impl Drop for Up {
    fn drop(&mut self) {
        USERS.lock().unwrap_or_else(PoisonError::into_inner).up -= 1;
    }
}

/// While it lives, no other test needs the installed operator, up or gone.
pub struct Alone(());

/// Waits until the installed operator is up and nobody else needs it: its pods may then be killed.
pub async fn operator_alone(client: &Client) -> Alone {
    join(|users| {
        let free = users.up == 0 && users.down == 0 && !users.alone;
        users.alone |= free;
        free
    })
    .await;
    let alone = Alone(());
    await_up(client).await;
    alone
}

impl Drop for Alone {
    fn drop(&mut self) {
        USERS.lock().unwrap_or_else(PoisonError::into_inner).alone = false;
    }
}

/// While it lives, the installed operator is scaled to 0. Scaled up again when the last of them goes, also on a panic.
pub struct Down(());

/// Scales the installed operator to 0 once nobody needs it, and returns when it is gone.
pub async fn operator_down(client: &Client) -> Down {
    join(|users| {
        let free = users.up == 0 && !users.alone;
        users.down += usize::from(free);
        free
    })
    .await;
    let down = Down(());
    let scale = Patch::Merge(json!({ "spec": { "replicas": 0 } }));
    let scaled = deployments(client).patch_scale(NAME, &PatchParams::default(), &scale).await;
    scaled.unwrap_or_else(|e| panic!("scaling the operator to 0: {e}; is it installed?"));
    let pods = Api::<Pod>::namespaced(client.clone(), NAMESPACE);
    let params = ListParams::default().labels("app.kubernetes.io/name=nightshift");
    eventually("the operator is gone", Duration::from_secs(60), async || {
        let left = pods.list(&params).await.expect("listing the operator's pods").items.len();
        if left == 0 { Ok(()) } else { Err(format!("{left} pods")) }
    })
    .await;
    down
}

impl Down {
    /// What `drop` does, for whoever can wait: where nobody else needs the operator gone, it is up when this returns.
    pub async fn end(self, client: &Client) {
        tokio::task::spawn_blocking(move || drop(self)).await.expect("scaling does not panic");
        eventually("one of the operators leads", Duration::from_secs(60), async || {
            let still_down = USERS.lock().unwrap_or_else(PoisonError::into_inner).down > 0;
            if still_down { Ok(()) } else { find_leader(client).await.map(drop) }
        })
        .await;
    }
}

impl Drop for Down {
    fn drop(&mut self) {
        // Held meanwhile, so that nobody scales the other way in between.
        let mut users = USERS.lock().unwrap_or_else(PoisonError::into_inner);
        users.down -= 1;
        if users.down == 0 {
            kubectl_blocking(&["--namespace", NAMESPACE, "scale", "deployment", NAME, "--replicas", REPLICAS]);
            kubectl_blocking(&["--namespace", NAMESPACE, "rollout", "status", "deployment", NAME, "--timeout", "60s"]);
        }
    }
}

fn deployments(client: &Client) -> Api<Deployment> {
    Api::namespaced(client.clone(), NAMESPACE)
}

/// Up is when one leads that has read all that there is, and all others have as well.
async fn await_up(client: &Client) {
    await_condition(&deployments(client), NAME, "to be up (make install)", Duration::from_secs(60), |deployment| {
        let wanted = deployment.and_then(|d| d.spec.as_ref()?.replicas);
        wanted.is_some_and(|wanted| wanted > 0) && deployment.and_then(|d| d.status.as_ref()?.available_replicas) == wanted
    })
    .await;
    leader(client).await;
}

/// The pod of the installed operator that leads.
pub async fn leader(client: &Client) -> Pod {
    eventually("one of the operators leads", Duration::from_secs(60), async || find_leader(client).await).await
}

/// The pod that holds the Lease, where it is alive and ready; otherwise what is the matter.
pub async fn find_leader(client: &Client) -> Result<Pod, String> {
    let lease = Api::<Lease>::namespaced(client.clone(), NAMESPACE).get_opt(NAME).await.map_err(|error| error.to_string())?;
    let holder = lease.and_then(|lease| lease.spec?.holder_identity).unwrap_or_default();
    let Some((name, uid)) = holder.split_once('_') else { return Err(format!("the holder of the Lease is {holder:?}")) };
    let pod = Api::<Pod>::namespaced(client.clone(), NAMESPACE).get_opt(name).await.map_err(|error| error.to_string())?;
    let Some(pod) = pod.filter(|pod| pod.uid().as_deref() == Some(uid)) else {
        return Err(format!("{holder} holds the Lease and is gone"));
    };
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    let is_ready = conditions.into_iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == "True");
    if is_ready && pod.metadata.deletion_timestamp.is_none() { Ok(pod) } else { Err(format!("{holder} holds the Lease and is not ready")) }
}
