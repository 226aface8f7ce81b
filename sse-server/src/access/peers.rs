//! What instances say to each other about permissions, and who is there to listen.
//!
//! Every instance says hello each second. A caller that says that a permission has changed waits
//! until all it has heard lately have said that they are done.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until, timeout};

use crate::hub::{MAX_CHANNEL_NAME, MAX_USER};
use crate::seams::fill_randomly;
use crate::seldom::Seldom;

/// How often another instance hears of this one.
pub(super) const HELLO: Duration = Duration::from_secs(1);

/// Silence after which an instance is taken for gone.
const GONE: Duration = Duration::from_secs(5);

/// How long after the relay is connected all others have been heard.
const SETTLED: Duration = Duration::from_millis(500);

/// How long ago this instance has heard itself, if it hears at all.
const FRESH: Duration = Duration::from_secs(3);

/// How long to wait for the relay to be connected at all.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How many other instances there can be. More are not waited for, and said in the log.
const MOST: usize = 256;

/// How many changes of others are looked after at the same time. More are answered with a no.
const CHANGES: usize = 64;

/// How long to wait for an instance that is there and does not confirm.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(20);

#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
enum Wire {
    /// I am here. `is_new`: and want to know who else is.
    Hello {
        from: String,
        is_new: bool,
    },
    /// I am going.
    Bye {
        from: String,
    },
    Changed {
        from: String,
        number: u64,
        user: Option<String>,
        channel: String,
    },
    Done {
        from: String,
        to: String,
        number: u64,
        ok: bool,
    },
}

/// A notice that has to be acted on.
pub(super) enum Notice {
    /// To be answered with this.
    Answer(String),
    /// A permission has changed; to be [confirmed](Peers::done). Nothing may be left to do for
    /// that, for too many say so at once: then there is no turn, and the answer is no.
    Changed {
        from: String,
        number: u64,
        user: Option<String>,
        channel: String,
        turn: Option<OwnedSemaphorePermit>,
    },
}

/// The other instances, as far as they were heard.
pub(super) struct Peers {
    /// This instance.
    id: String,
    state: Mutex<State>,
    /// Raised with every confirmation.
    heard: Notify,
    connected: Moment,
    /// When this instance has heard itself, if it can.
    echo: Option<Moment>,
    changes: Arc<Semaphore>,
    too_many: Seldom,
}

#[derive(Default)]
struct State {
    known: HashMap<String, Instant>,
    waiting: HashMap<u64, Waiting>,
    next: u64,
    has_said_hello: bool,
}

#[derive(Default)]
struct Waiting {
    done: HashSet<String>,
    failed: HashSet<String>,
}

/// When something has happened last, if it has. Those who wait are woken in the order in which they
/// came.
#[derive(Default)]
struct Moment {
    last: Mutex<Option<Instant>>,
    changed: Notify,
}

impl Moment {
    fn is_now(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        self.changed.notify_waiters();
    }

    /// When it was.
    fn last(&self) -> Option<Instant> {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until it has happened at a time that this is true of.
    async fn wait_for(&self, is_it: impl Fn(Instant) -> bool) -> Instant {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            // Before the look, so that nothing is missed between the two.
            changed.as_mut().enable();
            if let Some(last) = self.last().filter(|last| is_it(*last)) {
                return last;
            }
            changed.await;
        }
    }
}

/// A change that others have to confirm.
pub(super) struct Change<'a> {
    peers: &'a Peers,
    number: u64,
    began: Instant,
}

impl Peers {
    /// `echoes`: what this instance says comes back to it.
    pub(super) fn new(echoes: bool) -> Self {
        let mut id = [0; 16];
        // Without random numbers there would be no TLS and no publish token either.
        fill_randomly(&mut id).expect("the system has random numbers");
        Self {
            id: format!("{:032x}", u128::from_be_bytes(id)),
            state: Mutex::default(),
            heard: Notify::new(),
            connected: Moment::default(),
            echo: echoes.then(Moment::default),
            changes: Arc::new(Semaphore::new(CHANGES)),
            too_many: Seldom::default(),
        }
    }

    /// What to say now and then. Those that have been silent for long are forgotten at the same
    /// time.
    pub(super) fn hello(&self) -> String {
        let mut state = self.state();
        state.known.retain(|_, last| last.elapsed() < GONE);
        let is_new = !std::mem::replace(&mut state.has_said_hello, true);
        drop(state);
        Self::encode(&Wire::Hello { from: self.id.clone(), is_new })
    }

    pub(super) fn bye(&self) -> String {
        Self::encode(&Wire::Bye { from: self.id.clone() })
    }

    pub(super) fn done(&self, to: String, number: u64, ok: bool) -> String {
        Self::encode(&Wire::Done { from: self.id.clone(), to, number, ok })
    }

