//! Stored objects that do not parse. They are left alone; but whoever waits until the caches show all that is there must not
//! wait for these.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use kube::ResourceExt;

use super::{
    caches::key,
    told::{Told, Watched},
};

/// By kind, namespace and name, the version that was told.
#[derive(Default)]
pub(super) struct Broken(Mutex<HashMap<String, String>>);

impl Broken {
    /// The object, where it parses. Otherwise it is told of, and left out.
    pub(super) fn sort_out<K: Watched>(&self, told: Told<K>, is_gone: bool) -> Option<K> {
        let (namespace, name) = (told.namespace().unwrap_or_default(), told.name_any());
        let (key, version) = (key(&K::kind(&()), &namespace, &name), told.resource_version());
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match told {
            Told::Whole(object) => {
                all.remove(&key);
                Some(object)
            }
            Told::Broken { error, .. } => {
                tracing::error!(kind = %K::kind(&()), namespace, name, error, "a stored object does not parse and is left alone; correct it or delete it");
                if is_gone {
                    all.remove(&key)
                } else {
                    all.insert(key, version.unwrap_or_default())
                };
                None
            }
        }
    }

    /// The version in which it was told and did not parse.
    pub(super) fn version(&self, kind: &str, namespace: &str, name: &str) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&key(kind, namespace, name)).cloned()
    }
}
