//! From the bytes of a body to what is delivered of them, and what follows from it for the session.

use core::time::Duration;

use super::backoff::nanos;
use super::rules::{Phase, Rules};
use super::{Closed, Item, Session, Terminator, Text};
use crate::control::{ERROR_ID, StreamError};
use crate::decoder::{Chunk, DecodeError, Fields, Found};

/// The items that a chunk completes, made by [`Session::handle_bytes`].
#[derive(Debug)]
#[must_use = "items are read as they are asked for"]
pub struct Items<'s, 'c> {
    session: &'s mut Session,
    chunk: Chunk<'c>,
}

/// What becomes of an event.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Swallowed,
    Delivered,
    /// Delivered, and the stream is complete.
    Last,
    /// Not delivered, and the stream is complete.
    Mark,
    Error,
    Reset,
    StreamError,
}

/// Which control event a type means, or none.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Open,
    KeepAlive,
    Reset,
    Error,
    Other,
}

impl Kind {
    #[inline]
    pub(super) fn of(event_type: &[u8]) -> Self {
        // Not patterns: these are compared byte by byte, in much code.
        let is = |name: &[u8]| event_type == name;
        if is(b"stream-open") {
            Self::Open
        } else if is(b"keep-alive") {
            Self::KeepAlive
        } else if is(b"stream-reset") {
            Self::Reset
        } else if is(b"stream-error") {
            Self::Error
        } else {
            Self::Other
        }
    }
}

/// What has been found, and is to be looked at.
enum Next<'c> {
    Comment,
    Event(Fate, Fields<'c>),
}

impl Items<'_, '_> {
    /// The next item; `None` when the chunk has been read to its end, or a `stream-error` in it has
    /// closed the session.
    ///
    /// # Errors
    ///
    /// A [`DecodeError`] when a limit is passed. It costs one event; the next call goes on after it.
    #[expect(clippy::inline_always, reason = "returned through memory, an item costs a fifth more")]
    #[inline(always)]
    pub fn next_item(&mut self) -> Option<Result<Item<'_>, DecodeError>> {
        self.session.next_item(&mut self.chunk)
    }

    /// The last event ID that the items so far have committed: see [`Session::last_event_id`].
    pub fn last_event_id(&self) -> Option<&str> {
        self.session.last_event_id()
    }
}

impl Session {
    /// Bytes of the body have arrived. The items that they complete are read as they are asked for;
    /// ask until there is none.
    pub fn handle_bytes<'s, 'c>(&'s mut self, now: Duration, chunk: &'c [u8]) -> Items<'s, 'c> {
        if !chunk.is_empty() {
            self.handle_arrival(now);
        }
        let chunk = self.begin(chunk);
        Items { session: self, chunk }
    }

    /// Begins to read bytes of the body, for who keeps them and delivers each item when it is asked for:
    /// with [`next_item`](Self::next_item) until there is none. The same as
    /// [`handle_bytes`](Self::handle_bytes), but nothing is borrowed between one item and the next,
    /// and [`handle_arrival`](Self::handle_arrival) is the driver's to call.
    ///
    /// Before anything else is told to the session, and before it is polled, the chunk is to be read to
    /// its end or dropped.
    #[inline]
    pub fn begin<'c>(&mut self, chunk: &'c [u8]) -> Chunk<'c> {
        let is_open = self.0.is_open();
        self.0.reader.decoder.begin(if is_open { chunk } else { &[] })
    }

    /// Something of the body has arrived: from now on silence counts. A driver that lets a chunk wait
    /// tells this when it has read the chunk, or its own slowness would count as the server's silence.
    pub fn handle_arrival(&mut self, now: Duration) {
        if self.0.is_open() {
            self.0.arrived(nanos(now));
        }
    }

    /// The next item of a chunk that this session has [begun](Self::begin); `None` when it has been read
    /// to its end, or an event in it has closed the session.
    ///
    /// # Errors
    ///
    /// A [`DecodeError`] when a limit is passed. It costs one event; the next call goes on after it.
    #[expect(clippy::inline_always, reason = "returned through memory, an item costs a fifth more")]
    #[inline(always)]
    pub fn next_item<'a, 'c: 'a>(
        &'a mut self,
        chunk: &'a mut Chunk<'c>,
    ) -> Option<Result<Item<'a>, DecodeError>> {
        // Without a type it is no control event, and here nobody asks for its type either.
        if self.0.reader.reads_by_data && self.0.is_open() {
            if let Some(data) = self.0.reader.decoder.next_data_event(chunk) {
                let Rules { phase, failures, reader, .. } = &mut self.0;
                *failures = 0;
                if matches!(&reader.config.terminator, Some(Terminator::Data(mark)) if mark == data)
                {
                    *phase = Phase::Closed(Closed::Complete);
                    return None;
                }
                return Some(Ok(Item::Event(reader.decoder.data_event(data))));
            }
        }
        if self.0.reader.delivers_all && self.0.is_open() {
            if let Some(fields) = self.0.reader.decoder.next_whole_event(chunk) {
                if Kind::of(self.0.reader.decoder.event_type(&fields)) != Kind::Other {
                    return self.0.next_after(chunk, fields);
                }
                self.0.failures = 0;
                return Some(Ok(Item::Event(self.0.reader.decoder.whole_event(chunk, &fields))));
            }
        }
        self.0.next_found(chunk)
    }
}

