//! The server: accepts connections at three origins, has the scripts played, and keeps the record.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, timeout};

use super::case::Case;
use super::certificate::Certificate;
use super::play::{End, Outlet, play};
use super::request::{Head, Request};
use super::{catalogue, http2};
use crate::wire::socket::Socket;

/// Connections at once; others wait to be accepted.
const MAX_CONNECTIONS: usize = 256;

/// Requests of one run that are recorded. Those that follow are answered, but not recorded.
const MAX_RECORDED: usize = 1000;

/// Runs that are remembered; then all are forgotten.
const MAX_RUNS: usize = 1000;

/// How long a request may take to arrive.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// The path of the authority's certificate.
const CERTIFICATE: &str = "/ca.pem";

/// After so long without a request or a connection, a run begins anew.
const RUN_PAUSE: Duration = Duration::from_mins(1);

/// A hostile server on three ports of one address. Dropping it ends all connections.
#[derive(Debug)]
pub struct Server {
    shared: Arc<Shared>,
    acceptors: Vec<AbortHandle>,
}

/// Where it listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// Where clients begin.
    Main,
    /// Where redirects lead.
    Other,
    /// Where clients begin by TLS. HTTP/2 is spoken here only.
    Secure,
}

#[derive(Debug)]
pub(super) struct Shared {
    address: SocketAddr,
    other: SocketAddr,
    secure: SocketAddr,
    certificate: Certificate,
    cases: HashMap<String, Case>,
    runs: Mutex<HashMap<(String, String), Run>>,
    changed: Notify,
}

#[derive(Debug)]
struct Run {
    start: Instant,
    last: Instant,
    requests: Vec<Request>,
    count: usize,
}

/// Where in the record a request stands.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    shared: Arc<Shared>,
    key: (String, String),
    index: usize,
}

impl Server {
    /// Listens at free ports of 127.0.0.1.
    ///
    /// # Errors
    ///
    /// If there is none.
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
        let shared = Arc::new(Shared {
            address: main.local_addr()?,
            other: other.local_addr()?,
            secure: secure.local_addr()?,
            certificate: Certificate::new(address.ip())?,
            cases: catalogue::cases().into_iter().map(|case| (case.id.clone(), case)).collect(),
            runs: Mutex::default(),
            changed: Notify::new(),
        });
        let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let listeners = [(main, Origin::Main), (other, Origin::Other), (secure, Origin::Secure)];
        let acceptors = listeners.map(|(listener, origin)| {
            let accept = accept(Arc::clone(&shared), listener, origin, Arc::clone(&slots));
            tokio::spawn(accept).abort_handle()
        });
        Ok(Self { shared, acceptors: acceptors.into() })
    }

    /// The address of the origin at which clients begin, but for the cases that need TLS.
    pub fn address(&self) -> SocketAddr {
        self.shared.address
    }

    /// The authority that has signed the server's certificate, in PEM. It is another one for each server.
    pub fn authority(&self) -> &str {
        &self.shared.certificate.authority
    }

    /// Where a case is served: by `https` if it needs TLS. Each run counts its own requests; any word of letters and digits
    /// will do as its name.
    pub fn url(&self, case: &str, run: &str) -> String {
        self.shared.url(self.shared.origin(case), case, "", run)
    }

    /// What has been requested in a run, in order of arrival.
    pub fn requests(&self, case: &str, run: &str) -> Vec<Request> {
        let runs = self.shared.runs();
        let run = runs.get(&(case.to_owned(), run.to_owned()));
        run.map(|run| run.requests.clone()).unwrap_or_default()
    }

    /// How long ago the first request of a run came.
    pub(super) fn elapsed(&self, case: &str, run: &str) -> Option<Duration> {
        let runs = self.shared.runs();
        runs.get(&(case.to_owned(), run.to_owned())).map(|run| run.start.elapsed())
    }

    /// Waits until something in the record may have changed.
    pub async fn changed(&self) {
        self.shared.changed.notified().await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        for acceptor in &self.acceptors {
            acceptor.abort();
        }
    }
}

impl Shared {
    fn runs(&self) -> MutexGuard<'_, HashMap<(String, String), Run>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where clients of a case begin.
    fn origin(&self, case: &str) -> Origin {
        let is_secure = self.cases.get(case).is_some_and(|case| case.needs.tls);
        if is_secure { Origin::Secure } else { Origin::Main }
    }

    fn url(&self, origin: Origin, case: &str, rest: &str, run: &str) -> String {
        let (scheme, address) = match origin {
            Origin::Main => ("http", self.address),
            Origin::Other => ("http", self.other),
            Origin::Secure => ("https", self.secure),
        };
        let query = if run.is_empty() { String::new() } else { format!("?run={run}") };
        format!("{scheme}://{address}/{case}{rest}{query}")
    }

