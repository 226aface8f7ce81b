//! `eventsource-client`. Its parser is private, so it is used as it is meant to be: as a client,
//! whose transport answers with the stream and whose reconnecting is off. All that comes before the
//! first byte is a few microseconds.

use std::convert::Infallible;
use std::future;

use bytes::Bytes;
use eventsource_client::{Client as _, ClientBuilder, ReconnectOptions, SSE};
use futures::executor::block_on;
use futures::{Stream, StreamExt as _, stream};
use launchdarkly_sdk_transport::{
    ByteStream, HttpTransport, Request, Response, ResponseFuture, TransportError,
};

use crate::{Codec, Count, Delivered, Event, Form};

pub(crate) const CODEC: Codec = Codec {
    name: "eventsource-client",
    version: "0.18.0",
    ours: false,
    form: Form::Owned,
    deliver: |chunks, last_event_id| {
        let mut delivered =
            Delivered { last_event_id: last_event_id.to_owned(), ..Delivered::default() };
        let chunks: Vec<_> = chunks.iter().map(|chunk| Bytes::copy_from_slice(chunk)).collect();
        let mut events = connect(move || chunks.clone().into_iter(), last_event_id);
        while let Some(event) = block_on(events.next()) {
            delivered.retry = event.retry.or(delivered.retry);
            let last_event_id = event.id.unwrap_or_default();
            delivered.last_event_id = last_event_id.clone();
            delivered.events.push(Event {
                event_type: event.event_type,
                data: event.data,
                last_event_id,
            });
        }
        delivered
    },
    count: |chunks| {
        let mut count = Count::default();
        let chunks = chunks.clone();
        let mut events = connect(move || chunks.shared(), "");
        block_on(async {
            while let Some(event) = events.next().await {
                count.add(&event, &event.data);
            }
        });
        count
    },
};

/// A server that answers every request with the same chunks.
#[derive(Clone)]
struct Server<F>(F);

impl<F, I> HttpTransport for Server<F>
where
    F: Fn() -> I + Clone + Send + Sync + 'static,
    I: Iterator<Item = Bytes> + Send + Sync + 'static,
{
    fn request(&self, _: Request<Option<Bytes>>) -> ResponseFuture {
        let chunks = self.0().map(Ok::<_, Infallible>);
        let body = stream::iter(chunks).map(|chunk| chunk.map_err(TransportError::new));
        let body: ByteStream = Box::pin(body);
        Box::pin(future::ready(Ok(Response::new(body))))
    }
}

/// The events, up to the end of the stream, which the client takes for an error, or another error.
fn connect<F, I>(chunks: F, last_event_id: &str) -> impl Stream<Item = eventsource_client::Event>
where
    F: Fn() -> I + Clone + Send + Sync + 'static,
    I: Iterator<Item = Bytes> + Send + Sync + 'static,
{
    let client = ClientBuilder::for_url("http://localhost/")
        .expect("this is a URL")
        .last_event_id(last_event_id.to_owned())
        .reconnect(ReconnectOptions::reconnect(false).build())
        .build_with_transport(Server(chunks));
    let items = client.stream().take_while(|item| future::ready(item.is_ok()));
    items.filter_map(|item| {
        future::ready(match item {
            Ok(SSE::Event(event)) => Some(event),
            _ => None,
        })
    })
}
