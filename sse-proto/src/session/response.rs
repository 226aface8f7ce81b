//! What of HTTP a session judges by.

/// Whether HTTP can carry an ID unchanged: no control character, no white space at an end. The
/// control characters of C1 are two bytes each: 0xC2 and one below 0xA0.
pub(super) fn is_sendable(id: &[u8]) -> bool {
    let mut last = 0;
    for &byte in id {
        let is_control =
            byte < b' ' || byte == 0x7F || (last == 0xC2 && matches!(byte, 0x80..0xA0));
        if is_control || (last == 0 && byte == b' ') {
            return false;
        }
        last = byte;
    }
    last != b' '
}

/// "Content-Type is text/event-stream" (section 9.2.3).
pub(super) fn is_event_stream(content_type: &[u8]) -> bool {
    mime_essence(content_type).eq_ignore_ascii_case(b"text/event-stream")
}

/// The essence (`type/subtype`) of a `Content-Type`, by Fetch's "extract a MIME type": the header's
/// lines, joined by commas, are split at the commas outside of quotes, and the last value that is a
/// MIME type counts, whatever its parameters. `*/*` is none. Empty if there is none.
///
/// ```
/// let content_type = b"application/json, text/event-stream; charset=utf-8";
/// assert_eq!(sse_proto::mime_essence(content_type), b"text/event-stream");
/// assert_eq!(sse_proto::mime_essence(b"*/*, nothing"), b"");
/// ```
pub fn mime_essence(content_type: &[u8]) -> &[u8] {
    let (mut last, mut is_quoted, mut is_escaped) = (&[][..], false, false);
    // "Get, decode, and split": a value ends at a comma that is not quoted.
    for value in content_type.split(|&byte| {
        is_quoted = is_quoted != (byte == b'"' && !is_escaped);
        is_escaped = is_quoted && byte == b'\\' && !is_escaped;
        byte == b',' && !is_quoted
    }) {
        let essence = value.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
        if is_mime_type(essence) {
            last = essence;
        }
    }
    last
}

/// `type/subtype`, both of them tokens (RFC 9110, section 5.6.2), but not `*/*`.
fn is_mime_type(essence: &[u8]) -> bool {
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let slash = essence.iter().position(|&byte| byte == b'/').unwrap_or_default();
    slash > 0
        && slash + 1 < essence.len()
        && essence[..slash].iter().chain(&essence[slash + 1..]).all(is_token)
        && essence != b"*/*"
}

/// Request Timeout, Too Early, Too Many Requests, and the server's own errors.
pub(super) const fn may_pass(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 500..=599)
}
