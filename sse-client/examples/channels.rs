//! Prints the events of many channels that one connection carries. Enter reconnects, `q` and Enter
//! ends.
//!
//! `cargo run --example channels -- http://127.0.0.1:8080/events/ news test`

use std::error::Error;
use std::io::BufRead;

use sse_client::{EventSource, Item};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().ok_or("give a URL")?;
    let mut source =
        EventSource::channels(url, arguments).session(|config| config.comments(true)).build()?;

    let handle = source.handle();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            match line.as_str() {
                "q" => handle.close(),
                _ => handle.reconnect(),
            }
        }
    });

    while let Some(item) = source.next().await {
        match item? {
            // The id has the position in each channel, so one id resumes all of them.
            Item::Event(event) => println!("{} {}", event.last_event_id(), event.data()),
            Item::Reset { channels } => println!("events are missing of {}", channels.join(", ")),
            Item::Open => println!("{} is open", source.url()),
            Item::Comment(comment) => println!("# {}", comment.trim()),
            _ => {}
        }
    }
    Ok(())
}
