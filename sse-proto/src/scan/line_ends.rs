//! Lists where the line ends of a stretch are, before any of its lines is read.
//!
//! A search for each line pays for its start (choosing instructions, loading what to look for) and
//! for its end, which the processor cannot predict. With AVX2, a block of 64 bytes becomes a number
//! with a bit for each CR and LF, and the places of the bits become a list, with hardly a branch
//! that depends on where they are.
//!
//! `build.rs` sets `line_ends_by_vectors` on x86-64, with std to ask the processor, and with Rust
//! 1.89, the first that has AVX-512 and safe functions for vectors. Otherwise `memchr` does the
//! work.

use alloc::boxed::Box;

#[cfg(line_ends_by_vectors)]
use super::{avx2, avx512};

/// How many line ends are listed at most: enough for 16 KiB in lines of 16 bytes.
pub(super) const ROOM: usize = 1024;

/// A list of line ends, in memory that is kept, and how many of them have been passed.
#[derive(Debug, Default)]
pub(crate) struct LineEnds {
    places: Option<Box<[u16; ROOM]>>,
    len: usize,
    passed: usize,
}

/// How much has been listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Listed {
    /// How many line ends.
    len: usize,
    /// In how many bytes.
    bytes: usize,
}

impl LineEnds {
    /// Lists the line ends of a stretch of at most 64 KiB. Returns how many of its bytes have been
    /// searched: all of them, unless the list is full before.
    pub(crate) fn list(&mut self, stretch: &[u8]) -> usize {
        let places = self.places.get_or_insert_with(|| Box::new([0; ROOM]));
        let listed = list(stretch, places);
        self.len = listed.len;
        self.passed = 0;
        listed.bytes
    }

    /// Forgets the line ends from this place on.
    pub(crate) fn truncate(&mut self, end: usize) {
        while self.len.checked_sub(1).and_then(|last| self.get(last)).is_some_and(|it| it >= end) {
            self.len -= 1;
        }
    }

    /// The first line end that has not been passed.
    #[inline]
    pub(crate) fn next(&self) -> Option<usize> {
        self.get(self.passed)
    }

    /// All that have not been passed.
    #[inline]
    pub(crate) fn ahead(&self) -> &[u16] {
        self.places
            .as_deref()
            .and_then(|places| places.get(self.passed..self.len))
            .unwrap_or_default()
    }

    /// Passes this many line ends.
    #[inline]
    pub(crate) const fn pass(&mut self, count: usize) {
        self.passed += count;
    }

    #[inline]
    fn get(&self, index: usize) -> Option<usize> {
        let places = self.places.as_deref()?;
        (index < self.len).then(|| usize::from(places[index]))
    }
}

#[cfg(line_ends_by_vectors)]
fn list(stretch: &[u8], places: &mut [u16; ROOM]) -> Listed {
    use std::arch::is_x86_feature_detected as has;
    if has!("avx512f") && has!("avx512bw") && has!("avx512vbmi2") && has!("popcnt") {
        avx512::list(stretch, places)
    } else if has!("avx2") && has!("bmi1") && has!("popcnt") {
        avx2::list(stretch, places)
    } else {
        one_by_one(stretch, places)
    }
}

#[cfg(not(line_ends_by_vectors))]
fn list(stretch: &[u8], places: &mut [u16; ROOM]) -> Listed {
    one_by_one(stretch, places)
}

/// How many bytes are searched together.
#[cfg(line_ends_by_vectors)]
pub(super) const BLOCK: usize = 64;

