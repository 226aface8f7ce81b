//! The event that is being read: the standard's event type, last event ID and data buffers (WHATWG
//! HTML, section 9.2.6), in two layers. [`Fields`] borrow what the current chunk has filled;
//! [`Block`] holds what earlier chunks have filled, and data of several lines.

use alloc::string::String;
use core::mem;

use super::data::Data;
use crate::interpret::Buffers;
use crate::scan::{Plain, decode};

/// The capacity that a buffer keeps between events, so that one large event does not hold memory
/// for as long as the connection lives.
pub(super) const KEPT_CAPACITY: usize = 64 * 1024;

/// The standard's buffers, as far as this chunk has filled them. Each takes precedence over the one
/// in [`Block`]; `data` is set only while the event has a single line of data.
#[derive(Debug, Default)]
pub(crate) struct Fields<'l> {
    pub(super) event_type: Option<&'l [u8]>,
    pub(super) id: Option<&'l [u8]>,
    pub(super) data: Option<&'l [u8]>,
}

impl<'l> Fields<'l> {
    /// Of an event that has nothing but data.
    #[inline]
    pub(crate) fn of_data(data: &'l str) -> Self {
        Self { data: Some(data.as_bytes()), ..Self::default() }
    }
}

/// The standard's buffers, as far as earlier chunks have filled them.
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
    /// The length on the wire: the text is longer where its UTF-8 had to be mended.
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

    /// Copies what the chunk has of the event, before the chunk goes.
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

/// The last event ID string of the event source.
#[derive(Debug, Default)]
pub(super) struct LastEventId {
    /// What a blank line has committed.
    pub(super) committed: Option<String>,
    /// The one before it. Its memory is used for the next one.
    earlier: Option<String>,
}

impl LastEventId {
    /// Room for the next one.
    #[inline]
    fn renew(&mut self) -> &mut String {
        mem::swap(&mut self.committed, &mut self.earlier);
        let committed = self.committed.get_or_insert_default();
        committed.clear();
        committed
    }

    /// Commits bytes of the chunk.
    #[inline]
    fn commit(&mut self, plain: Plain<'_>, id: &[u8]) {
        let committed = self.renew();
        match plain.text(id) {
            Some(text) => committed.push_str(text),
            None => decode(id, committed),
        }
    }

    /// Undoes the last commit.
    pub(super) fn take_back(&mut self) {
        self.committed = self.earlier.take();
    }
}

/// The event is longer than [`DecoderConfig::max_event_len`](super::DecoderConfig::max_event_len).
pub(super) struct TooLong;

/// Both layers, as the interpretation of a line sees them.
pub(super) struct Layers<'d, 'l> {
    pub(super) block: &'d mut Block,
    pub(super) fields: &'d mut Fields<'l>,
    pub(super) last_event_id: &'d mut LastEventId,
    pub(super) plain: Plain<'d>,
    pub(super) max_event_len: usize,
}

impl Layers<'_, '_> {
    #[inline]
    fn check(&self) -> Result<(), TooLong> {
        if self.block.len_with(self.fields) > self.max_event_len { Err(TooLong) } else { Ok(()) }
    }
}

impl<'l> Buffers<'l> for Layers<'_, 'l> {
    type Refusal = TooLong;

    #[inline]
    fn set_event_type(&mut self, value: &'l [u8]) -> Result<(), TooLong> {
        self.fields.event_type = Some(value);
        self.check()
    }

    #[inline]
    fn append_data(&mut self, value: &'l [u8]) -> Result<(), TooLong> {
        let has_data = self.has_data();
        let len = self.block.len_with(self.fields) + usize::from(has_data) + value.len();
        if len > self.max_event_len {
            return Err(TooLong);
        }
        if has_data {
            self.block.hold_data(self.plain, self.fields);
            self.block.data.push(self.plain, value);
        } else {
            self.fields.data = Some(value);
        }
        Ok(())
    }

    #[inline]
    fn set_last_event_id(&mut self, value: &'l [u8]) -> Result<(), TooLong> {
        self.fields.id = Some(value);
        self.check()
    }

    /// The buffer keeps its value from event to event, so only a new one changes anything.
    #[inline]
    fn commit_last_event_id(&mut self) {
        if let Some(id) = self.fields.id {
            self.last_event_id.commit(self.plain, id);
        } else if let Some(id) = self.block.id.get() {
            self.last_event_id.renew().push_str(id);
        }
    }

    #[inline]
    fn has_data(&self) -> bool {
        self.fields.data.is_some() || self.block.data.is_set()
    }

    #[inline]
    fn clear(&mut self) {
        *self.fields = Fields::default();
        self.block.clear();
    }
}

/// The event has more than one line of data: it is for both layers.
pub(super) struct Declined;

/// The upper layer alone, for an event that lies whole in a stretch of the chunk.
pub(super) struct Whole<'d, 'l> {
    pub(super) fields: Fields<'l>,
    pub(super) last_event_id: &'d mut LastEventId,
    pub(super) plain: Plain<'l>,
}

impl<'l> Buffers<'l> for Whole<'_, 'l> {
    type Refusal = Declined;

    #[inline]
    fn set_event_type(&mut self, value: &'l [u8]) -> Result<(), Declined> {
        self.fields.event_type = Some(value);
        Ok(())
    }

    #[inline]
    fn append_data(&mut self, value: &'l [u8]) -> Result<(), Declined> {
        match self.fields.data.replace(value) {
            None => Ok(()),
            Some(_) => Err(Declined),
        }
    }

    #[inline]
    fn set_last_event_id(&mut self, value: &'l [u8]) -> Result<(), Declined> {
        self.fields.id = Some(value);
        Ok(())
    }

    #[inline]
    fn commit_last_event_id(&mut self) {
        if let Some(id) = self.fields.id {
            self.last_event_id.commit(self.plain, id);
        }
    }

    #[inline]
    fn has_data(&self) -> bool {
        self.fields.data.is_some()
    }

    #[inline]
    fn clear(&mut self) {
        self.fields = Fields::default();
    }
}

impl Buffer {
    #[inline]
    pub(super) fn get(&self) -> Option<&str> {
        self.is_set.then_some(&*self.text)
    }

    pub(super) fn set(&mut self, plain: Plain<'_>, value: &[u8]) {
        self.text.clear();
        // A value is whole, so decoding it alone gives the same as decoding it within the stream.
        match plain.text(value) {
            Some(text) => self.text.push_str(text),
            None => decode(value, &mut self.text),
        }
        self.len = value.len();
        self.is_set = true;
    }

    /// How much memory it has.
    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.text.capacity()
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
