//! For load balancers and orchestrators: is the process alive, and should it get requests.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::http::app::App;
use crate::http::error::Refusal;
use crate::hub::Unready;

/// How long the storage may take to answer. Who asks has less patience than who publishes.
const PATIENCE: Duration = Duration::from_secs(2);

/// The process answers, and a new one would do no better. A failing storage is no reason to restart
/// it; a task that has ended is.
pub(in crate::http) async fn live(State(app): State<Arc<App>>) -> Result<Json<Value>, Refusal> {
    match app.hub.check_tasks() {
        Err(error @ Unready::TaskEnded(_)) => Err(Refusal::unavailable(error.to_string())),
        _ => Ok(Json(json!({"status": "ok"}))),
    }
}

/// The server can do its work: it is not shutting down, its tasks run, its storage answers, and can
/// be written.
pub(in crate::http) async fn ready(State(app): State<Arc<App>>) -> Result<Json<Value>, Refusal> {
    if app.config.operations.is_ending() {
        return Err(Refusal::unavailable(Unready::Closed.to_string()));
    }
    match timeout(PATIENCE, app.hub.check()).await {
        Ok(Ok(())) => Ok(Json(json!({"status": "ok", "channels": app.hub.channels()}))),
        Ok(Err(error)) => Err(Refusal::unavailable(error.to_string())),
        Err(_) => {
            let text = format!("the storage has not answered for {} s", PATIENCE.as_secs());
            Err(Refusal::unavailable(text))
        }
    }
}
