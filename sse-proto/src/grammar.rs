//! The grammar of an event stream: where a line ends, and what one complete line is.
//!
//! WHATWG HTML, section 9.2.5, "Parsing an event stream", gives this ABNF. Each production that has
//! work to do stands again above the parser that does it; the others are here so that nothing is
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
//! Nothing here knows what a field means or remembers anything: that is the decoder's part.

use nom::branch::alt;
use nom::bytes::complete::tag;
use nom::combinator::{eof, rest, value};
use nom::error::{Error, ErrorKind, ParseError};
use nom::sequence::{preceded, terminated};
use nom::{IResult, Mode, Needed, PResult, Parser};

/// The byte order mark in UTF-8.
pub(crate) const BOM: &[u8] = b"\xEF\xBB\xBF";

/// One line of an event stream, without its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line<'a> {
    /// An empty line: the event is complete.
    Blank,
    /// What follows the colon of a line that starts with one.
    Comment(&'a [u8]),
    /// A field that the standard gives a meaning to, with its value.
    Field(Name, &'a [u8]),
    /// "Otherwise: the field is ignored."
    Unknown,
}

/// The field names of section 9.2.6, which are compared "literally, with no case folding".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    Event,
    Data,
    Id,
    Retry,
}

/// Takes one line off the front of `input`, or asks for more where no line end is in sight.
///
/// A CR at the very end of `input` ends its line: whether an LF follows is not waited for, so the
/// caller must drop an LF that comes first in the next input.
#[inline]
pub(crate) fn line_of_stream(input: &[u8]) -> IResult<&[u8], &[u8]> {
    terminated(AnyChars, end_of_line).parse(input)
}

/// The same where it is known that the first line end is at `end`, for a line that is followed by
/// something: then a CR needs no thought about what may come next. `None` for a CR that is not.
#[inline]
pub(crate) fn inner_line(input: &[u8], end: usize) -> Option<(&[u8], &[u8])> {
    Some((input.get(..end)?, input.get(end_of_inner_line(input, end)?..)?))
}

/// Where the next line begins, under the same conditions.
#[inline]
pub(crate) fn end_of_inner_line(input: &[u8], end: usize) -> Option<usize> {
    match input.get(end..)? {
        [b'\r', b'\n', ..] => Some(end + 2),
        [b'\n', ..] | [b'\r', _, ..] => Some(end + 1),
        _ => None,
    }
}

/// A whole event of the most common shape, one line of data, whose first line end is at `end`: its
/// value, and what follows. `None` says nothing about what else the input may be.
#[inline]
pub(crate) fn data_event(input: &[u8], end: usize) -> Option<(&[u8], &[u8])> {
    let (line, rest) = input.split_at_checked(end)?;
    let (b"data:", value) = line.split_first_chunk()? else {
        return None;
    };
    match rest {
        [b'\n', b'\n', rest @ ..] | [b'\r', b'\n', b'\r', b'\n', rest @ ..] => {
            Some((value.strip_prefix(b" ").unwrap_or(value), rest))
        }
        _ => None,
    }
}

/// ```abnf
/// end-of-line   = ( cr lf / cr / lf )
/// ```
#[inline]
fn end_of_line(input: &[u8]) -> IResult<&[u8], &[u8]> {
    match input {
        [b'\r', b'\n', rest @ ..] | [b'\n' | b'\r', rest @ ..] => Ok((rest, &[])),
        _ => Err(nom::Err::Incomplete(Needed::new(1))),
    }
}

/// ```abnf
/// *any-char
/// ```
///
/// up to a line end, which must be there. A leaf of its own, because nom's stock `take_while` looks at
/// one byte at a time.
struct AnyChars;

impl<'a> Parser<&'a [u8]> for AnyChars {
    type Output = &'a [u8];
    type Error = Error<&'a [u8]>;

    #[inline]
    fn process<OM: nom::OutputMode>(
        &mut self,
        input: &'a [u8],
    ) -> PResult<OM, &'a [u8], Self::Output, Self::Error> {
        match first_line_end(input) {
            Some(end) => Ok((&input[end..], OM::Output::bind(|| &input[..end]))),
            None => Err(nom::Err::Incomplete(Needed::new(1))),
        }
    }
}

/// Where the first CR or LF is.
#[inline]
fn first_line_end(input: &[u8]) -> Option<usize> {
    // memchr has no quicker way than this on WebAssembly, and is more code.
    if input.len() > SHORT && !cfg!(target_arch = "wasm32") {
        return memchr::memchr2(b'\n', b'\r', input);
    }
    // The high bit of the lowest byte that is zero is set, and none below it.
    let zeros = |word: u64| word.wrapping_sub(everywhere(1)) & !word & everywhere(0x80);
    let (words, rest) = words(input);
    for (index, word) in words.enumerate() {
        let word = u64::from_le_bytes(word);
        let ends = zeros(word ^ everywhere(b'\n')) | zeros(word ^ everywhere(b'\r'));
        if ends != 0 {
            return Some(index * 8 + ends.trailing_zeros() as usize / 8);
        }
    }
    let in_rest = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r'))?;
    Some(input.len() - rest.len() + in_rest)
}

/// Whether this is a few bytes that certainly have no line end: none is below 14, as hardly any is in
/// text that is no line end.
#[inline]
pub(crate) fn is_short_piece(input: &[u8]) -> bool {
    // The high bit of the lowest byte below 14 is set, and if there is none, none is.
    let below_14 = |word: u64| word.wrapping_sub(everywhere(14)) & !word & everywhere(0x80);
    let (words, rest) = words(input);
    input.len() <= SHORT
        && words.fold(0, |found, word| found | below_14(u64::from_le_bytes(word))) == 0
        && rest.iter().all(|&byte| byte >= 14)
}

