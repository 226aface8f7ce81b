//! The token that a request is sent with.

use std::sync::Arc;

use axum::http::{HeaderMap, StatusCode, header};

use crate::access::{PublishToken, Publishers};
use crate::http::error::Refusal;

/// The token that a request was sent with.
pub(in crate::http) fn authorize(
    headers: &HeaderMap,
    publishers: &Publishers,
) -> Result<Arc<PublishToken>, Refusal> {
    let unauthorized = |text| Err(Refusal::new(StatusCode::UNAUTHORIZED, "unauthorized", text));
    let Some(given) = headers.get(header::AUTHORIZATION) else {
        return unauthorized("send the publish token as `Authorization: Bearer TOKEN`");
    };
    let Some(bearer) = bearer(given.as_bytes()) else {
        return unauthorized("the authorization must be `Bearer TOKEN`");
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

/// The token of an `Authorization`.
pub(super) fn bearer(given: &[u8]) -> Option<&[u8]> {
    let (scheme, given) = given.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| given.trim_ascii())
}
