//! A message as text: the JSON that django-eventstream sends through Redis, and who sent it.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize};

use super::{Message, News};

/// `{"channel": "a", "event_type": "message", "data": "…", "pub_id": "1"}`; django-eventstream sends
/// all four, with `null` for an event without an id.
#[derive(Serialize, Deserialize)]
struct Wire<'a> {
    #[serde(borrow)]
    channel: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    event_type: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    data: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub_id: Option<Id<'a>>,
    /// Ours, by the name of `send_event`'s argument; Django neither sends it nor looks at it.
    #[serde(default, deserialize_with = "users", skip_serializing_if = "Vec::is_empty")]
    skip_user_ids: Vec<Id<'a>>,
    /// Ours alone; others do not look at it.
    #[serde(borrow, default)]
    origin: Option<Cow<'a, str>>,
}

/// A number, in quotes or not.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Id<'a> {
    Text(Cow<'a, str>),
    Number(u64),
}

impl Id<'_> {
    fn into_text(self) -> String {
        match self {
            Self::Text(text) => text.into_owned(),
            Self::Number(number) => number.to_string(),
        }
    }
}

/// A list, or `null`.
fn users<'de, 'a, D: Deserializer<'de>>(input: D) -> Result<Vec<Id<'a>>, D::Error> {
    Ok(Option::deserialize(input)?.unwrap_or_default())
}

/// What instances say to each other about other things than events. Its name comes first, which tells it
/// from a message.
#[derive(Serialize, Deserialize)]
struct Notice<'a> {
    #[serde(borrow)]
    notice: Cow<'a, str>,
    #[serde(borrow)]
    origin: Cow<'a, str>,
}

/// How a notice begins.
const NOTICE: &[u8] = b"{\"notice\":";

/// Tells an instance's own messages from others'.
#[derive(Clone, Debug)]
pub(super) struct Origin(String);

impl Origin {
    /// One that nobody else has.
    pub(super) fn new() -> Self {
        let mut random = [0; 16];
        if getrandom::fill(&mut random).is_err() {
            // Two instances that start in the same nanosecond are not to be expected either.
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            random = now.unwrap_or_default().as_nanos().to_be_bytes();
        }
        Self(format!("{:032x}", u128::from_be_bytes(random)))
    }

    pub(super) fn encode(&self, message: &Message) -> String {
        let event = message.event.as_ref();
        let wire = Wire {
            channel: Cow::Borrowed(&message.channel),
            event_type: event.map(|(event_type, _)| Cow::Borrowed(&**event_type)),
            data: event.map(|(_, data)| Cow::Borrowed(&**data)),
            pub_id: message.id.map(|id| Id::Text(Cow::Owned(id.to_string()))),
            skip_user_ids: message.skip_users.iter().map(|user| Id::Text(user.into())).collect(),
            origin: Some(Cow::Borrowed(&self.0)),
        };
        serde_json::to_string(&wire).expect("strings are JSON")
    }

    pub(super) fn encode_notice(&self, notice: &str) -> String {
        let notice = Notice { notice: Cow::Borrowed(notice), origin: Cow::Borrowed(&self.0) };
        serde_json::to_string(&notice).expect("strings are JSON")
    }

    /// What somebody else has sent, an event or a notice. `Ok(None)`: it was us.
    pub(super) fn decode_any(&self, text: &[u8]) -> Result<Option<News>, serde_json::Error> {
        if !text.starts_with(NOTICE) {
            return Ok(self.decode(text)?.map(News::Message));
        }
        let Notice { notice, origin } = serde_json::from_slice(text)?;
        Ok((origin != self.0).then(|| News::Notice(notice.into_owned())))
    }

    /// What somebody else has sent. `Ok(None)`: it was us.
    pub(super) fn decode(&self, text: &[u8]) -> Result<Option<Message>, serde_json::Error> {
        let wire: Wire<'_> = serde_json::from_slice(text)?;
        if wire.origin.is_some_and(|origin| origin == self.0) {
            return Ok(None);
        }
        let id = match wire.pub_id {
            None => None,
            Some(Id::Number(id)) => Some(id),
            Some(Id::Text(text)) => Some(text.parse().map_err(|_| {
                serde::de::Error::custom(format_args!("the pub_id {text:?} is no number"))
            })?),
        };
        let event_type = wire.event_type.unwrap_or(Cow::Borrowed("message")).into_owned();
        let message = Message::new(wire.channel, id);
        let Some(data) = wire.data else { return Ok(Some(message)) };
        let skip_users = wire.skip_user_ids.into_iter().map(Id::into_text).collect();
        Ok(Some(message.with_event(event_type, data, skip_users)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_is_for_others_and_no_message() {
        let ours = Origin("x".to_owned());
        let text = ours.encode_notice("{\"a\": 1}");
        assert_eq!(ours.decode_any(text.as_bytes()).expect("JSON"), None);
        let news = Origin("y".to_owned()).decode_any(text.as_bytes()).expect("JSON");
        assert_eq!(news, Some(News::Notice("{\"a\": 1}".to_owned())));
        ours.decode(text.as_bytes()).expect_err("no channel");
    }

    #[test]
    fn a_message_is_what_django_eventstream_sends_and_reads() {
        let ours = Origin("x".to_owned());
        let message = Message::new("test", Some(1)).with_event("message", "{\"a\": 1}", Vec::new());
        assert_eq!(
            ours.encode(&message),
            r#"{"channel":"test","event_type":"message","data":"{\"a\": 1}","pub_id":"1","origin":"x"}"#
        );
        let theirs =
            r#"{"channel": "test", "event_type": "message", "data": "{\"a\": 1}", "pub_id": "1"}"#;
        assert_eq!(ours.decode(theirs.as_bytes()).expect("JSON"), Some(message.clone()));
        let unreliable = r#"{"channel": "t", "event_type": "e", "data": "1", "pub_id": null}"#;
        let decoded = ours.decode(unreliable.as_bytes()).expect("JSON").expect("not ours");
        assert_eq!((decoded.id, decoded.event), (None, Some(("e".to_owned(), "1".to_owned()))));
        assert_eq!(ours.decode(ours.encode(&message).as_bytes()).expect("JSON"), None);
        assert_eq!(
            Origin::new().decode(ours.encode(&message).as_bytes()).expect("JSON"),
            Some(message.clone())
        );
        let skipping = message.with_event("message", "1", vec!["7".to_owned()]);
        let text = ours.encode(&skipping);
        assert!(text.contains(r#""skip_user_ids":["7"]"#), "{text}");
        assert_eq!(Origin::new().decode(text.as_bytes()).expect("JSON"), Some(skipping.clone()));
        let numbers = text.replace("[\"7\"]", "[7]");
        assert_eq!(Origin::new().decode(numbers.as_bytes()).expect("JSON"), Some(skipping));
        let nobody = text.replace("[\"7\"]", "null");
        let nobody = Origin::new().decode(nobody.as_bytes()).expect("JSON").expect("not ours");
        assert!(nobody.skip_users.is_empty());
        for nonsense in ["", "1", "{}", r#"{"channel": "a", "pub_id": "x"}"#, r#"{"channel": 1}"#] {
            ours.decode(nonsense.as_bytes()).expect_err(nonsense);
        }
    }
}
