//! What is delivered, and from where the stream resumes.

mod server;

use std::io::{Read, Write};
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use server::{OPEN, Server, config, data, end, error, item, run};
use sse_client::{Closed, DecodeError, DecoderConfig, Error, EventSource, Failure, Item, State};
use tokio::io::AsyncWriteExt;

#[test]
fn events_are_delivered_with_type_id_and_data() {
    run(async {
        let mut server = Server::start().await;
        let mut source = server.source();
        let body = "event: greeting\nid: 7\ndata: hello\ndata: world\n\ndata: x\n\n";
        let connection = server.open(&mut source, body).await;
        assert_eq!(source.state(), State::Open);
        let event = item(&mut source).await.into_event().expect("an event");
        assert_eq!(
            (event.event_type(), event.id(), event.data()),
            ("greeting", Some("7"), "hello\nworld")
        );
        assert_eq!(data(&mut source).await, "x");
        assert_eq!(connection.header("Accept"), Some(&b"text/event-stream"[..]));
        assert_eq!(connection.header("Cache-Control"), Some(&b"no-cache"[..]));
        assert_eq!(connection.header("Last-Event-ID"), None);
    });
}

#[test]
fn single_bytes_make_the_same_events() {
    run(async {
        let mut server = Server::start().await;
        let mut source = server.source();
        let mut connection = server.open(&mut source, "").await;
        let sending = async {
            for byte in "\u{feff}id: 1\r\ndata: é\r\n\r\ndata: 😀\r\rdata: c\n\n".bytes() {
                connection.send([byte]).await;
                tokio::task::yield_now().await;
            }
            connection
        };
        let (_connection, received) = tokio::join!(sending, async {
            let mut received = Vec::new();
            while received.len() < 3 {
                received.push(data(&mut source).await);
            }
            received
        });
        assert_eq!(received, ["é", "😀", "c"]);
    });
}

#[test]
fn a_chunked_body_is_one_stream() {
    run(async {
        let mut server = Server::start().await;
        let mut source = server.source();
        let head = OPEN.trim_end().to_owned() + "\r\nTransfer-Encoding: chunked\r\n\r\n";
        let chunks = "6\r\ndata: \r\n1;x=y\r\na\r\n2\r\n\n\n\r\n0\r\nTrailer: z\r\n\r\n";
        drop(server.answer(&mut source, head + chunks).await);
        assert_eq!(data(&mut source).await, "a");
        server.open(&mut source, "").await;
        let failure = source.last_failure().expect("a failure");
        assert_eq!(failure, "the server ended the stream");
    });
}

#[test]
fn it_resumes_after_a_cut_in_the_middle_of_an_event() {
    run(async {
        let mut server = Server::start().await;
        let mut source = server.source();
        let connection = server.open(&mut source, "id: 7\ndata: a\n\nid: 8\ndata: unfin").await;
        assert_eq!(data(&mut source).await, "a");
        drop(connection);
        let connection = server.open(&mut source, "data: b\n\n").await;
        assert_eq!(connection.header("Last-Event-ID"), Some(&b"7"[..]));
        assert_eq!(data(&mut source).await, "b");
        assert_eq!(source.last_event_id(), Some("7"));
    });
}

#[test]
fn a_stored_id_is_sent_with_the_first_request() {
    run(async {
        let mut server = Server::start().await;
        let builder = server.builder().last_event_id("news:17");
        let mut source = builder.build().expect("a valid set-up");
        assert_eq!(source.last_event_id(), Some("news:17"));
        let connection = server.open(&mut source, "").await;
        assert_eq!(connection.header("Last-Event-ID"), Some(&b"news:17"[..]));
    });
}

