//! `sse-client`, as `sse-fuzz hostile --check` wants a client to be: it takes a URL and prints each
//! event as a line of JSON. The same in another language is all that is needed to test a client.
//!
//! `cargo build -p ssekit-fuzz --example native`, then
//! `sse-fuzz hostile --check 'target/debug/examples/native {url} {header} {method} {body} {ca}'`

use std::error::Error;
use std::fs;
use std::io::{self, Write};
use std::time::Duration;

use sse_client::reqwest::redirect::Policy;
use sse_client::reqwest::{self, Certificate};
use sse_client::{EventSource, Item};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let (url, header, method, body, authority) = match arguments.as_slice() {
        [url, header, method, body] => (url, header, method, body, None),
        [url, header, method, body, authority] => (url, header, method, body, Some(&**authority)),
        _ => return Err("give a URL, a header, a method, a body, and a file to believe".into()),
    };
    run(&Request { url, header, method, body, authority }, None).await
}

/// What to ask for.
pub(crate) struct Request<'a> {
    pub(crate) url: &'a str,
    /// `Name: value`
    pub(crate) header: &'a str,
    pub(crate) method: &'a str,
    /// Empty: none.
    pub(crate) body: &'a str,
    /// A file with a certificate to believe, in PEM; in place of the system's.
    pub(crate) authority: Option<&'a str>,
}

/// Reads until the stream is over. `idle` is how long silence lasts until it counts as an end.
pub(crate) async fn run(
    request: &Request<'_>,
    idle: Option<Duration>,
) -> Result<(), Box<dyn Error>> {
    let (name, value) = request.header.split_once(": ").ok_or("a header is `Name: value`")?;
    let mut builder = EventSource::builder(request.url).header(name, value);
    builder = builder.method(request.method.parse()?);
    if !request.body.is_empty() {
        builder = builder.body(request.body.to_owned());
    }
    if let Some(authority) = request.authority {
        let authority = Certificate::from_pem(&fs::read(authority)?)?;
        let client = reqwest::Client::builder().redirect(Policy::none());
        builder = builder.client(client.tls_certs_only([authority]).build()?);
    }
    if let Some(idle) = idle {
        builder = builder.session(|config| config.connect_timeout(idle).idle_timeout(Some(idle)));
    }
    let mut source = builder.build()?;
    while let Some(item) = source.next().await {
        match item {
            Ok(Item::Event(event)) => {
                let line = serde_json::json!({
                    "event": event.event_type(),
                    "data": event.data(),
                    "id": event.last_event_id(),
                });
                writeln!(io::stdout().lock(), "{line}")?;
            }
            Ok(_) => {}
            // Over, for a reason that is told. The exit code does not say that it crashed.
            Err(error) if error.is_final() => return Err(error.into()),
            Err(error) => eprintln!("{error}"),
        }
    }
    Ok(())
}
