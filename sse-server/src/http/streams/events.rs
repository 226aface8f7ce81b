//! `GET` where streams are: which channels, from where, and the answer if there is no stream.

use std::net::IpAddr;
use std::sync::Arc;
#[cfg(feature = "server")]
use std::time::Duration;

use axum::body::Body;
use axum::extract::RawPathParams;
use axum::extract::rejection::RawPathParamsRejection;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use percent_encoding::percent_decode_str;
use sse_proto::{Cursor, ERROR_ID, StreamError};
use tracing::{debug, warn};

use super::accept::{Wanted, is_json_wanted};
#[cfg(feature = "server")]
use super::compression::{self, Compressed, Encoder};
use super::endpoint::Endpoint;
#[cfg(feature = "server")]
use super::held;
use super::original::original;
use super::page;
use super::stream::{OpenStream, StreamContext};
use crate::access::{Access, AccessError, AccessRequest, Guard, NotAdmitted, Principal, redacted};
#[cfg(feature = "server")]
use crate::grip::Carrier;
use crate::http::app::App;
use crate::http::error::{Refusal, forbidden};
use crate::http::headers::X_ACCEL_BUFFERING;
use crate::http::server::admission::Permit;
use crate::http::server::caller::{Caller, Peer};
use crate::http::server::long_lived::Takeable;
use crate::http::server::operations::Operations;
use crate::hub::{MAX_CHANNEL_NAME, Subscriber, Types};

/// The most types of events that a request can list.
const MAX_TYPES: usize = 100;

const INCREMENTAL: HeaderName = HeaderName::from_static("incremental");
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// What was asked. `here` is the URI as this router sees it, which may be below another one's path.
pub(in crate::http) struct Asked<'a> {
    pub(in crate::http) method: &'a Method,
    pub(in crate::http) here: &'a Uri,
    pub(in crate::http) uri: &'a Uri,
    pub(in crate::http) headers: &'a HeaderMap,
    pub(in crate::http) parts: &'a Parts,
}

/// A request for a stream of this endpoint.
pub(in crate::http) async fn answer(
    app: &Arc<App>,
    endpoint: &Endpoint,
    parameters: Result<RawPathParams, RawPathParamsRejection>,
    asked: Asked<'_>,
) -> Response {
    let Asked { here, uri, headers, parts, .. } = asked;
    let Ok(parameters) = parameters else {
        let text = "the path is not UTF-8; percent-encode the bytes of its names in UTF-8";
        return (stream_headers(), Refusal::bad_request(text)).into_response();
    };
    let parameters: Vec<(&str, &str)> = parameters.iter().collect();
    let query = uri.query().unwrap_or_default();
    if !are_texts(query) {
        let text = "a name in the query is not UTF-8; percent-encode its bytes in UTF-8";
        return (stream_headers(), Refusal::bad_request(text)).into_response();
    }
    let most = app.config.limits.most_channels();
    let named = endpoint.channels_of(&parameters, values(query, "channel"), most);
    let state = endpoint.present().filter(|_| is_json_wanted(headers));
    match if state.is_some() { Wanted::Stream } else { Wanted::by(headers) } {
        Wanted::Stream => {}
        Wanted::Page => {
            #[cfg(feature = "server")]
            let is_held = held::is_proxied(app, headers);
            #[cfg(not(feature = "server"))]
            let is_held = false;
            return page::answer(here.path(), &named, endpoint.types(), is_held);
        }
        Wanted::Neither => {
            let text =
                "what is here is text/event-stream, or text/html for people; accept one of them";
            let refusal = Refusal::new(StatusCode::NOT_ACCEPTABLE, "not-acceptable", text);
            return (stream_headers(), refusal).into_response();
        }
    }
    let caller = parts.extensions.get::<Caller>().cloned();
    let request = AccessRequest::new(uri.path(), query, headers)
        .with_parts(Some(parts))
        .with_peer(parts.extensions.get().map(|&Peer(address)| address))
        .with_client(caller.as_ref().map(|caller| caller.client))
        .with_original(caller.as_ref().map(|caller| original(caller, &asked)))
        .with_channels(&named);
    if let Some(state) = state {
        return state.answer(app, &request, caller.map(|caller| caller.client)).await;
    }
    // For a proxy that can hold this stream.
    #[cfg(feature = "server")]
    if let Some(held) = held::of_proxy(app, endpoint, asked.method, &request)
        && let Some(answer) = held.answer(&request, caller.as_ref().map(|it| it.client)).await
    {
        return answer;
    }
    match open(app, endpoint, request, caller).await {
        Ok(stream) => compressible(stream, headers, &app.config.operations),
        Err(why) => why.answer(app),
    }
}