/// The bytes, eight at a time, and what is left of them: `as_chunks`, which is younger than Rust 1.85.
#[inline]
pub(crate) fn words(bytes: &[u8]) -> (impl Iterator<Item = [u8; 8]>, &[u8]) {
    let words = bytes.chunks_exact(8);
    let rest = words.remainder();
    (words.map(|word| word.first_chunk().copied().unwrap_or_default()), rest)
}

/// How many bytes are better searched by ourselves, eight at a time: `memchr2` has found out which
/// instructions it may use before this is done. In chunks of 16 bytes that is a quarter of the speed.
const SHORT: usize = 32;

/// A byte in each place of a number.
const fn everywhere(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

/// What a complete line is. Every sequence of bytes without CR and LF is some line, so this cannot
/// fail.
#[inline]
pub(crate) fn line(input: &[u8]) -> Line<'_> {
    alt((blank, field, comment, unknown)).parse(input).map_or(Line::Unknown, |(_, line)| line)
}

/// "If the line is empty (a blank line): dispatch the event."
#[inline]
fn blank(input: &[u8]) -> IResult<&[u8], Line<'_>> {
    value(Line::Blank, eof).parse(input)
}

/// ```abnf
/// comment       = colon *any-char end-of-line
/// ```
#[inline]
fn comment(input: &[u8]) -> IResult<&[u8], Line<'_>> {
    preceded(tag(":"), rest).map(Line::Comment).parse(input)
}

/// ```abnf
/// field         = 1*name-char [ colon [ space ] *any-char ] end-of-line
/// ```
///
/// where the name is one of the four that mean something.
#[inline]
fn field(input: &[u8]) -> IResult<&[u8], Line<'_>> {
    let (input, name) = name(input)?;
    let (input, value) = field_value(input)?;
    Ok((input, Line::Field(name, value)))
}

/// The same by itself, for lines of which nearly all are such fields.
#[inline]
pub(crate) fn known_field(input: &[u8]) -> Option<(Name, &[u8])> {
    let (input, name) = name(input).ok()?;
    let (_, value) = field_value(input).ok()?;
    Some((name, value))
}

/// The names that mean something, "compared literally, with no case folding".
///
/// A leaf of its own, and the next one too, because nom's `tag` compares byte by byte in a loop: with
/// it, decoding short events takes 1.3 times as long.
#[inline]
fn name(input: &[u8]) -> IResult<&[u8], Name> {
    match input {
        [b'd', b'a', b't', b'a', rest @ ..] => Ok((rest, Name::Data)),
        [b'e', b'v', b'e', b'n', b't', rest @ ..] => Ok((rest, Name::Event)),
        [b'i', b'd', rest @ ..] => Ok((rest, Name::Id)),
        [b'r', b'e', b't', b'r', b'y', rest @ ..] => Ok((rest, Name::Retry)),
        _ => Err(nom::Err::Error(Error::from_error_kind(input, ErrorKind::Tag))),
    }
}

/// ```abnf
/// [ colon [ space ] *any-char ]
/// ```
///
/// "If value starts with a U+0020 SPACE character, remove it from value." Without a colon, "process
/// the field using the whole line as the field name, and the empty string as the field value."
#[inline]
fn field_value(input: &[u8]) -> IResult<&[u8], &[u8]> {
    match input {
        [b':', b' ', value @ ..] | [b':', value @ ..] => Ok((&[], value)),
        [] => Ok((&[], &[])),
        _ => Err(nom::Err::Error(Error::from_error_kind(input, ErrorKind::Char))),
    }
}

/// A field of any other name: `1*name-char`, with or without a value.
#[inline]
fn unknown(input: &[u8]) -> IResult<&[u8], Line<'_>> {
    value(Line::Unknown, rest).parse(input)
}

/// The value of `retry`: "If the field value consists of only ASCII digits, then interpret the
/// field value as an integer in base ten". The standard sets no upper bound; a number beyond `u64`
/// becomes `u64::MAX`. An empty value is no number.
pub(crate) fn milliseconds(value: &[u8]) -> Option<u64> {
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
    fn a_line_ends_at_lf_cr_or_crlf_and_at_nothing_else() {
        assert_eq!(line_of_stream(b"a\nb"), Ok((&b"b"[..], &b"a"[..])));
        assert_eq!(line_of_stream(b"a\rb"), Ok((&b"b"[..], &b"a"[..])));
        assert_eq!(line_of_stream(b"a\r\nb"), Ok((&b"b"[..], &b"a"[..])));
        assert_eq!(line_of_stream(b"a\r"), Ok((&b""[..], &b"a"[..])), "a CR is acted on at once");
        let no_line_end = b"a\x0B\x0C\xC2\x85\xE2\x80\xA8\xE2\x80\xA9\0b";
        assert!(line_of_stream(no_line_end).is_err_and(|error| error.is_incomplete()));
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

    #[test]
    fn retry_takes_ascii_digits_only_and_saturates() {
        assert_eq!(milliseconds(b"0"), Some(0));
        assert_eq!(milliseconds(b"0001500"), Some(1500));
        assert_eq!(milliseconds(b"18446744073709551616"), Some(u64::MAX));
        assert_eq!(milliseconds(&[b'9'; 400]), Some(u64::MAX));
        for refused in [&b""[..], b"+5", b"-5", b"5x", b" 5", b"5 ", b"1.5", b"\xD9\xA3"] {
            assert_eq!(milliseconds(refused), None, "{refused:?}");
        }
    }
}
