//! `tim`: when heads, events and ends come.

use std::time::Duration;

use tokio::time::sleep;

use crate::probe::check::Needs::Publish;
use crate::probe::check::Severity::{Error, Note, Warning};
use crate::probe::check::{Check, Run, Turn, ask};
use crate::probe::context::{Probe, after, is_own};
use crate::probe::finding::{Finding, Judged};
use crate::wire::shown::millis;
use crate::wire::tape::{End, Tape};

mod compressed;

// The first two look at the witness's head, so that a POST is not repeated for them.
pub(super) const CHECKS: &[Check] = &[
    Check::new(
        "tim.headers",
        Warning,
        "advice",
        "The head comes within a second",
        Run::Look(headers),
    ),
    Check::new(
        "tim.headers-late",
        Warning,
        "advice",
        "The head does not wait for the first event",
        Run::Look(headers_late),
    ),
    Check::new(
        "tim.buffered",
        Error,
        "9.2.7",
        "Events come when they are due, not in bursts",
        ask!(buffered),
    )
    .at(Turn::Alone),
    Check::new(
        "tim.compressed",
        Error,
        "9.2.7",
        "Compressed events come when they are due, too",
        ask!(compressed::judge),
    )
    .at(Turn::Alone),
    Check::new(
        "tim.latency",
        Warning,
        "advice",
        "From publishing to receiving takes less than a second",
        ask!(latency),
    )
    .with(Publish)
    .at(Turn::Alone),
    Check::new(
        "tim.keep-alive",
        Note,
        "9.2.7",
        "Keep-alives come regularly",
        Run::Look(keep_alive),
    )
    .at(Turn::Gathered),
    Check::new("tim.age", Warning, "RFC 9112, 8", "A connection is closed cleanly", Run::Look(age))
        .at(Turn::Gathered),
    Check::new(
        "tim.retry",
        Note,
        "9.2.6",
        "It sends a reconnection time before it closes a stream",
        Run::Look(retry),
    )
    .at(Turn::Gathered),
];

/// What a person takes for at once; a stream that is slower is not live.
const LATE: Duration = Duration::from_secs(1);

/// How many events are published to see when they come, and how far apart.
const MEASURED: usize = 6;
const APART: Duration = Duration::from_millis(150);

/// Whether the first bytes of the body came with the head.
fn comes_with_event(tape: &Tape) -> bool {
    let near = |at: Duration, head: Duration| at.saturating_sub(head) < Duration::from_millis(20);
    let first = tape.events.first().map(|event| event.at);
    first.zip(tape.headed).is_some_and(|(at, head)| near(at, head))
}

fn headers(probe: &Probe) -> Finding {
    let Some((at, is_with_event)) = head_of_witness(probe) else { return no_head() };
    let is_late = at > LATE && !is_with_event && !probe.head_waits;
    let fault = is_late.then(|| format!("the head came after {} ms", millis(at)));
    probe.show_witness(Finding::of(fault).of_time())
}

fn headers_late(probe: &Probe) -> Finding {
    if probe.head_waits {
        let text = "no head comes until something is published: an EventSource on a quiet stream \
                    is not open, and proxies end a request that is not answered";
        return probe.show_witness(Finding::fault(text).of_time());
    }
    let Some((at, is_with_event)) = head_of_witness(probe) else { return no_head() };
    let is_late = at > LATE && is_with_event;
    let fault = is_late
        .then(|| format!("the head came after {} ms, together with the first event", millis(at)));
    probe.show_witness(Finding::of(fault).of_time())
}

fn no_head() -> Finding {
    Finding::inconclusive("there was no head")
}

/// When the witness got its head, and whether it came with the first event.
fn head_of_witness(probe: &Probe) -> Option<(Duration, bool)> {
    let tape = probe.witness.tape();
    tape.headed.map(|at| (at, comes_with_event(&tape)))
}

/// Publishes some events and says for each when it was published and when the witness got it, both
/// since the witness began.
async fn measured(probe: &Probe) -> Result<Vec<(Duration, Option<Duration>)>, Finding> {
    let mut words = Vec::new();
    for _ in 0..MEASURED {
        let at = probe.witness.start().elapsed();
        let word = probe
            .publish_pulse()
            .await
            .map_err(|why| Finding::inconclusive(format!("publishing does not work: {why}")))?;
        words.push((word, at));
        sleep(APART).await;
    }
    let got = |tape: &Tape, word: &str| {
        tape.events.iter().find(|event| event.data.contains(word)).map(|event| event.at)
    };
    let all = |tape: &Tape| words.iter().all(|(word, _)| got(tape, word).is_some());
    probe.witness.until(after(Duration::from_secs(5)), all).await;
    let tape = probe.witness.tape();
    Ok(words.iter().map(|(word, at)| (*at, got(&tape, word))).collect())
}

