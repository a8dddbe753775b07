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
