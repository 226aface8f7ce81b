//! What is refused is counted.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;

use crate::http::app::App;
use crate::http::error::ErrorCode;

/// Counts refusals.
pub(in crate::http) async fn count(
    State(app): State<Arc<App>>,
    request: Request,
    next: Next,
) -> Response {
    let response = next.run(request).await;
    let status = response.status();
    if status.is_client_error() || status.is_server_error() {
        let code = response.extensions().get::<ErrorCode>().map_or("", |code| code.0);
        app.config.operations.metrics().refused(status.as_u16(), code);
    }
    response
}
