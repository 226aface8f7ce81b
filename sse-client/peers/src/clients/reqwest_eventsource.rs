//! `reqwest-eventsource`: `eventsource-stream` on reqwest 0.12, with reconnection.

use futures_util::StreamExt as _;
use reqwest_0_12 as reqwest;
use reqwest_eventsource::{Event, RequestBuilderExt as _};

use crate::Client;

pub(super) const CLIENT: Client = Client {
    name: "reqwest-eventsource",
    version: "0.6.0",
    read: |url, meter| {
        Box::pin(async move {
            let mut items = reqwest::Client::new().get(url).eventsource()?;
            while let Some(item) = items.next().await {
                match item? {
                    Event::Message(event) if meter.is_done(&event, &event.data) => break,
                    _ => {}
                }
            }
            Ok(())
        })
    },
};
