//! What a view sends next.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use bytes::BytesMut;
use serde::Serialize;
use sse_proto::{StreamError, stream_reset};
use tracing::error;

/// An event to be sent, or the error that ends its stream.
///
/// No method of it panics or fails: a value that is not JSON, a type or an id with a line end, and
/// an `Err` in the place of a value make an event that ends the stream, by a `stream-error` to the
/// reader and a line in the log.
///
/// ```
/// use sse_server::views::Event;
///
/// let text = Event::text("two\nlines").event_type("greeting").id(7);
/// let json = Event::json(&[1, 2]);
/// # let _ = (text, json);
/// ```
#[derive(Clone, PartialEq, Eq)]
#[must_use]
pub struct Event(Kind);

#[derive(Clone, PartialEq, Eq)]
enum Kind {
    Message {
        event_type: Cow<'static, str>,
        id: Option<String>,
        data: String,
    },
    /// Told to the reader as it is.
    Error(StreamError),
    /// Told to the log.
    Fault(String),
    /// A stream-reset about all that was before.
    Reset,
    /// Bytes that are the same for all readers.
    Encoded(Bytes),
    /// A comment at the end, for people.
    LastWords(&'static str),
}

impl Event {
    /// An event with this text, of the default type `message`, without an id. CR, LF and CRLF in it
    /// arrive as LF (WHATWG HTML, section 9.2.6).
    pub fn text(data: impl Into<String>) -> Self {
        Self(Kind::Message { event_type: Cow::Borrowed(""), id: None, data: data.into() })
    }

    /// An event with this value as JSON.
    pub fn json(value: &(impl Serialize + ?Sized)) -> Self {
        match serde_json::to_string(value) {
            Ok(data) => Self::text(data),
            Err(error) => Self(Kind::Fault(format!("a value cannot be written as JSON: {error}"))),
        }
    }

    /// The last event of a stream: an error that trying again will not mend. An `EventSource` that
    /// comes back after it is answered with 400, where [`Resume`](super::Resume) is asked, and
    /// stops.
    pub const fn error(error: StreamError) -> Self {
        Self(Kind::Error(error))
    }

    /// The same event, of this type.
    pub fn event_type(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        if let Kind::Message { event_type, .. } = &mut self.0 {
            *event_type = name.into();
        }
        self
    }

    /// The same event, with this id, which a client sends as `Last-Event-ID` when it comes back.
    pub fn id(mut self, new: impl fmt::Display) -> Self {
        if let Kind::Message { id, .. } = &mut self.0 {
            *id = Some(new.to_string());
        }
        self
    }

    /// The type, empty for the default, and the data; none if it is no message.
    pub(super) fn content(&self) -> Option<(&str, &str)> {
        match &self.0 {
            Kind::Message { event_type, data, .. } => Some((event_type, data)),
            _ => None,
        }
    }

    /// Events before it are missing.
    pub(super) const fn reset() -> Self {
        Self(Kind::Reset)
    }

    /// Events before it are missing, and this is where it goes on.
    pub(super) fn reset_at(id: &str) -> Self {
        let none: [&str; 0] = [];
        let mut bytes = BytesMut::new();
        stream_reset(Some(id), &none).expect("ids of queues are numbers").encode_into(&mut bytes);
        Self::encoded(bytes.freeze())
    }

    /// Where the reader is from now on, without an event.
    pub(super) fn position(id: &str) -> Self {
        Self::encoded(format!("id: {id}\n\n").into())
    }

    /// One or more whole events.
    pub(super) const fn encoded(bytes: Bytes) -> Self {
        Self(Kind::Encoded(bytes))
    }

    /// The stream ends here, and a reader that comes back goes on.
    pub(super) const fn last_words(words: &'static str) -> Self {
        Self(Kind::LastWords(words))
    }

    /// The stream ends by a fault of the application.
    pub(super) fn fault(message: impl Into<String>) -> Self {
        Self(Kind::Fault(message.into()))
    }

