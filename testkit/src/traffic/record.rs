//! What publishers and readers have seen, and what must agree.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sse_proto::Cursor;
use tokio::sync::RwLock;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

/// How much is remembered of what has happened, and how much of it is shown when something is
/// wrong.
const REMEMBERED: usize = 50_000;
const SHOWN: usize = 300;

/// How long readers may take to get what there is.
const PATIENCE: Duration = Duration::from_mins(1);

/// What an event carries: its channel, and a mark that no other event has.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Payload {
    pub channel: String,
    /// Who has published it, in which request, and where in that: `1-20-0`.
    pub mark: String,
}

pub struct Record {
    /// How to have the same choices again.
    again: String,
    round: AtomicU64,
    start: Instant,
    /// The events of each request.
    attempted: Mutex<Vec<Vec<Payload>>>,
    /// By event id, as the server has acknowledged it.
    acknowledged: Mutex<HashMap<String, Payload>>,
    /// By channel, as the first reader to get there has read it. All others must read the same.
    logs: Mutex<HashMap<String, Vec<Payload>>>,
    /// How far each reader has read each of its channels.
    readers: Mutex<Vec<HashMap<String, u64>>>,
    deliveries: AtomicU64,
    history: Mutex<VecDeque<Entry>>,
    /// Held by a publisher while it waits for an answer.
    pub traffic: RwLock<()>,
    pub is_over: AtomicBool,
}

struct Entry {
    at: Duration,
    round: u64,
    /// None: it is of interest for all.
    channel: Option<String>,
    text: String,
}

impl Record {
    /// `again`: how to have the same choices again.
    pub fn new(again: String) -> Self {
        Self {
            again,
            round: AtomicU64::new(0),
            start: Instant::now(),
            attempted: Mutex::default(),
            acknowledged: Mutex::default(),
            logs: Mutex::default(),
            readers: Mutex::default(),
            deliveries: AtomicU64::new(0),
            history: Mutex::default(),
            traffic: RwLock::new(()),
            is_over: AtomicBool::new(false),
        }
    }

    /// From now on it is this round.
    pub fn begin_round(&self, round: u64) {
        self.round.store(round, Ordering::Relaxed);
    }

    /// A new reader of these channels, and its number.
    pub fn add_reader(&self, channels: &[&str]) -> usize {
        let mut readers = lock(&self.readers);
        readers.push(channels.iter().map(|&channel| (channel.to_owned(), 0)).collect());
        readers.len() - 1
    }

    /// Something has happened to all.
    pub fn note(&self, text: String) {
        if std::env::var_os("SSE_TEST_LOG").is_some() {
            eprintln!("{} ms: {text}", self.start.elapsed().as_millis());
        }
        self.remember(None, text);
    }

    pub fn attempt(&self, payloads: &[Payload]) {
        lock(&self.attempted).push(payloads.to_vec());
        for payload in payloads {
            self.remember(Some(payload), "attempted".to_owned());
        }
    }

    pub fn acknowledge(&self, id: &str, payload: &Payload) {
        self.remember(Some(payload), format!("acknowledged as {id}"));
        let before = lock(&self.acknowledged).insert(id.to_owned(), payload.clone());
        if let Some(before) = before {
            let both = format!("{id} was acknowledged for {} and {}", before.mark, payload.mark);
            self.fail(&payload.channel, &both);
        }
    }

