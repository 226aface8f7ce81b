//! Streams that a GRIP proxy holds: the answer to a request that it has passed on, and to its
//! questions at the next link.
//!
//! Both are the same read as that of any stream, up to where the channels end, and not further:
//! what has come by then is the body, and where that ends is what the proxy goes on from.

use std::future::poll_fn;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, SystemTime};

use axum::Extension;
use axum::body::Body;
use axum::extract::{OriginalUri, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use axum::response::{IntoResponse, Response};
use sse_proto::{Cursor, KEEP_ALIVE, OPENING, StreamError, encode_channel};
use tokio::time::timeout;
use tracing::debug;

use super::endpoint::Endpoint;
use super::events::{NotOpened, Prepared, event_stream, prepare};
use crate::access::{AccessRequest, Ending, Guard, Occasion, Original, Principal};
use crate::grip::{ANONYMOUS, Carrier, Grip, Hold, MAX_CHANNELS, Pinned, link};
use crate::http::app::App;
use crate::http::error::{Refusal, forbidden};
use crate::http::fallbacks::unknown_path;
use crate::http::server::caller::Peer;
use crate::hub::{Delivery, Framing, Outgoing};

/// About how many bytes of history go out at a time. The proxy refuses a first answer of more than
/// 100,000 bytes whose ids it is to build.
const PAGE: usize = 32 << 10;
const MOST_AT_FIRST: usize = 90_000;

/// How long reading the history may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// How much longer a link is good than until it is to be followed: when thousands come at once, it
/// takes Pushpin that long to ask about all of them.
const LINK_SPARE: Duration = Duration::from_mins(10);

/// Headers that say nothing of who asks.
const IMPERSONAL: [&str; 18] = [
    "accept",
    "accept-encoding",
    "accept-language",
    "cache-control",
    "connection",
    "content-length",
    "dnt",
    "grip-feature",
    "grip-last",
    "grip-sig",
    "host",
    "if-none-match",
    "last-event-id",
    "pragma",
    "priority",
    "referer",
    "te",
    "user-agent",
];

/// The last words to a connection that cannot go on as it is. No stream-error, which would be
/// final: who comes back is looked at anew.
const COME_BACK: &str = ":connect again\n\n";

/// A proxy can hold this stream.
pub(super) struct Held<'a> {
    app: &'a Arc<App>,
    grip: &'a Grip,
    carrier: &'a Carrier,
}

/// Whether a request comes from a proxy, and may be answered with a hold. Filters by type are not
/// among those that proxies have.
pub(super) fn of_proxy<'a>(
    app: &'a Arc<App>,
    endpoint: &Endpoint,
    method: &Method,
    request: &AccessRequest<'_>,
) -> Option<Held<'a>> {
    let held = proxied(app, request.headers())?;
    let is_filtered = endpoint.types().is_some()
        || request.parameter("messages_types").is_some_and(|types| !types.is_empty());
    (method == Method::GET && !is_filtered).then_some(held)
}

/// Whether a proxy that can hold streams has sent this.
pub(super) fn is_proxied(app: &Arc<App>, headers: &HeaderMap) -> bool {
    proxied(app, headers).is_some()
}

fn proxied<'a>(app: &'a Arc<App>, headers: &HeaderMap) -> Option<Held<'a>> {
    let (grip, carrier) = app.grip.as_ref()?;
    grip.is_proxied(headers).then_some(Held { app, grip, carrier })
}

