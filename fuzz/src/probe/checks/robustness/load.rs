//! Many connections, and slow ones.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::sleep;

use super::process::{descriptors, memory, released};
use crate::probe::checks::http2::{refused, stream};
use crate::probe::context::{Probe, after, is_own};
use crate::probe::finding::{Finding, Judged};
use crate::probe::publish::{Fields, Published};
use crate::wire::connection::Connection;
use crate::wire::http2::Http2;
use crate::wire::tape::Tape;

/// How many stand still at once, and how much is published meanwhile.
const READERS: usize = 16;
const EVENTS: usize = 100;
const EVENT: usize = 64 << 10;

/// What such a reader's socket takes, in bytes.
const WINDOW: u32 = 4096;

/// More than this is kept for those that do not read.
const MEMORY: u64 = 64 << 20;

async fn still(probe: &Probe) -> Result<Connection, Finding> {
    let request = probe.ask().bytes();
    let opened = Connection::open_with(&probe.target, request, Some(WINDOW)).await;
    let mut connection = opened
        .map_err(|error| Finding::inconclusive(format!("no connection could be made: {error}")))?;
    connection.read_head(after(Duration::from_secs(4))).await;
    Ok(connection)
}

/// Publishes more than sockets hold.
async fn flood(probe: &Probe) -> Result<String, Finding> {
    let Some(hook) = probe.hook() else {
        let text = "without a way to publish, sockets do not fill up in time";
        return Err(Finding::inconclusive(text));
    };
    let mut last = String::new();
    for _ in 0..EVENTS {
        last = probe.word();
        let data = format!("{last} {}", "x".repeat(EVENT));
        let fields =
            Fields::default().with("data", data).with("event", "message").with("id", &last);
        let why = match hook.publish(&fields).await {
            Ok(Published::Accepted) => continue,
            Ok(Published::Refused(why)) => why,
            Ok(Published::Unsayable(why)) => why.to_owned(),
            Err(error) => error.to_string(),
        };
        return Err(Finding::inconclusive(format!("64 KiB cannot be published: {why}")));
    }
    Ok(last)
}

/// Has readers stand still while more is published than their sockets hold. Then looks, knowing
/// whether the witness got it, while they are still there.
async fn standstill<T>(probe: &Probe, look: impl FnOnce(bool) -> T) -> Result<T, Finding> {
    let mut readers = Vec::new();
    for _ in 0..READERS {
        readers.push(still(probe).await?);
    }
    let last = flood(probe).await?;
    let has = |tape: &Tape| tape.events.iter().rev().any(|event| event.data.starts_with(&last));
    let came = probe.watched().until(after(Duration::from_secs(10)), has).await;
    let seen = look(came);
    drop(readers);
    Ok(seen)
}

pub(super) async fn slow_readers(probe: &Probe) -> Judged {
    let came = standstill(probe, |came| came).await?;
    let fault =
        (!came).then(|| format!("{READERS} readers stand still, and the witness gets nothing"));
    Ok(Finding::of(fault).of_time())
}

pub(super) async fn slow_readers_memory(probe: &Probe) -> Judged {
    // What the events cost by themselves is not the readers' fault.
    flood(probe).await?;
    let before = memory(probe)?;
    let grown = standstill(probe, |_| memory(probe)).await??.saturating_sub(before);
    let text = format!("{READERS} readers that stand still cost {} MiB", grown >> 20);
    Ok(if grown > MEMORY { Finding::fault(text) } else { Finding::pass_with(text) })
}

/// How many readers by HTTP/2 take one byte each.
const NARROW: usize = 64;

pub(super) async fn narrow_windows(probe: &Probe) -> Judged {
    flood(probe).await?;
    let before = memory(probe)?;
    let mut http2 = Http2::open(&probe.target, 1).await.map_err(refused)?;
    let mut readers = Vec::new();
    for _ in 0..NARROW {
        match stream(probe, &mut http2).await? {
            Ok(stream) => readers.push(stream),
            // It may have had enough of them.
            Err(_) => break,
        }
    }
    let last = flood(probe).await?;
    let has = |tape: &Tape| tape.events.iter().rev().any(|event| event.data.starts_with(&last));
    probe.watched().until(after(Duration::from_secs(10)), has).await;
    let grown = memory(probe)?.saturating_sub(before);
    let text = format!("{} readers that take a byte each cost {} MiB", readers.len(), grown >> 20);
    Ok(if grown > MEMORY { Finding::fault(text) } else { Finding::pass_with(text) })
}

/// How many connect at once. No system's default for a queue of connections is as long.
const AT_ONCE: usize = 512;

/// A client whose first packet found no place sends it again after a second.
const AGAIN: Duration = Duration::from_millis(900);

pub(super) async fn backlog(probe: &Probe) -> Judged {
    if probe.target.is_https() {
        return Ok(Finding::skip("handshakes take time of their own"));
    }
    let mut connects = JoinSet::new();
    for _ in 0..AT_ONCE {
        let target = probe.target.clone();
        connects.spawn(async move {
            let begun = Instant::now();
            (Connection::open(&target, Vec::new()).await, begun.elapsed())
        });
    }
    let mut held_up = Duration::ZERO;
    let connected = tokio::select! {
        connected = connects.join_all() => connected,
        () = note_delays(&mut held_up) => Vec::new(),
    };
    let failed = connected.iter().find_map(|(connected, _)| connected.as_ref().err());
    if let Some(error) = failed {
        return Ok(Finding::inconclusive(format!("not all connections could be made: {error}")));
    }
    let late = connected.iter().filter(|(_, took)| *took > AGAIN).count();
    let text = format!("of {AT_ONCE} connections at once, {late} had to try again");
    if late > 0 && held_up > AGAIN / 3 {
        let text = format!(
            "{text}, or were late since the probe itself was held up for {} ms",
            held_up.as_millis()
        );
        return Ok(Finding::inconclusive(text));
    }
    Ok(Finding::of((late > 0).then_some(text)).of_time())
}

