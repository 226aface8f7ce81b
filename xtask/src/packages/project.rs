//! A project that uses each package as its users do: a server with an event, a client that reads
//! it, the codec, and a server that cuts its connections.

use std::error::Error;
use std::future;
use std::sync::Arc;

use sse_client::EventSource;
use sse_fuzz::hostile;
use sse_proto::{Decoder, Frame};
use sse_server::http::{self, HttpConfig};
use sse_server::hub::Hub;
use sse_server::storage::{MemoryStorage, NewEvent};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let hub = Hub::new(Arc::new(MemoryStorage::new()));
    hub.publish(vec![NewEvent::new("test", "message", "hello")]).await?;
    let router = http::router(hub.clone(), HttpConfig::new("a secret to publish with"));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/events/?channel=test", listener.local_addr()?);
    tokio::spawn(async move { http::serve(listener, router, &hub, future::pending()).await });

    let mut events = EventSource::builder(url).last_event_id("test:0").build()?.events();
    let event = events.next().await.ok_or("no event")??;
    assert_eq!((event.data(), event.id()), ("hello", Some("test:1")));

    let hostile = hostile::Server::start().await?;
    let mut events = EventSource::get(hostile.url("cut.mid-event", "packages")).events()?;
    for expected in ["a", "b"] {
        let event = events.next().await.ok_or("no event")??;
        assert_eq!(event.data(), expected);
    }

    let mut decoder = Decoder::new();
    let mut frames = decoder.decode(b"data: hello\n\n");
    assert!(
        matches!(frames.next_frame(), Some(Ok(Frame::Event(event))) if event.data() == "hello")
    );
    println!("each package does what it is for");
    Ok(())
}
