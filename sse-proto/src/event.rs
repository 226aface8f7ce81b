//! A message event, as it is received and as it is sent.

use alloc::boxed::Box;
use core::fmt;
use core::hash::{Hash, Hasher};

use crate::scan::has_low_byte;

/// The type of an event that names none (WHATWG HTML, section 9.2.6).
pub const DEFAULT_EVENT_TYPE: &str = "message";

/// A message event: its type, its data and the last event ID.
///
/// The [decoder](crate::Decoder) lends events that borrow from the chunk or from the decoder;
/// [`into_owned`](Self::into_owned) makes one that can be kept and sent between tasks, with a
/// single allocation.
///
/// To send one, use [`new`](Self::new) or [`builder`](Self::builder). Whatever text goes in, an
/// `Event` encodes to exactly one event: what cannot be written in an event stream is refused by
/// the builder, never repaired in silence.
///
/// ```
/// use sse_proto::Event;
///
/// let event = Event::builder("two\nlines").event_type("greeting").id("7").build()?;
/// assert_eq!(event.to_string(), "event: greeting\nid: 7\ndata: two\ndata: lines\n\n");
/// assert!(Event::builder("x").event_type("a\ndata: injected").build().is_err());
/// # Ok::<(), sse_proto::InvalidField>(())
/// ```
#[derive(Clone)]
pub struct Event<'a>(Repr<'a>);

/// An empty type stands for [`DEFAULT_EVENT_TYPE`] in both forms.
#[derive(Clone)]
enum Repr<'a> {
    Borrowed {
        event_type: &'a str,
        id: Option<&'a str>,
        data: &'a str,
    },
    /// Type, id and data one after the other. `id` is the length of the id, if there is one.
    Owned {
        text: Box<str>,
        event_type: usize,
        id: Option<usize>,
    },
}

impl<'a> Event<'a> {
    /// An event with these data, of the default type and without an id.
    ///
    /// CR, LF and CRLF in the data are line breaks and reach the reader as LF: an event stream has
    /// no way to tell them apart. Everything else, NUL included, arrives as it is.
    pub const fn new(data: &'a str) -> Self {
        Self(Repr::Borrowed { event_type: "", id: None, data })
    }

    /// Starts an event with these data; see [`new`](Self::new) for what happens to line breaks.
    pub const fn builder(data: &'a str) -> EventBuilder<'a> {
        EventBuilder { event_type: "", id: None, data }
    }

    /// What the decoder has read; it cannot hold what the builder would refuse.
    pub(crate) const fn decoded(event_type: &'a str, id: Option<&'a str>, data: &'a str) -> Self {
        Self(Repr::Borrowed { event_type, id, data })
    }

    /// The event type, `message` if the sender named none.
    pub fn event_type(&self) -> &str {
        match self.explicit_type() {
            "" => DEFAULT_EVENT_TYPE,
            event_type => event_type,
        }
    }

    /// The data: the values of the `data` fields, joined by LF.
    #[inline]
    pub fn data(&self) -> &str {
        match &self.0 {
            Repr::Borrowed { data, .. } => data,
            Repr::Owned { text, event_type, id } => {
                text.get(event_type + id.unwrap_or(0)..).unwrap_or_default()
            }
        }
    }

    /// The id to send, or, of a received event, the last event ID in force when it was dispatched:
    /// its own or that of an earlier event. `None` if the stream has not set one so far; `Some("")`
    /// if it has reset it.
    #[inline]
    pub fn id(&self) -> Option<&str> {
        match &self.0 {
            Repr::Borrowed { id, .. } => *id,
            Repr::Owned { text, event_type, id } => {
                id.and_then(|id| text.get(*event_type..*event_type + id))
            }
        }
    }

    /// The `lastEventId` of the standard's `MessageEvent`: [`id`](Self::id), or the empty string.
    pub fn last_event_id(&self) -> &str {
        self.id().unwrap_or_default()
    }

    /// The same event, owning its text, in one allocation. Free if it is owned already.
    #[inline]
    pub fn into_owned(self) -> Event<'static> {
        match self.0 {
            Repr::Borrowed { event_type: "", id: None, data } => Box::<str>::from(data).into(),
            Repr::Borrowed { event_type, id, data } => joined(event_type, id, data),
            Repr::Owned { text, event_type, id } => Event(Repr::Owned { text, event_type, id }),
        }
    }

    /// The type as it is written on the wire; empty if no `event` field is.
    #[inline]
    pub(crate) fn explicit_type(&self) -> &str {
        match &self.0 {
            Repr::Borrowed { event_type, .. } => event_type,
            Repr::Owned { text, event_type, .. } => text.get(..*event_type).unwrap_or_default(),
        }
    }
}

/// An event with these data, of the default type and without an id, that owns them: what
/// [`into_owned`](Event::into_owned) makes of [`Event::new`].
impl From<Box<str>> for Event<'static> {
    #[inline]
    fn from(data: Box<str>) -> Self {
        Self(Repr::Owned { text: data, event_type: 0, id: None })
    }
}

