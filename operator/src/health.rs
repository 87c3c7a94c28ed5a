//! Whether the operator is alive, for the kubelet, and its metrics. Touches one port.

use std::sync::Arc;

use axum::Router;
use axum::http::header;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::metrics::Metrics;

/// `[::]` is every address of both kinds. On a node without IPv6 it is none.
pub async fn listen(address: &str) -> std::io::Result<TcpListener> {
    match (
        TcpListener::bind(address).await,
        address.strip_prefix("[::]:"),
    ) {
        (Err(_), Some(port)) => TcpListener::bind(format!("0.0.0.0:{port}")).await,
        (outcome, _) => outcome,
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_address_is_also_that_of_version_4() {
        let listener = listen("[::]:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::net::TcpStream::connect(("127.0.0.1", port))
            .await
            .unwrap();
    }
}
