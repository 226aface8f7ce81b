//! The other half of the `unsafe` of this crate: a call to a function that is compiled for AVX-512,
//! and the conversion between arrays and vectors.
//!
//! With AVX-512 a comparison gives a number with a bit for each byte, and one instruction (of
//! VBMI2) turns the bits into their places. Against AVX2 it makes decoding as a whole faster: for
//! events of 790 bytes in three lines 1.2 times in chunks of 64 KiB, and 1.15 times in chunks of
//! 1,500 bytes; for events of a line of 200 bytes by a few hundredths (`cargo xtask bench codec`).

#![expect(unsafe_code, reason = "see above")]

use core::arch::x86_64::{
    __m128i, __m256i, __m512i, _mm256_add_epi16, _mm256_cvtepu8_epi16, _mm256_set1_epi16,
    _mm512_cmpeq_epi8_mask, _mm512_extracti32x4_epi32, _mm512_maskz_compress_epi8,
    _mm512_set1_epi8,
};
use core::mem;

use super::line_ends::{BLOCK, Listed, ROOM, by_blocks};

/// How many places are written at once.
const LANE: usize = 16;

/// The number of each byte of a block.
const NUMBERS: [u8; BLOCK] = {
    let mut numbers = [0; BLOCK];
    let mut index = 1;
    while index < BLOCK {
        numbers[index] = numbers[index - 1] + 1;
        index += 1;
    }
    numbers
};

/// Does what [`one_by_one`](super::line_ends::one_by_one) does, 64 bytes at a time.
///
/// Only for processors that have AVX-512 with F, BW and VBMI2, and POPCNT.
pub(super) fn list(stretch: &[u8], places: &mut [u16; ROOM]) -> Listed {
    debug_assert!(std::arch::is_x86_feature_detected!("avx512vbmi2"));
    // SAFETY: the caller has checked that the processor has these instructions. Nothing else is
    // unsafe about a call to `list_blocks`.
    unsafe { list_blocks(stretch, places) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vbmi2,popcnt")]
fn list_blocks(stretch: &[u8], places: &mut [u16; ROOM]) -> Listed {
    by_blocks(stretch, places, |block, places, start| list_block(block, places, start))
}

#[target_feature(enable = "avx512f,avx512bw,avx512vbmi2,popcnt")]
#[inline]
fn list_block(block: &[u8; BLOCK], places: &mut [u16; BLOCK], start: u16) -> usize {
    let bytes = vector(block);
    let equals = |byte: u8| _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8(byte.cast_signed()));
    let ends = equals(b'\n') | equals(b'\r');
    let count = ends.count_ones() as usize;
    let found = _mm512_maskz_compress_epi8(ends, vector(&NUMBERS));
    let (lanes, _) = places.as_chunks_mut();
    // Always writes sixteen places: very few blocks have more line ends.
    lanes[0] = lane(_mm512_extracti32x4_epi32::<0>(found), start);
    if count > LANE {
        lanes[1] = lane(_mm512_extracti32x4_epi32::<1>(found), start);
        lanes[2] = lane(_mm512_extracti32x4_epi32::<2>(found), start);
        lanes[3] = lane(_mm512_extracti32x4_epi32::<3>(found), start);
    }
    count
}

#[inline]
const fn vector(block: &[u8; BLOCK]) -> __m512i {
    // SAFETY: both are 64 bytes, and any bytes are a valid vector.
    unsafe { mem::transmute::<[u8; BLOCK], __m512i>(*block) }
}

/// Turns places in a block into places in the stretch.
#[target_feature(enable = "avx512f")]
#[inline]
fn lane(found: __m128i, start: u16) -> [u16; LANE] {
    let start = _mm256_set1_epi16(start.cast_signed());
    let places = _mm256_add_epi16(_mm256_cvtepu8_epi16(found), start);
    // SAFETY: both are 32 bytes, and any bytes are valid numbers.
    unsafe { mem::transmute::<__m256i, [u16; LANE]>(places) }
}
