//! Events to bytes.
//!
//! The order and spacing are those of django-eventstream, which every parser accepts: `event`,
//! `id`, `data`, each with one space after the colon, LF as the line end.

use bytes::{BufMut, Bytes};
use core::fmt;
use core::ops::Range;
use core::time::Duration;

use alloc::vec::Vec;

use crate::event::Event;
use crate::scan::{LineEnds, find_rare_line_end};

/// How much of the data to search for line ends together: so little that it is still in the
/// processor's nearest cache when the lines are copied.
const STRETCH: usize = 16 << 10;

/// Below this length, listing line ends costs more than it saves.
const MIN_LISTED: usize = 1024;

impl Event<'_> {
    /// Appends the event, as it goes over the wire, to `out`.
    ///
    /// Every reader takes it for exactly one event, whatever the fields hold: each line of the data
    /// (CR, LF and CRLF all end one) gets a `data` field of its own, and the type and the id
    /// have been checked by the builder.
    ///
    /// # Panics
    ///
    /// If `out` has a fixed size and it is too small; a `Vec` and a `BytesMut` grow.
    pub fn encode_into(&self, out: &mut impl BufMut) {
        self.encode_head(out);
        if let Some(id) = self.id() {
            put_field(out, b"id: ", id);
        }
        encode_tail(self.data(), out);
    }

    #[inline]
    fn encode_head(&self, out: &mut impl BufMut) {
        if !self.explicit_type().is_empty() {
            put_field(out, b"event: ", self.explicit_type());
        }
    }

    /// The length of the encoded event in bytes, if its data have no line breaks; else less.
    fn encoded_len_hint(&self) -> usize {
        let field_len = |name: &str, value: &str| name.len() + value.len();
        let event_type = match self.explicit_type() {
            "" => 0,
            event_type => field_len("event: \n", event_type),
        };
        let id = self.id().map_or(0, |id| field_len("id: \n", id));
        event_type + id + field_len("data: \n\n", self.data())
    }
}

/// The event as it goes over the wire.
impl fmt::Display for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.explicit_type().is_empty() {
            writeln!(f, "event: {}", self.explicit_type())?;
        }
        if let Some(id) = self.id() {
            writeln!(f, "id: {id}")?;
        }
        lines(self.data()).try_for_each(|line| writeln!(f, "data: {line}"))?;
        f.write_str("\n")
    }
}

#[inline]
fn put_field(out: &mut impl BufMut, name: &[u8], value: &str) {
    out.put_slice(name);
    out.put_slice(value.as_bytes());
    out.put_u8(b'\n');
}

#[inline]
fn encode_tail(data: &str, out: &mut impl BufMut) {
    let data = data.as_bytes();
    out.put_slice(b"data: ");
    let mut start = 0;
    if let Some(end) = find_rare_line_end(data) {
        start = encode_lines(data, end, out);
    }
    out.put_slice(&data[start..]);
    out.put_slice(b"\n\n");
}

/// Appends the lines of data that have an end; the first of them ends at `end`. Returns where the
/// last line begins.
#[inline(never)]
fn encode_lines(data: &[u8], first_end: usize, out: &mut impl BufMut) -> usize {
    let mut lines = Lines { data, start: 0 };
    lines.put(first_end, out);
    let mut ends = LineEnds::default();
    let mut looked_at = first_end + 1;
    while data.len() - looked_at >= MIN_LISTED {
        let stretch = &data[looked_at..data.len().min(looked_at + STRETCH)];
        let len = ends.list(stretch);
        while let Some(end) = ends.next() {
            ends.pass(1);
            lines.put(looked_at + end, out);
        }
        looked_at += len;
    }
    let rest = &data[looked_at..];
    memchr::memchr2_iter(b'\n', b'\r', rest).for_each(|end| lines.put(looked_at + end, out));
    lines.start
}

struct Lines<'a> {
    data: &'a [u8],
    /// Where the line begins that ends next.
    start: usize,
}

impl Lines<'_> {
    #[inline]
    fn put(&mut self, end: usize, out: &mut impl BufMut) {
        let is_rest_of_crlf = self.data[end] == b'\n' && end > 0 && self.data[end - 1] == b'\r';
        if !is_rest_of_crlf {
            out.put_slice(&self.data[self.start..end]);
            out.put_slice(b"\ndata: ");
        }
        self.start = end + 1;
    }
}

/// Appends a comment to `out`, which no reader takes for an event. Line breaks in the text begin a
/// further comment line. An empty comment is a usual keep-alive.
pub fn encode_comment(text: &str, out: &mut impl BufMut) {
    for line in lines(text) {
        if line.is_empty() {
            out.put_slice(b":\n");
        } else {
            put_field(out, b": ", line);
        }
    }
}

/// Appends a `retry` field to `out`: the reconnection time that the reader shall use from now on,
/// in whole milliseconds, the rest cut off.
pub fn encode_retry(reconnection_time: Duration, out: &mut impl BufMut) {
    let mut digits = [0u8; 39]; // as many as u128::MAX has
    let mut start = digits.len();
    let mut rest = reconnection_time.as_millis();
    loop {
        start -= 1;
        digits[start] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.put_slice(b"retry: ");
    out.put_slice(&digits[start..]);
    out.put_u8(b'\n');
}

/// The lines of a text: at least one, ended by CR, LF or CRLF.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    core::iter::from_fn(move || {
        let text = rest?;
        let Some(end) = memchr::memchr2(b'\n', b'\r', text.as_bytes()) else {
            return rest.take();
        };
        let line_end = if text[end..].starts_with("\r\n") { 2 } else { 1 };
        rest = Some(&text[end + line_end..]);
        Some(&text[..end])
    })
}

