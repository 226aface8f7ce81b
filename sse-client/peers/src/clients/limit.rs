//! No client: the body of a reqwest response, to its end.

use std::hint::black_box;

use futures_util::StreamExt as _;

use crate::Client;

pub(super) const CLIENT: Client = Client {
    name: "limit: reqwest alone",
    version: "0.13",
    read: |url, _| {
        Box::pin(async move {
            let mut chunks = reqwest::Client::new().get(url).send().await?.bytes_stream();
            while let Some(chunk) = chunks.next().await {
                black_box(chunk?);
            }
            Ok(())
        })
    },
};
