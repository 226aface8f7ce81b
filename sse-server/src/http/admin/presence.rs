//! `GET /channels/`: which channels are read here, and by how many streams.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use serde::Serialize;

use crate::http::app::App;
use crate::http::error::Refusal;
use crate::http::publishing::token::authorize;

/// What is read on this instance. Others are asked for theirs.
#[derive(Serialize)]
pub(in crate::http) struct Presence {
    scope: &'static str,
    channels: Vec<Channel>,
}

#[derive(Serialize)]
struct Channel {
    channel: String,
    streams: usize,
}

/// For publishers: a token shows the channels it may publish to.
pub(in crate::http) async fn channels(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
) -> Result<Json<Presence>, Refusal> {
    let token = authorize(&headers, &app.config.publishers)?;
    let mut channels: Vec<Channel> = app
        .hub
        .readers()
        .into_iter()
        .filter(|(channel, _)| token.may_publish_to(channel))
        .map(|(channel, streams)| Channel { channel: channel.to_string(), streams })
        .collect();
    channels.sort_unstable_by(|a, b| a.channel.cmp(&b.channel));
    Ok(Json(Presence { scope: "instance", channels }))
}
