//! An application whose events outlive it: its channels are nested below `/sse`, and stored in a
//! file. Kill it, start it again, and readers go on where they were. Others publish with a token.
//!
//! ```sh
//! cargo run --bin lasting 127.0.0.1:8007 events.db 'a token to publish with'
//! curl -N http://127.0.0.1:8007/sse/events/news/ &
//! curl -d 'hello' http://127.0.0.1:8007/say
//! curl -H 'Authorization: Bearer a token to publish with' \
//!     -d '{"channel":"news","data":"from elsewhere"}' http://127.0.0.1:8007/sse/publish/
//! ```

use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Router, serve};
use sse_server::access::PublishToken;
use sse_server::storage::SqliteStorage;
use sse_server::views::EventStreams;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let address = args.next().unwrap_or_else(|| "127.0.0.1:8007".to_owned());
    let file = args.next().unwrap_or_else(|| "events.db".to_owned());
    let mut streams = EventStreams::builder().storage(SqliteStorage::open(file).await?);
    if let Some(token) = args.next() {
        streams = streams.publish_token(PublishToken::for_all(token));
    }
    let streams = streams.build();
    let sender = streams.clone();
    let say = async move |text: String| {
        let sent = sender.send_event("news", "message", &text).await;
        sent.map_or(StatusCode::SERVICE_UNAVAILABLE, |_| StatusCode::NO_CONTENT)
    };
    let app = Router::new()
        .route("/", get(async || "the application"))
        .route("/say", post(say))
        .nest("/sse", streams.router());
    let listener = tokio::net::TcpListener::bind(address).await?;
    // Ctrl-C ends its streams, and tells their readers when to come back.
    let stopped = async { drop(tokio::signal::ctrl_c().await) };
    serve(listener, app).with_graceful_shutdown(streams.clone().ends_with(stopped)).await?;
    streams.close().await;
    Ok(())
}
