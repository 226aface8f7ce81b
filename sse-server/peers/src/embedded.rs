//! An application with streams of ours, for `sse-bench`: at `/view` those of a closure that waits
//! for a broadcast, at `/sse/events/` those of channels.

#![forbid(unsafe_code)]

use std::error::Error;

use axum::Router;
use axum::routing::get;
use sse_server::views::{EventStreams, Gone, StreamView};
use tokio::net::TcpSocket;
use tokio::sync::broadcast;

/// How many connections may wait to be accepted.
const BACKLOG: u32 = 65_535;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).ok_or("give an address, such as 127.0.0.1:3000")?;
    let (news, _) = broadcast::channel::<String>(1024);
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
    let app = Router::new().route("/view", get(view)).nest("/sse", streams.router());
    // As long a queue as the system allows: readers come all at once.
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address.parse()?)?;
    axum::serve(socket.listen(BACKLOG)?, app).await?;
    Ok(())
}
