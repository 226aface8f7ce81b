//! What other tasks may know of an event source, and ask of it.

use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Context;

use atomic_waker::AtomicWaker;
use sse_proto::Failure;
use tokio::sync::watch;
use web_time::Instant;

use crate::said::Said;
use crate::state::Closed;

/// Where an event source stands, for programs that show it to people.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    /// A request is about to be sent, or on its way.
    Connecting,
    /// The stream is open.
    Open,
    /// Between two tries.
    Waiting {
        /// When the next try is due.
        until: Instant,
        /// What ended the last one.
        failure: Failure,
        /// The same on one line, with all that is known; see
        /// [`EventSource::last_failure`](crate::EventSource::last_failure).
        why: Arc<str>,
    },
    /// It is over, for this reason.
    Closed(Closed),
}

/// Watches and steers an [`EventSource`](crate::EventSource) from another task.
///
/// It is cheap to clone and does not keep the source alive.
///
/// ```no_run
/// # async fn f() -> Result<(), sse_client::BuildError> {
/// use sse_client::{EventSource, Status};
///
/// let source = EventSource::get("https://example.com/events/?channel=news").build()?;
/// let mut handle = source.handle();
/// tokio::spawn(async move {
///     while let Some(status) = handle.changed().await {
///         if let Status::Waiting { why, .. } = status {
///             eprintln!("offline: {why}");
///         }
///     }
/// });
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Handle {
    status: watch::Receiver<Status>,
    shared: Arc<Shared>,
}

impl Handle {
    /// Where the source stands now. It changes only while the source is polled.
    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// Waits until the status has changed since this was last called, or since the handle was made,
    /// and returns the newest one; those in between are left out. `None` after
    /// [`Closed`](Status::Closed), which is the last; a source that is dropped is closed by the
    /// caller.
    ///
    /// No change is lost if the future is dropped before it is done.
    pub async fn changed(&mut self) -> Option<Status> {
        let is_closed = matches!(*self.status.borrow(), Status::Closed(_));
        if is_closed && !self.status.has_changed().unwrap_or(false) {
            return None;
        }
        self.status.changed().await.ok()?;
        Some(self.status.borrow_and_update().clone())
    }

    /// The last event ID, for programs whose source is inside of another stream: see
    /// [`EventSource::last_event_id`](crate::EventSource::last_event_id). It does not run ahead of
    /// what was delivered, and can be behind by what was delivered since the source was last polled
    /// and found nothing at hand.
    pub fn last_event_id(&self) -> Option<Arc<str>> {
        self.shared.last_event_id.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// As [`EventSource::reconnect`](crate::EventSource::reconnect); it happens when the source is
    /// polled, for which its task is woken.
    pub fn reconnect(&self) {
        self.shared.command(RECONNECT);
    }

    /// As [`EventSource::close`](crate::EventSource::close): the source delivers nothing after
    /// this. Its task is woken, and the request is aborted when the source is polled, or dropped.
    pub fn close(&self) {
        self.shared.command(CLOSE);
        self.shared.publish(Status::Closed(Closed::ByCaller));
    }
}

/// Shows the beginning of the last event ID.
impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("status", &self.status())
            .field("last_event_id", &self.last_event_id().as_deref().map(Said))
            .finish_non_exhaustive()
    }
}

const RECONNECT: u8 = 1;
const CLOSE: u8 = 2;

struct Shared {
    status: watch::Sender<Status>,
    /// What handles have asked for since the source was last polled.
    commands: AtomicU8,
    waker: AtomicWaker,
    last_event_id: Mutex<Option<Arc<str>>>,
}

impl Shared {
    fn command(&self, command: u8) {
        self.commands.fetch_or(command, Ordering::Release);
        self.waker.wake();
    }

    fn publish(&self, new: Status) {
        self.status.send_if_modified(|status| {
            let is_new = *status != new && !matches!(status, Status::Closed(_));
            if is_new {
                *status = new;
            }
            is_new
        });
    }
}

/// The event source's end of its handles.
pub(crate) struct Controls(Arc<Shared>);

pub(crate) enum Command {
    Reconnect,
    Close,
}

impl Controls {
    pub(crate) fn new() -> Self {
        let (status, _) = watch::channel(Status::Connecting);
        let waker = AtomicWaker::new();
        let (commands, last_event_id) = (AtomicU8::new(0), Mutex::default());
        Self(Arc::new(Shared { status, commands, waker, last_event_id }))
    }

    pub(crate) fn handle(&self) -> Handle {
        Handle { status: self.0.status.subscribe(), shared: Arc::clone(&self.0) }
    }

    pub(crate) fn publish(&self, status: Status) {
        self.0.publish(status);
    }

    /// What has been delivered has this last event ID.
    pub(crate) fn note_last_event_id(&self, id: Option<&str>) {
        let mut noted = self.0.last_event_id.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.as_deref() != id {
            *noted = id.map(Arc::from);
        }
    }

    /// What has been asked for, once. To close outweighs all else.
    pub(crate) fn command(&self) -> Option<Command> {
        // A load costs less than a swap, and is done for every item.
        if self.0.commands.load(Ordering::Acquire) == 0 {
            return None;
        }
        let commands = self.0.commands.swap(0, Ordering::AcqRel);
        Some(if commands & CLOSE != 0 { Command::Close } else { Command::Reconnect })
    }

    /// Has the task woken by the next command. Whether there is one already.
    pub(crate) fn listen(&self, cx: &Context<'_>) -> bool {
        self.0.waker.register(cx.waker());
        self.0.commands.load(Ordering::Acquire) != 0
    }
}

impl Drop for Controls {
    fn drop(&mut self) {
        self.publish(Status::Closed(Closed::ByCaller));
    }
}
