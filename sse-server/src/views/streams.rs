//! A hub, its rules and its routes, as one part of an application.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{Request, Response};
use futures_util::Stream;
use serde::Serialize;
use tokio::task::AbortHandle;
use tower_service::Service;

use super::host::Host;
use super::{Event, SendError, StreamView};
use crate::access::{
    Access, AccessError, ChangeError, Changed, ChannelManager, Principal, PublishToken,
};
#[cfg(feature = "server")]
use crate::grip::Grip;
#[cfg(feature = "server")]
use crate::http::Cors;
use crate::http::{Endpoints, HttpConfig, Limits, Operations, embedded};
use crate::hub::{Hub, HubConfig, PublishError, check_content, check_place};
use crate::relay::Relay;
use crate::storage::{MemoryStorage, NewEvent, Retention, Storage, keep_trimmed};

/// Channels of events, as a part of an application: a hub, who may read what, and the routes.
/// Cloning gives another handle to the same ones; any number of others can be in the same process.
///
/// ```no_run
/// use axum::{Router, routing::get};
/// use sse_server::views::EventStreams;
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let streams = EventStreams::builder().build();
/// let app = Router::new()
///     .route("/", get(async || "the application"))
///     .nest("/sse", streams.router());
/// streams.send_event("news", "message", &["hello"]).await?;
///
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
/// # fn shutdown_signal() -> std::future::Pending<()> { std::future::pending() }
/// axum::serve(listener, app)
///     .with_graceful_shutdown(streams.clone().ends_with(shutdown_signal()))
///     .await?;
/// streams.close().await;
/// # Ok(())
/// # }
/// ```
///
/// Streams are then at `/sse/events/?channel=news`, and a browser that opens that address gets the
/// live page. Neither the connections nor their limits are this part's:
/// [`http::serve`](crate::http::serve), of the feature `server`, has limits for connections and for
/// readers that take nothing.
#[derive(Clone)]
pub struct EventStreams {
    shared: Arc<Shared>,
    /// Apart, because calling it needs it mutable.
    router: Router,
}

struct Shared {
    hub: Hub,
    access: Option<Access>,
    storage: Arc<dyn Storage>,
    trimming: AbortHandle,
    operations: Operations,
    max_event_len: usize,
    endpoints: Endpoints,
    /// Nothing is sent any more.
    is_closed: AtomicBool,
    #[cfg(feature = "server")]
    grip: Option<Grip>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.trimming.abort();
    }
}

impl EventStreams {
    /// Begins with the defaults: events in memory for 24 hours, nobody but the application
    /// publishes, everyone may read everything.
    pub fn builder() -> EventStreamsBuilder {
        EventStreamsBuilder::default()
    }

    /// The routes, for [`Router::nest`]: streams at `/events/` and `/events/{channel}/`, or where
    /// [`endpoints`](EventStreamsBuilder::endpoints) says; with a
    /// [publish token](EventStreamsBuilder::publish_token) the API for publishers. It has no
    /// fallback, and nothing at `/`, so that it can be merged into a router, too.
    pub fn router(&self) -> Router {
        self.router.clone()
    }

    /// A description of the streams, in OpenAPI 3.2, of an application that has nested them below
    /// this path: see [`Endpoints::openapi`].
    pub fn openapi(&self, title: &str, version: &str, below: &str) -> serde_json::Value {
        self.shared.endpoints.openapi(title, version, below)
    }

    /// Sends a value as JSON to the readers of a channel, and returns the event's number in the
    /// channel once it is stored: from 1, and `None` if the channel's events are not stored.
    ///
    /// # Errors
    ///
    /// If the value, the name or the type cannot be sent, or the storage fails. Nothing has been
    /// sent then.
    pub async fn send_event(
        &self,
        channel: &str,
        event_type: &str,
        value: &(impl Serialize + ?Sized),
    ) -> Result<Option<u64>, SendError> {
        self.send_text(channel, event_type, serde_json::to_string(value)?).await
    }

    /// The same with a text in the place of JSON.
    ///
    /// # Errors
    ///
    /// As [`send_event`](Self::send_event).
    pub async fn send_text(
        &self,
        channel: &str,
        event_type: &str,
        text: impl Into<String>,
    ) -> Result<Option<u64>, SendError> {
        self.send(NewEvent::new(channel, event_type, text)).await
    }

    /// The same with all that an event can have: users who do not get it, and whether it is stored.
    ///
    /// # Errors
    ///
    /// As [`send_event`](Self::send_event).
    pub async fn send(&self, event: NewEvent) -> Result<Option<u64>, SendError> {
        let NewEvent { channel, event_type, data, skip_users, .. } = &event;
        check_place(channel, event_type)
            .and_then(|()| check_content(event_type, data, skip_users, self.shared.max_event_len))
            .map_err(|why| SendError::NotAllowed(why.to_string()))?;
        if self.shared.is_closed.load(Ordering::SeqCst) {
            return Err(PublishError::Closed.into());
        }
        let ids = self.shared.hub.publish(vec![event]).await?;
        Ok(ids.first().copied().filter(|&id| id > 0))
    }

