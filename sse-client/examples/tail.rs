//! Prints the events of a stream, and goes on after whatever interrupts it.
//!
//! `cargo run --example tail -- 'http://127.0.0.1:8080/events/?channel=test'`

use std::error::Error;

use sse_client::{EventSource, Item};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    // Shows what it does on each try, if RUST_LOG says so.
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();

    let url = std::env::args().nth(1).ok_or("give a URL")?;
    let mut source = EventSource::get(url).build()?;
    while let Some(item) = source.next().await {
        match item {
            Ok(Item::Event(event)) => println!("{}: {}", event.event_type(), event.data()),
            Ok(Item::Waiting { why, .. }) => eprintln!("{why}; trying again"),
            Ok(Item::Reset { channels }) => eprintln!("events are missing of {channels:?}"),
            Ok(_) => {}
            Err(error) if error.is_final() => return Err(error.into()),
            Err(error) => eprintln!("{error}"),
        }
    }
    Ok(())
}
