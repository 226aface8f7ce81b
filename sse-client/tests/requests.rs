//! What is sent, how often, and where to.

mod server;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use server::{Server, config, data, end, item, nobody, refusal, run, silent_end, while_polled};
use sse_client::http::Method;
use sse_client::http::header::{AUTHORIZATION, HeaderMap};
use sse_client::{BuildError, Closed, Decision, EventSource, Failure, Item, Policy, Stage, State};

#[test]
fn a_post_has_its_body_and_the_headers_of_a_stream() {
    run(async {
        let mut server = Server::start().await;
        let builder = server.post("{\"a\":1}").header("Content-Type", "application/json");
        let mut source = builder.build().expect("a valid set-up");
        let connection = server.open(&mut source, "data: a\n\n").await;
        assert_eq!((connection.method(), &*connection.body), ("POST", &b"{\"a\":1}"[..]));
        assert_eq!(connection.header("Content-Type"), Some(&b"application/json"[..]));
        assert_eq!(connection.header("Accept"), Some(&b"text/event-stream"[..]));
        assert_eq!(data(&mut source).await, "a");
    });
}

#[test]
fn any_method_can_be_asked_with() {
    run(async {
        let mut server = Server::start().await;
        let method = Method::from_bytes(b"QUERY").expect("a method");
        let mut source =
            server.builder().method(method).body("topic=a").build().expect("a valid set-up");
        let connection = server.open(&mut source, "").await;
        assert_eq!((connection.method(), &*connection.body), ("QUERY", &b"topic=a"[..]));
    });
}

#[cfg(feature = "json")]
#[test]
fn a_body_of_json_says_that_it_is() {
    run(async {
        let mut server = Server::start().await;
        let builder = EventSource::post(server.url("/events")).json(&["é"]);
        let mut source = builder.build().expect("a valid set-up");
        let connection = server.open(&mut source, "").await;
        assert_eq!(connection.body, "[\"é\"]".as_bytes());
        assert_eq!(connection.header("Content-Type"), Some(&b"application/json"[..]));
        let map = std::collections::HashMap::from([((1, 2), 3)]);
        let refused = server.builder().json(&map).build().expect_err("no JSON");
        assert!(matches!(refused, BuildError::Json { .. }), "{refused}");
    });
}

#[test]
fn a_post_that_has_ended_is_not_repeated_and_is_no_error() {
    run(async {
        let mut server = Server::start().await;
        let mut source = server.post("x").build().expect("a valid set-up");
        drop(server.open(&mut source, "data: a\n\n").await);
        assert_eq!(data(&mut source).await, "a");
        silent_end(&mut source).await;
        assert_eq!(source.state(), State::Closed(Closed::Ended));
        assert_eq!(source.last_failure(), None);
    });
}

#[test]
fn a_post_that_has_broken_off_or_was_refused_is_not_repeated_and_is_an_error() {
    run(async {
        let mut server = Server::start().await;
        let mut source = server.post("x").build().expect("a valid set-up");
        let body = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
                    Content-Length: 100\r\n\r\ndata: a\n\n";
        drop(server.answer(&mut source, body).await);
        assert_eq!(item(&mut source).await, Item::Open);
        assert_eq!(data(&mut source).await, "a");
        assert_eq!(*end(&mut source).await.reason(), Closed::GaveUp(Failure::Network));

        let mut source = server.post("x").build().expect("a valid set-up");
        drop(server.answer(&mut source, refusal(503, "busy")).await);
        let closed = end(&mut source).await;
        assert_eq!((closed.reason(), closed.body()), (&Closed::Status(503), "busy"));
    });
}

#[test]
fn a_post_is_repeated_if_the_caller_wants_it_so() {
    run(async {
        let mut server = Server::start().await;
        let builder = server.post("x").policy(Policy::Resilient);
        let mut source = builder.build().expect("a valid set-up");
        drop(server.open(&mut source, "id: 1\ndata: a\n\n").await);
        assert_eq!(data(&mut source).await, "a");
        let again = server.open(&mut source, "").await;
        assert_eq!((again.method(), &*again.body), ("POST", &b"x"[..]));
        assert_eq!(again.header("Last-Event-ID"), Some(&b"1"[..]));
    });
}

