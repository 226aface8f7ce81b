//! The text of a chunk's events, in one piece, and where in it each part is.

use alloc::string::String;
use alloc::vec::Vec;

/// Text that JavaScript decodes at once, and a table of places in it. Places are in UTF-16 code units,
/// because that is how JavaScript cuts strings.
#[derive(Debug, Default)]
pub(crate) struct Text {
    parts: String,
    /// The length of `parts` in UTF-16 code units.
    units: u32,
    table: Vec<u32>,
}

impl Text {
    pub(crate) fn clear(&mut self) {
        self.parts.clear();
        // One large event does not hold its memory for as long as the connection lives.
        self.parts.shrink_to(KEPT);
        self.table.clear();
        self.units = 0;
    }

    /// Writes a number into the table.
    pub(crate) fn note(&mut self, number: u32) {
        self.table.push(number);
    }

    /// Appends text, and writes into the table where it ends.
    pub(crate) fn push(&mut self, part: &str) {
        self.parts.push_str(part);
        self.units = self.units.wrapping_add(units(part));
        self.table.push(self.units);
    }

    pub(crate) fn text(&self) -> &str {
        &self.parts
    }

    pub(crate) fn table(&self) -> &[u32] {
        &self.table
    }
}

/// How much memory the text keeps from chunk to chunk, in bytes.
const KEPT: usize = 256 << 10;

/// The length in UTF-16 code units: one for each byte that begins a character, and one more for each
/// that begins one of four bytes.
#[expect(clippy::cast_possible_truncation, reason = "memory has 32-bit addresses")]
fn units(text: &str) -> u32 {
    let len = text.len() as u32;
    if text.is_ascii() {
        return len;
    }
    text.bytes()
        .fold(0, |units, byte| units + u32::from(byte & 0xC0 != 0x80) + u32::from(byte >= 0xF0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_those_of_javascript() {
        let mut text = Text::default();
        for part in ["abc", "é", "", "😀x", "\u{FFFD}"] {
            let before = text.units;
            text.push(part);
            let units = part.encode_utf16().count();
            assert_eq!(text.units - before, u32::try_from(units).expect("short"), "{part}");
        }
        assert_eq!(text.text(), "abcé😀x\u{FFFD}");
        assert_eq!(text.table(), [3, 4, 4, 7, 8]);
        text.clear();
        assert_eq!((text.text(), text.table()), ("", &[][..]));
    }
}
