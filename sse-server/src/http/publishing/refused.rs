//! Why events are not published, in the words of HTTP.

use axum::http::StatusCode;

use crate::http::error::Refusal;
use crate::hub::PublishError;

/// Why events were not published.
pub(super) fn refusal(error: PublishError) -> Refusal {
    match error {
        PublishError::Storage(_) => Refusal::unavailable(
            "the storage failed; unless the connection to it broke just then, nothing was \
             published; try again, and see the server's log",
        ),
        PublishError::Refused(_, why) => {
            Refusal::bad_request(format!("it cannot be stored: {why}"))
        }
        PublishError::KeyReused => Refusal::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "key-reused",
            "another request of yours had this Idempotency-Key and another content; give each its own",
        ),
        PublishError::Closed => Refusal::unavailable(
            "the server is shutting down; whether this was published is not known",
        ),
    }
}

pub(super) fn forbidden(channel: &str) -> Refusal {
    let text = format!("this token may not publish to the channel {channel:?}");
    Refusal::new(StatusCode::FORBIDDEN, "forbidden", text)
}
