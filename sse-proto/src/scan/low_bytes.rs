//! Whether there is any byte up to CR. Printable text has only line breaks and tabs there, so the
//! answer is nearly always no, and then there is no line end either.
//!
//! The compiler turns the loop into one instruction for 16 bytes or more, on all processors.

use super::{everywhere, words};

const WORD: usize = 8;
const BLOCK: usize = 64;

/// Whether there is a byte from NUL to CR.
#[inline]
pub(crate) fn has_low_byte(bytes: &[u8]) -> bool {
    // The last word or block may overlap the one before.
    if let Some(last) = bytes.last_chunk::<BLOCK>() {
        let mut least = *last;
        for block in bytes.chunks_exact(BLOCK) {
            least.iter_mut().zip(block).for_each(|(least, byte)| *least = (*least).min(*byte));
        }
        least.iter().map(|byte| *byte <= b'\r').fold(false, |any, is_low| any | is_low)
    } else if let Some(last) = bytes.last_chunk::<WORD>() {
        let (words, _) = words(bytes);
        words.fold(word_has_low_byte(*last), |any, word| any | word_has_low_byte(word))
    } else if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        let [first, last] = [*first, *last].map(|half| u64::from(u32::from_le_bytes(half)));
        word_has_low_byte((first | last << 32).to_le_bytes())
    } else {
        bytes.iter().any(|byte| *byte <= b'\r')
    }
}

/// Subtracting 14 from each byte borrows from its highest bit exactly if the byte is less. The
/// borrow goes on into the next byte, which is wrong only where the answer is known already.
#[inline]
const fn word_has_low_byte(word: [u8; WORD]) -> bool {
    let word = u64::from_le_bytes(word);
    word.wrapping_sub(everywhere(b'\r' + 1)) & !word & everywhere(0x80) != 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::find_rare_line_end;
    use alloc::vec;

    #[test]
    fn each_byte_is_judged_wherever_it_stands() {
        for len in (0..200).chain([1023, 1024, 1025, 2113]) {
            let mut text = vec![b'\x0E'; len];
            assert!(!has_low_byte(&text) && find_rare_line_end(&text).is_none());
            let is_edge = |place: &usize| place % BLOCK < 2 || place % BLOCK > BLOCK - 2;
            for place in (0..len).filter(|place| len < 200 || is_edge(place)) {
                for byte in [0, b'\t', b'\n', b'\r', b' ', 0x7F, 0x80, 0x8D, 0xFF] {
                    text[place] = byte;
                    assert_eq!(has_low_byte(&text), byte <= b'\r', "{byte} at {place} of {len}");
                    let expected = matches!(byte, b'\r' | b'\n').then_some(place);
                    assert_eq!(find_rare_line_end(&text), expected, "{byte} at {place} of {len}");
                }
                text[place] = b'\x0E';
            }
        }
    }
}
