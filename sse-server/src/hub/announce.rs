//! Telling other instances what has been published here.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{error, info, warn};

use super::health::Tasks;
use crate::relay::{Message, Relay};
use crate::seams::HashMap;
use crate::seldom::Seldom;

/// How many groups of messages may wait to be sent.
const QUEUE: usize = 1024;

/// How many kibibytes may wait to be sent.
const ROOM: usize = 16 << 10;

/// How long after the last hints the next ones gather. A hint only says up to where to read, so the
/// last one of a channel says it all; each one that is sent is work for the service and for all
/// instances. What comes after a pause is not held up.
const GATHERING: Duration = Duration::from_millis(1);

/// How long the end waits for what is not sent yet.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Tells other instances. What waits for the relay is bounded in bytes: one that hangs costs no
/// more memory.
pub(super) struct Announcer {
    sender: mpsc::Sender<Announcement>,
    room: Arc<Semaphore>,
    /// Each event, not only the last id of a channel.
    pub(super) whole: bool,
    left_out: Seldom,
}

/// Messages to send, and the room they take.
struct Announcement {
    messages: Vec<Message>,
    room: OwnedSemaphorePermit,
}

impl Announcer {
    /// Starts the task that does it.
    pub(super) fn start(relay: Arc<dyn Relay>, tasks: &Tasks) -> Self {
        let whole = relay.carries_events();
        let (sender, mut groups) = mpsc::channel::<Announcement>(QUEUE);
        let announcer = tokio::spawn(async move {
            let mut waiting = Vec::new();
            let mut was_failing = false;
            while groups.recv_many(&mut waiting, QUEUE).await > 0 {
                let begun = Instant::now();
                let mut messages = Vec::new();
                // Their room is free when they have been sent.
                let mut rooms = Vec::with_capacity(waiting.len());
                for told in waiting.drain(..) {
                    messages.extend(told.messages);
                    rooms.push(told.room);
                }
                if !whole {
                    messages = one_hint_each(messages);
                }
                match relay.send(&messages).await {
                    Ok(()) if was_failing => info!("the relay works again"),
                    Err(error) if !was_failing => {
                        error!(%error, "other instances are not told at once what is published");
                        was_failing = true;
                        continue;
                    }
                    Err(_) => continue,
                    Ok(()) => {}
                }
                was_failing = false;
                drop(rooms);
                if !whole {
                    sleep_until(begun + GATHERING).await;
                }
            }
        });
        tasks.add("telling others", announcer.abort_handle());
        let room = Arc::new(Semaphore::new(ROOM));
        Self { sender, room, whole, left_out: Seldom::default() }
    }

    /// Sends these, if there is room for them. Publishing does not wait for a relay that hangs:
    /// what is stored is seen later.
    pub(super) fn tell(&self, messages: Vec<Message>) {
        let kibibytes = messages.iter().map(Message::size).sum::<usize>().div_ceil(1024);
        // What is larger than all the room has all of it.
        let kibibytes = u32::try_from(kibibytes.clamp(1, ROOM)).expect("as large as the room");
        let told = self.room.clone().try_acquire_many_owned(kibibytes);
        let told = told.ok().map(|room| Announcement { messages, room });
        let is_told = told.is_some_and(|told| self.sender.try_send(told).is_ok());
        if !is_told && let Some(times) = self.left_out.happened() {
            warn!(
                times,
                "the relay does not get on; other instances are not told at once what is published, \
                 and miss what is not stored"
            );
        }
    }

    /// Waits until nothing waits to be sent, but not for a relay that hangs.
    pub(super) async fn all_told(&self) {
        let all = u32::try_from(ROOM).expect("as large as the room");
        if timeout(LAST_WORDS, self.room.acquire_many(all)).await.is_err() {
            warn!("the relay does not get on; other instances are not told of what came last");
        }
    }
}

