//! Prints the events of a stream, and when it is run again, those that it has missed.
//!
//! `cargo run --example persist -- 'http://127.0.0.1:8080/events/?channel=test' last-id`

use std::error::Error;
use std::fs;

use sse_client::{EventSource, Item};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().ok_or("give a URL")?;
    let path = arguments.next().ok_or("give a file for the last id")?;

    // No file yet is the same as an empty one: the stream starts where the server likes.
    let stored = fs::read_to_string(&path).unwrap_or_default();
    let mut source = EventSource::builder(url).last_event_id(stored).build()?;
    while let Some(item) = source.next().await {
        match item? {
            Item::Event(event) => println!("{}", event.data()),
            Item::Reset { .. } => println!("(too long ago: some are missing)"),
            _ => continue,
        }
        // After the event has been dealt with: a crash in between repeats it and loses none. The
        // file is replaced, not rewritten, so that a crash does not leave half an id.
        if let Some(id) = source.last_event_id() {
            let draft = format!("{path}.new");
            fs::write(&draft, id)?;
            fs::rename(draft, &path)?;
        }
    }
    Ok(())
}
