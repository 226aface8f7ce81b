//! Readers at rest without sockets: a crowd, and what becomes of its members.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes};
use sse_proto::Cursor;
use tokio::sync::Notify;

use crate::ServiceError;
use crate::hub::{Bell, Chunks, Crowd, Delivery, Framing, Hub, Outgoing, Subscriber};

/// How much may wait for a reader, in parts, before it takes no more and leaves the crowd.
const WINDOW: usize = 4;

/// How often a reader may leave the crowd and come back with nothing between: more is a loop
/// without end.
const TURNS: usize = 100;

/// Where readers of a hub rest together.
#[derive(Clone)]
pub struct Stand {
    hub: Hub,
    crowd: Arc<Mutex<Crowd<Arc<Place>>>>,
}

/// What a reader has got and not taken, and the reader itself while it does not rest.
#[derive(Default)]
struct Place {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    parts: VecDeque<Bytes>,
    subscriber: Option<Subscriber>,
    number: Option<u32>,
    waker: Option<Waker>,
    is_spinning: bool,
}

impl Place {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A reader that rests as often as it can. Dropped, it leaves.
pub struct Seat {
    stand: Stand,
    place: Arc<Place>,
}

impl Stand {
    /// Where readers of this hub can rest.
    pub fn new(hub: &Hub) -> Self {
        let heard = Arc::new(Notify::new());
        let ring = heard.clone();
        let bell = Bell::new(move || ring.notify_one());
        let crowd = Arc::new(Mutex::new(Crowd::new(bell.clone())));
        let this = Self { hub: hub.clone(), crowd: crowd.clone() };
        let crowd = Arc::downgrade(&crowd);
        tokio::spawn(async move {
            let mut groups = Vec::new();
            loop {
                heard.notified().await;
                let Some(crowd) = crowd.upgrade() else { return };
                bell.hear();
                bell.take_grown(&mut groups);
                let mut crowd = crowd.lock().unwrap_or_else(PoisonError::into_inner);
                for group in groups.drain(..) {
                    crowd.serve(group, give, |place, subscriber, left| {
                        rise(&place, subscriber, left);
                    });
                }
            }
        });
        this
    }

    /// A reader of these channels from these positions.
    ///
    /// # Errors
    ///
    /// If the storage cannot tell where a channel ends.
    pub async fn enter(
        &self,
        channels: &[Arc<str>],
        resume: &Cursor<'_>,
    ) -> Result<Seat, ServiceError> {
        let subscriber = self.hub.subscribe(channels, resume).await?;
        let place = Arc::new(Place::default());
        place.state().subscriber = Some(subscriber);
        Ok(Seat { stand: self.clone(), place })
    }

    fn crowd(&self) -> MutexGuard<'_, Crowd<Arc<Place>>> {
        self.crowd.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives a reader what is due. An error: it takes no more, and this is left.
#[expect(clippy::needless_pass_by_value, reason = "as a crowd hands it out")]
fn give(place: &mut Arc<Place>, chunks: Chunks<'_>) -> Result<(), Bytes> {
    let mut state = place.state();
    if state.parts.len() >= WINDOW {
        return Err(chunks.rest(0));
    }
    state.parts.push_back(chunks.rest(0));
    if let Some(waker) = state.waker.take() {
        waker.wake();
    }
    Ok(())
}

/// A reader does not rest any more.
fn rise(place: &Place, subscriber: Subscriber, left: Option<Bytes>) {
    let mut state = place.state();
    state.parts.extend(left);
    state.number = None;
    state.subscriber = Some(subscriber);
    if let Some(waker) = state.waker.take() {
        waker.wake();
    }
}

impl Seat {
    /// Reads as this user.
    pub fn read_as(&mut self, user: &str) {
        if let Some(subscriber) = &mut self.place.state().subscriber {
            subscriber.read_as(user);
        }
    }

    /// Reads events of these types only.
    pub fn only<'a>(&mut self, types: impl IntoIterator<Item = &'a str>) {
        if let Some(subscriber) = &mut self.place.state().subscriber {
            subscriber.only(types.into_iter().collect());
        }
    }

    /// The positions, before anything was read.
    pub fn cursor(&self) -> String {
        let state = self.place.state();
        state.subscriber.as_ref().map_or_else(String::new, |it| it.cursor().to_string())
    }

    /// The next bytes, as chunks of HTTP/1.1. None: the hub was closed, or an event that has begun
    /// is gone.
    pub async fn next(&mut self) -> Option<Bytes> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Whether it has left the crowd and come back without end. Then [`next`](Self::next) has
    /// returned None.
    pub fn is_spinning(&self) -> bool {
        self.place.state().is_spinning
    }

    fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        for _ in 0..TURNS {
            let mut state = self.place.state();
            state.waker = Some(cx.waker().clone());
            if let Some(part) = state.parts.pop_front() {
                return Poll::Ready(Some(part));
            }
            let Some(subscriber) = &mut state.subscriber else { return Poll::Pending };
            let mut out = Outgoing::new(Framing::Chunked);
            match subscriber.poll_deliver(cx, &mut out) {
                Poll::Ready(Delivery::Events) => {
                    return Poll::Ready(Some(out.copy_to_bytes(out.remaining())));
                }
                Poll::Ready(Delivery::LeftOut) => {}
                Poll::Ready(Delivery::Closed | Delivery::Lost) => return Poll::Ready(None),
                Poll::Pending if !subscriber.is_at_rest() => return Poll::Pending,
                Poll::Pending => {
                    let subscriber = state.subscriber.take();
                    drop(state);
                    if !self.rest(subscriber.expect("it was there")) {
                        // Those who rest there are about to be told that ids have begun anew.
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                }
            }
        }
        self.place.state().is_spinning = true;
        Poll::Ready(None)
    }

    /// Whether it rests, or has risen from there.
    fn rest(&self, subscriber: Subscriber) -> bool {
        let mut crowd = self.stand.crowd();
        let number = crowd.next();
        if let Err(back) = crowd.enter(subscriber, self.place.clone()) {
            self.place.state().subscriber = Some(back.0);
            return false;
        }
        self.place.state().number = Some(number);
        if let Err(left) = crowd.serve_one(number, give) {
            let (place, subscriber) = crowd.remove(number);
            rise(&place, subscriber, left);
        }
        true
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut crowd = self.stand.crowd();
        let number = self.place.state().number.take();
        if let Some(number) = number {
            crowd.remove(number);
        }
    }
}

impl fmt::Debug for Stand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stand").finish_non_exhaustive()
    }
}

impl fmt::Debug for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seat").finish_non_exhaustive()
    }
}
