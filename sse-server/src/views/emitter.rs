//! Streams made by closures and by iterators.

use std::fmt;
use std::task::Poll;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, Stream, stream};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::Event;
use crate::caught::caught;

/// How many events a closure is ahead of its reader.
const AHEAD: usize = 16;

/// Where a closure sends its events to.
// In boxes: a channel of tokio's makes 32 places at once, which most streams never fill.
#[derive(Clone, Debug)]
pub struct Emitter(mpsc::Sender<Box<Event>>);

/// Nobody reads any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the reader is gone")]
pub struct Gone;

impl Emitter {
    /// Sends an event, as soon as the reader has taken all but a few of those before it.
    ///
    /// # Errors
    ///
    /// If nobody reads any more. A closure is dropped then; this is for tasks that it has started.
    pub async fn send(&self, event: impl Into<Event>) -> Result<(), Gone> {
        let event = Box::new(event.into());
        self.0.send(event).await.map_err(|_| Gone)
    }
}

/// What a closure sends. It is called when the first event is asked for, and polled by its reader:
/// no task is started.
pub(super) fn produced<F, R, E>(closure: F) -> impl Stream<Item = Event> + Send
where
    F: FnOnce(Emitter) -> R + Send + 'static,
    R: Future<Output = Result<(), E>> + Send + 'static,
    E: fmt::Display + 'static,
{
    let (sender, mut events) = mpsc::channel(AHEAD);
    // Caught here, so that what it has sent before a panic still arrives.
    let work =
        caught(async move { closure(Emitter(sender)).await.map_err(|error| error.to_string()) });
    let work: BoxFuture<'static, Result<(), String>> = work.map(Result::flatten).boxed();
    let (mut work, mut failed) = (Some(work), None);
    stream::poll_fn(move |cx| {
        loop {
            // Before the closure goes on, so that it is asked for no more than is wanted.
            match events.poll_recv(cx) {
                Poll::Ready(Some(event)) => return Poll::Ready(Some(*event)),
                Poll::Ready(None) if work.is_none() => {
                    return Poll::Ready(failed.take().map(Event::fault));
                }
                Poll::Ready(None) | Poll::Pending => {}
            }
            let Some(Poll::Ready(result)) = work.as_mut().map(|work| work.poll_unpin(cx)) else {
                // What it has sent by now wakes this task.
                return events.poll_recv(cx).map(|event| match event {
                    Some(event) => Some(*event),
                    None => failed.take().map(Event::fault),
                });
            };
            (work, failed) = (None, result.err());
        }
    })
}

/// What an iterator has, on a thread that may block.
pub(super) fn blocking<I>(iterator: I) -> impl Stream<Item = Event> + Send
where
    I: IntoIterator + Send + 'static,
    I::Item: Into<Event>,
{
    produced(move |events| async move {
        let run = move || {
            for event in iterator {
                if events.0.blocking_send(Box::new(event.into())).is_err() {
                    break;
                }
            }
        };
        spawn_blocking(run).await.map_err(|error| format!("its iterator: {error}"))
    })
}
