//! Bytes and times as people are shown them.

use std::fmt::Write as _;
use std::time::Duration;

/// How much of one text is shown, in bytes.
pub(crate) const SHOWN_LEN: usize = 400;

pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Bytes as text in which nothing is invisible, and not too much of it.
pub(crate) fn shown(bytes: &[u8]) -> String {
    let kept = &bytes[..bytes.len().min(SHOWN_LEN)];
    let mut text = String::new();
    for part in kept.utf8_chunks() {
        text.push_str(&visible(part.valid()));
        for byte in part.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    if bytes.len() > kept.len() {
        let _ = write!(text, " … ({} bytes)", bytes.len());
    }
    text
}

/// Text without control characters, which terminals obey, and without those that change the
/// direction of writing: escapes stand in their place.
pub(crate) fn visible(text: &str) -> String {
    let mut visible = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '\n' => visible.push_str("\\n"),
            '\r' => visible.push_str("\\r"),
            '\u{2028}'..='\u{202f}' | '\u{2066}'..='\u{2069}' => {
                visible.extend(char.escape_unicode());
            }
            char if char.is_control() => visible.extend(char.escape_unicode()),
            char => visible.push(char),
        }
    }
    visible
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn nothing_is_invisible() {
        assert_eq!(shown(b"a\r\n\0\xffb"), "a\\r\\n\\u{0}\\xffb");
        assert!(shown(&[b'x'; 1000]).ends_with("… (1000 bytes)"));
    }
}