#[test]
fn a_get_that_becomes_something_else_is_not_repeated_unless_the_caller_wants_it_so() {
    run(async {
        let mut server = Server::start().await;
        let into = |method: Method| {
            move |mut request: sse_client::TryRequest| {
                request.method = method.clone();
                request.body = Some("x".into());
                async { Ok(request) }
            }
        };
        for method in [Method::POST, Method::PUT, Method::HEAD] {
            let builder = server.builder().request_with(into(method.clone()));
            let mut source = builder.build().expect("a valid set-up");
            let connection = server.open(&mut source, "id: 1\ndata: a\n\n").await;
            assert_eq!(connection.method(), method.as_str());
            if method != Method::HEAD {
                assert_eq!(data(&mut source).await, "a");
                source.reconnect();
            }
            drop(connection);
            silent_end(&mut source).await;
            assert_eq!(source.state(), State::Closed(Closed::Ended));
        }

        let builder = server.builder().request_with(into(Method::POST));
        let mut source = builder.build().expect("a valid set-up");
        drop(server.answer(&mut source, refusal(503, "busy")).await);
        assert_eq!(*end(&mut source).await.reason(), Closed::Status(503));

        // Only from where it does become something else.
        let builder = server.builder().request_with(async |mut request| {
            if request.number() > 1 {
                request.method = Method::POST;
            }
            Ok(request)
        });
        let mut source = builder.build().expect("a valid set-up");
        drop(server.open(&mut source, "").await);
        let connection = server.open(&mut source, "").await;
        assert_eq!(connection.method(), "POST");
        drop(connection);
        silent_end(&mut source).await;

        let builder = server.builder().request_with(into(Method::POST));
        let mut source = builder.policy(Policy::Resilient).build().expect("a valid set-up");
        drop(server.open(&mut source, "").await);
        assert_eq!(server.open(&mut source, "").await.method(), "POST");
    });
}

#[test]
fn the_caller_can_allow_what_a_server_is_known_to_do() {
    run(async {
        let mut server = Server::start().await;
        let builder = server.post("x").session(|config| {
            config.decide(|outcome| match outcome.failure {
                Failure::Status(429) if outcome.stage == Stage::Sent => Decision::Retry,
                _ => outcome.decision,
            })
        });
        let mut source = builder.build().expect("a valid set-up");
        drop(server.answer(&mut source, refusal(429, "")).await);
        drop(server.open(&mut source, "").await);
        silent_end(&mut source).await;
    });
}

#[test]
fn a_request_that_found_no_server_counts_as_unsent() {
    run(async {
        let (_nobody, port) = nobody();
        let (sender, mut stages) = tokio::sync::mpsc::unbounded_channel();
        let mut source = EventSource::post(format!("http://127.0.0.1:{port}/events"))
            .session(|config| {
                config.decide(move |outcome| {
                    sender.send((outcome.stage, outcome.failure)).expect("the test listens");
                    outcome.decision
                })
            })
            .build()
            .expect("a valid set-up");
        assert_eq!(*end(&mut source).await.reason(), Closed::GaveUp(Failure::Network));
        assert_eq!(stages.recv().await, Some((Stage::Unsent, Failure::Network)));
    });
}

#[test]
fn headers_are_asked_for_before_every_try() {
    run(async {
        let mut server = Server::start().await;
        let tries = Arc::new(AtomicUsize::new(0));
        let builder = server.builder().header("Authorization", "old").header("X-Key", "kept");
        let builder = builder.headers_with(move || {
            let tries = Arc::clone(&tries);
            async move {
                let mut headers = HeaderMap::new();
                let number = tries.fetch_add(1, Ordering::Relaxed);
                headers.insert(AUTHORIZATION, format!("token {number}").parse()?);
                Ok(headers)
            }
        });
        let mut source = builder.build().expect("a valid set-up");
        for number in 0..3 {
            let connection = server.open(&mut source, "").await;
            let token = format!("token {number}");
            assert_eq!(connection.header("Authorization"), Some(token.as_bytes()));
            assert_eq!(connection.header("X-Key"), Some(&b"kept"[..]));
        }
    });
}

#[test]
fn a_401_is_answered_with_fresh_headers_once() {
    run(async {
        let mut server = Server::start().await;
        let builder = server.post("x").headers_with(async || Ok(HeaderMap::new()));
        let mut source = builder.build().expect("a valid set-up");
        drop(server.answer(&mut source, refusal(401, "expired")).await);
        drop(server.answer(&mut source, refusal(401, "unknown")).await);
        let closed = end(&mut source).await;
        assert_eq!((closed.reason(), closed.body()), (&Closed::Status(401), "unknown"));

        let mut source = server.builder().build().expect("a valid set-up");
        drop(server.answer(&mut source, refusal(401, "")).await);
        assert_eq!(*end(&mut source).await.reason(), Closed::Status(401), "nothing is fresh");
    });
}

