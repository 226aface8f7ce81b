//! The server under test: plays cases to it, and says what went wrong with it.

use std::process::Stdio;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout_at};

use super::case::Case;
use crate::probe::Hook;
use crate::probe::publish::Fields;
use crate::wire::connection::Connection;
use crate::wire::tape::{End, Tape};
use crate::wire::target::Target;
use crate::wire::witness::Witness;

/// What a client takes for a dead connection, if nothing shorter is known of the server.
const IDLE: Duration = Duration::from_secs(45);

/// The shortest silence of the witness that means anything.
const LEAST_SILENCE: Duration = Duration::from_secs(1);

/// How long a server that is gone may take to come back, and one that is busy to serve again.
const RECOVERY: Duration = Duration::from_secs(10);

/// How often it is looked whether it has.
const LOOK: Duration = Duration::from_millis(50);

/// How long a cut of the witness may take to be seen.
const MOMENT: Duration = Duration::from_millis(100);

/// What went wrong, the gravest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Kind {
    /// It does not answer the plain request any more.
    Dead,
    /// The witness was cut.
    WitnessCut,
    /// The witness gets nothing any more, neither events nor keep-alives.
    WitnessStarved,
    /// It answered with a status of 500 or above that says that something broke.
    ServerError,
    /// It ended the connection without an answer to a request that is HTTP without doubt.
    NoAnswer,
    /// It has not answered such a request in time.
    Hang,
    /// Its answer is no HTTP.
    Malformed,
}

impl Kind {
    /// As in reports and names of files.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Dead => "dead",
            Self::WitnessCut => "witness-cut",
            Self::WitnessStarved => "witness-starved",
            Self::ServerError => "server-error",
            Self::NoAnswer => "no-answer",
            Self::Hang => "hang",
            Self::Malformed => "malformed",
        }
    }

    const fn is_of_the_witness(self) -> bool {
        matches!(self, Self::WitnessCut | Self::WitnessStarved)
    }
}

/// What came of a case, in words too.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    pub(super) kind: Kind,
    pub(super) reason: String,
}

impl Fault {
    pub(super) fn new(kind: Kind, reason: impl Into<String>) -> Self {
        Self { kind, reason: reason.into() }
    }
}

/// Where the server is, how to start it, and how patient to be with it.
pub(super) struct Subject {
    pub(super) target: Target,
    pub(super) headers: Vec<(String, String)>,
    pub(super) hook: Option<Hook>,
    pub(super) start: Option<Vec<String>>,
    /// How long an answer's head may take.
    pub(super) patience: Duration,
    /// How long the witness may get nothing.
    pub(super) silence: Duration,
    child: Option<Child>,
}

impl Subject {
    pub(super) fn new(target: Target, headers: Vec<(String, String)>, patience: Duration) -> Self {
        let (hook, start, child) = (None, None, None);
        Self { target, headers, hook, start, patience, silence: IDLE, child }
    }

    /// Has it running: starts it, if that is ours to do.
    pub(super) async fn begin(&mut self) -> Result<(), String> {
        if self.start.is_some() {
            self.restart().map_err(|error| format!("--start: {error}"))?;
        }
        if self.comes_back().await {
            return Ok(());
        }
        let bytes = Case::default().bytes(&self.target, &self.headers);
        let problem = match Connection::open(&self.target, bytes).await {
            Err(error) => format!("cannot be reached: {error}"),
            Ok(mut connection) => {
                connection.read_head(Instant::now() + self.patience).await;
                match connection.close().status() {
                    Some(status) => format!("answers with {status}, and no event stream"),
                    None => "does not answer".to_owned(),
                }
            }
        };
        Err(format!("{} {problem}", self.target.shown()))
    }

    fn restart(&mut self) -> std::io::Result<()> {
        // Dropped, it is killed.
        self.child = None;
        let words = self.start.as_deref().unwrap_or_default();
        let Some((program, args)) = words.split_first() else { return Ok(()) };
        let mut command = Command::new(program);
        command.args(args).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.child = Some(command.spawn()?);
        Ok(())
    }

    /// Whether it answers the plain request with a stream, now.
    pub(super) async fn is_alive(&self) -> bool {
        let bytes = Case::default().bytes(&self.target, &self.headers);
        let Ok(mut connection) = Connection::open(&self.target, bytes).await else { return false };
        connection.read_head(Instant::now() + self.patience).await;
        connection.close().is_stream()
    }

    /// Waits until it answers; whether it does.
    async fn comes_back(&self) -> bool {
        let deadline = Instant::now() + RECOVERY;
        while !self.is_alive().await {
            if Instant::now() >= deadline {
                return false;
            }
            sleep(LOOK).await;
        }
        true
    }

    /// Waits until it answers again, and starts it anew if that is ours to do.
    pub(super) async fn revive(&mut self) -> bool {
        if self.is_alive().await {
            return true;
        }
        if self.start.is_some() && self.restart().is_err() {
            return false;
        }
        self.comes_back().await
    }

    /// A reader that does nothing wrong.
    pub(super) async fn witness(&self) -> Option<Witness> {
        let bytes = Case::default().bytes(&self.target, &self.headers);
        let mut connection = Connection::open(&self.target, bytes).await.ok()?;
        connection.read_head(Instant::now() + self.patience).await;
        connection.tape.is_stream().then(|| Witness::of(connection))
    }

    /// Waits until the witness gets something after this much; whether it did.
    pub(super) async fn is_heard(&self, witness: &Witness, after: u64, within: Duration) -> bool {
        if let Some(hook) = &self.hook {
            let fields = Fields::default().with("data", "sse-fuzz").with("event", "message");
            // If it fails, the witness will hear nothing, which is what is asked.
            drop(hook.publish(&fields).await);
        }
        witness.until(Instant::now() + within, |tape| tape.total > after).await
    }

