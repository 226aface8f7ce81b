//! `POST /publish/`: who may, what is asked for, and the ids it got.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::{Bytes, HttpBody};
use axum::extract::{FromRequest, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use sse_proto::{DEFAULT_EVENT_TYPE, Event, event_id};
use tokio::time::timeout;
use tracing::debug;

use super::error::Refusal;
use super::json::dumps;
use super::{App, MAX_CHANNEL_NAME, MAX_REQUEST};
use crate::access::{PublishToken, Publishers};
use crate::hub::PublishError;
use crate::storage::NewEvent;

/// How long the body of a request may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Types that only the server itself may send: a reader acts on them.
const RESERVED_TYPES: [&str; 4] = ["stream-open", "stream-reset", "stream-error", "keep-alive"];

/// One event, as the body describes it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Message {
    channel: String,
    event: Option<String>,
    #[serde(default, deserialize_with = "present")]
    data: Option<Box<RawValue>>,
    text: Option<String>,
}

/// `null` is a value, not the absence of one.
fn present<'de, D: Deserializer<'de>>(input: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(input).map(Some)
}

#[derive(Serialize)]
struct Published {
    /// None: it is not stored.
    id: Option<String>,
}

pub(super) async fn publish(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Response, Refusal> {
    // Before the body, so that only those who may publish can make the server hold megabytes.
    let token = authorize(request.headers(), &app.config.publishers)?;
    let headers = request.headers().clone();
    let body = body(request).await?;
    let (events, is_batch) = read(&body, &headers, app.config.max_event_len)?;
    if let Some(index) = events.iter().position(|event| !token.may_publish_to(&event.channel)) {
        let channel = &events[index].channel;
        let text = format!("this token may not publish to the channel {channel:?}");
        let refusal = Refusal::new(StatusCode::FORBIDDEN, "forbidden", text);
        let place = format_args!("event {}", index + 1);
        return Err(if is_batch { refusal.about(place) } else { refusal });
    }
    let channels: Vec<Arc<str>> = events.iter().map(|event| event.channel.clone()).collect();
    let ids = app.hub.publish(events).await.map_err(|error| match error {
        PublishError::Storage(_) => Refusal::unavailable(
            "the storage failed; unless the connection to it broke just then, nothing was \
             published; try again, and see the server's log",
        ),
        PublishError::Refused(index, why) => {
            let refusal = Refusal::bad_request(format!("it cannot be stored: {why}"));
            if is_batch { refusal.about(format_args!("event {}", index + 1)) } else { refusal }
        }
        PublishError::Closed => Refusal::unavailable(
            "the server is shutting down; whether this was published is not known",
        ),
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

/// The whole body, which must be there in time and not too large.
pub(super) async fn body(request: Request) -> Result<Bytes, Refusal> {
    let too_large =
        || Refusal::too_large(format!("a request may have {MAX_REQUEST} bytes; send fewer events"));
    if request.body().size_hint().lower() > MAX_REQUEST as u64 {
        return Err(too_large());
    }
    match timeout(BODY_TIMEOUT, Bytes::from_request(request, &())).await {
        Ok(Ok(body)) => Ok(body),
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
pub(super) fn authorize(
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

/// The events of a request, and whether they came as a batch.
fn read(
    body: &[u8],
    headers: &HeaderMap,
    max_event_len: usize,
) -> Result<(Vec<NewEvent>, bool), Refusal> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = content_type.and_then(|value| value.split(';').next()).unwrap_or_default().trim();
    let is_lines = ["application/x-ndjson", "application/jsonl"]
        .iter()
        .any(|kind| essence.eq_ignore_ascii_case(kind));
    let checked = |(index, message): (usize, Message)| {
        check(message, max_event_len)
            .map_err(|refusal| refusal.about(format_args!("event {}", index + 1)))
    };
    if is_lines {
        let lines = body.split(|&byte| byte == b'\n').enumerate();
        let lines = lines.filter(|(_, line)| !line.trim_ascii().is_empty());
        let messages = lines.map(|(index, line)| {
            let message = serde_json::from_slice::<Message>(line);
            let message =
                message.map_err(|error| not_json(&error).about(format_args!("line {}", index + 1)));
            check(message?, max_event_len)
                .map_err(|refusal| refusal.about(format_args!("line {}", index + 1)))
        });
        return Ok((messages.collect::<Result<_, _>>()?, true));
    }
    if body.trim_ascii().starts_with(b"[") {
        let messages: Vec<Message> =
            serde_json::from_slice(body).map_err(|error| not_json(&error))?;
        return Ok((
            messages.into_iter().enumerate().map(checked).collect::<Result<_, _>>()?,
            true,
        ));
    }
    let message = serde_json::from_slice(body).map_err(|error| not_json(&error))?;
    Ok((vec![check(message, max_event_len)?], false))
}

fn not_json(error: &serde_json::Error) -> Refusal {
    let needed = "the body must be {\"channel\": …, \"data\": …}, an array of these, or one a line with \
                  Content-Type application/x-ndjson";
    Refusal::bad_request(format!("{error}; {needed}"))
}

/// Checks a message and makes an event of it.
fn check(message: Message, max_event_len: usize) -> Result<NewEvent, Refusal> {
    let Message { channel, event, data, text } = message;
    if channel.is_empty() {
        return Err(Refusal::bad_request("`channel` is empty; name the channel to publish to"));
    }
    if channel.chars().count() > MAX_CHANNEL_NAME {
        let text = format!("`channel` is longer than {MAX_CHANNEL_NAME} characters");
        return Err(Refusal::bad_request(text));
    }
    let event_type = event.unwrap_or_else(|| DEFAULT_EVENT_TYPE.to_owned());
    if let Err(error) = Event::builder("").event_type(&event_type).build() {
        return Err(Refusal::bad_request(format!("`event` cannot be sent: {error}")));
    }
    if RESERVED_TYPES.contains(&&*event_type) {
        let text = format!("`event` is {event_type:?}, which only the server itself may send");
        return Err(Refusal::bad_request(text));
    }
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
    let len = event_type.len() + data.len();
    if len > max_event_len {
        let text = format!("the event has {len} bytes; the limit is {max_event_len}");
        return Err(Refusal::too_large(text));
    }
    Ok(NewEvent { channel: channel.into(), event_type, data })
}
