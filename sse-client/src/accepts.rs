//! Which responses are taken besides event streams with status 200, if the caller allows any.

/// What the caller allows. Nothing, by default.
#[derive(Clone, Debug, Default)]
pub(crate) struct Accepts {
    /// Media types of responses that are read as a whole, in lower case.
    pub(crate) whole: Vec<String>,
    /// Media types of event streams, in lower case; empty: a response without `Content-Type`.
    pub(crate) streams: Vec<String>,
    /// Statuses that are as good as 200.
    pub(crate) statuses: Vec<u16>,
}

/// What a response is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// For what the standard takes it.
    AsItIs,
    /// For an event stream.
    Stream,
    /// For one event, whose data are the body.
    Whole,
    /// For one that says that there is nothing to come.
    Nothing,
}

impl Accepts {
    pub(crate) fn judge(&self, status: u16, content_type: Option<&str>) -> Taken {
        let essence = sse_proto::mime_essence(content_type.unwrap_or_default().as_bytes());
        let essence = String::from_utf8_lossy(essence).to_ascii_lowercase();
        let is_allowed = self.statuses.contains(&status);
        let is_stream = essence == "text/event-stream"
            || (self.streams.contains(&essence) && (content_type.is_none() || !essence.is_empty()));
        if matches!(status, 200..=299) && !essence.is_empty() && self.whole.contains(&essence) {
            Taken::Whole
        } else if (status == 200 || is_allowed) && is_stream {
            Taken::Stream
        } else if is_allowed && content_type.is_none() {
            Taken::Nothing
        } else {
            Taken::AsItIs
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_allowed_is_as_the_standard_has_it() {
        let none = Accepts::default();
        let some = Accepts {
            whole: vec!["application/json".to_owned()],
            streams: vec!["text/plain".to_owned(), String::new()],
            statuses: vec![201, 202],
        };
        for (status, content_type, by_default, allowed) in [
            (200, Some("text/event-stream"), Taken::Stream, Taken::Stream),
            (201, Some("text/event-stream"), Taken::AsItIs, Taken::Stream),
            (206, Some("text/event-stream"), Taken::AsItIs, Taken::AsItIs),
            (200, Some("Application/JSON;charset=utf-8"), Taken::AsItIs, Taken::Whole),
            (203, Some("application/json"), Taken::AsItIs, Taken::Whole),
            (404, Some("application/json"), Taken::AsItIs, Taken::AsItIs),
            (200, Some("text/plain"), Taken::AsItIs, Taken::Stream),
            (200, Some("no type"), Taken::AsItIs, Taken::AsItIs),
            (200, None, Taken::AsItIs, Taken::Stream),
            (204, None, Taken::AsItIs, Taken::AsItIs),
        ] {
            assert_eq!(none.judge(status, content_type), by_default, "{status} {content_type:?}");
            assert_eq!(some.judge(status, content_type), allowed, "{status} {content_type:?}");
        }
        let mcp = Accepts { streams: Vec::new(), ..some };
        assert_eq!(mcp.judge(202, None), Taken::Nothing);
        assert_eq!(mcp.judge(202, Some("text/html")), Taken::AsItIs);
        assert_eq!(mcp.judge(200, None), Taken::AsItIs);
    }
}
