//! All that a process says to the API server goes over a wire of its own, where its writes are written down as they come,
//! and where an answer can be held back.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, body::Body, extract::State, response::IntoResponse};
use http::{Method, Request, Response, StatusCode};
use kube::Client;
use tokio::{net::TcpListener, sync::watch, time::timeout};

/// A write whose answer is held back: the method, and how the path ends.
pub type Place = (Method, &'static str);

/// A wire.
#[derive(Clone)]
pub struct Wire {
    /// Where the API server seems to be.
    pub address: SocketAddr,
    told: Arc<Told>,
}

struct Told {
    client: Client,
    /// All writes but those of the Lease, as they came: method and path.
    writes: Mutex<Vec<String>>,
    hold: Mutex<Option<Place>>,
    /// Whether an answer is being held.
    held: watch::Sender<bool>,
}

impl Wire {
    /// A wire to the API server of that client.
    pub async fn new(client: Client) -> Self {
        let told = Arc::new(Told { client, writes: Mutex::default(), hold: Mutex::default(), held: watch::channel(false).0 });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port of this machine");
        let address = listener.local_addr().expect("it listens");
        let router = Router::new().fallback(forward).with_state(told.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, told }
    }

    /// The writes so far, but for those of the Lease.
    pub fn writes(&self) -> Vec<String> {
        self.told.writes.lock().expect("not poisoned").clone()
    }

    /// Holds back the answer to the next such write, which the server makes all the same.
    pub fn hold(&self, place: Place) {
        *self.told.hold.lock().expect("not poisoned") = Some(place);
    }

    /// Returns when the answer is there and held back.
    pub async fn held(&self) {
        let mut held = self.told.held.subscribe();
        let waited = timeout(Duration::from_secs(60), held.wait_for(|held| *held)).await;
        waited.unwrap_or_else(|_| panic!("no such write; there were {:?}", self.writes())).expect("the wire is there");
    }

    /// Lets the answer through.
    pub fn release(&self) {
        self.told.held.send_replace(false);
    }
}

async fn forward(State(told): State<Arc<Told>>, request: Request<Body>) -> Response<Body> {
    let (mut parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let writes = !matches!(parts.method, Method::GET | Method::HEAD);
    if writes && !path.contains("/leases") {
        told.writes.lock().expect("not poisoned").push(format!("{} {path}", parts.method));
    }
    let hold = {
        let mut hold = told.hold.lock().expect("not poisoned");
        let here = hold.as_ref().is_some_and(|(method, ending)| *method == parts.method && path.ends_with(ending));
        here && hold.take().is_some()
    };
    let Ok(body) = axum::body::to_bytes(body, usize::MAX).await else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    parts.headers.remove(http::header::HOST);
    parts.uri = parts.uri.path_and_query().expect("a path").as_str().parse().expect("it was one before");
    let answer = told.client.send(Request::from_parts(parts, kube::client::Body::from(body.to_vec()))).await;
    if hold {
        told.held.send_replace(true);
        let _ = told.held.subscribe().wait_for(|held| !*held).await;
    }
    match answer {
        Ok(answer) => answer.map(Body::new),
        Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
    }
}
