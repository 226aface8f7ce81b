//! What a server says, as far as an error or a log quotes it. Nothing of a server's goes into a
//! message by another way: it may be long, it may hold commands to a terminal, and a URL of its may
//! hold a secret.

use std::fmt::{self, Write as _};

/// How much of it a message quotes, in characters.
const QUOTED: usize = 200;

/// The beginning of what a server has said, on one line. `{}` is for words in a sentence, and
/// `{:?}` puts it in quotes.
#[derive(Clone, Copy)]
pub(crate) struct Said<'a>(pub(crate) &'a str);

impl<'a> Said<'a> {
    /// The part that is quoted, and what tells that there is more.
    fn beginning(self) -> (&'a str, &'static str) {
        match self.0.char_indices().nth(QUOTED) {
            Some((end, _)) => (&self.0[..end], "…"),
            None => (self.0, ""),
        }
    }
}

impl fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (text, more) = self.beginning();
        for c in text.chars() {
            if c.is_control() {
                write!(f, "{}", c.escape_debug())?;
            } else {
                f.write_char(c)?;
            }
        }
        f.write_str(more)
    }
}

impl fmt::Debug for Said<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (text, more) = self.beginning();
        write!(f, "{text:?}{more}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_is_short_and_on_one_line() {
        assert_eq!(
            format!("{} {0:?}", Said("a \"b\"\n\u{1b}é")),
            "a \"b\"\\n\\u{1b}é \"a \\\"b\\\"\\n\\u{1b}é\""
        );
        let long = "é".repeat(QUOTED);
        assert_eq!(Said(&long).to_string(), long);
        assert_eq!(format!("{:?}", Said(&long)), format!("\"{long}\""));
        let longer = format!("{long}x");
        assert_eq!(Said(&longer).to_string(), format!("{long}…"));
        assert_eq!(format!("{:?}", Said(&longer)), format!("\"{long}\"…"));
    }
}