    /// Answers a request: plays its case, or tells what there is.
    pub(super) async fn respond(
        self: &Arc<Self>,
        mut request: Request,
        origin: Origin,
        mut outlet: impl Outlet,
    ) {
        request.at_other_origin = origin == Origin::Other;
        let case = request.case_and_run().0;
        let is_here = origin == Origin::Other || origin == self.origin(case);
        if let Some(case) = self.cases.get(case).filter(|_| is_here) {
            let (entry, number) = self.record(request);
            return play(outlet, case.script(number), &entry).await;
        }
        let (status, text) = match request.target.as_str() {
            "/" => ("200 OK", index(self)),
            CERTIFICATE => ("200 OK", self.certificate.authority.clone()),
            target => ("404 Not Found", format!("there is no case {target} here; see /\n")),
        };
        let response = format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{text}",
            text.len()
        );
        if outlet.head(&response).await.is_ok() {
            outlet.end(End::Closed).await;
        }
    }

    /// Puts a request on record. Its number counts from 1.
    fn record(self: &Arc<Self>, mut request: Request) -> (Entry, usize) {
        let (case, run) = request.case_and_run();
        let key = (case.to_owned(), run.to_owned());
        let now = Instant::now();
        let mut runs = self.runs();
        if runs.len() >= MAX_RUNS && !runs.contains_key(&key) {
            runs.clear();
        }
        let fresh = || Run { start: now, last: now, requests: Vec::new(), count: 0 };
        let run = runs.entry(key.clone()).or_insert_with(fresh);
        let is_quiet = run.requests.iter().all(|request| request.ended.is_some());
        if is_quiet && now - run.last > RUN_PAUSE {
            *run = fresh();
        }
        run.last = now;
        run.count += 1;
        request.at = now - run.start;
        if run.requests.len() < MAX_RECORDED {
            run.requests.push(request);
        }
        let number = run.count;
        drop(runs);
        self.changed.notify_waiters();
        (Entry { shared: Arc::clone(self), key, index: number - 1 }, number)
    }
}

impl Entry {
    /// Changes the record of the request.
    pub(super) fn update(&self, update: impl FnOnce(&mut Request, Duration)) {
        let mut runs = self.shared.runs();
        if let Some(run) = runs.get_mut(&self.key) {
            run.last = Instant::now();
            let now = run.start.elapsed();
            if let Some(request) = run.requests.get_mut(self.index) {
                update(request, now);
            }
        }
        drop(runs);
        self.shared.changed.notify_waiters();
    }

    /// Fills in the URLs and dates of a head.
    pub(super) fn fill_in(&self, text: &str) -> String {
        let (case, run) = (&self.key.0, &self.key.1);
        let own = self.shared.origin(case);
        let soon = std::time::SystemTime::now() + Duration::from_secs(4);
        text.replace("{self}", &self.shared.url(own, case, "", run))
            .replace("{next}", &self.shared.url(own, case, "/next", run))
            .replace("{other}", &self.shared.url(Origin::Other, case, "/other", run))
            .replace("{soon}", &httpdate::fmt_http_date(soon))
    }
}

async fn accept(shared: Arc<Shared>, listener: TcpListener, origin: Origin, slots: Arc<Semaphore>) {
    let mut connections = JoinSet::new();
    loop {
        let slot = Arc::clone(&slots).acquire_owned().await.expect("it is never closed");
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors, most likely: some will be free again.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        while connections.try_join_next().is_some() {}
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            serve(shared, stream, origin).await;
            drop(slot);
        });
    }
}

async fn serve(shared: Arc<Shared>, stream: TcpStream, origin: Origin) {
    // Every write is to be a packet of its own, as far as that can be had.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let mut socket = if origin == Origin::Secure {
        let accepting = Socket::accept(&shared.certificate.acceptor, stream);
        let Ok(Ok(socket)) = timeout(REQUEST_TIMEOUT, accepting).await else { return };
        socket
    } else {
        Socket::Plain(stream)
    };
    if socket.protocol() == Some(b"h2") {
        return http2::serve(&shared, socket).await;
    }
    if let Ok(Some(request)) = timeout(REQUEST_TIMEOUT, read(&mut socket)).await {
        shared.respond(*request, origin, socket).await;
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

fn index(shared: &Shared) -> String {
    let cases = catalogue::cases().into_iter().map(|case| {
        let url = shared.url(shared.origin(&case.id), &case.id, "", "");
        format!("\n{} {url}\n  {}\n  {}\n", case.method(), case.title, case.correct)
    });
    let head = format!(
        "Each of these misbehaves. Add ?run=ANY-WORD to begin anew. {CERTIFICATE} has the authority of those \
         with https.\n"
    );
    std::iter::once(head).chain(cases).collect()
}
