//! What counts as a stream, what does not, and what is done with a response to its end.

mod server;

use std::time::Duration;

use server::{Server, data, end, error, item, refusal, run, silent_end};
use sse_client::{Builder, Closed, Error, Failure, Item, Policy, State, Terminator};
use tokio::io::AsyncWriteExt;

fn head(headers: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{headers}\r\n")
}

#[test]
fn a_content_type_that_comes_twice_is_read_as_browsers_do() {
    run(async {
        let mut server = Server::start().await;
        for types in [
            "Content-Type: text/event-stream, text/event-stream\r\n",
            "Content-Type: application/json, text/event-stream; charset=utf-8\r\n",
            "Content-Type: text/html\r\nContent-Type: text/event-stream\r\n",
        ] {
            let mut source = server.source();
            let _connection = server.answer(&mut source, head(types) + "data: a\n\n").await;
            assert_eq!(item(&mut source).await, Item::Open, "{types}");
        }
        let mut source = server.source();
        let types = "Content-Type: text/event-stream\r\nContent-Type: text/html\r\n";
        drop(server.answer(&mut source, head(types)).await);
        let found = Some("text/event-stream, text/html".to_owned());
        assert_eq!(*end(&mut source).await.reason(), Closed::ContentType(found));
    });
}

#[test]
fn an_unknown_coding_is_refused_by_name() {
    run(async {
        let mut server = Server::start().await;
        for (coding, name) in [("compress", "compress"), ("GZip, aes128gcm", "aes128gcm")] {
            let mut source = server.source();
            let headers =
                format!("Content-Type: text/event-stream\r\nContent-Encoding: {coding}\r\n");
            drop(server.answer(&mut source, head(&headers) + "\x1f\x0b").await);
            let closed = end(&mut source).await;
            assert_eq!(*closed.reason(), Closed::ContentCoding);
            assert!(closed.to_string().contains(&format!("coding is {name:?}")), "{closed}");
        }
        // A refusal stays what it is, although its text cannot be read.
        let mut source = server.source();
        let refused = "HTTP/1.1 403 No\r\nContent-Encoding: compress\r\nContent-Length: 1\r\n\r\nx";
        drop(server.answer(&mut source, refused).await);
        assert_eq!(*end(&mut source).await.reason(), Closed::Status(403));
    });
}

#[test]
fn a_transfer_coding_that_nobody_has_asked_for_is_refused_by_name() {
    run(async {
        let mut server = Server::start().await;
        let builders = [
            server.builder(),
            #[cfg(feature = "hyper")]
            server.builder().transport(sse_client::transport::Hyper::new(Duration::from_secs(30))),
        ];
        for builder in builders {
            let open =
                |codings: &str| head(&format!("Content-Type: text/event-stream\r\n{codings}\r\n"));
            for (codings, name) in [
                ("Transfer-Encoding: gzip, chunked", "gzip"),
                ("transfer-encoding: Compress", "compress"),
                ("Transfer-Encoding: deflate\r\nTransfer-Encoding: chunked", "deflate"),
                ("Transfer-Encoding: chunked;q=1", "chunked;q=1"),
            ] {
                let mut source = builder.clone().build().expect("a valid set-up");
                drop(server.answer(&mut source, open(codings) + "9\r\ndata: a\n\n\r\n").await);
                let closed = end(&mut source).await;
                assert_eq!(*closed.reason(), Closed::ContentCoding, "{codings}");
                assert!(closed.to_string().contains(&format!("coding is {name:?}")), "{closed}");
            }
            for (codings, body) in [
                ("Transfer-Encoding: Chunked", "9\r\ndata: a\n\n\r\n0\r\n\r\n"),
                ("Transfer-Encoding: identity", "data: a\n\n"),
            ] {
                let mut source = builder.clone().build().expect("a valid set-up");
                drop(server.answer(&mut source, open(codings) + body).await);
                assert_eq!(item(&mut source).await, Item::Open, "{codings}");
                assert_eq!(data(&mut source).await, "a");
            }
        }
        // A refusal stays what it is, although its text cannot be read.
        let mut source = server.source();
        let refused = "HTTP/1.1 403 No\r\nTransfer-Encoding: gzip\r\n\r\nx";
        drop(server.answer(&mut source, refused).await);
        assert_eq!(*end(&mut source).await.reason(), Closed::Status(403));
    });
}

