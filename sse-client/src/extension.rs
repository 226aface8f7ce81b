//! An event source from a request of reqwest's.

use reqwest::RequestBuilder;
use reqwest::header::HeaderName;

use crate::builder::Builder;
use crate::error::BuildError;
use crate::source::EventSource;

/// Makes event sources of requests that were set up with reqwest.
pub trait RequestBuilderExt {
    /// Sets up an event source that makes this request, by the client that it belongs to: see
    /// [`Builder::client`] for what that should be like. What is wrong with it is found when the
    /// source is [built](Builder::build), a [body](BuildError::StreamedBody) that can be sent only
    /// once included. A time limit of the request's own is not kept.
    ///
    /// ```
    /// use sse_client::{RequestBuilderExt, reqwest};
    ///
    /// let client = reqwest::Client::new();
    /// let request = client.get("https://example.com/events/").bearer_auth("secret");
    /// let source = request.event_source().last_event_id("news:17").build()?;
    /// # Ok::<(), sse_client::BuildError>(())
    /// ```
    fn event_source(self) -> Builder;
}

impl RequestBuilderExt for RequestBuilder {
    fn event_source(self) -> Builder {
        let (client, request) = self.build_split();
        let request = match request {
            Ok(request) => request,
            Err(error) => {
                let reason = error.to_string();
                return EventSource::builder("http://localhost/")
                    .refused(BuildError::Request { reason });
            }
        };
        let mut builder =
            EventSource::builder(request.url()).client(client).method(request.method().clone());
        for (name, value) in request.headers() {
            builder = builder.header_value(name.clone(), value.clone());
        }
        match request.body().map(reqwest::Body::as_bytes) {
            Some(Some(body)) => builder.body(body.to_vec()),
            Some(None) => builder.refused(BuildError::StreamedBody),
            None => builder,
        }
    }
}

impl Builder {
    fn header_value(mut self, name: HeaderName, value: reqwest::header::HeaderValue) -> Self {
        self.add(name, value);
        self
    }
}
