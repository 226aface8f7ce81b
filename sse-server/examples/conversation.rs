//! A conversation with a language model, for pages that use `useChat` of npm's `ai`. The answer is
//! a run: a reload, a second tab and a server that was killed show what there is of it. The model
//! is not real.
//!
//! ```sh
//! cd sse-server/examples/conversation
//! npm install ai @ai-sdk/react react react-dom esbuild
//! npx esbuild page.jsx --bundle --format=esm --jsx=automatic --outfile=page.js
//! cargo run --bin conversation 127.0.0.1:8008 conversation.db page.js    # open it in a browser
//! ```

use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use sse_server::storage::{SqliteStorage, StoredEvent};
use sse_server::views::{
    Event, EventStreams, Recorder, Resume, RunEnd, Runs, SendError, StreamView,
};

/// Says something about a question, word by word, as parts of a message of `ai`.
async fn model(message_id: String, question: String, answer: Recorder) -> Result<(), SendError> {
    let part = |part: Value| answer.send(Event::json(&part));
    part(json!({"type": "start", "messageId": message_id})).await?;
    part(json!({"type": "text-start", "id": "1"})).await?;
    let words = ["You", "have", "asked:", &question].into_iter().map(str::to_owned);
    for word in words.chain((1..=100).map(|number| format!("reason-{number}"))) {
        part(json!({"type": "text-delta", "id": "1", "delta": format!("{word} ")})).await?;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    part(json!({"type": "text-end", "id": "1"})).await?;
    part(json!({"type": "finish"})).await
}

/// What the page is told at the end of an answer that was not finished.
fn told(why: RunEnd) -> Event {
    Event::json(&match why {
        RunEnd::Interrupted => json!({"type": "finish", "finishReason": "interrupted"}),
        _ => json!({"type": "error", "errorText": "The model has failed."}),
    })
}

#[derive(Clone)]
struct Chats(EventStreams, Runs);

impl Chats {
    /// The last question of a chat: its number, and all messages up to it.
    async fn last(&self, chat: &str) -> Result<Option<StoredEvent>, SendError> {
        let channel = format!("chat-{chat}");
        let head = self.0.head(&channel).await?;
        Ok(self.0.read(&channel, head.saturating_sub(1), 1).await?.pop())
    }

    async fn answer(&self, chat: &str, number: u64) -> Result<Response, SendError> {
        let view = self.1.view(&format!("{chat}-{number}"), Resume::New).await?;
        Ok(view.map_or_else(StreamView::finished, StreamView::into_response))
    }
}

async fn ask(State(chats): State<Chats>, Json(asked): Json<Value>) -> Result<Response, SendError> {
    let Chats(streams, runs) = &chats;
    let chat = asked["id"].as_str().unwrap_or_default();
    let question = asked["messages"].as_array().and_then(|messages| messages.last());
    let question = question.and_then(|last| last["parts"][0]["text"].as_str()).unwrap_or("?");
    let channel = format!("chat-{chat}");
    let number = streams.send_event(&channel, "asked", &asked["messages"]).await?.unwrap_or(0);
    let (id, question) = (format!("{chat}-{number}"), question.to_owned());
    runs.start(&id.clone(), move |answer| model(id, question, answer)).await?;
    chats.answer(chat, number).await
}

/// What `useChat` asks for when a page is opened, or was cut off: all of the last answer.
async fn resume(
    State(chats): State<Chats>,
    Path(chat): Path<String>,
) -> Result<Response, SendError> {
    match chats.last(&chat).await? {
        Some(question) => chats.answer(&chat, question.id).await,
        None => Ok(StreamView::finished().into_response()),
    }
}

async fn stop(State(chats): State<Chats>, Path(chat): Path<String>) -> Result<(), SendError> {
    if let Some(question) = chats.last(&chat).await? {
        chats.1.stop(&format!("{chat}-{}", question.id)).await?;
    }
    Ok(())
}

/// The messages up to the last question; its answer is in the stream.
async fn messages(
    State(chats): State<Chats>,
    Path(chat): Path<String>,
) -> Result<String, SendError> {
    Ok(chats.last(&chat).await?.map_or_else(|| "[]".to_owned(), |question| question.data))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let address = args.next().unwrap_or_else(|| "127.0.0.1:8008".to_owned());
    let file = args.next().unwrap_or_else(|| "conversation.db".to_owned());
    let script = args.next().unwrap_or_else(|| "page.js".to_owned());
    let script = ([(CONTENT_TYPE, "text/javascript")], std::fs::read_to_string(script)?);
    let streams = EventStreams::builder().storage(SqliteStorage::open(file).await?).build();
    // An answer whose server is gone is over after 3 s.
    let runs = Runs::new(&streams).lease(Duration::from_secs(3)).tell(told);
    let app = Router::new()
        .route("/", get(async || Html(include_str!("conversation/page.html"))))
        .route("/page.js", get(async || script))
        .route("/api/chat", post(ask))
        .route("/api/chat/{chat}", get(messages))
        .route("/api/chat/{chat}/stream", get(resume))
        .route("/api/chat/{chat}/stop", post(stop))
        .with_state(Chats(streams, runs));
    let listener = tokio::net::TcpListener::bind(address).await?;
    Ok(axum::serve(listener, app).await?)
}
