//! The control events of the django-eventstream protocol: stream-open, stream-reset, stream-error
//! and keep-alive.
//!
//! They are ordinary events with reserved types. A reader that knows nothing of them sees four more
//! event types; a reader that does, learns that the stream is up, that it has missed something, or
//! why it ended.

mod literal;

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;

use self::literal::Literal;
use crate::event::{Event, InvalidField};

/// The length of the opening comment's text in bytes. Some browsers hand out a response only after
/// the first kilobytes.
pub const PADDING_LEN: usize = 2048;

/// What every stream starts with: a comment of 2,048 spaces, then `stream-open`.
pub const OPENING: &[u8; PADDING_LEN + 29] = &{
    const OPEN: &[u8; 26] = b"event: stream-open\ndata:\n\n";
    let mut opening = [b' '; PADDING_LEN + 29];
    opening[0] = b':';
    opening[PADDING_LEN + 1] = b'\n';
    opening[PADDING_LEN + 2] = b'\n';
    let mut i = 0;
    while i < OPEN.len() {
        opening[PADDING_LEN + 3 + i] = OPEN[i];
        i += 1;
    }
    opening
};

/// Sent whenever nothing else has been for a while, so that both ends notice a dead connection.
pub const KEEP_ALIVE: &[u8; 25] = b"event: keep-alive\ndata:\n\n";

/// The id of a `stream-error`. A request that resumes from it is answered with HTTP 400, which ends
/// a browser's `EventSource`.
pub const ERROR_ID: &str = "error";

/// Which control event an event type names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlKind {
    /// `stream-open`.
    Open,
    /// `keep-alive`.
    KeepAlive,
    /// `stream-reset`.
    Reset,
    /// `stream-error`.
    Error,
}

impl ControlKind {
    /// The control event of this type, if it is one.
    #[inline]
    pub fn of(event_type: &[u8]) -> Option<Self> {
        // Patterns would be compared byte by byte, in much code.
        let is = |name: &[u8]| event_type == name;
        if is(b"stream-open") {
            Some(Self::Open)
        } else if is(b"keep-alive") {
            Some(Self::KeepAlive)
        } else if is(b"stream-reset") {
            Some(Self::Reset)
        } else if is(b"stream-error") {
            Some(Self::Error)
        } else {
            None
        }
    }
}

/// A control event, recognised, with what it says.
///
/// ```
/// use sse_proto::{Control, Event};
///
/// let event = Event::builder(r#"{"channels": ["a"]}"#).event_type("stream-reset").build()?;
/// assert_eq!(Control::of(&event), Some(Control::Reset { channels: vec!["a".into()] }));
/// assert_eq!(Control::of(&Event::new("hello")), None);
/// # Ok::<(), sse_proto::InvalidField>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Control {
    /// `stream-open`: the stream is up.
    Open,
    /// `keep-alive`: nothing has happened, and the connection is alive.
    KeepAlive,
    /// `stream-reset`: events of these channels are missing and cannot be read any more. Delivery
    /// goes on from now; what was derived from the events must be read again.
    Reset {
        /// The channels, decoded. Empty if the server's data could not be read: then all of them.
        channels: Vec<String>,
    },
    /// `stream-error`: the server has ended the stream for a reason that trying again will not
    /// mend.
    Error(StreamError),
}

impl Control {
    /// The control event that an event is, if it is one.
    ///
    /// Data that cannot be read (JSON is expected, a Python `repr` is accepted) leave the lists and
    /// texts empty: the type alone already says what matters.
    pub fn of(event: &Event<'_>) -> Option<Self> {
        Some(match ControlKind::of(event.event_type().as_bytes())? {
            ControlKind::Open => Self::Open,
            ControlKind::KeepAlive => Self::KeepAlive,
            ControlKind::Reset => {
                Self::Reset { channels: StreamError::from_data(event.data()).channels }
            }
            ControlKind::Error => Self::Error(StreamError::from_data(event.data())),
        })
    }
}

/// Why a server ended a stream for good.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamError {
    /// A word for programs: `bad-request`, `forbidden`, `internal-error`.
    pub condition: String,
    /// A sentence for people.
    pub text: String,
    /// The channels concerned, if the condition is about channels.
    pub channels: Vec<String>,
}

