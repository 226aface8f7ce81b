//! The body of a request, whole and as it was sent.

use std::time::Duration;

use axum::body::{Bytes, HttpBody};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use tokio::time::timeout;

use crate::http::app::MAX_REQUEST;
use crate::http::error::Refusal;

/// How long the body of a request may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Refuses a body that would have to be decoded first, and says so, instead of what is wrong with
/// it as JSON.
pub(super) fn not_encoded(headers: &HeaderMap) -> Result<(), Refusal> {
    let codings = headers.get_all(header::CONTENT_ENCODING).iter();
    let codings = codings.flat_map(|line| line.as_bytes().split(|&byte| byte == b','));
    for coding in codings.map(<[u8]>::trim_ascii).filter(|coding| !coding.is_empty()) {
        if !coding.eq_ignore_ascii_case(b"identity") {
            let text = format!(
                "bodies are read as they are, without the Content-Encoding {:?}; send them so",
                String::from_utf8_lossy(coding)
            );
            let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            return Err(Refusal::new(status, "unsupported-encoding", text));
        }
    }
    Ok(())
}

/// The whole body, which must be there in time and not too large, without a byte order mark.
pub(super) async fn body(request: Request) -> Result<Bytes, Refusal> {
    not_encoded(request.headers())?;
    let too_large =
        || Refusal::too_large(format!("a request may have {MAX_REQUEST} bytes; send fewer events"));
    if request.body().size_hint().lower() > MAX_REQUEST as u64 {
        return Err(too_large());
    }
    match timeout(BODY_TIMEOUT, Bytes::from_request(request, &())).await {
        Ok(Ok(body)) => Ok(body.slice_ref(without_mark(&body))),
        Ok(Err(rejection)) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            Err(too_large())
        }
        Ok(Err(rejection)) => Err(Refusal::bad_request(rejection.body_text())),
        Err(_) => {
            let text = format!("the body did not arrive within {} s", BODY_TIMEOUT.as_secs());
            Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, "timeout", text))
        }
    }
}

/// Text without the byte order mark that some programs write before it (RFC 8259, section 8.1).
pub(super) fn without_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)
}
