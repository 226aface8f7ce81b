//! The `Last-Event-ID` of a stream of many channels: `a:3,b%20c:0`.
//!
//! django-eventstream's format. Each entry is a channel, percent-encoded, and the position in it:
//! the id of the last event that the reader has, 0 for "before the first". Entries come in any
//! order.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// Everything but the unreserved characters of RFC 3986 and `/`.
const ENCODED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'_').remove(b'.').remove(b'-').remove(b'~').remove(b'/');

/// Shows a channel name as it stands in a cursor: percent-encoded UTF-8, with the unreserved
/// characters and `/` left bare.
///
/// ```
/// assert_eq!(sse_proto::encode_channel("a b/c,d:é%~").to_string(), "a%20b/c%2Cd%3A%C3%A9%25~");
/// ```
pub fn encode_channel(channel: &str) -> impl fmt::Display + '_ {
    utf8_percent_encode(channel, ENCODED)
}

/// Positions in one or more channels.
///
/// ```
/// use sse_proto::Cursor;
///
/// let cursor: Cursor = "news:3,b%20c:0".parse()?;
/// assert_eq!(cursor.position("b c"), Some(0));
/// assert_eq!(cursor.position("other"), None);
/// assert_eq!(cursor.to_string(), "news:3,b%20c:0");
/// # Ok::<(), sse_proto::CursorError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cursor<'a> {
    entries: Vec<(Cow<'a, str>, u64)>,
}

impl<'a> Cursor<'a> {
    /// A cursor without channels.
    pub const fn new() -> Self {
        Self { entries: Vec::new() }
    }

    /// Reads a cursor, borrowing the names that need no decoding.
    ///
    /// As lenient as django-eventstream: any percent-encoding of a name, spaces around a number and
    /// a sign before it. A number that no log can reach, because it is negative or beyond
    /// `u64`, becomes `u64::MAX`: the server finds the position beyond the end of its log and
    /// answers with a stream-reset.
    ///
    /// # Errors
    ///
    /// A [`CursorError`] that says which entry is wrong, and how.
    pub fn parse(text: &'a str) -> Result<Self, CursorError> {
        let entries = text.split(',').enumerate().map(|(index, entry)| {
            let error = |kind| CursorError { entry: index + 1, kind };
            let (name, number) = entry.split_once(':').ok_or(error(Problem::Shape))?;
            if number.contains(':') {
                return Err(error(Problem::Shape));
            }
            let name = percent_decode_str(name).decode_utf8();
            let name = name.map_err(|_| error(Problem::Name))?;
            Ok((name, position(number).ok_or(error(Problem::Number))?))
        });
        Ok(Self { entries: entries.collect::<Result<_, _>>()? })
    }

    /// Adds a channel, or moves it if it is there.
    pub fn set(&mut self, channel: impl Into<Cow<'a, str>>, position: u64) {
        let channel = channel.into();
        match self.entries.iter_mut().find(|(name, _)| *name == channel) {
            Some(entry) => entry.1 = position,
            None => self.entries.push((channel, position)),
        }
    }

    /// The position in a channel. If the channel is listed twice the last one counts.
    pub fn position(&self, channel: &str) -> Option<u64> {
        self.entries.iter().rev().find(|(name, _)| name == channel).map(|entry| entry.1)
    }

    /// The channels and their positions, in the order in which they are written.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.entries.iter().map(|(name, position)| (&**name, *position))
    }

    /// The same cursor, owning its names.
    pub fn into_owned(self) -> Cursor<'static> {
        let entries = self.entries.into_iter();
        let owned = entries.map(|(name, position)| (Cow::Owned(name.into_owned()), position));
        Cursor { entries: owned.collect() }
    }
}

/// Python's `int()` on ASCII, which is what the original reads a position with.
fn position(text: &str) -> Option<u64> {
    let text = text.trim_ascii();
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    match digits.parse() {
        Ok(0) => Some(0),
        Ok(number) if !negative => Some(number),
        _ => Some(u64::MAX),
    }
}

impl fmt::Display for Cursor<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, position)) in self.iter().enumerate() {
            let separator = if index == 0 { "" } else { "," };
            write!(f, "{separator}{}:{position}", encode_channel(name))?;
        }
        Ok(())
    }
}

impl core::str::FromStr for Cursor<'static> {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        Cursor::parse(text).map(Cursor::into_owned)
    }
}

impl<'a, N: Into<Cow<'a, str>>> FromIterator<(N, u64)> for Cursor<'a> {
    fn from_iter<I: IntoIterator<Item = (N, u64)>>(entries: I) -> Self {
        Self { entries: entries.into_iter().map(|(name, at)| (name.into(), at)).collect() }
    }
}

/// Text that is no cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CursorError {
    entry: usize,
    kind: Problem,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Problem {
    Shape,
    Name,
    Number,
}

impl fmt::Display for CursorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let problem = match self.kind {
            Problem::Shape => "is not channel:number",
            Problem::Name => "has a channel name that is not percent-encoded UTF-8",
            Problem::Number => "has no whole number after the colon",
        };
        write!(f, "entry {} {problem}", self.entry)
    }
}

impl core::error::Error for CursorError {}

/// An id in a form to write: [`Cursor`]'s text for one channel, without building a cursor.
///
/// ```
/// assert_eq!(sse_proto::event_id("b c", 7), "b%20c:7");
/// ```
pub fn event_id(channel: &str, position: u64) -> String {
    alloc::format!("{}:{position}", encode_channel(channel))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn what_django_eventstream_accepts_is_accepted() {
        let cursor = Cursor::parse("te%73t:4,c: 2,d:+4,test2:0,e:12 ").expect("valid");
        let positions: Vec<_> = cursor.iter().collect();
        assert_eq!(positions, [("test", 4), ("c", 2), ("d", 4), ("test2", 0), ("e", 12)]);
        assert_eq!(Cursor::parse(":5").expect("valid").position(""), Some(5));
        assert_eq!(Cursor::parse("a:1,a:2").expect("valid").position("a"), Some(2));
    }

    #[test]
    fn a_cursor_is_made_of_names_and_positions() {
        let cursor: Cursor<'_> = [("te:st", 4), ("b", 2)].into_iter().collect();
        assert_eq!(cursor.to_string(), "te%3Ast:4,b:2");
        assert_eq!(event_id("te:st", 4), "te%3Ast:4");
        assert_eq!(Cursor::parse("te%3Ast:4,b:2").expect("valid"), cursor);
    }

    #[test]
    fn a_position_that_no_log_can_have_is_beyond_every_log() {
        for text in ["a:-1", "a:18446744073709551616", "a:99999999999999999999999999"] {
            assert_eq!(Cursor::parse(text).expect("valid").position("a"), Some(u64::MAX), "{text}");
        }
        assert_eq!(Cursor::parse("a:-0").expect("valid").position("a"), Some(0));
    }

    #[test]
    fn what_is_malformed_is_refused_and_named() {
        for (text, message) in [
            ("garbage", "entry 1 is not channel:number"),
            ("a:b:c", "entry 1 is not channel:number"),
            ("", "entry 1 is not channel:number"),
            ("a:1,", "entry 2 is not channel:number"),
            ("a:1,test:abc", "entry 2 has no whole number after the colon"),
            ("test:1.5", "entry 1 has no whole number after the colon"),
            ("test:", "entry 1 has no whole number after the colon"),
            ("test:+-1", "entry 1 has no whole number after the colon"),
            ("%FF:1", "entry 1 has a channel name that is not percent-encoded UTF-8"),
        ] {
            assert_eq!(Cursor::parse(text).expect_err(text).to_string(), message);
        }
    }
}
