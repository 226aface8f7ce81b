//! A stream's lines with what the decoder does not tell: how they end, and where they are.

use crate::wire::tape::Tape;

/// A stream that has been read, and its lines.
pub(super) struct Stream<'a> {
    pub(super) tape: &'a Tape,
    pub(super) lines: Vec<Line<'a>>,
    /// Those whose end has been read.
    pub(super) whole: Vec<Line<'a>>,
}

impl<'a> Stream<'a> {
    pub(super) fn of(tape: &'a Tape) -> Self {
        let lines = lines(&tape.body);
        let is_whole = |line: &Line<'_>| line.end != LineEnd::None;
        let whole = lines.iter().copied().filter(is_whole).collect();
        Self { tape, lines, whole }
    }
}

/// A line without its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    pub(super) text: &'a [u8],
    pub(super) end: LineEnd,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LineEnd {
    Lf,
    Cr,
    CrLf,
    /// The stream goes on, or has ended, in the line.
    None,
}

impl<'a> Line<'a> {
    /// The field's name and its value; a comment's name is empty.
    pub(super) fn field(&self) -> (&'a [u8], &'a [u8]) {
        match self.text.iter().position(|&byte| byte == b':') {
            Some(colon) => {
                let value = &self.text[colon + 1..];
                (&self.text[..colon], value.strip_prefix(b" ").unwrap_or(value))
            }
            None => (self.text, b""),
        }
    }

    pub(super) const fn is_blank(&self) -> bool {
        self.text.is_empty()
    }
}

/// The lines of a stream from its beginning, without its byte order mark.
pub(super) fn lines(bytes: &[u8]) -> Vec<Line<'_>> {
    let mut rest = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut lines = Vec::new();
    while !rest.is_empty() {
        let Some(at) = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n')) else {
            lines.push(Line { text: rest, end: LineEnd::None });
            break;
        };
        let (end, len) = match &rest[at..] {
            [b'\r', b'\n', ..] => (LineEnd::CrLf, 2),
            [b'\r', ..] => (LineEnd::Cr, 1),
            _ => (LineEnd::Lf, 1),
        };
        lines.push(Line { text: &rest[..at], end });
        rest = &rest[at + len..];
    }
    lines
}

/// The complete blocks of a stream: the lines up to each blank one.
pub(super) fn blocks<'a, 'b>(lines: &'b [Line<'a>]) -> Vec<&'b [Line<'a>]> {
    let mut blocks: Vec<&[Line<'_>]> = lines.split(Line::is_blank).collect();
    // What comes after the last blank line is not complete.
    blocks.pop();
    blocks.retain(|block| !block.is_empty());
    blocks
}

#[cfg(test)]
mod tests {
    use super::{Line, LineEnd, blocks, lines};

    #[test]
    fn lines_end_in_three_ways() {
        let found = lines(b"\xef\xbb\xbfa: b\r\nc\r\r:d\n\nend");
        let line = |text: &'static str, end| Line { text: text.as_bytes(), end };
        let expected = [
            line("a: b", LineEnd::CrLf),
            line("c", LineEnd::Cr),
            line("", LineEnd::Cr),
            line(":d", LineEnd::Lf),
            line("", LineEnd::Lf),
            line("end", LineEnd::None),
        ];
        assert_eq!(found, expected);
        assert_eq!(found[0].field(), (&b"a"[..], &b"b"[..]));
        assert_eq!(blocks(&found).len(), 2);
    }
}
