use std::convert::Infallible;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::{Router, routing::get, serve};
use futures_util::{Stream, StreamExt, stream};

async fn numbers() -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let numbers = stream::iter(1..=10);
    Sse::new(numbers.map(|number: u64| Ok(Event::default().id(number.to_string()).data("…"))))
        .keep_alive(KeepAlive::default())
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let app = Router::new().route("/numbers", get(numbers));
    serve(tokio::net::TcpListener::bind("127.0.0.1:8080").await?, app).await
}
