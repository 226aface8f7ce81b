//! Where the cases are served, and the record of what has been requested: run by run, in order of
//! arrival.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::case::Case;
use super::request::Request;

/// Requests of one run that are recorded. Those that follow are answered, but not recorded.
const MAX_RECORDED: usize = 1000;

/// Runs that are remembered; then all are forgotten.
const MAX_RUNS: usize = 1000;

/// After so long without a request or a connection, a run begins anew.
const RUN_PAUSE: Duration = Duration::from_mins(1);

/// Where the server listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// Where clients begin.
    Main,
    /// Where redirects lead.
    Other,
    /// Where clients begin by TLS. HTTP/2 is spoken here only.
    Secure,
}

/// The addresses of the origins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Addresses {
    pub(super) main: SocketAddr,
    pub(super) other: SocketAddr,
    pub(super) secure: SocketAddr,
}

/// The cases, where they are served, and what has been requested.
#[derive(Debug)]
pub(super) struct Record {
    addresses: Addresses,
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
    /// Grows with each change of what is recorded.
    version: u64,
}

/// Where in the record a request stands.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    record: Arc<Record>,
    key: (String, String),
    index: usize,
}

impl Record {
    pub(super) fn new(addresses: Addresses, cases: Vec<Case>) -> Self {
        Self {
            addresses,
            cases: cases.into_iter().map(|case| (case.id.clone(), case)).collect(),
            runs: Mutex::default(),
            changed: Notify::new(),
        }
    }

    pub(super) const fn addresses(&self) -> Addresses {
        self.addresses
    }

    fn runs(&self) -> MutexGuard<'_, HashMap<(String, String), Run>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The case of this name, if it is served at this origin.
    pub(super) fn case(&self, id: &str, origin: Origin) -> Option<&Case> {
        let is_here = origin == Origin::Other || origin == self.origin(id);
        self.cases.get(id).filter(|_| is_here)
    }

    /// Where clients of a case begin.
    pub(super) fn origin(&self, case: &str) -> Origin {
        let is_secure = self.cases.get(case).is_some_and(|case| case.needs.tls);
        if is_secure { Origin::Secure } else { Origin::Main }
    }

    pub(super) fn url(&self, origin: Origin, case: &str, rest: &str, run: &str) -> String {
        let (scheme, address) = match origin {
            Origin::Main => ("http", self.addresses.main),
            Origin::Other => ("http", self.addresses.other),
            Origin::Secure => ("https", self.addresses.secure),
        };
        // Another host, too, where there is another name for it: cookies do not know ports.
        let other = origin == Origin::Other && address.ip() == Ipv4Addr::LOCALHOST;
        let address =
            if other { format!("localhost:{}", address.port()) } else { address.to_string() };
        let query = if run.is_empty() { String::new() } else { format!("?run={run}") };
        format!("{scheme}://{address}/{case}{rest}{query}")
    }

    /// What has been requested in a run.
    pub(super) fn requests(&self, case: &str, run: &str) -> Vec<Request> {
        let runs = self.runs();
        let run = runs.get(&(case.to_owned(), run.to_owned()));
        run.map(|run| run.requests.clone()).unwrap_or_default()
    }

    /// The same, and a number that changes with them; nothing if it is this one still.
    pub(super) fn requests_since(
        &self,
        case: &str,
        run: &str,
        version: u64,
    ) -> Option<(u64, Vec<Request>)> {
        let runs = self.runs();
        let run = runs.get(&(case.to_owned(), run.to_owned()))?;
        (run.version != version).then(|| (run.version, run.requests.clone()))
    }

    /// How long ago the first request of a run came.
    pub(super) fn elapsed(&self, case: &str, run: &str) -> Option<Duration> {
        let runs = self.runs();
        runs.get(&(case.to_owned(), run.to_owned())).map(|run| run.start.elapsed())
    }

    /// Waits until something may have changed.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Puts a request on record. Its number counts from 1.
    pub(super) fn record(self: &Arc<Self>, mut request: Request) -> (Entry, usize) {
        let (case, run) = request.case_and_run();
        let key = (case.to_owned(), run.to_owned());
        let now = Instant::now();
        let mut runs = self.runs();
        if runs.len() >= MAX_RUNS && !runs.contains_key(&key) {
            runs.clear();
        }
        let fresh = || Run { start: now, last: now, requests: Vec::new(), count: 0, version: 0 };
        let run = runs.entry(key.clone()).or_insert_with(fresh);
        let is_quiet = run.requests.iter().all(|request| request.ended.is_some());
        if is_quiet && now - run.last > RUN_PAUSE {
            *run = Run { version: run.version, ..fresh() };
        }
        run.last = now;
        run.count += 1;
        run.version += 1;
        request.at = now - run.start;
        if run.requests.len() < MAX_RECORDED {
            run.requests.push(request);
        }
        let number = run.count;
        drop(runs);
        self.changed.notify_waiters();
        (Entry { record: Arc::clone(self), key, index: number - 1 }, number)
    }
}

impl Entry {
    /// Changes the record of the request.
    pub(super) fn update(&self, update: impl FnOnce(&mut Request, Duration)) {
        let mut runs = self.record.runs();
        if let Some(run) = runs.get_mut(&self.key) {
            run.last = Instant::now();
            let now = run.start.elapsed();
            if let Some(request) = run.requests.get_mut(self.index) {
                update(request, now);
                run.version += 1;
            }
        }
        drop(runs);
        self.record.changed.notify_waiters();
    }

    /// Fills in the URLs and dates of a head.
    pub(super) fn fill_in(&self, text: &str) -> String {
        let (case, run) = (&self.key.0, &self.key.1);
        let own = self.record.origin(case);
        let soon = std::time::SystemTime::now() + Duration::from_secs(4);
        text.replace("{self}", &self.record.url(own, case, "", run))
            .replace("{next}", &self.record.url(own, case, "/next", run))
            .replace("{other}", &self.record.url(Origin::Other, case, "/other", run))
            .replace("{soon}", &httpdate::fmt_http_date(soon))
    }
}
