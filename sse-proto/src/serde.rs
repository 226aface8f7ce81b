//! An [`Event`] as data: `{"event": "message", "data": "…", "id": "…"}`.

use alloc::borrow::Cow;

use ::serde::de::{Deserialize, Deserializer, Error};
use ::serde::ser::{Serialize, SerializeStruct, Serializer};

use crate::event::{DEFAULT_EVENT_TYPE, Event, InvalidField};

/// As a struct of `event`, `data` and, if the event has one, `id`. With the feature `serde`.
impl Serialize for Event<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let fields = 2 + usize::from(self.id().is_some());
        let mut event = serializer.serialize_struct("Event", fields)?;
        event.serialize_field("event", self.event_type())?;
        event.serialize_field("data", self.data())?;
        match self.id() {
            Some(id) => event.serialize_field("id", id)?,
            None => event.skip_field("id")?,
        }
        event.end()
    }
}

/// From a struct of `event` (`message` if it is left out), `data`, and `id` (left out or null if
/// there is none). Other fields are ignored. With the feature `serde`.
///
/// Fails where the format does, and where the [builder](crate::EventBuilder::build) does, in its
/// words.
///
/// The event borrows its text if the format can lend all of it, and owns it otherwise: a JSON
/// string with an escape cannot be lent. For an event that outlives the input, there is
/// [`deserialize_owned`](Event::deserialize_owned).
impl<'de: 'a, 'a> Deserialize<'de> for Event<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let fields = Fields::deserialize(deserializer)?;
        let event = match fields.lent() {
            Some((event_type, data, id)) => build(event_type, data, id),
            None => fields.build().map(Event::into_owned),
        };
        event.map_err(D::Error::custom)
    }
}

impl Event<'static> {
    /// Deserializes an event that owns its text, for example from a reader. With the feature
    /// `serde`.
    ///
    /// ```
    /// use sse_proto::Event;
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Request {
    ///     channel: String,
    ///     #[serde(deserialize_with = "Event::deserialize_owned")]
    ///     event: Event<'static>,
    /// }
    ///
    /// let body = &br#"{"channel": "a", "event": {"data": "hello", "id": "7"}}"#[..];
    /// let request: Request = serde_json::from_reader(body)?;
    /// assert_eq!(request.event, Event::builder("hello").id("7").build()?);
    /// # assert_eq!(request.channel, "a");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of the format, and what the [builder](crate::EventBuilder::build) refuses, in its
    /// words.
    pub fn deserialize_owned<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let fields = Fields::deserialize(deserializer)?;
        fields.build().map(Event::into_owned).map_err(D::Error::custom)
    }
}

#[derive(::serde::Deserialize)]
#[serde(crate = "::serde", rename = "Event")]
struct Fields<'a> {
    #[serde(borrow, default)]
    event: Text<'a>,
    #[serde(borrow)]
    data: Text<'a>,
    #[serde(borrow, default)]
    id: Option<Text<'a>>,
}

/// A `Cow` inside of an `Option` is borrowed by serde only if it has a type of its own.
#[derive(Default, ::serde::Deserialize)]
#[serde(crate = "::serde", transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a> Text<'a> {
    fn lent(&self) -> Option<&'a str> {
        match self.0 {
            Cow::Borrowed(text) => Some(text),
            Cow::Owned(_) => None,
        }
    }
}

impl<'a> Fields<'a> {
    /// All of them, if none had to be copied.
    fn lent(&self) -> Option<(&'a str, &'a str, Option<&'a str>)> {
        let id = match &self.id {
            Some(id) => Some(id.lent()?),
            None => None,
        };
        Some((self.event.lent()?, self.data.lent()?, id))
    }

    fn build(&self) -> Result<Event<'_>, InvalidField> {
        build(&self.event.0, &self.data.0, self.id.as_ref().map(|id| &*id.0))
    }
}

fn build<'a>(
    event_type: &'a str,
    data: &'a str,
    id: Option<&'a str>,
) -> Result<Event<'a>, InvalidField> {
    // It was written because a reader of JSON likes to see it; an event stream has no need of it.
    let event_type = if event_type == DEFAULT_EVENT_TYPE { "" } else { event_type };
    let event = Event::builder(data).event_type(event_type);
    let event = if let Some(id) = id { event.id(id) } else { event };
    event.build()
}
