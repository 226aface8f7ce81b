//! The event that is being read: the standard's event type, last event ID and data buffers (WHATWG
//! HTML, section 9.2.6), in two layers. What the current chunk has filled is borrowed from it; what
//! earlier chunks have filled, and data of several lines, are held here.

use alloc::string::String;

use super::data::Data;
use crate::utf8::{Plain, decode};

/// Capacity that a buffer keeps between events. One large event does not hold its memory for as long
/// as the connection lives.
pub(super) const KEPT_CAPACITY: usize = 64 * 1024;

/// The standard's buffers, as far as this chunk has filled them. Each takes precedence over the one
/// in [`Block`]; `data` is set only while the event has a single line of data.
#[derive(Debug, Default)]
pub(crate) struct Fields<'l> {
    pub(super) event_type: Option<&'l [u8]>,
    pub(super) id: Option<&'l [u8]>,
    pub(super) data: Option<&'l [u8]>,
}

/// The standard's buffers, as far as they are held.
#[derive(Debug, Default)]
pub(super) struct Block {
    pub(super) event_type: Buffer,
    pub(super) id: Buffer,
    pub(super) data: Data,
}

/// A value that may be absent, in memory that stays.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    text: String,
    /// The length of what came over the wire: the text is longer where its UTF-8 had to be mended.
    len: usize,
    is_set: bool,
}

impl Block {
    #[inline]
    pub(super) const fn is_empty(&self) -> bool {
        !self.event_type.is_set && !self.id.is_set && !self.data.is_set()
    }

    #[inline]
    pub(super) fn clear(&mut self) {
        self.event_type.clear();
        self.id.clear();
        self.data.clear();
    }

    pub(super) const fn len(&self) -> usize {
        self.event_type.len + self.id.len + self.data.len()
    }

    /// The length of the event so far, with what the chunk has of it.
    #[inline]
    pub(super) fn len_with(&self, fields: &Fields<'_>) -> usize {
        let len = |field: Option<&[u8]>, len| field.map_or(len, <[u8]>::len);
        len(fields.event_type, self.event_type.len)
            + len(fields.id, self.id.len)
            + len(fields.data, self.data.len())
    }

    /// Takes in what the chunk has of the event, before the chunk goes.
    #[inline]
    pub(super) fn hold(&mut self, plain: Plain<'_>, fields: &mut Fields<'_>) {
        if fields.event_type.is_some() || fields.id.is_some() || fields.data.is_some() {
            self.hold_all(plain, fields);
        }
    }

    fn hold_all(&mut self, plain: Plain<'_>, fields: &mut Fields<'_>) {
        if let Some(value) = fields.event_type.take() {
            self.event_type.set(plain, value);
        }
        if let Some(value) = fields.id.take() {
            self.id.set(plain, value);
        }
        self.hold_data(plain, fields);
    }

    #[inline]
    pub(super) fn hold_data(&mut self, plain: Plain<'_>, fields: &mut Fields<'_>) {
        if let Some(value) = fields.data.take() {
            self.data.push(plain, value);
        }
    }
}

impl Buffer {
    #[inline]
    pub(super) fn get(&self) -> Option<&str> {
        self.is_set.then_some(&*self.text)
    }

    #[inline]
    pub(super) const fn is_set(&self) -> bool {
        self.is_set
    }

    pub(super) fn set(&mut self, plain: Plain<'_>, value: &[u8]) {
        self.text.clear();
        // A value is whole, so decoding it by itself is decoding it within the stream.
        match plain.text(value) {
            Some(text) => self.text.push_str(text),
            None => decode(value, &mut self.text),
        }
        self.len = value.len();
        self.is_set = true;
    }

    #[inline]
    fn clear(&mut self) {
        if self.is_set {
            self.text.clear();
            if self.text.capacity() > KEPT_CAPACITY {
                self.text.shrink_to(KEPT_CAPACITY);
            }
            self.len = 0;
            self.is_set = false;
        }
    }
}
