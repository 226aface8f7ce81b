//! What any storage has to do, as checks that any implementation can be put to.
//!
//! A check panics with what is wrong, like an assertion. All of them use channels that no other
//! test does, so that the storage need not be empty; but what they trim, they trim for all.
//!
//! ```
//! use std::sync::Arc;
//! use async_trait::async_trait;
//! use sse_server::storage::{MemoryStorage, Storage, conformance};
//!
//! struct Memory(Arc<MemoryStorage>);
//!
//! #[async_trait]
//! impl conformance::Subject for Memory {
//!     async fn open(&self) -> Arc<dyn Storage> {
//!         self.0.clone()
//!     }
//! }
//!
//! # let runtime = tokio::runtime::Builder::new_multi_thread().build()?;
//! # runtime.block_on(async {
//! conformance::all(&Memory(Arc::new(MemoryStorage::new()))).await;
//! # });
//! # Ok::<_, std::io::Error>(())
//! ```

#![allow(clippy::missing_panics_doc, reason = "said above, for all of them")]

mod requests;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use tokio::task::JoinHandle;

use super::{NewEvent, Storage};
pub use requests::{
    a_request_with_a_known_key_is_not_appended_again,
    concurrent_requests_with_one_key_are_appended_once, keys_expire_as_events_do,
};

/// A storage to be checked.
#[async_trait]
pub trait Subject: Send + Sync {
    /// The storage, as one more process would open it: with connections of its own, if it has any.
    async fn open(&self) -> Arc<dyn Storage>;

    /// Makes all events of this channel up to this one go, as they go when they are too old. By
    /// default everything is trimmed that has been appended so far, whatever the channel.
    async fn expire(&self, storage: &dyn Storage, _channel: &str, _up_to: u64) {
        let later = SystemTime::now() + Duration::from_hours(1);
        while storage.trim(later, 1000).await.expect("it trims") > 0 {}
    }

    /// Whether `trim` and `shorten` remove anything. Not if the storage lets events expire by
    /// itself.
    fn trims(&self) -> bool {
        true
    }
}

/// All checks, one after the other.
pub async fn all(subject: &dyn Subject) {
    ids_are_dense_and_answered_in_order(subject).await;
    text_comes_back_as_it_was(subject).await;
    names_that_look_alike_are_different_channels(subject).await;
    large_events_and_batches_come_back_whole(subject).await;
    pages_can_be_read_on_from_any_event(subject).await;
    concurrent_appends_are_dense_and_batches_whole(subject).await;
    what_is_visible_has_no_holes(subject).await;
    expired_events_are_gone_and_the_head_stays(subject).await;
    a_channel_can_be_shortened(subject).await;
    a_closed_storage_can_be_opened_again(subject).await;
    users_who_do_not_get_an_event_come_back_with_it(subject).await;
    a_request_with_a_known_key_is_not_appended_again(subject).await;
    concurrent_requests_with_one_key_are_appended_once(subject).await;
    keys_expire_as_events_do(subject).await;
}

/// The ids of a channel are 1, 2, 3 …, those of a batch are in its order, and the head is the last.
pub async fn ids_are_dense_and_answered_in_order(subject: &dyn Subject) {
    let storage = subject.open().await;
    let [a, b, never] = ["a", "b", "never"].map(channel);
    let batch = [event(&a, "1"), event(&b, "2"), event(&a, "3")];
    assert_eq!(append(&*storage, &batch).await, [1, 1, 2]);
    assert_eq!(append(&*storage, &batch).await, [3, 2, 4]);
    assert!(append(&*storage, &[]).await.is_empty(), "an empty batch");
    assert_eq!(head(&*storage, &a).await, 4);
    assert_eq!(head(&*storage, &never).await, 0, "of a channel that was never used");
    let heads = storage.heads(&[&b, &never, &a, &b]).await.expect("it tells heads");
    assert_eq!(heads, [2, 0, 4, 2]);
    assert!(storage.heads(&[]).await.expect("it tells heads").is_empty());
    assert_eq!(read(&*storage, &a, 1, 2).await, [(2, "3".to_owned()), (3, "1".to_owned())]);
    for after in [4, 5, u64::MAX - 1, u64::MAX] {
        assert_eq!(read(&*storage, &a, after, 2).await, [], "after {after}, which is the end");
    }
    assert_eq!(read(&*storage, &never, 0, 2).await, []);
}