async fn buffered(probe: &Probe) -> Judged {
    if probe.hook().is_none() {
        probe.lively(probe.settings.min_events).await?;
        let tape = probe.witness.tape();
        let mut times: Vec<_> =
            tape.events.iter().filter(|event| is_own(event)).map(|event| event.at).collect();
        times.dedup_by(|a, b| a.saturating_sub(*b) < Duration::from_millis(5));
        let finding = if times.len() > 2 {
            Finding::pass_with("seen without publishing: events come one by one")
        } else {
            let text = format!(
                "all events came at {} times; a way to publish would tell more",
                times.len()
            );
            Finding::inconclusive(text)
        };
        return Ok(finding.saw(&probe.target, &tape));
    }
    let times = measured(probe).await?;
    let missing = times.iter().filter(|(_, got)| got.is_none()).count();
    let got: Vec<_> = times.iter().filter_map(|(sent, got)| Some((*sent, (*got)?))).collect();
    if got.is_empty() {
        let text = "what is published does not come: is it the stream's channel?";
        return Ok(probe.show_witness(Finding::inconclusive(text)));
    }
    let held = got.iter().map(|(sent, at)| at.saturating_sub(*sent)).max().unwrap_or_default();
    // Events that came together, though they were published apart.
    let times = distinct(got.iter().map(|(_, at)| *at));
    let is_burst = got.len() > 3 && times <= 2 && held > APART * 2;
    let fault = if is_burst {
        Some(format!(
            "published {} ms apart, {} events came at {times} times, up to {} ms late",
            millis(APART),
            got.len(),
            millis(held)
        ))
    } else if missing > 0 {
        Some(format!("{missing} of {MEASURED} published events were held for 5 s or more"))
    } else {
        None
    };
    Ok(probe.show_witness(Finding::of(fault).of_time()))
}

async fn latency(probe: &Probe) -> Judged {
    let times = measured(probe).await?;
    let mut took: Vec<_> =
        times.iter().filter_map(|(sent, got)| Some(got.as_ref()?.saturating_sub(*sent))).collect();
    took.sort();
    let (Some(&half), Some(&most)) = (took.get(took.len() / 2), took.last()) else {
        let text = "what is published does not come: is it the stream's channel?";
        return Ok(Finding::inconclusive(text));
    };
    // Events that come in one burst are another check's business: then the last ones are prompt.
    let least = took[0];
    let text = format!(
        "half of {} came within {} ms, all within {} ms",
        took.len(),
        millis(half),
        millis(most)
    );
    if least > LATE {
        Ok(probe.show_witness(Finding::fault(text).of_time()))
    } else {
        Ok(Finding::pass_with(text))
    }
}

/// At how many times something came; what is less than 20 ms apart came together.
fn distinct(times: impl IntoIterator<Item = Duration>) -> usize {
    let mut times: Vec<_> = times.into_iter().collect();
    times.sort();
    times.dedup_by(|next, last| {
        let is_together = next.saturating_sub(*last) < Duration::from_millis(20);
        *last = if is_together { *next } else { *last };
        is_together
    });
    times.len()
}

fn keep_alive(probe: &Probe) -> Finding {
    let tape = probe.witness.tape();
    let beats: Vec<Duration> = {
        let events = tape.events.iter().filter(|event| event.event.contains("keep"));
        let comments = tape.comments.iter().filter(|(at, _)| {
            // What opens a stream, or pads it, keeps nothing alive.
            at.saturating_sub(tape.headed.unwrap_or_default()) > Duration::from_millis(500)
        });
        let mut beats: Vec<_> =
            events.map(|event| event.at).chain(comments.map(|beat| beat.0)).collect();
        beats.sort();
        beats
    };
    if beats.len() < 3 {
        let text = "too few keep-alives came to say; watch longer (--wait 70), without publishing";
        return Finding::inconclusive(text);
    }
    let mut gaps: Vec<_> = beats.windows(2).map(|pair| tape.awake(pair[0], pair[1])).collect();
    gaps.sort();
    let (least, most) = (gaps[0], gaps[gaps.len() - 1]);
    let text = format!("every {:.1} to {:.1} s", least.as_secs_f32(), most.as_secs_f32());
    let is_regular = most < least * 3 + Duration::from_secs(1);
    if is_regular { Finding::pass_with(text) } else { Finding::info(format!("irregular: {text}")) }
        .saw(&probe.target, &tape)
}

fn age(probe: &Probe) -> Finding {
    let tape = probe.witness.tape();
    let Some((at, end)) = &tape.end else {
        return Finding::inconclusive("it did not close the stream while it was watched");
    };
    let finding = match end {
        End::Complete | End::Closed => {
            Finding::pass_with(format!("it closed the stream after {} ms", millis(*at)))
        }
        End::Reset => Finding::fault("it reset the connection: what was on its way is lost"),
        End::Cut => Finding::fault("it cut the connection without the last chunk"),
        End::Malformed(what) => Finding::fault(format!("it broke off HTTP: {what}")),
    };
    finding.saw(&probe.target, &tape)
}

fn retry(probe: &Probe) -> Finding {
    let tape = probe.witness.tape();
    if tape.end.is_none() {
        return Finding::inconclusive("it did not close the stream while it was watched");
    }
    let lines = crate::probe::lines::lines(&tape.body);
    let has_retry = lines.iter().any(|line| line.field().0 == b"retry");
    let text = "it closed the stream and had not said when to come back";
    Finding::of((!has_retry).then(|| text.to_owned())).saw(&probe.target, &tape)
}
