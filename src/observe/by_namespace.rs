//! Lists that are made when they are asked for, and never watched: one serves all who ask about its namespace within a few
//! seconds. Where a thousand ask at once, they cost what one does.

use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};

use super::{Error, reading};

/// How old a list may be that is read again.
pub(super) const FRESH: SignedDuration = SignedDuration::from_secs(5);
/// A namespace's list that nobody has asked for lately is forgotten.
const KEPT: SignedDuration = SignedDuration::from_secs(60);
/// How long a list may take.
const LIMIT: Duration = Duration::from_secs(10);

/// The last list of each namespace.
pub(super) struct ByNamespace<T> {
    /// What is listed, for messages.
    what: &'static str,
    /// Whoever asks while a list is under way waits for it.
    lists: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Listed<T>>>>>,
}

struct Listed<T> {
    at: Timestamp,
    /// Or why there is none: those who have waited for it do not try again one after the other.
    items: Result<Arc<Vec<T>>, String>,
}

impl<T> ByNamespace<T> {
    pub(super) fn new(what: &'static str) -> Self {
        Self { what, lists: Mutex::default() }
    }

    /// The namespace's list, where it was made at `oldest` or later; otherwise `list` makes it anew.
    ///
    /// # Errors
    /// Where the list could not be made, also by somebody else a moment ago.
    pub(super) async fn get(
        &self,
        namespace: &str,
        (oldest, now): (Timestamp, Timestamp),
        list: impl Future<Output = Result<Vec<T>, Error>>,
    ) -> Result<Arc<Vec<T>>, Error> {
        let of_namespace = self.of(namespace, now);
        let mut listed = of_namespace.lock().await;
        if listed.at < oldest {
            // Within a limit: others of the namespace wait for this list, and the API server may not answer.
            let limited = tokio::time::timeout(LIMIT, list).await;
            let items = limited.map_or_else(|_| Err("no answer in time".to_owned()), |listed| listed.map_err(|error| error.to_string()));
            *listed = Listed { at: now, items: items.map(Arc::new) };
        }
        let failed = |why: String| reading(format!("{} of namespace {namespace}", self.what))(kube::Error::Service(why.into()));
        listed.items.clone().map_err(failed)
    }

    fn of(&self, namespace: &str, now: Timestamp) -> Arc<tokio::sync::Mutex<Listed<T>>> {
        let mut all = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|name, listed| name == namespace || listed.try_lock().map_or(true, |listed| now.duration_since(listed.at) < KEPT));
        let never = || Arc::new(tokio::sync::Mutex::new(Listed { at: Timestamp::MIN, items: Ok(Arc::default()) }));
        all.entry(namespace.to_owned()).or_insert_with(never).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_list_serves_all_who_ask_within_a_few_seconds() {
        let lists = ByNamespace::new("things");
        let at = |second: i64| Timestamp::from_second(1_000_000 + second).unwrap();
        let ask = async |namespace: &str, second: i64, item: i32| {
            let window = (at(second) - FRESH, at(second));
            *lists.get(namespace, window, async { Ok(vec![item]) }).await.unwrap().first().unwrap()
        };
        assert_eq!((ask("a", 0, 1).await, ask("a", 5, 2).await, ask("b", 5, 3).await), (1, 1, 3));
        assert_eq!(ask("a", 6, 4).await, 4, "the first is too old by then");
        ask("b", 100, 5).await;
        assert_eq!(lists.lists.lock().unwrap().len(), 1, "a namespace that nobody asks about is forgotten");
        let failed = lists.get("c", (at(200), at(200)), async { Err(reading("things")(kube::Error::Service("no".into()))) }).await;
        assert!(failed.is_err());
        let waited = lists.get("c", (at(200), at(204)), async { panic!("asked again at once") }).await;
        assert!(waited.is_err_and(|error| error.to_string().contains("no")), "who waited is told the same");
        assert_eq!(ask("c", 206, 6).await, 6, "later it is tried again");
    }
}