/// Channel, type and data are text and come back as such, unless the storage says why it refuses
/// them.
pub async fn text_comes_back_as_it_was(subject: &dyn Subject) {
    let storage = subject.open().await;
    let long = "é".repeat(255);
    let longer = "😀".repeat(5000);
    let texts = [
        "",
        "\0",
        "a\0b",
        " a\r\nb\t",
        "\u{FEFF}",
        "' \" \\ \\u0041 % $1 ? {} []",
        "\"{\\\"a\\\": 1}\"",
        "null",
        "é😀\u{202E}\u{10FFFF}",
        "a:1",
        &long,
        &longer,
    ];
    for text in texts {
        let name = channel(text);
        let whole = NewEvent::new(name.clone(), text, text);
        // Data may be anything; a channel or a type need not.
        let data_only = event(&channel("data"), text);
        assert_eq!(storage.refuse(&data_only), None, "the data {text:?}");
        let asked = if storage.refuse(&whole).is_some() { &data_only } else { &whole };
        assert_eq!(append(&*storage, std::slice::from_ref(asked)).await, [1], "{text:?}");
        let mut events = storage.read(&asked.channel, 0, 2).await.expect("it reads");
        assert_eq!(events.len(), 1, "{text:?}");
        let event = events.remove(0);
        assert_eq!((&event.event_type, &event.data), (&asked.event_type, &asked.data));
        // A channel that cannot be is one without events, not an error.
        let expected = u64::from(storage.refuse(&whole).is_none());
        assert_eq!(head(&*storage, &name).await, expected, "{text:?}");
        let events = storage.read(&name, 0, 2).await.expect("it reads");
        assert_eq!(events.len() as u64, expected, "{text:?}");
    }
}

/// Names that differ in case, spaces, Unicode form or what a key is made of are different channels.
pub async fn names_that_look_alike_are_different_channels(subject: &dyn Subject) {
    let storage = subject.open().await;
    let base = channel("x");
    let names = ["", " ", ":1", ":1:1", "X", "x", "\u{e9}", "e\u{301}", "%", "_", "*"]
        .map(|end| Arc::from(format!("{base}{end}")));
    for name in &names {
        append(&*storage, &[event(name, name), event(name, "")]).await;
    }
    for name in &names {
        let expected = [(1, name.to_string()), (2, String::new())];
        assert_eq!(read(&*storage, name, 0, 10).await, expected, "{name:?}");
    }
}

/// A megabyte is an event, and a thousand events are a batch.
pub async fn large_events_and_batches_come_back_whole(subject: &dyn Subject) {
    let storage = subject.open().await;
    let [large, many] = ["large", "many"].map(channel);
    let data = "x\u{e9}\"".repeat(1 << 18);
    append(&*storage, &[event(&large, &data)]).await;
    assert!(read(&*storage, &large, 0, 1).await == [(1, data)], "the data of a large event");
    let batch: Vec<_> = (1..=1000).map(|n: u64| event(&many, &n.to_string())).collect();
    assert_eq!(append(&*storage, &batch).await, (1..=1000).collect::<Vec<u64>>());
    assert_eq!(
        read_on(&*storage, &many, 0, 300).await,
        (1..=1000).map(|n| (n, n.to_string())).collect::<Vec<_>>()
    );
}

/// Reading in pages of any size, from any event on, gives every later event once.
pub async fn pages_can_be_read_on_from_any_event(subject: &dyn Subject) {
    let storage = subject.open().await;
    let name = channel("pages");
    let batch: Vec<_> = (1..=25).map(|n: u64| event(&name, &n.to_string())).collect();
    append(&*storage, &batch).await;
    for limit in [1, 7, 24, 25, 26, usize::MAX] {
        let page = storage.read(&name, 0, limit).await.expect("it reads");
        assert!(page.len() <= limit, "{} of at most {limit} events", page.len());
        for after in [0, 1, 24] {
            let expected: Vec<_> = (after + 1..=25).map(|n| (n, n.to_string())).collect();
            assert_eq!(read_on(&*storage, &name, after, limit).await, expected, "by {limit}");
        }
    }
}

