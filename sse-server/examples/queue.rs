//! Prices that other programs publish in Redis, as event streams; and the same as a Redis stream,
//! which a reader that comes back has missed nothing of.
//!
//! ```sh
//! cargo run --bin queue 127.0.0.1:8006 redis://127.0.0.1
//! curl -N http://127.0.0.1:8006/now/gold &
//! redis-cli publish prices.gold 17
//! curl -N 'http://127.0.0.1:8006/all/gold?lastEventId=0-0' &
//! redis-cli xadd prices.gold '*' event price data 17
//! ```

use axum::Router;
use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use sse_server::views::queues::{Queue, QueueError, QueueView};

/// What the closure of a view is for: names come from the reader, who may not name anything.
async fn channel(mut request: Parts) -> Result<String, QueueError> {
    let symbol = Path::<String>::from_request_parts(&mut request, &()).await;
    match symbol {
        Ok(Path(symbol)) if ["gold", "silver"].contains(&&*symbol) => {
            Ok(format!("prices.{symbol}"))
        }
        _ => Err(QueueError::NotFound("there are prices of gold and silver only".to_owned())),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let address = args.next().unwrap_or_else(|| "127.0.0.1:8006".to_owned());
    let url = args.next().unwrap_or_else(|| "redis://127.0.0.1".to_owned());
    let now = Queue::builder().event_type("price").redis_channels(&url).await?;
    let all = Queue::builder().redis_streams(&url).await?;
    let app = Router::new()
        .route_service("/now/{symbol}", QueueView::new(&now, channel))
        .route_service("/all/{symbol}", QueueView::new(&all, channel));
    let listener = tokio::net::TcpListener::bind(address).await?;
    Ok(axum::serve(listener, app).await?)
}
