//! An application with streams that wait for a broadcast, for `sse-bench`: at `/axum` by axum's
//! `Sse`, at `/stream` the same stream by `StreamView`, at `/view` a closure's; and at
//! `/sse/events/` those of channels. All have the same server and the same router.

#![forbid(unsafe_code)]

use std::convert::Infallible;
use std::error::Error;

use axum::Router;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::routing::get;
use futures_util::{Stream, StreamExt, stream};
use sse_server::views::{EventStreams, Gone, StreamView};
use tokio::net::TcpSocket;
use tokio::sync::broadcast;

/// How many connections may wait to be accepted.
const BACKLOG: u32 = 65_535;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).ok_or("give an address, such as 127.0.0.1:3000")?;
    let (news, _) = broadcast::channel::<String>(1024);
    let sender = news.clone();
    let axum = async move || {
        let events = texts(sender.subscribe());
        let events = events.map(|text| Ok::<_, Infallible>(Event::default().data(text)));
        Sse::new(events).keep_alive(KeepAlive::default())
    };
    let sender = news.clone();
    let stream = async move || StreamView::new(texts(sender.subscribe()));
    let view = async move || {
        let mut news = news.subscribe();
        StreamView::produce(move |events| async move {
            while let Ok(text) = news.recv().await {
                events.send(text).await?;
            }
            Ok::<_, Gone>(())
        })
    };
    let streams = EventStreams::builder().build();
    let app = Router::new()
        .route("/axum", get(axum))
        .route("/stream", get(stream))
        .route("/view", get(view))
        .nest("/sse", streams.router());
    // As long a queue as the system allows: readers come all at once.
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address.parse()?)?;
    // `serve(…, app)` would have a copy of all routes for each connection.
    axum::serve(socket.listen(BACKLOG)?, app.into_make_service()).await?;
    Ok(())
}

fn texts(news: broadcast::Receiver<String>) -> impl Stream<Item = String> {
    stream::unfold(news, async |mut news| Some((news.recv().await.ok()?, news)))
}
