//! What goes wrong between the operator and the API server.

use std::{
    collections::HashSet,
    error::Error,
    future::pending,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use http::{Method, Request, Response};
use kube::{Client, client::Body};
use serde_json::json;
use tokio::{sync::watch, time::Instant};
use tower::Service;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// The operator is killed before the write is sent.
    KilledBefore,
    /// The operator is killed after the server has made the write.
    KilledAfter,
    /// The server makes the write, and the connection breaks before it can say so.
    ConnectionLost,
    /// The server makes the write, and something in between answers 504.
    GatewayTimeout,
    /// The server makes the write, and the client, which has not heard, sends it once more.
    SentTwice,
    /// The server answers this code and does nothing.
    Refused(u16),
}

/// When it goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// At the write of that number; 1 is the first.
    At(usize),
    /// At the first try of each write: of each verb on each path.
    FirstTries,
}

/// What goes wrong, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    pub what: What,
    pub when: When,
}

/// The faults of one story, and what has come of them. All operators of a story share it: a fault at one write happens once.
pub struct Line {
    fault: Option<Fault>,
    told: Mutex<Told>,
    dead: watch::Sender<bool>,
}

struct Told {
    writes: usize,
    tried: HashSet<(Method, String)>,
    hits: usize,
    last: Instant,
}

impl Line {
    pub fn new(fault: Option<Fault>) -> Arc<Self> {
        let told = Told { writes: 0, tried: HashSet::new(), hits: 0, last: Instant::now() };
        Arc::new(Self { fault, told: Mutex::new(told), dead: watch::channel(false).0 })
    }

    /// A client whose requests go over this line.
    pub fn client(self: &Arc<Self>, inner: Client) -> Client {
        let namespace = inner.default_namespace().to_owned();
        Client::new(Faulty { inner, line: self.clone() }, namespace)
    }

    /// Returns when the operator is to be killed.
    pub async fn killed(&self) {
        self.dead.subscribe().wait_for(|dead| *dead).await.expect("the line outlives its clients");
    }

    /// Lets requests through again, for the next operator.
    pub fn revive(&self) {
        self.told.lock().expect("not poisoned").last = Instant::now();
        self.dead.send_replace(false);
    }

    /// How many writes there were.
    pub fn writes(&self) -> usize {
        self.told.lock().expect("not poisoned").writes
    }

    /// How often something went wrong.
    pub fn hits(&self) -> usize {
        self.told.lock().expect("not poisoned").hits
    }

    /// Returns once there has been no write for so long.
    pub async fn quiet(&self, span: Duration) {
        loop {
            let until = self.told.lock().expect("not poisoned").last + span;
            if Instant::now() >= until {
                return;
            }
            tokio::time::sleep_until(until).await;
        }
    }

    /// Counts a write, and says what goes wrong with it.
    fn strikes(&self, request: &Request<Body>) -> Option<What> {
        let mut told = self.told.lock().expect("not poisoned");
        told.writes += 1;
        told.last = Instant::now();
        let fault = self.fault?;
        let strikes = match fault.when {
            When::At(nth) => told.writes == nth,
            When::FirstTries => told.tried.insert((request.method().clone(), request.uri().path().to_owned())),
        };
        told.hits += usize::from(strikes);
        strikes.then_some(fault.what)
    }

    /// Nothing gets through any more, in either direction.
    async fn die<T>(&self) -> T {
        self.dead.send_replace(true);
        pending().await
    }
}

struct Faulty {
    inner: Client,
    line: Arc<Line>,
}

type BoxError = Box<dyn Error + Send + Sync>;

impl Service<Request<Body>> for Faulty {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<Body>, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (inner, line) = (self.inner.clone(), self.line.clone());
        send(inner, line, request).boxed()
    }
}

async fn send(inner: Client, line: Arc<Line>, request: Request<Body>) -> Result<Response<Body>, BoxError> {
    if *line.dead.borrow() {
        return pending().await;
    }
    let writes = [Method::POST, Method::PUT, Method::PATCH, Method::DELETE].contains(request.method());
    let strikes = if writes { line.strikes(&request) } else { None };
    match strikes {
        None => {
            let answer = inner.send(request).await;
            if *line.dead.borrow() { pending().await } else { Ok(answer?) }
        }
        Some(What::KilledBefore) => line.die().await,
        Some(What::KilledAfter) => {
            inner.send(request).await?;
            line.die().await
        }
        Some(What::ConnectionLost) => {
            inner.send(request).await?;
            Err("connection closed before message completed".into())
        }
        Some(What::GatewayTimeout) => {
            inner.send(request).await?;
            Ok(refusal(504))
        }
        Some(What::SentTwice) => {
            let again = copy(&request);
            inner.send(request).await?;
            Ok(inner.send(again).await?)
        }
        Some(What::Refused(code)) => Ok(refusal(code)),
    }
}

fn copy(request: &Request<Body>) -> Request<Body> {
    let mut copy = Request::new(request.body().try_clone().expect("a body that is not a stream"));
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    copy
}

fn refusal(code: u16) -> Response<Body> {
    let reason = match code {
        409 => "Conflict",
        429 => "TooManyRequests",
        504 => "Timeout",
        _ => "InternalError",
    };
    let status = json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "a fault", "reason": reason, "code": code });
    let body = Body::from(status.to_string().into_bytes());
    Response::builder().status(code).header("Content-Type", "application/json").body(body).expect("a response")
}
