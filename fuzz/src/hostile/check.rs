//! Runs a client's command through the cases: starts it, reads what it prints, watches its requests
//! and its memory, and ends it.

use std::io::{self, Write};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tempfile::NamedTempFile;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, sleep, timeout};

use super::blame;
use super::case::{Case, Check};
use super::catalogue;
use super::flood::Flood;
use super::group::{Census, Group};
use super::judge::{self, Judgement, Memory, Observation, Printed, judge};
use super::serve::Server;
use crate::verdict::Verdict;

/// How long a command may take until its first request: some are compiled first.
const START_UP: Duration = Duration::from_secs(30);

/// After so long without anything new, what is to come has come.
const QUIET: Duration = Duration::from_millis(300);

const TICK: Duration = Duration::from_millis(20);

/// The names of a case's two runs, and how many are run the second time at once.
const FIRST: &str = "check";
const SECOND: &str = "again";
const CALMLY: usize = 2;

/// The longest line of output that is read, in bytes. Longer ones are passed over.
const MAX_LINE: usize = 4 << 20;

/// How many events of a client are kept.
const MAX_EVENTS: usize = 10_000;

/// How much of what it says on standard error is kept, in bytes.
const MAX_COMPLAINT: usize = 2048;

/// A client's command, split into words.
#[derive(Debug)]
pub(super) struct Client {
    words: Vec<String>,
    /// The file with the certificate of the server's authority.
    authority: NamedTempFile,
}

/// Why a command cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum CommandError {
    #[error("the command of --check cannot be read ({0}); see to its quotes")]
    Quotes(#[from] shell_words::ParseError),
    #[error("the command of --check has no {{url}}, which is where the client is to connect")]
    NoUrl,
    #[error("the command of --check cannot be started: {0}")]
    Start(#[source] io::Error),
    #[error("cannot write the certificate for {{ca}} to a file: {0}")]
    Certificate(#[source] io::Error),
}

/// What came of one case.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) case: Case,
    pub(super) judgement: Judgement,
    pub(super) time: Duration,
    /// Something was wrong, so the verdict depends on those of other cases.
    pub(super) is_late: bool,
}

impl Client {
    pub(super) fn new(command: &str) -> Result<Self, CommandError> {
        let authority = NamedTempFile::with_suffix(".pem").map_err(CommandError::Certificate)?;
        let client = Self { words: shell_words::split(command)?, authority };
        if client.has("{url}") { Ok(client) } else { Err(CommandError::NoUrl) }
    }

    /// Gives commands the authority to trust, if they ask for it.
    pub(super) fn believe(&mut self, authority: &str) -> Result<(), CommandError> {
        self.authority.write_all(authority.as_bytes()).map_err(CommandError::Certificate)
    }

    fn has(&self, placeholder: &str) -> bool {
        self.words.iter().any(|word| word.contains(placeholder))
    }

    /// What the command lacks for a case.
    fn lacks(&self, case: &Case) -> Option<&'static str> {
        if case.needs.post.is_some() && !(self.has("{method}") && self.has("{body}")) {
            Some("the command has no {method} and {body}, so it sends no POST")
        } else if case.needs.header.is_some() && !self.has("{header}") {
            Some("the command has no {header}, so there is no secret")
        } else if case.needs.tls && !self.has("{ca}") {
            Some("the command has no {ca}, so it does not trust the server's certificate")
        } else {
            None
        }
    }

    fn command(&self, case: &Case, url: &str) -> Command {
        let url = if case.needs.userinfo {
            url.replacen("http://", "http://hostile:secret@", 1)
        } else {
            url.to_owned()
        };
        let (name, value) = case.needs.header.unwrap_or(("X-Hostile", "none"));
        let header = format!("{name}: {value}");
        let types = case.types().join(",");
        let authority = self.authority.path().to_string_lossy();
        let mut words = self.words.iter().map(|word| {
            word.replace("{url}", &url)
                .replace("{ca}", &authority)
                .replace("{types}", &types)
                .replace("{method}", case.method())
                .replace("{header}", &header)
                .replace("{body}", case.body())
        });
        let mut command = Command::new(words.next().expect("there is a word with {url}"));
        command.args(words);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.kill_on_drop(true);
        #[cfg(unix)]
        command.process_group(0);
        command
    }
}