impl Rules<Text> {
    /// The next item, of whatever kind. Apart, so that what calls it stays small enough to be put in
    /// place.
    #[inline(never)]
    fn next_found<'a, 'c: 'a>(
        &'a mut self,
        chunk: &'a mut Chunk<'c>,
    ) -> Option<Result<Item<'a>, DecodeError>> {
        let found = self.find(chunk)?;
        self.deliver(chunk, found)
    }

    /// The same, if this event has been found.
    #[inline(never)]
    fn next_after<'a, 'c: 'a>(
        &'a mut self,
        chunk: &'a mut Chunk<'c>,
        fields: Fields<'c>,
    ) -> Option<Result<Item<'a>, DecodeError>> {
        let found = match self.judge(chunk, fields) {
            Some(next) => Ok(next),
            None => self.find(chunk)?,
        };
        self.deliver(chunk, found)
    }

    /// Makes an item of what has been found.
    #[inline]
    fn deliver<'a, 'c: 'a>(
        &'a mut self,
        chunk: &'a Chunk<'c>,
        found: Result<Next<'c>, DecodeError>,
    ) -> Option<Result<Item<'a>, DecodeError>> {
        let (fate, fields) = match found {
            Ok(Next::Event(fate, fields)) => (fate, fields),
            Ok(Next::Comment) => return Some(Ok(Item::Comment(self.reader.decoder.comment()))),
            Err(error) => return Some(Err(error)),
        };
        if fate == Fate::StreamError {
            self.end_by_error(chunk, &fields);
            return None;
        }
        let event = self.reader.decoder.event(chunk, &fields);
        Some(Ok(match fate {
            Fate::Reset => Item::Reset { channels: StreamError::from_data(event.data()).channels },
            Fate::Error => Item::Error(event),
            _ => Item::Event(event),
        }))
    }

    /// Reads up to the next thing that is not swallowed, and notes what follows from it, save for what
    /// a `stream-error` says.
    fn find<'c>(&mut self, chunk: &mut Chunk<'c>) -> Option<Result<Next<'c>, DecodeError>> {
        while self.is_open() {
            let fields = match self.reader.decoder.find(chunk)? {
                Ok(Found::Event(fields)) => fields,
                Ok(Found::Comment) => return Some(Ok(Next::Comment)),
                Ok(Found::Retry(milliseconds)) => {
                    self.reconnection_time = Some(milliseconds);
                    continue;
                }
                Err(error) => return Some(Err(error)),
            };
            if let Some(next) = self.judge(chunk, fields) {
                return Some(Ok(next));
            }
        }
        None
    }

    /// Notes what follows from an event, and tells it on if it is not swallowed.
    #[inline]
    fn judge<'c>(&mut self, chunk: &Chunk<'_>, fields: Fields<'c>) -> Option<Next<'c>> {
        let fate = self.fate(chunk, &fields);
        match fate {
            Fate::Swallowed => return None,
            Fate::Mark => {
                self.phase = Phase::Closed(Closed::Complete);
                return None;
            }
            Fate::Last => self.phase = Phase::Closed(Closed::Complete),
            _ => {}
        }
        Some(Next::Event(fate, fields))
    }

    /// What becomes of an event; whether it is progress is noted. Control events are told by the type
    /// alone, so that an event for the application is looked at only once, when it is delivered.
    fn fate(&mut self, chunk: &Chunk<'_>, fields: &Fields<'_>) -> Fate {
        let fate = match Kind::of(self.reader.decoder.event_type(fields)) {
            // The server is there, but has not helped anyone yet.
            Kind::Open => return self.fate_of_control(),
            Kind::KeepAlive => self.fate_of_control(),
            Kind::Reset => Fate::Reset,
            Kind::Error => Fate::StreamError,
            Kind::Other => self.fate_of_message(chunk, fields),
        };
        if fate != Fate::Error {
            self.failures = 0;
        }
        fate
    }

    fn fate_of_message(&mut self, chunk: &Chunk<'_>, fields: &Fields<'_>) -> Fate {
        let Text { decoder, config, .. } = &mut self.reader;
        if !config.error_events.is_empty() {
            let event = decoder.event(chunk, fields);
            if config.error_events.iter().any(|name| name == event.event_type()) {
                return Fate::Error;
            }
        }
        match &config.terminator {
            Some(Terminator::Data(data)) if decoder.event(chunk, fields).data() == data => {
                Fate::Mark
            }
            Some(Terminator::EventType(name))
                if decoder.event(chunk, fields).event_type() == name =>
            {
                Fate::Last
            }
            _ => Fate::Delivered,
        }
    }

    const fn fate_of_control(&self) -> Fate {
        if self.reader.config.control_events { Fate::Delivered } else { Fate::Swallowed }
    }

    /// The server has ended the stream for good. The id that says so is not one to resume from.
    fn end_by_error(&mut self, chunk: &Chunk<'_>, fields: &Fields<'_>) {
        let event = self.reader.decoder.event(chunk, fields);
        let error = StreamError::from_data(event.data());
        if event.id() == Some(ERROR_ID) {
            self.reader.decoder.take_back_event_id();
        }
        self.phase = Phase::Closed(Closed::StreamError(error));
    }
}