#[test]
fn an_empty_id_is_never_sent() {
    run(async {
        let mut server = Server::start().await;
        let builder = server.builder().last_event_id("");
        let mut source = builder.build().expect("a valid set-up");
        let connection = server.open(&mut source, "id: 1\ndata: a\n\nid\ndata: b\n\n").await;
        assert_eq!(connection.header("Last-Event-ID"), None);
        assert_eq!(data(&mut source).await, "a");
        assert_eq!(data(&mut source).await, "b");
        assert_eq!(source.last_event_id(), Some(""));
        drop(connection);
        let connection = server.open(&mut source, "").await;
        assert_eq!(connection.header("Last-Event-ID"), None);
    });
}

#[test]
fn an_id_beyond_ascii_is_sent_as_utf_8() {
    run(async {
        let mut server = Server::start().await;
        let mut source = server.source();
        drop(server.open(&mut source, "id: é:😀\ndata: a\n\n").await);
        assert_eq!(data(&mut source).await, "a");
        let connection = server.open(&mut source, "").await;
        assert_eq!(connection.header("Last-Event-ID"), Some("é:😀".as_bytes()));
    });
}

#[test]
fn an_id_that_no_header_can_carry_is_reported_and_costs_nothing_else() {
    run(async {
        let mut server = Server::start().await;
        let mut source = server.source();
        drop(server.open(&mut source, "id: a\u{1}\ndata: a\n\n").await);
        assert_eq!(data(&mut source).await, "a");
        let connection = server.answer(&mut source, format!("{OPEN}data: b\n\n")).await;
        assert_eq!(connection.header("Last-Event-ID"), None);
        let withheld = error(&mut source).await;
        assert!(!withheld.is_final());
        assert!(matches!(withheld, Error::IdWithheld { id } if id == "a\u{1}"));
        assert_eq!(data(&mut source).await, "b");
    });
}

#[test]
fn the_last_event_id_follows_delivery() {
    run(async {
        let mut server = Server::start().await;
        let mut source = server.source();
        // Sent at once, so that it is one chunk.
        let body = "id: 1\ndata: a\n\nid: 2\ndata: b\n\nid: 3\n\n";
        let mut connection = server.open(&mut source, body).await;
        assert_eq!(source.last_event_id(), None);
        assert_eq!(data(&mut source).await, "a");
        assert_eq!(source.last_event_id(), Some("1"), "2 and 3 are not delivered");
        assert_eq!(data(&mut source).await, "b");
        assert_eq!(source.last_event_id(), Some("2"), "3 has not been asked for");
        assert!(source.next().now_or_never().is_none());
        assert_eq!(source.last_event_id(), Some("3"));
        connection.send("id: 4\n\n").await;
        drop(connection);
        let connection = server.open(&mut source, "").await;
        assert_eq!(connection.header("Last-Event-ID"), Some(&b"4"[..]));
        assert_eq!(source.last_event_id(), Some("4"));
    });
}

#[test]
fn a_stream_reset_is_an_item() {
    run(async {
        let mut server = Server::start().await;
        let mut source = server.source();
        let body = "event: stream-open\ndata:\n\n\
                    event: stream-reset\nid: a:3\ndata: {\"channels\": [\"a\"]}\n\ndata: x\n\n";
        let _connection = server.open(&mut source, body).await;
        let channels = vec!["a".to_owned()];
        assert_eq!(item(&mut source).await, Item::Reset { channels });
        assert_eq!(data(&mut source).await, "x");
        assert_eq!(source.last_event_id(), Some("a:3"));
    });
}

#[test]
fn comments_are_delivered_if_asked_for() {
    run(async {
        let mut server = Server::start().await;
        let config = config().decoder(DecoderConfig::default().comments(true));
        let builder = server.builder().session(|_| config);
        let mut source = builder.build().expect("a valid set-up");
        let _connection = server.open(&mut source, ": hello\n").await;
        assert_eq!(item(&mut source).await, Item::Comment("hello".to_owned()));
    });
}