/// Lists the line ends of one block after the other. `list_block` gets a block, room for its line
/// ends and where it begins, and returns how many it has written.
#[cfg(line_ends_by_vectors)]
#[clippy::msrv = "1.89"]
#[expect(clippy::cast_possible_truncation, reason = "a stretch has at most 64 KiB")]
#[expect(clippy::inline_always, reason = "it is compiled for what `list_block` is compiled for")]
#[inline(always)]
pub(super) fn by_blocks(
    stretch: &[u8],
    places: &mut [u16; ROOM],
    mut list_block: impl FnMut(&[u8; BLOCK], &mut [u16; BLOCK], u16) -> usize,
) -> Listed {
    let mut listed = Listed { len: 0, bytes: 0 };
    let (blocks, rest) = stretch.as_chunks();
    for block in blocks {
        let Some(room) = room(places, listed.len) else {
            return listed;
        };
        listed.len += list_block(block, room, listed.bytes as u16);
        listed.bytes += BLOCK;
    }
    if rest.is_empty() {
        return listed;
    }
    if let Some(room) = room(places, listed.len) {
        let mut block = [0; BLOCK];
        block[..rest.len()].copy_from_slice(rest);
        listed.len += list_block(&block, room, listed.bytes as u16);
        listed.bytes += rest.len();
    }
    listed
}

/// Room for the line ends of one more block after `len` others.
#[cfg(line_ends_by_vectors)]
#[inline]
fn room(places: &mut [u16; ROOM], len: usize) -> Option<&mut [u16; BLOCK]> {
    if len > ROOM - BLOCK {
        return None;
    }
    places[len..].first_chunk_mut()
}

/// For all processors; as fast as a search for each line.
#[cfg_attr(line_ends_by_vectors, cold)]
#[expect(clippy::cast_possible_truncation, reason = "a stretch has at most 64 KiB")]
fn one_by_one(stretch: &[u8], places: &mut [u16; ROOM]) -> Listed {
    let mut len = 0;
    for (place, end) in places.iter_mut().zip(memchr::memchr2_iter(b'\n', b'\r', stretch)) {
        *place = end as u16;
        len += 1;
    }
    let bytes = if len < ROOM { stretch.len() } else { usize::from(places[ROOM - 1]) + 1 };
    Listed { len, bytes }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    type Way = fn(&[u8], &mut [u16; ROOM]) -> Listed;

    /// What is listed, in full, by one way of listing.
    fn listed(list: Way, stretch: &[u8]) -> (Vec<u16>, usize) {
        let mut places = Box::new([0; ROOM]);
        let Listed { len, bytes } = list(stretch, &mut places);
        (places[..len].to_vec(), bytes)
    }

    #[test]
    fn every_way_lists_all_line_ends_of_the_bytes_that_it_tells() {
        // `list` does not choose it where there is AVX-512.
        #[cfg(line_ends_by_vectors)]
        let avx2 = std::arch::is_x86_feature_detected!("avx2").then_some(avx2::list as Way);
        #[cfg(not(line_ends_by_vectors))]
        let avx2 = None;
        let ways: Vec<Way> = [list as Way, one_by_one].into_iter().chain(avx2).collect();
        let mut rng = fastrand::Rng::with_seed(1);
        for round in 0..2000 {
            // From nothing but line ends to hardly any, beside bytes that are like them.
            let others = 1 << (round % 12);
            let stretch: Vec<u8> = (0..rng.usize(..5000))
                .map(|_| match rng.u32(..others + 2) {
                    0 => b'\n',
                    1 => b'\r',
                    _ => rng.choice([b'a', b'\t', 0x0B, 0x0C, 0x8A, 0x8D, 0]).expect("some"),
                })
                .collect();
            for way in &ways {
                let (places, bytes) = listed(*way, &stretch);
                let ends = (0..bytes).filter(|&place| b"\r\n".contains(&stretch[place]));
                let ends: Vec<_> = ends.map(|end| u16::try_from(end).expect("short")).collect();
                assert_eq!(places, ends);
                let is_full = places.len() > ROOM - 64;
                assert!(is_full || stretch.len() == bytes, "{bytes} of {}", stretch.len());
            }
        }
    }

    #[test]
    fn line_ends_are_passed_and_forgotten() {
        let mut ends = LineEnds::default();
        assert_eq!(ends.next(), None);
        let stretch = [&b"a\n\nb\r"[..], &[b'c'; 64]].concat();
        assert!(ends.list(&stretch) >= 64);
        assert_eq!(ends.next(), Some(1));
        ends.pass(2);
        assert_eq!(ends.next(), Some(4));
        ends.truncate(4);
        assert_eq!(ends.next(), None);
    }
}
