//! The settings of whoever runs a server: limits, time bounds, TLS, metrics, the form of the log.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::Args;
use ipnet::IpNet;
use rustix::process::{Resource, getrlimit};
use serde::Deserialize;

use super::{ConfigError, addresses, duration};
use crate::http::{Coding, Operations, Tls};

/// File descriptors that are left for other things than connections: storage, relay, files, the terminal.
const OTHER_DESCRIPTORS: usize = 100;

/// Described in `docs/operations.md`.
#[derive(Clone, Debug, Default, Args, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, rename_all = "kebab-case")]
#[non_exhaustive]
pub struct OperationsSettings {
    /// Most connections, and most streams [default: as many as there are file descriptors, less 100]
    #[arg(long, env = "SSE_SERVER_MAX_CONNECTIONS", value_name = "COUNT")]
    pub max_connections: Option<usize>,

    /// Most connections, and most streams, from one address [default: as many as from all]
    #[arg(long, env = "SSE_SERVER_MAX_PER_ADDRESS", value_name = "COUNT")]
    pub max_per_address: Option<usize>,

    /// Proxies whose `X-Forwarded-For` is believed: addresses or networks, such as `10.0.0.0/8,::1`
    /// [default: none]
    #[arg(long, env = "SSE_SERVER_TRUSTED_PROXIES", value_name = "LIST")]
    pub trusted_proxies: Option<String>,

    /// Names by which the server may be asked while everyone may read, such as `sse.example.com`, beside
    /// `localhost`; also for `/metrics` without a token [default: any from other machines, none from this one]
    #[arg(long, env = "SSE_SERVER_HOSTS", value_name = "LIST")]
    pub hosts: Option<String>,

    /// How long the head of a request may take, and a connection be idle [default: 30s]
    #[arg(long, env = "SSE_SERVER_HEAD_TIMEOUT", value_name = "TIME")]
    pub head_timeout: Option<String>,

    /// How long a client may take nothing of what is written to it [default: 30s]
    #[arg(long, env = "SSE_SERVER_WRITE_TIMEOUT", value_name = "TIME")]
    pub write_timeout: Option<String>,

    /// How long requests under way may take to finish after SIGTERM [default: 10s]
    #[arg(long, env = "SSE_SERVER_DRAIN_TIME", value_name = "TIME")]
    pub drain_time: Option<String>,

    /// Within what time readers come back after SIGTERM, spread evenly [default: 5s]
    #[arg(long, env = "SSE_SERVER_RECONNECT_SPREAD", value_name = "TIME")]
    pub reconnect_spread: Option<String>,

    /// Another address for `/metrics` and health, open to whoever reaches it [default: the same]
    #[arg(long, env = "SSE_SERVER_METRICS_LISTEN", value_name = "ADDR")]
    pub metrics_listen: Option<String>,

    /// A PEM file with the certificate and those up to its root; makes it https
    #[arg(long, env = "SSE_SERVER_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,

    /// A PEM file with the certificate's key
    #[arg(long, env = "SSE_SERVER_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,

    /// Compress streams for clients that want it: `gzip`, `zstd`, or `zstd,gzip` [default: none]
    #[arg(long, env = "SSE_SERVER_COMPRESSION", value_name = "LIST")]
    pub compression: Option<String>,

    /// The form of the log: `text`, or `json`, an object a line [default: text]
    #[arg(long, env = "SSE_SERVER_LOG_FORMAT", value_name = "FORMAT")]
    pub log_format: Option<String>,
}

/// The form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// A JSON object a line.
    Json,
}

impl OperationsSettings {
    /// These settings, and those of `other` where these have none.
    pub(super) fn or(self, other: Self) -> Self {
        Self {
            max_connections: self.max_connections.or(other.max_connections),
            max_per_address: self.max_per_address.or(other.max_per_address),
            trusted_proxies: self.trusted_proxies.or(other.trusted_proxies),
            hosts: self.hosts.or(other.hosts),
            head_timeout: self.head_timeout.or(other.head_timeout),
            write_timeout: self.write_timeout.or(other.write_timeout),
            drain_time: self.drain_time.or(other.drain_time),
            reconnect_spread: self.reconnect_spread.or(other.reconnect_spread),
            metrics_listen: self.metrics_listen.or(other.metrics_listen),
            tls_cert: self.tls_cert.or(other.tls_cert),
            tls_key: self.tls_key.or(other.tls_key),
            compression: self.compression.or(other.compression),
            log_format: self.log_format.or(other.log_format),
        }
    }

