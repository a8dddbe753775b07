//! One kind of object as the API server keeps it: the objects, and the log of all that became of them, which watches read.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{Resource, ResourceExt};

use super::NAMESPACE;

/// The API server's "no": the code of its answer, and its words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    pub code: u16,
    pub message: String,
}

impl Denied {
    pub fn new(code: u16, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// What became of an object at one time. A deletion carries the last view of it.
#[derive(Clone, Debug)]
pub struct Entry<K> {
    pub at: Timestamp,
    pub name: String,
    pub object: Arc<K>,
    pub deleted: bool,
}

/// The objects of one kind. The length of the log is the resource version, so versions of one kind can be compared.
#[derive(Clone, Debug)]
pub struct Store<K> {
    objects: BTreeMap<String, Arc<K>>,
    log: Vec<Entry<K>>,
}

impl<K> Default for Store<K> {
    fn default() -> Self {
        Self { objects: BTreeMap::new(), log: Vec::new() }
    }
}

impl<K: Resource<DynamicType = ()> + Clone + PartialEq> Store<K> {
    pub fn get(&self, name: &str) -> Option<&Arc<K>> {
        self.objects.get(name)
    }

    pub fn by_uid(&self, uid: &str) -> Option<&Arc<K>> {
        self.iter().find(|object| object.meta().uid.as_deref() == Some(uid))
    }

    /// All objects, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<K>> {
        self.objects.values()
    }

    /// All objects, to be changed while they are looked at.
    pub fn all(&self) -> Vec<Arc<K>> {
        self.iter().cloned().collect()
    }

    pub fn log(&self) -> &[Entry<K>] {
        &self.log
    }

    /// The objects that ever were created, as they were then.
    pub fn births(&self) -> impl Iterator<Item = &Entry<K>> {
        let mut known = std::collections::HashSet::new();
        self.log.iter().filter(move |entry| known.insert(entry.object.uid()))
    }

    pub fn create(&mut self, now: Timestamp, mut object: K) -> Result<Arc<K>, Denied> {
        let name = object.name_any();
        if self.objects.contains_key(&name) {
            return Err(Denied::new(409, format!("{} {name:?} already exists", K::plural(&()))));
        }
        let incarnation = self.births().filter(|entry| entry.name == name).count();
        let meta = object.meta_mut();
        meta.namespace = Some(NAMESPACE.to_owned());
        // Made from the name, so that two worlds in which the same happens hold the same objects; mixed, as real ones are.
        meta.uid = Some(format!("{:016x}", super::hash(&format!("{}/{name}/{incarnation}", K::kind(&())))));
        meta.creation_timestamp = Some(Time(now));
        meta.generation = Some(1);
        Ok(self.keep(now, name, object))
    }

    /// Stores the object as it now is. What changes nothing leaves no trace, as with the real API server.
    pub fn put(&mut self, now: Timestamp, mut object: K) -> Arc<K> {
        let name = object.name_any();
        if let Some(there) = self.objects.get(&name) {
            object.meta_mut().resource_version.clone_from(&there.meta().resource_version);
            if **there == object {
                return there.clone();
            }
        }
        self.keep(now, name, object)
    }

    /// Changes an object that is there.
    pub fn edit(&mut self, now: Timestamp, name: &str, change: impl FnOnce(&mut K)) {
        if let Some(there) = self.objects.get(name) {
            let mut object = (**there).clone();
            change(&mut object);
            self.put(now, object);
        }
    }

    pub fn remove(&mut self, now: Timestamp, name: &str) {
        if let Some(object) = self.objects.remove(name) {
            self.log.push(Entry { at: now, name: name.to_owned(), object, deleted: true });
        }
    }

    fn keep(&mut self, now: Timestamp, name: String, mut object: K) -> Arc<K> {
        object.meta_mut().resource_version = Some((self.log.len() + 1).to_string());
        let object = Arc::new(object);
        self.log.push(Entry { at: now, name: name.clone(), object: object.clone(), deleted: false });
        self.objects.insert(name, object.clone());
        object
    }
}
