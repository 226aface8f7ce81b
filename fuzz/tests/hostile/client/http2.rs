//! The same by TLS and HTTP/2, as far as the cases need it that are about these: it asks with GET,
//! follows no redirect, and takes every end for one that passes.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use h2::client;
use http::Request;
use sse_proto::Decoder;
use tokio::net::TcpStream;
use tokio::time::sleep;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::{Fault, MIN_WAIT, Task, print, tls};

pub(crate) fn run(task: &Task, fault: Fault) -> ! {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let mut decoder = Decoder::new();
        loop {
            let end = attempt(task, fault, &mut decoder).await;
            if fault == Fault::StopsOnError && end.is_err() {
                std::process::exit(1);
            }
            if fault != Fault::KeepsHalves {
                decoder.end_of_stream();
            }
            sleep(MIN_WAIT).await;
        }
    })
}

async fn goes_away(requests: &mut client::SendRequest<bytes::Bytes>) {
    while poll_fn(|cx| requests.poll_ready(cx)).await.is_ok() {
        sleep(Duration::from_millis(5)).await;
    }
}

async fn attempt(task: &Task, fault: Fault, decoder: &mut Decoder) -> io::Result<()> {
    let url = task.url.strip_prefix("https://").expect("a URL with TLS");
    let address = &url[..url.find('/').expect("a path")];
    let host = address.rsplit_once(':').expect("a port").0.to_owned();
    let connector = TlsConnector::from(Arc::new(tls::config(&task.authority, b"h2")));
    let name = ServerName::try_from(host).expect("an address");
    let stream = connector.connect(name, TcpStream::connect(address).await?).await?;
    let (mut requests, connection) = client::handshake(stream).await.map_err(io::Error::other)?;
    tokio::spawn(async move { drop(connection.await) });
    let mut request = Request::get(&task.url).header("accept", "text/event-stream");
    if let Some(id) = decoder.last_event_id().filter(|_| fault != Fault::NoId) {
        request = request.header("last-event-id", id);
    }
    let request = request.body(()).expect("it is one");
    let (answer, _) = requests.send_request(request, true).map_err(io::Error::other)?;
    let mut body = answer.await.map_err(io::Error::other)?.into_body();
    loop {
        let data = tokio::select! {
            data = body.data() => data,
            // After GOAWAY no more requests can be made.
            () = goes_away(&mut requests), if fault == Fault::Hasty => None,
        };
        let Some(data) = data else { return Ok(()) };
        let data = data.map_err(io::Error::other)?;
        drop(body.flow_control().release_capacity(data.len()));
        print(decoder, &data, &mut Duration::default());
    }
}
