//! What all checks of a run have at hand.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::ask::Ask;
use super::finding::Finding;
use super::publish::{Fields, Hook, Published};
use super::settings::{Profile, Settings};
use crate::wire::connection::Connection;
use crate::wire::tape::{End, Head, Seen, Tape};
use crate::wire::target::Target;
use crate::wire::witness::Witness;

/// How long an answer's head may take.
pub(super) const HEAD: Duration = Duration::from_secs(4);

/// A run's target, settings and witness.
#[derive(Debug)]
pub(super) struct Probe {
    pub(super) target: Target,
    pub(super) settings: Settings,
    pub(super) witness: Arc<Witness>,
    /// The stream that is read while it is tried what breaks streams: the witness's, or one that
    /// was opened when that was broken.
    watched: Mutex<Arc<Witness>>,
    /// The hops that led here.
    pub(super) redirects: Vec<Hop>,
    /// Heads came only when something had been published.
    pub(super) head_waits: bool,
    /// Streams that were read beside the witness, for the checks that look at bytes.
    pub(super) tapes: Mutex<Vec<Tape>>,
    /// What one check makes and several look at, by type.
    shared: Mutex<http::Extensions>,
    /// The check after which nothing came any more.
    dead_since: Mutex<Option<String>>,
    /// The pulses that were accepted, in that order.
    accepted: Mutex<Vec<Pulse>>,
    /// Whether the way to publish works at all.
    hook_works: OnceCell<Result<(), String>>,
    /// Words that no other run has used at this server.
    nonce: u64,
    counter: Mutex<u64>,
}

/// Something harmless that was published, and when.
#[derive(Clone, Debug)]
pub(super) struct Pulse {
    pub(super) word: String,
    pub(super) begun: Instant,
    pub(super) done: Instant,
}

/// A redirect that was followed.
#[derive(Clone, Debug)]
pub(super) struct Hop {
    pub(super) status: u16,
    pub(super) to: Option<String>,
    pub(super) is_downgrade: bool,
}

impl Probe {
    pub(super) fn new(
        target: Target,
        settings: Settings,
        witness: Witness,
        redirects: Vec<Hop>,
        head_waits: bool,
    ) -> Self {
        // A server remembers words of earlier runs; the clock tells runs with one seed apart.
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let nonce =
            settings.seed ^ now.map_or(0, |time| u64::from(time.subsec_nanos()) ^ time.as_secs());
        let counter = Mutex::new(0);
        let witness = Arc::new(witness);
        Self {
            target,
            settings,
            watched: Mutex::new(Arc::clone(&witness)),
            witness,
            redirects,
            head_waits,
            tapes: Mutex::default(),
            shared: Mutex::default(),
            dead_since: Mutex::default(),
            accepted: Mutex::default(),
            hook_works: OnceCell::new(),
            nonce,
            counter,
        }
    }

    /// The request for the stream.
    pub(super) fn ask(&self) -> Ask {
        Ask::stream(&self.target, &self.settings)
    }

    /// A new word: letters and digits only. None is a part of another.
    pub(super) fn word(&self) -> String {
        let mut counter = self.counter.lock().expect("no check panics while it holds this");
        *counter += 1;
        format!("z{:x}q{counter}z", self.nonce & 0xffff_ffff)
    }

    pub(super) async fn open(&self, ask: &Ask) -> Result<Connection, Finding> {
        self.send(ask.bytes()).await
    }

    pub(super) async fn send(&self, bytes: Vec<u8>) -> Result<Connection, Finding> {
        Connection::open(&self.target, bytes)
            .await
            .map_err(|error| Finding::inconclusive(format!("no connection could be made: {error}")))
    }

    /// Asks, and reads the head.
    pub(super) async fn head(&self, ask: &Ask) -> Result<Connection, Finding> {
        let mut connection = self.open(ask).await?;
        connection.read_head(after(HEAD)).await;
        Ok(connection)
    }

    /// Asks for the stream from after an id.
    pub(super) async fn resume(&self, id: impl AsRef<[u8]>) -> Result<Connection, Finding> {
        self.head(&self.ask().with("Last-Event-ID", id)).await
    }