/// However many processes append, and to however many channels at once, no id is used twice, none
/// is left out, and the events of a batch stay together.
pub async fn concurrent_appends_are_dense_and_batches_whole(subject: &dyn Subject) {
    const APPENDERS: u64 = 8;
    const BATCHES: u64 = 25;
    let names = ["one", "two", "three"].map(channel);
    let mut appending = Vec::new();
    for appender in 0..APPENDERS {
        let storage = subject.open().await;
        let mut names = names.clone();
        // In another order each, for who takes locks in the order of the events.
        names.rotate_left(usize::try_from(appender % 3).expect("small"));
        appending.push(tokio::spawn(async move {
            for batch in 0..BATCHES {
                let data = format!("{appender} {batch}");
                let of = |name: &Arc<str>| [event(name, &data), event(name, &data)];
                let batch: Vec<_> = names.iter().flat_map(of).collect();
                let ids = append(&*storage, &batch).await;
                assert!(
                    ids.chunks(2).all(|pair| pair[1] == pair[0] + 1),
                    "something got in between: {ids:?}"
                );
            }
            storage.close().await;
        }));
    }
    for appending in appending {
        appending.await.expect("appended");
    }
    let storage = subject.open().await;
    let total = APPENDERS * BATCHES * 2;
    for name in &names {
        assert_eq!(head(&*storage, name).await, total);
        let events = read_on(&*storage, name, 0, 100).await;
        let ids: Vec<_> = events.iter().map(|(id, _)| *id).collect();
        assert_eq!(ids, (1..=total).collect::<Vec<_>>());
        let data: HashSet<_> = events.iter().map(|(_, data)| data).collect();
        assert_eq!(data.len() as u64, APPENDERS * BATCHES, "every batch is there");
        assert!(events.chunks(2).all(|pair| pair[0].1 == pair[1].1), "batches stay together");
    }
}

/// A reader sees ids without holes while others append: nothing becomes visible before what is
/// before it, and a head is never ahead of the events.
pub async fn what_is_visible_has_no_holes(subject: &dyn Subject) {
    const APPENDERS: u64 = 4;
    const EVENTS: u64 = 50;
    let name = channel("visible");
    let mut appending = Vec::new();
    for _ in 0..APPENDERS {
        let storage = subject.open().await;
        let name = name.clone();
        appending.push(tokio::spawn(async move {
            for _ in 0..EVENTS {
                append(&*storage, &[event(&name, "")]).await;
            }
            storage.close().await;
        }));
    }
    let storage = subject.open().await;
    let mut at = 0;
    while at < APPENDERS * EVENTS {
        let are_over = appending.iter().all(JoinHandle::is_finished);
        let head = head(&*storage, &name).await;
        let page = read(&*storage, &name, at, 1000).await;
        let ids: Vec<_> = page.iter().map(|(id, _)| *id).collect();
        let dense: Vec<_> = (at + 1..).take(ids.len()).collect();
        assert_eq!(ids, dense, "read after {at}");
        at += ids.len() as u64;
        assert!(at >= head, "the head is {head}, but events can be read only up to {at}");
        if are_over {
            // All of it is there, or one of them has failed and says why.
            break;
        }
        tokio::task::yield_now().await;
    }
    for appending in appending {
        appending.await.expect("appended");
    }
    assert_eq!(at, APPENDERS * EVENTS, "all can be read");
}

/// Events that have expired are not read any more; the head stays, and ids go on from it.
pub async fn expired_events_are_gone_and_the_head_stays(subject: &dyn Subject) {
    let storage = subject.open().await;
    let [quiet, busy] = ["quiet", "busy"].map(channel);
    append(&*storage, &[event(&quiet, "1"), event(&busy, "1"), event(&busy, "2")]).await;
    if subject.trims() {
        let long_ago = SystemTime::now() - Duration::from_hours(1);
        storage.trim(long_ago, 1000).await.expect("it trims");
        assert_eq!(read(&*storage, &busy, 0, 9).await.len(), 2, "they are not old enough");
        let later = SystemTime::now() + Duration::from_hours(1);
        assert_eq!(storage.trim(later, 1).await.expect("it trims"), 1, "one, as was asked for");
    }
    subject.expire(&*storage, &quiet, 1).await;
    subject.expire(&*storage, &busy, 2).await;
    for (name, old_head) in [(&quiet, 1), (&busy, 2)] {
        assert_eq!(read(&*storage, name, 0, 9).await, []);
        assert_eq!(head(&*storage, name).await, old_head, "it outlives the events");
    }
    assert_eq!(append(&*storage, &[event(&busy, "3")]).await, [3]);
    // A reader that had seen everything goes on; one that had not can tell by the id.
    assert_eq!(read(&*storage, &busy, 2, 9).await, [(3, "3".to_owned())]);
    assert_ne!(read(&*storage, &busy, 0, 9).await.first().map(|(id, _)| *id), Some(1));
    assert_eq!(head(&*storage, &quiet).await, 1);
}

