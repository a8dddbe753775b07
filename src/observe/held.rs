//! What was read once and never changes, held by name.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

/// How many are held. Where more are in use they are read again.
const HELD: usize = 128;

/// Objects by name.
pub(super) struct Held<T>(Mutex<HashMap<String, Arc<T>>>);

impl<T> Default for Held<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Held<T> {
    pub(super) fn get(&self, key: &str) -> Option<Arc<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    pub(super) fn hold(&self, key: String, object: &Arc<T>) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if held.len() >= HELD {
            held.clear();
        }
        held.insert(key, object.clone());
    }
}
