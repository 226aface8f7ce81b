//! `POST /publish/`: who may, what is asked for, and the ids it got.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::{Bytes, HttpBody};
use axum::extract::{FromRequest, Request, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use sse_proto::{DEFAULT_EVENT_TYPE, event_id};
use tokio::time::timeout;
use tracing::debug;

use super::ndjson;
use super::permissions::User;
use super::python_json::dumps;
use crate::access::{PublishToken, Publishers};
use crate::http::error::Refusal;
use crate::http::{App, MAX_REQUEST};
use crate::hub::{NotAllowed, PublishError, check_content, check_place};
use crate::storage::{NewEvent, RequestKey};

/// How long the body of a request may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Names a request, so that it can be sent again.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The longest such name, in bytes.
const MAX_KEY: usize = 255;

/// The largest number of a line: what every program can read from JSON.
const MAX_LINE: u64 = 1 << 53;

/// One event, as the body describes it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Message {
    channel: String,
    event: Option<String>,
    #[serde(default, deserialize_with = "present")]
    data: Option<Box<RawValue>>,
    text: Option<String>,
    #[serde(default, deserialize_with = "users")]
    skip_users: Vec<String>,
    store: Option<bool>,
}

/// `null` is a value, not the absence of one.
fn present<'de, D: Deserializer<'de>>(input: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(input).map(Some)
}

/// Names and numbers.
fn users<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<String>, D::Error> {
    let users = Vec::<User>::deserialize(input);
    let users =
        users.map_err(|_| D::Error::custom("`skip_users` must be a list of names or numbers"))?;
    Ok(users.into_iter().map(User::into_name).collect())
}

#[derive(Serialize)]
struct Published {
    /// None: it is not stored.
    id: Option<String>,
}

pub(in crate::http) async fn publish(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Response, Refusal> {
    // Before the body, so that only those who may publish can make the server hold megabytes.
    let token = authorize(request.headers(), &app.config.publishers)?;
    let key = key(request.headers())?;
    if ndjson::is_in(request.headers()) {
        not_encoded(request.headers())?;
        let (token, first) = (token.clone(), first_line(request.uri().query())?);
        return Ok(ndjson::publish(app, token, key, first, request.into_body()));
    }
    let body = body(request).await?;
    let (events, is_batch) = read(&body, app.config.max_event_len)?;
    let about = |index: usize, refusal: Refusal| {
        if is_batch { refusal.about(format_args!("event {}", index + 1)) } else { refusal }
    };
    if let Some(index) = events.iter().position(|event| !token.may_publish_to(&event.channel)) {
        return Err(about(index, forbidden(&events[index].channel)));
    }
    let channels: Vec<Arc<str>> = events.iter().map(|event| event.channel.clone()).collect();
    let key = key.map(|name| RequestKey::new(token.publisher(), name, &body));
    let published = async { app.hub.submit(events, key).await?.await };
    let ids = published.await.map_err(|error| match error {
        PublishError::Refused(index, _) => about(index, refusal(error)),
        error => refusal(error),
    })?;
    app.config.operations.metrics().published(ids.len());
    let published = channels
        .iter()
        .zip(&ids)
        .map(|(name, &id)| Published { id: (id > 0).then(|| event_id(name, id)) });
    let mut published: Vec<Published> = published.collect();
    debug!(events = published.len(), last = ?published.last().map(|last| &last.id), "published");
    Ok(match published.pop() {
        Some(single) if !is_batch => Json(single).into_response(),
        last => {
            published.extend(last);
            Json(published).into_response()
        }
    })
}

/// Refuses a body that would have to be decoded first, and says so, instead of what is wrong with it as JSON.
fn not_encoded(headers: &HeaderMap) -> Result<(), Refusal> {
    let codings = headers.get_all(header::CONTENT_ENCODING).iter();
    let codings = codings.flat_map(|line| line.as_bytes().split(|&byte| byte == b','));
    for coding in codings.map(<[u8]>::trim_ascii).filter(|coding| !coding.is_empty()) {
        if !coding.eq_ignore_ascii_case(b"identity") {
            let text = format!(
                "bodies are read as they are, without the Content-Encoding {:?}; send them so",
                String::from_utf8_lossy(coding)
            );
            let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            return Err(Refusal::new(status, "unsupported-encoding", text));
        }
    }
    Ok(())
}

/// The whole body, which must be there in time and not too large, without a byte order mark.
pub(super) async fn body(request: Request) -> Result<Bytes, Refusal> {
    not_encoded(request.headers())?;
    let too_large =
        || Refusal::too_large(format!("a request may have {MAX_REQUEST} bytes; send fewer events"));
    if request.body().size_hint().lower() > MAX_REQUEST as u64 {
        return Err(too_large());
    }
    match timeout(BODY_TIMEOUT, Bytes::from_request(request, &())).await {
        Ok(Ok(body)) => Ok(body.slice_ref(without_mark(&body))),
        Ok(Err(rejection)) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            Err(too_large())
        }
        Ok(Err(rejection)) => Err(Refusal::bad_request(rejection.body_text())),
        Err(_) => {
            let text = format!("the body did not arrive within {} s", BODY_TIMEOUT.as_secs());
            Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, "timeout", text))
        }
    }
}

