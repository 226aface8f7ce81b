//! Events in one value: what a row of the table `block` holds.
//!
//! ```text
//! version   1 byte, 1
//! size      4 bytes, little-endian: of the lengths
//! lengths   of each event: type, data, how many users do not get it, the name of each of these
//!           (of type, data and names in bytes)
//! text      of each event: its type, its data, and those names
//! ```
//!
//! A length is in bytes, in base 128, the low digits first, each but the last with the high bit
//! (LEB128). The text is one piece of UTF-8, so that it is checked once.

use std::fmt;

use rusqlite::types::Type;

use crate::storage::NewEvent;

const VERSION: u8 = 1;

/// How many events a block has at most, and how many bytes; an event that is larger has one of its
/// own. A reader takes a block whole, so it is about as much as a reader is handed at once.
pub(super) const MOST_EVENTS: usize = 128;
const MOST_BYTES: usize = 32 << 10;

/// What stands before the lengths.
const HEADER: usize = 5;

/// A block that events are added to.
#[derive(Debug, Default)]
pub(super) struct Block {
    count: usize,
    lengths: Vec<u8>,
    text: String,
}

impl Block {
    /// Adds an event. None: it is full, and nothing was done.
    pub(super) fn add<'a>(
        &mut self,
        event_type: &str,
        data: &str,
        users: impl ExactSizeIterator<Item = &'a str>,
    ) -> Option<()> {
        self.has_room(1, event_type.len() + data.len()).then_some(())?;
        put_length(event_type.len(), &mut self.lengths);
        put_length(data.len(), &mut self.lengths);
        put_length(users.len(), &mut self.lengths);
        self.text.push_str(event_type);
        self.text.push_str(data);
        for user in users {
            put_length(user.len(), &mut self.lengths);
            self.text.push_str(user);
        }
        self.count += 1;
        Some(())
    }

    /// The same, of an event that is new.
    pub(super) fn add_new(&mut self, event: &NewEvent) -> Option<()> {
        let users = event.skip_users.iter().map(|user| &**user);
        self.add(&event.event_type, &event.data, users)
    }

    /// Adds all events of another block, which come after its own. None: there is no room for all,
    /// and nothing was done.
    pub(super) fn extend(&mut self, other: &Self) -> Option<()> {
        self.has_room(other.count, other.text.len()).then_some(())?;
        self.lengths.extend_from_slice(&other.lengths);
        self.text.push_str(&other.text);
        self.count += other.count;
        Some(())
    }

    /// Whether there is room for so many events, which have so many bytes. The first always has
    /// it.
    const fn has_room(&self, events: usize, bytes: usize) -> bool {
        self.count == 0
            || (self.count + events <= MOST_EVENTS && self.text.len() + bytes <= MOST_BYTES)
    }

    /// How many events it has.
    pub(super) const fn count(&self) -> usize {
        self.count
    }

    /// The value.
    pub(super) fn encode(&self) -> Vec<u8> {
        encode(&self.lengths, &self.text)
    }
}

fn encode(lengths: &[u8], text: &str) -> Vec<u8> {
    let mut value = Vec::with_capacity(HEADER + lengths.len() + text.len());
    value.push(VERSION);
    let size = u32::try_from(lengths.len()).expect("a request has fewer users than that");
    value.extend_from_slice(&size.to_le_bytes());
    value.extend_from_slice(lengths);
    value.extend_from_slice(text.as_bytes());
    value
}

/// A value that no version up to this one has written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a block of events in the file is damaged, or of a later sse-server")
    }
}

impl std::error::Error for Malformed {}

impl From<Malformed> for rusqlite::Error {
    fn from(malformed: Malformed) -> Self {
        Self::FromSqlConversionFailure(0, Type::Blob, Box::new(malformed))
    }
}

/// What is in an event.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Content<'a> {
    pub(super) event_type: &'a str,
    pub(super) data: &'a str,
    /// Those who do not get it.
    pub(super) users: Vec<&'a str>,
}

/// The events in a value, in order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Events<'a> {
    lengths: &'a [u8],
    text: &'a str,
}

impl<'a> Events<'a> {
    pub(super) fn parse(value: &'a [u8]) -> Result<Self, Malformed> {
        let (&[version, ref size @ ..], rest) =
            value.split_first_chunk::<HEADER>().ok_or(Malformed)?;
        let size = usize::try_from(u32::from_le_bytes(*size)).map_err(|_| Malformed)?;
        let (lengths, text) = rest.split_at_checked(size).ok_or(Malformed)?;
        let text = str::from_utf8(text).map_err(|_| Malformed)?;
        if version == VERSION { Ok(Self { lengths, text }) } else { Err(Malformed) }
    }