    /// The place for something that one check makes and several look at. Each type has one place a
    /// run.
    pub(super) fn shared<T: Send + Sync + 'static>(&self) -> Arc<OnceCell<T>> {
        let mut shared = self.shared.lock().expect("no check panics while it holds this");
        Arc::clone(shared.get_or_insert_with(|| Arc::new(OnceCell::new())))
    }

    /// The head of an answer, or the finding that there was none.
    pub(super) fn head_of<'a>(&self, connection: &'a Connection) -> Result<&'a Head, Finding> {
        connection.tape.head.as_ref().ok_or_else(|| {
            let how = match &connection.tape.end {
                Some((_, End::Malformed(what))) => format!("the answer is not HTTP: {what}"),
                Some(_) => "the connection was closed unanswered".to_owned(),
                None => "there was no answer within 4 s".to_owned(),
            };
            let finding = Finding::fault(how).of_time_if(connection.tape.is_unanswered());
            self.show(finding, &connection.tape)
        })
    }

    /// Adds what was seen to a finding.
    pub(super) fn show(&self, finding: Finding, tape: &Tape) -> Finding {
        finding.saw(&self.target, tape)
    }

    /// Adds what the witness, or the stream in its place, has seen so far.
    pub(super) fn show_witness(&self, finding: Finding) -> Finding {
        finding.saw(&self.target, &self.watched().tape())
    }

    /// The stream to look at where streams may have been broken.
    pub(super) fn watched(&self) -> Arc<Witness> {
        Arc::clone(&self.watched.lock().expect("no check panics while it holds this"))
    }

    /// Opens a stream in the place of one that was broken; whether what is published comes on it.
    pub(super) async fn watch_anew(&self) -> bool {
        let Ok(connection) = self.head(&self.ask()).await else { return false };
        if !connection.tape.is_stream() {
            return false;
        }
        let anew = Arc::new(Witness::of(connection));
        let Ok(word) = self.publish_pulse().await else { return false };
        let has = |tape: &Tape| tape.events.iter().any(|event| event.data.contains(&word));
        let comes = anew.until(after(HEAD), has).await;
        if comes {
            *self.watched.lock().expect("no check panics while it holds this") = anew;
            self.dead_since.lock().expect("no check panics while it holds this").take();
        }
        comes
    }

    pub(super) fn dead_since(&self) -> Option<String> {
        self.dead_since.lock().expect("no check panics while it holds this").clone()
    }

    pub(super) fn is_dead_since(&self, check: String) {
        let mut since = self.dead_since.lock().expect("no check panics while it holds this");
        since.get_or_insert(check);
    }

    /// Keeps a stream's bytes for the checks that look at bytes.
    pub(super) fn keep(&self, tape: Tape) {
        let mut tapes = self.tapes.lock().expect("no check panics while it holds this");
        // Enough to be sure, and little memory.
        if tapes.len() < 32 && tape.is_stream() {
            tapes.push(tape);
        }
    }

    pub(super) fn keep_all(&self, tapes: impl IntoIterator<Item = Tape>) {
        for tape in tapes {
            self.keep(tape);
        }
    }

    pub(super) fn hook(&self) -> Option<&Hook> {
        self.settings.publish.as_ref()
    }

    /// Publishes something harmless.
    pub(super) async fn publish_pulse(&self) -> io::Result<String> {
        let Some(hook) = self.hook() else {
            return Err(io::Error::other("there is no publish hook"));
        };
        let word = self.word();
        let begun = Instant::now();
        let fields =
            Fields::default().with("data", &word).with("event", "message").with("id", &word);
        match hook.publish(&fields).await? {
            Published::Accepted => {
                let mut accepted = self.accepted.lock().expect("no check panics meanwhile");
                accepted.push(Pulse { word: word.clone(), begun, done: Instant::now() });
                Ok(word)
            }
            Published::Refused(why) => Err(io::Error::other(why)),
            Published::Unsayable(why) => Err(io::Error::other(why)),
        }
    }

    /// What pulses have published so far, in the order in which it was accepted.
    pub(super) fn accepted(&self) -> Vec<Pulse> {
        self.accepted.lock().expect("no check panics meanwhile").clone()
    }

    /// A way to publish that has never worked says nothing about the server: a token may be
    /// missing.
    pub(super) async fn hook_works(&self) -> Result<(), Finding> {
        let try_it = async || self.publish_pulse().await.map(drop).map_err(|why| why.to_string());
        self.hook_works.get_or_init(try_it).await.clone().map_err(|why| {
            Finding::inconclusive(format!(
                "nothing can be published: {why}; see --publish, --publish-url, --publish-token"
            ))
        })
    }

    /// Waits until the witness has seen as many events that can be told apart.
    pub(super) async fn lively(&self, events: usize) -> Result<(), Finding> {
        let deadline = self.witness.start() + self.settings.wait;
        let deadline = deadline.max(after(Duration::from_millis(500)));
        let count = |tape: &Tape| tape.events.iter().filter(|event| is_own(event)).count();
        if self.witness.until(deadline, |tape| count(tape) >= events).await {
            return Ok(());
        }
        let seen = count(&self.witness.tape());
        Err(Finding::inconclusive(format!(
            "the stream is too quiet: {seen} of {events} events came within {} s; publish some \
             (--publish, --publish-url), or wait longer (--wait), or ask for fewer (--min-events)",
            self.settings.wait.as_secs()
        )))
    }

    pub(super) fn is(&self, profile: Profile) -> bool {
        self.settings.profile == profile
    }
}

/// An event of an application, as opposed to what keeps the stream going.
pub(super) fn is_application(event: &Seen) -> bool {
    let is_control = matches!(
        event.event.as_str(),
        "stream-open"
            | "stream-reset"
            | "stream-error"
            | "keep-alive"
            | "keepalive"
            | "ping"
            | "heartbeat"
            | "open"
            | "endpoint"
    );
    !is_control
}

/// An application's event with an id, by which it can be told from others.
pub(super) fn is_own(event: &Seen) -> bool {
    is_application(event) && event.id.as_ref().is_some_and(|id| !id.is_empty())
}

/// So long from now.
pub(super) fn after(time: Duration) -> Instant {
    Instant::now() + time
}