impl Held<'_> {
    /// The answer to a client's request that the proxy has passed on. None: the proxy cannot hold
    /// such a stream.
    pub(super) async fn answer(
        self,
        request: &AccessRequest<'_>,
        client: Option<IpAddr>,
    ) -> Option<Response> {
        let pinned = Pinned::of(request)?;
        if !self.fits(&pinned, request.channels()) {
            return None;
        }
        let pace = pinned.pace(self.grip.hold_time());
        match prepare(self.app, request, client, None, Some((self.carrier, pace))).await {
            // Their channels may be others than they have named.
            Ok(prepared) if !self.fits(&pinned, &prepared.channels) => None,
            Ok(prepared) => Some(self.hold(prepared, pinned, pace, true).await),
            Err(why) => Some(why.answer(self.app)),
        }
    }

    /// Whether a proxy takes that many channels, and links that are that long.
    fn fits(&self, pinned: &Pinned, channels: &[Arc<str>]) -> bool {
        let places = channels.iter().map(|channel| (&**channel, u64::MAX));
        let cursor = places.collect::<Cursor<'_>>().to_string();
        let sealed = Pinned { cursor, ..pinned.clone() };
        let public: Vec<_> = channels.iter().map(|name| (name.clone(), Some(u64::MAX))).collect();
        are_few(channels)
            && self.grip.link().seal(&sealed, LINK_SPARE, LINK_SPARE).is_some()
            && link::public(&public).is_some()
    }

    /// The answer to a question at a next link: where the connection is now, or else at this place.
    async fn go_on(
        self,
        pinned: Pinned,
        headers: &HeaderMap,
        peer: Option<Extension<Peer>>,
        places: Cursor<'_>,
    ) -> Response {
        let channels: Vec<Arc<str>> = pinned.channels.iter().map(|name| (&**name).into()).collect();
        let mut resume = places.into_owned();
        for (channel, id) in self.grip.last_ids(headers) {
            // Within a history of several pages the proxy says where it was before the first.
            if resume.position(&channel).is_none() {
                resume.set(channel, id);
            }
        }
        for channel in &channels {
            if resume.position(channel).is_none() && self.app.hub.is_lasting(channel) {
                // It is not known what it has missed, which it is told.
                resume.set(channel.to_string(), u64::MAX);
            }
        }
        let own_headers = pinned.headers();
        let original = Original {
            method: &pinned.method,
            scheme: &pinned.scheme,
            host: &pinned.host,
            uri: &pinned.uri,
        };
        let request = AccessRequest::new(&pinned.path, &pinned.query, &own_headers)
            .with_peer(peer.map(|Extension(Peer(address))| address))
            .with_client(pinned.client)
            .with_original(Some(original))
            .with_channels(&channels);
        let pace = pinned.pace(self.grip.hold_time());
        match prepare(self.app, &request, None, Some(resume), Some((self.carrier, pace))).await {
            Ok(prepared) if !are_few(&prepared.channels) => event_stream(Body::from(COME_BACK)),
            Ok(prepared) => self.hold(prepared, pinned.clone(), pace, false).await,
            Err(NotOpened::Unauthorized(_)) => event_stream(Body::from(COME_BACK)),
            Err(NotOpened::Error(error)) => self.refuse(&error, &channels, false),
            // Status 503 has the proxy ask again.
            Err(why) => why.answer(self.app),
        }
    }

    /// What the stream has by now, and how it goes on.
    async fn hold(
        self,
        mut prepared: Prepared,
        pinned: Pinned,
        pace: Duration,
        is_first: bool,
    ) -> Response {
        let read = timeout(PATIENCE, read(&mut prepared, is_first)).await;
        let Ok(read) = read else {
            let text = "the storage does not answer; try again";
            return Refusal::unavailable(text).into_response();
        };
        let Prepared { subscriber, guard, channels, knows_all, from, .. } = prepared;
        match guard.as_ref().and_then(Guard::ending) {
            None => {}
            Some(Ending::Forbidden(refused)) => {
                return self.refuse(&forbidden(&refused), &channels, is_first);
            }
            Some(_) => return event_stream(Body::from(COME_BACK)),
        }
        let Some((mut out, mut is_whole)) = read else {
            return event_stream(Body::from(COME_BACK));
        };
        let mut cursor = subscriber.cursor().into_owned();
        if is_first && out.content_len() > MOST_AT_FIRST {
            // All of it at the next link, where there may be more.
            cursor = from;
            out = Outgoing::new(Framing::Plain);
            out.put(OPENING);
            is_whole = false;
        } else if is_first && !knows_all && out.content_len() == OPENING.len() {
            let position = cursor.to_string();
            if !position.is_empty() {
                out.put(format!("id: {position}\n\n").as_bytes());
            }
        }
        let principal = guard.as_ref().map(Guard::principal);
        let user = principal.and_then(Principal::name).map(str::to_owned);
        let places = if is_whole { None } else { Some(&cursor) };
        let Some(link) = self.link(pinned, principal, &channels, places, pace).await else {
            return event_stream(Body::from(COME_BACK));
        };
        let link = format!("{}{link}", self.app.config.base_path);
        let mut hold = if is_whole { Hold::new() } else { Hold::more() };
        hold = hold.next_link(link, is_whole.then(|| link_time(pace, principal)));
        let mut ids = Vec::new();
        for channel in &channels {
            let name = self.grip.events(channel);
            hold = match cursor.position(channel) {
                Some(at) => {
                    let encoded = encode_channel(channel).to_string().replace('%', "%%");
                    ids.push(format!("{encoded}:%({name})s"));
                    hold.filtered(name, Some(&at.to_string()), &["build-id", "skip-users"])
                        .filtered(self.grip.live(channel), None, &["skip-users"])
                }
                None => hold.filtered(name, None, &["skip-users"]),
            };
        }
        hold = hold.filtered(self.grip.user(user.as_deref()), None, &["require-sub"]);
        let has_ids = !ids.is_empty();
        if has_ids {
            hold = hold.meta("id_format", ids.join(","));
        }
        let user = encode_channel(user.as_deref().unwrap_or(ANONYMOUS)).to_string();
        let keep_alive = String::from_utf8_lossy(KEEP_ALIVE);
        hold = hold.meta("user", user).keep_alive(keep_alive, self.app.config.keep_alive);
        self.app.config.operations.metrics().sent(out.content_len());
        let mut body = out.into_bytes().to_vec();
        if has_ids && body.contains(&b'%') {
            // The filter that builds ids halves them.
            body = doubled(&body);
        }
        let mut response = event_stream(Body::from(body));
        response.headers_mut().extend(hold.headers());
        response
    }

    /// The end of a stream that may not go on. What follows a hold goes through its filters.
    fn refuse(&self, error: &StreamError, channels: &[Arc<str>], is_first: bool) -> Response {
        self.app.config.operations.metrics().stream_error(&error.condition);
        let body = error.to_event().to_string();
        let has_ids = channels.iter().any(|channel| self.app.hub.is_lasting(channel));
        let is_filtered = has_ids && !is_first;
        event_stream(Body::from(if is_filtered { doubled(body.as_bytes()) } else { body.into() }))
    }

    /// The next link: one for all connections, if everyone may read the channels.
    async fn link(
        &self,
        pinned: Pinned,
        principal: Option<&Principal>,
        channels: &[Arc<str>],
        places: Option<&Cursor<'_>>,
        pace: Duration,
    ) -> Option<String> {
        if self.is_public(principal, channels).await {
            let known = |name: &Arc<str>| (name.clone(), places.and_then(|it| it.position(name)));
            return link::public(&channels.iter().map(known).collect::<Vec<_>>());
        }
        let cursor = places.map(ToString::to_string).unwrap_or_default();
        self.grip.link().seal(&Pinned { cursor, ..pinned }, pace, LINK_SPARE)
    }

    async fn is_public(&self, principal: Option<&Principal>, channels: &[Arc<str>]) -> bool {
        let Some((access, principal)) = self.app.config.access.as_ref().zip(principal) else {
            return true;
        };
        if principal.name().is_some() || principal.expires().is_some() {
            return false;
        }
        let anonymous = Principal::anonymous();
        let refused = access.manager().refused(&anonymous, channels, Occasion::Recheck).await;
        refused.is_ok_and(|refused| refused.is_empty())
    }
}

