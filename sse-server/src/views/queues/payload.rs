//! What the bytes of a message mean.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sse_proto::DEFAULT_EVENT_TYPE;

use super::QueueError;
use crate::hub::check_place;

/// What a message of a queue has in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Payload {
    /// The data of an event, as it is: what `PUBLISH prices 17` sends arrives as `data: 17`. Bytes
    /// that are not UTF-8 arrive as U+FFFD, as the standard reads streams (WHATWG HTML, section
    /// 9.2.5). The type is beside it, where the queue has a place for one: the field `event` of an
    /// entry of a Redis stream, the property `type` of a RabbitMQ message. Else it is that of
    /// [`event_type`](super::QueueBuilder::event_type).
    #[default]
    Text,
    /// JSON as `POST /publish/` takes it: `{"event": "price", "data": 17}`, with any JSON as the
    /// data, or `"text"` in its place, which is sent as it is. The type may be left out.
    Envelope,
    /// JSON as `send_event` of django-sse publishes it: `["price", "17"]`.
    Pair,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope<'a> {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    event: Option<String>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<String>,
}

/// An event without its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    /// None: the default one.
    pub(super) event_type: Option<String>,
    pub(super) data: String,
}

impl Message {
    /// How many bytes type and data have together.
    pub(super) fn len(&self) -> usize {
        self.event_type.as_ref().map_or(0, String::len) + self.data.len()
    }

    /// The same, if it may be sent.
    pub(super) fn checked(self, max_len: usize) -> Result<Self, QueueError> {
        let event_type = self.event_type.as_deref().unwrap_or(DEFAULT_EVENT_TYPE);
        // The channel was looked at when it was joined.
        check_place("a", event_type)?;
        crate::hub::check_content(event_type, &self.data, &[], max_len)?;
        Ok(self)
    }
}

impl Payload {
    /// What a message says, whose type may be told beside it; or why it says nothing.
    pub(super) fn read(self, bytes: &[u8], beside: Option<String>) -> Result<Message, String> {
        let not_json = |error: serde_json::Error| error.to_string();
        match self {
            Self::Text => {
                let data = String::from_utf8_lossy(bytes).into_owned();
                Ok(Message { event_type: beside, data })
            }
            Self::Envelope => {
                let Envelope { event, data, text } =
                    serde_json::from_slice(bytes).map_err(not_json)?;
                let data = match (data, text) {
                    (Some(json), None) => json.get().to_owned(),
                    (None, Some(text)) => text,
                    _ => return Err("there must be either `data` or `text`".to_owned()),
                };
                Ok(Message { event_type: event.or(beside), data })
            }
            Self::Pair => {
                let (event_type, data): (String, serde_json::Value) =
                    serde_json::from_slice(bytes).map_err(not_json)?;
                let data = match data {
                    serde_json::Value::String(text) => text,
                    json => json.to_string(),
                };
                Ok(Message { event_type: Some(event_type), data })
            }
        }
    }

    /// The bytes that say this. `has_place` is whether the type is told beside them.
    pub(super) fn write(self, message: &Message, has_place: bool) -> Result<Vec<u8>, QueueError> {
        let Message { event_type, data } = message;
        let event_type = event_type.as_deref();
        match self {
            Self::Text if has_place || event_type.is_none() => Ok(data.as_bytes().to_vec()),
            Self::Text => {
                let text = "plain text has no place for a type; open the queue with \
                            Payload::Envelope, or send it with the type `message`";
                Err(QueueError::NotAllowed(text.to_owned()))
            }
            Self::Envelope => {
                let event = event_type.map(str::to_owned);
                let text = Some(data.clone());
                Ok(serde_json::to_vec(&Envelope { event, data: None, text })?)
            }
            Self::Pair => {
                Ok(serde_json::to_vec(&(event_type.unwrap_or(DEFAULT_EVENT_TYPE), data))?)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(event_type: Option<&str>, data: &str) -> Message {
        Message { event_type: event_type.map(str::to_owned), data: data.to_owned() }
    }

    #[test]
    fn a_payload_is_read_as_it_was_written_and_as_others_write_it() {
        for payload in [Payload::Text, Payload::Envelope, Payload::Pair] {
            let sent = message(Some("price"), "{\"a\": \"\n\"}");
            let bytes = payload.write(&sent, true).expect("written");
            assert_eq!(payload.read(&bytes, Some("price".to_owned())), Ok(sent), "{payload:?}");
        }
        for (payload, bytes, expected) in [
            (Payload::Text, &b"a\xff"[..], message(None, "a\u{fffd}")),
            (Payload::Text, b"{\"event\":\"x\"}", message(None, "{\"event\":\"x\"}")),
            (Payload::Envelope, b"{\"data\": [1, 2]}", message(None, "[1, 2]")),
            (Payload::Envelope, b"{\"event\":\"x\",\"text\":\"a\"}", message(Some("x"), "a")),
            (Payload::Pair, b"[\"x\", \"a\"]", message(Some("x"), "a")),
            (Payload::Pair, b"[\"x\", {\"a\":1}]", message(Some("x"), "{\"a\":1}")),
        ] {
            assert_eq!(payload.read(bytes, None), Ok(expected));
        }
        assert!(Payload::Text.write(&message(Some("x"), "a"), false).is_err());
    }

    #[test]
    fn what_is_no_event_is_told_from_one() {
        for bytes in [
            "",
            "17",
            "[]",
            "{}",
            "{\"data\":1,\"text\":\"a\"}",
            "{\"data\":1,\"id\":\"7\"}",
            "{\"event\":1,\"data\":1}",
        ] {
            assert!(Payload::Envelope.read(bytes.as_bytes(), None).is_err(), "{bytes}");
        }
        for bytes in ["", "17", "[1]", "[1, 2]", "[\"a\", \"b\", \"c\"]", "{\"data\":1}"] {
            assert!(Payload::Pair.read(bytes.as_bytes(), None).is_err(), "{bytes}");
        }
        for event_type in ["stream-reset", "stream-error", "a\nb", "a\0"] {
            let checked = message(Some(event_type), "x").checked(100);
            assert_eq!(checked.is_err(), event_type != "a\0", "{event_type:?}");
        }
        assert!(message(None, &"x".repeat(100)).checked(100).is_err());
    }
}