impl StreamError {
    pub(crate) fn from_data(data: &str) -> Self {
        let mut error = Self::default();
        for (name, value) in literal::object(data).unwrap_or_default() {
            match (name.as_str(), value) {
                ("condition", Literal::Text(text)) => error.condition = text,
                ("text", Literal::Text(text)) => error.text = text,
                ("channels", Literal::List(items)) => error.channels = texts(items),
                _ => {}
            }
        }
        error
    }

    /// The event that tells it, as the last one of a stream.
    pub fn to_event(&self) -> Event<'static> {
        let mut data = String::from("{\"condition\": ");
        write_json_string(&mut data, &self.condition);
        data.push_str(", \"text\": ");
        write_json_string(&mut data, &self.text);
        if !self.channels.is_empty() {
            data.push_str(", \"channels\": ");
            write_json_list(&mut data, &self.channels);
        }
        data.push('}');
        Event::decoded("stream-error", Some(ERROR_ID), &data).into_owned()
    }
}

impl core::fmt::Display for StreamError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}: {}", self.condition, self.text)
    }
}

impl core::error::Error for StreamError {}

fn texts(items: Vec<Literal>) -> Vec<String> {
    let texts = items.into_iter().filter_map(|item| match item {
        Literal::Text(text) => Some(text),
        _ => None,
    });
    texts.collect()
}

/// The `stream-reset` event for these channels. The id carries the positions of all channels of the
/// stream; without one (a server that stores nothing) none is written.
///
/// # Errors
///
/// If the id contains CR, LF or NUL; see [`EventBuilder::build`](crate::EventBuilder::build).
pub fn stream_reset<S: AsRef<str>>(
    id: Option<&str>,
    channels: &[S],
) -> Result<Event<'static>, InvalidField> {
    let mut data = String::from("{\"channels\": ");
    write_json_list(&mut data, channels);
    data.push('}');
    let event = Event::builder(&data).event_type("stream-reset");
    let event = if let Some(id) = id { event.id(id) } else { event };
    event.build().map(Event::into_owned)
}

fn write_json_list<S: AsRef<str>>(out: &mut String, items: &[S]) {
    out.push('[');
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        write_json_string(out, item.as_ref());
    }
    out.push(']');
}

/// As Python's `json.dumps` does: ASCII only, everything else as `\uXXXX` code units.
fn write_json_string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            ' '..='~' => out.push(c),
            _ => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(out, "\\u{unit:04x}").expect("writing to a String cannot fail");
                }
            }
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloc::vec;

    #[test]
    fn the_fixed_events_have_their_exact_bytes() {
        let opening = core::str::from_utf8(OPENING).expect("ASCII");
        assert_eq!(opening.len(), 2077);
        let spaces = " ".repeat(2048);
        assert_eq!(opening, alloc::format!(":{spaces}\n\nevent: stream-open\ndata:\n\n"));
    }

    #[test]
    fn a_reset_and_an_error_read_back_as_they_were_written() {
        let channels = vec!["a".to_string(), "q\"é😀\u{7f}\n".to_string()];
        let reset = stream_reset(Some("a:3,b:0"), &channels).expect("valid id");
        assert_eq!(
            reset.to_string(),
            "event: stream-reset\nid: a:3,b:0\n\
             data: {\"channels\": [\"a\", \"q\\\"\\u00e9\\ud83d\\ude00\\u007f\\n\"]}\n\n"
        );
        assert_eq!(Control::of(&reset), Some(Control::Reset { channels: channels.clone() }));

        let error = StreamError {
            condition: "forbidden".to_string(),
            text: "Permission denied to channels: a, b".to_string(),
            channels,
        };
        assert_eq!(Control::of(&error.to_event()), Some(Control::Error(error)));
    }

    #[test]
    fn a_python_repr_is_understood_and_nonsense_still_counts() {
        let reset = |data| Event::decoded("stream-reset", None, data);
        assert_eq!(
            Control::of(&reset("{'channels': ['kk']}")),
            Some(Control::Reset { channels: vec!["kk".to_string()] })
        );
        assert_eq!(Control::of(&reset("?")), Some(Control::Reset { channels: vec![] }));
    }
}
