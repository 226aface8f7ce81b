//! The interpretation of an event stream: what a line does to the buffers, and when an event is
//! dispatched.
//!
//! WHATWG HTML, section 9.2.6, "Interpreting an event stream", in its own words beside the lines
//! that do it. This is the only place that knows what a field means: the
//! [`Decoder`](crate::Decoder) and the browser's client each bring [`Buffers`] of their own, and
//! hand over one line after the other.
//!
//! ```
//! use sse_proto::interpret::{Buffers, Effect, process};
//!
//! /// The buffers as the standard has them.
//! #[derive(Default)]
//! struct Plain { data: Vec<u8>, event_type: Vec<u8>, last_event_id: Vec<u8>, committed: Vec<u8> }
//!
//! impl Buffers<'_> for Plain {
//!     type Refusal = ();
//!
//!     fn set_event_type(&mut self, value: &[u8]) -> Result<(), ()> {
//!         Ok(self.event_type = value.to_vec())
//!     }
//!     fn append_data(&mut self, value: &[u8]) -> Result<(), ()> {
//!         Ok(self.data.extend([value, b"\n"].concat()))
//!     }
//!     fn set_last_event_id(&mut self, value: &[u8]) -> Result<(), ()> {
//!         Ok(self.last_event_id = value.to_vec())
//!     }
//!     fn commit_last_event_id(&mut self) {
//!         self.committed.clone_from(&self.last_event_id);
//!     }
//!     fn has_data(&self) -> bool {
//!         !self.data.is_empty()
//!     }
//!     fn clear(&mut self) {
//!         self.data.clear();
//!         self.event_type.clear();
//!     }
//! }
//!
//! let mut buffers = Plain::default();
//! for line in ["event: greeting", "data: hello", "id: 7"] {
//!     assert_eq!(process(line.as_bytes(), &mut buffers), Ok(Effect::Nothing));
//! }
//! assert_eq!(process(b"", &mut buffers), Ok(Effect::Dispatch));
//! assert_eq!((&buffers.data[..], &buffers.event_type[..]), (&b"hello\n"[..], &b"greeting"[..]));
//! assert_eq!(buffers.committed, b"7");
//! ```

use crate::grammar::{self, Line, Name};

/// "When a stream is parsed, a data buffer, an event type buffer, and a last event ID buffer must
/// be associated with it. They must be initialized to the empty string."
///
/// The last event ID buffer is seeded instead, with what the event source has: taken literally, the
/// first blank line of a new connection would forget the ID that the connection was resumed with,
/// and no browser does that.
///
/// `'l` is how long the bytes of a line live: the buffers may borrow from them.
pub trait Buffers<'l> {
    /// Why a value is not taken. The standard has no limits; buffers do.
    type Refusal;

    /// Sets the event type buffer.
    ///
    /// # Errors
    ///
    /// If the value is too long.
    fn set_event_type(&mut self, value: &'l [u8]) -> Result<(), Self::Refusal>;

    /// Appends the value, then an LF, to the data buffer. To put the LF before the next value
    /// instead comes to the same, and leaves no last one to remove.
    ///
    /// # Errors
    ///
    /// If the data have become too long.
    fn append_data(&mut self, value: &'l [u8]) -> Result<(), Self::Refusal>;

    /// Sets the last event ID buffer.
    ///
    /// # Errors
    ///
    /// If the value is too long.
    fn set_last_event_id(&mut self, value: &'l [u8]) -> Result<(), Self::Refusal>;

    /// Sets the last event ID string of the event source to the last event ID buffer.
    fn commit_last_event_id(&mut self);

    /// Whether the data buffer is not an empty string: whether there was a `data` field, for even
    /// one without a value has appended an LF.
    fn has_data(&self) -> bool;

    /// Sets the data buffer and the event type buffer to the empty string.
    fn clear(&mut self);
}

/// What a line leads to, besides what it has done to the buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect<'l> {
    /// Nothing. Read the next line.
    Nothing,
    /// The event in the buffers is complete. Deliver it, then [clear](Buffers::clear) them.
    Dispatch,
    /// The event stream's reconnection time is this, in milliseconds.
    Retry(u64),
    /// The standard ignores a comment. This is what stands after the colon.
    Comment(&'l [u8]),
}

/// "Lines must be processed, in the order they are received, as follows:"
///
/// The line is complete, and without its end.
///
/// # Errors
///
/// If the buffers refuse a value.
#[inline]
pub fn process<'l, B: Buffers<'l>>(
    line: &'l [u8],
    buffers: &mut B,
) -> Result<Effect<'l>, B::Refusal> {
    match grammar::line(line) {
        // "If the line is empty (a blank line): Dispatch the event, as defined below."
        Line::Blank => Ok(dispatch(buffers)),
        // "If the line starts with a U+003A COLON character (:): Ignore the line."
        Line::Comment(comment) => Ok(Effect::Comment(comment)),
        // "If the line contains a U+003A COLON character (:) [...] Process the field using the
        // steps described below, using field as the field name and value as the field value.
        // Otherwise [...] using the whole line as the field name, and the empty string as the field
        // value."
        Line::Field(name, value) => process_field(name, value, buffers),
        // "Otherwise: The field is ignored."
        Line::Unknown => Ok(Effect::Nothing),
    }
}

/// "The steps to process the field given a field name and a field value depend on the field name,
/// as given in the following list."
#[inline]
pub(crate) fn process_field<'l, B: Buffers<'l>>(
    name: Name,
    value: &'l [u8],
    buffers: &mut B,
) -> Result<Effect<'l>, B::Refusal> {
    match name {
        // "Set the event type buffer to the field value."
        Name::Event => buffers.set_event_type(value)?,
        // "Append the field value to the data buffer, then append a single U+000A LINE FEED (LF)
        // character to the data buffer."
        Name::Data => buffers.append_data(value)?,
        // "If the field value does not contain U+0000 NULL, then set the last event ID buffer to
        // the field value. Otherwise, ignore the field."
        Name::Id if has_nul(value) => {}
        Name::Id => buffers.set_last_event_id(value)?,
        // "If the field value consists of only ASCII digits, then interpret the field value as an
        // integer in base ten, and set the event stream's reconnection time to that integer.
        // Otherwise, ignore the field."
        Name::Retry => return Ok(integer(value).map_or(Effect::Nothing, Effect::Retry)),
    }
    Ok(Effect::Nothing)
}