#[test]
fn headers_that_cannot_be_had_are_a_failure_that_passes() {
    run(async {
        let mut server = Server::start().await;
        let tries = AtomicUsize::new(0);
        let builder = server.builder().headers_with(move || {
            let is_first = tries.fetch_add(1, Ordering::Relaxed) == 0;
            async move { if is_first { Err("no token".into()) } else { Ok(HeaderMap::new()) } }
        });
        let mut source = builder.build().expect("a valid set-up");
        let _connection = server.open(&mut source, "").await;
        let failure = "the headers of the request could not be provided: no token";
        assert_eq!(source.last_failure(), Some(failure));
    });
}

#[test]
fn headers_that_never_come_are_not_waited_for() {
    run(async {
        let builder = EventSource::builder("http://127.0.0.1:9/").session(|config| {
            config.connect_timeout(std::time::Duration::from_millis(50)).max_failures(Some(1))
        });
        let builder = builder.headers_with(std::future::pending);
        let mut source = builder.build().expect("a valid set-up");
        assert_eq!(*end(&mut source).await.reason(), Closed::GaveUp(Failure::ConnectTimeout));
    });
}

#[test]
fn a_provider_does_not_set_the_last_event_id() {
    run(async {
        let builder = EventSource::builder("http://127.0.0.1:9/");
        let builder =
            builder.session(|_| config().max_failures(Some(1))).headers_with(async || {
                Ok(HeaderMap::from_iter([("last-event-id".parse()?, "7".parse()?)]))
            });
        let mut source = builder.build().expect("a valid set-up");
        let closed = end(&mut source).await;
        assert_eq!(*closed.reason(), Closed::GaveUp(Failure::Headers));
        let failure = source.last_failure().expect("a failure");
        assert!(failure.ends_with(&BuildError::LastEventIdHeader.to_string()), "{failure}");
    });
}

#[test]
fn only_a_200_is_a_stream() {
    run(async {
        let mut server = Server::start().await;
        for status in [201, 202, 203, 206] {
            let mut source = server.source();
            let head = format!("HTTP/1.1 {status} X\r\nContent-Type: text/event-stream\r\n");
            let answer = head + "Connection: close\r\n\r\ndata: a\n\n";
            drop(server.answer(&mut source, answer).await);
            assert_eq!(*end(&mut source).await.reason(), Closed::Status(status));
        }
    });
}

#[test]
fn the_head_of_the_response_can_be_read() {
    run(async {
        let mut server = Server::start().await;
        let mut source = server.source();
        let head = "HTTP/1.1 200 OK\r\nX-Limit: 9\r\nContent-Type: text/event-stream\r\n\r\n";
        let _connection = server.answer(&mut source, head).await;
        assert!(source.headers().is_empty());
        assert_eq!(item(&mut source).await, Item::Open);
        assert_eq!(source.headers()["x-limit"], "9");
    });
}

#[test]
fn a_refusal_that_passes_is_told_with_status_and_body() {
    run(async {
        let mut server = Server::start().await;
        let builder = server.builder().max_error_body(4);
        let mut source = builder.build().expect("a valid set-up");
        drop(server.answer(&mut source, refusal(503, "overloaded")).await);
        let connection = while_polled(&mut source, server.accept()).await;
        let refused = source.last_refusal().expect("a refusal");
        assert_eq!((refused.status(), refused.body()), (503, "over"));
        drop(connection);
    });
}

#[test]
fn a_request_names_its_client_unless_the_caller_does() {
    run(async {
        let mut server = Server::start().await;
        let ours = format!("ssekit-client/{} (+", env!("CARGO_PKG_VERSION"));
        for (builder, expected) in [
            (server.builder(), ours.as_str()),
            (server.builder().header("User-Agent", "caller/2"), "caller/2"),
        ] {
            let mut source = builder.build().expect("a valid set-up");
            let connection = server.open(&mut source, "").await;
            let found = connection.header("User-Agent").expect("it is sent");
            assert!(found.starts_with(expected.as_bytes()), "{}", found.escape_ascii());
        }
    });
}

#[test]
fn each_try_can_be_another_request() {
    run(async {
        let mut server = Server::start().await;
        let other = server.url("/events/resume");
        let builder =
            server.post("begin").policy(Policy::Resume).request_with(move |mut request| {
                let other = other.clone();
                async move {
                    request.headers.insert("x-token", format!("t{}", request.number()).parse()?);
                    if let Some(id) = request.take_last_event_id() {
                        request.url = other.parse()?;
                        request.url.query_pairs_mut().append_pair("starting_after", &id);
                    }
                    Ok(request)
                }
            });
        let mut source = builder.build().expect("a valid set-up");
        let first = server.open(&mut source, "id: a b\ndata: a\n\n").await;
        assert_eq!((first.method(), &*first.body), ("POST", &b"begin"[..]));
        assert_eq!(first.header("X-Token"), Some(&b"t1"[..]));
        assert_eq!(data(&mut source).await, "a");
        drop(first);
        let second = server.open(&mut source, "").await;
        assert_eq!(second.method(), "GET");
        assert_eq!(second.path(), "/events/resume?starting_after=a+b");
        assert_eq!(second.header("Last-Event-ID"), None);
        assert_eq!(second.header("X-Token"), Some(&b"t2"[..]));
    });
}

