//! The settings: flags, environment, file, in this order of precedence; and what they stand for.
//!
//! The only place that knows every storage and every relay.

mod cors;
mod endpoints;
mod file;
mod grip;
mod limits;
mod meaning;
mod operations;
mod patience;
mod reload;
mod services;
mod sources;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use serde::Deserialize;

use crate::access::{
    AccessSettings, OneOrMany, Pattern, PublishToken, PublishTokenSettings, Rules, SettingError,
};
use crate::grip::Grip;
use crate::http::{Cors, Endpoints, Limits, Operations};
use crate::relay::RelayOptions;
use crate::storage::Retention;
use crate::values::{SHORT_SECRET, SHORT_TOKEN};

pub use cors::{CorsOrigin, CorsSettings};
pub use endpoints::EndpointSettings;
pub use file::FileError;
pub use grip::{GripSettings, GripVariables};
pub use limits::RequestLimitsSettings;
pub use operations::{Codings, OperationsSettings, raise_file_limit};
pub use patience::{OpenedRelay, OpenedStorage};
pub use reload::Running;
pub use services::{RelayChoice, ServiceUrl, StorageChoice};

pub use crate::values::{
    BasePath, Count, HostNames, InheritedSocket, Listen, ListenAddress, LogFilter, LogFormat,
    Networks, Pause, Reader, ServerUrl, SocketMode, Time, Token, without_empty_variables,
};

/// A Server-Sent Events server: channels, durable ids, replay. Speaks django-eventstream's
/// protocol.
///
/// Every flag can also be given as an environment variable (`SSE_SERVER_LISTEN`) or as a key of the
/// file named by `--config` (`listen = "…"`). A flag beats the environment, which beats the file.
#[derive(Clone, Debug, Default, Parser, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[command(name = "sse-server", version)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[non_exhaustive]
pub struct Settings {
    /// Address and port to listen on; a port alone is for this machine, `:8080` for all addresses;
    /// or
    /// `unix:PATH`; or `systemd` or `systemd:NAME`, a socket that was handed over [default: the
    /// socket that was handed over, or `:$PORT` if the variable `PORT` is set, else 127.0.0.1:8080]
    #[arg(long, env = "SSE_SERVER_LISTEN", value_name = "ADDR")]
    pub listen: Option<ListenAddress>,

    /// Where events are kept: `none`, `memory`, `sqlite:PATH`, `postgres://…` or `redis://…`
    /// [default: sqlite:sse-server.db]
    #[arg(long, env = "SSE_SERVER_STORAGE", value_name = "STORAGE", hide_env_values = true)]
    pub storage: Option<StorageChoice>,

    /// How instances tell each other about events: `none`, `redis://…`, `postgres://…` or
    /// `amqp://…` [default: none]
    #[arg(long, env = "SSE_SERVER_RELAY", value_name = "RELAY", hide_env_values = true)]
    pub relay: Option<RelayChoice>,

    /// A secret of at least 16 characters that all instances share, to sign what they tell each
    /// other [default: none: everyone who can write to the relay is believed]
    #[arg(long, env = "SSE_SERVER_RELAY_SECRET", value_name = "SECRET", hide_env_values = true)]
    pub relay_secret: Option<Token>,

