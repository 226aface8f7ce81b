//! Tokens and secrets as people write them: in settings, in files.

/// Below this many bytes, a secret is less than HS256 asks for (RFC 7518, section 3.2).
pub(crate) const SHORT_SECRET: usize = 32;

/// The text of a token that clients can send in `Authorization: Bearer`. The reason why they cannot
/// shows nothing of it.
pub(crate) fn token_text(token: Vec<u8>) -> Result<String, String> {
    if token.trim_ascii().is_empty() {
        return Err("the token is empty, so everyone could publish; leave it out for a random one"
            .to_owned());
    }
    let found = match token.iter().find(|byte| !byte.is_ascii_graphic()) {
        None => None,
        Some(b'\r' | b'\n') => Some("a line end"),
        Some(b' ') => Some("a space"),
        Some(b'\t') => Some("a tab"),
        Some(byte) if byte.is_ascii() => Some("a control character"),
        Some(_) => Some("a letter that is not ASCII"),
    };
    match (found, String::from_utf8(token)) {
        (None, Ok(text)) => Ok(text),
        (found, _) => Err(format!(
            "the token has {}; only ASCII letters, digits and signs can be sent",
            found.unwrap_or("something that is no text")
        )),
    }
}

/// What a file holds, without the line end that editors and `echo` leave.
pub(crate) fn without_line_end(mut bytes: Vec<u8>) -> Vec<u8> {
    while bytes.last().is_some_and(|byte| matches!(byte, b'\r' | b'\n')) {
        bytes.pop();
    }
    bytes
}
