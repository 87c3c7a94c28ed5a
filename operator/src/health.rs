//! Whether the operator is alive, for the kubelet. Touches one port.

use axum::Router;
use axum::routing::get;
use tokio::net::TcpListener;

/// Answers `/healthz` until the process ends. An operator that waits for the lease is healthy, too.
pub async fn serve(listener: TcpListener) -> std::io::Result<()> {
    let router = Router::new().route("/healthz", get(|| async { "ok\n" }));
    axum::serve(listener, router).await
}
