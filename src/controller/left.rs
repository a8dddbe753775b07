//! Writes of which nobody reads more of the answer than what it left: a name and a version.

use kube::{
    Client, Resource,
    api::{Patch, PatchParams, PostParams, Request},
    core::NamespaceResourceScope,
};
use serde::{Deserialize, Serialize};

use crate::api::label;

/// The object that a write left.
#[derive(Debug, Deserialize)]
pub(super) struct Left {
    metadata: Meta,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta {
    name: String,
    #[serde(default)]
    namespace: String,
    resource_version: Option<String>,
}

impl Left {
    pub(super) fn name(&self) -> &str {
        &self.metadata.name
    }

    pub(super) fn namespace(&self) -> &str {
        &self.metadata.namespace
    }

    pub(super) fn resource_version(&self) -> Option<&str> {
        self.metadata.resource_version.as_deref()
    }
}

/// Objects of one kind in one namespace.
pub(super) struct Kept<'a> {
    client: &'a Client,
    url: String,
}

impl<'a> Kept<'a> {
    pub(super) fn of<K>(client: &'a Client, namespace: &str) -> Self
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Self { client, url: K::url_path(&(), Some(namespace)) }
    }

    pub(super) async fn create(&self, object: &impl Serialize) -> kube::Result<Left> {
        let body = serde_json::to_vec(object).map_err(kube::Error::SerdeError)?;
        let request = Request::new(&self.url).create(&PostParams::default(), body).map_err(kube::Error::BuildRequest)?;
        self.client.request(request).await
    }

    /// Creates an object of which a part is kept as it was sent, byte for byte, and may not change (`data` of a
    /// `ControllerRevision`). Whoever edits the rest of it later, the garbage collector among them, sends that part as Go
    /// writes it: so it is written like that from the beginning.
    pub(super) async fn create_as_go_writes(&self, object: &impl Serialize) -> kube::Result<Left> {
        let body = as_go_writes(&serde_json::to_string(object).map_err(kube::Error::SerdeError)?).into_bytes();
        let request = Request::new(&self.url).create(&PostParams::default(), body).map_err(kube::Error::BuildRequest)?;
        self.client.request(request).await
    }

    pub(super) async fn patch<P: Serialize + std::fmt::Debug>(&self, name: &str, patch: &Patch<P>) -> kube::Result<Left> {
        let request = Request::new(&self.url).patch_metadata(name, &PatchParams::default(), patch).map_err(kube::Error::BuildRequest)?;
        self.client.request(request).await
    }

    pub(super) async fn replace_status(&self, name: &str, object: &impl Serialize) -> kube::Result<Left> {
        let body = serde_json::to_vec(object).map_err(kube::Error::SerdeError)?;
        let params = PostParams { field_manager: Some(label::NIGHTSHIFT.to_owned()), ..PostParams::default() };
        let request = Request::new(&self.url).replace_subresource("status", name, &params, body).map_err(kube::Error::BuildRequest)?;
        self.client.request(request).await
    }
}

/// Go's JSON encoder escapes these in texts, the only place where they can stand.
fn as_go_writes(json: &str) -> String {
    let mut written = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '<' => written.push_str(r"\u003c"),
            '>' => written.push_str(r"\u003e"),
            '&' => written.push_str(r"\u0026"),
            '\u{2028}' => written.push_str(r"\u2028"),
            '\u{2029}' => written.push_str(r"\u2029"),
            _ => written.push(c),
        }
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_go_would_write_otherwise_is_written_as_go_does_and_means_the_same() {
        let script = serde_json::json!({ "source": "a <b >c && d \u{2028}\u{2029} é \"q\" \\ \n" });
        let written = as_go_writes(&script.to_string());
        assert_eq!(written, r#"{"source":"a \u003cb \u003ec \u0026\u0026 d \u2028\u2029 é \"q\" \\ \n"}"#);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&written).unwrap(), script);
    }
}
