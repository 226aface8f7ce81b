//! Decoders as streams: what makes a stream of events out of a stream of bytes, or frames out of a
//! buffer.

use std::convert::Infallible;

use bytes::BytesMut;
use futures::executor::block_on;
use futures::{Stream, StreamExt as _, stream};
use sse_core::{SseEvent, SseStream};
use sse_proto::codec::EventCodec;
use sse_proto::stream::EventStream;
use tokio_util::codec::Decoder as _;

use crate::{Chunks, Count, peers};

/// All adapters, ours first.
pub const ADAPTERS: [Adapter; 6] = [
    STREAM,
    FRAMED,
    Adapter { name: "sse-core", ours: false, count: core_stream },
    Adapter { name: "sse-stream", ours: false, count: peers::sse_stream::CODEC.count },
    Adapter { name: "sseer", ours: false, count: peers::sseer::CODEC.count },
    Adapter {
        name: "eventsource-stream",
        ours: false,
        count: peers::eventsource_stream::CODEC.count,
    },
];

/// [`sse_proto::stream`].
pub const STREAM: Adapter = Adapter { name: "sse-proto stream", ours: true, count: our_stream };

/// [`sse_proto::codec`], called as `FramedRead` calls it: the chunk is copied into its buffer
/// first.
pub const FRAMED: Adapter = Adapter {
    name: "sse-proto codec",
    ours: true,
    count: |chunks| {
        let mut count = Count::default();
        let mut codec = EventCodec::new();
        let mut buffer = BytesMut::with_capacity(64 << 10);
        for chunk in chunks.slices() {
            buffer.extend_from_slice(chunk);
            while let Ok(Some(item)) = codec.decode(&mut buffer) {
                if let Ok(event) = item {
                    count.add(&event, event.data());
                }
            }
        }
        count
    },
};

/// An adapter, and how to run it.
#[derive(Clone, Copy, Debug)]
pub struct Adapter {
    /// The crate; for ours, also the module.
    pub name: &'static str,
    /// Whether this is `sse-proto`.
    pub ours: bool,
    /// Decodes a stream, looks at each event and keeps none.
    pub count: fn(&Chunks) -> Count,
}

/// The chunks as the body of a response. Slices will do for everyone who does not share them.
fn body(chunks: &Chunks) -> impl Stream<Item = Result<&[u8], Infallible>> + Unpin {
    stream::iter(chunks.slices().map(Ok))
}

fn our_stream(chunks: &Chunks) -> Count {
    let mut count = Count::default();
    let mut events = EventStream::new(body(chunks));
    block_on(async {
        while let Some(item) = events.next().await {
            if let Ok(event) = item {
                count.add(&event, event.data());
            }
        }
    });
    count
}

/// Its own limit is 512 KiB, which suffices for events that are streamed.
fn core_stream(chunks: &Chunks) -> Count {
    let mut count = Count::default();
    let mut events = SseStream::new(body(chunks));
    block_on(async {
        while let Some(item) = events.next().await {
            if let Ok(SseEvent::Message(message)) = item {
                count.add(&message, &message.data);
            }
        }
    });
    count
}
