//! The grammar of an event stream: where a line ends, and what one complete line is.
//!
//! WHATWG HTML, section 9.2.5, "Parsing an event stream", gives this ABNF. Each production that has
//! work to do stands again above the only code that does it; the others are here so that nothing is
//! left out.
//!
//! ```abnf
//! stream        = [ bom ] *event
//! event         = *( comment / field ) end-of-line
//! comment       = colon *any-char end-of-line
//! field         = 1*name-char [ colon [ space ] *any-char ] end-of-line
//! end-of-line   = ( cr lf / cr / lf )
//!
//! lf            = %x000A ; U+000A LINE FEED (LF)
//! cr            = %x000D ; U+000D CARRIAGE RETURN (CR)
//! space         = %x0020 ; U+0020 SPACE
//! colon         = %x003A ; U+003A COLON (:)
//! bom           = %xFEFF ; U+FEFF BYTE ORDER MARK
//! name-char     = %x0000-0009 / %x000B-000C / %x000E-0039 / %x003B-10FFFF
//!                 ; a scalar value other than LF, CR or colon
//! any-char      = %x0000-0009 / %x000B-000C / %x000E-10FFFF
//!                 ; a scalar value other than LF or CR
//! ```
//!
//! The parsers work on bytes. LF, CR, space and colon are ASCII, and no byte of a longer UTF-8
//! sequence is ASCII, so splitting before decoding finds the same lines, names and values as the
//! standard's decoding before splitting.
//!
//! Nothing here knows what a field means or remembers anything: that is
//! [`interpret`](crate::interpret).

use crate::scan::find_line_end;

/// ```abnf
/// bom           = %xFEFF ; U+FEFF BYTE ORDER MARK
/// ```
///
/// in UTF-8. "The UTF-8 decode algorithm strips one leading UTF-8 Byte Order Mark (BOM), if any."
pub const BOM: &[u8] = b"\xEF\xBB\xBF";

/// One line of an event stream, without its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// An empty line: the event is complete.
    Blank,
    /// What follows the colon of a line that starts with one.
    Comment(&'a [u8]),
    /// A field that the standard gives a meaning to, with its value.
    Field(Name, &'a [u8]),
    /// A field of any other name, which "is ignored".
    Unknown,
}

/// The names of the fields that section 9.2.6 gives a meaning to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    /// `event`: the type of the event.
    Event,
    /// `data`: one line of its data.
    Data,
    /// `id`: the last event ID as of it.
    Id,
    /// `retry`: the reconnection time.
    Retry,
}

/// Takes the first line off `input`, and returns it without its end, and the rest. `None` if no
/// line ends in `input`.
///
/// A CR at the very end of `input` ends its line: whether an LF follows is not waited for, so the
/// caller must drop an LF that comes first in the next input.
#[inline]
pub fn first_line(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let (any_chars, rest) = input.split_at(find_line_end(input)?);
    Some((any_chars, end_of_line(rest)?))
}

/// ```abnf
/// end-of-line   = ( cr lf / cr / lf )
/// ```
#[inline]
pub(crate) fn end_of_line(input: &[u8]) -> Option<&[u8]> {
    match input {
        [b'\r', b'\n', rest @ ..] | [b'\n' | b'\r', rest @ ..] => Some(rest),
        _ => None,
    }
}

/// What a complete line is. Every sequence of bytes without CR and LF is some line, so this cannot
/// fail.
///
/// ```
/// use sse_proto::grammar::{Line, Name, line};
///
/// assert_eq!(line(b"data: hello"), Line::Field(Name::Data, b"hello"));
/// assert_eq!(line(b":hello"), Line::Comment(b"hello"));
/// assert_eq!(line(b"hello"), Line::Unknown);
/// ```
#[inline]
pub fn line(input: &[u8]) -> Line<'_> {
    match input {
        // "If the line is empty (a blank line)"
        [] => Line::Blank,
        // comment = colon *any-char end-of-line
        [b':', comment @ ..] => Line::Comment(comment),
        _ => field(input).map_or(Line::Unknown, |(name, value)| Line::Field(name, value)),
    }
}

/// ```abnf
/// field         = 1*name-char [ colon [ space ] *any-char ] end-of-line
/// ```
///
/// where the name is one of the four that mean something.
#[inline]
pub(crate) fn field(input: &[u8]) -> Option<(Name, &[u8])> {
    let (name, input) = name(input)?;
    Some((name, field_value(input)?))
}

/// "Field names must be compared literally, with no case folding performed."
#[inline]
fn name(input: &[u8]) -> Option<(Name, &[u8])> {
    const NAMES: [(&[u8], Name); 4] = [
        (b"data", Name::Data),
        (b"event", Name::Event),
        (b"id", Name::Id),
        (b"retry", Name::Retry),
    ];
    NAMES.iter().find_map(|(name, known)| Some((*known, input.strip_prefix(*name)?)))
}

/// ```abnf
/// [ colon [ space ] *any-char ]
/// ```
///
/// "If value starts with a U+0020 SPACE character, remove it from value." Without a colon, "process
/// the field using [...] the whole line as the field name, and the empty string as the field
/// value".
#[inline]
fn field_value(input: &[u8]) -> Option<&[u8]> {
    match input {
        [b':', b' ', value @ ..] | [b':', value @ ..] => Some(value),
        // Itself, so that it is a part of the line as every other value is.
        [] => Some(input),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_ends_at_lf_cr_or_crlf_and_at_nothing_else() {
        let a_and = |rest: &'static [u8]| Some((&b"a"[..], rest));
        assert_eq!(first_line(b"a\nb"), a_and(b"b"));
        assert_eq!(first_line(b"a\rb"), a_and(b"b"));
        assert_eq!(first_line(b"a\r\nb"), a_and(b"b"));
        assert_eq!(first_line(b"a\r"), a_and(b""), "a CR is acted on at once");
        let no_line_end = b"a\x0B\x0C\xC2\x85\xE2\x80\xA8\xE2\x80\xA9\0b";
        assert_eq!(first_line(no_line_end), None);
    }

    #[test]
    fn a_line_is_blank_a_comment_a_field_or_unknown() {
        assert_eq!(line(b""), Line::Blank);
        assert_eq!(line(b":"), Line::Comment(b""));
        assert_eq!(line(b": a:b"), Line::Comment(b" a:b"));
        assert_eq!(line(b"data"), Line::Field(Name::Data, b""));
        assert_eq!(line(b"data:"), Line::Field(Name::Data, b""));
        assert_eq!(line(b"data:  a: b"), Line::Field(Name::Data, b" a: b"));
        assert_eq!(line(b"data:\ta"), Line::Field(Name::Data, b"\ta"));
        assert_eq!(line(b"event: x"), Line::Field(Name::Event, b"x"));
        assert_eq!(line(b"id: 7"), Line::Field(Name::Id, b"7"));
        assert_eq!(line(b"retry:7"), Line::Field(Name::Retry, b"7"));
        for other in [&b"Data: x"[..], b" data: x", b"data : x", b"datax", b"dat", b"i", b"x:y"] {
            assert_eq!(line(other), Line::Unknown, "{other:?}");
        }
    }
}