/// Why there is no stream.
pub(super) enum NotOpened {
    /// Told in the stream, with status 200, where an `EventSource` can read it.
    Error(StreamError),
    /// The client comes back after a stream-error; status 400 makes an `EventSource` stop.
    AfterError,
    /// There are no credentials, or they do not hold, for this reason.
    Unauthorized(Option<String>),
    Unavailable(Refusal),
}

impl NotOpened {
    pub(super) fn answer(self, app: &App) -> Response {
        match self {
            Self::Error(error) => {
                app.config.operations.metrics().stream_error(&error.condition);
                event_stream(Body::from(error.to_event().to_string()))
            }
            Self::AfterError => after_error(),
            Self::Unauthorized(problem) => unauthorized(problem.as_deref()),
            Self::Unavailable(refusal) => (stream_headers(), refusal).into_response(),
        }
    }
}

async fn open(
    app: &Arc<App>,
    endpoint: &Endpoint,
    request: AccessRequest<'_>,
    caller: Option<Caller>,
) -> Result<OpenStream, NotOpened> {
    let types = types(endpoint, request.query()).map_err(|text| bad_request(&text))?;
    let client = caller.as_ref().map(|caller| caller.client);
    let Prepared { permit, mut subscriber, guard, knows_all, .. } = prepare(
        app,
        &request,
        client,
        None,
        #[cfg(feature = "server")]
        None,
    )
    .await?;
    if let Some(types) = types {
        subscriber.only(types);
    }
    let context =
        StreamContext { app: app.clone(), permit, consumer: caller.map(|caller| caller.consumer) };
    Ok(OpenStream::new(context, subscriber, guard, knows_all))
}

fn bad_request(text: &str) -> NotOpened {
    let (condition, text) = ("bad-request".to_owned(), format!("Invalid request: {text}"));
    NotOpened::Error(StreamError { condition, text, channels: Vec::new() })
}

/// A stream that may be opened.
pub(super) struct Prepared {
    pub(super) permit: Permit,
    pub(super) subscriber: Subscriber,
    pub(super) guard: Option<Guard>,
    /// Where it is before anything was read.
    pub(super) from: Cursor<'static>,
    /// The client has said for each channel what it knows.
    pub(super) knows_all: bool,
    pub(super) channels: Vec<Arc<str>>,
}

/// Looks who asks for which channels and from where, unless that is given, and lets them in.
/// `held`: who carries the channels to proxies, and how long these wait until they ask again.
pub(super) async fn prepare(
    app: &Arc<App>,
    request: &AccessRequest<'_>,
    client: Option<IpAddr>,
    resume: Option<Cursor<'static>>,
    #[cfg(feature = "server")] held: Option<(&Carrier, Duration)>,
) -> Result<Prepared, NotOpened> {
    // First of all, so that those who come in crowds cost nothing more.
    let permit = app.config.operations.admit_stream(client).map_err(|limit| {
        debug!(?client, %limit, "a stream is refused");
        NotOpened::Unavailable(limit.into())
    })?;
    let access = app.config.access.as_ref();
    let (principal, channels) = match access {
        Some(access) => identify(access, request).await?,
        None => (Principal::anonymous(), request.channels().to_vec()),
    };
    if channels.is_empty() {
        return Err(bad_request("No channels specified."));
    }
    if channels.len() > app.config.limits.most_channels() {
        return Err(bad_request("Channel limit exceeded."));
    }
    if channels.iter().any(|name| name.is_empty()) {
        return Err(bad_request("A channel name is empty."));
    }
    if channels.iter().any(|name| name.chars().count() > MAX_CHANNEL_NAME) {
        let text = format!("A channel name is longer than {MAX_CHANNEL_NAME} characters.");
        return Err(bad_request(&text));
    }
    let resume = match resume {
        Some(resume) => resume,
        None => resume_of(request, &channels)?,
    };
    let guard = match access {
        Some(access) => Some(admit(access, principal, &channels, request).await?),
        None => None,
    };
    let subscribe = async {
        #[cfg(feature = "server")]
        if let Some((carrier, pace)) = held {
            // Before it is read: nothing may come between what is read and what is carried.
            carrier.hold(&channels, pace).await?;
        }
        app.hub.subscribe(&channels, &resume).await
    };
    let mut subscriber = subscribe.await.map_err(|error| {
        warn!(%error, "a stream could not be opened");
        NotOpened::Unavailable(Refusal::unavailable(
            "the storage does not answer, so the stream cannot be placed; try again",
        ))
    })?;
    let from = subscriber.cursor().into_owned();
    let user = guard.as_ref().and_then(|guard| guard.principal().name());
    if let Some(user) = user {
        subscriber.read_as(user);
    }
    let knows_all = channels.iter().all(|channel| resume.position(channel).is_some());
    debug!(?channels, %resume, "stream opened");
    Ok(Prepared { permit, subscriber, guard, from, knows_all, channels })
}