    /// This user (none: everyone without a name) may read more or less of this channel than before:
    /// see [`Access::permission_changed`], whose promise this keeps.
    ///
    /// # Errors
    ///
    /// If it is not certain that this has been done everywhere.
    pub async fn channel_permission_changed(
        &self,
        user: Option<&str>,
        channel: &str,
    ) -> Result<Changed, ChangeError> {
        let Some(access) = &self.shared.access else { return Ok(Changed::default()) };
        let changed = access.permission_changed(user, channel).await;
        #[cfg(feature = "server")]
        if let Some(grip) = &self.shared.grip {
            grip.ask_again(user, channel).await.map_err(|_| ChangeError::Untold)?;
        }
        changed
    }

    /// A stream of the application's own for one reader, which ends with these streams.
    pub fn view<S>(&self, stream: S) -> StreamView
    where
        S: Stream + Send + 'static,
        S::Item: Into<Event>,
    {
        let hub = self.shared.hub.clone();
        StreamView::new(stream).until(async move { hub.closed().await })
    }

    /// The channels that are read in this process, each with how many streams read it.
    pub fn readers(&self) -> Vec<(Arc<str>, usize)> {
        self.shared.hub.readers()
    }

    pub(super) fn storage(&self) -> &dyn Storage {
        &*self.shared.storage
    }

    /// The hub, for what is not here.
    pub fn hub(&self) -> &Hub {
        &self.shared.hub
    }

    /// Completes when this does, and has ended all streams by then: each at the end of an event,
    /// after its reader was told when to come back. To be given to the server that is to stop: it
    /// waits for its connections, and streams do not end by themselves.
    pub async fn ends_with(self, signal: impl Future<Output = ()>) {
        signal.await;
        self.shared.operations.set_ending();
        self.shared.hub.close();
    }

    /// Ends in good order, after the server has: other instances are told, and what was stored is
    /// where it belongs. Nothing can be sent after it.
    pub async fn close(&self) {
        self.shared.is_closed.store(true, Ordering::SeqCst);
        self.shared.hub.close();
        if let Some(access) = &self.shared.access {
            access.close().await;
        }
        self.shared.trimming.abort();
        self.shared.hub.told().await;
        self.shared.storage.close().await;
    }
}

impl fmt::Debug for EventStreams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventStreams").field("hub", &self.shared.hub).finish_non_exhaustive()
    }
}

/// For servers and layers that know nothing of axum.
impl<B> Service<Request<B>> for EventStreams
where
    B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    type Response = Response<Body>;
    type Error = std::convert::Infallible;
    type Future = <Router as Service<Request<B>>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        <Router as Service<Request<B>>>::poll_ready(&mut self.router, cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        self.router.call(request)
    }
}

/// What [`EventStreams`] are made of.
#[must_use]
pub struct EventStreamsBuilder {
    storage: Arc<dyn Storage>,
    hub: HubConfig,
    retention: Retention,
    host: Host,
    /// Somebody says who may read what.
    has_rules: bool,
    http: HttpConfig,
    #[cfg(feature = "server")]
    grip: Option<Grip>,
}

impl Default for EventStreamsBuilder {
    fn default() -> Self {
        Self {
            storage: Arc::new(MemoryStorage::new()),
            hub: HubConfig::default(),
            retention: Retention::default(),
            host: Host::default(),
            has_rules: false,
            http: HttpConfig::without_publishers(),
            #[cfg(feature = "server")]
            grip: None,
        }
    }
}

impl EventStreamsBuilder {
    /// Where events are kept. Default: in memory.
    pub fn storage(mut self, storage: impl Storage) -> Self {
        self.storage = Arc::new(storage);
        self
    }

    /// Tells other instances of events, and hears of theirs. Default: none.
    pub fn relay(mut self, relay: impl Relay) -> Self {
        self.hub = self.hub.relay(Arc::new(relay));
        self
    }

    /// How long events are kept. Default: 24 hours.
    pub const fn retention(mut self, retention: Retention) -> Self {
        self.retention = retention;
        self
    }

    /// Changes settings of the hub: memory, how often it looks for others' events, which channels
    /// are stored.
    pub fn hub(mut self, change: impl FnOnce(HubConfig) -> HubConfig) -> Self {
        self.hub = change(self.hub);
        self
    }

    /// Who has sent a request, by its head: with the extensions that layers of the application have
    /// put there. Default: somebody anonymous.
    ///
    /// ```
    /// use sse_server::access::Principal;
    /// use sse_server::views::EventStreams;
    ///
    /// #[derive(Clone)]
    /// struct User(u64);
    ///
    /// let builder = EventStreams::builder()
    ///     .user(|request| async move {
    ///         let user = request.extensions.get::<User>();
    ///         let named = |user: &User| Principal::user(user.0.to_string());
    ///         Ok(user.map_or_else(Principal::anonymous, named))
    ///     })
    ///     .can_read(|user, channel| {
    ///         let is_own = |name: &str| channel == format!("user-{name}");
    ///         channel == "news" || user.name().is_some_and(is_own)
    ///     });
    /// # let _ = builder;
    /// ```
    pub fn user<F, R>(mut self, user: F) -> Self
    where
        F: Fn(Parts) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Principal, AccessError>> + Send + 'static,
    {
        self.host.set_user(user);
        self.has_rules = true;
        self
    }

