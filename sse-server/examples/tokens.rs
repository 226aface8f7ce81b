//! A language model's answer, relayed token by token: the request that asks is the stream that
//! answers. With a URL it asks a server that speaks OpenAI's protocol; without, it answers itself.
//!
//! ```sh
//! cargo run --bin tokens 127.0.0.1:8005
//! curl -N 'http://127.0.0.1:8005/answer?question=why'
//! cargo run --bin tokens 127.0.0.1:8006 http://127.0.0.1:8005/v1/chat/completions
//! ```

use axum::extract::RawQuery;
use axum::routing::{get, post};
use axum::{Router, extract::State};
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use sse_client::{EventSource, Item};
use sse_server::views::{Event, StreamView};

/// A model that says the same to everyone, as OpenAI's server would.
async fn model() -> StreamView {
    let chunk = |word: &str| Event::json(&json!({"choices": [{"delta": {"content": word}}]}));
    let words = ["Because", " it", " is", " so", "."].map(chunk);
    StreamView::new(stream::iter(words).chain(stream::iter([Event::text("[DONE]")])))
}

/// Asks the model, and sends what it says as it says it. When the reader leaves, the model is left.
async fn answer(State(model): State<String>, RawQuery(query): RawQuery) -> StreamView {
    StreamView::produce(move |events| async move {
        let question = query.unwrap_or_default();
        let body = json!({"stream": true, "messages": [{"role": "user", "content": question}]});
        let mut tokens = EventSource::openai(model).json(&body).build()?;
        while let Some(item) = tokens.next().await {
            let Item::Event(event) = item? else { continue };
            let chunk: Value = serde_json::from_str(event.data())?;
            if let Some(token) = chunk["choices"][0]["delta"]["content"].as_str() {
                events.send(Event::text(token).event_type("token")).await?;
            }
        }
        events.send(Event::text("").event_type("end")).await?;
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
    })
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let mut args = std::env::args().skip(1);
    let address = args.next().unwrap_or_else(|| "127.0.0.1:8005".to_owned());
    let url = args.next().unwrap_or_else(|| format!("http://{address}/v1/chat/completions"));
    let app = Router::new()
        .route("/v1/chat/completions", post(model))
        .route("/answer", get(answer))
        .with_state(url);
    let listener = tokio::net::TcpListener::bind(address).await?;
    axum::serve(listener, app).await
}
