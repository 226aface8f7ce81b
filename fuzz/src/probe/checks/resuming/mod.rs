//! `res`: coming back with a last event ID, judged by what the witness has got.

use std::time::Duration;

use busy_faults::Kind;
use events::{PROMPT, goes_on, own_events, recent_id};

use crate::probe::check::Needs::{Publish, SecondUser};
use crate::probe::check::Severity::{Error, Note, Security, Warning};
use crate::probe::check::{Check, Run, Severity, Turn, ask};
use crate::probe::context::{Probe, after, is_application};
use crate::probe::finding::{Finding, Judged};
use crate::wire::connection::Connection;
use crate::wire::tape::Tape;

mod busy;
mod busy_faults;
mod events;
mod forgotten;
mod hole;
mod odd;
mod other_user;
mod recovery;

/// What can be seen only if events have ids and enough of them have come.
macro_rules! with_ids {
    ($function:path) => {
        Run::Ask(|probe| {
            Box::pin(async {
                lively(probe, probe.settings.min_events).await?;
                $function(probe).await
            })
        })
    };
}

const fn resuming(
    id: &'static str,
    severity: Severity,
    reference: &'static str,
    title: &'static str,
    run: Run,
) -> Check {
    Check::new(id, severity, reference, title, run).resuming()
}

pub(super) const CHECKS: &[Check] = &[
    resuming("res.ids", Note, "9.2.4", "Events have ids, so that clients can resume", ask!(ids)),
    resuming(
        "res.loss",
        Error,
        "9.2.4",
        "A client that resumes misses nothing",
        with_ids!(recovery::loss),
    )
    .at(Turn::Alone),
    resuming(
        "res.duplicate",
        Error,
        "9.2.4",
        "A client that resumes gets nothing twice",
        with_ids!(recovery::duplicate),
    )
    .at(Turn::Alone),
    resuming(
        "res.order",
        Error,
        "9.2.4",
        "A client that resumes gets events in order",
        with_ids!(recovery::order),
    )
    .at(Turn::Alone),
    resuming(
        "res.same-bytes",
        Error,
        "9.2.4",
        "An id always stands for the same event",
        with_ids!(recovery::same_bytes),
    )
    .at(Turn::Alone),
    resuming(
        "res.cut-mid-event",
        Error,
        "9.2.4",
        "A reset in an event loses nothing",
        with_ids!(recovery::cut_mid_event),
    )
    .at(Turn::Alone),
    resuming(
        "res.cut-after-id",
        Error,
        "9.2.6",
        "An id that no blank line has committed does not count",
        with_ids!(recovery::cut_after_id),
    )
    .at(Turn::Alone),
    resuming(
        "res.busy-loss",
        Error,
        "advice",
        "While many publish at once, all readers get all that is accepted",
        ask!(busy::judge, Kind::Loss),
    )
    .with(Publish)
    .at(Turn::Alone),
    resuming(
        "res.busy-duplicate",
        Error,
        "advice",
        "While many publish at once, readers get each event once",
        ask!(busy::judge, Kind::Duplicate),
    )
    .with(Publish)
    .at(Turn::Alone),
    resuming(
        "res.busy-order",
        Error,
        "9.2.4",
        "While many publish at once, all readers get one order, that of publishing and of ids",
        ask!(busy::judge, Kind::Order),
    )
    .with(Publish)
    .at(Turn::Alone),
    resuming(
        "res.busy-connect-loss",
        Error,
        "advice",
        "While many publish at once, a new reader misses nothing",
        ask!(busy::judge, Kind::ConnectLoss),
    )
    .with(Publish)
    .at(Turn::Alone),
    resuming(
        "res.busy-resume-loss",
        Error,
        "9.2.4",
        "While many publish at once, a client that resumes misses nothing",
        ask!(busy::judge, Kind::ResumeLoss),
    )
    .with(Publish)
    .at(Turn::Alone),
    resuming(
        "res.busy-resume-duplicate",
        Error,
        "9.2.4",
        "While many publish at once, a client that resumes gets nothing twice",
        ask!(busy::judge, Kind::ResumeDuplicate),
    )
    .with(Publish)
    .at(Turn::Alone),
    resuming(
        "res.hole",
        Error,
        "9.2.4",
        "A reader that is there all the time misses nothing",
        with_ids!(hole::judge),
    )
    .at(Turn::Gathered),
    resuming("res.first-id", Warning, "9.2.4", "The first event has an id already", ask!(first_id)),
    resuming(
        "res.no-header",
        Warning,
        "9.2.4",
        "Without an id, or with an empty one, a stream is live",
        ask!(no_header),
    ),
    resuming(
        "res.garbage",
        Warning,
        "9.2.3",
        "An unknown id is survived, better with 200",
        ask!(odd::garbage),
    ),
    resuming(
        "res.long-id",
        Warning,
        "RFC 9110, 5.4",
        "An id of 8 or 64 KiB is refused or served, promptly",
        ask!(odd::long_id),
    ),
    resuming(
        "res.malformed-id",
        Error,
        "advice",
        "An id whose number is replaced by something else is answered",
        with_ids!(odd::malformed_id),
    ),
    resuming("res.utf8-id", Warning, "9.2.4", "An id in UTF-8 is survived", ask!(odd::utf8_id)),
    resuming(
        "res.control-id",
        Security,
        "RFC 9110, 5.5",
        "CR and NUL in a header are refused",
        ask!(odd::control_id),
    ),
    resuming(
        "res.reflected",
        Security,
        "advice",
        "The id does not come back in the answer",
        ask!(odd::reflected),
    ),
    resuming(
        "res.future",
        Warning,
        "9.2.4",
        "An id of the future does not silence the stream",
        with_ids!(odd::future),
    ),
    resuming(
        "res.expired",
        Error,
        "9.2.4",
        "After a gap there is a signal, or there is no gap",
        with_ids!(forgotten::expired),
    ),
    resuming(
        "res.unknown",
        Warning,
        "advice",
        "After an id that it has never given, it says that something may be missing",
        with_ids!(forgotten::unknown),
    ),
    resuming(
        "res.overflow",
        Warning,
        "advice",
        "Negative and huge numbers in ids are survived",
        with_ids!(odd::overflow),
    ),
    resuming(
        "res.repeated",
        Note,
        "RFC 9110, 5.3",
        "Two different ids in a request are refused",
        with_ids!(odd::repeated),
    ),
    resuming(
        "res.other-user",
        Security,
        "advice",
        "Another user's id opens nothing",
        with_ids!(other_user::judge),
    )
    .with(SecondUser),
    resuming(
        "res.parallel",
        Warning,
        "9.2.4",
        "Resuming in parallel, all get the same",
        with_ids!(parallel),
    )
    .at(Turn::Alone),
    resuming(
        "res.storm",
        Warning,
        "9.2.7",
        "A small storm of reconnections is served",
        with_ids!(storm),
    )
    .at(Turn::Alone),
    resuming(
        "res.large",
        Warning,
        "advice",
        "A long replay does not hold up others' events",
        with_ids!(large),
    )
    .at(Turn::Alone),
];