/// Whether a proxy takes that many channels for one connection: each has one for events without an
/// id, and the user has one.
const fn are_few(channels: &[Arc<str>]) -> bool {
    2 * channels.len() < MAX_CHANNELS
}

/// When the proxy has to ask again at the latest, if a token expires before it would.
fn link_time(pace: Duration, principal: Option<&Principal>) -> Duration {
    let expires = principal.and_then(Principal::expires);
    let left = expires.map(|at| at.duration_since(SystemTime::now()).unwrap_or_default());
    // When it has expired, and not a moment before.
    let left = left.map_or(Duration::MAX, |left| left + Duration::from_secs(1));
    pace.min(left)
}

/// With each percent sign twice.
fn doubled(body: &[u8]) -> Vec<u8> {
    let mut doubled = Vec::with_capacity(body.len() + 16);
    for &byte in body {
        doubled.push(byte);
        if byte == b'%' {
            doubled.push(byte);
        }
    }
    doubled
}

/// Reads on until the channels end, or there is enough for once. `None`: the stream is over.
async fn read(prepared: &mut Prepared, is_first: bool) -> Option<(Outgoing, bool)> {
    let mut out = Outgoing::new(Framing::Plain);
    if is_first {
        out.put(OPENING);
    }
    let subscriber = &mut prepared.subscriber;
    let is_whole = poll_fn(|cx| {
        loop {
            if out.content_len() >= PAGE && !subscriber.is_within_event() {
                return Poll::Ready(Some(false));
            }
            match subscriber.poll_deliver(cx, &mut out) {
                Poll::Ready(Delivery::Events | Delivery::LeftOut) => {}
                Poll::Ready(Delivery::Lost | Delivery::Closed) => return Poll::Ready(None),
                Poll::Pending if subscriber.is_reading() || subscriber.is_within_event() => {
                    return Poll::Pending;
                }
                Poll::Pending => return Poll::Ready(Some(true)),
            }
        }
    });
    let is_whole = is_whole.await?;
    Some((out, is_whole))
}