#[test]
fn retry_after_that_comes_twice_asks_for_the_longer_wait() {
    run(async {
        let mut server = Server::start().await;
        let mut source = server.source();
        let busy = "HTTP/1.1 503 Busy\r\nRetry-After: 5\r\nRetry-After: 3600\r\n\
                    Content-Length: 0\r\n\r\n";
        drop(server.answer(&mut source, busy).await);
        let Some(Ok(Item::Waiting { .. })) = source.next().await else { panic!("it waits") };
        let State::Waiting { until, .. } = source.state() else { panic!("it waits") };
        assert!(until >= Duration::from_secs(3600), "{until:?}");
    });
}

#[test]
fn what_a_server_says_is_quoted_in_part_and_on_one_line() {
    run(async {
        let mut server = Server::start().await;
        let long = "x".repeat(100_000);
        let stream = "Content-Type: text/event-stream\r\n";
        let moved = |location: &str| {
            format!("HTTP/1.1 302 Moved\r\nLocation: {location}{long}\r\nConnection: close\r\n\r\n")
        };
        let error = format!("event: stream-error\ndata: {{\"text\": \"\\u001b\\n{long}\"}}\n\n");
        for (answer, quoted) in [
            (head(&format!("Content-Type: text/html; x={long}\r\n")), "\"text/html; x="),
            (head(&format!("{stream}Content-Encoding: {long}\r\n")), "coding is \"xxx"),
            (head(&format!("{stream}Transfer-Encoding: {long}\r\n")), "coding is \"xxx"),
            (moved("http://u:secret@[bad/?token=secret"), "location \"http:…@[bad/\" of"),
            (moved("http://[bad/"), "location \"http://[bad/xxx"),
            (head(stream) + &error, "the server ended the stream: : \\u{1b}\\nxxx"),
            (refusal(403, &format!("\u{1b}{long}")), "\"\\u{1b}xxx"),
        ] {
            let mut source = server.source();
            drop(server.answer(&mut source, answer).await);
            let closed = loop {
                match source.next().await.expect("it goes on") {
                    Err(Error::Closed(closed)) => break closed,
                    Err(error) => panic!("unexpected {error}"),
                    Ok(_) => {}
                }
            };
            let failure = source.last_failure().expect("a failure").to_owned();
            let shown = [
                closed.to_string(),
                format!("{closed:?} {:?}", closed.reason()),
                format!("{:?}", source.last_refusal()),
                format!("{:?}", std::error::Error::source(&*closed)),
                format!("{source:?}"),
                failure,
            ];
            assert!(shown[0].contains(quoted), "{closed}");
            for shown in shown {
                assert!(shown.len() < 1200, "{quoted}: {} bytes: {shown:.300}", shown.len());
                assert!(!shown.contains("secret") && !shown.contains(char::is_control), "{shown}");
            }
        }
    });
}

#[test]
fn items_quote_what_a_server_says_in_part() {
    run(async {
        let mut server = Server::start().await;
        let long = "x".repeat(100_000);
        let builder = server.builder().session(|config| config.error_events([long.clone()]));
        let mut source = builder.build().expect("a valid set-up");
        let id = format!("\u{1}{long}");
        let body = format!("id: {id}\nevent: {long}\ndata: {long}\n\n");
        drop(server.open(&mut source, &body).await);
        let event = error(&mut source).await;
        assert!(matches!(&event, Error::Event(event) if event.data() == long));
        let _connection =
            server.answer(&mut source, head("Content-Type: text/event-stream\r\n")).await;
        let withheld = error(&mut source).await;
        assert!(matches!(&withheld, Error::IdWithheld { id: whole } if *whole == id));
        let shown =
            format!("{event} {event:?} {withheld} {withheld:?} {source:?} {:?}", source.handle());
        assert!(shown.len() < 3000, "{} bytes", shown.len());
        assert!(shown.contains("\"\\u{1}xxx"), "{shown}");
    });
}