/// An event that owns its text. Not inlined, so that the most common case can be.
#[inline(never)]
fn joined(event_type: &str, id: Option<&str>, data: &str) -> Event<'static> {
    let text = [event_type, id.unwrap_or_default(), data].concat();
    Event(Repr::Owned {
        text: text.into_boxed_str(),
        event_type: event_type.len(),
        id: id.map(str::len),
    })
}

/// Two events are equal if their type, data and id are; how they hold them does not matter.
impl PartialEq<Event<'_>> for Event<'_> {
    fn eq(&self, other: &Event<'_>) -> bool {
        self.event_type() == other.event_type()
            && self.data() == other.data()
            && self.id() == other.id()
    }
}

impl Eq for Event<'_> {}

impl Hash for Event<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.event_type(), self.data(), self.id()).hash(state);
    }
}

impl fmt::Debug for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("event_type", &self.event_type())
            .field("id", &self.id())
            .field("data", &self.data())
            .finish()
    }
}

/// Builds an [`Event`] to send; made by [`Event::builder`].
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct EventBuilder<'a> {
    event_type: &'a str,
    id: Option<&'a str>,
    data: &'a str,
}

impl<'a> EventBuilder<'a> {
    /// Names the event type. An empty type is the same as none: `message`.
    pub const fn event_type(mut self, event_type: &'a str) -> Self {
        self.event_type = event_type;
        self
    }

    /// Sets the id. An empty id makes the receiver forget its last event ID.
    pub const fn id(mut self, id: &'a str) -> Self {
        self.id = Some(id);
        self
    }

    /// The event.
    ///
    /// # Errors
    ///
    /// An [`InvalidField`] that names the field, if the type contains CR or LF, or the id CR, LF or
    /// NUL. The first two would end the line and let the rest be read as other fields; an id with
    /// NUL is ignored by every receiver (section 9.2.6). Nothing is removed or replaced: text that
    /// silently changes is a bug that is found late.
    #[inline]
    pub fn build(self) -> Result<Event<'a>, InvalidField> {
        check("event type", self.event_type, b"\r\n")?;
        check("id", self.id.unwrap_or_default(), b"\r\n\0")?;
        Ok(Event(Repr::Borrowed { event_type: self.event_type, id: self.id, data: self.data }))
    }
}

/// What is refused is not above CR.
#[inline]
fn check(field: &'static str, text: &str, refused: &[u8]) -> Result<(), InvalidField> {
    if text.is_empty() || !has_low_byte(text.as_bytes()) {
        return Ok(());
    }
    check_each(field, text, refused)
}

#[cold]
fn check_each(field: &'static str, text: &str, refused: &[u8]) -> Result<(), InvalidField> {
    match text.bytes().position(|byte| refused.contains(&byte)) {
        Some(position) => Err(InvalidField { field, position, byte: text.as_bytes()[position] }),
        None => Ok(()),
    }
}

/// A field has a character that cannot be sent in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidField {
    field: &'static str,
    position: usize,
    byte: u8,
}

impl InvalidField {
    /// Which field: `event type` or `id`.
    pub const fn field(&self) -> &'static str {
        self.field
    }

    /// Where in the field, as an offset in bytes.
    pub const fn position(&self) -> usize {
        self.position
    }
}

impl fmt::Display for InvalidField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.byte {
            b'\r' => "CR",
            b'\n' => "LF",
            _ => "NUL",
        };
        let Self { field, position, .. } = self;
        write!(f, "{field} contains {name} at byte {position}, which an event stream cannot carry")
    }
}

impl core::error::Error for InvalidField {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owned_event_equals_the_borrowed_one() {
        for id in [None, Some(""), Some("7")] {
            for event_type in ["", "greeting"] {
                let borrowed = Event::decoded(event_type, id, "a\nb");
                let owned = borrowed.clone().into_owned();
                assert_eq!(owned, borrowed);
                assert_eq!(owned.explicit_type(), event_type);
                assert_eq!(owned.clone().into_owned(), borrowed);
            }
        }
    }

    #[test]
    fn an_event_takes_over_data_as_they_are() {
        for data in ["", "a", "a\r\nb\0"] {
            let taken = Event::from(Box::<str>::from(data));
            assert_eq!(taken, Event::new(data));
            assert_eq!((taken.event_type(), taken.id(), taken.data()), ("message", None, data));
        }
    }

    #[test]
    fn the_builder_refuses_what_would_inject_or_get_lost_and_names_it() {
        for (event_type, id, message) in [
            ("a\rb", "", "event type contains CR at byte 1, which an event stream cannot carry"),
            ("\n", "", "event type contains LF at byte 0, which an event stream cannot carry"),
            ("", "12\n", "id contains LF at byte 2, which an event stream cannot carry"),
            ("", "\r", "id contains CR at byte 0, which an event stream cannot carry"),
            ("", "1\0", "id contains NUL at byte 1, which an event stream cannot carry"),
        ] {
            let built = Event::builder("x").event_type(event_type).id(id).build();
            assert_eq!(built.expect_err("refused").to_string(), message);
        }
        assert!(Event::builder("\0\r\n").event_type("nul\0is\0fine").build().is_ok());
    }

    use alloc::string::ToString;
}