/// From where a request resumes.
fn resume_of(
    request: &AccessRequest<'_>,
    channels: &[Arc<str>],
) -> Result<Cursor<'static>, NotOpened> {
    let id = resume_id(request.query(), request.headers());
    Ok(match id.as_deref().map(str::from_utf8) {
        None => Cursor::new(),
        Some(Ok(ERROR_ID)) => return Err(NotOpened::AfterError),
        // Beyond the end of every log, so that the reader is told that events may be missing.
        Some(Ok(id)) if is_of_another_server(id) => {
            channels.iter().map(|channel| (channel.to_string(), u64::MAX)).collect()
        }
        Some(Ok(id)) => Cursor::parse(id).map(Cursor::into_owned).map_err(|error| {
            debug!(%error, "a resume id could not be parsed");
            bad_request("Failed to parse Last-Event-ID or lastEventId.")
        })?,
        Some(Err(_)) => {
            return Err(bad_request("Failed to parse Last-Event-ID or lastEventId."));
        }
    })
}

/// Who has sent a request, and the channels that they get.
async fn identify(
    access: &Access,
    request: &AccessRequest<'_>,
) -> Result<(Principal, Vec<Arc<str>>), NotOpened> {
    let manager = access.manager();
    let identified = async {
        let principal = manager.authenticate(request).await?;
        let channels = manager.channels(request, &principal).await?;
        Ok((principal, channels))
    };
    identified.await.map_err(|error| {
        let query = redacted(request.query(), |name| manager.is_secret(name));
        match error {
            AccessError::Invalid(problem) => {
                debug!(problem, path = request.path(), query, "credentials were refused");
                NotOpened::Unauthorized(Some(problem))
            }
            AccessError::Unavailable(problem) => {
                warn!(
                    problem,
                    path = request.path(),
                    query,
                    "the credentials could not be checked"
                );
                unchecked()
            }
            error @ (AccessError::Busy | AccessError::Outdated) => {
                debug!(%error, path = request.path(), query, "a stream is not opened now");
                unchecked()
            }
        }
    })
}

/// Lets a stream in, or says why not.
async fn admit(
    access: &Access,
    principal: Principal,
    channels: &[Arc<str>],
    request: &AccessRequest<'_>,
) -> Result<Guard, NotOpened> {
    let manager = access.manager();
    let wants_credentials = manager.wants_credentials(&principal);
    access.admit(principal, channels).await.map_err(|error| match error {
        NotAdmitted::Unchecked => unchecked(),
        NotAdmitted::Refused(refused) => {
            let query = redacted(request.query(), |name| manager.is_secret(name));
            debug!(?refused, path = request.path(), query, "a stream was refused");
            if wants_credentials {
                NotOpened::Unauthorized(None)
            } else {
                NotOpened::Error(forbidden(&refused))
            }
        }
    })
}

fn unchecked() -> NotOpened {
    NotOpened::Unavailable(Refusal::unavailable(
        "it cannot be found out who may read this; try again",
    ))
}

/// Asks for credentials, or for others (RFC 6750, section 3).
fn unauthorized(problem: Option<&str>) -> Response {
    let text = problem.unwrap_or("send a token as `Authorization: Bearer TOKEN`, or log in");
    let refusal = Refusal::new(StatusCode::UNAUTHORIZED, "unauthorized", text);
    let mut response = (stream_headers(), refusal).into_response();
    if let Some(problem) = problem {
        // What a quoted string cannot have is no part of it.
        let is_quotable = |c: &char| matches!(c, ' '..='~') && !matches!(c, '"' | '\\');
        let problem: String = problem.chars().filter(is_quotable).collect();
        let challenge = format!("Bearer error=\"invalid_token\", error_description=\"{problem}\"");
        let challenge = HeaderValue::try_from(challenge).expect("printable ASCII");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    }
    response
}

/// A client has come back after a stream-error.
pub(crate) fn after_error() -> Response {
    let content_type = [(header::CONTENT_TYPE, "text/html; charset=utf-8")];
    let text = "Invalid request: Can't resume session after stream-error.\n";
    (StatusCode::BAD_REQUEST, stream_headers(), content_type, text).into_response()
}

