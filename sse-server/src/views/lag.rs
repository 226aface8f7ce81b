//! What happens if events come faster than their reader takes them.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures_util::stream::BoxStream;
use futures_util::task::AtomicWaker;
use futures_util::{Stream, StreamExt};
use tokio::task::{AbortHandle, yield_now};
use tracing::debug;

use super::Event;

/// How many events a stream without an end takes before others have their turn.
const TURN: usize = 32;

/// What happens if events come faster than a reader takes them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lag {
    /// The stream is not asked for more, and waits. Nothing is lost, and nothing is kept.
    #[default]
    Wait,
    /// The stream goes on in a task of its own, and at most this many events wait. If there are
    /// more, those that wait are dropped, and the reader is told by a `stream-reset` in their
    /// place: for sources that cannot wait, whose readers can begin anew.
    Reset(usize),
    /// The same, but the stream ends after those that wait: a reader that comes back goes on from
    /// its last event ID.
    End(usize),
}

/// A stream that goes on without its reader.
pub(super) fn ahead(
    stream: BoxStream<'static, Event>,
    most: usize,
    resets: bool,
) -> BoxStream<'static, Event> {
    Ahead { stream: Some(stream), shared: Arc::default(), most: most.max(1), resets, task: None }
        .boxed()
}

struct Ahead {
    /// Until it is asked first.
    stream: Option<BoxStream<'static, Event>>,
    shared: Arc<Shared>,
    most: usize,
    resets: bool,
    task: Option<AbortHandle>,
}

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    reader: AtomicWaker,
}

#[derive(Default)]
struct Waiting {
    events: VecDeque<Event>,
    is_over: bool,
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an event. Returns whether the stream goes on.
    fn add(&self, event: Event, most: usize, resets: bool) -> bool {
        let mut waiting = self.waiting();
        let is_too_much = waiting.events.len() >= most;
        if is_too_much {
            debug!(most, "a reader of the application's stream is too slow");
            if resets {
                waiting.events.clear();
                waiting.events.push_back(Event::reset());
            } else {
                waiting.events.push_back(Event::last_words("too slow; connect again"));
            }
        }
        let goes_on = resets || !is_too_much;
        if goes_on {
            waiting.events.push_back(event);
        }
        drop(waiting);
        self.reader.wake();
        goes_on
    }

    fn end(&self) {
        self.waiting().is_over = true;
        self.reader.wake();
    }
}

impl Stream for Ahead {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        if let Some(mut stream) = self.stream.take() {
            let (shared, most, resets) = (self.shared.clone(), self.most, self.resets);
            let task = tokio::spawn(async move {
                let mut count = 0;
                // A panic has become an event by now.
                while let Some(event) = stream.next().await {
                    if !shared.add(event, most, resets) {
                        break;
                    }
                    count += 1;
                    if count % TURN == 0 {
                        yield_now().await;
                    }
                }
                shared.end();
            });
            self.task = Some(task.abort_handle());
        }
        self.shared.reader.register(cx.waker());
        let mut waiting = self.shared.waiting();
        match waiting.events.pop_front() {
            Some(event) => Poll::Ready(Some(event)),
            None if waiting.is_over => Poll::Ready(None),
            None => Poll::Pending,
        }
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}
