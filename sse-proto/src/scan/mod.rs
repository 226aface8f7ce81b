//! Speed that knows no meaning: where line ends are, whether bytes are text, whether a byte is low.
//!
//! Nothing here knows why it searches; nothing outside knows how. Vector instructions stay within
//! this room, and so does the only `unsafe` of the crate, in `avx2` and `avx512`.
//!
//! May enter: loops over bytes. May not: events, fields, limits, state between two calls except for
//! the memory of a [`LineEnds`].

#[cfg(line_ends_by_vectors)]
#[clippy::msrv = "1.89"]
mod avx2;
#[cfg(line_ends_by_vectors)]
#[clippy::msrv = "1.89"]
mod avx512;
mod line_ends;
mod low_bytes;
mod search;
mod utf8;

pub(crate) use self::line_ends::LineEnds;
pub(crate) use self::low_bytes::has_low_byte;
pub(crate) use self::search::{SHORT, find_line_end, find_rare_line_end};
pub(crate) use self::utf8::{Plain, checked, decode};

/// The bytes, eight at a time, and the rest. It is `as_chunks`, which Rust 1.85 does not have yet.
#[inline]
fn words(bytes: &[u8]) -> (impl Iterator<Item = [u8; 8]>, &[u8]) {
    let words = bytes.chunks_exact(8);
    let rest = words.remainder();
    (words.map(|word| word.first_chunk().copied().unwrap_or_default()), rest)
}

/// A number with this byte in each place.
const fn everywhere(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}
