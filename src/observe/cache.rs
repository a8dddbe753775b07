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

use super::listing::Listing;

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
    /// Whether a new view of an object tells anything that is ever looked at.
    tells: fn(Option<&K>, &K) -> bool,
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
    listing: Listing<K>,
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
        let fresh = || Watch { held: HashSet::new(), listing: Listing::default(), listed: false };
        Self {
            objects,
            inner: Mutex::new(Inner { writer, watches: (0..watches).map(|_| fresh()).collect() }),
            groups: RwLock::default(),
            grouping,
            tells: |_, _| true,
            unsynced: AtomicUsize::new(watches),
        }
    }

    /// The same cache, which keeps to itself what `tells` nothing: most updates of an object are about other people's
    /// business.
    #[must_use]
    pub fn that(self, tells: fn(Option<&K>, &K) -> bool) -> Self {
        Self { tells, ..self }
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

    /// Whether the group has any objects.
    #[must_use]
    pub fn has_group(&self, group: &str) -> bool {
        self.groups.read().unwrap_or_else(std::sync::PoisonError::into_inner).contains_key(group)
    }

    /// Takes one event of one watch and returns the objects that it touched: the present ones where they tell anything
    /// new, or the last view of those that are gone. Deletions that happened while a watch was down come out of its next list.
    pub fn take(&self, watch: usize, event: Event<K>) -> Vec<Arc<K>> {
        let mut inner = self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match event {
            Event::Init => {
                inner.watches[watch].listing = Listing::default();
                Vec::new()
            }
            Event::InitApply(object) => {
                inner.watches[watch].listing.push(object);
                Vec::new()
            }
            Event::InitDone => {
                let listed = std::mem::take(&mut inner.watches[watch].listing);
                let before = std::mem::take(&mut inner.watches[watch].held);
                let now: HashSet<ObjectRef<K>> = listed.iter().map(key).collect();
                let gone: Vec<Arc<K>> = before.difference(&now).filter_map(|key| self.objects.get(key)).collect();
                let mut touched: Vec<Arc<K>> = Vec::with_capacity(listed.len() + gone.len());
                for object in gone {
                    touched.extend(self.remove(&mut inner.writer, (*object).clone()));
                }
                inner.watches[watch].held = now;
                let first = !std::mem::replace(&mut inner.watches[watch].listed, true);
                if first && inner.watches.len() == 1 {
                    touched.extend(self.begin(&mut inner.writer, listed));
                    self.unsynced.store(0, Ordering::Release);
                    return touched;
                }
                for object in listed {
                    touched.extend(self.insert(&mut inner.writer, object));
                }
                if first && self.unsynced.fetch_sub(1, Ordering::AcqRel) == 1 {
                    self.make_ready(&mut inner.writer);
                }
                touched
            }
            Event::Apply(object) => {
                let key = key(&object);
                let tells = (self.tells)(self.objects.get(&key).as_deref(), &object);
                inner.watches[watch].held.insert(key);
                let touched = self.insert(&mut inner.writer, object);
                if tells { touched } else { Vec::new() }
            }
            Event::Delete(object) => {
                inner.watches[watch].held.remove(&key(&object));
                self.remove(&mut inner.writer, object)
            }
        }
    }

    /// Takes the first list of the only watch, object by object: with thousands of them a copy would be the most memory
    /// that the process ever has.
    fn begin(&self, writer: &mut Writer<K>, listed: Listing<K>) -> Vec<Arc<K>> {
        let keys: Vec<ObjectRef<K>> = listed.iter().map(key).collect();
        writer.apply_watcher_event(&Event::Init);
        {
            let mut groups = self.groups.write().unwrap_or_else(std::sync::PoisonError::into_inner);
            for (object, key) in listed.into_iter().zip(&keys) {
                for group in (self.grouping)(&object) {
                    groups.entry(group).or_default().insert(key.clone());
                }
                writer.apply_watcher_event(&Event::InitApply(object));
            }
        }
        writer.apply_watcher_event(&Event::InitDone);
        keys.iter().filter_map(|key| self.objects.get(key)).collect()
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
        let key = key(&object);
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
        let key = key(&object);
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

/// Namespace and name, and nothing of the version that was seen: there are as many of these as objects, several times.
fn key<K: Lookup>(object: &K) -> ObjectRef<K>
where
    K::DynamicType: Hash + Eq + Clone + Default,
{
    let mut key = ObjectRef::from_obj(object);
    key.extra = kube::runtime::reflector::ObjectRefExtra::default();
    key
}

fn leave<Key: Eq + Hash>(groups: &mut HashMap<String, HashSet<Key>>, group: &str, key: &Key) {
    if let Some(members) = groups.get_mut(group) {
        members.remove(key);
        if members.is_empty() {
            groups.remove(group);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::{ResourceExt, api::ObjectMeta};

    use super::*;

    /// An object in a namespace, in the groups that its label names.
    fn object(namespace: &str, name: &str, groups: &str, version: &str) -> ConfigMap {
        ConfigMap {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                namespace: Some(namespace.to_owned()),
                labels: Some(BTreeMap::from([("groups".to_owned(), groups.to_owned())])),
                resource_version: Some(version.to_owned()),
                ..ObjectMeta::default()
            },
            ..ConfigMap::default()
        }
    }

    fn cache(watches: usize) -> Cache<ConfigMap> {
        Cache::new(watches, |object| {
            object
                .labels()
                .get("groups")
                .into_iter()
                .flat_map(|groups| groups.split('_'))
                .filter(|g| !g.is_empty())
                .map(str::to_owned)
                .collect()
        })
    }

    fn list(cache: &Cache<ConfigMap>, watch: usize, objects: &[ConfigMap]) -> Vec<String> {
        assert!(cache.take(watch, Event::Init).is_empty());
        for object in objects {
            assert!(cache.take(watch, Event::InitApply(object.clone())).is_empty(), "a list counts once it is read to its end");
        }
        names(&cache.take(watch, Event::InitDone))
    }

    fn names(objects: &[Arc<ConfigMap>]) -> Vec<String> {
        let mut names: Vec<String> = objects.iter().map(|object| object.name_any()).collect();
        names.sort();
        names
    }

    fn version(cache: &Cache<ConfigMap>, name: &str) -> Option<String> {
        cache.get("a", name).and_then(|object| object.metadata.resource_version.clone())
    }

    #[test]
    fn a_list_brings_new_objects_and_takes_away_those_that_vanished_while_the_watch_was_down() {
        let cache = cache(1);
        list(&cache, 0, &[object("a", "x", "g", "1"), object("a", "y", "g", "1")]);
        assert_eq!(names(&cache.group("g")), ["x", "y"]);
        let touched = list(&cache, 0, &[object("a", "y", "g", "2"), object("a", "z", "g", "1")]);
        assert_eq!(touched, ["x", "y", "z"], "those that are gone are told too");
        assert_eq!(names(&cache.group("g")), ["y", "z"]);
        assert_eq!((version(&cache, "x"), version(&cache, "y").as_deref()), (None, Some("2")));
        assert_eq!(list(&cache, 0, &[]), ["y", "z"]);
        assert!(cache.group("g").is_empty());
    }

    #[test]
    fn a_list_that_breaks_off_changes_nothing() {
        let cache = cache(1);
        list(&cache, 0, &[object("a", "x", "g", "1")]);
        cache.take(0, Event::Init);
        cache.take(0, Event::InitApply(object("a", "half", "g", "1")));
        assert_eq!(names(&cache.group("g")), ["x"]);
        assert_eq!(list(&cache, 0, &[object("a", "y", "g", "1")]), ["x", "y"]);
        assert_eq!(names(&cache.group("g")), ["y"], "nor does what it had read come back");
    }

    #[test]
    fn groups_follow_the_objects_labels() {
        let cache = cache(1);
        list(&cache, 0, &[object("a", "x", "g_h", "1"), object("b", "x", "g", "1")]);
        assert_eq!((cache.group("g").len(), cache.group("h").len()), (2, 1));
        let touched = cache.take(0, Event::Apply(object("a", "x", "h_i", "2")));
        assert_eq!(touched[0].metadata.resource_version.as_deref(), Some("2"));
        assert_eq!((cache.group("g").len(), cache.group("h").len(), cache.group("i").len()), (1, 1, 1));
        assert_eq!(cache.group("g")[0].metadata.namespace.as_deref(), Some("b"), "the same name elsewhere is another object");
        cache.take(0, Event::Apply(object("a", "x", "", "3")));
        assert!(cache.group("h").is_empty() && cache.group("i").is_empty() && cache.get("a", "x").is_some());
    }

    #[test]
    fn a_deletion_is_told_with_the_last_view_and_leaves_every_group() {
        let cache = cache(1);
        list(&cache, 0, &[object("a", "x", "g", "1")]);
        let touched = cache.take(0, Event::Delete(object("a", "x", "other", "2")));
        assert_eq!(touched[0].labels().get("groups").map(String::as_str), Some("g"), "whoever knew it by that group is to hear of it");
        assert!(cache.get("a", "x").is_none() && cache.group("g").is_empty() && cache.group("other").is_empty());
        assert_eq!(names(&cache.take(0, Event::Delete(object("a", "never-seen", "g", "1")))), ["never-seen"]);
    }

    #[test]
    fn a_list_of_one_watch_leaves_the_objects_of_the_others_alone() {
        let cache = cache(2);
        list(&cache, 0, &[object("a", "x", "g", "1")]);
        list(&cache, 1, &[object("b", "y", "g", "1")]);
        cache.take(1, Event::Apply(object("b", "z", "g", "1")));
        assert_eq!(list(&cache, 0, &[]), ["x"]);
        assert_eq!(names(&cache.group("g")), ["y", "z"]);
        assert_eq!(list(&cache, 1, &[object("b", "z", "g", "1")]), ["y", "z"], "what came by the watch is gone by its list too");
        assert_eq!(names(&cache.group("g")), ["z"]);
    }

    #[test]
    fn what_tells_nothing_is_kept_and_touches_nobody() {
        let cache = cache(1).that(|before, now| before.is_none_or(|before| before.labels() != now.labels()));
        list(&cache, 0, &[object("a", "x", "g", "1")]);
        assert!(cache.take(0, Event::Apply(object("a", "x", "g", "2"))).is_empty());
        assert_eq!(version(&cache, "x").as_deref(), Some("2"));
        assert_eq!(names(&cache.take(0, Event::Apply(object("a", "x", "h", "3")))), ["x"]);
        assert_eq!(names(&cache.take(0, Event::Apply(object("a", "y", "h", "1")))), ["y"]);
        assert_eq!(list(&cache, 0, &[object("a", "x", "h", "3")]), ["x", "y"], "a list may stand for many views, and tells all");
    }

    #[tokio::test]
    async fn it_is_ready_when_every_watch_has_listed_and_not_before() {
        use futures::FutureExt;

        let cache = cache(2);
        let ready = |cache: &Cache<ConfigMap>| (cache.is_synced(), cache.store().wait_until_ready().now_or_never().is_some());
        list(&cache, 0, &[object("a", "x", "g", "1")]);
        list(&cache, 0, &[object("a", "x", "g", "1"), object("a", "w", "g", "1")]);
        assert_eq!(ready(&cache), (false, false), "one watch listed twice is still one");
        cache.take(1, Event::Init);
        cache.take(1, Event::InitApply(object("b", "y", "g", "1")));
        assert_eq!(ready(&cache), (false, false));
        cache.take(1, Event::InitDone);
        assert_eq!(ready(&cache), (true, true));
        assert_eq!(names(&cache.store().state()), ["w", "x", "y"], "nothing is lost when it becomes ready");
        assert_eq!(names(&cache.group("g")), ["w", "x", "y"]);
        list(&cache, 0, &[]);
        assert_eq!(ready(&cache), (true, true), "and it stays so");
    }
}