/// The header, or else the last `lastEventId` of the query; empty ones do not count.
pub(crate) fn resume_id(query: &str, headers: &HeaderMap) -> Option<Vec<u8>> {
    let header = headers.get(LAST_EVENT_ID).map(|value| value.as_bytes().to_vec());
    header
        .filter(|id| !id.is_empty())
        .or_else(|| values(query, "lastEventId").filter(|id| !id.is_empty()).last().map(Into::into))
}

/// Whether a page has this id from another server, or from a script that has lost it: a number,
/// `1700000000-0`, a UUID, `undefined`. Its tab was open when the servers were exchanged, and is to
/// go on.
fn is_of_another_server(id: &str) -> bool {
    let id = id.strip_prefix("urn:uuid:").unwrap_or(id);
    let is_lost = ["undefined", "null", "NaN", "None", "nil"].contains(&id);
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.+/=|".contains(&byte);
    is_lost || id.bytes().any(|byte| byte.is_ascii_digit()) && id.bytes().all(is_part)
}

/// The types of events that are wanted: those of the endpoint, or `messages_types=a,b` in the
/// query. None: all.
fn types(endpoint: &Endpoint, query: &str) -> Result<Option<Types>, String> {
    let values: Vec<String> = values(query, "messages_types").collect();
    let named = values.iter().flat_map(|value| value.split(',')).map(str::trim);
    let named: Vec<&str> = named.filter(|name| !name.is_empty()).take(MAX_TYPES + 1).collect();
    match endpoint.types() {
        Some(_) if !named.is_empty() => Err("The messages_types are fixed here.".to_owned()),
        Some(types) => Ok(Some(types.clone())),
        None if named.is_empty() => Ok(None),
        None if named.len() > MAX_TYPES => Err(format!("More than {MAX_TYPES} messages_types.")),
        None => Ok(Some(named.into_iter().collect())),
    }
}

fn values<'a>(query: &'a str, name: &'a str) -> impl Iterator<Item = String> + 'a {
    let pairs = form_urlencoded::parse(query.as_bytes());
    pairs.filter(move |(key, _)| key == name).map(|(_, value)| value.into_owned())
}

/// Whether the names in a query are UTF-8. Otherwise two could become one, with U+FFFD for what is
/// no character.
fn are_texts(query: &str) -> bool {
    query.split('&').all(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let key = percent_decode_str(key).decode_utf8_lossy();
        percent_decode_str(value).decode_utf8().is_ok()
            || !matches!(&*key, "channel" | "messages_types")
    })
}

/// A stream, compressed if client and server want that.
fn compressible(stream: OpenStream, headers: &HeaderMap, operations: &Operations) -> Response {
    let mut response = event_stream(Body::empty());
    compress_into(&mut response, stream, headers, operations);
    if operations.max_stream_age.is_some() {
        // Over the same connection the reader would come back to this server.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

#[cfg(feature = "server")]
fn compress_into(
    response: &mut Response,
    stream: OpenStream,
    headers: &HeaderMap,
    operations: &Operations,
) {
    let offered = operations.codings();
    let encoder = compression::choose(headers, offered).and_then(Encoder::new);
    let coding = encoder.as_ref().map(Encoder::coding);
    match encoder {
        Some(encoder) => Takeable::put(Compressed::new(stream, encoder), response),
        None => Takeable::put(stream, response),
    }
    if !offered.is_empty() {
        compression::describe(response, coding);
    }
}

/// Nothing is compressed.
#[cfg(not(feature = "server"))]
fn compress_into(response: &mut Response, stream: OpenStream, _: &HeaderMap, _: &Operations) {
    Takeable::put(stream, response);
}

pub(crate) fn event_stream(body: Body) -> Response {
    let own = [
        (header::CONTENT_TYPE, "text/event-stream"),
        // Intermediaries pass on each part as it comes (RFC 10036).
        (INCREMENTAL, "?1"),
    ];
    (stream_headers(), own, body).into_response()
}

/// What django-eventstream sends with every answer of a stream's URL, and `no-transform`.
fn stream_headers() -> [(HeaderName, &'static str); 3] {
    [
        // What is compressed on the way is held back until there is enough of it.
        (header::CACHE_CONTROL, "no-cache, no-transform"),
        // nginx would hold small events back otherwise.
        (X_ACCEL_BUFFERING, "no"),
        (header::VARY, "Accept"),
    ]
}
