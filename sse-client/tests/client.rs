//! Clients and requests of reqwest's that are the caller's.

mod server;

use std::time::Duration;

use server::{Server, data, item, run, silent_end, while_polled};
use sse_client::{BuildError, Item, RequestBuilderExt, reqwest};

#[test]
fn a_client_keeps_its_own_name() {
    run(async {
        let mut server = Server::start().await;
        let own = || reqwest::Client::builder().user_agent("mine/1").build().expect("a client");
        for (builder, expected) in [
            (server.builder().client(own()), "mine/1"),
            (server.builder().client(own()).header("User-Agent", "caller/2"), "caller/2"),
        ] {
            let mut source = builder.build().expect("a valid set-up");
            let connection = server.open(&mut source, "").await;
            assert_eq!(connection.header("User-Agent"), Some(expected.as_bytes()));
        }
    });
}

#[test]
fn a_client_of_the_callers_own_works_the_same() {
    run(async {
        let (mut server, mut other) = (Server::start().await, Server::start().await);
        let client = reqwest::Client::builder()
            .user_agent("mine")
            .redirect(reqwest::redirect::Policy::none());
        let client = client.build().expect("a client");
        let builder = server.builder().client(client).bearer_token("secret");
        let mut source = builder.build().expect("a valid set-up");
        let moved = format!(
            "HTTP/1.1 307 Moved\r\nLocation: {}\r\nConnection: close\r\n\r\n",
            other.url("/events")
        );
        drop(server.answer(&mut source, moved).await);
        let connection = other.open(&mut source, "").await;
        assert_eq!(connection.header("User-Agent"), Some(&b"mine"[..]));
        assert_eq!(connection.header("Authorization"), None);
        assert_eq!(source.url().as_str(), other.url("/events"));
    });
}

#[test]
fn the_connection_of_a_complete_stream_is_used_again() {
    const REQUESTS: u32 = 20;

    run(async {
        let mut server = Server::start().await;
        let client = reqwest::Client::new();
        let builder = server.post("x").until("[DONE]").client(client);
        let open = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
                    Transfer-Encoding: chunked\r\n\r\n";
        let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
        let first = [open, &chunk("data: a\n\n"), &chunk("data: [DONE]\n\n")].concat();
        let mut source = builder.clone().build().expect("a valid set-up");
        let mut connection = while_polled(&mut source, server.accept()).await;
        let mut reused = 0;
        for _ in 0..REQUESTS {
            connection.send(&first).await;
            assert_eq!(item(&mut source).await, Item::Open);
            assert_eq!(data(&mut source).await, "a");
            silent_end(&mut source).await;
            drop(source);
            // The end of the body comes later than the end of the stream. A client that asks
            // before it has read that needs another connection.
            connection.send("0\r\n\r\n").await;
            tokio::time::sleep(Duration::from_millis(20)).await;
            source = builder.clone().build().expect("a valid set-up");
            let again = async {
                tokio::select! {
                    () = connection.next_request() => None,
                    other = server.accept() => Some(other),
                }
            };
            match while_polled(&mut source, again).await {
                None => reused += 1,
                Some(other) => connection = other,
            }
        }
        assert!(reused > REQUESTS / 2, "{reused}");
    });
}

#[test]
fn a_request_of_reqwest_becomes_an_event_source() {
    run(async {
        let mut server = Server::start().await;
        let client = reqwest::Client::builder().user_agent("mine/1").build().expect("a client");
        let request = client.post(server.url("/events?a=1")).bearer_auth("t").body("x");
        let mut source = request.event_source().build().expect("a valid set-up");
        let connection = server.open(&mut source, "data: a\n\n").await;
        assert_eq!((connection.method(), connection.path()), ("POST", "/events?a=1"));
        assert_eq!(connection.body, b"x");
        assert_eq!(connection.header("Authorization"), Some(&b"Bearer t"[..]));
        assert_eq!(connection.header("User-Agent"), Some(&b"mine/1"[..]));
        assert_eq!(data(&mut source).await, "a");

        let refused = |request: reqwest::RequestBuilder| request.event_source().build();
        let bad = refused(client.get("no URL")).expect_err("no URL");
        assert!(matches!(bad, BuildError::Request { .. }), "{bad}");
        let stream = reqwest::Body::wrap("x".to_owned());
        let bad = refused(client.post(server.url("/events")).body(stream)).expect_err("a stream");
        assert_eq!(bad, BuildError::StreamedBody);
    });
}
