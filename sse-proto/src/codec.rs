//! Event streams for [`tokio_util::codec`]: a `FramedRead` yields events, a `FramedWrite` sends
//! them.
//!
//! ```
//! use futures::{SinkExt, StreamExt};
//! use sse_proto::{Event, codec::EventCodec};
//! use tokio_util::codec::{FramedRead, FramedWrite};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (server, client) = tokio::io::duplex(64);
//! let mut writer = FramedWrite::new(server, EventCodec::new());
//! writer.send(Event::builder("hello").id("1").build()?).await?;
//! drop(writer);
//!
//! let mut reader = FramedRead::new(client, EventCodec::new());
//! while let Some(item) = reader.next().await {
//!     match item? {
//!         Ok(event) => assert_eq!(event.data(), "hello"),
//!         Err(too_long) => eprintln!("{too_long}"), // the next event comes all the same
//!     }
//! }
//! assert_eq!(reader.decoder().last_event_id(), Some("1"));
//! # Ok(())
//! # }
//! ```

use alloc::string::String;
use core::time::Duration;
use std::io;

use bytes::BytesMut;
use tokio_util::codec;

use crate::owned::OwnedEvents;
use crate::{DecodeError, DecoderConfig, Event};

/// Reads and writes event streams for [`tokio_util::codec`]; see the [module](self) for an example.
///
/// What it reads is a `Result`: an event, or a [`DecodeError`] if a limit was passed. A
/// `FramedRead` ends with the first error of its decoder, but a passed limit costs one event and
/// not the stream, so it is an item and not that error. To stop there nevertheless, use `item??`.
///
/// The one error that it does give is the reader's own [`io::Error`]. Writing cannot fail.
///
/// A `retry` field is no item either, since it matters only once the connection is lost:
/// [`reconnection_time`](Self::reconnection_time) has the last one. Comments are not delivered.
///
/// At the end of the input an unfinished event is discarded, as the standard says (section 9.2.6).
#[derive(Debug, Default)]
pub struct EventCodec(OwnedEvents);

impl EventCodec {
    /// A codec with the default limits, before the start of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// A codec whose decoder has these limits.
    pub fn with_config(config: DecoderConfig) -> Self {
        Self(OwnedEvents::with_config(config))
    }

    /// The last event ID as of the last item; `None` until the first one is set. To resume, send it
    /// as the header `Last-Event-ID`.
    pub fn last_event_id(&self) -> Option<&str> {
        self.0.last_event_id()
    }

    /// Sets the last event ID that a stream is resumed from.
    pub fn set_last_event_id(&mut self, id: Option<String>) {
        self.0.set_last_event_id(id);
    }

    /// The reconnection time that the server has set last, as of the last item. `None` if it has
    /// not.
    pub const fn reconnection_time(&self) -> Option<Duration> {
        self.0.reconnection_time()
    }
}

impl codec::Decoder for EventCodec {
    type Item = Result<Event<'static>, DecodeError>;
    type Error = io::Error;

    /// The next event. Takes all that there is from `src`, and holds what it has read of it.
    fn decode(&mut self, src: &mut BytesMut) -> Result<Option<Self::Item>, io::Error> {
        let held = self.0.take();
        if held.is_some() {
            return Ok(held);
        }
        self.0.read(src);
        src.clear();
        Ok(self.0.take())
    }

    fn decode_eof(&mut self, src: &mut BytesMut) -> Result<Option<Self::Item>, io::Error> {
        let item = self.decode(src)?;
        if item.is_none() {
            self.0.end_of_stream();
        }
        Ok(item)
    }
}

impl codec::Encoder<&Event<'_>> for EventCodec {
    type Error = io::Error;

    /// Appends the event to `dst`. Never fails.
    fn encode(&mut self, event: &Event<'_>, dst: &mut BytesMut) -> Result<(), io::Error> {
        event.encode_into(dst);
        Ok(())
    }
}

impl codec::Encoder<Event<'_>> for EventCodec {
    type Error = io::Error;

    /// Appends the event to `dst`. Never fails.
    fn encode(&mut self, event: Event<'_>, dst: &mut BytesMut) -> Result<(), io::Error> {
        event.encode_into(dst);
        Ok(())
    }
}
