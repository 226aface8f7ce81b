//! The progress of a long job, whose readers may come late, leave, and come back.
//!
//! ```sh
//! cargo run --bin progress 127.0.0.1:8002
//! curl -X POST http://127.0.0.1:8002/jobs/7
//! curl -N 'http://127.0.0.1:8002/jobs/7/events/?lastEventId=job-7:0'
//! ```

use std::time::Duration;

use axum::extract::Path;
use axum::http::StatusCode;
use axum::routing::post;
use serde_json::json;
use sse_server::http::{Endpoint, Endpoints};
use sse_server::views::{EventStreams, SendError};

const STEPS: u32 = 5;

/// The job. What it tells is stored, so that it has to know of no reader.
async fn run(streams: &EventStreams, job: u32) -> Result<(), SendError> {
    let channel = format!("job-{job}");
    for step in 1..=STEPS {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let progress = json!({"step": step, "of": STEPS});
        streams.send_event(&channel, "progress", &progress).await?;
    }
    streams.send_event(&channel, "done", &json!({"result": job * 6})).await?;
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8002".to_owned());
    let events = Endpoint::new("/jobs/{job}/events/")?.format_channels(["job-{job}"])?;
    let endpoints = Endpoints::none().with(events)?;
    let streams = EventStreams::builder().endpoints(endpoints).build();
    let router = streams.router();
    let start = async move |Path(job): Path<u32>| {
        tokio::spawn(async move {
            if let Err(error) = run(&streams, job).await {
                eprintln!("job {job}: {error}");
            }
        });
        StatusCode::ACCEPTED
    };
    let app = router.route("/jobs/{job}", post(start));
    let listener = tokio::net::TcpListener::bind(address).await?;
    Ok(axum::serve(listener, app).await?)
}
