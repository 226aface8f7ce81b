//! `sse-client`, as `sse-fuzz hostile --check` wants a client to be: it takes a URL and prints each
//! event as a line of JSON. The same in another language is all that is needed to test a client.
//! `hyper` as a sixth argument has it ask by hyper-util's client in place of reqwest's.
//!
//! `cargo build -p ssekit-fuzz --example native`, then
//! `sse-fuzz hostile --check 'target/debug/examples/native {url} {header} {method} {body} {ca}'`

use std::error::Error;
use std::fs;
use std::io::{self, Write};
use std::time::Duration;

use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::connect::HttpConnector;
use sse_client::reqwest::redirect::Policy;
use sse_client::reqwest::{self, Certificate};
use sse_client::transport::Hyper;
use sse_client::{Builder, EventSource, Item};
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// How long a server may be silent, unless the caller says otherwise. The defaults of the client
/// are minutes, as some servers have nothing to say; that is too long for the cases.
const SILENCE: Duration = Duration::from_secs(45);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [url, header, method, body, others @ ..] = arguments.as_slice() else {
        return Err("give a URL, a header, a method, a body, and a file to believe".into());
    };
    let authority = others.first().map(String::as_str);
    let over_hyper = others.get(1).is_some_and(|transport| transport == "hyper");
    run(&Request { url, header, method, body, authority, over_hyper }, SILENCE).await
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
    /// In place of reqwest.
    pub(crate) over_hyper: bool,
}

/// Reads until the stream is over. `idle` is how long silence lasts until it counts as an end.
pub(crate) async fn run(request: &Request<'_>, idle: Duration) -> Result<(), Box<dyn Error>> {
    let (name, value) = request.header.split_once(": ").ok_or("a header is `Name: value`")?;
    let mut builder = EventSource::builder(request.url).header(name, value);
    builder = builder.method(request.method.parse()?);
    if !request.body.is_empty() {
        builder = builder.body(request.body.to_owned());
    }
    builder = with_transport(builder, request)?;
    builder = builder.session(|config| config.connect_timeout(idle).idle_timeout(Some(idle)));
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

/// With the transport that is asked for, which believes the authority and nobody else.
fn with_transport(builder: Builder, request: &Request<'_>) -> Result<Builder, Box<dyn Error>> {
    let pem = request.authority.map(fs::read).transpose()?;
    if !request.over_hyper {
        let Some(pem) = pem else {
            return Ok(builder);
        };
        let client = reqwest::Client::builder().redirect(Policy::none());
        let client = client.tls_certs_only([Certificate::from_pem(&pem)?]);
        return Ok(builder.client(client.build()?));
    }
    let Some(pem) = pem else {
        return Ok(builder.transport(Hyper::with_rustls(Duration::from_secs(30))?));
    };
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&pem)?)?;
    let tls = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    let https = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
    Ok(builder.transport(Hyper::with_connector(https.enable_all_versions().wrap_connector(http))))
}