/// An event rendered once, to be sent on many streams.
///
/// Streams of one channel share [`bytes`](Self::bytes) as they are; a stream of several channels,
/// whose id lists them all, sends the same event [with its own id](Self::encode_with_id), and the
/// rest is still the same memory.
///
/// ```
/// use sse_proto::{Event, Rendered};
///
/// let event = Event::builder("hello").event_type("greeting").id("b:3").build()?;
/// let rendered = Rendered::new(&event);
/// assert_eq!(rendered.bytes(), "event: greeting\nid: b:3\ndata: hello\n\n");
///
/// let mut out = Vec::new();
/// rendered.encode_with_id("a:8,b:3", &mut out);
/// assert_eq!(out, b"event: greeting\nid: a:8,b:3\ndata: hello\n\n");
/// # Ok::<(), sse_proto::InvalidField>(())
/// ```
#[derive(Clone, Debug)]
pub struct Rendered {
    bytes: Bytes,
    /// Where the whole `id` line is, line end included; empty if there is none.
    id_line: Range<usize>,
}

impl Rendered {
    /// Renders an event.
    pub fn new(event: &Event<'_>) -> Self {
        let mut out = Vec::with_capacity(event.encoded_len_hint());
        event.encode_head(&mut out);
        let id_start = out.len();
        if let Some(id) = event.id() {
            put_field(&mut out, b"id: ", id);
        }
        let id_line = id_start..out.len();
        encode_tail(event.data(), &mut out);
        Self { bytes: Bytes::from(out), id_line }
    }

    /// The whole event with the id it was rendered with.
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// What comes before the `id` line: the `event` line, if there is one.
    pub fn head(&self) -> &[u8] {
        &self.bytes[..self.id_line.start]
    }

    /// What comes after the `id` line: the `data` lines and the blank one.
    pub fn tail(&self) -> &[u8] {
        &self.bytes[self.id_line.end..]
    }

    /// Appends the event with another id in the place of its own, for example a
    /// [`Cursor`](crate::Cursor) written out.
    ///
    /// # Panics
    ///
    /// If the id contains CR, LF or NUL: written out it would not be one event with that id.
    pub fn encode_with_id(&self, id: &str, out: &mut impl BufMut) {
        assert!(
            memchr::memchr3(b'\r', b'\n', 0, id.as_bytes()).is_none(),
            "an id cannot contain CR, LF or NUL"
        );
        out.put_slice(self.head());
        put_field(out, b"id: ", id);
        out.put_slice(self.tail());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::{String, ToString};

    fn encoded(event: &Event<'_>) -> String {
        let mut out = Vec::new();
        event.encode_into(&mut out);
        assert_eq!(out, event.to_string().into_bytes());
        assert_eq!(Rendered::new(event).bytes(), &out);
        String::from_utf8(out).expect("text in, text out")
    }

    #[test]
    fn fields_are_written_in_django_eventstreams_order_and_spacing() {
        let event = Event::builder("line1\nline2\r\nline3\rline4")
            .event_type("greeting")
            .id("test:2")
            .build();
        assert_eq!(
            encoded(&event.expect("valid")),
            "event: greeting\nid: test:2\n\
             data: line1\ndata: line2\ndata: line3\ndata: line4\n\n"
        );
        assert_eq!(encoded(&Event::new("")), "data: \n\n");
        assert_eq!(encoded(&Event::new("\n")), "data: \ndata: \n\n");
        assert_eq!(encoded(&Event::new("a\n\r\n")), "data: a\ndata: \ndata: \n\n");
    }

    /// `Display` takes the lines one by one; `encode_into` has ways of its own for long data.
    #[test]
    fn long_data_are_written_as_short_ones_are() {
        let mut rng = fastrand::Rng::with_seed(1);
        for round in 0..600 {
            // From hardly anything but line breaks to hardly any.
            let others = 1 << (round % 14);
            let len = [100, 2000, 40_000][round % 3];
            let data: String = (0..rng.usize(..len))
                .map(|_| match rng.u32(..others + 3) {
                    0 => "\n",
                    1 => "\r",
                    2 => "\r\n",
                    _ => ["a", "\t", "\0", "\u{8a}", "é"][rng.usize(..5)],
                })
                .collect();
            encoded(&Event::new(&data));
        }
    }

    #[test]
    fn a_comment_cannot_become_anything_else() {
        let mut out = Vec::new();
        encode_comment("", &mut out);
        encode_comment("a\ndata: b\r\n\revent: c", &mut out);
        assert_eq!(out, b":\n: a\n: data: b\n:\n: event: c\n");
    }

    #[test]
    fn a_reconnection_time_is_written_in_milliseconds() {
        let mut out = Vec::new();
        for time in [Duration::ZERO, Duration::from_micros(1_500_900), Duration::MAX] {
            encode_retry(time, &mut out);
        }
        assert_eq!(out, b"retry: 0\nretry: 1500\nretry: 18446744073709551615999\n");
    }

    #[test]
    #[should_panic(expected = "cannot contain CR, LF or NUL")]
    fn an_id_that_would_inject_is_not_rendered() {
        Rendered::new(&Event::new("x")).encode_with_id("1\ndata: y", &mut Vec::new());
    }
}