/// "When the user agent is required to dispatch the event, the user agent must process the event
/// using the appropriate steps for the user agent."
#[inline]
pub(crate) fn dispatch<'l>(buffers: &mut impl Buffers<'l>) -> Effect<'l> {
    // "1. Set the last event ID string of the event source to the value of the last event ID
    // buffer. The buffer does not get reset, so the last event ID string of the event source
    // remains set to this value until the next time it is set by the server."
    buffers.commit_last_event_id();
    // "2. If the data buffer is an empty string, set the data buffer and the event type buffer to
    // the empty string and return."
    if !buffers.has_data() {
        buffers.clear();
        return Effect::Nothing;
    }
    // Steps 3 to 8 make the event of the buffers, clear them, and dispatch it: that is the
    // reader's.
    Effect::Dispatch
}

/// "U+0000 NULL" is one byte in UTF-8, and in no other character. An id is short, so nothing
/// quicker is worth its code.
#[inline]
#[expect(clippy::manual_contains, reason = "`contains` is more code")]
fn has_nul(value: &[u8]) -> bool {
    value.iter().any(|&byte| byte == 0)
}

/// "If the field value consists of only ASCII digits, then interpret the field value as an integer
/// in base ten". An empty value has no digits to be interpreted. The standard sets no upper bound;
/// a number beyond `u64` becomes `u64::MAX`.
fn integer(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    value.iter().try_fold(0u64, |number, byte| {
        let digit = u64::from(byte.is_ascii_digit().then(|| byte - b'0')?);
        // `saturating_mul` is a function of its own where there are no 128 bits.
        Some(if number > u64::MAX / 10 { u64::MAX } else { (number * 10).saturating_add(digit) })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_takes_ascii_digits_only_and_saturates() {
        assert_eq!(integer(b"0"), Some(0));
        assert_eq!(integer(b"0001500"), Some(1500));
        assert_eq!(integer(b"18446744073709551610"), Some(u64::MAX - 5));
        assert_eq!(integer(b"18446744073709551616"), Some(u64::MAX));
        assert_eq!(integer(&[b'9'; 400]), Some(u64::MAX));
        for refused in [&b""[..], b"+5", b"-5", b"5x", b" 5", b"5 ", b"1.5", b"\xD9\xA3"] {
            assert_eq!(integer(refused), None, "{refused:?}");
        }
    }
}
