//! Is there a line break in a text that is about to be sent? Nearly always not, and to find that out is
//! to be quick beside copying the text.
//!
//! So the first question is a simpler one: is there any byte up to CR? Printable text has none but line
//! breaks and tabs. The compiler makes of it, for all processors, one instruction for each 16 bytes or
//! more. Only if there is such a byte, it is looked for what and where it is.

use crate::grammar::words;

const WORD: usize = 8;
const BLOCK: usize = 64;

/// As much is asked about at once, so that text with many lines is not read whole before the first one.
const STRETCH: usize = 1024;

/// Where the first CR or LF is.
#[inline]
pub(crate) fn find_line_break(text: &[u8]) -> Option<usize> {
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

/// Whether there is a byte from NUL to CR.
#[inline]
pub(crate) fn has_low_byte(text: &[u8]) -> bool {
    // The last word or block may overlap the one before.
    if let Some(last) = text.last_chunk::<BLOCK>() {
        let mut least = *last;
        for block in text.chunks_exact(BLOCK) {
            least.iter_mut().zip(block).for_each(|(least, byte)| *least = (*least).min(*byte));
        }
        least.iter().map(|byte| *byte <= b'\r').fold(false, |any, is_low| any | is_low)
    } else if let Some(last) = text.last_chunk::<WORD>() {
        let (words, _) = words(text);
        words.fold(word_has_low_byte(*last), |any, word| any | word_has_low_byte(word))
    } else if let (Some(first), Some(last)) = (text.first_chunk(), text.last_chunk()) {
        let [first, last] = [*first, *last].map(|half| u64::from(u32::from_le_bytes(half)));
        word_has_low_byte((first | last << 32).to_le_bytes())
    } else {
        text.iter().any(|byte| *byte <= b'\r')
    }
}

/// To subtract 14 from each byte borrows from its highest bit exactly if the byte is less. The borrow goes
/// on into the next byte, which is wrong only where the answer is known already.
#[inline]
const fn word_has_low_byte(word: [u8; WORD]) -> bool {
    const HIGHEST: u64 = u64::from_ne_bytes([0x80; WORD]);
    const BOUND: u64 = u64::from_ne_bytes([b'\r' + 1; WORD]);
    let word = u64::from_le_bytes(word);
    word.wrapping_sub(BOUND) & !word & HIGHEST != 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn each_byte_is_judged_wherever_it_stands() {
        for len in (0..200).chain([1023, 1024, 1025, 2113]) {
            let mut text = vec![b'\x0E'; len];
            assert!(!has_low_byte(&text) && find_line_break(&text).is_none());
            let is_edge = |place: &usize| place % BLOCK < 2 || place % BLOCK > BLOCK - 2;
            for place in (0..len).filter(|place| len < 200 || is_edge(place)) {
                for byte in [0, b'\t', b'\n', b'\r', b' ', 0x7F, 0x80, 0x8D, 0xFF] {
                    text[place] = byte;
                    assert_eq!(has_low_byte(&text), byte <= b'\r', "{byte} at {place} of {len}");
                    let expected = matches!(byte, b'\r' | b'\n').then_some(place);
                    assert_eq!(find_line_break(&text), expected, "{byte} at {place} of {len}");
                }
                text[place] = b'\x0E';
            }
        }
    }

    #[test]
    fn the_first_line_break_is_found() {
        let mut text = [vec![b'\t'; 1500], b"\r\n".repeat(2)].concat();
        assert_eq!(find_line_break(&text), Some(1500));
        text[1023] = b'\n';
        assert_eq!(find_line_break(&text), Some(1023));
    }
}
