//! Streams that a GRIP proxy holds, such as Pushpin or Fastly Fanout: it keeps the connections, and
//! we decide what they get.
//!
//! A request that the proxy has [signed](Grip::is_proxied) is answered at once, with what the
//! reader has missed and with a [`Hold`]: which channels the proxy holds the connection on, where
//! it is in each, and a link that the proxy follows when it has missed an event. What is published
//! then goes to the proxy, as [`Item`]s with the ids of the events before them.
//!
//! [`HttpConfig::grip`](crate::http::HttpConfig::grip) does all of it for the streams of a hub.
//! With [`Grip`], [`Hold`] and [`Item`] an application can do it for streams of its own:
//!
//! ```
//! use axum::http::HeaderMap;
//! use axum::response::{IntoResponse, Response};
//! use sse_server::grip::{Grip, GripProxy, Hold, Item};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let proxy: GripProxy = "http://127.0.0.1:5561?key=a-secret&iss=pushpin".parse()?;
//! let grip = Grip::new([proxy]);
//!
//! async fn clock(grip: Grip, headers: HeaderMap) -> Response {
//!     if !grip.is_proxied(&headers) {
//!         return "ask by way of the proxy".into_response();
//!     }
//!     let hold = Hold::new().channel(grip.channel("clock"), None);
//!     (hold.headers(), ": hello\n\n").into_response()
//! }
//!
//! grip.publish(&[Item::stream(grip.channel("clock"), "data: noon\n\n")]).await?;
//! # let _ = clock;
//! # Ok(())
//! # }
//! ```
//!
//! May enter: what GRIP says of headers, links, signatures and items; the hub. May not: routes, who
//! may read what.

mod carrier;
mod hold;
mod item;
mod last;
pub(crate) mod link;
mod pace;
mod proxy;
mod url;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderMap;
use sse_proto::encode_channel;
use tokio::task::JoinSet;

pub(crate) use carrier::Carrier;
pub use hold::Hold;
pub(crate) use hold::MAX_CHANNELS;
pub use item::Item;
use last::last_ids;
pub(crate) use link::{Link, Pinned};
pub use proxy::GripError;
pub use url::{GripProxy, GripUrlError};

/// The proxies that hold connections, and what they and we have agreed on. Cloning gives another
/// handle to the same.
#[derive(Clone)]
pub struct Grip(Arc<Inner>);

struct Inner {
    proxies: Vec<GripProxy>,
    prefix: String,
    link_timeout: Duration,
    link: Link,
}

impl Grip {
    /// With these proxies: what is published goes to all of them.
    pub fn new(proxies: impl IntoIterator<Item = GripProxy>) -> Self {
        let proxies: Vec<_> = proxies.into_iter().collect();
        let link = Link::new(proxies.iter().find_map(GripProxy::secret));
        let (prefix, link_timeout) = (String::new(), Duration::from_mins(1));
        Self(Arc::new(Inner { proxies, prefix, link_timeout, link }))
    }

    fn with(self, change: impl FnOnce(&mut Inner)) -> Self {
        let mut inner = Arc::unwrap_or_clone(self.0);
        change(&mut inner);
        Self(Arc::new(inner))
    }

    /// What the names of all channels begin with at the proxies, so that several sites can share
    /// them. Default: nothing.
    #[must_use]
    pub fn prefix(self, prefix: impl Into<String>) -> Self {
        self.with(|inner| inner.prefix = prefix.into())
    }

    /// How often a proxy asks again about each connection, which checks its permission and finds
    /// what was never published. Default: a minute. 1,000 connections ask 1,000 times in this time.
    #[must_use]
    pub fn link_timeout(self, timeout: Duration) -> Self {
        self.with(|inner| inner.link_timeout = timeout.max(Duration::from_secs(1)))
    }