/// How many cases run at once, and whether what goes wrong is not run again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pub(super) jobs: usize,
    pub(super) is_once: bool,
}

/// Runs a client through the cases, some at once, and tells each outcome as it comes; what a client
/// gets wrong is told last, once it is known what else it gets wrong.
pub(super) async fn run(
    server: Arc<Server>,
    client: Client,
    cases: Vec<Case>,
    pace: Pace,
    mut tell: impl FnMut(&Outcome),
) -> Result<Vec<Outcome>, CommandError> {
    let mut crew = Crew {
        server,
        client: Arc::new(client),
        census: Arc::new(Census::new()),
        slots: Arc::new(Semaphore::new(pace.jobs)),
    };
    let asked: Vec<_> = cases.iter().map(|case| case.id.clone()).collect();
    let mut outcomes = crew.run(cases, FIRST, &mut tell).await?;
    // What those rest on that went wrong, where it was not asked for.
    let missing = blame::unknown_basis(&outcomes);
    let all = catalogue::cases().into_iter().filter(|case| missing.contains(&case.id.as_str()));
    outcomes.extend(crew.run(all.collect(), FIRST, &mut |_| {}).await?);
    if !pace.is_once {
        crew.look_again(&mut outcomes).await?;
    }
    blame::blame_once(&mut outcomes);
    outcomes.retain(|outcome| asked.contains(&outcome.case.id));
    let rank = |outcome: &Outcome| asked.iter().position(|id| *id == outcome.case.id);
    outcomes.sort_by_key(rank);
    outcomes.iter().filter(|outcome| outcome.is_late).for_each(tell);
    Ok(outcomes)
}

impl blame::Judged for Outcome {
    fn case(&self) -> &Case {
        &self.case
    }

    fn judgement(&mut self) -> &mut Judgement {
        &mut self.judgement
    }

    fn verdict(&self) -> Verdict {
        self.judgement.verdict
    }
}

/// What every case is run with.
struct Crew {
    server: Arc<Server>,
    client: Arc<Client>,
    census: Arc<Census>,
    slots: Arc<Semaphore>,
}

impl Crew {
    async fn run(
        &self,
        mut cases: Vec<Case>,
        run: &'static str,
        tell: &mut impl FnMut(&Outcome),
    ) -> Result<Vec<Outcome>, CommandError> {
        // Those that take long first, so that at the end none is left to wait for alone.
        cases.sort_by_key(|case| std::cmp::Reverse(case.deadline));
        let mut running = JoinSet::new();
        for case in cases {
            let (server, client, census, slots) = (
                Arc::clone(&self.server),
                Arc::clone(&self.client),
                Arc::clone(&self.census),
                Arc::clone(&self.slots),
            );
            running.spawn(async move {
                let _slot = slots.acquire().await.expect("it is never closed");
                run_case(&server, &client, &census, case, run).await
            });
        }
        let mut outcomes = Vec::new();
        while let Some(done) = running.join_next().await {
            let outcome = done.expect("no run panics, and none is aborted")?;
            if !outcome.is_late {
                tell(&outcome);
            }
            outcomes.push(outcome);
        }
        Ok(outcomes)
    }

