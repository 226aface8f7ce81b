//! Tokens, wherever they come from: one check for flag, variable, key and file.

use std::path::Path;

use super::{Value, readable};
use crate::access::{token_text, without_line_end};

/// Below this many bytes, a publish token can be guessed.
pub(crate) const SHORT_TOKEN: usize = 16;

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
