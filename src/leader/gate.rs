//! The gate in front of the API server: while this process does not lead, it sends nothing but reads.
//!
//! It stands in the client, so that no write can go past it, also none of code that is yet to be written.

use std::{
    future::poll_fn,
    task::{Context, Poll},
};

use futures::{FutureExt, TryFutureExt, future::BoxFuture};
use http::{Method, Request};
use tower::{BoxError, Layer, Service};

use super::Leadership;

/// A write that was not sent.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("this process does not lead, so it does not write")]
pub struct NotLeading;

/// Puts the gate in front of a client's requests.
#[derive(Clone)]
pub struct Gate(pub(super) Leadership);

impl<S> Layer<S> for Gate {
    type Service = Gated<S>;

    fn layer(&self, inner: S) -> Gated<S> {
        Gated { inner, leadership: self.0.clone() }
    }
}

/// Requests that pass the gate.
pub struct Gated<S> {
    inner: S,
    leadership: Leadership,
}

impl<S, B> Service<Request<B>> for Gated<S>
where
    S: Service<Request<B>>,
    S::Future: Send + 'static,
    S::Response: 'static,
    S::Error: Into<BoxError> + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<S::Response, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    /// Looks at the lease before *each* step of a write, and not only before the first: kube's client waits for a
    /// connection and retries by itself, and the lease may go meanwhile. A request takes a step towards the wire only where
    /// this future is polled, up to the one in which hyper's connection gets it.
    ///
    /// A race remains that no look can close. A process that is frozen between its last look and the system call that
    /// sends the bytes, some microseconds later, sends them when it goes on; and what has been sent can arrive late. So
    /// names are locks, and writes carry the UID or the version that they were planned from.
    fn call(&mut self, request: Request<B>) -> Self::Future {
        if matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) {
            return self.inner.call(request).map_err(Into::into).boxed();
        }
        let leadership = self.leadership.clone();
        let mut answer = leadership.is_held().then(|| Box::pin(self.inner.call(request)));
        poll_fn(move |context| match &mut answer {
            Some(answer) if leadership.is_held() => answer.as_mut().poll(context).map_err(Into::into),
            _ => {
                // What is under way is dropped here and not when somebody gets round to it.
                answer = None;
                Poll::Ready(Err(NotLeading.into()))
            }
        })
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc, Mutex,
            atomic::{AtomicU64, Ordering},
        },
        time::Duration,
    };

    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::{
        Api, Client,
        api::{DeleteParams, Patch, PatchParams, PostParams},
        client::Body,
    };
    use tower::service_fn;

    use super::*;
    use crate::clock::Clock;

    static NOW: AtomicU64 = AtomicU64::new(0);

    fn now() -> Duration {
        Duration::from_secs(NOW.load(Ordering::SeqCst))
    }

    fn answer() -> http::Response<Body> {
        http::Response::new(Body::from(br#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"}}"#.to_vec()))
    }

    /// Whether the request was refused by the gate.
    fn is_refused<T>(answer: kube::Result<T>) -> bool {
        match answer {
            Err(kube::Error::Service(error)) => error.is::<NotLeading>(),
            Err(error) => panic!("{error}"),
            Ok(_) => false,
        }
    }

    #[tokio::test]
    async fn who_does_not_lead_reads_and_does_not_write() {
        let sent = Arc::new(Mutex::new(Vec::new()));
        let record = sent.clone();
        let server = service_fn(move |request: Request<Body>| {
            record.lock().unwrap().push(request.method().clone());
            std::future::ready(Ok::<_, BoxError>(answer()))
        });
        let leadership = Leadership::standing_by(Clock::with_monotonic(now), Duration::from_secs(7));
        let client = Client::new(leadership.gate().layer(server), "default");
        let api: Api<ConfigMap> = Api::default_namespaced(client);
        let writes = async || {
            let object =
                ConfigMap { metadata: kube::api::ObjectMeta { name: Some("a".into()), ..Default::default() }, ..Default::default() };
            [
                is_refused(api.create(&PostParams::default(), &object).await),
                is_refused(api.replace("a", &PostParams::default(), &object).await),
                is_refused(api.patch("a", &PatchParams::default(), &Patch::Merge(serde_json::json!({}))).await),
                is_refused(api.delete("a", &DeleteParams::default()).await),
            ]
        };
        let reads = async || is_refused(api.get("a").await);

        assert_eq!((writes().await, reads().await), ([true; 4], false), "a standby");
        leadership.renewed(now());
        assert_eq!((writes().await, reads().await), ([false; 4], false), "a leader");
        NOW.store(6, Ordering::SeqCst);
        assert_eq!(writes().await, [false; 4], "still");
        let before = sent.lock().unwrap().len();
        NOW.store(7, Ordering::SeqCst);
        assert_eq!(writes().await, [true; 4], "no renewal for so long");
        assert_eq!(sent.lock().unwrap().len(), before, "nothing reaches the wire");
        assert!(!reads().await);
        leadership.renewed(now());
        assert_eq!(writes().await, [false; 4]);
        leadership.give_up();
        assert_eq!(writes().await, [true; 4], "released");
        leadership.renewed(now());
        assert_eq!(writes().await, [true; 4], "for good");
    }

    #[tokio::test]
    async fn a_write_that_waits_when_the_lease_goes_is_not_sent() {
        static LATER: AtomicU64 = AtomicU64::new(0);
        let (connected, connecting) = tokio::sync::watch::channel(false);
        let sent = Arc::new(Mutex::new(0));
        let count = sent.clone();
        // A connection that takes its time, as kube's retries and TLS do.
        let server = service_fn(move |_: Request<Body>| {
            let (mut connecting, count) = (connecting.clone(), count.clone());
            async move {
                connecting.wait_for(|connected| *connected).await?;
                *count.lock().unwrap() += 1;
                Ok::<_, BoxError>(answer())
            }
        });
        let leadership =
            Leadership::standing_by(Clock::with_monotonic(|| Duration::from_secs(LATER.load(Ordering::SeqCst))), Duration::from_secs(7));
        leadership.renewed(Duration::ZERO);
        let api: Api<ConfigMap> = Api::default_namespaced(Client::new(leadership.gate().layer(server), "default"));
        let write = async || is_refused(api.delete("a", &DeleteParams::default()).await);
        let (refused, ()) = tokio::join!(write(), async {
            tokio::task::yield_now().await;
            LATER.store(20, Ordering::SeqCst);
            connected.send_replace(true);
        });
        assert!(refused);
        assert_eq!(*sent.lock().unwrap(), 0);
        leadership.renewed(Duration::from_secs(20));
        assert!(!write().await);
        assert_eq!(*sent.lock().unwrap(), 1);
    }

    #[tokio::test]
    async fn without_an_election_everything_passes() {
        let server = service_fn(|_: Request<Body>| std::future::ready(Ok::<_, BoxError>(answer())));
        let client = Client::new(Leadership::always().gate().layer(server), "default");
        let api: Api<ConfigMap> = Api::default_namespaced(client);
        assert!(!is_refused(api.delete("a", &DeleteParams::default()).await));
    }
}