    /// The same by an extractor of the application, such as its session. One that refuses leads to
    /// 401, or to 503 if it answers with a server error; `Option<Extractor>` lets others in as
    /// anonymous.
    pub fn user_by<E, S, F>(mut self, state: S, user: F) -> Self
    where
        E: FromRequestParts<S> + Send + 'static,
        S: Clone + Send + Sync + 'static,
        F: Fn(E) -> Principal + Send + Sync + 'static,
    {
        self.host.set_user_by(state, user);
        self.has_rules = true;
        self
    }

    /// Whether somebody may read a channel. Asked when a stream is opened, again every minute, and
    /// when [a permission has changed](EventStreams::channel_permission_changed); so it should be
    /// quick. Default: everyone may.
    pub fn can_read(
        mut self,
        can_read: impl Fn(&Principal, &str) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.host.set_can_read(can_read);
        self.has_rules = true;
        self
    }

    /// Decides what [`user`](Self::user) and [`can_read`](Self::can_read) leave open, or all of it.
    pub fn access(mut self, manager: impl ChannelManager) -> Self {
        let manager = Arc::new(manager);
        self.host.set_manager(manager.clone());
        self.hub = self.hub.reliable(move |channel| manager.is_reliable(channel));
        self.has_rules = true;
        self
    }

    /// Where streams are. Default: at `/events/` and `/events/{channel}/`.
    pub fn endpoints(mut self, endpoints: Endpoints) -> Self {
        self.http = self.http.endpoints(endpoints);
        self
    }

    /// Which pages of other origins may read. Default: none.
    #[cfg(feature = "server")]
    pub fn cors(mut self, cors: Cors) -> Self {
        self.http = self.http.cors(cors);
        self
    }

    /// How large requests may be.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.http = self.http.limits(limits);
        self
    }

    /// How long a stream is silent before a keep-alive is sent. Default: 20 s.
    pub fn keep_alive(mut self, period: Duration) -> Self {
        self.http = self.http.keep_alive(period);
        self
    }

    /// The most bytes that the type and the data of an event may have together. Default: 1 MiB.
    pub fn max_event_len(mut self, bytes: usize) -> Self {
        self.http = self.http.max_event_len(bytes);
        self.hub = self.hub.max_event_len(bytes);
        self
    }

    /// Others may publish with this token, at `/publish/`, and say with it, if it
    /// [may](PublishToken::may_change_permissions), that permissions have changed. Default: there
    /// is no such route, and only the application publishes.
    pub fn publish_token(mut self, token: PublishToken) -> Self {
        self.http = self.http.publish_token(token);
        self
    }

    /// Limits for streams, their longest age, and where they are counted. Default: at most 100,000
    /// streams.
    pub fn operations(mut self, operations: Operations) -> Self {
        self.http = self.http.operations(operations);
        self
    }

    /// Proxies that hold streams. Default: none.
    #[cfg(feature = "server")]
    pub fn grip(mut self, grip: Grip) -> Self {
        self.grip = Some(grip.clone());
        self.http = self.http.grip(grip);
        self
    }

    /// Starts the hub.
    ///
    /// # Panics
    ///
    /// Outside of a Tokio runtime: publishing is a task.
    pub fn build(self) -> EventStreams {
        let Self { storage, mut hub, retention, host, has_rules, mut http, .. } = self;
        if retention.age < Duration::from_mins(1) {
            hub = hub.memory_age(retention.age);
        }
        let host = Arc::new(host);
        let hub = Hub::with_config(storage.clone(), hub);
        let trimming = tokio::spawn(keep_trimmed(storage.clone(), retention)).abort_handle();
        hub.depends_on("trimming", trimming.clone());
        let access = has_rules.then(|| Access::new(host, &hub));
        if let Some(access) = &access {
            http = http.access(access.clone());
        }
        let shared = Shared {
            hub: hub.clone(),
            access,
            storage,
            trimming,
            operations: http.shared_operations().clone(),
            max_event_len: http.most_event_len(),
            endpoints: http.all_endpoints().clone(),
            is_closed: AtomicBool::new(false),
            #[cfg(feature = "server")]
            grip: self.grip,
        };
        EventStreams { shared: Arc::new(shared), router: embedded(hub, http) }
    }
}

impl fmt::Debug for EventStreamsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventStreamsBuilder")
            .field("hub", &self.hub)
            .field("retention", &self.retention)
            .field("has_rules", &self.has_rules)
            .finish_non_exhaustive()
    }
}
