//! `logpipe-operator`: reads its environment, waits for the lease, reconciles until it is told to stop.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use kube::Client;
use logpipe_operator::config::{Asked, Config, HELP};
use logpipe_operator::context::Context;
use logpipe_operator::controller;
use logpipe_operator::health;
use logpipe_operator::leader::{self, Leadership};
use logpipe_operator::metrics::Metrics;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match Asked::from_args(std::env::args().skip(1)) {
        Ok(Asked::Help) => print!("{HELP}"),
        Ok(Asked::Version) => println!("logpipe-operator {}", env!("CARGO_PKG_VERSION")),
        Ok(Asked::Run) => {
            if let Err(error) = run() {
                eprintln!("error: {error}");
                for cause in error.chain().skip(1) {
                    eprintln!("  because: {cause}");
                }
                return ExitCode::FAILURE;
            }
        }
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

#[tokio::main]
async fn run() -> anyhow::Result<()> {
    let filter = EnvFilter::try_from_env("LOGPIPE_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .json()
        .with_env_filter(filter)
        .init();
    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
    let config = Config::from_env(std::env::vars())?;
    let listener = health::listen(&config.listen).await;
    let listener = listener.with_context(|| format!("cannot listen on {}", config.listen))?;
    let metrics = Arc::new(Metrics::default());
    tokio::spawn(health::serve(listener, metrics.clone()));
    let server = kube::Config::infer()
        .await
        .context("the API server cannot be found")?;
    let client = Client::try_from(server.clone()).context("no client of the API server")?;
    let lease = leader::client(server).context("no client for the lease")?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut leadership = Leadership::ask(lease, &config)
        .await
        .context("the lease cannot be asked for")?;
    tokio::select! {
        () = leadership.won() => {}
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    }
    tracing::info!("leading");
    metrics.lead(true);
    let lost = leadership.lost();
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let context = Context::new(client, config).observed_by(metrics.clone());
    tokio::select! {
        () = controller::run(Arc::new(context), stop) => {}
        () = lost => {
            // At once, whatever is under way: another one may have begun. Nothing depends on how we end.
            tracing::error!("the lease was lost, or could not be renewed: this operator ends, and starts anew");
            std::process::exit(1);
        }
    }
    metrics.lead(false);
    leadership.release().await;
    Ok(())
}
