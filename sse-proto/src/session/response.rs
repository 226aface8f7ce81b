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

const EVENT_STREAM: &[u8] = b"text/event-stream";

/// "Content-Type is text/event-stream" (section 9.2.3), by Fetch's "extract a MIME type": the
/// header's lines, joined by commas, are split at the commas outside of quotes, and the last value
/// that is a MIME type counts, whatever its parameters. `*/*` is none.
pub(super) fn is_event_stream(content_type: &[u8]) -> bool {
    let (mut is_last, mut is_quoted, mut is_escaped) = (false, false, false);
    let mut rest = content_type;
    loop {
        // "Get, decode, and split": a value ends at a comma that is not quoted.
        let end = rest.iter().position(|&byte| {
            is_quoted = is_quoted != (byte == b'"' && !is_escaped);
            is_escaped = is_quoted && byte == b'\\' && !is_escaped;
            byte == b',' && !is_quoted
        });
        let (value, next) = match end {
            Some(end) => (&rest[..end], &rest[end + 1..]),
            None => (rest, &[][..]),
        };
        let essence = value.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
        if is_mime_type(essence) {
            is_last = essence.eq_ignore_ascii_case(EVENT_STREAM);
        }
        if end.is_none() {
            return is_last;
        }
        rest = next;
    }
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
