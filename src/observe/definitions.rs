//! What workflows' runs began with, by the name of its revision: read once, since it never changes.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject},
};

use super::{Error, caches::key, reading};
use crate::{build::Bundle, graph::Definition};

/// How many are held. Where more are in use they are read again.
const HELD: usize = 128;

/// The definitions that were read or made.
#[derive(Default)]
pub(super) struct Definitions(Mutex<HashMap<String, Arc<Definition>>>);

impl Definitions {
    fn held(&self, key: &str) -> Option<Arc<Definition>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    fn hold(&self, key: String, definition: &Arc<Definition>) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if held.len() >= HELD {
            held.clear();
        }
        held.insert(key, definition.clone());
    }

    /// The definition that the bundle makes, checked.
    ///
    /// # Errors
    /// Tells what is wrong with it.
    pub(super) fn of(&self, namespace: &str, bundle: Bundle) -> Result<Arc<Definition>, Vec<String>> {
        let name = bundle.name();
        let key = key("bundle", namespace, &name);
        if let Some(held) = self.held(&key) {
            return Ok(held);
        }
        let definition = Arc::new(Definition::of(bundle, name)?);
        self.hold(key, &definition);
        Ok(definition)
    }

    /// The definition that the revision of this name holds; `None` where it is not there, or holds none.
    pub(super) async fn named(&self, client: &Client, namespace: &str, name: &str) -> Result<Option<Arc<Definition>>, Error> {
        let key = key("bundle", namespace, name);
        if let Some(held) = self.held(&key) {
            return Ok(Some(held));
        }
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &ApiResource::erase::<ControllerRevision>(&()));
        let found = api.get_opt(name).await.map_err(reading(format!("revision {name}")))?;
        let bundle = found.and_then(|revision| Bundle::of_revision(&serde_json::to_value(revision).ok()?));
        let definition = bundle.and_then(|bundle| Definition::of(bundle, name.to_owned()).ok()).map(Arc::new);
        if let Some(definition) = &definition {
            self.hold(key, definition);
        }
        Ok(definition)
    }
}