    /// Runs once more, and less disturbed, what went wrong: a machine that is busy looks like a
    /// client that is late. A client is accused of what it gets wrong both times.
    async fn look_again(&mut self, outcomes: &mut [Outcome]) -> Result<(), CommandError> {
        self.slots = Arc::new(Semaphore::new(self.slots.available_permits().min(CALMLY)));
        let wrong = outcomes.iter().filter(|outcome| judge::is_wrong(outcome.judgement.verdict));
        let wrong = wrong.map(|outcome| outcome.case.clone()).collect();
        for again in self.run(wrong, SECOND, &mut |_| {}).await? {
            if judge::is_wrong(again.judgement.verdict) {
                continue;
            }
            let is_it = |outcome: &&mut Outcome| outcome.case.id == again.case.id;
            if let Some(first) = outcomes.iter_mut().find(is_it) {
                first.judgement.verdict = Verdict::Inconclusive;
                let text = "when it was looked at again it was not so; the first time:";
                first.judgement.reasons.insert(0, text.to_owned());
            }
        }
        Ok(())
    }
}

async fn run_case(
    server: &Server,
    client: &Client,
    census: &Census,
    case: Case,
    run: &str,
) -> Result<Outcome, CommandError> {
    let start = Instant::now();
    if let Some(reason) = client.lacks(&case) {
        let reasons = vec![reason.to_owned()];
        let judgement = Judgement { verdict: Verdict::Skip, reasons, evidence: Vec::new() };
        return Ok(Outcome { case, judgement, time: Duration::ZERO, is_late: false });
    }
    let command = client.command(&case, &server.url(&case.id, run));
    let mut running = Running::start(command, census).await.map_err(CommandError::Start)?;
    loop {
        running.look(server, &case, run);
        if running.is_done(&case, server.elapsed(&case.id, run)) {
            break;
        }
        sleep(TICK).await;
    }
    let mut judgement = judge(&case, &running.seen);
    if judge::is_wrong(judgement.verdict) && running.flood.is_cut() {
        judgement.verdict = Verdict::Inconclusive;
        let text = "it was still at work on what it got when the connection's time was over";
        judgement.reasons.insert(0, text.to_owned());
    }
    judgement.evidence.extend(running.complaint().await);
    let is_late = judge::is_wrong(judgement.verdict);
    Ok(Outcome { case, judgement, time: start.elapsed(), is_late })
}

/// A client's process, and what has been seen of it.
struct Running {
    child: Child,
    group: Group,
    events: mpsc::UnboundedReceiver<Printed>,
    complaint: tokio::task::JoinHandle<Vec<u8>>,
    start: Instant,
    seen: Observation,
    /// That of the record, when its requests were read.
    version: u64,
    exited: Option<Instant>,
    changed: Instant,
    flood: Flood,
    /// How much it had worked when it was looked at.
    worked: Option<u64>,
    is_silent: bool,
}

impl Running {
    /// A process begins once the machine has time for it, so this is not for threads that serve.
    async fn start(mut command: Command, census: &Census) -> io::Result<Self> {
        let mut child = spawn_blocking(move || command.spawn()).await??;
        let stdout = child.stdout.take().expect("it is piped");
        let stderr = child.stderr.take().expect("it is piped");
        let (sender, events) = mpsc::unbounded_channel();
        tokio::spawn(read_events(stdout, sender));
        Ok(Self {
            group: Group::of(&child, census),
            child,
            events,
            complaint: tokio::spawn(read_beginning(stderr)),
            start: Instant::now(),
            seen: Observation::default(),
            version: 0,
            exited: None,
            changed: Instant::now(),
            flood: Flood::default(),
            worked: None,
            is_silent: false,
        })
    }

