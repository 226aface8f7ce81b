//! The server: accepts connections at two origins, plays the scripts, and keeps the record.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, timeout};

use super::case::Case;
use super::catalogue;
use super::play;
use super::request::{Head, Request};

/// Connections at once; others wait to be accepted.
const MAX_CONNECTIONS: usize = 256;

/// Requests of one run that are recorded. Those that follow are answered, but not recorded.
const MAX_RECORDED: usize = 1000;

/// Runs that are remembered; then all are forgotten.
const MAX_RUNS: usize = 1000;

/// How long a request may take to arrive.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// After so long without a request or a connection, a run begins anew.
const RUN_PAUSE: Duration = Duration::from_mins(1);

/// A hostile server on two ports of one address. Dropping it ends all connections.
#[derive(Debug)]
pub struct Server {
    shared: Arc<Shared>,
    acceptors: Vec<AbortHandle>,
}

#[derive(Debug)]
pub(super) struct Shared {
    address: SocketAddr,
    other: SocketAddr,
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

    /// Listens at this address, and at a free port of the same host.
    ///
    /// # Errors
    ///
    /// If the address is in use or not of this machine.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        let main = TcpListener::bind(address).await?;
        let other = TcpListener::bind(SocketAddr::new(address.ip(), 0)).await?;
        let shared = Arc::new(Shared {
            address: main.local_addr()?,
            other: other.local_addr()?,
            cases: catalogue::cases().into_iter().map(|case| (case.id.clone(), case)).collect(),
            runs: Mutex::default(),
            changed: Notify::new(),
        });
        let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let listeners = [(main, false), (other, true)];
        let acceptors = listeners.map(|(listener, is_other)| {
            let accept = accept(Arc::clone(&shared), listener, is_other, Arc::clone(&slots));
            tokio::spawn(accept).abort_handle()
        });
        Ok(Self { shared, acceptors: acceptors.into() })
    }

    /// The address of the origin at which clients begin.
    pub fn address(&self) -> SocketAddr {
        self.shared.address
    }

    /// Where a case is served. Each run counts its own requests; any word of letters and digits
    /// will do as its name.
    pub fn url(&self, case: &str, run: &str) -> String {
        self.shared.url(false, case, "", run)
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

    fn url(&self, other: bool, case: &str, rest: &str, run: &str) -> String {
        let address = if other { self.other } else { self.address };
        let query = if run.is_empty() { String::new() } else { format!("?run={run}") };
        format!("http://{address}/{case}{rest}{query}")
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
        let soon = std::time::SystemTime::now() + Duration::from_secs(4);
        text.replace("{self}", &self.shared.url(false, case, "", run))
            .replace("{next}", &self.shared.url(false, case, "/next", run))
            .replace("{other}", &self.shared.url(true, case, "/other", run))
            .replace("{soon}", &httpdate::fmt_http_date(soon))
    }
}

async fn accept(shared: Arc<Shared>, listener: TcpListener, is_other: bool, slots: Arc<Semaphore>) {
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
            serve(shared, stream, is_other).await;
            drop(slot);
        });
    }
}

async fn serve(shared: Arc<Shared>, mut stream: TcpStream, is_other: bool) {
    // Every write is to be a packet of its own, as far as that can be had.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let Ok(Some(mut request)) = timeout(REQUEST_TIMEOUT, read(&mut stream)).await else {
        return;
    };
    request.at_other_origin = is_other;
    let Some(case) = shared.cases.get(request.case_and_run().0).cloned() else {
        let (status, text) = match request.target.as_str() {
            "/" => ("200 OK", index(&shared)),
            target => ("404 Not Found", format!("there is no case {target}; see /\n")),
        };
        let response = format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{text}",
            text.len()
        );
        drop(stream.write_all(response.as_bytes()).await);
        return;
    };
    let (entry, number) = shared.record(*request);
    play::play(stream, case.script(number), &entry).await;
}

async fn read(stream: &mut TcpStream) -> Option<Box<Request>> {
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
        let url = shared.url(false, &case.id, "", "");
        format!("\n{} {url}\n  {}\n  {}\n", case.method(), case.title, case.correct)
    });
    let head = "Each of these misbehaves. Add ?run=ANY-WORD to begin anew.\n";
    std::iter::once(head.to_owned()).chain(cases).collect()
}
