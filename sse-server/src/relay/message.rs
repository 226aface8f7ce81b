//! A message as text: the JSON that django-eventstream sends through Redis, and who sent it.

use std::borrow::Cow;
use std::fmt::Write;

use aws_lc_rs::hmac::{self, HMAC_SHA256, Key};
use serde::{Deserialize, Deserializer, Serialize};
use subtle::ConstantTimeEq;

use super::{Message, News, RelayOptions};

/// `{"channel": "a", "event_type": "message", "data": "…", "pub_id": "1"}`; django-eventstream
/// sends all four, with `null` for an event without an id.
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
    /// Of everything else, if instances sign.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    signature: Option<Cow<'a, str>>,
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

/// What instances say to each other about other things than events. Its name comes first, which
/// tells it from a message.
#[derive(Serialize, Deserialize)]
#[expect(clippy::struct_field_names, reason = "the names on the wire")]
struct Notice<'a> {
    #[serde(borrow)]
    notice: Cow<'a, str>,
    #[serde(borrow)]
    origin: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    signature: Option<Cow<'a, str>>,
}

/// How a notice begins.
const NOTICE: &[u8] = b"{\"notice\":";

/// The most bytes of a notice. Names in it are bounded, and may be escaped twice.
const MAX_NOTICE: usize = 32 << 10;

/// Tells an instance's own messages from others', and those of instances from anybody's.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    name: String,
    /// What instances sign with. None: everybody is believed.
    key: Option<Key>,
}

impl Id<'_> {
    /// A number as it is, for the signature.
    fn as_text(&self) -> Cow<'_, str> {
        match self {
            Self::Text(text) => Cow::Borrowed(text),
            Self::Number(number) => Cow::Owned(number.to_string()),
        }
    }
}

impl Wire<'_> {
    /// Everything that is signed, so that nothing can be taken for anything else.
    fn signed(&self) -> Signed {
        let mut signed = Signed::new(b"event");
        signed.add(Some(self.channel.as_bytes()));
        signed.add(self.event_type.as_ref().map(|it| it.as_bytes()));
        signed.add(self.data.as_ref().map(|it| it.as_bytes()));
        signed.add(self.pub_id.as_ref().map(Id::as_text).as_ref().map(|it| it.as_bytes()));
        signed.add(self.origin.as_ref().map(|it| it.as_bytes()));
        self.skip_user_ids.iter().for_each(|id| signed.add(Some(id.as_text().as_bytes())));
        signed
    }
}

impl Notice<'_> {
    fn signed(&self) -> Signed {
        let mut signed = Signed::new(b"notice");
        signed.add(Some(self.notice.as_bytes()));
        signed.add(Some(self.origin.as_bytes()));
        signed
    }
}

/// Parts, each with its length before it.
struct Signed(Vec<u8>);

impl Signed {
    fn new(kind: &[u8]) -> Self {
        let mut signed = Self(Vec::new());
        signed.add(Some(kind));
        signed
    }

    fn add(&mut self, part: Option<&[u8]>) {
        // No part is as long as one that is not there.
        let len = part.map_or(u64::MAX, |part| part.len() as u64);
        self.0.extend_from_slice(&len.to_be_bytes());
        self.0.extend_from_slice(part.unwrap_or_default());
    }
}

impl Origin {
    /// One that is used once.
    pub(super) fn new(options: &RelayOptions) -> Self {
        let mut random = [0; 16];
        if getrandom::fill(&mut random).is_err() {
            // Two instances that start in the same nanosecond are not to be expected either.
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            random = now.unwrap_or_default().as_nanos().to_be_bytes();
        }
        let key = options.secret.as_ref().map(|secret| Key::new(HMAC_SHA256, secret));
        Self { name: format!("{:032x}", u128::from_be_bytes(random)), key }
    }

