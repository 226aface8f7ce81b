//! The server: accepts connections at three origins, and has their requests answered.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

use super::answer::Stage;
use super::certificate::Certificate;
use super::record::{Addresses, Origin, Record};
use super::request::{Head, REQUEST_TIMEOUT, Request};
use super::{catalogue, http2};
use crate::wire::socket::Socket;

/// Connections at once; others wait to be accepted.
const MAX_CONNECTIONS: usize = 256;

/// A hostile server on three ports of one address. Dropping it ends all connections.
#[derive(Debug)]
pub struct Server {
    stage: Arc<Stage>,
    acceptors: Vec<AbortHandle>,
}

impl Server {
    /// Listens at free ports of 127.0.0.1.
    ///
    /// # Errors
    ///
    /// If no port is free.
    pub async fn start() -> io::Result<Self> {
        Self::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await
    }

    /// Listens at this address, and at two free ports of the same host.
    ///
    /// # Errors
    ///
    /// If the address is in use or not of this machine, or no certificate can be made for it.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        let main = TcpListener::bind(address).await?;
        let free = SocketAddr::new(address.ip(), 0);
        let (other, secure) = (TcpListener::bind(free).await?, TcpListener::bind(free).await?);
        let addresses = Addresses {
            main: main.local_addr()?,
            other: other.local_addr()?,
            secure: secure.local_addr()?,
        };
        let stage = Arc::new(Stage {
            record: Arc::new(Record::new(addresses, catalogue::cases())),
            certificate: Certificate::new(address.ip())?,
        });
        let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let listeners = [(main, Origin::Main), (other, Origin::Other), (secure, Origin::Secure)];
        let acceptors = listeners.map(|(listener, origin)| {
            let accept = accept(Arc::clone(&stage), listener, origin, Arc::clone(&slots));
            tokio::spawn(accept).abort_handle()
        });
        Ok(Self { stage, acceptors: acceptors.into() })
    }

    /// The address of the origin at which clients begin, but for the cases that need TLS.
    pub fn address(&self) -> SocketAddr {
        self.stage.record.addresses().main
    }

    /// The authority that has signed the server's certificate, in PEM. It is another one for each
    /// server.
    pub fn authority(&self) -> &str {
        &self.stage.certificate.authority
    }

    /// Where a case is served: by `https` if it needs TLS. Each run counts its own requests; its
    /// name is any word of letters and digits.
    pub fn url(&self, case: &str, run: &str) -> String {
        let record = &self.stage.record;
        record.url(record.origin(case), case, "", run)
    }

    /// What has been requested in a run, in order of arrival.
    pub fn requests(&self, case: &str, run: &str) -> Vec<Request> {
        self.stage.record.requests(case, run)
    }

    /// The same, and a number that changes with them; nothing if it is this one still.
    pub(super) fn requests_since(
        &self,
        case: &str,
        run: &str,
        version: u64,
    ) -> Option<(u64, Vec<Request>)> {
        self.stage.record.requests_since(case, run, version)
    }

    /// How long ago the first request of a run came.
    pub(super) fn elapsed(&self, case: &str, run: &str) -> Option<Duration> {
        self.stage.record.elapsed(case, run)
    }

    /// Waits until something in the record may have changed.
    pub async fn changed(&self) {
        self.stage.record.changed().await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        for acceptor in &self.acceptors {
            acceptor.abort();
        }
    }
}

async fn accept(stage: Arc<Stage>, listener: TcpListener, origin: Origin, slots: Arc<Semaphore>) {
    let mut connections = JoinSet::new();
    loop {
        let slot = Arc::clone(&slots).acquire_owned().await.expect("it is never closed");
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors, most likely: some will be free again.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        while connections.try_join_next().is_some() {}
        let stage = Arc::clone(&stage);
        connections.spawn(async move {
            serve(stage, stream, origin).await;
            drop(slot);
        });
    }
}

async fn serve(stage: Arc<Stage>, stream: TcpStream, origin: Origin) {
    // Every write should be a packet of its own.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let mut socket = if origin == Origin::Secure {
        let accepting = Socket::accept(&stage.certificate.acceptor, stream);
        let Ok(Ok(socket)) = timeout(REQUEST_TIMEOUT, accepting).await else { return };
        socket
    } else {
        Socket::Plain(stream)
    };
    if socket.protocol() == Some(b"h2") {
        return http2::serve(&stage, socket).await;
    }
    if let Ok(Some(request)) = timeout(REQUEST_TIMEOUT, read(&mut socket)).await {
        stage.respond(*request, origin, socket).await;
    }
}

async fn read(stream: &mut Socket) -> Option<Box<Request>> {
    let mut bytes = Vec::with_capacity(4096);
    loop {
        match Request::parse(&bytes) {
            Head::Incomplete => {}
            Head::Bad => return None,
            Head::Complete(mut request, len) => {
                let body_len = request.body_len();
                while bytes.len() < len + body_len {
                    if stream.read_buf(&mut bytes).await.ok()? == 0 {
                        return None;
                    }
                }
                request.body = bytes[len..len + body_len].to_vec();
                return Some(request);
            }
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}
