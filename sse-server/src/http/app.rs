//! What every handler has at hand: the hub, and the settings of the HTTP side.

#[cfg(feature = "server")]
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "server")]
use super::cors::Cors;
use super::limits::Limits;
use super::server::operations::Operations;
use super::streams::endpoint::Endpoints;
use crate::access::{Access, PublishToken, Publishers};
#[cfg(feature = "server")]
use crate::grip::{Carrier, Grip};
use crate::hub::{Hub, MAX_EVENT_LEN};

/// The largest publish request in bytes, whatever the limit for one event.
pub(super) const MAX_REQUEST: usize = 16 << 20;

/// What the HTTP side of a server needs to know.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[must_use]
pub struct HttpConfig {
    pub(super) publishers: Publishers,
    pub(super) access: Option<Access>,
    pub(super) keep_alive: Duration,
    pub(super) max_event_len: usize,
    pub(super) endpoints: Endpoints,
    #[cfg(feature = "server")]
    pub(super) cors: Option<Arc<Cors>>,
    pub(super) limits: Limits,
    pub(super) operations: Operations,
    #[cfg(feature = "server")]
    pub(super) has_metrics: bool,
    pub(super) base_path: String,
    #[cfg(feature = "server")]
    pub(super) grip: Option<Grip>,
}

impl HttpConfig {
    /// The default settings. The token allows publishing to all channels, and saying that
    /// permissions have changed.
    pub fn new(publish_token: impl Into<String>) -> Self {
        Self {
            publishers: Publishers::new(vec![PublishToken::for_all(publish_token)]),
            ..Self::without_publishers()
        }
    }

    /// The same, without a token: nobody publishes over HTTP, until
    /// [a token is added](Self::publish_token).
    pub fn without_publishers() -> Self {
        Self {
            publishers: Publishers::new(Vec::new()),
            access: None,
            keep_alive: Duration::from_secs(20),
            max_event_len: MAX_EVENT_LEN,
            endpoints: Endpoints::default(),
            #[cfg(feature = "server")]
            cors: None,
            limits: Limits::default(),
            operations: Operations::default(),
            #[cfg(feature = "server")]
            has_metrics: true,
            base_path: String::new(),
            #[cfg(feature = "server")]
            grip: None,
        }
    }

    /// Which pages of other origins may read streams. Default: none, only those of the server's
    /// own.
    #[cfg(feature = "server")]
    pub fn cors(mut self, cors: Cors) -> Self {
        self.cors = Some(Arc::new(cors));
        self
    }

    /// How large requests may be. Default: that of [`Limits`].
    pub const fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Where streams are. Default: at `/events/` and `/events/{channel}/`.
    pub fn endpoints(mut self, endpoints: Endpoints) -> Self {
        self.endpoints = endpoints;
        self
    }

    /// Another token with which one may publish.
    pub fn publish_token(self, token: PublishToken) -> Self {
        self.publishers.push(token);
        self
    }

    /// The tokens with which one may publish, to exchange them later.
    pub const fn publishers(&self) -> &Publishers {
        &self.publishers
    }

    /// Who may read which channels. Default: everyone may read all.
    pub fn access(mut self, access: Access) -> Self {
        self.access = Some(access);
        self
    }

    /// The limits for streams, and where requests are counted. Give the same to
    /// [`serve_with`](super::serve_with).
    pub fn operations(mut self, operations: Operations) -> Self {
        self.operations = operations;
        self
    }

    /// No `/metrics`: they are told elsewhere, by [`metrics_router`](super::metrics_router).
    #[cfg(feature = "server")]
    pub const fn without_metrics(mut self) -> Self {
        self.has_metrics = false;
        self
    }

    /// Everything is below this path, such as `/sse`. Default: nothing. For proxies that pass on
    /// paths as they are; one that leaves out the first part needs none. Health is told without it
    /// too.
    ///
    /// # Panics
    ///
    /// [`router`](super::router) does, if this is no path that begins with a slash and does not end
    /// with one.
    pub fn base_path(mut self, path: impl Into<String>) -> Self {
        self.base_path = path.into();
        self
    }

    /// Proxies that hold the streams they ask for. Default: none. What is published in the hub is
    /// published to them too.
    #[cfg(feature = "server")]
    pub fn grip(mut self, grip: Grip) -> Self {
        self.grip = Some(grip);
        self
    }

    /// How long a stream is silent before a keep-alive is sent. Default: 20 s, as
    /// django-eventstream; clients take a stream for dead after about twice that.
    pub const fn keep_alive(mut self, period: Duration) -> Self {
        self.keep_alive = period;
        self
    }

    /// The limits for streams, and where they are counted.
    pub(crate) const fn shared_operations(&self) -> &Operations {
        &self.operations
    }

    /// Where streams are.
    pub(crate) const fn all_endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// The most bytes that an event has.
    pub(crate) const fn most_event_len(&self) -> usize {
        self.max_event_len
    }

    /// The most bytes that the type and the data of a published event may have together. Default:
    /// 1 MiB. Everyone who reads the channel gets them all, so a larger limit is paid many times.
    pub const fn max_event_len(mut self, bytes: usize) -> Self {
        self.max_event_len = bytes;
        self
    }
}

/// What every handler has at hand.
#[derive(Debug)]
pub(super) struct App {
    pub(super) hub: Hub,
    pub(super) config: HttpConfig,
    /// If proxies hold streams.
    #[cfg(feature = "server")]
    pub(super) grip: Option<(Grip, Carrier)>,
}

impl App {
    pub(super) fn new(hub: Hub, config: HttpConfig) -> Self {
        #[cfg(feature = "server")]
        let grip = config.grip.clone().map(|grip| {
            let carrier = Carrier::start(&hub, &grip, config.operations.metrics());
            (grip, carrier)
        });
        Self {
            hub,
            config,
            #[cfg(feature = "server")]
            grip,
        }
    }
}