    /// A file with that secret; the last line end does not count
    #[arg(
        long,
        env = "SSE_SERVER_RELAY_SECRET_FILE",
        value_name = "FILE",
        conflicts_with = "relay_secret"
    )]
    pub relay_secret_file: Option<PathBuf>,

    /// The prefix of keys and channels in Redis, such as `staging:`, with which several servers can
    /// share one; not with Django [default: nothing]
    #[arg(long, env = "SSE_SERVER_REDIS_PREFIX", value_name = "PREFIX")]
    pub redis_prefix: Option<String>,

    /// The token for publishing [default: a random one, printed at start]
    #[arg(long, env = "SSE_SERVER_PUBLISH_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    pub publish_token: Option<Token>,

    /// A file with the token to publish with; the last line end does not count
    #[arg(
        long,
        env = "SSE_SERVER_PUBLISH_TOKEN_FILE",
        value_name = "FILE",
        conflicts_with = "publish_token"
    )]
    pub publish_token_file: Option<PathBuf>,

    /// How long events are kept, such as `90m` or `7d` [default: 24h]
    #[arg(long, env = "SSE_SERVER_RETENTION", value_name = "TIME")]
    pub retention: Option<Time>,

    /// How many events a channel keeps [default: as many as come within the retention]
    #[arg(long, env = "SSE_SERVER_RETENTION_EVENTS", value_name = "COUNT")]
    pub retention_events: Option<Count>,

    /// How often the storage is checked for events of other instances [default: 5s]
    #[arg(long, env = "SSE_SERVER_REFRESH", value_name = "TIME")]
    pub refresh: Option<Time>,

    /// How long a stream is silent before a keep-alive is sent [default: 20s]
    #[arg(long, env = "SSE_SERVER_KEEP_ALIVE", value_name = "TIME")]
    pub keep_alive: Option<Time>,

    /// Most bytes of a published event, type and data together [default: 1048576]
    #[arg(long, env = "SSE_SERVER_MAX_EVENT_SIZE", value_name = "BYTES")]
    pub max_event_size: Option<Count>,

    /// Allow reading every channel without rules on a public address
    #[arg(
        long,
        env = "SSE_SERVER_OPEN_ACCESS",
        num_args = 0..=1,
        default_missing_value = "true",
        value_parser = clap::builder::BoolishValueParser::new()
    )]
    pub open_access: Option<bool>,

    /// A page's origin that may read streams, such as `http://localhost:5173`; may be given several
    /// times, and beats `cors.origins` [default: none]
    #[arg(long, env = "SSE_SERVER_CORS_ORIGIN", value_name = "ORIGIN", value_delimiter = ',')]
    #[serde(skip)]
    pub cors_origin: Vec<CorsOrigin>,

    /// A path that everything is below, such as `/sse`, for a proxy that passes on whole paths
    /// [default: none]
    #[arg(long, env = "SSE_SERVER_BASE_PATH", value_name = "PATH")]
    pub base_path: Option<BasePath>,

    /// What to log, such as `debug` or `warn,sse_server=debug` [default: info]
    #[arg(long, env = "SSE_SERVER_LOG", value_name = "FILTER")]
    pub log: Option<LogFilter>,

    /// Limits, time bounds, TLS, and what else concerns running it.
    #[command(flatten)]
    #[serde(flatten)]
    pub operations: OperationsSettings,

    /// Who may read which channels. Only in the file.
    #[arg(skip)]
    pub access: Option<AccessSettings>,

    /// Channels whose events are not stored, as patterns with `*`. Only in the file.
    #[arg(skip)]
    pub unreliable: OneOrMany,

    /// More tokens to publish with, for some channels each. Only in the file.
    #[arg(skip)]
    pub publish_tokens: Vec<PublishTokenSettings>,

    /// More places where streams are. Only in the file.
    #[arg(skip)]
    pub endpoint: Vec<EndpointSettings>,

    /// Whether streams are at `/events/` and `/events/{channel}/` too. Default: yes. Only in the
    /// file.
    #[arg(skip)]
    pub default_endpoints: Option<bool>,

    /// Which pages of other origins may read streams. Only in the file.
    #[arg(skip)]
    pub cors: Option<CorsSettings>,

    /// How large requests may be. Only in the file.
    #[arg(skip)]
    pub request_limits: Option<RequestLimitsSettings>,

    /// Proxies that hold streams. Only in the file.
    #[arg(skip)]
    pub grip: Option<GripSettings>,

    /// The variables `GRIP_URL` and `GRIP_VERIFY_KEY`.
    #[arg(skip)]
    #[serde(skip)]
    pub grip_variables: GripVariables,

    /// The port of the variable `PORT`, which counts if nothing says where to listen.
    #[arg(skip)]
    #[serde(skip)]
    pub port: Option<u16>,

    /// The sockets that the service manager has handed over. None: that is not known, as for
    /// `check-config`.
    #[arg(skip)]
    #[serde(skip)]
    pub inherited: Option<Vec<InheritedSocket>>,

    /// A TOML file with more settings
    #[arg(long, env = "SSE_SERVER_CONFIG", value_name = "FILE")]
    #[serde(skip)]
    pub config: Option<PathBuf>,
}