/// Waits for events with ids.
async fn lively(probe: &Probe, events: usize) -> Result<(), Finding> {
    probe.lively(events).await.map_err(|quiet| no_ids(probe).unwrap_or(quiet))
}

/// That nothing can be resumed, if events came and none had an id.
fn no_ids(probe: &Probe) -> Option<Finding> {
    let tape = probe.witness.tape();
    let is_lively = tape.events.iter().filter(|event| is_application(event)).count() >= 2;
    let has_none = tape.events.iter().all(|event| event.id.is_none());
    (is_lively && has_none)
        .then(|| Finding::skip("its events have no ids, so clients cannot resume"))
}

async fn ids(probe: &Probe) -> Judged {
    match probe.lively(1).await {
        Ok(()) => Ok(Finding::pass()),
        Err(quiet) => Ok(match no_ids(probe) {
            Some(_) => probe.show_witness(Finding::fault(
                "events have no ids: a client that is cut off misses what comes meanwhile",
            )),
            None => quiet,
        }),
    }
}

async fn first_id(probe: &Probe) -> Judged {
    lively(probe, 1).await?;
    let tape = probe.witness.tape();
    let first = tape.events.iter().find(|event| is_application(event));
    let fault = first.is_some_and(|event| event.last_id.is_empty()).then(|| {
        "the first event has no id: a client that is cut off then misses the rest".to_owned()
    });
    Ok(Finding::of(fault).saw(&probe.target, &tape))
}