#[test]
fn a_folded_header_and_many_headers_are_read() {
    run(async {
        let mut server = Server::start().await;
        let many = "X-Many: 1\r\n".repeat(200);
        for headers in ["X-Folded: a\r\n b\r\n", &many] {
            let mut source = server.source();
            let headers = format!("{headers}Content-Type: text/event-stream\r\n");
            let _connection = server.answer(&mut source, head(&headers)).await;
            assert_eq!(item(&mut source).await, Item::Open);
            let folded = source.headers().get("x-folded");
            assert!(folded.is_none_or(|value| !value.as_bytes().contains(&b'\n')), "{folded:?}");
        }
    });
}

#[test]
fn a_whole_json_answer_is_an_event_if_it_is_allowed() {
    run(async {
        let mut server = Server::start().await;
        let json = "HTTP/1.1 200 OK\r\nContent-Type: Application/JSON; charset=utf-8\r\n\
                    Content-Length: 17\r\n\r\n{\"id\":1,\r\n\"x\":\"é\"}";
        let json = json.replace("Length: 17", "Length: 19");
        let mut source = server.post("{}").accepts("application/json").build().expect("valid");
        let connection = server.answer(&mut source, &json).await;
        let accept = connection.header("Accept").expect("it is sent");
        assert_eq!(accept, b"application/json, text/event-stream");
        assert_eq!(item(&mut source).await, Item::Open);
        assert_eq!(data(&mut source).await, "{\"id\":1,\r\n\"x\":\"é\"}");
        silent_end(&mut source).await;
        assert_eq!(source.state(), State::Closed(Closed::Complete));

        // A stream stays one.
        let mut source = server.post("{}").accepts("application/json").build().expect("valid");
        let _connection = server.open(&mut source, "data: a\n\n").await;
        assert_eq!(data(&mut source).await, "a");

        // Half of it is none.
        let mut source = server.post("{}").accepts("application/json").build().expect("valid");
        drop(server.answer(&mut source, &json[..json.len() - 4]).await);
        assert_eq!(item(&mut source).await, Item::Open);
        assert_eq!(*end(&mut source).await.reason(), Closed::GaveUp(Failure::Network));

        let mut source = server.post("{}").build().expect("valid");
        drop(server.answer(&mut source, &json).await);
        assert!(matches!(end(&mut source).await.reason(), Closed::ContentType(Some(_))));
    });
}

#[test]
fn other_statuses_and_types_are_taken_if_they_are_allowed() {
    run(async {
        let mut server = Server::start().await;
        let mut source = server.post("{}").accepts_status(202).build().expect("valid");
        let accepted = "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n";
        let _connection = server.answer(&mut source, accepted).await;
        assert_eq!(item(&mut source).await, Item::Open);
        silent_end(&mut source).await;
        assert_eq!((source.status(), source.state()), (Some(202), State::Closed(Closed::Complete)));

        let open = |allow: fn(Builder) -> Builder| allow(server.builder()).build().expect("valid");
        let created = open(|builder| builder.accepts_status(201));
        let plain = open(|builder| builder.accepts_stream_as("text/plain"));
        let untyped = open(|builder| builder.accepts_stream_as(""));
        for (mut source, answer) in [
            (created, "HTTP/1.1 201 Created\r\nContent-Type: text/event-stream\r\n\r\n"),
            (plain, "HTTP/1.1 200 OK\r\nContent-Type: Text/Plain\r\n\r\n"),
            (untyped, "HTTP/1.1 200 OK\r\n\r\n"),
        ] {
            let answer = format!("{answer}data: a\n\n");
            let _connection = server.answer(&mut source, answer).await;
            assert_eq!(item(&mut source).await, Item::Open);
            assert_eq!(data(&mut source).await, "a");
        }
    });
}

