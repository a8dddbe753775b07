//! Waiting, with a bound, that tells what was last seen.

use std::{fmt::Debug, sync::Mutex, time::Duration};

use kube::{Api, Resource, runtime::wait};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::{Instant, sleep, timeout};

/// Watches the object until `holds`, and returns it: `None` where it does not exist then.
#[track_caller]
pub fn await_condition<K, Holds>(
    api: &Api<K>,
    name: &str,
    what: &str,
    limit: Duration,
    holds: Holds,
) -> impl Future<Output = Option<K>> + use<K, Holds>
where
    K: Clone + Debug + Send + Sync + Serialize + DeserializeOwned + Resource + 'static,
    Holds: Fn(Option<&K>) -> bool + Send + Sync,
{
    let caller = std::panic::Location::caller();
    let (api, name, what) = (api.clone(), name.to_owned(), what.to_owned());
    async move {
        let seen = Mutex::new(None);
        let watching = wait::await_condition(api.clone(), &name, |object: Option<&K>| {
            *seen.lock().expect("not poisoned") = object.cloned();
            holds(object)
        });
        match timeout(limit, watching).await {
            Ok(Ok(object)) => object,
            Ok(Err(e)) => panic!("{caller}: waiting for {name} {what}: {e}"),
            Err(_) => {
                let seen = seen.into_inner().expect("not poisoned");
                let seen = seen.map_or("nothing of that name".to_owned(), |object| {
                    serde_yaml::to_string(&object).unwrap_or_else(|_| format!("{object:?}"))
                });
                panic!("{caller}: waited {limit:?} for {name} {what}; last seen:\n{seen}")
            }
        }
    }
}

/// Asks again and again until it is so, for what no watch can tell. The error is what was seen instead.
#[track_caller]
pub fn eventually<T, Ask>(what: &str, limit: Duration, ask: Ask) -> impl Future<Output = T> + use<T, Ask>
where
    Ask: AsyncFn() -> Result<T, String>,
{
    let caller = std::panic::Location::caller();
    let (what, deadline) = (what.to_owned(), Instant::now() + limit);
    async move {
        loop {
            match ask().await {
                Ok(answer) => return answer,
                Err(seen) if Instant::now() > deadline => panic!("{caller}: waited {limit:?} until {what}; last seen: {seen}"),
                Err(_) => sleep(Duration::from_millis(100)).await,
            }
        }
    }
}