    /// The signature of this, if instances sign.
    fn sign(&self, signed: &Signed) -> Option<Cow<'static, str>> {
        let key = self.key.as_ref()?;
        let tag = hmac::sign(key, &signed.0);
        let tag = tag.as_ref().iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").expect("a string takes all text");
            text
        });
        Some(tag.into())
    }

    /// Whether this is from an instance, as far as that can be known.
    fn is_trusted(&self, signed: &Signed, signature: Option<&str>) -> bool {
        let Some(expected) = self.sign(signed) else { return true };
        let given = signature.unwrap_or_default();
        expected.as_bytes().ct_eq(given.as_bytes()).into()
    }

    pub(super) fn encode(&self, message: &Message) -> String {
        let event = message.event.as_ref();
        let mut wire = Wire {
            channel: Cow::Borrowed(&message.channel),
            event_type: event.map(|(event_type, _)| Cow::Borrowed(&**event_type)),
            data: event.map(|(_, data)| Cow::Borrowed(&**data)),
            pub_id: message.id.map(|id| Id::Text(Cow::Owned(id.to_string()))),
            skip_user_ids: message.skip_users.iter().map(|user| Id::Text(user.into())).collect(),
            origin: Some(Cow::Borrowed(&self.name)),
            signature: None,
        };
        wire.signature = self.sign(&wire.signed());
        serde_json::to_string(&wire).expect("strings are JSON")
    }

    pub(super) fn encode_notice(&self, notice: &str) -> String {
        let (notice, origin) = (Cow::Borrowed(notice), Cow::Borrowed(&*self.name));
        let mut notice = Notice { notice, origin, signature: None };
        notice.signature = self.sign(&notice.signed());
        serde_json::to_string(&notice).expect("strings are JSON")
    }

    /// What somebody has sent: another one's event, or anyone's notice. `Ok(None)`: it was our
    /// event.
    pub(super) fn decode_any(&self, text: &[u8]) -> Result<Option<News>, serde_json::Error> {
        if !text.starts_with(NOTICE) {
            return Ok(self.decode(text)?.map(News::Message));
        }
        let refuse = |why: &str| Err(serde::de::Error::custom(why));
        if text.len() > MAX_NOTICE {
            return refuse("a notice is too long");
        }
        let notice: Notice<'_> = serde_json::from_slice(text)?;
        if !self.is_trusted(&notice.signed(), notice.signature.as_deref()) {
            return refuse(
                "a notice is not signed with the secret of this instance (--relay-secret)",
            );
        }
        Ok(Some(News::Notice(notice.notice.into_owned())))
    }

    /// What somebody else has sent. `Ok(None)`: it was us.
    pub(super) fn decode(&self, text: &[u8]) -> Result<Option<Message>, serde_json::Error> {
        let wire: Wire<'_> = serde_json::from_slice(text)?;
        if wire.origin.as_ref().is_some_and(|origin| *origin == self.name) {
            return Ok(None);
        }
        let is_trusted = self.is_trusted(&wire.signed(), wire.signature.as_deref());
        let id = match wire.pub_id {
            None => None,
            Some(Id::Number(id)) => Some(id),
            Some(Id::Text(text)) => Some(text.parse().map_err(|_| {
                serde::de::Error::custom(format_args!("the pub_id {text:?} is no number"))
            })?),
        };
        let event_type = wire.event_type.unwrap_or(Cow::Borrowed("message")).into_owned();
        let mut message = Message::new(wire.channel, id);
        message.is_trusted = is_trusted;
        let Some(data) = wire.data else { return Ok(Some(message)) };
        let skip_users = wire.skip_user_ids.into_iter().map(Id::into_text).collect();
        Ok(Some(message.with_event(event_type, data, skip_users)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(name: &str, secret: Option<&str>) -> Origin {
        let options = secret
            .map_or_else(RelayOptions::default, |secret| RelayOptions::default().secret(secret));
        Origin { name: name.to_owned(), ..Origin::new(&options) }
    }

    #[test]
    fn a_notice_is_no_message_and_comes_back() {
        let ours = origin("x", None);
        let text = ours.encode_notice("{\"a\": 1}");
        for reader in [&ours, &origin("y", None)] {
            let news = reader.decode_any(text.as_bytes()).expect("JSON");
            assert_eq!(news, Some(News::Notice("{\"a\": 1}".to_owned())));
        }
        ours.decode(text.as_bytes()).expect_err("no channel");
        let long = ours.encode_notice(&"x".repeat(MAX_NOTICE));
        ours.decode_any(long.as_bytes()).expect_err("too long");
    }

    #[test]
    fn with_a_secret_only_those_who_know_it_are_believed() {
        let (ours, theirs) = (origin("x", Some("secret")), origin("y", Some("secret")));
        let notice = theirs.encode_notice("n");
        ours.decode_any(notice.as_bytes()).expect("signed");
        let forged = [
            origin("y", None).encode_notice("n"),
            origin("y", Some("guess")).encode_notice("n"),
            notice.replace("\"n\"", "\"m\""),
            notice.replace("\"y\"", "\"z\""),
        ];
        for forged in forged {
            ours.decode_any(forged.as_bytes()).expect_err(&forged);
        }
        let event = || Message::new("a", None).with_event("t", "1", vec!["u".to_owned()]);
        let signed = theirs.encode(&event());
        let is_trusted = |text: &str| {
            let message = ours.decode(text.as_bytes()).expect("JSON").expect("not ours");
            message.is_trusted
        };
        assert!(is_trusted(&signed));
        for (part, other) in [
            ("\"a\"", "\"b\""),
            ("\"t\"", "\"s\""),
            ("\"1\"", "\"2\""),
            ("\"pub_id\":null", "\"pub_id\":\"1\""),
            ("[\"u\"]", "[]"),
            ("[\"u\"]", "[\"u\",\"v\"]"),
            ("\"origin\":\"y\"", "\"origin\":\"z\""),
            ("\"signature\":", "\"other\":"),
        ] {
            let forged = signed.replace(part, other);
            assert!(forged != signed && !is_trusted(&forged), "{forged}");
        }
        let anyone = origin("z", None).encode(&event());
        assert!(!is_trusted(&anyone));
        let all = origin("z", None).decode(signed.as_bytes()).expect("JSON").expect("not ours");
        assert!(all.is_trusted, "without a secret everybody is");
    }

    #[test]
    fn a_message_is_what_django_eventstream_sends_and_reads() {
        let ours = origin("x", None);
        let other = origin("y", None);
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
            other.decode(ours.encode(&message).as_bytes()).expect("JSON"),
            Some(message.clone())
        );
        let skipping = message.with_event("message", "1", vec!["7".to_owned()]);
        let text = ours.encode(&skipping);
        assert!(text.contains(r#""skip_user_ids":["7"]"#), "{text}");
        assert_eq!(other.decode(text.as_bytes()).expect("JSON"), Some(skipping.clone()));
        let numbers = text.replace("[\"7\"]", "[7]");
        assert_eq!(other.decode(numbers.as_bytes()).expect("JSON"), Some(skipping));
        let nobody = text.replace("[\"7\"]", "null");
        let nobody = other.decode(nobody.as_bytes()).expect("JSON").expect("not ours");
        assert!(nobody.skip_users.is_empty());
        for nonsense in ["", "1", "{}", r#"{"channel": "a", "pub_id": "x"}"#, r#"{"channel": 1}"#] {
            ours.decode(nonsense.as_bytes()).expect_err(nonsense);
        }
    }
}