/// Notes, for as long as it runs, the longest time for which this process was held up.
async fn note_delays(most: &mut Duration) {
    const BEAT: Duration = Duration::from_millis(20);
    loop {
        let due = Instant::now() + BEAT;
        sleep(BEAT).await;
        *most = (*most).max(due.elapsed());
    }
}

pub(super) async fn zero_window(probe: &Probe) -> Judged {
    let mut reader = still(probe).await?;
    let last = flood(probe).await?;
    let has = |tape: &Tape| tape.events.iter().rev().any(|event| event.data.starts_with(&last));
    probe.watched().until(after(Duration::from_secs(10)), has).await;
    reader.until(after(Duration::from_secs(10)), has).await;
    let ids = |tape: &Tape| {
        let own = tape.events.iter().filter(|event| is_own(event));
        own.filter_map(|event| event.id.clone()).collect::<Vec<_>>()
    };
    let got = ids(&reader.tape);
    let is_told = reader.tape.events.iter().any(|event| event.event.contains("reset"));
    let truth = ids(&probe.watched().tape());
    let range = got.first().zip(got.last()).and_then(|(first, last)| {
        let place = |id: &String| truth.iter().position(|other| other == id);
        Some((place(first)?, place(last)?))
    });
    let Some((first, last)) = range else {
        return Ok(Finding::inconclusive("too few events with ids came to both to compare"));
    };
    let missing = (last + 1).saturating_sub(first).saturating_sub(got.len());
    let finding = if missing > 0 && !is_told {
        Finding::fault(format!("after a pause {missing} events are missing, and nothing says so"))
    } else if reader.tape.end.is_some() {
        Finding::pass_with("it cuts the slow reader off, which can resume")
    } else {
        Finding::pass()
    };
    Ok(finding)
}

pub(super) async fn half_close(probe: &Probe) -> Judged {
    probe.lively(1).await?;
    let mut connection = probe.head(&probe.ask()).await?;
    if connection.half_close().await.is_err() {
        return Ok(Finding::inconclusive("the connection was closed already"));
    }
    let seen = connection.tape.events.len();
    let witnessed = probe.watched().tape().events.len();
    // By now nothing is published unless it is asked for.
    for _ in 0..if probe.hook().is_some() { 2 } else { 0 } {
        drop(probe.publish_pulse().await);
    }
    let deadline = after(probe.settings.wait);
    if !probe.watched().until(deadline, |tape| tape.events.len() > witnessed + 1).await {
        return Ok(Finding::inconclusive("the stream is too quiet to see whether it goes on"));
    }
    let more = |tape: &Tape| tape.events.len() > seen;
    let goes_on = connection.until(after(Duration::from_secs(1)), more).await;
    let fault = (!goes_on).then(|| "it takes a half-closed connection for closed".to_owned());
    let is_of_time = connection.tape.end.is_none();
    Ok(probe.show(Finding::of(fault).of_time_if(is_of_time), &connection.tape))
}

const RESETS: usize = 100;

async fn reset(probe: &Probe) -> Result<(), Finding> {
    for _ in 0..RESETS {
        probe.head(&probe.ask()).await?.reset();
    }
    Ok(())
}

pub(super) async fn resets(probe: &Probe) -> Judged {
    reset(probe).await?;
    Ok(Finding::pass_with(format!("{RESETS} resets")))
}

pub(super) async fn resets_descriptors(probe: &Probe) -> Judged {
    let before = descriptors(probe)?;
    reset(probe).await?;
    held(probe, before, &format!("{RESETS} resets")).await
}

/// Whether all descriptors have been let go of in time.
async fn held(probe: &Probe, before: usize, what: &str) -> Judged {
    let now = released(probe, before, probe.settings.wait + Duration::from_secs(2)).await?;
    let text = format!("{what}: {before} descriptors before, {now} after");
    let is_held = now > before + 3;
    Ok(if is_held { Finding::fault(text).of_time() } else { Finding::pass_with(text) })
}

pub(super) async fn churn(probe: &Probe) -> Judged {
    const TIMES: usize = 1000;
    let before = descriptors(probe)?;
    for _ in 0..TIMES {
        probe.open(&probe.ask()).await?.close();
    }
    held(probe, before, &format!("{TIMES} connections")).await
}

pub(super) async fn disconnect(probe: &Probe) -> Judged {
    const STREAMS: usize = 20;
    let before = descriptors(probe)?;
    let mut streams = Vec::new();
    for _ in 0..STREAMS {
        streams.push(probe.head(&probe.ask()).await?);
    }
    drop(streams);
    if probe.hook().is_some() {
        // A server that looks only when it writes gets something to write, twice: the first write
        // after the end succeeds.
        for _ in 0..2 {
            drop(probe.publish_pulse().await);
        }
    }
    held(probe, before, &format!("{STREAMS} streams that were left")).await
}

pub(super) async fn streams(probe: &Probe) -> Judged {
    const STREAMS: usize = 64;
    let mut streams = Vec::new();
    for number in 1..=STREAMS {
        let stream = probe.head(&probe.ask()).await?;
        if !stream.tape.is_stream() {
            let how =
                stream.tape.status().map_or("not answered".to_owned(), |status| status.to_string());
            let text = format!("stream {number} of {STREAMS} at once: {how}");
            let finding = Finding::fault(text).of_time_if(stream.tape.is_unanswered());
            return Ok(probe.show(finding, &stream.tape));
        }
        streams.push(stream);
    }
    Ok(Finding::pass_with(format!("{STREAMS} at once")))
}