async fn no_header(probe: &Probe) -> Judged {
    let mut connection = probe.head(&probe.ask().with("Last-Event-ID", "")).await?;
    let head = probe.head_of(&connection)?;
    if !head.is_event_stream() {
        let fault = format!("with an empty Last-Event-ID the status is {}", head.status);
        return Ok(probe.show(Finding::fault(fault), &connection.tape));
    }
    let goes_on = goes_on(probe, &mut connection).await?;
    let fault = (!goes_on).then(|| "with an empty Last-Event-ID no event comes".to_owned());
    Ok(probe.show(Finding::of(fault).of_time(), &connection.tape))
}

async fn parallel(probe: &Probe) -> Judged {
    const STREAMS: usize = 8;
    const EVENTS: usize = 4;
    let Some(id) = recent_id(probe, EVENTS) else {
        return Ok(Finding::inconclusive("too few events came"));
    };
    let mut connections = Vec::new();
    for _ in 0..STREAMS {
        connections.push(probe.open(&probe.ask().with("Last-Event-ID", &id)).await?);
    }
    let count = |tape: &Tape| own_events(tape).len();
    let deadline = after(PROMPT);
    let mut seen: Vec<Vec<(Option<String>, String)>> = Vec::new();
    for connection in &mut connections {
        connection.until(deadline, |tape| count(tape) >= EVENTS).await;
        let events = own_events(&connection.tape).into_iter().take(EVENTS);
        seen.push(events.map(|event| (event.id, event.data)).collect());
    }
    let odd = seen.iter().position(|events| *events != seen[0]);
    let finding = match odd {
        Some(odd) => {
            let text = format!(
                "resumed after {id:?} at once, stream {} got other events than the first",
                odd + 1
            );
            // The rest of one of them may have been late.
            let is_short = seen.iter().any(|events| events.len() < EVENTS);
            let finding = Finding::fault(text).of_time_if(is_short);
            probe.show(probe.show(finding, &connections[0].tape), &connections[odd].tape)
        }
        None if seen[0].is_empty() => Finding::inconclusive("no events came (res.loss)"),
        None => Finding::pass(),
    };
    probe.keep_all(connections.into_iter().map(Connection::close));
    Ok(finding)
}

async fn storm(probe: &Probe) -> Judged {
    const TIMES: usize = 20;
    for time in 1..=TIMES {
        let id = recent_id(probe, 0).unwrap_or_default();
        let connection = probe.resume(&id).await?;
        let head = probe.head_of(&connection)?;
        let is_refusal = matches!(head.status, 429 | 503) && head.header("retry-after").is_some();
        if is_refusal {
            let text = format!("after {time} reconnections it asks for patience, as it may");
            return Ok(probe.show(Finding::pass_with(text), &connection.tape));
        }
        if !head.is_event_stream() {
            let fault = format!("reconnection {time} of {TIMES} is answered with {}", head.status);
            return Ok(probe.show(Finding::fault(fault), &connection.tape));
        }
        probe.keep(connection.close());
    }
    Ok(Finding::pass_with(format!("{TIMES} in a row")))
}

async fn large(probe: &Probe) -> Judged {
    let events = own_events(&probe.witness.tape());
    let Some(id) = events.first().and_then(|event| event.id.clone()) else {
        return Ok(Finding::inconclusive("too few events came"));
    };
    // What is usual, to compare with.
    let span = events.last().map_or(Duration::ZERO, |last| last.at.saturating_sub(events[0].at));
    let usual = span / u32::try_from(events.len()).unwrap_or(u32::MAX);
    if usual > Duration::from_secs(1) {
        return Ok(Finding::inconclusive("the stream is too slow to see whether it is held up"));
    }
    let mut replays = Vec::new();
    for _ in 0..4 {
        replays.push(probe.open(&probe.ask().with("Last-Event-ID", &id)).await?);
    }
    for replay in &mut replays {
        replay.until(after(PROMPT), |tape| !own_events(tape).is_empty()).await;
    }
    // What came while they were begun says nothing.
    let before = probe.witness.tape().events.len();
    let patience = Duration::from_secs(1) + usual * 5;
    let goes_on = probe.witness.until(after(patience), |tape| tape.events.len() > before).await;
    let ended = probe.witness.tape().end.is_some();
    let fault = (!goes_on && !ended).then(|| {
        format!("while {id:?} was replayed four times, the witness got nothing for {patience:?}")
    });
    let finding = Finding::of(fault).of_time();
    probe.keep_all(replays.into_iter().map(Connection::close));
    Ok(probe.show_witness(finding))
}
