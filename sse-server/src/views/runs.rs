//! Work that produces a stream once, and outlives its readers.
//!
//! A run is a channel: `run-begin`, then what the work sends, then `run-end`. What is stored
//! decides, on every instance: who may begin is settled by the key under which `run-begin` is
//! stored, and whatever comes after the first `run-end` does not count.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt, stream};
use serde::{Deserialize, Serialize};
use sse_proto::StreamError;
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use super::{Event, EventStreams, Missed, Received, Resume, SendError, StreamView};
use crate::hub::{Hub, PublishError};
use crate::storage::{NewEvent, RequestKey};

const BEGIN: &str = "run-begin";
const ALIVE: &str = "run-alive";
const END: &str = "run-end";

/// How long a run may be silent before it is taken for dead.
const LEASE: Duration = Duration::from_secs(15);

/// Work that produces a stream once, such as the answer of a language model: it is recorded in a
/// channel as it goes, and any number of readers, early or late, get all of it. A page that is
/// reloaded goes on, or begins anew, and the work goes on without it.
///
/// Every run has an id, and the same id never runs twice, on no instance with the same storage, for
/// as long as [events are kept](super::EventStreamsBuilder::retention). A run whose process is gone
/// has ended, as [`RunEnd::Interrupted`]; what it had sent is there.
///
/// ```
/// use sse_server::views::{Event, EventStreams, Resume, Runs, SendError};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), SendError> {
/// let runs = Runs::new(&EventStreams::builder().build());
/// let is_new = runs.start("chat-7", |recorder| async move {
///     for token in ["Hello", ", ", "world"] {
///         recorder.send(Event::text(token)).await?;
///     }
///     Ok::<_, SendError>(())
/// });
/// assert!(is_new.await?);
/// let view = runs.view("chat-7", Resume::New).await?; // a response, for each reader
/// # let _ = view;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Runs {
    streams: EventStreams,
    lease: Duration,
    told: Arc<dyn Fn(RunEnd) -> Event + Send + Sync>,
}

/// Where the work of a run sends its events to.
#[derive(Clone, Debug)]
pub struct Recorder {
    streams: EventStreams,
    channel: Arc<str>,
}

/// How a run has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum RunEnd {
    /// The work was done.
    Done,
    /// Somebody has [stopped](Runs::stop) it.
    Stopped,
    /// The work has failed, or panicked. The reason is in the log.
    Failed,
    /// Its process has ended before the work had.
    Interrupted,
}

impl Recorder {
    /// Stores an event, and shows it to all readers. Its id is replaced by its number.
    ///
    /// # Errors
    ///
    /// If it cannot be sent or stored.
    pub async fn send(&self, event: impl Into<Event>) -> Result<(), SendError> {
        let event = event.into();
        let Some((event_type, data)) = event.content() else {
            return Err(SendError::NotAllowed("this event is the end of a stream".to_owned()));
        };
        let event_type = if event_type.is_empty() { "message" } else { event_type };
        if [BEGIN, ALIVE, END].contains(&event_type) {
            let text = format!("{event_type} is what runs send by themselves; choose another type");
            return Err(SendError::NotAllowed(text));
        }
        self.streams.send_text(&self.channel, event_type, data).await.map(drop)
    }
}

impl Runs {
    /// Runs that are recorded in channels of these streams, `run-ID`. If readers of the streams'
    /// own routes must not see them, [`can_read`](super::EventStreamsBuilder::can_read) says so.
    pub fn new(streams: &EventStreams) -> Self {
        Self { streams: streams.clone(), lease: LEASE, told: Arc::new(told) }
    }

    /// How long a run may be silent before it is taken for interrupted. Default: 15 s. A run says
    /// that it lives three times in this time. Shorter tells readers earlier of a process that was
    /// killed, longer survives longer outages of the storage.
    #[must_use]
    pub const fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// What readers are told at the end of a run that has [failed](RunEnd::Failed) or was
    /// [interrupted](RunEnd::Interrupted). Default: a `stream-error`.
    #[must_use]
    pub fn tell(mut self, told: impl Fn(RunEnd) -> Event + Send + Sync + 'static) -> Self {
        self.told = Arc::new(told);
        self
    }

    /// Starts work under this id, and returns once that is stored; or `false`, and nothing is
    /// started, if there was a run of this id, here or elsewhere.
    ///
    /// # Errors
    ///
    /// If the storage fails, or keeps no keys of requests.
    pub async fn start<F, R, E>(&self, id: &str, work: F) -> Result<bool, SendError>
    where
        F: FnOnce(Recorder) -> R + Send + 'static,
        R: Future<Output = Result<(), E>> + Send + 'static,
        E: fmt::Display + Send,
    {
        let channel = channel(id);
        if !self.claim(&channel, BEGIN, String::new()).await? {
            return Ok(false);
        }
        let (runs, recorder) =
            (self.clone(), Recorder { streams: self.streams.clone(), channel: channel.clone() });
        // The end of the run, wherever it comes from, is seen from its beginning on.
        let events = self.streams.subscribe(&channel, Some(1)).await?;
        let mut end = Box::pin(events.filter_map(async |event| end_of(&event)));
        let alive = recorder.clone();
        tokio::spawn(async move {
            let work = AssertUnwindSafe(async move { work(recorder).await }).catch_unwind();
            let hub = runs.hub().clone();
            let why = tokio::select! {
                result = work => match result {
                    Ok(Ok(())) => RunEnd::Done,
                    Ok(Err(error)) => {
                        warn!(%error, %channel, "a run has failed");
                        RunEnd::Failed
                    }
                    Err(_) => {
                        warn!(%channel, "a run has panicked");
                        RunEnd::Failed
                    }
                },
                Some(why) = end.next() => {
                    debug!(?why, %channel, "a run was ended");
                    return;
                }
                () = hub.closed() => RunEnd::Interrupted,
                () = alive.says_so(runs.lease / 3) => RunEnd::Interrupted,
            };
            runs.end(&channel, why).await.unwrap_or_else(|error| {
                warn!(%error, %channel, "the end of a run could not be stored");
                false
            });
        });
        Ok(true)
    }

