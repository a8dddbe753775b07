//! A watched kind: its objects by name, and the names by group, so that no look-up walks through all objects.

use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
    sync::{
        Arc, Mutex, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use kube::{
    Resource,
    runtime::{
        reflector::{Lookup, ObjectRef, Store, store, store::Writer},
        watcher::Event,
    },
};

/// The objects of a kind as the watch last told them.
pub struct Cache<K>
where
    K: Lookup + Clone + 'static,
    K::DynamicType: Hash + Eq + Clone + Default,
{
    objects: Store<K>,
    inner: Mutex<Inner<K>>,
    groups: RwLock<HashMap<String, HashSet<ObjectRef<K>>>>,
    grouping: fn(&K) -> Vec<String>,
    unsynced: AtomicUsize,
}

struct Inner<K>
where
    K: Lookup + Clone + 'static,
    K::DynamicType: Hash + Eq + Clone + Default,
{
    writer: Writer<K>,
    watches: Vec<Watch<K>>,
}

/// What one watch has told.
struct Watch<K>
where
    K: Lookup + Clone + 'static,
    K::DynamicType: Hash + Eq + Clone + Default,
{
    held: HashSet<ObjectRef<K>>,
    /// The list that is being read.
    listing: Vec<K>,
    /// Whether a list was read to its end.
    listed: bool,
}

impl<K> Cache<K>
where
    K: Resource<DynamicType = ()> + Clone + Send + Sync + 'static,
{
    /// A cache that is fed by that many watches, with the groups that an object belongs to.
    #[must_use]
    pub fn new(watches: usize, grouping: fn(&K) -> Vec<String>) -> Self {
        let (objects, writer) = store();
        let fresh = || Watch { held: HashSet::new(), listing: Vec::new(), listed: false };
        Self {
            objects,
            inner: Mutex::new(Inner { writer, watches: (0..watches).map(|_| fresh()).collect() }),
            groups: RwLock::default(),
            grouping,
            unsynced: AtomicUsize::new(watches),
        }
    }

    /// The store behind it, which becomes ready once every watch has listed.
    #[must_use]
    pub fn store(&self) -> Store<K> {
        self.objects.clone()
    }

    /// Whether every watch has listed.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        self.unsynced.load(Ordering::Acquire) == 0
    }

    /// The object of that name.
    #[must_use]
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        self.objects.get(&ObjectRef::new(name).within(namespace))
    }

    /// The objects of a group.
    #[must_use]
    pub fn group(&self, group: &str) -> Vec<Arc<K>> {
        let groups = self.groups.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        groups.get(group).into_iter().flatten().filter_map(|key| self.objects.get(key)).collect()
    }

    /// Takes one event of one watch and returns the objects that it touched: the present ones, or the last view of
    /// those that are gone. Deletions that happened while a watch was down come out of its next list.
    pub fn take(&self, watch: usize, event: Event<K>) -> Vec<Arc<K>> {
        let mut inner = self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match event {
            Event::Init => {
                inner.watches[watch].listing.clear();
                Vec::new()
            }
            Event::InitApply(object) => {
                inner.watches[watch].listing.push(object);
                Vec::new()
            }
            Event::InitDone => {
                let listed = std::mem::take(&mut inner.watches[watch].listing);
                let before = std::mem::take(&mut inner.watches[watch].held);
                let now: HashSet<ObjectRef<K>> = listed.iter().map(|object| ObjectRef::from_obj(object)).collect();
                let gone: Vec<Arc<K>> = before.difference(&now).filter_map(|key| self.objects.get(key)).collect();
                let mut touched: Vec<Arc<K>> = Vec::with_capacity(listed.len() + gone.len());
                for object in gone {
                    touched.extend(self.remove(&mut inner.writer, (*object).clone()));
                }
                for object in listed {
                    touched.extend(self.insert(&mut inner.writer, object));
                }
                inner.watches[watch].held = now;
                let first = !std::mem::replace(&mut inner.watches[watch].listed, true);
                if first && self.unsynced.fetch_sub(1, Ordering::AcqRel) == 1 {
                    self.make_ready(&mut inner.writer);
                }
                touched
            }
            Event::Apply(object) => {
                inner.watches[watch].held.insert(ObjectRef::from_obj(&object));
                self.insert(&mut inner.writer, object)
            }
            Event::Delete(object) => {
                inner.watches[watch].held.remove(&ObjectRef::from_obj(&object));
                self.remove(&mut inner.writer, object)
            }
        }
    }

    /// The writer calls itself ready only at the end of a list of its own: give it one of what it holds.
    fn make_ready(&self, writer: &mut Writer<K>) {
        let all = self.objects.state();
        writer.apply_watcher_event(&Event::Init);
        for object in all {
            writer.apply_watcher_event(&Event::InitApply((*object).clone()));
        }
        writer.apply_watcher_event(&Event::InitDone);
    }

    fn insert(&self, writer: &mut Writer<K>, object: K) -> Vec<Arc<K>> {
        let key = ObjectRef::from_obj(&object);
        let before = self.objects.get(&key);
        {
            let mut groups = self.groups.write().unwrap_or_else(std::sync::PoisonError::into_inner);
            for group in before.iter().flat_map(|before| (self.grouping)(before)) {
                leave(&mut groups, &group, &key);
            }
            for group in (self.grouping)(&object) {
                groups.entry(group).or_default().insert(key.clone());
            }
        }
        writer.apply_watcher_event(&Event::Apply(object));
        self.objects.get(&key).into_iter().collect()
    }

    fn remove(&self, writer: &mut Writer<K>, object: K) -> Vec<Arc<K>> {
        let key = ObjectRef::from_obj(&object);
        let last = self.objects.get(&key).unwrap_or_else(|| Arc::new(object.clone()));
        {
            let mut groups = self.groups.write().unwrap_or_else(std::sync::PoisonError::into_inner);
            for group in (self.grouping)(&last) {
                leave(&mut groups, &group, &key);
            }
        }
        writer.apply_watcher_event(&Event::Delete(object));
        vec![last]
    }
}

fn leave<Key: Eq + Hash>(groups: &mut HashMap<String, HashSet<Key>>, group: &str, key: &Key) {
    if let Some(members) = groups.get_mut(group) {
        members.remove(key);
        if members.is_empty() {
            groups.remove(group);
        }
    }
}
