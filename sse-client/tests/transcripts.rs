//! What servers of each profile send, from their documents and their wire, and what becomes of it.

mod server;

use server::{Connection, Server, data, end, error, item, run, silent_end};
use sse_client::{Builder, Closed, Error, EventSource, Failure, Item, State};

/// A stream in chunks, as most of these servers send it. It does not end.
fn chunked(headers: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\n{headers}Content-Type: text/event-stream; charset=utf-8\r\n\
         Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n",
        body.len()
    )
}

/// What comes in a body until it ends.
const END: &str = "0\r\n\r\n";

/// A source with short waits.
fn build(builder: Builder) -> EventSource {
    let builder = builder.session(|config| config.backoff(server::quick()));
    builder.build().expect("a valid set-up")
}

async fn answer(server: &mut Server, source: &mut EventSource, bytes: &str) -> Connection {
    let connection = server.answer(source, bytes).await;
    assert_eq!(item(source).await, Item::Open);
    connection
}

/// All events to the end, which must be a good one.
async fn events(source: &mut EventSource) -> Vec<(String, String)> {
    let mut events = Vec::new();
    while let Some(item) = source.next().await {
        if let Some(event) = item.expect("good news").into_event() {
            events.push((event.event_type().to_owned(), event.data().to_owned()));
        }
    }
    events
}

#[test]
fn openai_chat_completions() {
    run(async {
        let mut server = Server::start().await;
        let builder = || EventSource::openai(server.url("/events/v1/chat/completions")).body("{}");
        let (mut whole, mut half) = (build(builder()), build(builder()));
        let chunks = "data: {\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\
             \"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}\n\n\
             : keep-alive\n\n\
             data: {\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\
             \"delta\":{\"content\":\"[DONE] is no mark here\"},\"finish_reason\":\"stop\"}]}\n\n";
        let body = chunked("", &format!("{chunks}data: [DONE]\n\n")) + END;
        let connection = answer(&mut server, &mut whole, &body).await;
        assert_eq!(connection.method(), "POST");
        assert_eq!(events(&mut whole).await.len(), 2);
        assert_eq!(whole.state(), State::Closed(Closed::Complete));

        // A proxy gives up in the middle, and says so in its own way.
        let body = chunked("", &format!("{chunks}{{\"error\":\"upstream\"}}\n")) + END;
        drop(answer(&mut server, &mut half, &body).await);
        data(&mut half).await;
        data(&mut half).await;
        let closed = end(&mut half).await;
        assert_eq!(*closed.reason(), Closed::GaveUp(Failure::Incomplete));
        assert_eq!(closed.body(), "{\"error\":\"upstream\"}");
    });
}

#[test]
fn openai_responses() {
    run(async {
        let mut server = Server::start().await;
        for last in ["completed", "incomplete", "failed"] {
            let builder = EventSource::openai(server.url("/events/v1/responses")).body("{}");
            let mut source = build(builder);
            let body = format!(
                "event: response.created\ndata: {{\"type\":\"response.created\",\
                 \"sequence_number\":0}}\n\nevent: response.output_text.delta\n\
                 data: {{\"type\":\"response.output_text.delta\",\"delta\":\"Hi\"}}\n\n\
                 event: response.{last}\ndata: {{\"type\":\"response.{last}\"}}\n\n"
            );
            let _connection = answer(&mut server, &mut source, &chunked("", &body)).await;
            let events = events(&mut source).await;
            assert_eq!(events.last().expect("events").0, format!("response.{last}"));
        }
        let builder = EventSource::openai(server.url("/events/v1/responses")).body("{}");
        let mut source = build(builder);
        let body = chunked("", "event: error\ndata: {\"code\":\"server_error\"}\n\n") + END;
        let _connection = answer(&mut server, &mut source, &body).await;
        assert!(matches!(error(&mut source).await, Error::Event(_)));
        assert!(error(&mut source).await.is_final());
    });
}