    /// The next event.
    pub(super) fn next(&mut self) -> Result<Content<'a>, Malformed> {
        let (event_type, data) = self.next_text()?;
        let count = self.length()?;
        let user = |_| self.length().and_then(|len| self.take(len));
        Ok(Content { event_type, data, users: (0..count).map(user).collect::<Result<_, _>>()? })
    }

    /// Passes over so many events.
    pub(super) fn skip(&mut self, count: usize) -> Result<(), Malformed> {
        for _ in 0..count {
            self.next_text()?;
            for _ in 0..self.length()? {
                let len = self.length()?;
                self.take(len)?;
            }
        }
        Ok(())
    }

    /// What is left, as a value.
    pub(super) fn encode(&self) -> Vec<u8> {
        encode(self.lengths, self.text)
    }

    fn next_text(&mut self) -> Result<(&'a str, &'a str), Malformed> {
        let (event_type, data) = (self.length()?, self.length()?);
        Ok((self.take(event_type)?, self.take(data)?))
    }

    fn take(&mut self, len: usize) -> Result<&'a str, Malformed> {
        let (text, rest) = self.text.split_at_checked(len).ok_or(Malformed)?;
        self.text = rest;
        Ok(text)
    }

    fn length(&mut self) -> Result<usize, Malformed> {
        let mut length = 0;
        for shift in (0..usize::BITS).step_by(7) {
            let (&digit, rest) = self.lengths.split_first().ok_or(Malformed)?;
            self.lengths = rest;
            length |= usize::from(digit & 0x7f).checked_shl(shift).ok_or(Malformed)?;
            if digit < 0x80 {
                return Ok(length);
            }
        }
        Err(Malformed)
    }
}

fn put_length(mut length: usize, out: &mut Vec<u8>) {
    while length >= 0x80 {
        out.push(u8::try_from(length & 0x7f).expect("seven bits") | 0x80);
        length >>= 7;
    }
    out.push(u8::try_from(length).expect("seven bits"));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Written = (String, String, Vec<String>);

    /// A block of as many of these as it takes.
    fn block(events: &[Written]) -> Block {
        let mut block = Block::default();
        for (event_type, data, users) in events {
            let users = users.iter().map(|user| &**user);
            if block.add(event_type, data, users).is_none() {
                break;
            }
        }
        block
    }

    fn read(value: &[u8], count: usize) -> Result<Vec<Written>, Malformed> {
        let mut events = Events::parse(value)?;
        let owned = |Content { event_type, data, users }: Content<'_>| {
            let users = users.into_iter().map(str::to_owned).collect();
            (event_type.to_owned(), data.to_owned(), users)
        };
        (0..count).map(|_| events.next().map(owned)).collect()
    }

    fn written() -> impl Strategy<Value = Vec<Written>> {
        let data = prop_oneof!["\\PC{0,20}", "[a-\u{e9}]{100,400}"];
        prop::collection::vec(("\\PC{0,9}", data, prop::collection::vec("\\PC{0,9}", 0..3)), 1..40)
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_from_anywhere_on(events in written(), skip in 0_usize..40) {
            let skip = skip % events.len();
            let value = block(&events).encode();
            prop_assert_eq!(&read(&value, events.len()).expect("sound"), &events);
            let mut rest = Events::parse(&value).expect("sound");
            rest.skip(skip).expect("so many");
            let left = read(&rest.encode(), events.len() - skip).expect("sound");
            prop_assert_eq!(&left, &events[skip..]);
            let (first, second) = events.split_at(skip);
            let mut joined = block(first);
            prop_assert_eq!(joined.extend(&block(second)), Some(()));
            prop_assert_eq!(joined.encode(), value);
        }

        /// Nor is there a panic, or memory for a length that is not there.
        #[test]
        fn what_is_damaged_is_an_error_or_other_text(
            events in written(), at in any::<prop::sample::Index>(), byte: u8, cut: bool,
        ) {
            let mut value = block(&events).encode();
            let at = at.index(value.len());
            value[at] = byte;
            if cut {
                value.truncate(at);
            }
            let read = read(&value, events.len());
            prop_assert!(!cut || read.is_err(), "what was cut off is missing");
        }
    }

    #[test]
    fn a_block_is_bounded_in_events_and_in_bytes_and_any_event_fits_alone() {
        let count = |data: &str, most| {
            let mut block = Block::default();
            while block.count() < most && block.add("t", data, std::iter::empty()).is_some() {}
            block.count()
        };
        assert_eq!(count("", 1000), MOST_EVENTS);
        assert_eq!(count(&"x".repeat(1023), 1000), 32);
        assert_eq!(count(&"x".repeat(MOST_BYTES * 2), 1000), 1);
        let (mut one, other) =
            (block(&[Written::default()]), block(&vec![Written::default(); 200]));
        assert_eq!((one.extend(&other), one.count()), (None, 1));
    }

    #[test]
    fn a_block_of_a_later_version_is_an_error() {
        let mut value = block(&[Written::default()]).encode();
        value[0] += 1;
        assert_eq!(read(&value, 1), Err(Malformed));
    }
}
