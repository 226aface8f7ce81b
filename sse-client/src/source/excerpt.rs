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
        let text = String::from_utf8_lossy(&bytes);
        // A part of a line may be of any kind.
        let skipped = usize::from(self.is_cut);
        let lines = text.split(['\r', '\n']).skip(skipped).filter(|line| is_unframed(line));
        lines.collect::<Vec<_>>().join("\n")
    }
}

fn is_unframed(line: &str) -> bool {
    let name = line.split(':').next().unwrap_or_default();
    !line.trim().is_empty()
        && !line.starts_with(':')
        && !matches!(name, "data" | "event" | "id" | "retry")
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
        let long = format!("data: {}\n\nupstream failed", "x".repeat(2000));
        assert_eq!(unframed(&[&long]), "upstream failed");
        assert_eq!(unframed(&[&"x".repeat(2000)]), "", "a part of some line");
    }
}
