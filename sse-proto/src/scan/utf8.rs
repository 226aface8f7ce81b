//! Bytes to text: UTF-8, each maximal invalid sequence as U+FFFD (Encoding Standard, "UTF-8
//! decode").
//!
//! Validation is half of the work of decoding an event stream. So it is done for many lines
//! together where that is possible, and the result is remembered without `unsafe`.

use alloc::string::String;
use core::str::from_utf8 as by_core;

/// Bytes as text if they are UTF-8; else how far they are, and whether only their end is
/// missing. simdutf8's `compat` tells this, and its `basic` does not.
#[cfg(not(feature = "simdutf8"))]
use core::str::from_utf8;
#[cfg(feature = "simdutf8")]
use simdutf8::compat::from_utf8;

/// A stretch of a chunk that is known to be text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plain<'c>(&'c str);

impl<'c> Plain<'c> {
    pub(crate) const NOTHING: Self = Self("");

    /// The stretch, as far as it is UTF-8; and whether it is UTF-8 to its end, not counting a
    /// character that the end cuts.
    pub(crate) fn new(stretch: &'c [u8]) -> (Self, bool) {
        match from_utf8(stretch) {
            Ok(text) => (Self(text), true),
            Err(error) => {
                let valid = from_utf8(&stretch[..error.valid_up_to()]).unwrap_or_default();
                (Self(valid), error.error_len().is_none())
            }
        }
    }

    pub(crate) const fn len(self) -> usize {
        self.0.len()
    }

    pub(crate) const fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// Bytes as text, if they lie in the stretch; if they do not, nothing is known about them.
    ///
    /// Their address tells where they lie. No other slice can have an address within the stretch,
    /// and even if one had, the result would be text.
    #[inline]
    pub(crate) fn text(self, bytes: &[u8]) -> Option<&'c str> {
        let start = bytes.as_ptr().addr().wrapping_sub(self.0.as_ptr().addr());
        self.0.get(start..start.wrapping_add(bytes.len()))
    }
}

/// Bytes as text, if they are UTF-8. For a short line, core is faster than setting up vectors.
#[inline]
pub(crate) fn checked(bytes: &[u8]) -> Option<&str> {
    if bytes.len() < 128 { by_core(bytes).ok() } else { from_utf8(bytes).ok() }
}

/// Appends the bytes to `out` as text.
#[inline]
pub(crate) fn decode(bytes: &[u8], out: &mut String) {
    match checked(bytes) {
        Some(text) => out.push_str(text),
        None => out.push_str(&String::from_utf8_lossy(bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    /// Every value in the conformance cases about UTF-8, and the limits of each length.
    fn sequences() -> Vec<Vec<u8>> {
        let json = include_str!("../../vectors/utf8.json");
        let file: serde_json::Value = serde_json::from_str(json).expect("the vectors are JSON");
        let cases = file["cases"].as_array().expect("a list").iter();
        let streams = cases.map(|case| {
            let steps = case["steps"].as_array().expect("a list").iter();
            let steps = steps.map(|step| step["bytes"].as_str().expect("a string"));
            // One code point for each byte.
            steps
                .flat_map(|bytes| bytes.chars().map(|c| u8::try_from(c).expect("a byte")))
                .collect()
        });
        let streams: Vec<Vec<u8>> = streams.collect();
        let lines = streams.iter().flat_map(|stream| stream.split(|byte| b"\r\n".contains(byte)));
        let values = lines.map(|line| line.strip_prefix(b"data: ").unwrap_or(line).to_vec());
        let limits =
            "\0 \u{7F} \u{80} \u{7FF} \u{800} \u{D7FF} \u{E000} \u{FFFF} \u{10000} \u{10FFFF}";
        values.chain(limits.split(' ').map(|text| text.as_bytes().to_vec())).collect()
    }

    /// simdutf8 works on blocks of 64 bytes and hands short input to core, so each sequence is put
    /// at every place around the ends of the first two blocks.
    #[test]
    fn every_sequence_is_judged_as_core_does_wherever_it_stands() {
        let mut ill_formed = 0;
        for sequence in sequences() {
            ill_formed += usize::from(by_core(&sequence).is_err());
            for before in 0..130 {
                for after in [0, 1, 3, 64] {
                    let around = [b'a'; 130];
                    let bytes = [&around[..before], &sequence, &around[..after]].concat();
                    let judged = from_utf8(&bytes).map_err(|e| (e.valid_up_to(), e.error_len()));
                    let expected = by_core(&bytes).map_err(|e| (e.valid_up_to(), e.error_len()));
                    assert_eq!(judged, expected, "{sequence:?} at {before}");
                }
            }
        }
        assert!(ill_formed > 20, "only {ill_formed} sequences are ill-formed");
    }
}
