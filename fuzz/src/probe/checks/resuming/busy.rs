//! Many publish at the same time: all that is accepted comes to every reader, once, and in an order
//! that agrees with the order of publishing. Some servers go wrong here that make no mistake
//! otherwise.
//!
//! The truth is not the witness, which may be served as badly as the others, but what was
//! published: each event has a word of its own, and is accepted at a time that is known.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::busy_faults::{Faults, Kind, Reader, Readers, Sent, judge as judged};
use super::events::{is_reset, recent_id};
use crate::probe::ask::Ask;
use crate::probe::context::{Probe, after};
use crate::probe::finding::{Exchange, Finding, Judged};
use crate::probe::publish::{Fields, Hook, Published};
use crate::wire::connection::Connection;
use crate::wire::tape::Tape;
use crate::wire::target::Target;

/// How many publish at the same time, how much in all, and for how long at most. Processes cost
/// more than connections.
const LANES: usize = 64;
const COMMAND_LANES: usize = 16;
const EVENTS: usize = 512;
const PUBLISHING: Duration = Duration::from_secs(7);

/// Readers that are there all the time, that come meanwhile, and that are cut again and again.
const STEADY: usize = 12;
const LATE: usize = 8;
const CUT: usize = 4;

/// How long what was published last may take to come to all.
const CALM: Duration = Duration::from_secs(4);

/// With fewer events than this, nothing was published at the same time.
const ENOUGH: usize = 24;

/// With fewer, the absence of a fault says little. With `--thorough` it is as many times more.
const SURE: usize = 128;

/// What has come of it, for all checks that look at it.
#[derive(Clone, Debug)]
struct Busy {
    faults: Faults,
    lanes: usize,
    accepted: usize,
    evidence: BTreeMap<Kind, Vec<Exchange>>,
    /// Why the resumed readers say nothing.
    no_ids: bool,
}

pub(super) async fn judge(probe: &Probe, kind: Kind) -> Judged {
    let Some(hook) = probe.hook() else { return Ok(Finding::skip("there is no way to publish")) };
    probe.hook_works().await?;
    let shared = probe.shared::<Busy>();
    let busy = shared.get_or_try_init(|| run(probe, hook)).await?;
    if busy.no_ids && kind.is_resuming() {
        return Ok(Finding::skip("its events have no ids, so clients cannot resume"));
    }
    let Some(mut finding) = busy.faults.of(kind) else {
        let (accepted, lanes) = (busy.accepted, busy.lanes);
        let rests_on = format!("{accepted} events, {lanes} at a time");
        let sure = probe.settings.times(SURE);
        if accepted >= sure {
            return Ok(Finding::pass_with(rests_on));
        }
        return Ok(Finding::inconclusive(format!(
            "no fault in {rests_on}, which is too little to say that there is none: {sure} are \
             asked for, and publishing was too slow for that"
        )));
    };
    finding.exchanges = busy.evidence.get(&kind).cloned().unwrap_or_default();
    Ok(finding)
}

async fn run(probe: &Probe, hook: &Hook) -> Result<Busy, Finding> {
    let more = probe.settings.times(1);
    let publishing_for = PUBLISHING * u32::try_from(more).unwrap_or(1);
    let end = Instant::now() + publishing_for + CALM * 2;
    let last = probe.word();
    let mut readers = JoinSet::new();
    for connection in steady(probe).await? {
        readers.spawn(read(connection, Instant::now(), last.clone(), end));
    }
    let id = recent_id(probe, 0);
    let no_ids = id.is_none();
    let mut cut = JoinSet::new();
    let mut random = fastrand::Rng::with_seed(probe.settings.seed);
    for _ in 0..if no_ids { 0 } else { CUT } {
        let reader = Cut {
            target: probe.target.clone(),
            ask: probe.ask(),
            id: id.clone().unwrap_or_default(),
            random: random.fork(),
            last: last.clone(),
            end,
        };
        cut.spawn(reader.read());
    }
    let until = after(publishing_for);
    let lanes = match hook {
        Hook::Command(_) => COMMAND_LANES,
        Hook::Url { .. } => LANES,
    };
    let mut publishing = JoinSet::new();
    for _ in 0..lanes {
        let words = (0..more * EVENTS / lanes).map(|_| probe.word()).collect();
        publishing.spawn(publish(hook.clone(), words, until));
    }
    let mut late = JoinSet::new();
    for _ in 0..LATE {
        sleep(Duration::from_millis(80)).await;
        let connection = probe.head(&probe.ask()).await?;
        if connection.tape.is_stream() {
            late.spawn(read(connection, Instant::now(), last.clone(), end));
        }
    }
    let mut sent: Vec<Sent> = publishing.join_all().await.into_iter().flatten().collect();
    let accepted = sent.iter().filter(|sent| sent.is_accepted).count();
    if accepted < ENOUGH {
        let text = format!(
            "only {accepted} events were accepted within {} s: too slow, or refused",
            publishing_for.as_secs()
        );
        return Err(Finding::inconclusive(text));
    }
    // By this one the readers know that nothing more is to come.
    let begun = Instant::now();
    let fields = Fields::default().with("data", &last).with("event", "message").with("id", &last);
    let is_accepted = matches!(hook.publish(&fields).await, Ok(Published::Accepted));
    if !is_accepted {
        return Err(Finding::inconclusive("after many events at once, one more was not accepted"));
    }
    sent.push(Sent { word: last, begun, done: Instant::now(), is_accepted });
    let readers = Readers {
        steady: readers.join_all().await,
        late: late.join_all().await,
        cut: cut.join_all().await,
    };
    let faults = judged(&sent, &readers);
    let evidence = faults
        .places(&readers)
        .into_iter()
        .map(|(kind, tapes)| {
            let shown = tapes.iter().map(|tape| Exchange::of(&probe.target, tape)).collect();
            (kind, shown)
        })
        .collect();
    Ok(Busy { faults, lanes, accepted, evidence, no_ids })
}