#[test]
fn anthropic_messages() {
    run(async {
        let mut server = Server::start().await;
        let builder = || EventSource::anthropic(server.url("/events/v1/messages")).body("{}");
        let (mut whole, mut failed) = (build(builder()), build(builder()));
        let start = "event: message_start\ndata: {\"type\":\"message_start\"}\n\n\
             event: ping\ndata: {\"type\": \"ping\"}\n\n\
             event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\
             \"delta\":{\"type\":\"text_delta\",\"text\":\"Hi\"}}\n\n";
        let stop = "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
        let body = chunked("", &format!("{start}{stop}"));
        let connection = answer(&mut server, &mut whole, &body).await;
        assert_eq!(connection.header("anthropic-version"), Some(&b"2023-06-01"[..]));
        let types: Vec<_> = events(&mut whole).await.into_iter().map(|event| event.0).collect();
        assert_eq!(types, ["message_start", "ping", "content_block_delta", "message_stop"]);

        let overloaded = "event: error\ndata: {\"type\":\"error\",\"error\":\
             {\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n";
        let body = chunked("", &format!("{start}{overloaded}")) + END;
        let _connection = answer(&mut server, &mut failed, &body).await;
        for _ in 0..3 {
            data(&mut failed).await;
        }
        let Error::Event(event) = error(&mut failed).await else { panic!("an error event") };
        assert!(event.data().contains("overloaded_error"));
        assert_eq!(*end(&mut failed).await.reason(), Closed::GaveUp(Failure::Incomplete));
    });
}

#[test]
fn mcp_from_initialize_to_a_resumed_call() {
    run(async {
        let mut server = Server::start().await;
        let post = |server: &Server, body: &'static str| {
            EventSource::mcp(server.url("/events/mcp"))
                .header("Content-Type", "application/json")
                .body(body)
        };
        // The answer to `initialize` is JSON, and has the session id.
        let mut source = build(post(&server, "{\"method\":\"initialize\"}"));
        let json = "{\"jsonrpc\":\"2.0\",\"id\":0,\"result\":{}}";
        let reply = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nMcp-Session-Id: s-1\r\n\
             Content-Length: {}\r\n\r\n{json}",
            json.len()
        );
        let connection = answer(&mut server, &mut source, &reply).await;
        let accept = connection.header("Accept").expect("it is sent");
        assert_eq!(accept, b"application/json, text/event-stream");
        assert_eq!(events(&mut source).await, [("message".to_owned(), json.to_owned())]);
        let session = source.headers()["mcp-session-id"].to_str().expect("ASCII").to_owned();

        // A notification is taken and has no answer.
        let notification = post(&server, "{\"method\":\"notifications/initialized\"}");
        let mut source = build(notification.header("Mcp-Session-Id", &session));
        let taken = "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n";
        let connection = answer(&mut server, &mut source, taken).await;
        assert_eq!(connection.header("Mcp-Session-Id"), Some(&b"s-1"[..]));
        silent_end(&mut source).await;

        // A call is answered by a stream, which is primed, cut, held, and resumed.
        let call = post(&server, "{\"method\":\"tools/call\"}");
        let mut source = build(call);
        let primed = chunked("Mcp-Session-Id: s-2\r\n", "id: 1\nretry: 10\ndata:\n\n");
        let first = answer(&mut server, &mut source, &primed).await;
        assert_eq!(first.method(), "POST");
        assert_eq!(data(&mut source).await, "");
        drop(first);
        drop(server.answer(&mut source, server::refusal(409, "held")).await);
        let result = chunked("", "id: 2\ndata: {\"id\":1}\n\n");
        let resumed = answer(&mut server, &mut source, &result).await;
        assert_eq!((resumed.method(), &*resumed.body), ("GET", &b""[..]));
        assert_eq!(resumed.header("Last-Event-ID"), Some(&b"1"[..]));
        assert_eq!(resumed.header("Mcp-Session-Id"), Some(&b"s-2"[..]));
        assert_eq!(data(&mut source).await, "{\"id\":1}");
        drop(resumed);
        drop(server.answer(&mut source, server::refusal(404, "no session")).await);
        assert_eq!(*end(&mut source).await.reason(), Closed::Status(404));

        // A server that has nothing to say by itself.
        let mut source = build(EventSource::mcp_listen(server.url("/events/mcp")));
        drop(server.answer(&mut source, server::refusal(405, "")).await);
        assert_eq!(*end(&mut source).await.reason(), Closed::Status(405));
    });
}

