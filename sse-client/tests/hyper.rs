//! The transport of hyper, whose connections are driven by who reads from them: whatever a reader
//! does, its connection goes on, and ends with it.

mod server;

use std::future::Future as _;
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

use server::{Connection, OPEN, Server, data, run, silent_end, while_polled};
use sse_client::transport::Hyper;
use sse_client::{EventSource, Item};
use tokio::runtime::Builder;

fn hyper() -> Hyper {
    Hyper::new(Duration::from_secs(30))
}

/// A source of which one event has been read, so that it drives its connection.
async fn driving(server: &mut Server) -> (EventSource, Connection) {
    let mut source = server.builder().transport(hyper()).build().expect("a valid set-up");
    let mut connection = server.open(&mut source, "data: first\n\n").await;
    assert_eq!(data(&mut source).await, "first");
    connection.send("data: second\n\n").await;
    assert_eq!(data(&mut source).await, "second");
    (source, connection)
}

/// Polls the source once, by a waker that wakes nobody. It must have nothing.
fn is_asked_in_vain(source: &mut EventSource) {
    let next = pin!(source.next());
    assert!(next.poll(&mut Context::from_waker(Waker::noop())).is_pending());
}

#[test]
fn a_source_goes_on_in_another_task() {
    run(async {
        let mut server = Server::start().await;
        let (mut source, mut connection) = driving(&mut server).await;
        is_asked_in_vain(&mut source);
        let reading = tokio::spawn(async move { data(&mut source).await });
        tokio::task::yield_now().await;
        connection.send("data: third\n\n").await;
        assert_eq!(reading.await.expect("read"), "third");
    });
}

#[test]
fn a_source_that_is_dropped_closes_its_connection() {
    run(async {
        let mut server = Server::start().await;
        let (mut source, mut connection) = driving(&mut server).await;
        is_asked_in_vain(&mut source);
        drop(source);
        connection.gone().await;
    });
}

#[test]
fn the_connection_ends_with_the_runtime_whoever_holds_the_source() {
    run(async {
        let mut server = Server::start().await;
        let url = server.url("/events");
        let (sender, source) = std::sync::mpsc::channel();
        let client = std::thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
            let mut source =
                EventSource::get(url).transport(hyper()).build().expect("a valid set-up");
            runtime.block_on(async {
                assert_eq!(data(&mut source).await, "a");
                assert_eq!(data(&mut source).await, "b");
                is_asked_in_vain(&mut source);
            });
            sender.send(source).expect("the test waits");
        });
        let mut connection = server.accept().await;
        connection.send(format!("{OPEN}data: a\n\n")).await;
        connection.send("data: b\n\n").await;
        connection.gone().await;
        client.join().expect("no panic");
        drop(source.recv().expect("the source"));
    });
}

#[test]
fn a_complete_stream_leaves_its_connection_to_the_next_one() {
    const TRIES: u32 = 20;

    run(async {
        let mut server = Server::start().await;
        let builder = server.builder().transport(hyper()).until("[DONE]");
        let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
        let open = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
                    Transfer-Encoding: chunked\r\n\r\n";
        let mut source = builder.clone().build().expect("a valid set-up");
        let mut connection = while_polled(&mut source, server.accept()).await;
        for _ in 0..TRIES {
            connection.send(open).await;
            for name in ["a", "b"] {
                connection.send(chunk(&format!("data: {name}\n\n"))).await;
                assert_eq!(data(&mut source).await, name);
            }
            connection.send([&chunk("data: [DONE]\n\n"), "0\r\n\r\n"].concat()).await;
            silent_end(&mut source).await;
            source = builder.clone().build().expect("a valid set-up");
            // One that asks before the end of the body is read needs another connection.
            let again = async {
                tokio::select! {
                    () = connection.next_request() => None,
                    other = server.accept() => Some(other),
                }
            };
            match while_polled(&mut source, again).await {
                None => return,
                Some(other) => connection = other,
            }
        }
        panic!("no connection was used again");
    });
}

#[test]
fn each_source_of_a_shared_client_gets_its_own_events() {
    const SOURCES: usize = 20;
    const EVENTS: usize = 300;
    let runtime = Builder::new_multi_thread().worker_threads(3).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let mut server = Server::start().await;
        let hyper = hyper();
        let mut reading = Vec::new();
        for number in 0..SOURCES {
            let url = server.url(&format!("/events/{number}"));
            let mut source =
                EventSource::get(url).transport(hyper.clone()).build().expect("a valid set-up");
            reading.push(tokio::spawn(async move {
                let mut events = 0;
                while events < EVENTS {
                    if let Some(Ok(Item::Event(event))) = source.next().await {
                        assert_eq!(event.data(), format!("/events/{number} {events}"));
                        events += 1;
                    }
                    if events % 7 == 0 {
                        // Another thread may be the next to read.
                        tokio::task::yield_now().await;
                    }
                }
            }));
        }
        for _ in 0..SOURCES {
            let mut connection = server.accept().await;
            tokio::spawn(async move {
                let path = connection.path().to_owned();
                connection.send(OPEN).await;
                for event in 0..EVENTS {
                    connection.send(format!("data: {path} {event}\n\n")).await;
                }
                connection.gone().await;
            });
        }
        for reading in reading {
            reading.await.expect("no panic");
        }
    });
}
