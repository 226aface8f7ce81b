//! Connections of HTTP/1 that are driven by who reads from them.
//!
//! hyper's connection is a future of its own, which hands the body over piece by piece. In a task
//! of its own it costs two changes of task for each piece, and a piece is often one event. So while
//! a body is read, its reader polls the connection's future too. Before and after, its task does.

use std::cell::Cell;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use atomic_waker::AtomicWaker;
use bytes::Bytes;
use http_body::Body;
use hyper::rt::Executor;

use crate::send::{BoxError, BoxFuture};
use crate::transport::Pieces;

/// A reader is responsible for polling the future.
const HAS_READER: u8 = 1;
/// The reader is at it.
const IS_DRIVING: u8 = 2;
/// The future has been woken since it was polled.
const IS_WOKEN: u8 = 4;

thread_local! {
    /// Looks for the connection of a body: taking a piece wakes it, to bring the next one.
    static WATCH: Cell<Watch> = const { Cell::new(Watch::Off) };
}

#[derive(Default)]
enum Watch {
    #[default]
    Off,
    On,
    Seen(Arc<Background>),
}

/// Spawns hyper's futures on tokio, such that readers can find the connection's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spawner;

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Spawner {
    fn execute(&self, future: F) {
        let background = Arc::new(Background {
            future: Mutex::new(Some(Box::pin(future))),
            state: AtomicU8::new(0),
            task: AtomicWaker::new(),
            reader: AtomicWaker::new(),
        });
        tokio::spawn(Task { waker: Arc::clone(&background).into(), background });
    }
}

/// A future of hyper's, and its waker.
struct Background {
    /// `None` when it is done.
    future: Mutex<Option<BoxFuture<()>>>,
    state: AtomicU8,
    task: AtomicWaker,
    reader: AtomicWaker,
}

impl Background {
    fn future(&self) -> MutexGuard<'_, Option<BoxFuture<()>>> {
        self.future.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn poll(&self, waker: &Waker) -> Poll<()> {
        let mut future = self.future();
        let Some(pending) = &mut *future else {
            return Poll::Ready(());
        };
        let poll = pending.as_mut().poll(&mut Context::from_waker(waker));
        if poll.is_ready() {
            *future = None;
        }
        poll
    }

    /// Leaves the future to its task.
    fn release(&self) {
        self.state.fetch_and(!(HAS_READER | IS_DRIVING), Ordering::AcqRel);
        self.task.wake();
    }
}

impl Wake for Background {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        WATCH.with(|watch| match watch.take() {
            Watch::Off => {}
            Watch::On | Watch::Seen(_) => watch.set(Watch::Seen(Arc::clone(self))),
        });
        let state = self.state.fetch_or(IS_WOKEN, Ordering::AcqRel);
        if state & HAS_READER == 0 {
            self.task.wake();
        } else if state & IS_DRIVING == 0 {
            self.reader.wake();
        }
    }
}

/// The body of a response by HTTP/1, and once it is known the connection, for as long as there is
/// something to read.
pub(super) struct Driven<B> {
    body: Pin<Box<B>>,
    connection: Connection,
}

enum Connection {
    /// Its task drives it.
    Unknown,
    Known(Arc<Background>, Waker),
    Released,
}

impl<B> Driven<B> {
    pub(super) fn new(body: B) -> Self {
        Self { body: Box::pin(body), connection: Connection::Unknown }
    }
}

impl<B: Body<Data = Bytes>> Driven<B> {
    /// Polls the body, while its connection's task drives it.
    fn poll_apart(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, B::Error>>> {
        let is_unknown = matches!(self.connection, Connection::Unknown);
        if is_unknown {
            WATCH.set(Watch::On);
        }
        let piece = poll_body(&mut self.body, cx);
        if is_unknown {
            if let Watch::Seen(background) = WATCH.take() {
                background.state.fetch_or(HAS_READER, Ordering::AcqRel);
                let waker = Arc::clone(&background).into();
                self.connection = Connection::Known(background, waker);
                // Its task leaves it to the reader, which otherwise would not come back.
                if piece.is_pending() {
                    cx.waker().wake_by_ref();
                }
            }
        }
        piece
    }

    /// Polls both. A piece that is there is taken before there is another one, so that what is not
    /// read is not received.
    fn poll_together(
        body: &mut Pin<Box<B>>,
        background: &Background,
        waker: &Waker,
        cx: &Context<'_>,
    ) -> Poll<Option<Result<Bytes, B::Error>>> {
        background.reader.register(cx.waker());
        background.state.fetch_or(IS_DRIVING, Ordering::AcqRel);
        // What wakes one of them is done here at once, mostly.
        let mut inner = Context::from_waker(waker);
        let mut piece = poll_body(body, &mut inner);
        if piece.is_pending() {
            background.state.fetch_and(!IS_WOKEN, Ordering::AcqRel);
            let _ = background.poll(waker);
            piece = poll_body(body, &mut inner);
        }
        let state = background.state.fetch_and(!IS_DRIVING, Ordering::AcqRel);
        if piece.is_pending() && state & IS_WOKEN != 0 {
            cx.waker().wake_by_ref();
        }
        piece
    }
}

fn poll_body<B: Body<Data = Bytes>>(
    body: &mut Pin<Box<B>>,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Bytes, B::Error>>> {
    let frame = body.as_mut().poll_frame(cx);
    frame.map_ok(|frame| frame.into_data().unwrap_or_default())
}

impl<B: Body<Data = Bytes>> Pieces for Driven<B>
where
    B::Error: Into<BoxError>,
{
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BoxError>>> {
        let piece = match &self.connection {
            Connection::Known(background, waker) => {
                Self::poll_together(&mut self.body, background, waker, cx)
            }
            _ => self.poll_apart(cx),
        };
        if matches!(piece, Poll::Ready(None | Some(Err(_)))) {
            self.release();
        }
        piece.map_err(Into::into)
    }
}

impl<B> Driven<B> {
    fn release(&mut self) {
        let connection = std::mem::replace(&mut self.connection, Connection::Released);
        if let Connection::Known(background, _) = connection {
            background.release();
        }
    }
}

impl<B> Drop for Driven<B> {
    /// Its task notices then that the body is dropped, and closes the connection.
    fn drop(&mut self) {
        self.release();
    }
}

/// Polls the future unless a reader does.
struct Task {
    background: Arc<Background>,
    waker: Waker,
}

impl Future for Task {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.background.task.register(cx.waker());
        if self.background.state.load(Ordering::Acquire) & HAS_READER != 0 {
            return Poll::Pending;
        }
        self.background.poll(&self.waker)
    }
}

impl Drop for Task {
    /// The runtime ends, and the connection with it. It holds wakers, which hold it.
    fn drop(&mut self) {
        let future = self.background.future().take();
        drop(future);
    }
}
