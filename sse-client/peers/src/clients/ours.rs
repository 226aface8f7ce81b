//! `sse-client`, by each of its transports.

use std::time::Duration;

use sse_client::transport::Hyper;
use sse_client::{Builder, EventSource};

use crate::{Client, Error, Meter};

pub(super) const CLIENT: Client = Client {
    name: "sse-client",
    version: env!("CARGO_PKG_VERSION"),
    read: |url, meter| Box::pin(read(EventSource::get(url), meter)),
};

pub(super) const BY_HYPER: Client = Client {
    name: "sse-client, by hyper",
    version: env!("CARGO_PKG_VERSION"),
    read: |url, meter| {
        let hyper = Hyper::new(Duration::from_secs(30));
        Box::pin(read(EventSource::get(url).transport(hyper), meter))
    },
};

async fn read(builder: Builder, meter: &mut Meter) -> Result<(), Error> {
    let mut events = builder.events()?;
    while let Some(event) = events.next().await {
        let event = event?;
        if meter.is_done(&event, event.data()) {
            break;
        }
    }
    Ok(())
}
