//! SQLite beside a simple model: any sequence of operations.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use arbitrary::{Arbitrary, Unstructured};
use sse_server::storage::{NewEvent, SqliteStorage, Storage, StoredEvent};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

#[derive(Arbitrary, Debug)]
enum Operation<'a> {
    Append(Vec<(u8, &'a str, &'a str)>),
    Head(u8),
    Heads(Vec<u8>),
    Read {
        channel: u8,
        after: u8,
        limit: u8,
    },
    /// A position far beyond.
    ReadFar {
        channel: u8,
        after: u64,
    },
    TrimAll(u8),
    TrimNothing,
    Shorten {
        keep: u8,
        limit: u8,
    },
    Reopen,
}

/// Names that might be taken for each other, or for something else.
const CHANNELS: [&str; 6] = ["a", "A", "a ", "", "a%", "\u{e9}'--"];

/// The events of a channel that are left, and the last id that was given.
#[derive(Default)]
struct Channel {
    head: u64,
    events: Vec<StoredEvent>,
}

/// In memory where the system has a file system for that: what counts here is not the disk.
fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    folder.or_else(|_| tempfile::tempdir()).expect("a temporary folder")
}

thread_local! {
    static RUNTIME: RefCell<Option<Runtime>> = const { RefCell::new(None) };
}

pub(crate) fn run(data: &[u8]) {
    let Ok(operations) = Vec::arbitrary_take_rest(Unstructured::new(data)) else { return };
    if operations.is_empty() {
        return;
    }
    RUNTIME.with_borrow_mut(|runtime| {
        let new = || Builder::new_current_thread().enable_all().build().expect("a runtime");
        let folder = folder();
        let path = folder.path().join("events.db");
        runtime.get_or_insert_with(new).block_on(compare(&path, &operations));
    });
}

async fn open(path: &Path) -> SqliteStorage {
    SqliteStorage::open(PathBuf::from(path)).await.expect("it opens")
}

async fn compare(path: &Path, operations: &[Operation<'_>]) {
    let mut storage = open(path).await;
    let mut model: BTreeMap<&str, Channel> = BTreeMap::new();
    let name = |channel: u8| CHANNELS[usize::from(channel) % CHANNELS.len()];
    // The clock counts milliseconds; an hour makes sure of what is before and what after.
    let hour = Duration::from_hours(1);
    for operation in operations.iter().take(40) {
        match operation {
            Operation::Append(events) => {
                let mut batch = Vec::new();
                let mut expected = Vec::new();
                for &(channel, event_type, data) in events {
                    let channel = name(channel);
                    batch.push(new_event(channel, event_type, data));
                    expected.push(model.entry(channel).or_default().append(event_type, data));
                }
                assert_eq!(storage.append(&batch).await.expect("it appends"), expected);
            }
            &Operation::Head(channel) => {
                let expected = model.get(name(channel)).map_or(0, |channel| channel.head);
                assert_eq!(storage.head(name(channel)).await.expect("it tells"), expected);
            }
            Operation::Heads(channels) => {
                let names: Vec<_> = channels.iter().map(|&channel| name(channel)).collect();
                let head = |name: &&str| model.get(name).map_or(0, |channel| channel.head);
                let expected: Vec<_> = names.iter().map(head).collect();
                assert_eq!(storage.heads(&names).await.expect("it tells"), expected);
            }
            &Operation::Read { channel, after, limit } => {
                read(&storage, &model, name(channel), after.into(), limit.into()).await;
            }
            &Operation::ReadFar { channel, after } => {
                read(&storage, &model, name(channel), after, 10).await;
            }
            &Operation::TrimAll(limit) => {
                let later = SystemTime::now() + hour;
                let trimmed = storage.trim(later, limit.into()).await.expect("it trims");
                let all: usize = model.values().map(|channel| channel.events.len()).sum();
                assert_eq!(trimmed, all.min(limit.into()), "of {all}");
                forget(&storage, &mut model).await;
            }
            Operation::TrimNothing => {
                let before = SystemTime::now() - hour;
                assert_eq!(storage.trim(before, 1000).await.expect("it trims"), 0);
            }
            &Operation::Shorten { keep, limit } => {
                let excess = |channel: &Channel| {
                    let id = channel.head.saturating_sub(keep.into());
                    channel.events.iter().filter(|event| event.id <= id).count()
                };
                let expected = model.values().map(excess).sum::<usize>().min(limit.into());
                let removed = storage.shorten(keep.into(), limit.into()).await.expect("it trims");
                assert_eq!(removed, expected);
                forget(&storage, &mut model).await;
            }
            Operation::Reopen => {
                storage.close().await;
                storage = open(path).await;
            }
        }
    }
    for name in CHANNELS {
        read(&storage, &model, name, 0, usize::MAX).await;
    }
    storage.close().await;
}

impl Channel {
    fn append(&mut self, event_type: &str, data: &str) -> u64 {
        self.head += 1;
        self.events.push(StoredEvent::new(self.head, event_type, data));
        self.head
    }
}

fn new_event(channel: &str, event_type: &str, data: &str) -> NewEvent {
    NewEvent::new(channel, event_type, data)
}

async fn read(
    storage: &SqliteStorage,
    model: &BTreeMap<&str, Channel>,
    name: &str,
    after: u64,
    limit: usize,
) {
    let events = model.get(name).map_or(&[][..], |channel| &channel.events);
    let expected: Vec<_> = events.iter().filter(|event| event.id > after).take(limit).collect();
    let found = storage.read(name, after, limit).await.expect("it reads");
    assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{name:?} after {after}");
}

/// Which events a trim takes is up to the storage, as long as they are the oldest of their
/// channels: what is left is the end of what there was.
async fn forget(storage: &SqliteStorage, model: &mut BTreeMap<&str, Channel>) {
    for (name, channel) in model {
        let left = storage.read(name, 0, usize::MAX).await.expect("it reads");
        let gone = channel.events.len() - left.len();
        assert_eq!(left, channel.events[gone..], "{name:?} has a hole, or lost its end");
        channel.events = left;
    }
}
