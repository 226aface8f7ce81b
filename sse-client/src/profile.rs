//! Event sources for certain kinds of servers, as their documents and their ways want them.

use sse_proto::{Policy, Terminator};

use crate::builder::Builder;
use crate::source::EventSource;

/// The events with which a response of OpenAI's Responses API is over, for better or worse. An
/// `error` is told as such.
const OPENAI_ENDS: [&str; 4] =
    ["response.completed", "response.incomplete", "response.failed", "response.cancelled"];

/// For certain kinds of servers. What each returns is an ordinary [`Builder`], to be set further.
impl EventSource {
    /// A `POST` to a server with OpenAI's API: chat completions, which end with `[DONE]`, and
    /// responses, which end with an event. An end without either is a
    /// [failure](sse_proto::Failure::Incomplete), so that half an answer is not taken for a whole
    /// one; use [`post`](Self::post) and [`until`](Builder::until) for servers that leave the mark
    /// out. An event `error` is an [`Error::Event`](crate::Error::Event).
    ///
    /// ```
    /// # #[cfg(feature = "json")] {
    /// use sse_client::EventSource;
    ///
    /// let request = serde_json::json!({ "model": "m", "stream": true, "messages": [] });
    /// let builder = EventSource::openai("https://api.openai.com/v1/chat/completions")
    ///     .bearer_token("secret")
    ///     .json(&request);
    /// # }
    /// ```
    pub fn openai(url: impl AsRef<str>) -> Builder {
        let builder = Self::post(url).must_end_with("[DONE]");
        let ends = OPENAI_ENDS.map(|name| Terminator::EventType(name.to_owned()));
        let builder = ends.into_iter().fold(builder, Builder::must_end_with);
        builder.session(|config| config.error_events(["error"]))
    }

    /// A `POST` to a server with Anthropic's API, whose answers end with `message_stop`. Its errors
    /// come with status 200, as events `error`: [`Error::Event`](crate::Error::Event). The API's
    /// version is 2023-06-01; the key goes into the header `x-api-key`.
    pub fn anthropic(url: impl AsRef<str>) -> Builder {
        Self::post(url)
            .must_end_with(Terminator::EventType("message_stop".to_owned()))
            .session(|config| config.error_events(["error"]))
            .header("anthropic-version", "2023-06-01")
    }

    /// A `POST` of a message to an MCP server (2025-11-25, "Streamable HTTP"); set its body with
    /// `Builder::json`.
    ///
    /// The answer may be a stream, which is [resumed](Policy::Resume) by `GET` if it has ids, or a
    /// JSON text, which is one event, or a 202 without an event. The session id that the server
    /// gives out goes with the requests that resume; for those of other sources take it from
    /// [`EventSource::headers`]. [`Closed::Status`](crate::Closed::Status) of 404 asks for a new
    /// session.
    pub fn mcp(url: impl AsRef<str>) -> Builder {
        Self::post(url)
            .policy(Policy::Resume)
            .accepts("application/json")
            .accepts_status(202)
            .keep_header("Mcp-Session-Id")
    }

    /// The `GET` by which an MCP server sends what it has to say by itself. It may be silent for as
    /// long as it likes. [`Closed::Status`](crate::Closed::Status) of 405 says that the server has
    /// no such stream.
    pub fn mcp_listen(url: impl AsRef<str>) -> Builder {
        Self::get(url).keep_header("Mcp-Session-Id")
    }

    /// Updates of these topics from a Mercure hub, at its URL (`…/.well-known/mercure`). A hub that
    /// cannot continue from the last event ID says so: [`Item::Reset`](crate::Item::Reset) without
    /// channels.
    pub fn mercure<T: AsRef<str>>(
        hub: impl AsRef<str>,
        topics: impl IntoIterator<Item = T>,
    ) -> Builder {
        Self::get(hub).query(topics.into_iter().map(|topic| ("topic", topic)))
    }

    /// The channels of a django-eventstream server: another name of [`channels`](Self::channels).
    pub fn django<C: AsRef<str>>(
        url: impl AsRef<str>,
        channels: impl IntoIterator<Item = C>,
    ) -> Builder {
        Self::channels(url, channels)
    }

    /// Streams of Wikimedia's `EventStreams`, such as `recentchange`, at
    /// `https://stream.wikimedia.org` or another origin with the same paths. Their ids are JSON and
    /// are sent back byte for byte. Requests without a `User-Agent` are refused; give one with a
    /// way to reach you in place of this crate's, by [`header`](Builder::header).
    pub fn wikimedia<S: AsRef<str>>(
        origin: impl AsRef<str>,
        streams: impl IntoIterator<Item = S>,
    ) -> Builder {
        let mut url = format!("{}/v2/stream/", origin.as_ref().trim_end_matches('/'));
        for (number, stream) in streams.into_iter().enumerate() {
            if number > 0 {
                url.push(',');
            }
            url.push_str(stream.as_ref());
        }
        Self::get(url)
    }
}
