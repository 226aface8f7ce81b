//! What is published at a proxy.

use std::collections::BTreeMap;

use serde::Serialize;

use super::hold::plain;

/// Something for the connections that are held on a channel.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
#[must_use]
pub struct Item {
    channel: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prev_id: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    meta: BTreeMap<&'static str, String>,
    formats: Formats,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Formats {
    http_stream: HttpStream,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct HttpStream {
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    content_filters: Vec<&'static str>,
}

impl Item {
    fn new(
        channel: impl Into<String>,
        content: Option<String>,
        action: Option<&'static str>,
    ) -> Self {
        let http_stream = HttpStream { content, action, content_filters: Vec::new() };
        // The same as in a hold, whatever the name.
        let (channel, formats) = (plain(&channel.into()), Formats { http_stream });
        Self { channel, id: None, prev_id: None, meta: BTreeMap::new(), formats }
    }

    /// Bytes of a stream: whole events, each with its blank line.
    pub fn stream(channel: impl Into<String>, content: impl Into<String>) -> Self {
        Self::new(channel, Some(content.into()), None)
    }

    /// The end of the stream.
    pub fn close(channel: impl Into<String>) -> Self {
        Self::new(channel, None, Some("close"))
    }

    /// Nothing but a reason to follow the next link now.
    pub fn hint(channel: impl Into<String>) -> Self {
        Self::new(channel, None, Some("hint"))
    }

    /// Its id, and that of the item before it on this channel: a connection that has not got that
    /// one follows its next link. An id that was published on this channel within the last minute
    /// is ignored.
    pub fn ids(mut self, id: &str, prev_id: &str) -> Self {
        (self.id, self.prev_id) = (Some(id.to_owned()), Some(prev_id.to_owned()));
        self
    }

    /// Something that filters look at: `skip_users`, `sender`, `require_sub`.
    pub fn meta(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.meta.insert(name, value.into());
        self
    }

    /// The filters that change its content. They must be those of the channel in the
    /// [`Hold`](super::Hold), or the proxy closes the connection.
    pub fn content_filters(mut self, filters: &[&'static str]) -> Self {
        self.formats.http_stream.content_filters = filters.to_vec();
        self
    }

    /// About how many bytes it has as JSON.
    pub(crate) fn size(&self) -> usize {
        let content = self.formats.http_stream.content.as_ref().map_or(0, |content| {
            let escaped = content.bytes().filter(|byte| matches!(byte, b'"' | b'\\' | b'\n'));
            content.len() + escaped.count()
        });
        content + self.channel.len() + 200
    }
}

/// Items as the body of a request to publish.
#[derive(Serialize)]
pub(super) struct Items<'a> {
    pub(super) items: &'a [Item],
}
