//! Streams that real queues feed: each delivers, goes on where it can, says so where it cannot, and
//! outlives its service.

mod killed;
mod postgres_channels;
mod probed;
mod rabbitmq;
mod redis_channels;
mod redis_streams;
mod view;

use std::net::SocketAddr;

use axum::extract::{Path, State};
use axum::routing::{get as on_get, post};
use axum::{Json, Router};
use serde_json::Value;
use sse_server::views::queues::{Queue, QueueError};
use sse_server::views::{Resume, StreamView};
use testkit::server::{Response, send};
use testkit::wait::within;
use tokio::net::TcpListener;

/// Serves an application until the test ends.
async fn serve(app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it listens");
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

async fn get(address: SocketAddr, path: &str, headers: &str) -> Response {
    let request = format!("GET {path} HTTP/1.1\r\nHost: app.example\r\n{headers}\r\n");
    send(address, request.as_bytes()).await
}

async fn events(
    State(queue): State<Queue>,
    Path(channel): Path<String>,
    resume: Resume,
) -> Result<StreamView, QueueError> {
    queue.view(&channel, &resume).await
}

/// As `POST /publish/` of the server, for `sse-fuzz`.
async fn publish(
    State(queue): State<Queue>,
    Json(body): Json<Value>,
) -> Result<Json<Value>, QueueError> {
    let text = |key: &str| body[key].as_str().map(str::to_owned);
    let event_type = text("event").unwrap_or_else(|| "message".to_owned());
    let channel = text("channel").unwrap_or_default();
    let sent = match text("text") {
        Some(data) => queue.send_text(&channel, &event_type, data).await?,
        None => queue.send_event(&channel, &event_type, &body["data"]).await?,
    };
    Ok(Json(serde_json::json!({"id": sent})))
}

/// Serves the channels of a queue, at their names.
async fn serve_queue(queue: &Queue) -> SocketAddr {
    serve(app_of(queue)).await
}

fn app_of(queue: &Queue) -> Router {
    Router::new()
        .route("/publish/", post(publish))
        .route("/{channel}", on_get(events))
        .with_state(queue.clone())
}

/// A reader who has begun, and the id that it could come back with.
async fn reader(address: SocketAddr, channel: &str) -> (Response, String) {
    let mut response = get(address, &format!("/{channel}"), "").await;
    assert_eq!(response.status, 200, "{}", response.head);
    let begin = response.until("\n\nid: ").await + &response.until("\n\n").await;
    let (_, id) = begin.trim_end().rsplit_once("id: ").expect("just seen");
    (response, id.to_owned())
}

/// The next event, as it is written. A stream that is silent for long says that it lives.
async fn event(reader: &mut Response) -> String {
    within("an event", async {
        loop {
            let event = reader.until("\n\n").await;
            if event != ":\n\n" {
                return event;
            }
        }
    })
    .await
}

/// The data of the next event, and its id. There must be nothing before it.
async fn next(reader: &mut Response) -> (String, String) {
    let event = event(reader).await;
    assert!(!event.contains("stream-reset"), "{event:?}");
    let field = |name: &str| {
        let mut lines = event.lines().filter_map(|line| line.strip_prefix(name));
        lines.next().map(str::to_owned)
    };
    (field("data: ").expect("data"), field("id: ").expect("an id"))
}

/// Reads to a stream-reset, and returns its id.
async fn reset(reader: &mut Response) -> String {
    let before = reader.until("event: stream-reset\nid: ").await;
    assert!(!before.contains("data"), "{before:?}");
    let rest = reader.until("\n\n").await;
    rest.split('\n').next().expect("an id").to_owned()
}

/// A reader who comes back with this id, and its first lines.
async fn back(address: SocketAddr, channel: &str, id: &str) -> Response {
    let mut response =
        get(address, &format!("/{channel}"), &format!("Last-Event-ID: {id}\r\n")).await;
    assert_eq!(response.status, 200);
    response.until(":\n\n").await;
    response
}
