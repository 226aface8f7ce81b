//! What an event may be, whether it comes from a publisher over HTTP or over the relay.

use sse_proto::Event;

/// How long the name of a channel may be, in characters.
pub(crate) const MAX_CHANNEL_NAME: usize = 255;

/// How many users one event may leave out, and how long the name of a user is, in characters.
const MAX_SKIPPED: usize = 100;
pub(crate) const MAX_USER: usize = 255;

/// The most bytes that type and data of an event have, unless it is set otherwise.
pub(crate) const MAX_EVENT_LEN: usize = 1 << 20;

/// Types that only the server itself may send: a reader acts on them.
const RESERVED_TYPES: [&str; 4] = ["stream-open", "stream-reset", "stream-error", "keep-alive"];

/// Why an event may not be published.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotAllowed {
    #[error("`channel` is empty; name the channel to publish to")]
    NoChannel,
    #[error("`channel` is longer than {MAX_CHANNEL_NAME} characters")]
    LongChannel,
    #[error("`event` cannot be sent: {0}")]
    Type(String),
    #[error("`event` is {0:?}, which only the server itself may send")]
    Reserved(String),
    #[error("the event has {len} bytes; the limit is {limit}")]
    TooLarge { len: usize, limit: usize },
    #[error("`skip_users` has more than {MAX_SKIPPED} users; use a channel of their own")]
    ManySkipped,
    #[error("`skip_users`: a name has more than {MAX_USER} characters, or U+0000")]
    LongUser,
}

/// Whether there can be an event of this type in this channel.
pub(crate) fn check_place(channel: &str, event_type: &str) -> Result<(), NotAllowed> {
    if channel.is_empty() {
        return Err(NotAllowed::NoChannel);
    }
    if channel.chars().count() > MAX_CHANNEL_NAME {
        return Err(NotAllowed::LongChannel);
    }
    if let Err(error) = Event::builder("").event_type(event_type).build() {
        return Err(NotAllowed::Type(error.to_string()));
    }
    if RESERVED_TYPES.contains(&event_type) {
        return Err(NotAllowed::Reserved(event_type.to_owned()));
    }
    Ok(())
}

/// Whether an event may have this content, and leave out these users.
pub(crate) fn check_content(
    event_type: &str,
    data: &str,
    skip_users: &[String],
    limit: usize,
) -> Result<(), NotAllowed> {
    let len = event_type.len() + data.len();
    if len > limit {
        return Err(NotAllowed::TooLarge { len, limit });
    }
    if skip_users.len() > MAX_SKIPPED {
        return Err(NotAllowed::ManySkipped);
    }
    if skip_users.iter().any(|user| user.chars().count() > MAX_USER || user.contains('\0')) {
        return Err(NotAllowed::LongUser);
    }
    Ok(())
}
