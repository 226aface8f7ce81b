//! What others have written, as people are shown it: to a terminal, control characters would be
//! commands.

use std::fmt::{self, Display, Write};

/// A text on one line: control characters are written as escapes, and so are the characters that
/// turn the direction of writing, by which a text looks like another one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Visible<'a> {
    text: &'a str,
    has_tabs: bool,
}

impl<'a> Visible<'a> {
    /// For a text that a tab would split in two.
    pub(super) const fn field(text: &'a str) -> Self {
        Self { text, has_tabs: false }
    }

    /// For a text in which tabs do no harm.
    pub(super) const fn text(text: &'a str) -> Self {
        Self { text, has_tabs: true }
    }
}

impl Display for Visible<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.chars().try_for_each(|c| match c {
            '\t' if self.has_tabs => f.write_char(c),
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                write!(f, "{}", c.escape_unicode())
            }
            c if c.is_control() => write!(f, "{}", c.escape_default()),
            c => f.write_char(c),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_write_cannot_command_a_terminal_nor_make_a_line_or_a_column() {
        let text = "a\u{1b}]0;x\u{7}b\tc\rd\ne\u{9b}2J\u{202e}é\\";
        let written = "a\\u{1b}]0;x\\u{7}b\\tc\\rd\\ne\\u{9b}2J\\u{202e}é\\";
        assert_eq!(Visible::field(text).to_string(), written);
        assert_eq!(Visible::text("a\tb\u{1b}").to_string(), "a\tb\\u{1b}");
    }
}
