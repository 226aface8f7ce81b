//! Keeps feature flags up to date: reads all of them when it starts, and again after a gap.
//!
//! `cargo run --example flags -- URL-OF-FLAGS URL-OF-EVENTS`
//!
//! The first URL answers with a JSON object of flags; events of type `patch` have such an object as
//! their data, with those that have changed.

use std::collections::BTreeMap;
use std::error::Error;

use sse_client::{EventSource, Item, reqwest};

type Flags = BTreeMap<String, serde_json::Value>;

async fn read_all(url: &str) -> Result<Flags, Box<dyn Error>> {
    let response = reqwest::get(url).await?.error_for_status()?;
    Ok(serde_json::from_slice(&response.bytes().await?)?)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let all = arguments.next().ok_or("give the URL of the flags")?;
    let changes = arguments.next().ok_or("give the URL of their changes")?;

    let mut source = EventSource::get(changes).build()?;
    let mut flags = Flags::new();
    let mut is_first = true;
    while let Some(item) = source.next().await {
        match item? {
            // Once the stream is open, so that no change falls between the two. What reconnects
            // later resumes, unless it says that it cannot.
            Item::Open if is_first => flags = read_all(&all).await?,
            Item::Reset { .. } => flags = read_all(&all).await?,
            Item::Event(event) if event.event_type() == "patch" => {
                flags.extend(serde_json::from_str::<Flags>(event.data())?);
            }
            Item::Waiting { why, .. } => {
                eprintln!("the flags may be old: {why}");
                continue;
            }
            _ => continue,
        }
        is_first = false;
        println!("{}", serde_json::to_string(&flags)?);
    }
    Ok(())
}