/// Leaves only the last hint of each channel, behind the messages that have an event with them.
fn one_hint_each(messages: Vec<Message>) -> Vec<Message> {
    let (mut left, hints): (Vec<_>, Vec<_>) =
        messages.into_iter().partition(|message| message.event.is_some());
    let lasts: HashMap<_, _> = hints.into_iter().map(|hint| (hint.channel.clone(), hint)).collect();
    if mutant!("unstored-not-told") {
        left.clear();
    }
    left.extend(lasts.into_values());
    left
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use async_trait::async_trait;

    use super::*;
    use crate::ServiceError;
    use crate::relay::News;

    /// Takes what it gets, and sends it when it is let go.
    struct Slow(Arc<Semaphore>);

    #[async_trait]
    impl Relay for Slow {
        async fn send(&self, _: &[Message]) -> Result<(), ServiceError> {
            self.0.acquire().await.expect("never closed").forget();
            Ok(())
        }

        async fn receive(&self, _: mpsc::Sender<News>) {
            std::future::pending::<()>().await;
        }
    }

    fn event(bytes: usize) -> Vec<Message> {
        vec![Message::new("a", None).with_event("t", "x".repeat(bytes), Vec::new())]
    }

    #[tokio::test]
    async fn what_waits_for_a_relay_that_stands_still_is_bounded_in_bytes() {
        let lets_go = Arc::new(Semaphore::new(0));
        let announcer = Announcer::start(Arc::new(Slow(lets_go.clone())), &Tasks::default());
        let waiting = || ROOM - announcer.room.available_permits();
        for _ in 0..100 {
            announcer.tell(event(1 << 20));
            tokio::task::yield_now().await;
        }
        // Each has a little more than its data.
        assert_eq!(waiting() / 1024, 15);
        announcer.tell(vec![Message::new("a", Some(1))]);
        assert_eq!(waiting(), 15 * 1025 + 1, "a hint finds room beside them");
        lets_go.add_permits(100);
        while waiting() > 0 {
            tokio::task::yield_now().await;
        }
        announcer.tell(event(2 * ROOM * 1024));
        assert_eq!(waiting(), ROOM, "one that is larger than all the room goes alone");
        announcer.tell(event(1));
        assert_eq!(waiting(), ROOM);
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_waits_until_all_is_told_but_not_for_a_relay_that_hangs() {
        let lets_go = Arc::new(Semaphore::new(0));
        let announcer = Announcer::start(Arc::new(Slow(lets_go.clone())), &Tasks::default());
        let began = Instant::now();
        announcer.all_told().await;
        assert_eq!(began.elapsed(), Duration::ZERO, "nothing waits");
        announcer.tell(event(1));
        let goes_on = async {
            tokio::time::sleep(LAST_WORDS / 2).await;
            lets_go.add_permits(1);
        };
        tokio::join!(announcer.all_told(), goes_on);
        assert_eq!(began.elapsed(), LAST_WORDS / 2);
        announcer.tell(event(1));
        announcer.all_told().await;
        assert_eq!(began.elapsed().as_secs(), 3);
        assert!(announcer.room.available_permits() < ROOM, "it still waits");
    }

    /// Keeps what is sent, each time.
    #[derive(Default)]
    struct Kept {
        sent: Mutex<Vec<Vec<Message>>>,
        is_whole: bool,
    }

    #[async_trait]
    impl Relay for Kept {
        async fn send(&self, messages: &[Message]) -> Result<(), ServiceError> {
            self.sent.lock().expect("not poisoned").push(messages.to_vec());
            Ok(())
        }

        async fn receive(&self, _: mpsc::Sender<News>) {
            std::future::pending::<()>().await;
        }

        fn carries_events(&self) -> bool {
            self.is_whole
        }
    }

    /// What is sent of a hint, and then of these groups, which come right after it.
    async fn sent(is_whole: bool, groups: &[Vec<Message>]) -> Vec<Vec<Message>> {
        let relay = Arc::new(Kept { is_whole, ..Kept::default() });
        let announcer = Announcer::start(relay.clone(), &Tasks::default());
        let before = Instant::now();
        announcer.tell(vec![Message::new("a", Some(1))]);
        tokio::task::yield_now().await;
        assert_eq!(before.elapsed(), Duration::ZERO, "the first does not wait");
        assert_eq!(relay.sent.lock().expect("not poisoned").len(), 1);
        for group in groups {
            announcer.tell(group.clone());
            tokio::task::yield_now().await;
        }
        tokio::time::sleep(2 * GATHERING).await;
        relay.sent.lock().expect("not poisoned").clone()
    }

    #[tokio::test(start_paused = true)]
    async fn hints_that_come_right_after_others_are_one_for_each_channel() {
        let hint = |channel: &str, id| Message::new(channel, Some(id));
        let groups = [vec![hint("a", 2), hint("b", 7)], event(1), vec![hint("a", 3)], event(2)];
        let sent = sent(false, &groups).await;
        assert_eq!(sent.len(), 2, "{sent:?}");
        assert_eq!(sent[0], [hint("a", 1)]);
        assert_eq!(sent[1][..2], [event(1), event(2)].concat(), "events stay, in their order");
        let mut hints = sent[1][2..].to_vec();
        hints.sort_by(|one, other| one.channel.cmp(&other.channel));
        assert_eq!(hints, [hint("a", 3), hint("b", 7)], "the last of each");
    }

    #[tokio::test(start_paused = true)]
    async fn whole_events_do_not_wait_for_each_other() {
        let groups = [event(1), event(2)];
        assert_eq!(sent(true, &groups).await[1..], groups);
    }
}
