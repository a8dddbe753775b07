//! Writing objects the way `kubectl apply` does: untyped, with strict field validation.

use kube::{
    Client, Error,
    api::{Patch, PatchParams, PostParams},
    core::Request,
};
use serde_json::Value;

/// Whether what is written stays.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// The server does everything but store it.
    DryRun,
    Stored,
}

/// Creates the object, and returns it as stored, or what the server said against it.
pub async fn create(client: &Client, namespace: &str, object: &Value, keep: Keep) -> Result<Value, String> {
    let params = PostParams { dry_run: keep == Keep::DryRun, ..PostParams::default() };
    let body = serde_json::to_vec(object).expect("JSON");
    let mut request = Request::new(url(namespace, object)).create(&params, body).expect("a request");
    *request.uri_mut() = format!("{}&fieldValidation=Strict", request.uri()).parse().expect("a URL");
    answer(client.request(request).await)
}

/// Merges `patch` into the stored object, as a dry run or for good.
pub async fn patch(client: &Client, namespace: &str, object: &Value, patch: &Value, keep: Keep) -> Result<Value, String> {
    let params = PatchParams { dry_run: keep == Keep::DryRun, ..PatchParams::default() }.validation_strict();
    let name = object["metadata"]["name"].as_str().expect("a name");
    let request = Request::new(url(namespace, object)).patch(name, &params, &Patch::Merge(patch)).expect("a request");
    answer(client.request(request).await)
}

/// Adds `value` to the list at `path` of the stored object.
pub async fn append(client: &Client, namespace: &str, object: &Value, path: &str, value: &Value, keep: Keep) -> Result<Value, String> {
    let params = PatchParams { dry_run: keep == Keep::DryRun, ..PatchParams::default() };
    let name = object["metadata"]["name"].as_str().expect("a name");
    let patch = serde_json::json!([{ "op": "add", "path": format!("{path}/-"), "value": value }]);
    let patch = Patch::<()>::Json(serde_json::from_value(patch).expect("a JSON patch"));
    let request = Request::new(url(namespace, object)).patch(name, &params, &patch).expect("a request");
    answer(client.request(request).await)
}

/// Merges `status` into the stored object's status.
pub async fn patch_status(client: &Client, namespace: &str, object: &Value, status: &Value, keep: Keep) -> Result<Value, String> {
    let params = PatchParams { dry_run: keep == Keep::DryRun, ..PatchParams::default() };
    let name = object["metadata"]["name"].as_str().expect("a name");
    let patch = Patch::Merge(serde_json::json!({ "status": status }));
    let request = Request::new(url(namespace, object)).patch_subresource("status", name, &params, &patch).expect("a request");
    answer(client.request(request).await)
}

fn url(namespace: &str, object: &Value) -> String {
    let plural = match object["kind"].as_str() {
        Some("AutomationTask") => "automationtasks",
        Some("AutomationRun") => "automationruns",
        Some("Backfill") => "backfills",
        Some("ConcurrencyPool") => "concurrencypools",
        Some("Workflow") => "workflows",
        other => panic!("not a kind of ours: {other:?}"),
    };
    format!("/apis/nightshift.dev/v1alpha1/namespaces/{namespace}/{plural}")
}

fn answer(result: Result<Value, Error>) -> Result<Value, String> {
    match result {
        Ok(stored) => Ok(stored),
        Err(Error::Api(status)) if [400, 403, 422].contains(&status.code) => Err(status.message),
        Err(other) => panic!("the server did not judge the object: {other}"),
    }
}
