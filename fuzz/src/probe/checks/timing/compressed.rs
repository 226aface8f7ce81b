//! Whether compression holds events back. An encoder keeps what it is given until it has enough for
//! a block, unless it is told to flush; some give out each event only with the next one.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::distinct;
use crate::probe::context::{Probe, after, is_own};
use crate::probe::finding::{Finding, Judged};
use crate::wire::connection::Connection;
use crate::wire::tape::Tape;

/// What servers compress with. Only gzip is read; of the others it is seen when bytes come.
const CODINGS: [&str; 4] = ["gzip", "br", "zstd", "deflate"];

/// How long is watched.
const WATCHED: Duration = Duration::from_secs(3);

/// Events that are so far apart do not come together by chance.
const APART: Duration = Duration::from_millis(40);

/// So many events must be that far apart, and as many of ten late, before that is the encoder's
/// doing.
const ENOUGH: usize = 6;
const LATE: usize = 9;

/// What was read in a coding, and how long after the witness the connection was begun.
struct Read {
    coding: &'static str,
    offset: Duration,
    connection: Connection,
}

impl Read {
    async fn open(probe: &Probe, coding: &'static str) -> Result<Option<Self>, Finding> {
        let offset = Instant::now().saturating_duration_since(probe.witness.start());
        let connection = probe.head(&probe.ask().with("Accept-Encoding", coding)).await?;
        let used = probe.head_of(&connection)?.header("content-encoding");
        let is_used = used.is_some_and(|used| used.eq_ignore_ascii_case(coding));
        Ok(is_used.then_some(Self { coding, offset, connection }))
    }

    /// Since when both were there.
    fn begin(&self) -> Duration {
        let headed = self.connection.tape.headed.unwrap_or_default();
        self.offset + headed + Duration::from_millis(200)
    }
}

pub(super) async fn judge(probe: &Probe) -> Judged {
    let mut used = Vec::new();
    for coding in CODINGS {
        used.extend(Read::open(probe, coding).await?.map(|read| read.coding));
    }
    if used.is_empty() {
        return Ok(Finding::pass_with("it does not compress"));
    }
    probe.lively(probe.settings.min_events).await?;
    let deadline = after(WATCHED + Duration::from_millis(200));
    let mut reading = JoinSet::new();
    for coding in used {
        let Some(mut read) = Read::open(probe, coding).await? else { continue };
        reading.spawn(async move {
            read.connection.until(deadline, |_| false).await;
            read
        });
    }
    let mut said = Vec::new();
    for read in reading.join_all().await {
        match judge_one(&probe.witness.tape(), &read) {
            Ok(text) => said.push(text),
            Err(finding) => return Ok(probe.show(finding, &read.connection.tape)),
        }
    }
    Ok(Finding::pass_with(said.join("; ")))
}

/// What there is to say of one coding; `Err` if it is no pass.
fn judge_one(witness: &Tape, read: &Read) -> Result<String, Finding> {
    let (coding, begin) = (read.coding, read.begin());
    let tape = &read.connection.tape;
    let plain = own(witness, Duration::ZERO, begin);
    let times = distinct(plain.values().copied());
    if times < 4 {
        return Err(Finding::inconclusive("too few events came to compare"));
    }
    let packed = if coding == "gzip" {
        let seen = tape.unzipped();
        let seen = seen.map_err(|_| {
            Finding::inconclusive("what is said to be gzip is not (con.compressed)")
        })?;
        if seen.events.is_empty() {
            return Err(Finding::inconclusive("compressed, no event comes (con.compressed)"));
        }
        let packed = own(&seen, read.offset, begin);
        let (compared, late) = behind(&plain, &packed);
        if compared >= ENOUGH && late * 10 >= compared * LATE {
            return Err(Finding::fault(format!(
                "with {coding}, {late} of {compared} events came only when the next one did: flush \
                 the encoder after each"
            ))
            .of_time());
        }
        distinct(packed.into_values())
    } else {
        let marks = tape.marks.iter().map(|mark| mark.at + read.offset);
        distinct(marks.filter(|at| *at > begin))
    };
    let text = format!("with {coding}, events came at {packed} times, plain at {times}");
    if packed * 3 < times { Err(Finding::fault(text).of_time()) } else { Ok(text) }
}

/// When events came that can be told apart, by id.
fn own(tape: &Tape, offset: Duration, begin: Duration) -> BTreeMap<String, Duration> {
    let own = tape.events.iter().filter(|event| is_own(event));
    let times = own.map(|event| (event.id.clone().unwrap_or_default(), event.at + offset));
    times.filter(|(_, at)| *at > begin).collect()
}

/// Of the events that have a next one some time later: how many were compared, and how many came
/// only with the next.
fn behind(
    plain: &BTreeMap<String, Duration>,
    packed: &BTreeMap<String, Duration>,
) -> (usize, usize) {
    let mut times: Vec<_> = plain.iter().map(|(id, at)| (*at, id)).collect();
    times.sort();
    let apart = times.windows(2).filter(|pair| pair[1].0.saturating_sub(pair[0].0) >= APART);
    let compared: Vec<bool> =
        apart.filter_map(|pair| Some(*packed.get(pair[0].1)? + APART / 8 >= pair[1].0)).collect();
    (compared.len(), compared.iter().filter(|is_late| **is_late).count())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::behind;

    fn times(millis: &[u64]) -> BTreeMap<String, Duration> {
        let named = millis.iter().enumerate();
        named.map(|(id, at)| (id.to_string(), Duration::from_millis(*at))).collect()
    }

    #[test]
    fn an_event_that_comes_only_with_the_next_one_is_late() {
        let plain = times(&[100, 200, 300, 310, 400]);
        assert_eq!(behind(&plain, &times(&[101, 205, 320, 330, 401])), (3, 0));
        assert_eq!(behind(&plain, &times(&[200, 301, 320, 330, 500])), (3, 2));
        assert_eq!(behind(&plain, &times(&[200, 301, 320, 400])), (3, 3), "the last is held");
    }
}
