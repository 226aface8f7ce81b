//! Last-Event-IDs of many channels: read as django-eventstream does, and written so that they are
//! read again.

use sse_proto::{Cursor, encode_channel, event_id};

pub(crate) fn run(data: &[u8]) {
    // The one half is a text to be read, the other half names to be written.
    let (text, names) = match data.iter().position(|&byte| byte == b'\n') {
        Some(at) => (&data[..at], &data[at + 1..]),
        None => (data, &b""[..]),
    };
    if let Ok(text) = str::from_utf8(text) {
        read(text);
    }
    if let Ok(names) = str::from_utf8(names) {
        write(names);
    }
}

fn read(text: &str) {
    let expected = text.split(',').map(entry).collect::<Option<Vec<_>>>();
    let parsed = Cursor::parse(text);
    assert_eq!(parsed.is_ok(), expected.is_some(), "{text:?}: {parsed:?}");
    let (Ok(cursor), Some(expected)) = (parsed, expected) else { return };
    let entries: Vec<_> = cursor.iter().map(|(name, at)| (name.to_owned(), at)).collect();
    assert_eq!(entries, expected, "{text:?}");
    for (name, _) in &expected {
        let last = expected.iter().rev().find(|(other, _)| other == name);
        assert_eq!(cursor.position(name), last.map(|(_, at)| *at));
    }
    is_written_and_read(&cursor);
}

/// An entry by itself, in the words of section 6 of the notes on django-eventstream: `unquote`,
/// `int`.
fn entry(text: &str) -> Option<(String, u64)> {
    let [name, number] = text.split(':').collect::<Vec<_>>().try_into().ok()?;
    let mut bytes = Vec::new();
    let mut rest = name.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let hex =
            |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        match (first, tail) {
            (b'%', &[high, low, ..]) if hex(high).is_some() && hex(low).is_some() => {
                bytes.push(hex(high)? << 4 | hex(low)?);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    let name = String::from_utf8(bytes).ok()?;
    let number = number.trim_matches([' ', '\t', '\n', '\r', '\x0C']);
    let digits = number.strip_prefix(['+', '-']).unwrap_or(number);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let is_zero = digits.bytes().all(|digit| digit == b'0');
    let at = match digits.parse() {
        _ if is_zero => 0,
        Ok(at) if !number.starts_with('-') => at,
        _ => u64::MAX,
    };
    Some((name, at))
}

fn write(names: &str) {
    let mut cursor = Cursor::new();
    for (index, name) in names.split('\n').enumerate() {
        let at = (index as u64).wrapping_mul(0x0123_4567_89AB_CDEF);
        cursor.set(name, at);
        assert_eq!(cursor.position(name), Some(at));
        assert_eq!(
            event_id(name, at).parse::<Cursor<'_>>(),
            Ok([(name.to_owned(), at)].into_iter().collect())
        );
        let encoded = encode_channel(name).to_string();
        assert!(!encoded.contains([',', ':']), "{encoded}");
    }
    is_written_and_read(&cursor);
}

fn is_written_and_read(cursor: &Cursor<'_>) {
    let text = cursor.to_string();
    // It goes into a header, and into a line of a stream.
    assert!(text.bytes().all(|byte| byte.is_ascii_graphic()), "{text:?}");
    if cursor.iter().next().is_some() {
        assert_eq!(Cursor::parse(&text).as_ref(), Ok(cursor), "{text:?}");
    }
}
