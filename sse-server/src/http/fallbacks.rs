//! What answers where nothing else does: other methods, other paths, and paths without their last
//! slash.

use std::sync::Arc;

use axum::extract::{OriginalUri, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};

use super::app::App;
use super::error::Refusal;

/// Leads from a path without its final slash to the one with it, method, body and query included.
/// By a relative reference, because a proxy may have left out the first part of the path (RFC 9110,
/// section 10.2.2).
pub(super) async fn with_slash(OriginalUri(uri): OriginalUri) -> Response {
    let last = uri.path().rsplit('/').next().unwrap_or_default();
    // Browsers take a backslash for a slash.
    let last = last.replace('\\', "%5C");
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    // The dot, because what has a colon before its first slash is a scheme.
    Redirect::permanent(&format!("./{last}/{query}")).into_response()
}

/// Answers the methods that a path does not have.
pub(super) fn only(
    allowed: &'static str,
) -> impl Fn(Method) -> std::future::Ready<Response> + Clone + Send + Sync + 'static {
    move |method| {
        let allow = [(header::ALLOW, allowed)];
        std::future::ready(if method == Method::OPTIONS {
            (StatusCode::NO_CONTENT, allow).into_response()
        } else {
            let text = format!("{method} is not possible here; use {allowed}");
            let refusal = Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", text);
            (allow, refusal).into_response()
        })
    }
}

pub(super) async fn unknown_path(
    State(app): State<Arc<App>>,
    OriginalUri(uri): OriginalUri,
) -> Refusal {
    let base = &app.config.base_path;
    // The paths with their parameters, and what they are good for where it is not plain.
    let places = app.config.endpoints.iter().map(|(endpoint, is_default)| match endpoint.path() {
        path @ "/events/" if is_default => format!("{base}{path}?channel=NAME"),
        path => format!("{base}{}", path.replace("{channel}", "NAME")),
    });
    let places = places.collect::<Vec<_>>().join(", ");
    let text = format!(
        "there is nothing at {}; streams are at {places}, publishing is POST {base}/publish/",
        uri.path()
    );
    Refusal::new(StatusCode::NOT_FOUND, "not-found", text)
}