    /// The relay works from now on.
    pub(super) fn connected(&self) {
        self.state().has_said_hello = false;
        self.connected.is_now();
    }

    /// Waits until others had the time to say hello, and this instance hears what is said. False if
    /// the relay does not work.
    pub(super) async fn are_known(&self) -> bool {
        let connected = self.connected.wait_for(|_| true);
        let Ok(since) = timeout(CONNECT_TIMEOUT, connected).await else { return false };
        sleep_until(since + SETTLED).await;
        let echo = self.echo.as_ref().filter(|_| !mutant!("deaf-and-unaware"));
        let Some(echo) = echo else { return true };
        // Each hello comes back, unless the relay takes them and brings nothing.
        timeout(CONNECT_TIMEOUT, echo.wait_for(|at| at.elapsed() < FRESH)).await.is_ok()
    }

    /// Begins a change, and returns what to send.
    pub(super) fn begin(&self, user: Option<&str>, channel: &str) -> (Change<'_>, String) {
        let mut state = self.state();
        let number = state.next;
        state.next += 1;
        state.waiting.insert(number, Waiting::default());
        drop(state);
        let notice = Wire::Changed {
            from: self.id.clone(),
            number,
            user: user.map(str::to_owned),
            channel: channel.to_owned(),
        };
        (Change { peers: self, number, began: Instant::now() }, Self::encode(&notice))
    }

    /// Takes in what somebody has said.
    pub(super) fn hear(&self, text: &str) -> Option<Notice> {
        let Ok(wire) = serde_json::from_str::<Wire>(text) else {
            tracing::warn!("a notice of another instance cannot be understood");
            return None;
        };
        let (Wire::Hello { from, .. }
        | Wire::Bye { from }
        | Wire::Changed { from, .. }
        | Wire::Done { from, .. }) = &wire;
        if *from == self.id {
            if let Some(echo) = &self.echo {
                echo.is_now();
                self.heard.notify_waiters();
            }
            return None;
        }
        if !is_id(from) {
            return None;
        }
        let mut state = self.state();
        if let Wire::Bye { from } = &wire {
            state.known.remove(from);
            drop(state);
            self.heard.notify_waiters();
            return None;
        }
        if state.known.len() >= MOST && !state.known.contains_key(from) {
            state.known.retain(|_, last| last.elapsed() < GONE);
            if state.known.len() >= MOST {
                if let Some(times) = self.too_many.happened() {
                    let problem = "there seem to be more instances than there can be";
                    tracing::warn!(times, most = MOST, "{problem}; others are not waited for");
                }
                return None;
            }
        }
        state.known.insert(from.clone(), Instant::now());
        match wire {
            Wire::Hello { is_new: true, .. } => {
                drop(state);
                Some(Notice::Answer(Self::encode(&Wire::Hello {
                    from: self.id.clone(),
                    is_new: false,
                })))
            }
            Wire::Changed { from, number, user, channel } => {
                drop(state);
                let len = |text: &str| text.chars().count();
                let is_user = user.as_deref().is_none_or(|user| len(user) <= MAX_USER);
                if !is_user || len(&channel) > MAX_CHANNEL_NAME {
                    return None;
                }
                let turn = self.changes.clone().try_acquire_owned().ok();
                Some(Notice::Changed { from, number, user, channel, turn })
            }
            Wire::Done { from, to, number, ok } if to == self.id => {
                if let Some(waiting) = state.waiting.get_mut(&number) {
                    (if ok { &mut waiting.done } else { &mut waiting.failed }).insert(from);
                }
                drop(state);
                self.heard.notify_waiters();
                None
            }
            _ => None,
        }
    }

    #[cfg(test)]
    fn known(&self) -> usize {
        self.state().known.len()
    }

