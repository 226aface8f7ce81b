//! The data buffer of the event that is being read (WHATWG HTML, section 9.2.6).

use alloc::string::String;
use alloc::vec::Vec;
use core::mem;

use super::buffers::KEPT_CAPACITY;
use crate::scan::{Plain, checked, decode};

/// How many bytes to validate together, where no stretch has been looked at in advance. To validate
/// each line of a hundred bytes by itself takes several times as long.
const LOOK_AT: usize = 4096;

/// The values of the `data` fields so far, with an LF between each two.
#[derive(Debug, Default)]
pub(super) struct Data {
    text: String,
    /// What comes after `text`, and has not been validated yet.
    bytes: Vec<u8>,
    /// Where in `bytes` that begins. Before it is the name of the field.
    start: usize,
    /// The length on the wire: the text is longer where its UTF-8 had to be mended.
    len: usize,
    is_set: bool,
}

impl Data {
    #[inline]
    pub(super) const fn is_set(&self) -> bool {
        self.is_set
    }

    /// As it came over the wire, in bytes.
    #[inline]
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// "Append the field value to the data buffer, then append a single U+000A LINE FEED (LF)
    /// character". Here it is put before the next value instead, so that there is no last one to
    /// remove.
    pub(super) fn push(&mut self, plain: Plain<'_>, value: &[u8]) {
        let Some(text) = plain.text(value) else {
            return self.push_bytes(value);
        };
        if self.has_bytes() {
            self.look_at_bytes();
        }
        if self.is_set {
            self.text.push('\n');
            self.len += 1;
        }
        self.text.push_str(text);
        self.len += value.len();
        self.is_set = true;
    }

    fn push_bytes(&mut self, value: &[u8]) {
        if self.is_set {
            self.bytes.push(b'\n');
            self.len += 1;
        }
        self.bytes.extend_from_slice(value);
        self.len += value.len();
        self.is_set = true;
        if self.bytes.len() - self.start >= LOOK_AT {
            self.look_at_bytes();
        }
    }

    /// Makes the end of a line, from `start` on, the first value, by swapping buffers: nothing is
    /// copied.
    pub(super) fn swap_in(&mut self, line: &mut Vec<u8>, start: usize) {
        debug_assert!(!self.is_set, "there is a value before it");
        mem::swap(&mut self.bytes, line);
        self.start = start;
        self.len = self.bytes.len() - start;
        self.is_set = true;
    }

    /// The data, if there are any. Ill-formed text is mended in `lent`.
    #[inline]
    pub(super) fn get<'a>(&'a mut self, lent: &'a mut String) -> &'a str {
        if self.has_bytes() { self.get_with_bytes(lent) } else { &self.text }
    }

    fn get_with_bytes<'a>(&'a mut self, lent: &'a mut String) -> &'a str {
        if !self.text.is_empty() {
            self.look_at_bytes();
            return &self.text;
        }
        let bytes = &self.bytes[self.start..];
        checked(bytes).unwrap_or_else(|| {
            lent.clear();
            decode(bytes, lent);
            lent
        })
    }

    #[inline]
    pub(super) fn clear(&mut self) {
        if self.is_set {
            self.text.clear();
            self.text.shrink_to(KEPT_CAPACITY);
            self.bytes.clear();
            self.bytes.shrink_to(KEPT_CAPACITY);
            self.start = 0;
            self.len = 0;
            self.is_set = false;
        }
    }

    /// How much memory its buffers have.
    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.text.capacity().max(self.bytes.capacity())
    }

    #[inline]
    fn has_bytes(&self) -> bool {
        self.bytes.len() > self.start
    }

    /// Validates `bytes`. Values are whole, so decoding them alone gives the same as decoding them
    /// within the stream.
    fn look_at_bytes(&mut self) {
        decode(&self.bytes[self.start..], &mut self.text);
        self.bytes.clear();
        self.start = 0;
    }
}
