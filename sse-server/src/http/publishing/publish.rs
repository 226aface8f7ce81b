//! `POST /publish/`: who may, what is asked for, and the ids it got.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use sse_proto::event_id;
use tracing::debug;

use super::body::{body, not_encoded};
use super::message::{Message, check, not_json};
use super::ndjson;
use super::refused::{forbidden, refusal};
use super::token::authorize;
use crate::access::PublishToken;
use crate::http::app::App;
use crate::http::error::Refusal;
use crate::hub::PublishError;
use crate::storage::{NewEvent, RequestKey};

/// Names a request, so that it can be sent again.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The longest such name, in bytes.
const MAX_KEY: usize = 255;

/// The largest number of a line: what every program can read from JSON.
const MAX_LINE: u64 = 1 << 53;

#[derive(Serialize)]
pub(super) struct Published {
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
    Ok(Json(act(&app, &token, key, &body).await?).into_response())
}

/// What was published: an id, or those of a batch.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Answer {
    Single(Published),
    Batch(Vec<Published>),
}

/// Publishes what is in a body, once it is there.
pub(super) async fn act(
    app: &App,
    token: &PublishToken,
    key: Option<String>,
    body: &[u8],
) -> Result<Answer, Refusal> {
    let (events, is_batch) = read(body, app.config.max_event_len)?;
    let about = |index: usize, refusal: Refusal| {
        if is_batch { refusal.about(format_args!("event {}", index + 1)) } else { refusal }
    };
    if let Some(index) = events.iter().position(|event| !token.may_publish_to(&event.channel)) {
        return Err(about(index, forbidden(&events[index].channel)));
    }
    let channels: Vec<Arc<str>> = events.iter().map(|event| event.channel.clone()).collect();
    let key = key.map(|name| RequestKey::new(token.publisher(), name, body));
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
        Some(single) if !is_batch => Answer::Single(single),
        last => {
            published.extend(last);
            Answer::Batch(published)
        }
    })
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

/// `line` of the query: the number of the first line, for who sends the rest of what has broken
/// off.
fn first_line(query: Option<&str>) -> Result<u64, Refusal> {
    let mut pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    let Some((_, value)) = pairs.find(|(name, _)| name == "line") else { return Ok(1) };
    value.parse().ok().filter(|line| (1..=MAX_LINE).contains(line)).ok_or_else(|| {
        Refusal::bad_request("`line` in the query must be the number of the body's first line")
    })
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