    /// The last event of each channel that was acknowledged.
    pub fn acknowledged_ends(&self) -> HashMap<&'static str, u64> {
        let acknowledged = lock(&self.acknowledged);
        let ends = super::CHANNELS.into_iter().map(|channel| {
            let of_channel = acknowledged.iter().filter(|(_, payload)| payload.channel == channel);
            let position = |id: &str| Cursor::parse(id).expect("an id").position(channel);
            (channel, of_channel.filter_map(|(id, _)| position(id)).max().unwrap_or_default())
        });
        ends.collect()
    }

    pub fn not_acknowledged(&self, payloads: &[Payload], why: &str) {
        for payload in payloads {
            self.remember(Some(payload), format!("not acknowledged: {why}"));
        }
    }

    pub fn opened(&self, reader: usize, last_event_id: &str) {
        self.note(format!("reader {reader} is connected, from {last_event_id:?}"));
    }

    /// A reader has got this event at this position.
    pub fn delivered(&self, reader: usize, position: u64, payload: Payload) {
        self.remember(Some(&payload), format!("delivered to reader {reader} at {position}"));
        let before = {
            let mut readers = lock(&self.readers);
            let at = readers[reader].get_mut(&payload.channel).expect("a channel of this reader");
            std::mem::replace(at, position)
        };
        if position != before + 1 {
            let gap = format!("reader {reader} got {position} after {before}");
            self.fail(&payload.channel, &gap);
        }
        self.deliveries.fetch_add(1, Ordering::Relaxed);
        let index = usize::try_from(position).expect("small") - 1;
        let mut logs = lock(&self.logs);
        let log = logs.entry(payload.channel.clone()).or_default();
        let known = match log.get(index) {
            Some(known) if *known == payload => return,
            Some(known) => known.mark.clone(),
            None => return log.push(payload),
        };
        drop(logs);
        let both = format!("at {position}, reader {reader} got {}, others {known}", payload.mark);
        self.fail(&payload.channel, &both);
    }

    /// Waits until every reader has got everything. `ends` says where channels end.
    pub async fn reach(
        &self,
        tasks: &[JoinHandle<()>],
        mut ends: impl AsyncFnMut() -> Option<HashMap<&'static str, u64>>,
    ) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.still_running(tasks);
            let late = match ends().await {
                None => ("", "the storage does not answer".to_owned()),
                Some(ends) => match self.late(&ends) {
                    None => return,
                    Some(late) => late,
                },
            };
            if Instant::now() >= deadline {
                self.fail(late.0, &late.1);
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Fails if a reader has ended, which it never should.
    pub fn still_running(&self, tasks: &[JoinHandle<()>]) {
        let all = !tasks.iter().any(JoinHandle::is_finished);
        assert!(all, "a reader or publisher has failed; its message is above; {}", self.again);
    }

    /// A reader that has not got everything, with the channel.
    fn late(&self, ends: &HashMap<&'static str, u64>) -> Option<(&'static str, String)> {
        let readers = lock(&self.readers);
        readers.iter().enumerate().find_map(|(reader, at)| {
            let late = ends.iter().find(|(name, end)| at.get(**name).is_some_and(|at| at != *end));
            let (name, end) = late?;
            Some((*name, format!("reader {reader} stays at {}, the end is {end}", at[*name])))
        })
    }

    /// Compares all that was published with all that was read, when there is nothing more to come.
    pub fn check(&self) {
        let logs = lock(&self.logs);
        let attempted = lock(&self.attempted);
        let acknowledged = lock(&self.acknowledged);
        for (id, payload) in &*acknowledged {
            let position = Cursor::parse(id).expect("an id").position(&payload.channel);
            let index = usize::try_from(position.expect("of its channel")).expect("small") - 1;
            let delivered = logs.get(&payload.channel).and_then(|log| log.get(index));
            if delivered != Some(payload) {
                let text = format!("{id} was acknowledged for {payload:?}, and is {delivered:?}");
                self.fail(&payload.channel, &text);
            }
        }
        let mut seen = HashSet::new();
        for payload in logs.values().flatten() {
            if !seen.insert(payload) {
                self.fail(&payload.channel, &format!("{} was delivered twice", payload.mark));
            }
        }
        let mut known = 0;
        for request in &*attempted {
            let count = request.iter().filter(|payload| seen.contains(payload)).count();
            known += count;
            if count != 0 && count != request.len() {
                let text = format!("of {request:?} only {count} were published");
                self.fail(&request[0].channel, &text);
            }
        }
        assert_eq!(known, seen.len(), "something was delivered that was never published");
        self.check_order(&logs, &acknowledged);
        assert!(acknowledged.len() > 10, "the load was too small to show anything");
        println!(
            "{} events attempted, {} acknowledged, {} delivered to each reader of their channel, \
             {} deliveries, {} s",
            attempted.iter().map(Vec::len).sum::<usize>(),
            acknowledged.len(),
            seen.len(),
            self.deliveries.load(Ordering::Relaxed),
            self.start.elapsed().as_secs(),
        );
    }

    /// A request that is sent after an answer is published after that event.
    fn check_order(
        &self,
        logs: &HashMap<String, Vec<Payload>>,
        acknowledged: &HashMap<String, Payload>,
    ) {
        let acknowledged: HashSet<_> = acknowledged.values().collect();
        for (channel, log) in logs {
            let mut last: HashMap<&str, (u64, u64)> = HashMap::new();
            for payload in log.iter().filter(|payload| acknowledged.contains(payload)) {
                let mut parts = payload.mark.split('-');
                let publisher = parts.next().expect("a publisher");
                let mut number = || parts.next().and_then(|part| part.parse().ok());
                let (Some(request), Some(part)) = (number(), number()) else { continue };
                let before = last.insert(publisher, (request, part));
                if before.is_some_and(|before| before > (request, part)) {
                    self.fail(channel, &format!("{} comes after {before:?}", payload.mark));
                }
            }
        }
    }

    /// Ends the test, and says all there is to say about what has happened in this channel; if it
    /// is empty, in all of them.
    pub fn fail(&self, channel: &str, problem: &str) -> ! {
        let history = lock(&self.history);
        let is_of_interest = |entry: &&Entry| {
            channel.is_empty() || entry.channel.as_ref().is_none_or(|known| *known == channel)
        };
        let entries: Vec<_> = history.iter().rev().filter(is_of_interest).take(SHOWN).collect();
        let round = self.round.load(Ordering::Relaxed);
        let mut text = format!("in round {round}: {problem} ({})", self.again);
        write!(text, "\nwhat has happened in {channel:?}: time in ms, round").expect("text");
        for Entry { at, round, text: what, .. } in entries.into_iter().rev() {
            write!(text, "\n{:9} {round:3} {what}", at.as_millis()).expect("text");
        }
        drop(history);
        panic!("{text}\nin round {round}: {problem} ({})", self.again);
    }

    fn remember(&self, payload: Option<&Payload>, text: String) {
        let text = match payload {
            Some(payload) => format!("{} {text}", payload.mark),
            None => text,
        };
        let entry = Entry {
            at: self.start.elapsed(),
            round: self.round.load(Ordering::Relaxed),
            channel: payload.map(|payload| payload.channel.clone()),
            text,
        };
        let mut history = lock(&self.history);
        history.push_back(entry);
        if history.len() > REMEMBERED {
            history.pop_front();
        }
    }
}

/// Even after a failure, which must be reported.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