#[test]
fn a_stream_error_is_final_and_its_id_is_not_for_keeps() {
    run(async {
        let mut server = Server::start().await;
        let mut source = server.source();
        let body = "id: 5\ndata: a\n\nevent: stream-error\nid: error\n\
                    data: {\"condition\": \"forbidden\", \"text\": \"no\"}\n\ndata: b\n\n";
        let mut connection = server.open(&mut source, body).await;
        assert_eq!(data(&mut source).await, "a");
        let closed = end(&mut source).await;
        assert!(
            matches!(closed.reason(), Closed::StreamError(error) if error.condition == "forbidden")
        );
        assert_eq!(source.last_event_id(), Some("5"));
        connection.gone().await;
    });
}

#[test]
fn an_event_that_is_too_long_costs_only_itself() {
    run(async {
        let mut server = Server::start().await;
        let config = config().decoder(DecoderConfig::default().max_event_len(10));
        let builder = server.builder().session(|_| config);
        let mut source = builder.build().expect("a valid set-up");
        let body = "data: 12345678901\n\ndata: 1234567890\n\n";
        let _connection = server.open(&mut source, body).await;
        let too_long = error(&mut source).await;
        assert!(!too_long.is_final());
        let Error::Decode(DecodeError::EventTooLong { limit }) = too_long else {
            panic!("unexpected {too_long:?}")
        };
        assert_eq!(limit, 10);
        assert_eq!(data(&mut source).await, "1234567890");
    });
}

#[test]
fn errors_in_the_stream_keep_their_place_among_the_events() {
    run(async {
        let mut server = Server::start().await;
        let config = config().error_events(["error"]);
        let mut source = server.builder().session(|_| config).build().expect("a valid set-up");
        let body = "data: a\n\nevent: error\ndata: x\n\ndata: b\n\nevent: stream-reset\ndata: {}\n\n\
                    data: c\n\n";
        let _connection = server.open(&mut source, body).await;
        let mut events = source.events();
        for expected in [Ok("a"), Err("x"), Ok("b"), Ok("c")] {
            let delivered = match events.next().await.expect("more to come") {
                Ok(event) => Ok(event.data().to_owned()),
                Err(Error::Event(event)) => Err(event.data().to_owned()),
                Err(error) => panic!("unexpected {error:?}"),
            };
            assert_eq!(delivered, expected.map(str::to_owned).map_err(str::to_owned));
        }
    });
}

#[test]
fn close_is_final_in_the_middle_of_a_chunk() {
    run(async {
        let mut server = Server::start().await;
        let mut source = server.source();
        let body = "id: 1\ndata: a\n\nid: 2\ndata: b\n\n";
        let mut connection = server.open(&mut source, body).await;
        assert_eq!(data(&mut source).await, "a");
        source.close();
        assert!(source.next().await.is_none());
        assert!(source.next().await.is_none());
        assert_eq!(source.state(), State::Closed(Closed::ByCaller));
        assert_eq!(source.last_event_id(), Some("1"));
        connection.gone().await;
    });
}

#[test]
fn dropping_it_aborts_the_connection() {
    run(async {
        let mut server = Server::start().await;
        let mut source = server.source();
        let mut connection = server.open(&mut source, "data: a\n\n").await;
        assert_eq!(data(&mut source).await, "a");
        drop(source);
        connection.gone().await;
    });
}

#[test]
fn a_server_that_pumps_is_slowed_down_to_the_reader() {
    run(async {
        let mut server = Server::start().await;
        let mut source = server.source();
        let mut connection = server.open(&mut source, "").await;
        let block = "data: 0123456789\n\n".repeat(4096);
        let mut written = 0;
        // Without back-pressure this would write for ever, which the deadline of the test ends.
        let pumping = async {
            while let Ok(sent) = tokio::time::timeout(
                Duration::from_secs(1),
                connection.stream.write_all(block.as_bytes()),
            )
            .await
            {
                sent.expect("the client listens");
                written += block.len();
            }
        };
        pumping.await;
        assert!(written < 64 << 20, "{written} bytes went somewhere");
        let mut delivered = 0;
        while delivered < written / 2 {
            delivered += 8 + data(&mut source).await.len();
        }
        connection.stream.write_all(b"\n").await.expect("space again");
    });
}

