//! The event that is being read: the standard's event type, last event ID and data buffers (WHATWG
//! HTML, section 9.2.6), in two layers. What the current chunk has filled is borrowed from it; what
//! earlier chunks have filled is held here.

use alloc::vec::Vec;

use super::KEPT_CAPACITY;

/// The standard's buffers, as far as earlier chunks have filled them.
#[derive(Debug, Default)]
pub(super) struct Block {
    pub(super) event_type: Buffer,
    pub(super) id: Buffer,
    pub(super) data: Buffer,
}

/// A value that may be absent, in memory that stays.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    pub(super) bytes: Vec<u8>,
    pub(super) is_set: bool,
}

/// The standard's buffers, as far as this chunk has filled them. Each takes precedence over the one
/// in [`Block`]; `data` is set only while the event has a single line of data.
#[derive(Debug, Default)]
pub(crate) struct Fields<'l> {
    pub(super) event_type: Option<&'l [u8]>,
    pub(super) id: Option<&'l [u8]>,
    pub(super) data: Option<&'l [u8]>,
}

impl Block {
    pub(super) fn clear(&mut self) {
        self.event_type.clear();
        self.id.clear();
        self.data.clear();
    }

    pub(super) const fn len(&self) -> usize {
        self.event_type.bytes.len() + self.id.bytes.len() + self.data.bytes.len()
    }

    /// The length of the event so far, with what the chunk has of it.
    pub(super) fn len_with(&self, fields: &Fields<'_>) -> usize {
        let len =
            |field: Option<&[u8]>, buffer: &Buffer| field.map_or(buffer.bytes.len(), <[u8]>::len);
        len(fields.event_type, &self.event_type)
            + len(fields.id, &self.id)
            + len(fields.data, &self.data)
    }

    /// Takes in what the chunk has of the event, before the chunk goes.
    pub(super) fn hold(&mut self, fields: &mut Fields<'_>) {
        if let Some(value) = fields.event_type.take() {
            self.event_type.set(value);
        }
        if let Some(value) = fields.id.take() {
            self.id.set(value);
        }
        self.hold_data(fields);
    }

    pub(super) fn hold_data(&mut self, fields: &mut Fields<'_>) {
        if let Some(value) = fields.data.take() {
            self.push_data(value);
        }
    }

    /// "Append the field value to the data buffer, then append a single U+000A LINE FEED (LF)
    /// character" — here before the next value instead, so that there is no last one to strip.
    pub(super) fn push_data(&mut self, value: &[u8]) {
        if self.data.is_set {
            self.data.bytes.push(b'\n');
        }
        self.data.bytes.extend_from_slice(value);
        self.data.is_set = true;
    }
}

impl Buffer {
    pub(super) fn get(&self) -> Option<&[u8]> {
        self.is_set.then_some(&*self.bytes)
    }

    pub(super) fn set(&mut self, value: &[u8]) {
        self.bytes.clear();
        self.bytes.extend_from_slice(value);
        self.is_set = true;
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_CAPACITY);
        self.is_set = false;
    }
}
