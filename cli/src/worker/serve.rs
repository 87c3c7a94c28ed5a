//! `/metrics` and `/readyz` on a port of their own, where one is asked for. Touches that port.
//!
//! The port opens when a role has reached what it needs to begin, so that any answer means that it is ready. There
//! is nothing to ask whether it is alive: a role that cannot go on ends by itself, and one that waits for Kafka or
//! the bucket must not be killed for it.

use std::net::TcpListener;
use std::sync::Arc;

use anyhow::Context;
use axum::Router;
use axum::http::header;
use axum::routing::get;
use logpipe_api::settings::{MetricsSettings, Settings};
use logpipe_workers::counters::Counters;
use logpipe_workers::metrics::{self, Role};

/// Answers from a thread of its own until the process ends. Without `LOGPIPE_METRICS_LISTEN` it opens nothing.
pub(super) fn start(role: Role, counters: Arc<Counters>) -> anyhow::Result<()> {
    let Some(address) = MetricsSettings::from_env(std::env::vars())?.listen else {
        return Ok(());
    };
    let listener = listen(&address)
        .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
        .with_context(|| format!("cannot listen on {address} (LOGPIPE_METRICS_LISTEN)"))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start a runtime for metrics")?;
    let router = router(role, counters);
    std::thread::Builder::new()
        .name("metrics".to_owned())
        .spawn(move || {
            let served = runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener)?;
                axum::serve(listener, router).await
            });
            if let Err(error) = served {
                tracing::error!(%error, "metrics are told no more");
            }
        })
        .context("cannot start the thread metrics")?;
    tracing::info!(address, "metrics");
    Ok(())
}

/// `[::]` is every address of both kinds. On a node without IPv6 it is none.
fn listen(address: &str) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).or_else(|error| match address.strip_prefix("[::]:") {
        Some(port) => TcpListener::bind(format!("0.0.0.0:{port}")),
        None => Err(error),
    })
}

fn router(role: Role, counters: Arc<Counters>) -> Router {
    let plain = [(
        header::CONTENT_TYPE,
        "text/plain; version=0.0.4; charset=utf-8",
    )];
    let text = move || async move { (plain, metrics::text(&role, &counters)) };
    Router::new()
        .route("/metrics", get(text))
        .route("/readyz", get(|| async { "ready\n" }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_is_also_that_of_version_4() {
        let listener = listen("[::]:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        assert!(listener.accept().is_ok());
    }
}
