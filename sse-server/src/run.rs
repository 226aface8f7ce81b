//! What the program does with its settings: puts the parts together, serves, reads the settings
//! again when asked to, and ends in good order.

use std::sync::Arc;
use std::time::Duration;

use clap::ArgMatches;
use sse_server::access::{Access, ChannelManager, PublishToken, Publishers, Reloadable, Rules};
use sse_server::arriving::Hopeless;
use sse_server::config::{Config, ConfigError, Running};
use sse_server::http::{self, HttpConfig, Tls};
use sse_server::hub::{Hub, HubConfig};
use sse_server::metrics::{TimedRelay, TimedStorage};
use sse_server::storage;
use tracing::{error, info, warn};

use crate::Error;
use crate::log::TOLD;
use crate::signals::Signals;

/// Runs a server with this configuration, which these flags and variables stand for, until a signal
/// ends it.
pub(crate) async fn run(config: Config, flags: ArgMatches) -> Result<(), Error> {
    // Before anything that takes time, so that a signal during the start ends it cleanly too.
    let signals = Signals::new()?;
    let listener = http::listen(&config.listen).map_err(|error| {
        let address = config.listen[0];
        format!("--listen: cannot listen on {address}: {error}; choose another address or port")
    })?;
    let address = listener.local_addr()?;
    let running = Running::new(flags, &config, address);
    let numbers_listener = match &config.metrics_listen {
        None => None,
        Some(addresses) => Some(http::listen(addresses).map_err(|error| {
            let address = addresses[0];
            format!("--metrics-listen: cannot listen on {address}: {error}; choose another one")
        })?),
    };
    let operations = config.operations;
    let of_storage = |error| format!("--storage {}: cannot {error}", config.storage);
    let (storage, no_storage) = config
        .storage
        .open_patiently(config.retention, &config.redis_prefix)
        .await
        .map_err(of_storage)?;
    let storage: Arc<dyn storage::Storage> =
        Arc::new(TimedStorage::new(storage, operations.metrics().clone()));
    let of_relay = |error| format!("--relay {}: cannot {error}", config.relay);
    let (relay, no_relay) =
        config.relay.open_patiently(&config.relay_options).await.map_err(of_relay)?;
    let scheme = if operations.tls_settings().is_some() { "https" } else { "http" };
    let (storage_name, relay_name) = (&config.storage, &config.relay);
    info!(
        "listening on {scheme}://{address}/events/ with storage {storage_name}, relay {relay_name}"
    );
    let is_random = config.publish_token.is_none();
    let token = config.publish_token.map_or_else(random_token, Ok)?;
    if is_random {
        info!(target: TOLD, "publish with the token {token}");
    }
    for warning in config.warnings {
        warn!("{warning}");
    }
    let mut hub = HubConfig::default().refresh(config.refresh).max_event_len(config.max_event_size);
    if config.retention.age < Duration::from_mins(1) {
        hub = hub.memory_age(config.retention.age);
    }
    if let Some(relay) = relay {
        hub = hub.relay(Arc::new(TimedRelay::new(relay, operations.metrics().clone())));
    }
    if !config.unreliable.is_empty() {
        let unreliable = config.unreliable;
        hub = hub.reliable(move |channel| {
            !unreliable.iter().any(|pattern| pattern.matches(channel, |_| None))
        });
    }
    let hub = Hub::with_config(storage.clone(), hub);
    let trimming = tokio::spawn(storage::keep_trimmed(storage.clone(), config.retention));
    hub.depends_on("trimming", trimming.abort_handle());
    let mut http = HttpConfig::new(token.clone())
        .keep_alive(config.keep_alive)
        .max_event_len(config.max_event_size)
        .endpoints(config.endpoints)
        .limits(config.limits)
        .operations(operations.clone());
    if let Some(cors) = config.cors {
        http = http.cors(cors);
    }
    for token in config.publishers {
        http = http.publish_token(token);
    }
    // Without a file there can never be rules, and streams need not be watched.
    let access = running.has_file().then(|| {
        let manager = Arc::new(Reloadable::new(manager(config.rules)));
        (Access::new(manager.clone(), &hub), manager)
    });
    if let Some((access, _)) = &access {
        http = http.access(access.clone());
    }
    let mut tasks = vec![trimming];
    if let Some(listener) = numbers_listener {
        let address = listener.local_addr()?;
        info!("metrics at http://{address}/metrics");
        let router = http::metrics_router(hub.clone(), http.clone());
        let hub = hub.clone();
        http = http.without_metrics();
        tasks.push(tokio::spawn(async move {
            http::serve(listener, router, &hub, std::future::pending()).await;
        }));
    }
    let (end, end_at_once) = (signals.end(1), signals.end(2));
    let reload = Reload {
        running,
        token: is_random.then_some(token),
        access: access.clone(),
        publishers: http.publishers().clone(),
        tls: operations.tls_settings().cloned(),
    };
    tasks.push(tokio::spawn(reload.when_asked(signals)));
    let router = http::router(hub.clone(), http);
    tokio::select! {
        () = http::serve_with(listener, router, &hub, &operations, end) => {}
        error = hopeless(no_storage) => return Err(of_storage(error).into()),
        error = hopeless(no_relay) => return Err(of_relay(error).into()),
        () = end_at_once => {
            return Err("ended at once by a second signal; requests under way were cut".into());
        }
    }
    if let Some((access, _)) = access {
        access.close().await;
    }
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
    storage.close().await;
    info!("stopped");
    Ok(())
}

/// The error of a service that can never be used. Does not complete otherwise.
async fn hopeless<E>(service: Option<Hopeless<E>>) -> E {
    match service {
        Some(service) => service.error().await,
        None => std::future::pending().await,
    }
}

fn manager(rules: Option<Arc<Rules>>) -> Option<Arc<dyn ChannelManager>> {
    rules.map(|rules| rules as Arc<dyn ChannelManager>)
}

/// What can be exchanged while the server runs.
struct Reload {
    running: Running,
    /// The token that was made at the start, if it was.
    token: Option<String>,
    access: Option<(Access, Arc<Reloadable>)>,
    publishers: Publishers,
    tls: Option<Tls>,
}

impl Reload {
    /// Reads the settings again at every SIGHUP. Those that cannot be used change nothing.
    async fn when_asked(mut self, mut signals: Signals) {
        loop {
            signals.hangup().await;
            match self.reload().await {
                Ok(()) => info!("rules, publish tokens and certificate were read again"),
                Err(error) => {
                    error!(%error, "the settings are not taken over; all stays as it was");
                }
            }
        }
    }

    async fn reload(&mut self) -> Result<(), ConfigError> {
        // To the end before anything is changed.
        let config = self.running.read_again().await?;
        let token = config.publish_token.as_ref().or(self.token.as_ref());
        let all = token.map(PublishToken::for_all).into_iter().chain(config.publishers);
        self.publishers.replace(all.collect());
        for warning in &config.warnings {
            warn!("{warning}");
        }
        if let Some((tls, new)) = self.tls.as_ref().zip(config.operations.tls_settings()) {
            tls.replace(new);
        }
        if let Some((access, manager)) = &self.access {
            manager.replace(self::manager(config.rules));
            access.check_all().await;
        }
        Ok(())
    }
}

pub(crate) fn random_token() -> Result<String, Error> {
    let mut bytes = [0u8; 16];
    getrandom::fill(&mut bytes)
        .map_err(|error| format!("the system gives no random numbers: {error}"))?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}