    /// Sends a case, reads as much as it says, and ends the connection as it says.
    pub(super) async fn play(&self, case: &Case) -> Result<Tape, Fault> {
        let bytes = case.bytes(&self.target, &self.headers);
        let sent = &bytes[..case.cut.unwrap_or(bytes.len()).min(bytes.len())];
        let (first, rest) = sent.split_at(if case.pause > 0 { sent.len() / 2 } else { sent.len() });
        let opened = Connection::open(&self.target, first.to_vec()).await;
        let mut connection =
            opened.map_err(|error| Fault::new(Kind::Dead, format!("no connection: {error}")))?;
        if !rest.is_empty() {
            sleep(case.paused()).await;
            // It may have seen enough already; then it has answered.
            drop(connection.send(rest).await);
        }
        if case.cut.is_some() {
            return Ok(connection.reset());
        }
        connection.tape.request = bytes.clone();
        let is_plain = Case::is_plain_http(&bytes);
        let patience = if is_plain { self.patience } else { MOMENT };
        connection.read_head(Instant::now() + patience).await;
        if connection.tape.head.is_some() && case.hold > 0 {
            connection.read_message(Instant::now() + case.held()).await;
        }
        let tape = if case.reset { connection.reset() } else { connection.close() };
        match judged(&tape, is_plain) {
            Some(fault) => Err(fault),
            None => Ok(tape),
        }
    }

    /// Waits until a witness gets more than a greeting, so that what others have suffered before is
    /// over.
    pub(super) async fn is_served(&self, witness: &Witness) -> bool {
        let patience = self.silence.max(RECOVERY);
        let marks = if self.silence < IDLE { 4 } else { 1 };
        let is_served = |tape: &Tape| tape.marks.len() >= marks;
        self.is_heard(witness, 0, patience).await
            && witness.until(Instant::now() + patience, is_served).await
    }

    /// Whether it has got nothing for too long, at any time since the beginning.
    fn was_starved(&self, witness: &Witness, begin: Duration) -> bool {
        let now = witness.start().elapsed();
        let mut last = begin;
        let tape = witness.tape();
        let times = tape.marks.iter().map(|mark| mark.at).filter(|at| *at > begin);
        times.chain([now]).any(|at| {
            let silence = at.saturating_sub(last);
            last = at;
            silence >= self.silence
        })
    }

    /// Plays these cases anew, and says whether the same goes wrong.
    pub(super) async fn shows(&mut self, kind: Kind, cases: &[Case]) -> bool {
        if !self.revive().await {
            return false;
        }
        let mut witness = None;
        if kind.is_of_the_witness() {
            witness = self.witness().await;
            let Some(witness) = &witness else { return false };
            if kind == Kind::WitnessStarved && !self.is_served(witness).await {
                return false;
            }
        }
        let begin = witness.as_ref().map(|witness| witness.start().elapsed()).unwrap_or_default();
        for case in cases {
            match self.play(case).await {
                Err(fault) if fault.kind == kind => return true,
                // Later cases of those that led to its end.
                Err(fault) if fault.kind == Kind::Dead => break,
                _ => {}
            }
            // It may be over before the last case has been played.
            if kind == Kind::WitnessStarved
                && let Some(witness) = &witness
                && self.was_starved(witness, begin)
            {
                return true;
            }
        }
        match (kind, &witness) {
            (Kind::Dead, _) => !self.is_alive().await,
            (Kind::WitnessCut, Some(witness)) => {
                let deadline = Instant::now() + MOMENT;
                let is_over = |tape: &Tape| tape.end.is_some();
                is_over(&witness.tape()) || {
                    drop(timeout_at(deadline, witness.until(deadline, is_over)).await);
                    is_over(&witness.tape())
                }
            }
            (Kind::WitnessStarved, Some(witness)) => {
                let (after, last) = {
                    let tape = witness.tape();
                    (tape.total, tape.marks.last().map_or(begin, |mark| mark.at))
                };
                let left = (witness.start() + last + self.silence) - Instant::now();
                !self.is_heard(witness, after, left).await && witness.tape().end.is_none()
            }
            _ => false,
        }
    }

    /// The longest silence that is nothing to worry about, by what the witness has seen so far.
    pub(super) fn learn_silence(&mut self, witness: &Witness) {
        let tape = witness.tape();
        let times: Vec<_> = tape.marks.iter().map(|mark| mark.at).collect();
        // Four times show how it goes on.
        if let Some(longest) = times.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).max()
            && times.len() > 4
        {
            self.silence = (longest * 4).clamp(LEAST_SILENCE, IDLE.max(longest * 2));
        }
    }
}

/// What is wrong with an answer.
fn judged(tape: &Tape, is_plain: bool) -> Option<Fault> {
    if let Some((_, End::Malformed(what))) = &tape.end {
        return is_plain
            .then(|| Fault::new(Kind::Malformed, format!("its answer is no HTTP: {what}")));
    }
    let Some(head) = &tape.head else {
        return match &tape.end {
            _ if !is_plain => None,
            Some(_) => {
                Some(Fault::new(Kind::NoAnswer, "it ended the connection without an answer"))
            }
            None => Some(Fault::new(Kind::Hang, "it has not answered in time")),
        };
    };
    let is_refusal = match head.status {
        // Not this method, not now, not this version: said in order.
        501 | 505 => true,
        503 => head.header("retry-after").is_some(),
        status => status < 500,
    };
    (!is_refusal)
        .then(|| Fault::new(Kind::ServerError, format!("it answered with {}", head.status)))
}
