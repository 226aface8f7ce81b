//! The iterator for programs without `async`.

mod server;

use server::{OPEN, Server, nobody};
use sse_client::{EventSource, Failure, Item};

#[test]
fn items_come_without_async() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let mut server = runtime.block_on(Server::start());
    let builder = server.builder().until("[DONE]");
    let serving = runtime.spawn(async move {
        for body in ["id: 1\ndata: a\n\n", "data: b\n\ndata: [DONE]\n\n"] {
            let mut connection = server.accept().await;
            connection.send(format!("{OPEN}{body}")).await;
        }
    });
    let mut items = builder.blocking().expect("a valid set-up");
    let handle = items.source().handle();
    let mut events = Vec::new();
    for item in &mut items {
        if let Some(event) = item.expect("good news").into_event() {
            events.push(event.data().to_owned());
        }
    }
    assert_eq!(events, ["a", "b"]);
    assert!(items.next().is_none());
    assert!(matches!(handle.status(), sse_client::Status::Closed(_)));
    runtime.block_on(serving).expect("all was served");
}

#[test]
fn it_tells_why_nothing_comes() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let (_nobody, port) = runtime.block_on(async { nobody() });
    let url = format!("http://127.0.0.1:{port}/");
    let mut items = EventSource::get(url).blocking().expect("a valid set-up");
    let Some(Ok(Item::Waiting { failure, why, .. })) = items.next() else { panic!("it waits") };
    assert_eq!(failure, Failure::Network);
    assert!(why.contains("refused"), "{why}");
}
