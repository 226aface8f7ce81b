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

/// "Content-Type is text/event-stream", whatever its parameters (section 9.2.3).
pub(super) fn is_event_stream(content_type: &[u8]) -> bool {
    let wanted = b"text/event-stream";
    let mut found = 0;
    for byte in content_type {
        match byte {
            b';' => break,
            b' ' | b'\t' if found == 0 || found == wanted.len() => {}
            _ if wanted.get(found) == Some(&byte.to_ascii_lowercase()) => found += 1,
            _ => return false,
        }
    }
    found == wanted.len()
}

/// Request Timeout, Too Early, Too Many Requests, and the server's own errors.
pub(super) const fn may_pass(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 500..=599)
}
