//! Events that own their text, for `codec` and `stream`, which deliver them one by one.

use alloc::collections::VecDeque;
use alloc::string::String;
use core::time::Duration;

use crate::{DecodeError, Decoder, DecoderConfig, Event, Frame};

/// An event, or the limit that it has passed.
pub(crate) type Item = Result<Event<'static>, DecodeError>;

/// How many items there is room for between chunks, so that one large chunk does not hold memory
/// for as long as the connection lives.
const KEPT_CAPACITY: usize = 1024;

/// A decoder, and what it has read of a chunk but not delivered yet.
///
/// A chunk is read as a whole. To stop at each event and decode the [rest](crate::Frames::rest)
/// later would be correct too, but a decoder looks ahead in its chunk, and would look ahead again
/// for each event.
#[derive(Debug, Default)]
pub(crate) struct OwnedEvents {
    decoder: Decoder,
    read: VecDeque<Read>,
    /// As of the item that was taken last, while others wait: the decoder's own is ahead of it.
    last_event_id: Option<String>,
    reconnection_time: Option<Duration>,
}

#[derive(Debug)]
enum Read {
    Item(Item),
    Retry(Duration),
}

impl OwnedEvents {
    pub(crate) fn with_config(config: DecoderConfig) -> Self {
        Self { decoder: Decoder::with_config(config), ..Self::default() }
    }

    /// Reads a chunk, once all items of the one before have been taken. Most small chunks complete
    /// nothing, so everything but decoding is done for items only.
    #[inline]
    pub(crate) fn read(&mut self, chunk: &[u8]) {
        let mut frames = self.decoder.decode(chunk);
        while let Some(frame) = frames.next_frame() {
            let Some(read) = owned(frame) else {
                continue;
            };
            // An event brings its id along.
            if matches!(read, Read::Item(Err(_))) && self.read.is_empty() {
                put(frames.last_event_id(), &mut self.last_event_id);
            }
            self.read.push_back(read);
        }
    }

    /// The stream has ended, and all items have been taken.
    pub(crate) fn end_of_stream(&mut self) {
        self.decoder.end_of_stream();
    }

    /// The next item of the chunk.
    #[inline]
    pub(crate) fn take(&mut self) -> Option<Item> {
        loop {
            match self.read.pop_front()? {
                Read::Retry(time) => self.reconnection_time = Some(time),
                Read::Item(item) => {
                    if self.read.is_empty() {
                        self.forget_room();
                    } else if let Ok(event) = &item {
                        put(event.id(), &mut self.last_event_id);
                    }
                    return Some(item);
                }
            }
        }
    }

    #[inline]
    fn forget_room(&mut self) {
        if self.read.capacity() > KEPT_CAPACITY {
            self.read.shrink_to(KEPT_CAPACITY);
        }
    }

    pub(crate) fn last_event_id(&self) -> Option<&str> {
        if self.read.is_empty() {
            self.decoder.last_event_id()
        } else {
            self.last_event_id.as_deref()
        }
    }

    pub(crate) fn set_last_event_id(&mut self, id: Option<String>) {
        self.last_event_id.clone_from(&id);
        self.decoder.set_last_event_id(id);
    }

    pub(crate) const fn reconnection_time(&self) -> Option<Duration> {
        self.reconnection_time
    }
}

fn owned(frame: Result<Frame<'_>, DecodeError>) -> Option<Read> {
    match frame {
        Ok(Frame::Event(event)) => Some(Read::Item(Ok(event.into_owned()))),
        Ok(Frame::Retry(time)) => Some(Read::Retry(time)),
        Ok(Frame::Comment(_)) => None,
        Err(error) => Some(Read::Item(Err(error))),
    }
}

/// Sets `place` to this id. Allocates only if the old text has too little room.
fn put(id: Option<&str>, place: &mut Option<String>) {
    let Some(id) = id else {
        *place = None;
        return;
    };
    let place = place.get_or_insert_default();
    if place != id {
        place.clear();
        place.push_str(id);
    }
}
