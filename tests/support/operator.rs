//! The installed operator, and whose turn it is. Tests that need it run beside one another, and so do tests that need
//! it gone, but never the one kind beside the other.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::{
    Api, Client,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::json;
use tokio::time::sleep;

use super::{await_condition, eventually, kubectl::kubectl_blocking};

const NAMESPACE: &str = "nightshift-system";
const NAME: &str = "nightshift";

/// How many tests need it up, and how many gone.
struct Users {
    up: usize,
    down: usize,
}

static USERS: Mutex<Users> = Mutex::new(Users { up: 0, down: 0 });

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
        users.up += usize::from(users.down == 0);
        users.down == 0
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

/// While it lives, the installed operator is scaled to 0. Scaled up again when the last of them goes, also on a panic.
pub struct Down(());

/// Scales the installed operator to 0 once nobody needs it, and returns when it is gone.
pub async fn operator_down(client: &Client) -> Down {
    join(|users| {
        users.down += usize::from(users.up == 0);
        users.up == 0
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
    pub async fn end(self) {
        tokio::task::spawn_blocking(move || drop(self)).await.expect("scaling does not panic");
    }
}

impl Drop for Down {
    fn drop(&mut self) {
        // Held meanwhile, so that nobody scales the other way in between.
        let mut users = USERS.lock().unwrap_or_else(PoisonError::into_inner);
        users.down -= 1;
        if users.down == 0 {
            kubectl_blocking(&["--namespace", NAMESPACE, "scale", "deployment", NAME, "--replicas", "1"]);
            kubectl_blocking(&["--namespace", NAMESPACE, "rollout", "status", "deployment", NAME, "--timeout", "60s"]);
        }
    }
}

fn deployments(client: &Client) -> Api<Deployment> {
    Api::namespaced(client.clone(), NAMESPACE)
}

async fn await_up(client: &Client) {
    await_condition(&deployments(client), NAME, "to be up (make install)", Duration::from_secs(60), |deployment| {
        deployment.and_then(|d| d.status.as_ref()?.available_replicas).unwrap_or(0) > 0
    })
    .await;
}
