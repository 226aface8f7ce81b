//! An event stream by axum's `Sse`, as its documentation has it: everyone who reads gets what is
//! published from then on. There are no ids, and nothing is kept. A peer for `sse-fuzz probe`.
//!
//! `cargo run -p ssekit-fuzz --example axum_sse 127.0.0.1:3000`, then
//! `curl -N http://127.0.0.1:3000/events/` and
//! `curl --json '{"event":"message","text":"hello"}' http://127.0.0.1:3000/publish/`

use std::convert::Infallible;
use std::error::Error;
use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::stream::{self, Stream};
use serde::Deserialize;
use tokio::net::TcpSocket;
use tokio::sync::broadcast::{self, Sender, error::RecvError};

/// What is behind before it misses something, in events.
const CAPACITY: usize = 1024;

/// How many connections may wait to be accepted.
const BACKLOG: u32 = 65_535;

#[derive(Debug, Deserialize)]
struct Message {
    event: String,
    text: String,
}

type Messages = Sender<Arc<Message>>;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).ok_or("give an address, such as 127.0.0.1:3000")?;
    let (messages, _) = broadcast::channel(CAPACITY);
    let app = Router::new()
        .route("/events/", get(events))
        .route("/publish/", post(publish))
        .layer(DefaultBodyLimit::max(4 << 20))
        .with_state(messages);
    // As long a queue as the system allows: readers come back all at once.
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address.parse()?)?;
    axum::serve(socket.listen(BACKLOG)?, app).await?;
    Ok(())
}

async fn publish(State(messages): State<Messages>, Json(message): Json<Message>) {
    // If nobody reads, nobody misses it.
    drop(messages.send(Arc::new(message)));
}

async fn events(
    State(messages): State<Messages>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let stream = stream::unfold(messages.subscribe(), |mut messages| async move {
        loop {
            match messages.recv().await {
                Ok(message) => {
                    let event = Event::default().event(&message.event).data(&message.text);
                    return Some((Ok(event), messages));
                }
                // Who is too slow misses some, and is not told: there is nothing to tell it with.
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return None,
            }
        }
    });
    Sse::new(stream).keep_alive(KeepAlive::default())
}
