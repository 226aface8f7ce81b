//! One event as a publisher writes it: JSON, checked, and made an event of.

use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use sse_proto::DEFAULT_EVENT_TYPE;

use super::python_json::dumps;
use crate::http::error::Refusal;
use crate::hub::{NotAllowed, check_content, check_place};
use crate::storage::NewEvent;

/// One event, as the body describes it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Message {
    channel: String,
    event: Option<String>,
    #[serde(default, deserialize_with = "present")]
    data: Option<Box<RawValue>>,
    text: Option<String>,
    #[serde(default, deserialize_with = "users")]
    skip_users: Vec<String>,
    store: Option<bool>,
}

/// `null` is a value, not the absence of one.
fn present<'de, D: Deserializer<'de>>(input: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(input).map(Some)
}

/// Names and numbers.
fn users<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<String>, D::Error> {
    let users = Vec::<User>::deserialize(input);
    let users =
        users.map_err(|_| D::Error::custom("`skip_users` must be a list of names or numbers"))?;
    Ok(users.into_iter().map(User::into_name).collect())
}

/// A name or a number.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum User {
    Name(String),
    Number(i64),
}

impl User {
    pub(super) fn into_name(self) -> String {
        match self {
            Self::Name(name) => name,
            Self::Number(number) => number.to_string(),
        }
    }
}

/// Checks a message and makes an event of it.
pub(super) fn check(message: Message, max_event_len: usize) -> Result<NewEvent, Refusal> {
    let Message { channel, event, data, text, skip_users, store } = message;
    let event_type = event.unwrap_or_else(|| DEFAULT_EVENT_TYPE.to_owned());
    check_place(&channel, &event_type)?;
    let data = match (data, text) {
        (Some(json), None) => dumps(json.get()),
        (None, Some(text)) => text,
        (None, None) => {
            let text = "there is neither `data` (any JSON) nor `text` (a string, sent as it is)";
            return Err(Refusal::bad_request(text));
        }
        (Some(_), Some(_)) => {
            return Err(Refusal::bad_request("there are both `data` and `text`; send one of them"));
        }
    };
    check_content(&event_type, &data, &skip_users, max_event_len)?;
    let event = NewEvent::new(channel, event_type, data).skip_users(skip_users);
    Ok(event.store(store.unwrap_or(true)))
}

impl From<NotAllowed> for Refusal {
    fn from(why: NotAllowed) -> Self {
        match why {
            NotAllowed::TooLarge { .. } => Self::too_large(why.to_string()),
            why => Self::bad_request(why.to_string()),
        }
    }
}

pub(super) fn not_json(error: &serde_json::Error) -> Refusal {
    let needed = "the body must be {\"channel\": …, \"data\": …}, an array of these, or one a line with \
                  Content-Type application/x-ndjson";
    Refusal::bad_request(format!("{error}; {needed}"))
}
