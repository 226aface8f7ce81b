//! `sse-client`.

use sse_client::EventSource;

use crate::Client;

pub(super) const CLIENT: Client = Client {
    name: "sse-client",
    version: env!("CARGO_PKG_VERSION"),
    read: |url, meter| {
        Box::pin(async move {
            let mut events = EventSource::get(url).events()?;
            while let Some(event) = events.next().await {
                let event = event?;
                if meter.is_done(&event, event.data()) {
                    break;
                }
            }
            Ok(())
        })
    },
};