impl Pinned {
    /// What says who asks. None: a header of theirs is no text, as it must be in a link, and
    /// without it they would be somebody else.
    fn of(request: &AccessRequest<'_>) -> Option<Self> {
        let personal = request.headers().iter().filter(|(name, _)| {
            !IMPERSONAL.contains(&name.as_str()) && !name.as_str().starts_with("sec-")
        });
        let headers = personal.map(|(name, value)| {
            value.to_str().ok().map(|value| (name.as_str().to_owned(), value.to_owned()))
        });
        let headers = headers.collect::<Option<Vec<_>>>()?;
        let original = request.original();
        let original = |part: fn(&Original<'_>) -> String| original.as_ref().map(part);
        let query = form_urlencoded::parse(request.query().as_bytes());
        let query = query.filter(|(name, _)| name != "lastEventId");
        Some(Self {
            method: original(|it| it.method.to_owned()).unwrap_or_default(),
            path: request.path().to_owned(),
            query: form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish(),
            headers,
            scheme: original(|it| it.scheme.to_owned()).unwrap_or_default(),
            host: original(|it| it.host.to_owned()).unwrap_or_default(),
            uri: original(|it| it.uri.to_owned()).unwrap_or_default(),
            client: request.client(),
            channels: request.channels().iter().map(ToString::to_string).collect(),
            ..Self::default()
        })
    }

    fn headers(&self) -> HeaderMap {
        let pairs = self.headers.iter().filter_map(|(name, value)| {
            Some((HeaderName::try_from(name).ok()?, HeaderValue::try_from(value).ok()?))
        });
        let mut headers: HeaderMap = HeaderMap::new();
        for (name, value) in pairs {
            headers.append::<HeaderName>(name, value);
        }
        headers
    }
}

/// `GET /grip/next/…`: a proxy asks about one connection.
pub(in crate::http) async fn next(
    State(app): State<Arc<App>>,
    OriginalUri(uri): OriginalUri,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
) -> Response {
    let Some(held) = proxied(&app, &headers) else {
        return unknown_path(State(app), OriginalUri(uri)).await.into_response();
    };
    let token = uri.path().rsplit('/').next().unwrap_or_default();
    let Some(pinned) = held.grip.link().open(token) else {
        debug!("a next link is too old, or none of ours");
        return event_stream(Body::from(COME_BACK));
    };
    let places = Cursor::parse(&pinned.cursor).unwrap_or_default().into_owned();
    held.go_on(pinned, &headers, peer, places).await
}

/// `GET /grip/public/…`: a proxy asks about all connections that are at one place.
pub(in crate::http) async fn public(
    State(app): State<Arc<App>>,
    OriginalUri(uri): OriginalUri,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
) -> Response {
    let Some(held) = proxied(&app, &headers) else {
        return unknown_path(State(app), OriginalUri(uri)).await.into_response();
    };
    let names = uri.path().split_once(link::PUBLIC).map_or("", |(_, names)| names);
    let Some(places) = link::open_public(names) else {
        return event_stream(Body::from(COME_BACK));
    };
    let pinned = Pinned {
        method: "GET".to_owned(),
        path: uri.path().to_owned(),
        uri: uri.path().to_owned(),
        channels: places.iter().map(|(name, _)| name.to_string()).collect(),
        ..Pinned::default()
    };
    let known = places.iter().filter_map(|(name, id)| Some((&**name, (*id)?)));
    held.go_on(pinned, &headers, peer, known.collect()).await
}