#[test]
fn an_application_that_is_slow_within_a_chunk_does_not_blame_the_server() {
    run(async {
        let idle_timeout = Duration::from_secs(1);
        let mut server = Server::start().await;
        let source = server.builder().session(|config| config.idle_timeout(Some(idle_timeout)));
        let mut source = source.build().expect("a valid set-up");
        let mut connection = server.open(&mut source, "data: a\n\ndata: b\n\n").await;
        assert_eq!(data(&mut source).await, "a");
        std::thread::sleep(idle_timeout * 2);
        assert_eq!(data(&mut source).await, "b");
        assert!(source.next().now_or_never().is_none());
        connection.send("data: c\n\n").await;
        assert_eq!(data(&mut source).await, "c");
        assert_eq!(source.last_failure(), None);
    });
}

#[test]
fn a_program_that_stood_still_does_not_blame_the_server() {
    // A thread, since the test's own runtime stands still.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/events", listener.local_addr().expect("bound"));
    let (written, is_written) = std::sync::mpsc::channel();
    let (go_on, goes_on) = std::sync::mpsc::channel();
    let serving = std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut head = [0; 1024];
            let len = stream.read(&mut head).expect("a request");
            if !head[..len].starts_with(b"GET /events") {
                continue;
            }
            let mut send = |text: &str| stream.write_all(text.as_bytes()).expect("sent");
            send(&format!("{OPEN}data: a\n\n"));
            goes_on.recv().expect("the client has read");
            send("data: b\n\n");
            written.send(()).expect("the client waits");
            // Keeps the connection open until the client has gone.
            while stream.read(&mut head).is_ok_and(|len| len > 0) {}
            return;
        }
    });
    run(async {
        let idle_timeout = Duration::from_secs(1);
        let mut source = EventSource::builder(url)
            .session(|config| config.idle_timeout(Some(idle_timeout)))
            .build()
            .expect("a valid set-up");
        assert_eq!(item(&mut source).await, Item::Open);
        assert_eq!(data(&mut source).await, "a");
        // Reads until there is nothing to read, so that the socket is being waited for.
        assert!(source.next().now_or_never().is_none());
        go_on.send(()).expect("the server runs");
        is_written.recv().expect("the server runs");
        std::thread::sleep(idle_timeout * 2);
        let next = item(&mut source).await.into_event();
        assert_eq!(next.expect("no reconnection").data(), "b");
        assert_eq!(source.last_failure(), None);
        drop(source);
    });
    serving.join().expect("the server is done");
}

#[test]
fn it_is_a_stream_for_the_usual_combinators() {
    run(async {
        let mut server = Server::start().await;
        let source = server.source();
        let events = source.filter_map(async |item| item.ok()?.into_event());
        let collecting = events.take(2).map(|event| event.data().to_owned());
        let (received, _connection) = tokio::join!(collecting.collect::<Vec<_>>(), async {
            let mut connection = server.accept().await;
            connection.send(format!("{OPEN}data: a\n\ndata: b\n\n")).await;
            connection
        });
        assert_eq!(received, ["a", "b"]);
    });
}

#[test]
fn silence_leads_to_a_new_connection() {
    run(async {
        let mut server = Server::start().await;
        let builder = server
            .builder()
            .session(|config| config.idle_timeout(Some(Duration::from_millis(500))));
        let mut source = builder.build().expect("a valid set-up");
        let mut silent = server.open(&mut source, "id: 1\ndata: a\n\n").await;
        assert_eq!(data(&mut source).await, "a");
        let connection = server.open(&mut source, "data: b\n\n").await;
        assert_eq!(connection.header("Last-Event-ID"), Some(&b"1"[..]));
        assert_eq!(source.last_failure(), Some(&*Failure::IdleTimeout.to_string()));
        silent.gone().await;
        assert_eq!(data(&mut source).await, "b");
    });
}