/// Streams that are live for certain: each has got an event already.
async fn steady(probe: &Probe) -> Result<Vec<Connection>, Finding> {
    let mut connections = Vec::new();
    for _ in 0..STEADY {
        let connection = probe.head(&probe.ask()).await?;
        if connection.tape.is_stream() {
            connections.push(connection);
        }
    }
    let word = probe
        .publish_pulse()
        .await
        .map_err(|why| Finding::inconclusive(format!("publishing does not work: {why}")))?;
    let has = |tape: &Tape| tape.events.iter().any(|event| event.data.contains(&word));
    let deadline = after(CALM);
    let mut live = Vec::new();
    for mut connection in connections {
        if connection.until(deadline, has).await {
            live.push(connection);
        }
    }
    if live.is_empty() {
        let text = "what is published does not come: is it the stream's channel?";
        return Err(Finding::inconclusive(text));
    }
    Ok(live)
}

async fn publish(hook: Hook, words: Vec<String>, until: Instant) -> Vec<Sent> {
    let mut sent = Vec::new();
    for word in words {
        let begun = Instant::now();
        if begun > until {
            break;
        }
        let fields =
            Fields::default().with("data", &word).with("event", "message").with("id", &word);
        let is_accepted = matches!(hook.publish(&fields).await, Ok(Published::Accepted));
        sent.push(Sent { word, begun, done: Instant::now(), is_accepted });
    }
    sent
}

fn has(tape: &Tape, word: &str) -> bool {
    tape.events.iter().rev().take(64).any(|event| event.data.contains(word))
}

/// Reads until what was published last has come, and a moment longer.
async fn read(mut connection: Connection, since: Instant, last: String, end: Instant) -> Reader {
    connection.until(end, |tape| has(tape, &last)).await;
    connection.until(after(Duration::from_millis(500)), |tape| tape.end.is_some()).await;
    let is_told = connection.tape.events.iter().any(is_reset);
    Reader { since, is_told, tapes: vec![connection.close()], refused: None }
}

/// One that comes back with its last id, again and again.
struct Cut {
    target: Target,
    ask: Ask,
    id: String,
    random: fastrand::Rng,
    last: String,
    end: Instant,
}

impl Cut {
    async fn read(mut self) -> Reader {
        let since = Instant::now();
        let mut reader = Reader { since, is_told: false, tapes: Vec::new(), refused: None };
        while Instant::now() < self.end {
            let ask = self.ask.clone().with("Last-Event-ID", &self.id);
            let Ok(mut connection) = Connection::open(&self.target, ask.bytes()).await else {
                break;
            };
            connection.read_head(after(Duration::from_secs(4))).await;
            if !connection.tape.is_stream() {
                let status = connection.tape.status().map(|status| status.to_string());
                let how = status.unwrap_or_else(|| "nothing".to_owned());
                reader.refused =
                    Some(format!("resuming after {:?} is answered with {how}", self.id));
                reader.tapes.push(connection.close());
                break;
            }
            let wanted = self.random.usize(1..6);
            let last = self.last.clone();
            let enough = |tape: &Tape| {
                has(tape, &last)
                    || tape.events.iter().filter(|event| event.id.is_some()).count() >= wanted
            };
            connection.until(after(Duration::from_millis(600)), enough).await;
            if let Some(id) = connection.tape.last_id() {
                id.clone_into(&mut self.id);
            }
            reader.is_told |= connection.tape.events.iter().any(is_reset);
            let is_over = has(&connection.tape, &last);
            reader.tapes.push(connection.leave().await);
            if is_over {
                break;
            }
            sleep(Duration::from_millis(self.random.u64(0..40))).await;
        }
        reader
    }
}
