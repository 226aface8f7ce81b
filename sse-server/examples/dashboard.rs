//! A dashboard: numbers of this process, made anew for each reader, without a channel. A reader
//! that is slow gets the newest ones, not those that it has missed.
//!
//! ```sh
//! cargo run --bin dashboard 127.0.0.1:8003    # then open it in a browser
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::response::Html;
use axum::{Router, routing::get};
use serde_json::json;
use sse_server::views::{Event, Gone, Lag, StreamView};

const PAGE: &str = "<!doctype html><title>Dashboard</title><pre id=numbers>…</pre><script>
new EventSource('numbers').addEventListener('numbers', ({data}) => {
  document.getElementById('numbers').textContent = JSON.stringify(JSON.parse(data), null, 2);
});
</script>";

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8003".to_owned());
    let (begun, asked) = (Instant::now(), Arc::new(AtomicU64::new(0)));
    let numbers = async move || {
        asked.fetch_add(1, Ordering::Relaxed);
        let asked = asked.clone();
        StreamView::produce(move |events| async move {
            loop {
                let readers = asked.load(Ordering::Relaxed);
                let uptime = begun.elapsed().as_secs_f64();
                let numbers = json!({"uptime": uptime, "readers so far": readers});
                events.send(Event::json(&numbers).event_type("numbers")).await?;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            #[expect(unreachable_code, reason = "it says what the closure fails with")]
            Ok::<_, Gone>(())
        })
        .lag(Lag::Reset(1))
    };
    let app = Router::new().route("/", get(async || Html(PAGE))).route("/numbers", get(numbers));
    let listener = tokio::net::TcpListener::bind(address).await?;
    axum::serve(listener, app).await
}
