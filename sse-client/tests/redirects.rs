//! Redirects, and what goes along with them.

mod server;

use server::{Server, data, end, run};
use sse_client::Closed;

fn redirect(status: u16, location: &str) -> String {
    // Closed, so that every request makes a connection of its own.
    format!("HTTP/1.1 {status} Moved\r\nLocation: {location}\r\nConnection: close\r\n\r\n")
}

#[test]
fn headers_stay_with_their_origin() {
    run(async {
        let mut server = Server::start().await;
        let builder = server.builder().header("X-Key", "secret");
        let mut source = builder.last_event_id("7").build().expect("a valid set-up");
        for status in [301, 302, 303, 307, 308] {
            drop(server.answer(&mut source, redirect(status, "/events/moved?x")).await);
            let connection = server.open(&mut source, "data: a\n\n").await;
            assert_eq!(connection.path(), "/events/moved?x");
            assert_eq!(connection.header("X-Key"), Some(&b"secret"[..]));
            assert_eq!(connection.header("Last-Event-ID"), Some(&b"7"[..]));
            assert_eq!(source.url().as_str(), server.url("/events/moved?x"));
            assert_eq!(data(&mut source).await, "a");
        }
    });
}

#[test]
fn no_header_that_may_be_a_secret_goes_to_another_origin() {
    run(async {
        let (mut server, mut other) = (Server::start().await, Server::start().await);
        let url = server.url("/events").replace("http://", "http://user:password@");
        let mut source = sse_client::EventSource::builder(url)
            .session(|_| server::config())
            .header("X-Key", "secret")
            .header("Accept-Charset", "secret")
            .header("Mcp-Session-Id", "secret")
            .header("Accept", "application/json, text/event-stream")
            .header("Accept-Language", "de")
            .header("User-Agent", "reader/1.0 (reader@example.com)")
            .last_event_id("7")
            .build()
            .expect("a valid set-up");
        let first = server.answer(&mut source, redirect(307, &other.url("/events"))).await;
        assert!(first.header("Authorization").is_some());
        let second = other.answer(&mut source, redirect(307, &server.url("/events"))).await;
        let third = server.open(&mut source, "data: a\n\n").await;
        for connection in [&second, &third] {
            let head = String::from_utf8_lossy(&connection.head).to_ascii_lowercase();
            assert!(!head.contains("secret"), "{head}");
            assert!(!head.contains("authorization"), "{head}");
            // What says only what is wanted, and by whom, is nothing to steal.
            for (name, value) in [
                ("Accept", "application/json, text/event-stream"),
                ("Accept-Language", "de"),
                ("User-Agent", "reader/1.0 (reader@example.com)"),
            ] {
                assert_eq!(connection.header(name), Some(value.as_bytes()));
            }
            assert_eq!(connection.header("Last-Event-ID"), Some(&b"7"[..]));
        }
        assert_eq!(data(&mut source).await, "a");
        drop((first, second, third));

        let again = server.open(&mut source, "").await;
        assert_eq!(again.header("X-Key"), Some(&b"secret"[..]), "each try starts anew");
    });
}

#[test]
fn a_loop_of_redirects_is_left_after_ten() {
    run(async {
        let mut server = Server::start().await;
        let mut source = server.source();
        for _ in 0..11 {
            drop(server.answer(&mut source, redirect(302, "/events")).await);
        }
        let closed = end(&mut source).await;
        assert_eq!(*closed.reason(), Closed::Status(302));
        let failure = source.last_failure().expect("a failure");
        assert!(failure.ends_with(": more than 10 redirects"), "{failure}");
    });
}

#[test]
fn a_redirect_to_nowhere_is_final_and_says_where_to() {
    run(async {
        let mut server = Server::start().await;
        let mut source = server.source();
        drop(server.answer(&mut source, redirect(302, "mailto:x@example")).await);
        let closed = end(&mut source).await;
        assert_eq!(*closed.reason(), Closed::Status(302));
        let failure = source.last_failure().expect("a failure");
        assert!(failure.contains(": the redirect leads to mailto:…, "), "{failure}");
    });
}

#[test]
fn a_redirect_repeats_or_drops_the_body_as_browsers_do() {
    run(async {
        let mut server = Server::start().await;
        for (status, method, body) in [
            (301, "GET", ""),
            (302, "GET", ""),
            (303, "GET", ""),
            (307, "POST", "x"),
            (308, "POST", "x"),
        ] {
            let builder =
                server.post("x").header("Content-Type", "text/plain").header("X-Key", "k");
            let mut source = builder.build().expect("a valid set-up");
            drop(server.answer(&mut source, redirect(status, "/events/moved")).await);
            let connection = server.open(&mut source, "").await;
            assert_eq!((connection.method(), &*connection.body), (method, body.as_bytes()));
            assert_eq!(connection.header("Content-Type").is_some(), method == "POST");
            assert_eq!(connection.header("X-Key"), Some(&b"k"[..]));
        }
    });
}

#[test]
fn a_body_is_not_sent_to_another_origin() {
    run(async {
        let (mut server, mut other) = (Server::start().await, Server::start().await);
        for status in [307, 308] {
            let mut source = server.post("secret").build().expect("a valid set-up");
            drop(server.answer(&mut source, redirect(status, &other.url("/events?q"))).await);
            let closed = end(&mut source).await;
            assert_eq!(*closed.reason(), Closed::Status(status));
            let place = other.url("/events");
            let message =
                format!("the redirect asks to send the body to another origin, at {place}");
            let cause = std::error::Error::source(&*closed).expect("a cause");
            assert_eq!(cause.to_string(), message);
        }
        let mut source =
            server.post("secret").header("X-Key", "k").build().expect("a valid set-up");
        drop(server.answer(&mut source, redirect(303, &other.url("/events"))).await);
        let connection = other.open(&mut source, "").await;
        assert_eq!((connection.method(), connection.header("X-Key")), ("GET", None));
    });
}
