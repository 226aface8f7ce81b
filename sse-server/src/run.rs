//! What the program does with its settings: puts the parts together, serves, reads the settings
//! again when asked to, and ends in good order.

use std::sync::Arc;
use std::time::Duration;

use clap::ArgMatches;
use sse_server::access::{Access, ChannelManager, PublishToken, Publishers, Reloadable, Rules};
use sse_server::arriving::Hopeless;
use sse_server::config::{Config, ConfigError, Listen, ListenAddress, Running};
use sse_server::http::{self, HttpConfig, Listener, ListenerAddress, Tls};
use sse_server::hub::{Hub, HubConfig, PublishThread};
use sse_server::metrics::{TimedRelay, TimedStorage};
use sse_server::storage;
use tracing::{error, info, warn};

use crate::Error;
use crate::log::TOLD;
use crate::signals::Signals;
use crate::systemd::{self, Sockets};

/// Runs a server with this configuration, which these flags and variables stand for, until a signal
/// ends it.
pub(crate) async fn run(
    config: Config,
    flags: ArgMatches,
    mut sockets: Sockets,
) -> Result<(), Error> {
    // Before anything that takes time, so that a signal during the start ends it cleanly too.
    let signals = Signals::new()?;
    let listener = listen(&config.listen, &mut sockets).map_err(|problem| {
        format!("--listen: cannot listen on {problem}; choose another address or port")
    })?;
    let address = listener.address()?;
    let running = Running::new(flags, &config, in_settings(&address));
    let numbers_listener = config.metrics_listen.as_ref().map(|place| listen(place, &mut sockets));
    let numbers_listener = numbers_listener.transpose().map_err(|problem| {
        format!("--metrics-listen: cannot listen on {problem}; choose another one")
    })?;
    for name in sockets.left() {
        warn!("nothing listens on the socket {name:?} that was handed over");
    }
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
    let base = &config.base_path;
    let place = match &address {
        ListenerAddress::Tcp(address) => format!("{scheme}://{address}{base}/events/"),
        unix @ ListenerAddress::Unix(_) => format!("{unix} at {base}/events/"),
    };
    let (storage_name, relay_name) = (&config.storage, &config.relay);
    info!("listening on {place} with storage {storage_name}, relay {relay_name}");
    let is_random = config.publish_token.is_none();
    let token = config.publish_token.map_or_else(random_token, Ok)?;
    if is_random {
        info!(target: TOLD, "publish with the token {token}");
    }
    for warning in config.warnings {
        warn!("{warning}");
    }
    let mut hub = HubConfig::default()
        .refresh(config.refresh)
        .max_event_len(config.max_event_size)
        .publish_on(PublishThread::start()?);
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
        .base_path(config.base_path)
        .operations(operations.clone());
    if let Some(cors) = config.cors {
        http = http.cors(cors);
    }
    if let Some(grip) = config.grip {
        http = http.grip(grip);
    }
    for token in config.publishers {
        http = http.publish_token(token);
    }
    let mut tasks = vec![trimming];
    if let Some(rules) = config.rules.clone() {
        tasks.push(tokio::spawn(async move { rules.fetch_keys().await }));
    }
    // Without a file there can never be rules, and streams need not be watched.
    let access = running.has_file().then(|| {
        let manager = Arc::new(Reloadable::new(manager(config.rules)));
        (Access::new(manager.clone(), &hub), manager)
    });
    if let Some((access, _)) = &access {
        http = http.access(access.clone());
    }
    if let Some(listener) = numbers_listener {
        match listener.address()? {
            ListenerAddress::Tcp(address) => info!("metrics at http://{address}/metrics"),
            unix @ ListenerAddress::Unix(_) => info!("metrics at {unix} at /metrics"),
        }
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
    systemd::notify(systemd::State::Ready);
    let end = async {
        end.await;
        systemd::notify(systemd::State::Stopping);
    };
    tokio::select! {
        () = http::serve_alone(listener, &hub, http, end) => {}
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
    // Until then, what they hold is there: the file of a socket.
    for task in tasks {
        task.await.ok();
    }
    storage.close().await;
    info!("stopped");
    Ok(())
}

/// Listens there. The problem that is told has the place in it.
fn listen(place: &Listen, sockets: &mut Sockets) -> Result<Listener, String> {
    let listener = match place {
        Listen::Addresses(addresses) => http::listen(addresses).map(Into::into),
        Listen::Unix { path, mode } => http::listen_at(path, mode.bits()),
        Listen::Inherited(socket) => sockets.listen(&socket.name),
        _ => Err(std::io::ErrorKind::Unsupported.into()),
    };
    listener.map_err(|error| match place {
        Listen::Addresses(addresses) => format!("{}: {error}", addresses[0]),
        place => format!("{place}: {error}"),
    })
}

/// Where it listens, as settings say it.
fn in_settings(address: &ListenerAddress) -> ListenAddress {
    match address {
        ListenerAddress::Tcp(address) => (*address).into(),
        ListenerAddress::Unix(path) => path.clone().unwrap_or_default().into(),
    }
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
            systemd::notify(systemd::State::Reloading);
            match self.reload().await {
                Ok(()) => info!("rules, publish tokens and certificate were read again"),
                Err(error) => {
                    error!(%error, "the settings are not taken over; all stays as it was");
                }
            }
            systemd::notify(systemd::State::Ready);
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
