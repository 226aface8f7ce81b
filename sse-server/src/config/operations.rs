//! The settings for running a server: limits, time bounds, TLS, metrics, the form of the log.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use rustix::process::{Resource, getrlimit};
use serde::Deserialize;

use super::{ConfigError, InheritedSocket, listen_at};
use crate::http::{Coding, Operations, Tls};
use crate::values::{
    Count, HostNames, Listen, ListenAddress, LogFormat, Networks, Pause, SocketMode, Time, Value,
    readable,
};

/// File descriptors that are left for other things than connections: storage, relay, files, the
/// terminal.
const OTHER_DESCRIPTORS: usize = 100;

/// Described in `docs/operations.md`.
#[derive(Clone, Debug, Default, Args, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, rename_all = "kebab-case")]
#[non_exhaustive]
pub struct OperationsSettings {
    /// Most connections, and most streams [default: as many as there are file descriptors, less
    /// 100]
    #[arg(long, env = "SSE_SERVER_MAX_CONNECTIONS", value_name = "COUNT")]
    pub max_connections: Option<Count>,

    /// Most connections, and most streams, from one address [default: as many as from all]
    #[arg(long, env = "SSE_SERVER_MAX_PER_ADDRESS", value_name = "COUNT")]
    pub max_per_address: Option<Count>,

    /// Proxies whose `X-Forwarded-For` is believed: addresses or networks, such as `10.0.0.0/8,::1`
    /// [default: none]
    #[arg(long, env = "SSE_SERVER_TRUSTED_PROXIES", value_name = "LIST")]
    pub trusted_proxies: Option<Networks>,

    /// Host names that requests may use while everyone may read, such as `sse.example.com`, beside
    /// `localhost`; also for `/metrics` without a token [default: any from other machines, none
    /// from this one]
    #[arg(long, env = "SSE_SERVER_HOSTS", value_name = "LIST")]
    pub hosts: Option<HostNames>,

    /// How long the head of a request may take, and how long a connection may be idle [default:
    /// 30s]
    #[arg(long, env = "SSE_SERVER_HEAD_TIMEOUT", value_name = "TIME")]
    pub head_timeout: Option<Time>,

    /// How long a client may leave unread what is written to it [default: 30s]
    #[arg(long, env = "SSE_SERVER_WRITE_TIMEOUT", value_name = "TIME")]
    pub write_timeout: Option<Time>,

    /// How long everything goes on after SIGTERM while `/health/ready` says 503, so that load
    /// balancers see it [default: 0s]
    #[arg(long, env = "SSE_SERVER_DRAIN_DELAY", value_name = "TIME")]
    pub drain_delay: Option<Pause>,

    /// The longest age of a stream, give or take a tenth, after which its reader comes back
    /// [default: 0s, none]
    #[arg(long, env = "SSE_SERVER_MAX_STREAM_AGE", value_name = "TIME")]
    pub max_stream_age: Option<Pause>,

    /// How long requests under way may take to finish after SIGTERM [default: 10s]
    #[arg(long, env = "SSE_SERVER_DRAIN_TIME", value_name = "TIME")]
    pub drain_time: Option<Time>,

    /// The time over which readers come back after SIGTERM, spread evenly [default: 5s]
    #[arg(long, env = "SSE_SERVER_RECONNECT_SPREAD", value_name = "TIME")]
    pub reconnect_spread: Option<Time>,

    /// Another address for `/metrics` and health, in the forms of `--listen`, open to everyone who
    /// can reach it [default: the same]
    #[arg(long, env = "SSE_SERVER_METRICS_LISTEN", value_name = "ADDR")]
    pub metrics_listen: Option<ListenAddress>,

    /// The permissions of unix sockets, in octal digits: who may write may connect [default: 660]
    #[arg(long, env = "SSE_SERVER_SOCKET_MODE", value_name = "MODE")]
    pub socket_mode: Option<SocketMode>,

    /// A PEM file with the certificate and its chain; turns TLS on
    #[arg(long, env = "SSE_SERVER_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,

    /// A PEM file with the certificate's key
    #[arg(long, env = "SSE_SERVER_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,