/// The token that a request was sent with.
pub(in crate::http) fn authorize(
    headers: &HeaderMap,
    publishers: &Publishers,
) -> Result<Arc<PublishToken>, Refusal> {
    let unauthorized = |text| Err(Refusal::new(StatusCode::UNAUTHORIZED, "unauthorized", text));
    let Some(given) = headers.get(header::AUTHORIZATION) else {
        return unauthorized("send the publish token as `Authorization: Bearer TOKEN`");
    };
    let given = given.as_bytes();
    let bearer = match given.split_at_checked(7) {
        Some((scheme, given)) if scheme.eq_ignore_ascii_case(b"bearer ") => given.trim_ascii(),
        _ => return unauthorized("the authorization must be `Bearer TOKEN`"),
    };
    publishers.find(bearer).map_or_else(
        || {
            unauthorized(
                "this is no publish token; the server prints it, or has it in its settings",
            )
        },
        Ok,
    )
}

/// Why events were not published.
pub(super) fn refusal(error: PublishError) -> Refusal {
    match error {
        PublishError::Storage(_) => Refusal::unavailable(
            "the storage failed; unless the connection to it broke just then, nothing was \
             published; try again, and see the server's log",
        ),
        PublishError::Refused(_, why) => {
            Refusal::bad_request(format!("it cannot be stored: {why}"))
        }
        PublishError::KeyReused => Refusal::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "key-reused",
            "another request of yours had this Idempotency-Key and another content; give each its own",
        ),
        PublishError::Closed => Refusal::unavailable(
            "the server is shutting down; whether this was published is not known",
        ),
    }
}

pub(super) fn forbidden(channel: &str) -> Refusal {
    let text = format!("this token may not publish to the channel {channel:?}");
    Refusal::new(StatusCode::FORBIDDEN, "forbidden", text)
}

/// The name that the publisher gives the request, with or without quotes.
fn key(headers: &HeaderMap) -> Result<Option<String>, Refusal> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text = value.to_str().unwrap_or_default().trim();
    let name = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    let is_name = |name: &str| name.bytes().all(|byte| byte.is_ascii_graphic());
    if values.next().is_some() || !(1..=MAX_KEY).contains(&name.len()) || !is_name(name) {
        let text = format!(
            "`Idempotency-Key` must be there once, with 1 to {MAX_KEY} visible ASCII characters; \
             a random UUID will do"
        );
        return Err(Refusal::bad_request(text));
    }
    Ok(Some(name.to_owned()))
}

/// `line` of the query: the number of the first line, for who sends the rest of what has broken off.
fn first_line(query: Option<&str>) -> Result<u64, Refusal> {
    let mut pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    let Some((_, value)) = pairs.find(|(name, _)| name == "line") else { return Ok(1) };
    value.parse().ok().filter(|line| (1..=MAX_LINE).contains(line)).ok_or_else(|| {
        Refusal::bad_request("`line` in the query must be the number of the body's first line")
    })
}

/// The media type, without parameters.
pub(super) fn essence(headers: &HeaderMap) -> &str {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    content_type.and_then(|value| value.split(';').next()).unwrap_or_default().trim()
}

/// The events of a request, and whether they came as a batch.
fn read(body: &[u8], max_event_len: usize) -> Result<(Vec<NewEvent>, bool), Refusal> {
    if body.trim_ascii().starts_with(b"[") {
        let messages: Vec<Message> =
            serde_json::from_slice(body).map_err(|error| not_json(&error))?;
        let checked = |(index, message): (usize, Message)| {
            check(message, max_event_len)
                .map_err(|refusal| refusal.about(format_args!("event {}", index + 1)))
        };
        let events = messages.into_iter().enumerate().map(checked);
        return Ok((events.collect::<Result<_, _>>()?, true));
    }
    let message = serde_json::from_slice(body).map_err(|error| not_json(&error))?;
    Ok((vec![check(message, max_event_len)?], false))
}

/// Text without the byte order mark that some programs write before it (RFC 8259, section 8.1).
pub(super) fn without_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)
}

pub(super) fn not_json(error: &serde_json::Error) -> Refusal {
    let needed = "the body must be {\"channel\": …, \"data\": …}, an array of these, or one a line with \
                  Content-Type application/x-ndjson";
    Refusal::bad_request(format!("{error}; {needed}"))
}

impl From<NotAllowed> for Refusal {
    fn from(why: NotAllowed) -> Self {
        match why {
            NotAllowed::TooLarge { .. } => Self::too_large(why.to_string()),
            why => Self::bad_request(why.to_string()),
        }
    }
}

/// Checks a message and makes an event of it.
pub(super) fn check(message: Message, max_event_len: usize) -> Result<NewEvent, Refusal> {
    let Message { channel, event, data, text, skip_users, store } = message;
    let event_type = event.unwrap_or_else(|| DEFAULT_EVENT_TYPE.to_owned());
    check_place(&channel, &event_type)?;
    let data = match (data, text) {
        (Some(json), None) => dumps(json.get()),
        (None, Some(text)) => text,
        (None, None) => {
            let text = "there is neither `data` (any JSON) nor `text` (a string, sent as it is)";
            return Err(Refusal::bad_request(text));
        }
        (Some(_), Some(_)) => {
            return Err(Refusal::bad_request("there are both `data` and `text`; send one of them"));
        }
    };
    check_content(&event_type, &data, &skip_users, max_event_len)?;
    let event = NewEvent::new(channel, event_type, data).skip_users(skip_users);
    Ok(event.store(store.unwrap_or(true)))
}
