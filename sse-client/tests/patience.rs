//! With all defaults, in real time: what takes minutes loses nothing. The same is tested in
//! simulated time in `sse-proto/tests/session/timing.rs`.
//!
//! `cargo test -p ssekit-client --test patience -- --ignored`

mod server;

use std::time::Duration;

use server::{OPEN, Server, item};
use sse_client::{EventSource, Item};
use tokio::time::{sleep, timeout};

/// A test within ten minutes.
fn run(test: impl Future<Output = ()>) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let done = runtime.block_on(async { timeout(Duration::from_secs(600), test).await });
    done.expect("done within the deadline");
}

/// The server sends each part after so many seconds; the source must deliver the events `a`.
async fn delivers(mut source: EventSource, mut server: Server, parts: &[(u64, &str)]) {
    let serving = async {
        let mut connection = server.accept().await;
        for (seconds, part) in parts {
            sleep(Duration::from_secs(*seconds)).await;
            connection.send(part).await;
        }
        connection
    };
    let reading = async {
        assert_eq!(item(&mut source).await, Item::Open);
        for _ in 0..parts.iter().filter(|(_, part)| part.contains("data: a")).count() {
            let event = loop {
                match item(&mut source).await.into_event() {
                    Some(event) if event.event_type() == "message" => break event,
                    _ => {}
                }
            };
            assert_eq!(event.data(), "a");
        }
        assert_eq!(source.last_failure(), None);
    };
    tokio::join!(reading, serving);
}

#[test]
#[ignore = "takes a minute"]
fn a_silent_get_of_mcp() {
    run(async {
        let server = Server::start().await;
        let source = EventSource::mcp_listen(server.url("/events/mcp")).build().expect("valid");
        delivers(source, server, &[(0, OPEN), (61, "data: a\n\n")]).await;
    });
}

#[test]
#[ignore = "takes two minutes"]
fn heartbeats_of_55_seconds() {
    run(async {
        let server = Server::start().await;
        let source = EventSource::get(server.url("/events")).build().expect("valid");
        let beat = "event: KEEP-ALIVE\ndata:\n\n";
        let parts = [(0, OPEN), (0, beat), (55, beat), (5, "data: a\n\n"), (50, beat)];
        delivers(source, server, &parts).await;
    });
}

#[test]
#[ignore = "takes five minutes"]
fn a_model_that_thinks() {
    run(async {
        let server = Server::start().await;
        let source = EventSource::post(server.url("/events")).body("{}").build().expect("valid");
        let parts = [(35, OPEN), (0, ": PROCESSING\n\n"), (265, "data: a\n\n")];
        delivers(source, server, &parts).await;
    });
}