/// Settings that were read and make sense.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Where to listen.
    pub listen: Listen,
    /// Where events are kept.
    pub storage: StorageChoice,
    /// The token for publishing, if one was given.
    pub publish_token: Option<String>,
    /// More tokens for publishing.
    pub publishers: Vec<PublishToken>,
    /// Channels whose events are not stored.
    pub unreliable: Vec<Pattern>,
    /// Who may read which channels. None: everyone may read all.
    pub rules: Option<Arc<Rules>>,
    /// How instances tell each other about events.
    pub relay: RelayChoice,
    /// What names in Redis begin with.
    pub redis_prefix: String,
    /// What instances have to agree on to use it.
    pub relay_options: RelayOptions,
    /// How long events are kept.
    pub retention: Retention,
    /// How often the ends of channels are read again from the storage.
    pub refresh: Duration,
    /// Silence after which a keep-alive is sent.
    pub keep_alive: Duration,
    /// Most bytes of a published event.
    pub max_event_size: usize,
    /// Where streams are.
    pub endpoints: Endpoints,
    /// What all paths begin with. Empty: nothing.
    pub base_path: String,
    /// Proxies that hold streams. None: there are none.
    pub grip: Option<Grip>,
    /// Which pages of other origins may read streams. None: no others.
    pub cors: Option<Cors>,
    /// How large requests may be.
    pub limits: Limits,
    /// What to log, as `tracing` filter directives.
    pub log: String,
    /// In which form.
    pub log_format: LogFormat,
    /// Limits, time bounds, TLS.
    pub operations: Operations,
    /// Where else to tell the metrics. None: where everything else is.
    pub metrics_listen: Option<Listen>,
    /// What works, and should be otherwise.
    pub warnings: Vec<String>,
}

/// A setting that cannot be used: which one, why, and what would do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: {problem}")]
pub struct ConfigError {
    setting: String,
    problem: String,
}

impl ConfigError {
    /// Which: a flag, or a key of the file.
    pub fn setting(&self) -> &str {
        &self.setting
    }

    /// What is wrong with it, and what would do.
    pub fn problem(&self) -> &str {
        &self.problem
    }

    fn new(setting: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { setting: setting.into(), problem: problem.into() }
    }
}

impl From<SettingError> for ConfigError {
    fn from(SettingError { field, problem }: SettingError) -> Self {
        Self::new(field, problem)
    }
}

