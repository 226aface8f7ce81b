//! An origin's answer, and what a client gets of its body.

use std::sync::Arc;

use sse_proto::{Decoder, Frame};

use super::hold::{Hold, INSTRUCT};
use crate::wire::tape::{End, Tape};

/// An event, as a client reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) kind: String,
    pub(super) data: String,
    pub(super) id: Option<String>,
}

/// One answer.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) tape: Arc<Tape>,
    pub(super) hold: Hold,
    /// For the client, before any filter.
    pub(super) body: Vec<u8>,
    /// Whether the body goes through the filter that builds ids.
    pub(super) is_filtered: bool,
}

impl Answer {
    /// `was_filtered`: the connection was held by a hold whose filter builds ids.
    pub(super) fn of(tape: Tape, was_filtered: bool) -> Self {
        let (hold, body) = match &tape.head {
            Some(head) if head.essence() == INSTRUCT => Hold::of_body(head, &tape.body),
            Some(head) => (Hold::of_headers(head), tape.body.clone()),
            None => (Hold::default(), Vec::new()),
        };
        let is_filtered = was_filtered || hold.builds_ids();
        Self { tape: Arc::new(tape), hold, body, is_filtered }
    }

    pub(super) fn status(&self) -> Option<u16> {
        self.tape.status()
    }

    pub(super) fn is_success(&self) -> bool {
        self.status().is_some_and(|status| (200..300).contains(&status))
    }

    /// Whether all of it has come.
    pub(super) fn is_complete(&self) -> bool {
        matches!(self.tape.end, Some((_, End::Complete | End::Closed)))
    }

    /// Names of the headers that are for a proxy only.
    pub(super) fn for_proxies(&self) -> Vec<String> {
        let headers = self.tape.head.iter().flat_map(|head| &head.headers);
        let is_grip = |name: &String| name.to_ascii_lowercase().starts_with("grip-");
        let mut names: Vec<_> = headers.map(|(name, _)| name.clone()).filter(is_grip).collect();
        if self.tape.head.as_ref().is_some_and(|head| head.essence() == INSTRUCT) {
            names.push("the instructions in its body".to_owned());
        }
        names
    }

    /// The body as the client gets it; the error is where the filter cannot read it.
    pub(super) fn shown(&self) -> Result<Vec<u8>, usize> {
        if self.is_filtered { unfiltered(&self.body) } else { Ok(self.body.clone()) }
    }

    /// The events in it.
    pub(super) fn events(&self) -> Vec<Event> {
        events(&self.shown().unwrap_or_else(|_| self.body.clone()))
    }
}

/// The events in a body.
pub(super) fn events(body: &[u8]) -> Vec<Event> {
    let mut decoder = Decoder::new();
    let mut frames = decoder.decode(body);
    let mut events = Vec::new();
    while let Some(frame) = frames.next_frame() {
        if let Ok(Frame::Event(event)) = frame {
            events.push(Event {
                kind: event.event_type().to_owned(),
                data: event.data().to_owned(),
                id: event.id().map(str::to_owned),
            });
        }
    }
    events
}

/// What is left of a body after the filter that builds ids: `%%` is a percent sign, and `%(VALUE)I`
/// the value; any other is an error, and its place.
fn unfiltered(body: &[u8]) -> Result<Vec<u8>, usize> {
    let mut bytes = Vec::with_capacity(body.len());
    let mut at = 0;
    while let Some(&byte) = body.get(at) {
        at += 1;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        match body.get(at) {
            Some(b'%') => {
                bytes.push(b'%');
                at += 1;
            }
            Some(b'(') => {
                let len = body[at..].iter().position(|&byte| byte == b')').ok_or(at - 1)?;
                if body.get(at + len + 1) != Some(&b'I') {
                    return Err(at - 1);
                }
                bytes.extend_from_slice(&body[at + 1..at + len]);
                at += len + 2;
            }
            _ => return Err(at - 1),
        }
    }
    Ok(bytes)
}

/// Whether what is sent after this begins an event of its own.
pub(super) fn ends_between_events(body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(body).replace("\r\n", "\n").replace('\r', "\n");
    // A line that has begun, or a field whose event has not ended.
    let Some(lines) = text.strip_suffix('\n') else { return text.is_empty() };
    let since = lines.rsplit('\n').take_while(|line| !line.is_empty());
    let mut open = since.filter(|line| !line.starts_with(':'));
    open.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::{ends_between_events, unfiltered};

    #[test]
    fn the_filter_halves_percent_signs_and_refuses_what_it_does_not_know() {
        assert_eq!(unfiltered(b"50%% %(a:1)I").as_deref(), Ok(&b"50% a:1"[..]));
        for (body, at) in [("50% of", 2), ("%", 0), ("a%20b", 1), ("%(x", 0), ("%(x)", 0)] {
            assert_eq!(unfiltered(body.as_bytes()), Err(at), "{body}");
        }
    }

    #[test]
    fn an_event_that_has_begun_is_told_from_one_that_has_ended() {
        for body in ["", ":\n", ":a\n\n", "data: 1\n\n", "data: 1\r\n\r\n:x\r\n", "\n", "data\r\r"]
        {
            assert!(ends_between_events(body.as_bytes()), "{body:?}");
        }
        for body in ["data: 1\n", "data: 1", ":", "data: 1\n\nid: 2\n", "data: 1\n:x\n"] {
            assert!(!ends_between_events(body.as_bytes()), "{body:?}");
        }
    }
}
