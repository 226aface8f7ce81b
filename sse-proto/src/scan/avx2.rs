//! Half of the `unsafe` of this crate: a call of a function that is compiled for AVX2.
//!
//! What it buys, of decoding as a whole, in chunks of 64 KiB: 1.3 times the speed for events of a line
//! of 200 bytes, and 1.3 times for data in lines of 100 bytes, against a search by `memchr2` for each
//! line (`cargo xtask bench codec`). The same in SSE2, which could do without `unsafe` by way of a crate
//! for portable vectors, is worth 1.1 times, and for lines of 700 bytes it is slower than `memchr2`.

#![expect(unsafe_code, reason = "see above")]

use core::arch::x86_64::{
    __m256i, _mm256_cmpeq_epi8, _mm256_movemask_epi8, _mm256_or_si256, _mm256_set_epi64x,
    _mm256_set1_epi8,
};

use super::line_ends::{BLOCK, Listed, ROOM, by_blocks};

/// As [`one_by_one`](super::line_ends::one_by_one) does, 64 bytes at a time.
///
/// Only for processors that have AVX2, BMI1 and POPCNT.
pub(super) fn list(stretch: &[u8], places: &mut [u16; ROOM]) -> Listed {
    debug_assert!(std::arch::is_x86_feature_detected!("avx2"));
    // SAFETY: the caller has found out that the processor has these instructions, and that is all that
    // is unsafe about a call of `list_blocks`.
    unsafe { list_blocks(stretch, places) }
}

#[target_feature(enable = "avx2,bmi1,popcnt")]
fn list_blocks(stretch: &[u8], places: &mut [u16; ROOM]) -> Listed {
    by_blocks(stretch, places, |block, places, start| list_block(block, places, start))
}

#[target_feature(enable = "avx2,bmi1,popcnt")]
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "a block has 64 bytes")]
fn list_block(block: &[u8; BLOCK], places: &mut [u16; BLOCK], start: u16) -> usize {
    let mut ends = line_ends(block);
    let count = ends.count_ones() as usize;
    let mut put = |index: usize| {
        places[index] = start.wrapping_add(ends.trailing_zeros() as u16);
        ends &= ends.wrapping_sub(1);
    };
    // Two places are written whether or not there are so many: most blocks have fewer, and which ones
    // is nothing that a branch could be predicted by.
    put(0);
    put(1);
    (2..count).for_each(put);
    count
}

/// A bit for each byte of the block that is CR or LF, the lowest for the first.
#[target_feature(enable = "avx2")]
#[inline]
fn line_ends(block: &[u8; BLOCK]) -> u64 {
    let (words, _) = block.as_chunks::<8>();
    let half = |first: usize| {
        let [a, b, c, d] = [0, 1, 2, 3].map(|word| i64::from_le_bytes(words[first + word]));
        u64::from(line_ends_of_half(_mm256_set_epi64x(d, c, b, a)))
    };
    half(0) | half(4) << 32
}

#[target_feature(enable = "avx2")]
#[inline]
fn line_ends_of_half(bytes: __m256i) -> u32 {
    let equals = |byte: u8| _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(byte.cast_signed()));
    _mm256_movemask_epi8(_mm256_or_si256(equals(b'\n'), equals(b'\r'))).cast_unsigned()
}