impl Settings {
    /// Checks everything, and says what it stands for. A file that is named must have been read
    /// [before](Self::of).
    ///
    /// # Errors
    ///
    /// A [`ConfigError`] that names the first setting that cannot be used.
    pub fn resolve(self) -> Result<Config, ConfigError> {
        let address = self.listen.clone().unwrap_or_else(|| self.default_address());
        let mode = self.operations.socket_mode.unwrap_or_default();
        let inherited = self.inherited.as_deref();
        let listen = listen_at("--listen", &address, mode, inherited)?;
        let is_public = listen.is_public();
        let rules = match &self.access {
            Some(access) => access.rules()?.map(Arc::new),
            None => None,
        };
        if is_public && rules.is_none() && self.open_access != Some(true) {
            let problem = format!(
                "{address} is not a loopback address, and there is no rule for who may read; \
                 add --open-access if everyone who can reach it may read every channel, \
                 or rules to the file of --config"
            );
            return Err(ConfigError::new("--listen", problem));
        }
        let redis_prefix = services::redis_prefix(self.redis_prefix.as_deref())?;
        let limits = self.request_limits.clone().unwrap_or_default().limits()?;
        let publish_token = one_of(
            "publish-token",
            self.publish_token.as_ref(),
            self.publish_token_file.as_deref(),
        )?;
        let publish_token = publish_token.map(|token| token.expose().to_owned());
        let relay_secret =
            one_of("relay-secret", self.relay_secret.as_ref(), self.relay_secret_file.as_deref())?;
        let publishers =
            PublishTokenSettings::tokens(&self.publish_tokens, publish_token.as_deref())?;
        let mut warnings = warnings(publish_token.as_deref(), &publishers, rules.as_deref());
        let endpoints = endpoints::endpoints(
            &self.endpoint,
            self.default_endpoints.unwrap_or(true),
            limits.most_channels(),
        )?;
        warnings.extend(endpoints::long_ids(&endpoints, &limits));
        Ok(Config {
            listen,
            storage: self.storage.unwrap_or_else(|| StorageChoice::Sqlite("sse-server.db".into())),
            relay: self.relay.unwrap_or(RelayChoice::None),
            publishers,
            relay_options: services::relay_options(relay_secret.as_ref(), &redis_prefix)?,
            redis_prefix,
            rules,
            unreliable: self
                .unreliable
                .texts()
                .iter()
                .map(|text| Pattern::without_claims(text))
                .collect(),
            publish_token,
            retention: Retention {
                age: time(self.retention, 24 * 60 * 60),
                events: self.retention_events.map(|Count(events)| events),
            },
            refresh: time(self.refresh, 5),
            keep_alive: time(self.keep_alive, 20),
            max_event_size: self.max_event_size.map_or(1 << 20, Count::of_things),
            endpoints,
            base_path: self.base_path.unwrap_or_default().0,
            grip: grip::grip(self.grip.as_ref(), &self.grip_variables)?,
            cors: cors::cors(self.cors.as_ref(), &self.cors_origin)?,
            limits,
            log: self.log.map_or_else(|| "info".to_owned(), |LogFilter(directives)| directives),
            log_format: self.operations.log_format.unwrap_or(LogFormat::Text),
            metrics_listen: self.operations.metrics_listen(inherited)?,
            operations: self.operations.resolve()?,
            warnings,
        })
    }

    /// Where to listen if that is not said. Platforms that give programs a `PORT` reach them from
    /// outside.
    fn default_address(&self) -> ListenAddress {
        match self.port {
            _ if self.inherited.as_ref().is_some_and(|sockets| !sockets.is_empty()) => {
                ListenAddress::inherited()
            }
            Some(port) => ListenAddress::on_all(port),
            None => "127.0.0.1:8080".parse().expect("an address and port"),
        }
    }
}

/// The token that is given, or that of the file that is named.
fn one_of(
    name: &str,
    token: Option<&Token>,
    file: Option<&Path>,
) -> Result<Option<Token>, ConfigError> {
    let error = |problem: String| ConfigError::new(format!("--{name}-file"), problem);
    match (token, file) {
        (None, None) => Ok(None),
        (Some(token), None) => Ok(Some(token.clone())),
        (None, Some(path)) => Token::of_file(path).map(Some).map_err(error),
        (Some(_), Some(_)) => Err(error(format!("give either {name} or {name}-file"))),
    }
}

fn listen_at(
    setting: &str,
    address: &ListenAddress,
    mode: SocketMode,
    inherited: Option<&[InheritedSocket]>,
) -> Result<Listen, ConfigError> {
    address.resolve(mode, inherited).map_err(|problem| ConfigError::new(setting, problem))
}

fn time(set: Option<Time>, default: u64) -> Duration {
    set.map_or(Duration::from_secs(default), |Time(time)| time)
}

/// What works with these settings, and should be otherwise.
fn warnings(
    token: Option<&str>,
    publishers: &[PublishToken],
    rules: Option<&Rules>,
) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut weak = |setting: String| {
        warnings.push(format!(
            "{setting}: the token is short, and could be guessed; `sse-server token --publish` \
             makes a good one"
        ));
    };
    if token.is_some_and(|token| token.len() < SHORT_TOKEN) {
        weak("publish-token".to_owned());
    }
    for (index, token) in publishers.iter().enumerate() {
        if token.is_shorter_than(SHORT_TOKEN) {
            weak(format!("publish-tokens[{index}]"));
        }
    }
    if rules.is_some_and(Rules::has_short_es_meta_secret) {
        warnings.push(format!(
            "access.es-meta: the secret has less than {SHORT_SECRET} bytes, and could be guessed"
        ));
    }
    warnings.extend(rules.into_iter().flat_map(Rules::left_out));
    warnings
}