    /// Whether a request comes from one of the proxies: it has a signature (`Grip-Sig`) that holds.
    /// Otherwise it is the client's own, and its answer must have no header of GRIP.
    pub fn is_proxied(&self, headers: &HeaderMap) -> bool {
        let Some(signature) = headers.get("grip-sig") else { return false };
        self.0.proxies.iter().any(|proxy| proxy.has_signed(signature.as_bytes()))
    }

    /// A channel of the proxies with this name, which may have any characters: with the
    /// [prefix](Self::prefix), and percent-encoded.
    pub fn channel(&self, name: &str) -> String {
        format!("{}{}", self.0.prefix, encode_channel(name))
    }

    /// The id of the last item that a connection has got on this [channel](Self::channel), in the
    /// proxy's question at a next link. What a client says itself is not to be believed: ask
    /// [whether it is the proxy](Self::is_proxied) before.
    pub fn last_id<'a>(&self, headers: &'a HeaderMap, channel: &str) -> Option<&'a str> {
        last::all(headers).find(|(name, _)| *name == channel).map(|(_, id)| id)
    }

    /// Publishes these items at all proxies at once, which takes their word: it says that they have
    /// understood, not that a connection has got it. Must be called in a Tokio runtime.
    ///
    /// # Errors
    ///
    /// The last one, if a proxy could not be reached or has refused.
    pub async fn publish(&self, items: &[Item]) -> Result<(), GripError> {
        let items: Arc<[Item]> = items.into();
        let mut publishing = JoinSet::new();
        for proxy in &self.0.proxies {
            let (proxy, items) = (proxy.clone(), items.clone());
            publishing.spawn(async move { proxy.publish(&items).await });
        }
        let results = publishing.join_all().await;
        results.into_iter().rfind(Result::is_err).unwrap_or(Ok(()))
    }

    pub(crate) fn proxies(&self) -> &[GripProxy] {
        &self.0.proxies
    }

    /// The channels of the hub that a connection is on, and where it is, as the proxy says.
    pub(crate) fn last_ids(&self, headers: &HeaderMap) -> Vec<(String, u64)> {
        last_ids(headers, &format!("{}events-", self.0.prefix))
    }

    pub(crate) fn link(&self) -> &Link {
        &self.0.link
    }

    /// How long a hold lasts until the next link is followed.
    pub(crate) fn hold_time(&self) -> Duration {
        self.0.link_timeout
    }

    /// The proxies' channel for a channel of the hub: django-eventstream's name for it.
    pub(crate) fn events(&self, channel: &str) -> String {
        format!("{}events-{}", self.0.prefix, encode_channel(channel))
    }

    /// The proxies' channel for its events without an id. An item without ids would be taken for
    /// one after a gap on a channel that has them.
    pub(crate) fn live(&self, channel: &str) -> String {
        format!("{}live-{}", self.0.prefix, encode_channel(channel))
    }

    /// The proxies' channel on which the connections of a user are told of changes.
    pub(crate) fn user(&self, user: Option<&str>) -> String {
        format!("{}user-{}", self.0.prefix, encode_channel(user.unwrap_or(ANONYMOUS)))
    }

    /// Has the proxies ask again about all connections of this user that have this channel.
    pub(crate) async fn ask_again(
        &self,
        user: Option<&str>,
        channel: &str,
    ) -> Result<(), GripError> {
        let hint = Item::hint(self.user(user)).meta("require_sub", self.events(channel));
        self.publish(&[hint]).await
    }
}

impl Clone for Inner {
    fn clone(&self) -> Self {
        let Self { proxies, prefix, link_timeout, link } = self;
        let (proxies, prefix) = (proxies.clone(), prefix.clone());
        Self { proxies, prefix, link_timeout: *link_timeout, link: link.clone() }
    }
}

/// The name of readers without a name, as django-eventstream has it.
pub(crate) const ANONYMOUS: &str = "anonymous";

impl fmt::Debug for Grip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { proxies, prefix, link_timeout, .. } = &*self.0;
        f.debug_struct("Grip")
            .field("proxies", proxies)
            .field("prefix", prefix)
            .field("link_timeout", link_timeout)
            .finish_non_exhaustive()
    }
}