    fn look(&mut self, server: &Server, case: &Case, run: &str) {
        if self.exited.is_none()
            && let Ok(Some(status)) = self.child.try_wait()
        {
            self.exited = Some(Instant::now());
            self.seen.exit = Some(status.code());
        }
        loop {
            match self.events.try_recv() {
                Ok(event) => {
                    self.changed = Instant::now();
                    if self.seen.printed.len() < MAX_EVENTS {
                        self.seen.printed.push(event);
                    }
                }
                Err(mpsc::error::TryRecvError::Empty) => break,
                Err(mpsc::error::TryRecvError::Disconnected) => {
                    self.is_silent = true;
                    break;
                }
            }
        }
        if let Some((version, requests)) = server.requests_since(&case.id, run, self.version) {
            if requests.len() != self.seen.requests.len() {
                self.changed = Instant::now();
            }
            (self.version, self.seen.requests) = (version, requests);
        }
        if self.flood.is_on()
            && let Some(now) = self.group.seen()
        {
            if self.worked.is_some_and(|before| now.worked > before) {
                self.flood.is_worked_on(Instant::now());
            }
            self.worked = Some(now.worked);
        }
        self.flood.look(&self.seen.requests, Instant::now());
        let measures = case.all_checks().any(|check| matches!(check, Check::Memory(_)));
        if measures
            && !self.seen.requests.is_empty()
            && let Some(now) = self.group.seen()
        {
            let first = Memory { before: now.memory, peak: now.memory };
            let memory = self.seen.memory.get_or_insert(first);
            memory.peak = memory.peak.max(now.memory);
        }
    }

    fn is_done(&self, case: &Case, elapsed: Option<Duration>) -> bool {
        let seen = &self.seen;
        if let Some(at) = self.exited {
            // What it has printed is read to the end, unless a child of it keeps the pipe; and the
            // server notices the ends of its connections.
            let is_gone = seen.requests.iter().all(|request| request.ended.is_some());
            return (self.is_silent && is_gone) || at.elapsed() > QUIET * 3;
        }
        let Some(elapsed) = elapsed else {
            return self.start.elapsed() > START_UP;
        };
        if judge::is_lost(case, seen) {
            return true;
        }
        let is_late = elapsed > case.deadline && !self.flood.goes_on(Instant::now());
        let Some(reached) = seen.requests.get(case.reach - 1) else {
            return is_late;
        };
        let is_watched = elapsed.saturating_sub(reached.at) >= case.watch;
        let is_quiet = self.changed.elapsed() >= QUIET;
        is_late && is_watched || judge::is_settled(case, seen, elapsed, is_quiet)
    }

    /// Ends it and all that it has started. The beginning of what it said on standard error.
    async fn complaint(mut self) -> Vec<String> {
        self.group.end();
        drop(self.child.kill().await);
        let Ok(Ok(text)) = timeout(Duration::from_secs(1), self.complaint).await else {
            return Vec::new();
        };
        let text = String::from_utf8_lossy(&text);
        text.lines().take(8).map(|line| format!("standard error: {line}")).collect()
    }
}

/// One line of output, as far as it is read.
#[derive(Deserialize)]
struct Line {
    event: String,
    data: String,
    id: Option<String>,
}

/// Reads lines until the pipe is closed. What is no event is passed over.
async fn read_events(mut pipe: impl AsyncRead + Unpin, events: mpsc::UnboundedSender<Printed>) {
    let mut line = Vec::new();
    let mut is_too_long = false;
    let mut buffer = vec![0; 64 << 10];
    while let Ok(len @ 1..) = pipe.read(&mut buffer).await {
        let mut rest = &buffer[..len];
        while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
            line.extend_from_slice(&rest[..end]);
            rest = &rest[end + 1..];
            if !is_too_long && let Ok(Line { event, data, id }) = serde_json::from_slice(&line) {
                drop(events.send(Printed { event, data, id }));
            }
            line.clear();
            is_too_long = false;
        }
        line.extend_from_slice(rest);
        if line.len() > MAX_LINE {
            is_too_long = true;
            line.clear();
        }
    }
}

async fn read_beginning(mut pipe: impl AsyncRead + Unpin) -> Vec<u8> {
    let mut text = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(len @ 1..) = pipe.read(&mut buffer).await {
        text.extend_from_slice(&buffer[..len.min(MAX_COMPLAINT - text.len())]);
    }
    text
}
