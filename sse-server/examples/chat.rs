//! A chat with presence: whoever reads it is in it.
//!
//! ```sh
//! cargo run --bin chat 127.0.0.1:8001
//! curl -N 'http://127.0.0.1:8001/events/chat/?name=ann' &
//! curl -d 'good morning' 'http://127.0.0.1:8001/say?name=bob'
//! ```
//!
//! A browser that opens the first URL gets the live page.

use std::collections::HashMap;

use axum::extract::Query;
use axum::http::{StatusCode, Uri};
use axum::{Router, routing::post};
use serde_json::json;
use sse_server::access::Principal;
use sse_server::views::EventStreams;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

type Names = Query<HashMap<String, String>>;

/// Somebody who is there as long as this is. The stream keeps it.
struct Present(String, UnboundedSender<(String, &'static str)>);

impl Drop for Present {
    fn drop(&mut self) {
        // The program may be ending.
        self.1.send((self.0.clone(), "left")).ok();
    }
}

fn name_in(uri: &Uri) -> String {
    let names = Names::try_from_uri(uri).unwrap_or_default();
    names.get("name").cloned().unwrap_or_else(|| "somebody".to_owned())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8001".to_owned());
    let (changes, mut received) = unbounded_channel();
    let enter = move |request: axum::http::request::Parts| {
        let name = name_in(&request.uri);
        changes.send((name.clone(), "joined")).ok();
        let present = Present(name.clone(), changes.clone());
        async move { Ok(Principal::user(name).with_context(present)) }
    };
    let streams = EventStreams::builder().user(enter).build();
    let (tell, say) = (streams.clone(), streams.clone());
    tokio::spawn(async move {
        while let Some((name, what)) = received.recv().await {
            tell.send_event("chat", what, &json!({"name": name})).await.ok();
        }
    });
    let say = async move |uri: Uri, text: String| {
        let said = json!({"name": name_in(&uri), "text": text});
        let sent = say.send_event("chat", "message", &said).await;
        sent.map_or(StatusCode::SERVICE_UNAVAILABLE, |_| StatusCode::NO_CONTENT)
    };
    let app = streams.router().route("/say", post(say));
    let listener = tokio::net::TcpListener::bind(address).await?;
    Ok(axum::serve(listener, Router::new().merge(app)).await?)
}