#[test]
fn the_position_goes_where_the_server_looks_for_it() {
    run(async {
        let mut server = Server::start().await;
        let builder = EventSource::builder(server.url("/events?x=1&lastEvent=old#part"));
        let builder = builder.session(|_| config()).last_event_id("é&1");
        let mut source = builder.position_in_query("lastEvent").build().expect("a valid set-up");
        let connection = server.open(&mut source, "").await;
        assert_eq!(connection.path(), "/events?x=1&lastEvent=%C3%A9%261");
        assert_eq!(connection.header("Last-Event-ID"), None);

        let builder = server.builder().last_event_id("7").position_in_header("X-Position");
        let mut source = builder.build().expect("a valid set-up");
        let connection = server.open(&mut source, "").await;
        assert_eq!(connection.header("X-Position"), Some(&b"7"[..]));
        assert_eq!(connection.header("Last-Event-ID"), None);
    });
}

#[test]
fn a_header_of_a_response_goes_with_the_next_request() {
    run(async {
        let mut server = Server::start().await;
        let builder = server.post("{}").policy(Policy::Resume).keep_header("Mcp-Session-Id");
        let mut source = builder.build().expect("a valid set-up");
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nMcp-Session-Id: s1\r\n";
        let answer = format!("{head}\r\nid: 1\ndata:\n\n");
        let connection = server.answer(&mut source, answer).await;
        assert_eq!(connection.header("Mcp-Session-Id"), None);
        assert_eq!(item(&mut source).await, Item::Open);
        assert_eq!(data(&mut source).await, "");
        drop(connection);
        for _ in 0..2 {
            let connection = server.open(&mut source, "").await;
            assert_eq!(connection.header("Mcp-Session-Id"), Some(&b"s1"[..]));
        }
    });
}

#[test]
fn what_lies_in_the_request_is_final_and_named() {
    run(async {
        // A URL that no connection can be made for, in whatever way it comes about.
        let builder =
            EventSource::builder("http://127.0.0.1:9/").request_with(async |mut request| {
                request.url = "ftp://127.0.0.1/".parse()?;
                Ok(request)
            });
        let too_long = format!("http://127.0.0.1:9/{}", "x".repeat(70_000));
        for (builder, told) in
            [(builder, "\"ftp\""), (EventSource::builder(too_long), "uri too long")]
        {
            let mut source = builder.build().expect("a valid set-up");
            let closed = end(&mut source).await;
            assert_eq!(*closed.reason(), Closed::Local);
            assert!(closed.to_string().contains(told), "{closed}");
        }
    });
}

#[test]
fn a_long_upload_is_not_taken_for_a_late_answer() {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/events", listener.local_addr().expect("bound"));
        let body = vec![b'x'; 16 << 20];
        let serving = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.expect("a connection");
                let mut piece = vec![0; 1 << 20];
                let mut read = stream.read(&mut piece[..4]).await.expect("a request");
                // Others on this machine ask new ports for `/`.
                if &piece[..read] != b"POST" {
                    continue;
                }
                // Slower, all in all, than the answer may be.
                while read < 16 << 20 {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    read += stream.read(&mut piece).await.expect("more of the request");
                }
                stream.write_all(server::OPEN.as_bytes()).await.expect("the client listens");
                return stream;
            }
        });
        let builder = EventSource::post(url).body(body);
        let limit = Duration::from_millis(250);
        let builder = builder.session(|config| config.response_timeout(limit));
        let mut source = builder.build().expect("a valid set-up");
        assert_eq!(item(&mut source).await, Item::Open);
        drop(serving.await);
    });
}

#[test]
fn channels_are_parameters_of_the_query() {
    run(async {
        let mut server = Server::start().await;
        let builder = EventSource::channels(server.url("/events/?x=1"), ["a", "b c", "ü&"]);
        let mut source = builder.build().expect("a valid set-up");
        let connection = server.open(&mut source, "").await;
        assert_eq!(connection.path(), "/events/?x=1&channel=a&channel=b+c&channel=%C3%BC%26");
    });
}