#[test]
fn mercure_updates_and_a_gap() {
    run(async {
        let mut server = Server::start().await;
        let hub = server.url("/events/.well-known/mercure");
        let mut source = build(EventSource::mercure(hub, ["https://a.example/{id}", "b"]));
        let update = ":\n\nid: urn:uuid:5e94c686\ndata: {\n\
                      data:   \"status\": \"OutOfStock\"\ndata: }\n\n";
        let first = answer(&mut server, &mut source, &chunked("", update)).await;
        let query = "?topic=https%3A%2F%2Fa.example%2F%7Bid%7D&topic=b";
        assert!(first.path().ends_with(query), "{}", first.path());
        assert_eq!(data(&mut source).await, "{\n  \"status\": \"OutOfStock\"\n}");
        drop(first);
        let head = "Last-Event-ID: urn:uuid:00000000\r\n";
        let again = answer(&mut server, &mut source, &chunked(head, ":\n\n")).await;
        assert_eq!(again.header("Last-Event-ID"), Some(&b"urn:uuid:5e94c686"[..]));
        assert_eq!(item(&mut source).await, Item::Reset { channels: Vec::new() });
    });
}

#[test]
fn django_eventstream_with_a_reset_and_an_error() {
    run(async {
        let mut server = Server::start().await;
        let mut source = build(EventSource::django(server.url("/events/"), ["a", "b"]));
        let body = ":                              \n\nevent: stream-open\ndata:\n\n\
                    event: message\nid: a:1,b:0\ndata: {\"text\": \"hi\"}\n\n\
                    event: keep-alive\ndata:\n\n";
        let first = answer(&mut server, &mut source, &chunked("", body)).await;
        assert_eq!(first.path(), "/events/?channel=a&channel=b");
        assert_eq!(data(&mut source).await, "{\"text\": \"hi\"}");
        drop(first);
        let body = "event: stream-open\ndata:\n\n\
                    event: stream-reset\nid: a:7,b:0\ndata: {\"channels\": [\"a\"]}\n\n\
                    event: stream-error\nid: error\n\
                    data: {\"condition\": \"forbidden\", \"text\": \"no\"}\n\n";
        let again = answer(&mut server, &mut source, &chunked("", body)).await;
        assert_eq!(again.header("Last-Event-ID"), Some(&b"a:1,b:0"[..]));
        assert_eq!(item(&mut source).await, Item::Reset { channels: vec!["a".to_owned()] });
        assert!(matches!(end(&mut source).await.reason(), Closed::StreamError(_)));
        assert_eq!(source.last_event_id(), Some("a:7,b:0"));
    });
}

#[test]
fn wikimedia_ids_are_sent_back_as_they_came() {
    run(async {
        let mut server = Server::start().await;
        let origin = server.url("/events/");
        let builder = EventSource::wikimedia(origin, ["recentchange", "page-create"]);
        let mut source = build(builder);
        let id = "[{\"topic\":\"eqiad.mediawiki.recentchange\",\"partition\":0,\
                  \"timestamp\":1700000000001},{\"topic\":\"codfw.mediawiki.recentchange\",\
                  \"partition\":0,\"offset\":-1}]";
        let body = format!(":ok\n\nevent: message\nid: {id}\ndata: {{\"meta\":{{}}}}\n\n");
        let first = answer(&mut server, &mut source, &chunked("", &body)).await;
        assert_eq!(first.path(), "/events/v2/stream/recentchange,page-create");
        assert!(first.header("User-Agent").is_some_and(|name| !name.is_empty()));
        assert_eq!(data(&mut source).await, "{\"meta\":{}}");
        drop(first);
        let again = answer(&mut server, &mut source, &chunked("", ":ok\n\n")).await;
        assert_eq!(again.header("Last-Event-ID"), Some(id.as_bytes()));
    });
}