    /// Writes it. Returns whether it is the last one.
    pub(super) fn encode(&self, out: &mut BytesMut) -> bool {
        let error = match &self.0 {
            Kind::Message { event_type, id, data } => {
                let event = sse_proto::Event::builder(data).event_type(event_type);
                let event = if let Some(id) = id { event.id(id) } else { event };
                match event.build() {
                    Ok(event) => {
                        event.encode_into(out);
                        return false;
                    }
                    Err(problem) => fault(&problem),
                }
            }
            Kind::Reset => {
                let none: [&str; 0] = [];
                let reset = stream_reset(None, &none).expect("there is no id");
                reset.encode_into(out);
                return false;
            }
            Kind::Encoded(bytes) => {
                out.extend_from_slice(bytes);
                return false;
            }
            Kind::LastWords(words) => {
                out.extend_from_slice(format!(":{words}\n\n").as_bytes());
                return true;
            }
            Kind::Fault(problem) => fault(problem),
            Kind::Error(error) => error.clone(),
        };
        error.to_event().encode_into(out);
        true
    }
}

/// What a reader is told of a fault of the application: nothing that only its log should know.
fn fault(problem: &impl fmt::Display) -> StreamError {
    error!(%problem, "a stream of the application ends by a fault");
    StreamError {
        condition: "internal-error".to_owned(),
        text: "The server cannot go on with this stream.".to_owned(),
        channels: Vec::new(),
    }
}

impl From<String> for Event {
    fn from(data: String) -> Self {
        Self::text(data)
    }
}

impl From<&str> for Event {
    fn from(data: &str) -> Self {
        Self::text(data)
    }
}

/// As JSON.
impl From<serde_json::Value> for Event {
    fn from(value: serde_json::Value) -> Self {
        Self::text(value.to_string())
    }
}

impl From<sse_proto::Event<'_>> for Event {
    fn from(event: sse_proto::Event<'_>) -> Self {
        let event_type = match event.event_type() {
            sse_proto::DEFAULT_EVENT_TYPE => Cow::Borrowed(""),
            event_type => Cow::Owned(event_type.to_owned()),
        };
        let id = event.id().map(str::to_owned);
        Self(Kind::Message { event_type, id, data: event.data().to_owned() })
    }
}

/// Ends the stream, with these words to the reader.
impl From<StreamError> for Event {
    fn from(error: StreamError) -> Self {
        Self::error(error)
    }
}

/// An error ends the stream, and goes to the log; the reader learns only that there was one. Make
/// it a [`StreamError`] to say more.
impl<T: Into<Self>, E: fmt::Display> From<Result<T, E>> for Event {
    fn from(result: Result<T, E>) -> Self {
        match result {
            Ok(event) => event.into(),
            Err(error) => Self(Kind::Fault(error.to_string())),
        }
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Message { event_type, id, data } => f
                .debug_struct("Event")
                .field("event_type", event_type)
                .field("id", id)
                .field("data", data)
                .finish(),
            Kind::Error(error) => f.debug_tuple("Event::error").field(error).finish(),
            Kind::Fault(problem) => f.debug_tuple("Event::fault").field(problem).finish(),
            Kind::Reset => f.write_str("Event::reset"),
            Kind::Encoded(bytes) => f.debug_tuple("Event::encoded").field(bytes).finish(),
            Kind::LastWords(words) => f.debug_tuple("Event::last_words").field(words).finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn encoded(event: impl Into<Event>) -> (String, bool) {
        let mut out = BytesMut::new();
        let is_last = event.into().encode(&mut out);
        (String::from_utf8(out.to_vec()).expect("UTF-8"), is_last)
    }

    #[test]
    fn whatever_is_put_in_is_one_event_or_ends_the_stream_with_a_word_to_the_reader() {
        for (event, text) in [
            (Event::text("a\nb"), "data: a\ndata: b\n\n"),
            (Event::text("").event_type("t").id(7), "event: t\nid: 7\ndata: \n\n"),
            (Event::json(&[1, 2]), "data: [1,2]\n\n"),
            (serde_json::json!({"a": "\n"}).into(), "data: {\"a\":\"\\n\"}\n\n"),
            (sse_proto::Event::new("x").into(), "data: x\n\n"),
            (Ok::<_, String>("x").into(), "data: x\n\n"),
        ] {
            assert_eq!(encoded(event), (text.to_owned(), false));
        }
        let not_json = HashMap::from([(vec![1], 2)]);
        for event in [
            Event::text("x").event_type("a\ndata: injected"),
            Event::text("x").id("1\r"),
            Event::text("x").id("\0"),
            Event::json(&not_json),
            Err::<Event, _>("the database's password is wrong").into(),
        ] {
            let (text, is_last) = encoded(event);
            let told = "event: stream-error\nid: error\ndata: {\"condition\": \"internal-error\"";
            assert!(is_last && text.starts_with(told) && !text.contains("password"), "{text}");
        }
    }
}
