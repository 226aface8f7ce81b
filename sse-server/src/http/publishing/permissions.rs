//! `POST /permissions/changed`: has open streams checked again.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

use super::body::body;
use super::message::User;
use super::token::authorize;
use crate::http::app::App;
use crate::http::error::Refusal;
use crate::hub::{MAX_CHANNEL_NAME, MAX_USER};

/// Whose permission, and for what.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    /// None: of everyone who is anonymous. Must be there, so that it is not forgotten.
    #[serde(deserialize_with = "user")]
    user: Option<String>,
    channel: String,
}

/// A user, or `null`.
fn user<'de, D: Deserializer<'de>>(input: D) -> Result<Option<String>, D::Error> {
    let user = Option::<User>::deserialize(input);
    let user = user.map_err(|_| D::Error::custom("`user` must be a name, a number or null"))?;
    Ok(user.map(User::into_name))
}

/// What was done.
#[derive(Serialize)]
pub(in crate::http) struct Done {
    /// How many streams were closed here.
    closed: usize,
    /// How many other instances have confirmed.
    instances: usize,
}

pub(in crate::http) async fn changed(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Json<Done>, Refusal> {
    let token = authorize(request.headers(), &app.config.publishers)?;
    let Change { user, channel } =
        serde_json::from_slice(&body(request).await?).map_err(|error| {
            let needed = "the body must be {\"user\": NAME or null, \"channel\": NAME}";
            Refusal::bad_request(format!("{error}; {needed}"))
        })?;
    let is_too_long = |name: &str, most| name.chars().count() > most;
    if channel.is_empty() || is_too_long(&channel, MAX_CHANNEL_NAME) {
        let text = format!("`channel` must have 1 to {MAX_CHANNEL_NAME} characters");
        return Err(Refusal::bad_request(text));
    }
    if user.as_deref().is_some_and(|user| is_too_long(user, MAX_USER)) {
        let text = format!("`user` is longer than {MAX_USER} characters");
        return Err(Refusal::bad_request(text));
    }
    if !token.may_change(&channel) {
        let text = format!("this token may not change permissions of the channel {channel:?}");
        return Err(Refusal::new(StatusCode::FORBIDDEN, "forbidden", text));
    }
    let Some(access) = &app.config.access else {
        // Everyone may read everything, before and after.
        return Ok(Json(Done { closed: 0, instances: 0 }));
    };
    // To the end, even if the client does not wait for it.
    let access = access.clone();
    #[cfg(feature = "server")]
    let grip = app.config.grip.clone();
    let changed = tokio::spawn(async move {
        let changed = access.permission_changed(user.as_deref(), &channel).await;
        // After what was remembered is forgotten: the proxies ask at once.
        #[cfg(feature = "server")]
        if let Some(grip) = grip {
            let held = grip.ask_again(user.as_deref(), &channel).await;
            held.map_err(|error| error.to_string())?;
        }
        changed.map_err(|error| error.to_string())
    });
    let changed = changed.await.map_err(|_| Refusal::unavailable("the server is shutting down"))?;
    let changed = changed.map_err(Refusal::unavailable)?;
    Ok(Json(Done { closed: changed.closed, instances: changed.instances }))
}
