//! Bytes to text: UTF-8, each maximal invalid sequence as U+FFFD (Encoding Standard, "UTF-8 decode").
//!
//! Checking is half of the work of decoding an event stream, so it is done once for many lines where
//! that is possible, and remembered without `unsafe`.

use alloc::string::String;

/// A stretch of a chunk that is known to be text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plain<'c>(&'c str);

impl<'c> Plain<'c> {
    pub(crate) const NOTHING: Self = Self("");

    /// The stretch, as far as it is UTF-8; and whether it is so to its end, but for a character that
    /// the end cuts.
    pub(crate) fn new(stretch: &'c [u8]) -> (Self, bool) {
        match str::from_utf8(stretch) {
            Ok(text) => (Self(text), true),
            Err(error) => {
                let valid = str::from_utf8(&stretch[..error.valid_up_to()]).unwrap_or_default();
                (Self(valid), error.error_len().is_none())
            }
        }
    }

    pub(crate) const fn len(self) -> usize {
        self.0.len()
    }

    /// Bytes as text, if they lie in the stretch; if they do not, nothing is known about them.
    ///
    /// Where they lie is seen from their address. Slices that are not of the stretch cannot have an
    /// address within it, and were it so all the same, the text would still be text.
    #[inline]
    pub(crate) fn text(self, bytes: &[u8]) -> Option<&'c str> {
        let start = bytes.as_ptr().addr().wrapping_sub(self.0.as_ptr().addr());
        self.0.get(start..start.wrapping_add(bytes.len()))
    }
}

/// Appends the bytes to `out` as text.
pub(crate) fn decode(bytes: &[u8], out: &mut String) {
    match str::from_utf8(bytes) {
        Ok(text) => out.push_str(text),
        Err(_) => out.push_str(&String::from_utf8_lossy(bytes)),
    }
}