    pub(super) fn resolve(&self) -> Result<Operations, ConfigError> {
        let time = |setting, text: &Option<String>, default| {
            duration(setting, text.as_deref().unwrap_or(default))
        };
        let operations = Operations::default()
            .max_connections(self.max_connections()?)
            .max_per_address(some("--max-per-address", self.max_per_address)?)
            .trusted_proxies(self.trusted_proxies()?)
            .hosts(self.hosts()?)
            .head_timeout(time("--head-timeout", &self.head_timeout, "30s")?)
            .write_timeout(time("--write-timeout", &self.write_timeout, "30s")?)
            .drain_time(time("--drain-time", &self.drain_time, "10s")?)
            .reconnect_spread(time("--reconnect-spread", &self.reconnect_spread, "5s")?);
        Ok(operations.compression(self.codings()?).tls(self.tls()?))
    }

    pub(super) fn log_format(&self) -> Result<LogFormat, ConfigError> {
        match self.log_format.as_deref() {
            None | Some("text") => Ok(LogFormat::Text),
            Some("json") => Ok(LogFormat::Json),
            Some(other) => {
                let problem = format!("{other:?} is neither text nor json");
                Err(ConfigError::new("--log-format", problem))
            }
        }
    }

    pub(super) fn metrics_listen(&self) -> Result<Option<Vec<SocketAddr>>, ConfigError> {
        self.metrics_listen.as_deref().map(|text| addresses("--metrics-listen", text)).transpose()
    }

    fn max_connections(&self) -> Result<usize, ConfigError> {
        let setting = "--max-connections";
        let descriptors = getrlimit(Resource::Nofile).current;
        let possible = descriptors.map_or(usize::MAX, |count| {
            usize::try_from(count).unwrap_or(usize::MAX).saturating_sub(OTHER_DESCRIPTORS).max(1)
        });
        match some(setting, self.max_connections)? {
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

    fn hosts(&self) -> Result<Vec<String>, ConfigError> {
        let names = self.hosts.as_deref().unwrap_or_default().split(',').map(str::trim);
        let names = names.filter(|name| !name.is_empty()).map(|name| {
            let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
            if name.parse::<IpAddr>().is_ok() || name.chars().all(is_name) {
                return Ok(name.trim_end_matches('.').to_owned());
            }
            let problem =
                format!("{name:?} is no name; it needs `sse.example.com,10.0.0.5`, without ports");
            Err(ConfigError::new("--hosts", problem))
        });
        names.collect()
    }

    fn trusted_proxies(&self) -> Result<Vec<IpNet>, ConfigError> {
        let texts = self.trusted_proxies.as_deref().unwrap_or_default().split(',').map(str::trim);
        let parse = |text: &str| {
            let network =
                text.parse().or_else(|_| text.parse().map(|address: IpAddr| address.into()));
            network.map_err(|_| {
                let problem = format!(
                    "{text:?} is neither an address nor a network; write for example 10.0.0.0/8"
                );
                ConfigError::new("--trusted-proxies", problem)
            })
        };
        texts.filter(|text| !text.is_empty()).map(parse).collect()
    }

    fn codings(&self) -> Result<Vec<Coding>, ConfigError> {
        let texts = self.compression.as_deref().unwrap_or("none").split(',').map(str::trim);
        let parse = |text: &str| {
            text.parse().map_err(|()| {
                let problem = format!("{text:?} is none of gzip and zstd");
                ConfigError::new("--compression", problem)
            })
        };
        texts.filter(|text| *text != "none").map(parse).collect()
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

/// A number that is not 0.
fn some(setting: &str, count: Option<usize>) -> Result<Option<usize>, ConfigError> {
    if count == Some(0) {
        return Err(ConfigError::new(
            setting,
            "with 0 nobody could come in; leave it out for the default",
        ));
    }
    Ok(count)
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
