//! What workflows' runs began with, by the name of its revision: read once, since it never changes.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject},
};

use super::{Error, caches::key, held::Held, reading};
use crate::{build::Bundle, graph::Definition};

/// The definitions that were read or made.
#[derive(Default)]
pub(super) struct Definitions(Held<Definition>);

impl Definitions {
    /// The definition that the bundle makes, checked.
    ///
    /// # Errors
    /// Tells what is wrong with it.
    pub(super) fn of(&self, namespace: &str, bundle: Bundle) -> Result<Arc<Definition>, Vec<String>> {
        let name = bundle.name();
        let key = key("bundle", namespace, &name);
        if let Some(held) = self.0.get(&key) {
            return Ok(held);
        }
        let definition = Arc::new(Definition::of(bundle, name)?);
        self.0.hold(key, &definition);
        Ok(definition)
    }

    /// The definition that the revision of this name holds; `None` where it is not there, or holds none.
    pub(super) async fn named(&self, client: &Client, namespace: &str, name: &str) -> Result<Option<Arc<Definition>>, Error> {
        let key = key("bundle", namespace, name);
        if let Some(held) = self.0.get(&key) {
            return Ok(Some(held));
        }
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &ApiResource::erase::<ControllerRevision>(&()));
        let found = api.get_opt(name).await.map_err(reading(format!("revision {name}")))?;
        let bundle = found.and_then(|revision| Bundle::of_revision(&serde_json::to_value(revision).ok()?));
        let definition = bundle.map(|bundle| Arc::new(Definition::kept(bundle, name.to_owned())));
        if let Some(definition) = &definition {
            self.0.hold(key, definition);
        }
        Ok(definition)
    }
}
