//! What a server has said outside of events, at the end of its stream: an error that it did not
//! frame, most often.

use std::collections::VecDeque;

/// How much of the end of a stream is kept, in bytes.
const KEPT: usize = 512;

/// The end of what has arrived.
#[derive(Debug, Default)]
pub(super) struct Excerpt {
    end: VecDeque<u8>,
    /// More has arrived than is kept.
    is_cut: bool,
}

impl Excerpt {
    /// This has arrived.
    pub(super) fn note(&mut self, bytes: &[u8]) {
        let new = &bytes[bytes.len().saturating_sub(KEPT)..];
        let excess = (self.end.len() + new.len()).saturating_sub(KEPT);
        self.is_cut |= excess > 0 || new.len() < bytes.len();
        self.end.drain(..excess);
        self.end.extend(new);
    }

    /// The lines that are no comments and no fields of events, with the field `error`, which is
    /// none of the standard's.
    pub(super) fn unframed(&self) -> String {
        let bytes: Vec<u8> = self.end.iter().copied().collect();
        let bytes = if self.is_cut { &bytes } else { without_bom(&bytes) };
        let text = String::from_utf8_lossy(bytes);
        // A part of a line may be of any kind.
        let skipped = usize::from(self.is_cut);
        let mut lines: Vec<_> = text.split(['\r', '\n']).skip(skipped).collect();
        // No line end follows the last one: it may be the beginning of a field's name.
        if lines.last().is_some_and(|line| FIELDS.iter().any(|name| name.starts_with(line))) {
            lines.pop();
        }
        lines.retain(|line| is_unframed(line));
        lines.join("\n")
    }
}

/// The fields of events.
const FIELDS: [&str; 4] = ["data", "event", "id", "retry"];

/// The beginning of a stream without its byte order mark, or what has come of that.
fn without_bom(bytes: &[u8]) -> &[u8] {
    const BOM: &[u8] = "\u{feff}".as_bytes();
    if BOM.starts_with(bytes) { &[] } else { bytes.strip_prefix(BOM).unwrap_or(bytes) }
}

fn is_unframed(line: &str) -> bool {
    let name = line.split(':').next().unwrap_or_default();
    !line.trim().is_empty() && !line.starts_with(':') && !FIELDS.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_field_at_the_end_of_a_stream_is_told() {
        let unframed = |chunks: &[&str]| {
            let mut excerpt = Excerpt::default();
            for chunk in chunks {
                excerpt.note(chunk.as_bytes());
            }
            excerpt.unframed()
        };
        let error = r#"{"error":{"message":"overloaded"}}"#;
        assert_eq!(unframed(&["data: a\n\n", error]), error);
        assert_eq!(unframed(&["data: a\r\n\r\n", &error[..9], &error[9..], "\n\n"]), error);
        assert_eq!(unframed(&["error: {\"code\":500}\n\n"]), "error: {\"code\":500}");
        assert_eq!(unframed(&[": ping\n\nid: 1\nevent: x\ndata\ndata: a\n\nretry: 5\n"]), "");
        for cut in ["retr", "d", "data: a\n\nda", "event", "\r"] {
            assert_eq!(unframed(&[cut]), "", "{cut:?}: the beginning of a field");
        }
        assert_eq!(unframed(&["retr\n"]), "retr", "a line that is whole");
        for begun in ["data: {\"partial", ": hi\nid: 1", ""] {
            assert_eq!(unframed(&["\u{feff}", begun]), "", "{begun:?} behind a byte order mark");
        }
        assert_eq!(unframed(&[&format!("\u{feff}{error}")]), error);
        let long = format!("data: {}\n\nupstream failed", "x".repeat(2000));
        assert_eq!(unframed(&[&long]), "upstream failed");
        assert_eq!(unframed(&[&"x".repeat(2000)]), "", "a part of some line");
    }
}
