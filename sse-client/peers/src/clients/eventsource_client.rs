//! `eventsource-client`, on the transport that its documentation shows: hyper.

use eventsource_client::{Client as _, ClientBuilder, SSE};
use futures_util::StreamExt as _;
use launchdarkly_sdk_transport::HyperTransport;

use crate::Client;

pub(super) const CLIENT: Client = Client {
    name: "eventsource-client",
    version: "0.18.0",
    read: |url, meter| {
        Box::pin(async move {
            let transport = HyperTransport::builder().build_http()?;
            let client = ClientBuilder::for_url(url)
                .map_err(|error| format!("{error:?}"))?
                .build_with_transport(transport);
            let mut items = client.stream();
            while let Some(item) = items.next().await {
                match item.map_err(|error| format!("{error:?}"))? {
                    SSE::Event(event) if meter.is_done(&event, &event.data) => break,
                    _ => {}
                }
            }
            Ok(())
        })
    },
};
