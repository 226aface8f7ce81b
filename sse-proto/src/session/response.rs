//! What of HTTP a session judges by.

/// Whether HTTP can carry an ID unchanged: no control character but tabs, and no white space at an
/// end (RFC 9110, section 5.5). The control characters of C1 are two bytes each: 0xC2 and one below
/// 0xA0.
pub(super) fn is_sendable(id: &[u8]) -> bool {
    let is_blank = |byte| matches!(byte, b' ' | b'\t');
    let mut last = 0;
    for &byte in id {
        let is_control = (byte < b' ' && byte != b'\t')
            || byte == 0x7F
            || (last == 0xC2 && matches!(byte, 0x80..0xA0));
        if is_control || (last == 0 && is_blank(byte)) {
            return false;
        }
        last = byte;
    }
    !is_blank(last)
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
        last = essence(value).unwrap_or(last);
    }
    last
}

/// The essence of one value, if it is a MIME type: two tokens with a slash between them, then
/// nothing, or parameters. Small, as it is a part of every page.
fn essence(value: &[u8]) -> Option<&[u8]> {
    let value = value.trim_ascii_start();
    let (mut slash, mut len) = (0, 0);
    for &byte in value {
        if byte == b'/' && slash == 0 && len > 0 {
            slash = len;
        } else if !is_token(byte) {
            break;
        }
        len += 1;
    }
    let (essence, rest) = value.split_at_checked(len)?;
    let is_mime_type = slash > 0 && len > slash + 1 && essence != b"*/*";
    (is_mime_type && matches!(rest.trim_ascii_start(), [] | [b';', ..])).then_some(essence)
}

/// Of a token (RFC 9110, section 5.6.2): what is visible in ASCII, but no delimiter.
const fn is_token(byte: u8) -> bool {
    byte.is_ascii_graphic()
        && !matches!(byte, b'"' | b'(' | b')' | b',' | b'/' | b':'..=b'@' | b'['..=b']' | b'{' | b'}')
}

/// Request Timeout, Too Early, Too Many Requests, and the server's own errors.
pub(super) const fn may_pass(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 500..=599)
}

#[cfg(test)]
mod tests {
    use super::mime_essence;

    #[test]
    fn the_last_value_that_is_a_mime_type_counts() {
        let cases: [(&[u8], &[u8]); 19] = [
            (b"text/event-stream", b"text/event-stream"),
            (b" \ttext/x ;charset=utf-8", b"text/x"),
            (b"text/x\t", b"text/x"),
            (b"text/x,", b"text/x"),
            (b"text/x, text/y", b"text/y"),
            (b"text/x, nothing", b"text/x"),
            (b"text/x, */*;q=1", b"text/x"),
            (b"text/x;p=\"a, text/y\"", b"text/x"),
            (b"text/x;p=\"a\\\", text/y\"", b"text/x"),
            (b"text/x;p=\"a\", text/y", b"text/y"),
            (b"text/x;p=\"ab\", text/y", b"text/y"),
            (b"!#$%&'*+-.^_`|~/1", b"!#$%&'*+-.^_`|~/1"),
            (b"/x", b""),
            (b"//x", b""),
            (b"text/", b""),
            (b"text/x/y", b""),
            (b"text/ x", b""),
            (b"te(xt/x", b""),
            (b"", b""),
        ];
        for (content_type, essence) in cases {
            assert_eq!(mime_essence(content_type), essence, "{}", content_type.escape_ascii());
        }
    }
}
