//! `sse-reqwest-client`: `sse-core` on reqwest, with reconnection.

use futures_util::StreamExt as _;
use sse_reqwest_client::{RequestBuilderExt as _, SseEvent};

use crate::Client;

pub(super) const CLIENT: Client = Client {
    name: "sse-reqwest-client",
    version: "0.4.0",
    read: |url, meter| {
        Box::pin(async move {
            let mut items = reqwest::Client::new().get(url).into_event_source();
            while let Some(item) = items.next().await {
                match item? {
                    SseEvent::Message(event) if meter.is_done(&event, &event.data) => break,
                    SseEvent::Error(error) => return Err(error.into()),
                    _ => {}
                }
            }
            Ok(())
        })
    },
};