#[test]
fn what_came_unframed_is_told_when_a_stream_is_cut() {
    run(async {
        let mut server = Server::start().await;
        let said = r#"{"error":{"code":429,"message":"overloaded"}}"#;
        for body in [
            format!("data: a\n\n{said}"),
            format!("data: a\n\n: ping\n\n{said}\n\n"),
            format!("data: a\n\nerror: {said}\n\n"),
        ] {
            let builder = server.post("x").must_end_with("[DONE]");
            let mut source = builder.build().expect("a valid set-up");
            drop(server.open(&mut source, &body).await);
            assert_eq!(data(&mut source).await, "a");
            let closed = end(&mut source).await;
            assert_eq!(*closed.reason(), Closed::GaveUp(Failure::Incomplete));
            assert!(closed.body().contains(said), "{}", closed.body());
            assert!(closed.to_string().contains("overloaded"), "{closed}");
        }
    });
}

#[test]
fn several_events_can_complete_an_answer() {
    run(async {
        let mut server = Server::start().await;
        for last in ["response.completed", "response.incomplete", "response.failed"] {
            let builder = ["response.completed", "response.incomplete", "response.failed"]
                .into_iter()
                .fold(server.post("x"), |builder, name| {
                    builder.must_end_with(Terminator::EventType(name.to_owned()))
                });
            let mut source = builder.build().expect("a valid set-up");
            let body = format!("event: response.created\ndata: 1\n\nevent: {last}\ndata: 2\n\n");
            drop(server.open(&mut source, &body).await);
            assert_eq!(
                (data(&mut source).await, data(&mut source).await),
                ("1".into(), "2".into())
            );
            silent_end(&mut source).await;
        }
    });
}

#[test]
fn a_server_that_holds_on_after_the_end_is_left() {
    run(async {
        let mut server = Server::start().await;
        let mut source = server.post("x").until("[DONE]").build().expect("a valid set-up");
        let mut connection = server.open(&mut source, "data: [DONE]\n\n").await;
        silent_end(&mut source).await;
        connection.gone().await;
    });
}

#[test]
fn a_refusal_after_a_reconnection_by_409_passes() {
    run(async {
        let mut server = Server::start().await;
        let mut source = server.source();
        drop(server.open(&mut source, "id: 1\ndata: a\n\n").await);
        assert_eq!(data(&mut source).await, "a");
        drop(server.answer(&mut source, refusal(409, "held")).await);
        let connection = server.open(&mut source, "").await;
        assert_eq!(connection.header("Last-Event-ID"), Some(&b"1"[..]));
    });
}

#[test]
fn a_whole_answer_that_is_too_long_is_an_error_and_not_asked_for_again() {
    run(async {
        let mut server = Server::start().await;
        let json = head("Content-Type: application/json\r\n");
        for builder in
            [server.post("{}"), server.builder(), server.post("{}").policy(Policy::Resume)]
        {
            let builder = builder.accepts("application/json");
            let mut source = builder.build().expect("a valid set-up");
            let mut connection = server.answer(&mut source, &json).await;
            let pumping = tokio::spawn(async move {
                let block = vec![b' '; 1 << 20];
                while connection.stream.write_all(&block).await.is_ok() {}
            });
            assert_eq!(item(&mut source).await, Item::Open);
            let closed = end(&mut source).await;
            let found = Some("application/json".to_owned());
            assert_eq!(*closed.reason(), Closed::ContentType(found));
            assert!(closed.to_string().contains(": it has more than the 16 MiB"), "{closed}");
            pumping.await.expect("the client has gone");
        }

        let builder = server.post("{}").accepts("application/json");
        let mut source = builder.build().expect("a valid set-up");
        let mut connection = server.answer(&mut source, &json).await;
        let sending = tokio::spawn(async move {
            let body = vec![b'1'; 16 << 20];
            connection.stream.write_all(&body).await.expect("it reads");
        });
        assert_eq!(item(&mut source).await, Item::Open);
        assert_eq!(data(&mut source).await.len(), 16 << 20);
        silent_end(&mut source).await;
        sending.await.expect("sent");
    });
}