    /// Compress streams for clients that accept it: `gzip`, `zstd`, or `zstd,gzip` [default: none]
    #[arg(long, env = "SSE_SERVER_COMPRESSION", value_name = "LIST")]
    pub compression: Option<Codings>,

    /// The form of the log: `text`, or `json`, an object a line [default: text]
    #[arg(long, env = "SSE_SERVER_LOG_FORMAT", value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
}

/// Codings of streams, with commas; none of them if there is nothing, or `none`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Codings(Vec<Coding>);

readable!(Codings);

impl Value for Codings {
    const EXAMPLE: &'static str = "\"zstd,gzip\"";

    fn read(text: &str) -> Result<Self, String> {
        let parse =
            |text: &str| text.parse().map_err(|()| format!("{text:?} is neither gzip nor zstd"));
        let texts = text.split(',').map(str::trim).filter(|text| !["", "none"].contains(text));
        texts.map(parse).collect::<Result<_, _>>().map(Self)
    }
}

impl OperationsSettings {
    pub(super) fn resolve(&self) -> Result<Operations, ConfigError> {
        let mut operations = Operations::default()
            .max_connections(self.max_connections()?)
            .max_per_address(self.max_per_address.map(Count::of_things))
            .trusted_proxies(self.trusted_proxies.clone().unwrap_or_default().0)
            .hosts(self.hosts.clone().unwrap_or_default().0)
            .drain_delay(self.drain_delay.unwrap_or_default().0)
            .max_stream_age(self.max_stream_age.and_then(Pause::positive))
            .compression(self.compression.clone().unwrap_or_default().0);
        for (set, setter) in [
            (self.head_timeout, Operations::head_timeout as fn(Operations, Duration) -> Operations),
            (self.write_timeout, Operations::write_timeout),
            (self.drain_time, Operations::drain_time),
            (self.reconnect_spread, Operations::reconnect_spread),
        ] {
            if let Some(Time(time)) = set {
                operations = setter(operations, time);
            }
        }
        Ok(operations.tls(self.tls()?))
    }

    pub(super) fn metrics_listen(
        &self,
        inherited: Option<&[InheritedSocket]>,
    ) -> Result<Option<Listen>, ConfigError> {
        let address = self.metrics_listen.as_ref();
        let mode = self.socket_mode.unwrap_or_default();
        address.map(|address| listen_at("--metrics-listen", address, mode, inherited)).transpose()
    }

    fn max_connections(&self) -> Result<usize, ConfigError> {
        let setting = "--max-connections";
        let descriptors = getrlimit(Resource::Nofile).current;
        let possible = descriptors.map_or(usize::MAX, |count| {
            usize::try_from(count).unwrap_or(usize::MAX).saturating_sub(OTHER_DESCRIPTORS).max(1)
        });
        match self.max_connections.map(Count::of_things) {
            None => Ok(possible),
            Some(count) if count <= possible => Ok(count),
            Some(count) => {
                let problem = format!(
                    "{count} connections are more than the {possible} that the limit on open files \
                     leaves; raise it (`ulimit -n`, or LimitNOFILE of systemd), or leave this out"
                );
                Err(ConfigError::new(setting, problem))
            }
        }
    }

    fn tls(&self) -> Result<Option<Tls>, ConfigError> {
        let (certificate, key) = match (&self.tls_cert, &self.tls_key) {
            (Some(certificate), Some(key)) => (certificate, key),
            (None, None) => return Ok(None),
            (Some(_), None) => {
                return Err(ConfigError::new("--tls-key", "--tls-cert needs it too"));
            }
            (None, Some(_)) => {
                return Err(ConfigError::new("--tls-cert", "--tls-key needs it too"));
            }
        };
        Tls::open(certificate, key).map(Some).map_err(|error| {
            let setting = if error.is_about_key() { "--tls-key" } else { "--tls-cert" };
            ConfigError::new(setting, error.to_string())
        })
    }
}

/// Has the process open as many files as it may, as servers do.
///
/// The lower limit is there for programs that cannot cope with large numbers of descriptors.
pub fn raise_file_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // It stays as it was otherwise, which is what the default of `--max-connections` goes by.
    rustix::process::setrlimit(Resource::Nofile, limit).ok();
}
