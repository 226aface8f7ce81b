//! The server as a program: settings, logs, signals.

#![forbid(unsafe_code)]

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use sse_server::access::Access;
use sse_server::config::{Config, Settings};
use sse_server::http::{self, HttpConfig};
use sse_server::hub::{Hub, HubConfig};
use sse_server::storage;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing::info;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let done = Settings::parse().resolve().map_err(Into::into).and_then(|config| {
        log(&config.log)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(run(config))
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

type Error = Box<dyn std::error::Error + Send + Sync>;

fn log(directives: &str) -> Result<(), Error> {
    let filter = EnvFilter::try_new(directives)
        .map_err(|error| format!("--log: {directives:?} is no log filter: {error}"))?;
    let is_terminal = std::io::stderr().is_terminal();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(is_terminal)
        .with_target(false)
        .init();
    Ok(())
}

async fn run(config: Config) -> Result<(), Error> {
    // Before anything that takes time, so that a signal during the start ends it cleanly too.
    let shutdown = shutdown()?;
    let listener = TcpListener::bind(&*config.listen).await.map_err(|error| {
        let address = config.listen[0];
        format!("--listen: cannot listen on {address}: {error}; choose another address or port")
    })?;
    let storage = config
        .storage
        .open(config.retention)
        .await
        .map_err(|error| format!("--storage {}: cannot {error}", config.storage))?;
    let relay = config
        .relay
        .open()
        .await
        .map_err(|error| format!("--relay {}: cannot {error}", config.relay))?;
    let address = listener.local_addr()?;
    let (storage_name, relay_name) = (&config.storage, &config.relay);
    info!("listening on http://{address}/events/ with storage {storage_name}, relay {relay_name}");
    let token = if let Some(token) = config.publish_token {
        token
    } else {
        let token = random_token()?;
        info!("publish with the token {token}");
        token
    };
    let mut hub = HubConfig::default().refresh(config.refresh);
    if let Some(relay) = relay {
        hub = hub.relay(relay);
    }
    if !config.unreliable.is_empty() {
        let unreliable = config.unreliable;
        hub = hub.reliable(move |channel| {
            !unreliable.iter().any(|pattern| pattern.matches(channel, |_| None))
        });
    }
    let hub = Hub::with_config(storage.clone(), hub);
    let trimming = tokio::spawn(storage::keep_trimmed(storage.clone(), config.retention));
    let mut http =
        HttpConfig::new(token).keep_alive(config.keep_alive).max_event_len(config.max_event_size);
    http = http.endpoints(config.endpoints).limits(config.limits);
    if let Some(cors) = config.cors {
        http = http.cors(cors);
    }
    for token in config.publishers {
        http = http.publish_token(token);
    }
    let access = config.rules.map(|rules| Access::new(rules, &hub));
    if let Some(access) = &access {
        http = http.access(access.clone());
    }
    http::serve(listener, http::router(hub.clone(), http), &hub, shutdown).await;
    if let Some(access) = access {
        access.close().await;
    }
    trimming.abort();
    storage.close().await;
    info!("stopped");
    Ok(())
}

/// Completes at the first SIGINT or SIGTERM.
fn shutdown() -> std::io::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

fn random_token() -> Result<String, Error> {
    let mut bytes = [0u8; 16];
    getrandom::fill(&mut bytes).map_err(|error| format!("no random numbers to be had: {error}"))?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}
