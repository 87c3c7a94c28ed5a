//! Whether the operator is alive, for the kubelet, and its metrics. Touches one port.

use std::sync::Arc;

use axum::Router;
use axum::http::header;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::metrics::Metrics;

/// Answers `/healthz` and `/metrics` until the process ends. An operator that waits for the lease is healthy, too.
pub async fn serve(listener: TcpListener, metrics: Arc<Metrics>) -> std::io::Result<()> {
    let plain = [(
        header::CONTENT_TYPE,
        "text/plain; version=0.0.4; charset=utf-8",
    )];
    let text = move || async move { (plain, metrics.text()) };
    let router = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/metrics", get(text));
    axum::serve(listener, router).await
}
