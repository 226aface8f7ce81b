//! Where the first line end is: one search for bytes that have one soon, and one for text that
//! nearly never has one.

use super::{everywhere, has_low_byte, words};

/// Up to this many bytes are searched here, eight at a time: this is done before `memchr2` has
/// chosen its instructions. In chunks of 16 bytes it is a quarter of the speed of decoding.
pub(crate) const SHORT: usize = 32;

/// How many bytes to test together, so that text with many lines is not read whole before its first
/// one.
const STRETCH: usize = 1024;

/// Where the first CR or LF is, in bytes that most likely have one soon.
#[inline]
pub(crate) fn find_line_end(bytes: &[u8]) -> Option<usize> {
    if bytes.len() > SHORT {
        return memchr::memchr2(b'\n', b'\r', bytes);
    }
    // The high bit of the lowest byte that is zero is set, and none below it.
    let zeros = |word: u64| word.wrapping_sub(everywhere(1)) & !word & everywhere(0x80);
    let (words, rest) = words(bytes);
    for (index, word) in words.enumerate() {
        let word = u64::from_le_bytes(word);
        let ends = zeros(word ^ everywhere(b'\n')) | zeros(word ^ everywhere(b'\r'));
        if ends != 0 {
            return Some(index * 8 + ends.trailing_zeros() as usize / 8);
        }
    }
    let in_rest = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r'))?;
    Some(bytes.len() - rest.len() + in_rest)
}

/// Where the first CR or LF is, in text that is about to be sent and nearly always has none.
///
/// First tests whether there is any byte up to CR. Printable text has only line breaks and tabs
/// there. Only if there is one does it search for what it is and where.
#[inline]
pub(crate) fn find_rare_line_end(text: &[u8]) -> Option<usize> {
    let mut start = 0;
    for stretch in text.chunks(STRETCH) {
        if has_low_byte(stretch) {
            if let Some(place) = memchr::memchr2(b'\n', b'\r', stretch) {
                return Some(start + place);
            }
        }
        start += stretch.len();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn both_find_the_first_line_end_wherever_it_stands() {
        for len in (0..80).chain([1500]) {
            for end in 0..len {
                for byte in [b'\n', b'\r'] {
                    let mut bytes = vec![b'\t'; len];
                    bytes[end] = byte;
                    *bytes.last_mut().expect("not empty") = byte;
                    assert_eq!(find_line_end(&bytes), Some(end), "{byte} in {len}");
                    assert_eq!(find_rare_line_end(&bytes), Some(end), "{byte} in {len}");
                }
            }
            let none = vec![b'\x0B'; len];
            assert_eq!((find_line_end(&none), find_rare_line_end(&none)), (None, None));
        }
    }

    #[test]
    fn the_first_line_break_is_found() {
        let mut text = [vec![b'\t'; 1500], b"\r\n".repeat(2)].concat();
        assert_eq!(find_rare_line_end(&text), Some(1500));
        text[1023] = b'\n';
        assert_eq!(find_rare_line_end(&text), Some(1023));
    }
}
