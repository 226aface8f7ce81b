//! `eventsource-stream` on the body of a reqwest response, as its documentation shows it: without
//! reconnection.

use eventsource_stream::Eventsource as _;
use futures_util::StreamExt as _;

use crate::Client;

pub(super) const CLIENT: Client = Client {
    name: "eventsource-stream",
    version: "0.2.3",
    read: |url, meter| {
        Box::pin(async move {
            let response = reqwest::Client::new().get(url).send().await?;
            let mut events = response.bytes_stream().eventsource();
            while let Some(event) = events.next().await {
                let event = event?;
                if meter.is_done(&event, &event.data) {
                    break;
                }
            }
            Ok(())
        })
    },
};
