//! For load balancers and orchestrators: is the process alive, and should it get requests.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::App;
use super::error::Refusal;

/// The process answers. A failing storage is no reason to restart it.
pub(super) async fn live() -> Json<Value> {
    Json(json!({"status": "ok"}))
}

/// The server can do its work: it is not shutting down, and its storage answers.
pub(super) async fn ready(State(app): State<Arc<App>>) -> Result<Json<Value>, Refusal> {
    if app.hub.is_closed() {
        return Err(Refusal::unavailable("the server is shutting down"));
    }
    app.hub.check().await.map_err(|error| {
        Refusal::unavailable(format!("the storage does not answer: cannot {error}"))
    })?;
    Ok(Json(json!({"status": "ok", "channels": app.hub.channels()})))
}