    fn encode(wire: &Wire) -> String {
        serde_json::to_string(wire).expect("strings and numbers are JSON")
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether an instance can be called so: by 128 random bits.
fn is_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

impl Change<'_> {
    /// Waits until all others have confirmed. Returns how many, or how many have not; none of them:
    /// nobody has heard of it.
    ///
    /// Others that fall silent meanwhile are taken for gone. But if the relay brings nobody what is
    /// said, they all do: so this instance must have heard itself since it said so.
    pub(super) async fn confirmed(self) -> Result<usize, usize> {
        let deadline = Instant::now() + CONFIRM_TIMEOUT;
        loop {
            let mut heard = std::pin::pin!(self.peers.heard.notified());
            // Before the look, so that nothing is missed between the two.
            heard.as_mut().enable();
            let (missing, waiting) = self.count();
            if waiting == 0 && self.is_heard() {
                return missing;
            }
            if Instant::now() >= deadline {
                return Err(waiting + missing.err().unwrap_or_default());
            }
            // Also when nothing is heard: who is silent is gone in the end.
            timeout(HELLO, heard).await.ok();
        }
    }

    /// Whether what this instance says is carried to others, as far as it can know.
    fn is_heard(&self) -> bool {
        let echo = self.peers.echo.as_ref().filter(|_| !mutant!("deaf-and-unaware"));
        let echo = echo.filter(|_| !mutant!("deaf-by-now"));
        echo.is_none_or(|echo| echo.last().is_some_and(|at| at >= self.began))
    }

    /// How many have confirmed, or how many could not; and for how many to wait.
    fn count(&self) -> (Result<usize, usize>, usize) {
        let mut state = self.peers.state();
        if mutant!("others-forgotten") {
            state.known.clear();
        }
        state.known.retain(|_, last| last.elapsed() < GONE);
        let state = &*state;
        let Some(answers) = state.waiting.get(&self.number) else { return (Ok(0), 0) };
        let has_answered =
            |id: &&String| answers.done.contains(*id) || answers.failed.contains(*id);
        let waiting = state.known.keys().filter(|id| !has_answered(id)).count();
        let result = match answers.failed.len() {
            0 => Ok(answers.done.len()),
            failed => Err(failed),
        };
        (result, waiting)
    }
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        self.peers.state().waiting.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn hello(n: u128) -> String {
        Peers::encode(&Wire::Hello { from: format!("{n:032x}"), is_new: false })
    }

    fn changed(n: u64, user: &str, channel: &str) -> String {
        let (user, channel) = (Some(user.to_owned()), channel.to_owned());
        Peers::encode(&Wire::Changed { from: format!("{n:032x}"), number: n, user, channel })
    }

    #[tokio::test(start_paused = true)]
    async fn silent_instances_are_forgotten_and_there_are_never_too_many() {
        let peers = Peers::new(false);
        for n in 0..2 * MOST as u128 {
            peers.hear(&hello(n));
        }
        assert_eq!(peers.known(), MOST);
        advance(GONE).await;
        peers.hear(&hello(u128::MAX));
        assert_eq!(peers.known(), 1, "who is silent makes room");
        advance(GONE).await;
        peers.hello();
        assert_eq!(peers.known(), 0, "nobody has to ask");
        for from in ["", "x", &"g".repeat(32), &"0".repeat(33)] {
            let wire = Wire::Hello { from: from.to_owned(), is_new: false };
            peers.hear(&Peers::encode(&wire));
        }
        assert_eq!(peers.known(), 0, "nobody is called so");
    }

    #[tokio::test]
    async fn changes_of_others_are_bounded_and_none_is_without_an_answer() {
        let peers = Peers::new(false);
        let mut turns = Vec::new();
        for n in 0..2 * CHANGES as u64 {
            let heard = peers.hear(&changed(n, "u", "a"));
            let Some(Notice::Changed { turn, .. }) = heard else { panic!("no change") };
            turns.push(turn);
        }
        assert_eq!(turns.iter().flatten().count(), CHANGES);
        let long = "x".repeat(256);
        for (user, channel) in [("u", &*long), (&*long, "a")] {
            assert!(peers.hear(&changed(0, user, channel)).is_none(), "nobody can be told so");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_does_not_hear_themselves_knows_nobody() {
        let peers = Peers::new(true);
        peers.connected();
        assert!(!peers.are_known().await, "nothing was heard");
        let hello = peers.hello();
        peers.hear(&hello);
        assert!(peers.are_known().await);
        advance(FRESH).await;
        assert!(!peers.are_known().await, "nothing was heard lately");
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_that_nobody_hears_of_is_not_confirmed_when_others_have_fallen_silent() {
        for others in [0, 1, 2] {
            let peers = Peers::new(true);
            peers.connected();
            let hello_of_own = peers.hello();
            peers.hear(&hello_of_own);
            (1..=others).for_each(|n| drop(peers.hear(&hello(n))));
            // The relay works until here, and brings nobody anything from now on.
            assert!(peers.are_known().await);
            let (change, _) = peers.begin(Some("u"), "a");
            assert_eq!(change.confirmed().await, Err(0), "{others} others are taken for gone");
            // And works again.
            peers.hear(&hello_of_own);
            let (change, notice) = peers.begin(Some("u"), "a");
            peers.hear(&notice);
            assert_eq!(change.confirmed().await, Ok(0));
        }
        let (peers, began) = (Peers::new(false), Instant::now());
        let (change, _) = peers.begin(None, "a");
        assert_eq!(change.confirmed().await, Ok(0), "a relay without an echo tells nothing");
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
}