    /// Ends a run, on whatever instance it runs: its work is dropped, and its readers' streams end.
    /// Returns whether this has ended it.
    ///
    /// # Errors
    ///
    /// If the storage fails.
    pub async fn stop(&self, id: &str) -> Result<bool, SendError> {
        let channel = channel(id);
        Ok(self.head(&channel).await? > 0 && self.end(&channel, RunEnd::Stopped).await?)
    }

    /// The events of a run, from its beginning or after the one that the reader has got, to its
    /// end. Their ids are numbers. Without a run of this id it is the
    /// [`finished`](StreamView::finished) response's turn: `None`.
    ///
    /// # Errors
    ///
    /// If the storage fails.
    pub async fn view(
        &self,
        id: &str,
        resume: Resume<u64>,
    ) -> Result<Option<StreamView>, SendError> {
        let channel = channel(id);
        if self.head(&channel).await? == 0 {
            return Ok(None);
        }
        let events = self.streams.subscribe(&channel, Some(resume.after().unwrap_or(0))).await?;
        let runs = self.clone();
        let begun = (Box::pin(events), Some(runs));
        let events = stream::unfold(begun, move |(mut events, runs)| {
            let channel = channel.clone();
            async move {
                // None: the last event has gone out.
                let runs = runs?;
                loop {
                    let Ok(next) = timeout(runs.lease, events.next()).await else {
                        debug!(%channel, "a run is taken for dead");
                        // Whatever comes of it is in the channel.
                        runs.end(&channel, RunEnd::Interrupted).await.ok();
                        continue;
                    };
                    let recorded = next?;
                    let event = match (end_of(&recorded), recorded) {
                        (Some(RunEnd::Done | RunEnd::Stopped), _) => return None,
                        (Some(why), _) => return Some(((runs.told)(why), (events, None))),
                        (None, Ok(event)) if [BEGIN, ALIVE].contains(&&*event.event_type) => {
                            continue;
                        }
                        (None, Ok(event)) => event.into(),
                        (None, Err(Missed)) => Event::reset(),
                    };
                    return Some((event, (events, Some(runs))));
                }
            }
        });
        Ok(Some(self.streams.view(events)))
    }

    /// Whether a run of this id goes on, as far as is recorded.
    ///
    /// # Errors
    ///
    /// If the storage fails.
    pub async fn is_running(&self, id: &str) -> Result<bool, SendError> {
        let channel = channel(id);
        let head = self.head(&channel).await?;
        if head == 0 {
            return Ok(false);
        }
        // What comes after the end is little: what was on its way.
        let mut events = Box::pin(self.streams.subscribe(&channel, Some(0)).await?);
        while let Some(recorded) = events.next().await {
            if end_of(&recorded).is_some() {
                return Ok(false);
            }
            if recorded.is_ok_and(|event| event.number >= head) {
                break;
            }
        }
        Ok(true)
    }

    /// Appends an event that a channel has once. Returns whether this one is it.
    async fn claim(&self, channel: &Arc<str>, what: &str, data: String) -> Result<bool, SendError> {
        let mut nonce = [0; 16];
        getrandom::fill(&mut nonce).map_err(|error| {
            SendError::NotAllowed(format!("the system gives no random numbers: {error}"))
        })?;
        // With this content nobody else has made the request.
        let key = RequestKey::new("runs", format!("{what} {channel}"), &nonce);
        let event = NewEvent::new(channel.clone(), what, data);
        let stored = async { self.hub().submit(vec![event], Some(key)).await?.await };
        match stored.await {
            Ok(_) => Ok(true),
            Err(PublishError::KeyReused) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    async fn end(&self, channel: &Arc<str>, why: RunEnd) -> Result<bool, SendError> {
        self.claim(channel, END, serde_json::to_string(&why)?).await
    }

    async fn head(&self, channel: &str) -> Result<u64, SendError> {
        self.streams.head(channel).await
    }

    fn hub(&self) -> &Hub {
        self.streams.hub()
    }
}

impl Recorder {
    /// Says now and then that the run lives. Completes if that is not possible for long.
    async fn says_so(&self, period: Duration) {
        let mut failures = 0;
        while failures < 3 {
            sleep(period).await;
            match self.streams.send_text(&self.channel, ALIVE, "").await {
                Ok(_) => failures = 0,
                Err(_) => failures += 1,
            }
        }
    }
}

impl fmt::Debug for Runs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runs").field("lease", &self.lease).finish_non_exhaustive()
    }
}

fn channel(id: &str) -> Arc<str> {
    format!("run-{id}").into()
}

fn told(why: RunEnd) -> Event {
    let (condition, text) = match why {
        RunEnd::Interrupted => ("interrupted", "The work has ended before it was done."),
        _ => ("internal-error", "The work has failed."),
    };
    Event::error(StreamError {
        condition: condition.to_owned(),
        text: text.to_owned(),
        channels: Vec::new(),
    })
}

/// How a run has ended, if this is its end.
fn end_of(recorded: &Result<Received, Missed>) -> Option<RunEnd> {
    let end = recorded.as_ref().ok().filter(|event| event.event_type == END)?;
    Some(serde_json::from_str(&end.data).unwrap_or(RunEnd::Failed))
}
