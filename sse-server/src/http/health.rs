//! For load balancers and orchestrators: is the process alive, and should it get requests.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::App;
use super::error::Refusal;

/// How long the storage may take to answer. Who asks has less patience than who publishes.
const PATIENCE: Duration = Duration::from_secs(2);

/// The process answers. A failing storage is no reason to restart it.
pub(super) async fn live() -> Json<Value> {
    Json(json!({"status": "ok"}))
}

/// The server can do its work: it is not shutting down, and its storage answers.
pub(super) async fn ready(State(app): State<Arc<App>>) -> Result<Json<Value>, Refusal> {
    if app.hub.is_closed() {
        return Err(Refusal::unavailable("the server is shutting down"));
    }
    match timeout(PATIENCE, app.hub.check()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            let text = format!("the storage does not answer: cannot {error}");
            return Err(Refusal::unavailable(text));
        }
        Err(_) => {
            let text = format!("the storage has not answered for {} s", PATIENCE.as_secs());
            return Err(Refusal::unavailable(text));
        }
    }
    Ok(Json(json!({"status": "ok", "channels": app.hub.channels()})))
}