/// A channel with too many events loses the oldest, in bounded steps; others lose nothing.
pub async fn a_channel_can_be_shortened(subject: &dyn Subject) {
    if !subject.trims() {
        return;
    }
    let storage = subject.open().await;
    let [long, short] = ["long", "short"].map(channel);
    let batch: Vec<_> = (1..=20).map(|n: u64| event(&long, &n.to_string())).collect();
    append(&*storage, &batch).await;
    append(&*storage, &batch[..5].iter().map(|_| event(&short, "")).collect::<Vec<_>>()).await;
    let mut steps = 0;
    loop {
        let removed = storage.shorten(5, 4).await.expect("it trims");
        assert!(removed <= 4, "{removed} in one step");
        if removed == 0 {
            break;
        }
        steps += 1;
    }
    assert!(steps >= 4, "15 events in steps of 4: {steps}");
    let expected: Vec<_> = (16..=20).map(|n| (n, n.to_string())).collect();
    assert_eq!(read(&*storage, &long, 15, 99).await, expected);
    assert_ne!(read(&*storage, &long, 14, 99).await.first().map(|(id, _)| *id), Some(15));
    assert_eq!(read(&*storage, &short, 0, 99).await.len(), 5);
    assert_eq!(append(&*storage, &[event(&long, "21")]).await, [21]);
}

/// What was appended before a storage was closed is there when it is opened again.
pub async fn a_closed_storage_can_be_opened_again(subject: &dyn Subject) {
    let storage = subject.open().await;
    let name = channel("reopened");
    append(&*storage, &[event(&name, "1")]).await;
    storage.close().await;
    drop(storage);
    let storage = subject.open().await;
    assert_eq!(read(&*storage, &name, 0, 9).await, [(1, "1".to_owned())]);
    assert_eq!(append(&*storage, &[event(&name, "2")]).await, [2]);
    storage.close().await;
}

/// Who does not get an event is stored with it.
pub async fn users_who_do_not_get_an_event_come_back_with_it(subject: &dyn Subject) {
    let storage = subject.open().await;
    let name = channel("skip");
    let lists = [vec![], vec!["u1"], vec!["7", "é \"'\\", "a,b", ""], vec![]];
    let lists = lists.map(|list| list.into_iter().map(str::to_owned).collect::<Vec<_>>());
    let batch: Vec<_> =
        lists.iter().map(|list| event(&name, "").skip_users(list.clone())).collect();
    append(&*storage, &batch).await;
    let read = subject.open().await.read(&name, 0, 9).await.expect("it reads");
    let read: Vec<_> = read.into_iter().map(|event| event.skip_users).collect();
    assert_eq!(read, lists);
}

/// A name that no other test uses, and that ends like this.
fn channel(end: &str) -> Arc<str> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
    format!("{:x}-{time:x}-{count:x}-{end}", std::process::id()).into()
}

fn event(channel: &Arc<str>, data: &str) -> NewEvent {
    NewEvent::new(channel.clone(), "message", data)
}

async fn append(storage: &dyn Storage, events: &[NewEvent]) -> Vec<u64> {
    storage.append(events).await.expect("it appends")
}

async fn head(storage: &dyn Storage, channel: &str) -> u64 {
    storage.head(channel).await.expect("it tells the head")
}

/// The ids and data of one page.
async fn read(
    storage: &dyn Storage,
    channel: &str,
    after: u64,
    limit: usize,
) -> Vec<(u64, String)> {
    let events = storage.read(channel, after, limit).await.expect("it reads");
    events.into_iter().map(|event| (event.id, event.data)).collect()
}

/// The ids and data of everything after a position, page by page.
async fn read_on(
    storage: &dyn Storage,
    channel: &str,
    mut after: u64,
    limit: usize,
) -> Vec<(u64, String)> {
    let mut events = Vec::new();
    loop {
        let page = read(storage, channel, after, limit).await;
        let Some((last, _)) = page.last() else { return events };
        after = *last;
        events.extend(page);
    }
}
