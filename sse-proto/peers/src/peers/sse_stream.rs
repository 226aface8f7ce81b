//! `sse-stream`. Its natural use is `SseByteStream` on a stream of byte buffers, of which any will
//! do, so it is given slices.
//!
//! It yields blocks and says that "fields are not inherited from previous blocks" and that
//! "metadata-only blocks are returned too", so to remember the id and to pass over blocks without
//! data is left to the reader, and done here.

use std::convert::Infallible;

use futures::executor::block_on;
use futures::{StreamExt as _, stream};
use sse_stream::SseByteStream;

use crate::{Codec, Count, Delivered, Event, Form};

pub(crate) const CODEC: Codec = Codec {
    name: "sse-stream",
    version: "0.3.0",
    ours: false,
    form: Form::Owned,
    deliver: |chunks, last_event_id| {
        let mut delivered =
            Delivered { last_event_id: last_event_id.to_owned(), ..Delivered::default() };
        let chunks = chunks.iter().map(|chunk| Ok::<_, Infallible>(*chunk));
        let mut blocks = SseByteStream::new(stream::iter(chunks));
        // An error is the end of it.
        while let Some(Ok(block)) = block_on(blocks.next()) {
            delivered.retry = block.retry.or(delivered.retry);
            if let Some(id) = block.id {
                delivered.last_event_id = id;
            }
            if let Some(data) = block.data {
                let event_type = block.event.filter(|event_type| !event_type.is_empty());
                delivered.events.push(Event {
                    event_type: event_type.unwrap_or_else(|| "message".to_owned()),
                    data,
                    last_event_id: delivered.last_event_id.clone(),
                });
            }
        }
        delivered
    },
    count: |chunks| {
        let mut count = Count::default();
        let chunks = chunks.slices().map(Ok::<_, Infallible>);
        let mut blocks = SseByteStream::new(stream::iter(chunks));
        block_on(async {
            while let Some(Ok(block)) = blocks.next().await {
                if let Some(data) = &block.data {
                    count.add(&block, data);
                }
            }
        });
        count
    },
};
