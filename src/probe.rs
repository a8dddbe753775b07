//! What the kubelet and Prometheus ask: `/livez`, `/readyz`, `/metrics`.

use std::{net::SocketAddr, sync::Arc};

use anyhow::Context as _;
use axum::{Router, extract::State, http::StatusCode, routing::get};
use tokio::net::TcpListener;

use crate::controller::Context;

/// Answers until the process ends.
///
/// # Errors
/// Where the address cannot be listened on.
pub async fn serve(listen: SocketAddr, context: Arc<Context>) -> anyhow::Result<()> {
    let router = Router::new()
        .route("/livez", get(|| std::future::ready("ok")))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(context);
    let listener = TcpListener::bind(listen).await.with_context(|| format!("listening on {listen}"))?;
    axum::serve(listener, router).await.context("serving probes and metrics")
}

/// Ready once every kind has been read: names those that have not (their CRD may be missing, or the right to list them).
async fn ready(State(context): State<Arc<Context>>) -> (StatusCode, String) {
    let unsynced = context.caches.unsynced();
    if unsynced.is_empty() {
        return (StatusCode::OK, "ok".to_owned());
    }
    (StatusCode::SERVICE_UNAVAILABLE, format!("not read yet: {}", unsynced.join(", ")))
}

async fn metrics(State(context): State<Arc<Context>>) -> (StatusCode, String) {
    match context.metrics.render() {
        Ok(text) => (StatusCode::OK, text),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}
