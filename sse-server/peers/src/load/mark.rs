//! The mark at the end of each event's text: when it was due, and its number.
//!
//! It has one form on every server's wire, in plain text and in JSON, and two signs that nothing
//! else there has. So readers find events without parsing streams.

use memchr::memchr;

const BEGIN: u8 = b'~';
const END: u8 = b'!';

/// The length of a mark in bytes: `~`, 19 digits, a comma, 9 digits, `!`.
pub const MARK: usize = 31;

/// What a mark says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// On this process's clock, in nanoseconds.
    pub due: u64,
    pub number: u32,
}

impl Mark {
    /// Writes it over the first [`MARK`] bytes of `into`.
    pub fn write(self, into: &mut [u8]) {
        into[0] = BEGIN;
        digits(&mut into[1..20], self.due);
        into[20] = b',';
        digits(&mut into[21..30], u64::from(self.number));
        into[30] = END;
    }

    fn read(bytes: &[u8; MARK]) -> Option<Self> {
        if bytes[20] != b',' || bytes[30] != END {
            return None;
        }
        let number = |part: &[u8]| {
            part.iter().try_fold(0_u64, |sum, byte| {
                byte.is_ascii_digit().then(|| sum * 10 + u64::from(byte - b'0'))
            })
        };
        let number_of = number(&bytes[21..30])?;
        Some(Self { due: number(&bytes[1..20])?, number: u32::try_from(number_of).ok()? })
    }
}

fn digits(into: &mut [u8], mut number: u64) {
    for digit in into.iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
    }
}

/// A mark that the bytes so far have cut off.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Carry {
    bytes: [u8; MARK],
    len: u8,
}

impl Carry {
    /// Finds the marks in the next bytes of a stream. Returns whether all were whole.
    pub(super) fn scan(&mut self, mut bytes: &[u8], mut found: impl FnMut(Mark)) -> bool {
        let mut sound = true;
        let mut take = |mark: &[u8; MARK]| match Mark::read(mark) {
            Some(mark) => found(mark),
            None => sound = false,
        };
        let held = usize::from(self.len);
        if held > 0 {
            let more = bytes.len().min(MARK - held);
            self.bytes[held..held + more].copy_from_slice(&bytes[..more]);
            self.len += u8::try_from(more).unwrap_or(0);
            if held + more < MARK {
                return true;
            }
            take(&self.bytes);
            self.len = 0;
            bytes = &bytes[more..];
        }
        while let Some(begin) = memchr(BEGIN, bytes) {
            bytes = &bytes[begin..];
            let Some((mark, rest)) = bytes.split_first_chunk::<MARK>() else {
                self.bytes[..bytes.len()].copy_from_slice(bytes);
                self.len = u8::try_from(bytes.len()).unwrap_or(0);
                break;
            };
            take(mark);
            bytes = rest;
        }
        sound
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_found_however_the_bytes_are_cut() {
        let marks = [(0, 0), (u64::MAX / 10, 999_999_999), (12_345, 7)];
        let marks = marks.map(|(due, number)| Mark { due, number });
        let mut stream = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
        for mark in marks {
            let mut bytes = [0; MARK];
            mark.write(&mut bytes);
            stream.extend_from_slice(b"id: a:1\ndata: xxxx");
            stream.extend_from_slice(&bytes);
            stream.extend_from_slice(b"\n\n");
        }
        for size in 1..stream.len() {
            let (mut carry, mut found) = (Carry::default(), Vec::new());
            for chunk in stream.chunks(size) {
                assert!(carry.scan(chunk, |mark| found.push(mark)));
            }
            assert_eq!(found, marks, "in chunks of {size}");
        }
    }

    #[test]
    fn a_mark_that_is_not_whole_is_told() {
        let mut bytes = [0; MARK];
        Mark { due: 1, number: 2 }.write(&mut bytes);
        bytes[25] = b'x';
        assert!(!Carry::default().scan(&bytes, |mark| panic!("{mark:?}")));
    }
}
