//! Tokens, wherever they come from: one check for flag, variable, key and file.

use std::path::Path;

use super::{Value, readable};

/// Below this many bytes, a publish token can be guessed.
pub(crate) const SHORT_TOKEN: usize = 16;

/// Below this many bytes, a secret is less than HS256 asks for (RFC 7518, section 3.2).
pub(crate) const SHORT_SECRET: usize = 32;

/// A token that can be sent in a header, and is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// Reads it from a file. The last line end does not count.
    ///
    /// # Errors
    ///
    /// The file, and why there is no token in it.
    pub fn of_file(path: &Path) -> Result<Self, String> {
        let name = path.display();
        let read =
            std::fs::read(path).map_err(|problem| format!("cannot read {name}: {problem}"))?;
        let text = token_text(without_line_end(read)).map_err(|why| format!("{name}: {why}"))?;
        Ok(Self(text))
    }

    /// The token itself, to compare and to send.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl Value for Token {
    const EXAMPLE: &'static str = "what `sse-server token --publish` prints";

    fn read(text: &str) -> Result<Self, String> {
        token_text(text.into()).map(Self)
    }
}

readable!(Token);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_cannot_be_sent_is_refused_with_the_reason_and_not_shown() {
        for (token, reason) in [
            ("", "is empty"),
            (" \n", "is empty"),
            ("s3cret\n", "a line end"),
            (" s3cret", "a space"),
            ("s3\tcret", "a tab"),
            ("s3cret\u{7f}", "a control character"),
            ("s3crèt", "not ASCII"),
        ] {
            let problem = Token::read(token).expect_err(token);
            assert!(problem.contains(reason), "{token:?}: {problem}");
            assert!(!problem.contains("s3"), "{problem}");
        }
        assert_eq!(Token::read("a-Z_0.~+/=").expect("a token").expose(), "a-Z_0.~+/=");
    }
}
