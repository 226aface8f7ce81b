//! A clock behind a GRIP proxy such as Pushpin, without a hub: an application of its own that
//! decides what readers get, and has the proxy hold their streams.
//!
//! `cargo run --bin grip-clock -- 127.0.0.1:8081 'http://127.0.0.1:5561?verify-key=SECRET'`, and
//! `* 127.0.0.1:8081` in Pushpin's `routes`. Then `curl -N http://127.0.0.1:7999/clock`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use sse_server::grip::{Grip, Hold, Item};
use tokio::net::TcpListener;

/// What time it is, in ticks since the start.
#[derive(Clone)]
struct Clock {
    grip: Grip,
    ticks: Arc<AtomicU64>,
}

fn event(tick: u64) -> String {
    format!("id: {tick}\ndata: tick {tick}\n\n")
}

impl Clock {
    /// The ticks after this one, and a hold that goes on from there.
    fn hold(&self, after: u64) -> Response {
        let now = self.ticks.load(Ordering::SeqCst);
        let missed: String = (after + 1..=now).map(event).collect();
        let hold = Hold::new()
            .channel(self.grip.channel("clock"), Some(&now.to_string()))
            // Everyone may read it, so one link does for all.
            .next_link("/clock/next", Some(Duration::from_mins(1)))
            .keep_alive(":\n\n", Duration::from_secs(20));
        let kind = [(header::CONTENT_TYPE, "text/event-stream")];
        (kind, hold.headers(), missed).into_response()
    }

    /// Ticks for ever.
    async fn run(self) {
        let mut seconds = tokio::time::interval(Duration::from_secs(1));
        loop {
            seconds.tick().await;
            let tick = self.ticks.fetch_add(1, Ordering::SeqCst) + 1;
            let item = Item::stream(self.grip.channel("clock"), event(tick))
                .ids(&tick.to_string(), &(tick - 1).to_string());
            // Who misses it is told by the next one, and asks.
            if let Err(error) = self.grip.publish(&[item]).await {
                eprintln!("{error}");
            }
        }
    }
}

/// A reader's request, which the proxy has passed on.
async fn clock(State(clock): State<Clock>, headers: HeaderMap) -> Response {
    if !clock.grip.is_proxied(&headers) {
        return (StatusCode::NOT_IMPLEMENTED, "ask by way of the proxy\n").into_response();
    }
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
    clock.hold(last.unwrap_or_else(|| clock.ticks.load(Ordering::SeqCst)))
}

/// The proxy's own question, about readers that have missed something.
async fn next(State(clock): State<Clock>, headers: HeaderMap) -> Response {
    if !clock.grip.is_proxied(&headers) {
        return StatusCode::NOT_FOUND.into_response();
    }
    let last = clock.grip.last_id(&headers, &clock.grip.channel("clock"));
    clock.hold(last.and_then(|id| id.parse().ok()).unwrap_or_default())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [listen, proxy] = &args[..] else {
        return Err("usage: grip-clock ADDRESS GRIP_URL".into());
    };
    let clock = Clock { grip: Grip::new([proxy.parse()?]), ticks: Arc::default() };
    tokio::spawn(clock.clone().run());
    let routes = Router::new().route("/clock", get(self::clock)).route("/clock/next", get(next));
    axum::serve(TcpListener::bind(listen).await?, routes.with_state(clock)).await?;
    Ok(())
}
