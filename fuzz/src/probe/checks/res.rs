//! `res`: coming back with a last event ID, judged by what the witness has got.

use std::time::Duration;

use super::Judged;
use super::connecting::headed;
use crate::probe::catalogue::Check;
use crate::probe::context::{Probe, after, is_application, is_own};
use crate::probe::finding::Finding;
use crate::probe::tape::{Seen, Tape};
use crate::probe::wire::Connection;

mod busy;
mod odd;
mod other_user;
mod recovery;

pub(in crate::probe) use busy::Busy;
pub(in crate::probe) use recovery::Recovery;

/// How long a stream that is live may keep one waiting for what the witness has got already.
const PROMPT: Duration = Duration::from_secs(2);

pub(super) async fn judge(probe: &Probe, check: &Check) -> Judged {
    match check.id() {
        "res.ids" => return ids(probe, check).await,
        "res.first-id" => return first_id(probe, check).await,
        "res.no-header" => return no_header(probe, check).await,
        id if id.starts_with("res.busy-") => return busy::judge(probe, check).await,
        id if odd::NEED_NO_IDS.contains(&id) => return odd::judge(probe, check).await,
        _ => {}
    }
    probe
        .lively(probe.settings.min_events)
        .await
        .map_err(|quiet| no_ids(probe).unwrap_or(quiet))?;
    match check.id() {
        "res.loss" | "res.duplicate" | "res.order" | "res.same-bytes" | "res.cut-mid-event"
        | "res.cut-after-id" => recovery::judge(probe, check).await,
        "res.other-user" => other_user::judge(probe, check).await,
        "res.parallel" => parallel(probe, check).await,
        "res.storm" => storm(probe, check).await,
        "res.large" => large(probe, check).await,
        _ => odd::judge(probe, check).await,
    }
}

/// That nothing can be resumed, if events came and none had an id.
fn no_ids(probe: &Probe) -> Option<Finding> {
    let tape = probe.witness.tape();
    let is_lively = tape.events.iter().filter(|event| is_application(event)).count() >= 2;
    let has_none = tape.events.iter().all(|event| event.id.is_none());
    (is_lively && has_none).then(|| Finding::skip("its events have no ids: nobody can resume"))
}

async fn ids(probe: &Probe, check: &Check) -> Judged {
    match probe.lively(1).await {
        Ok(()) => Ok(Finding::pass()),
        Err(quiet) => Ok(match no_ids(probe) {
            Some(_) => probe.show_witness(Finding::fault(
                check,
                "events have no ids: who is cut off misses what comes meanwhile",
            )),
            None => quiet,
        }),
    }
}

async fn first_id(probe: &Probe, check: &Check) -> Judged {
    probe.lively(1).await.map_err(|quiet| no_ids(probe).unwrap_or(quiet))?;
    let tape = probe.witness.tape();
    let first = tape.events.iter().find(|event| is_application(event));
    let fault = first.is_some_and(|event| event.last_id.is_empty()).then(|| {
        "the first event has no id, those after it have: who is cut off then misses the rest"
            .to_owned()
    });
    Ok(Finding::of(check, fault).saw(&probe.target, &tape))
}

async fn no_header(probe: &Probe, check: &Check) -> Judged {
    let mut connection = probe.head(&probe.ask().with("Last-Event-ID", "")).await?;
    let head = headed(probe, check, &connection)?;
    if !head.is_event_stream() {
        let fault = format!("with an empty Last-Event-ID the status is {}", head.status);
        return Ok(probe.show(Finding::fault(check, fault), &connection.tape));
    }
    let goes_on = goes_on(probe, &mut connection).await?;
    let fault = (!goes_on).then(|| "with an empty Last-Event-ID no event comes".to_owned());
    Ok(probe.show(Finding::of(check, fault), &connection.tape))
}

/// Whether a stream gets an event, if the witness gets one.
pub(super) async fn goes_on(probe: &Probe, connection: &mut Connection) -> Result<bool, Finding> {
    let count = |tape: &Tape| tape.events.iter().filter(|event| is_application(event)).count();
    let seen = count(&probe.witness.tape());
    let enough = seen + 1;
    let is_lively = probe
        .witness
        .until(after(probe.settings.wait.min(Duration::from_secs(5))), |tape| count(tape) > enough)
        .await;
    let has_event = connection.until(after(PROMPT), |tape| count(tape) > 0).await;
    if !is_lively && !has_event {
        let text = "it is open, but too quiet to see whether it is live";
        return Err(probe.show(Finding::inconclusive(text), &connection.tape));
    }
    Ok(has_event)
}

/// Events of the witness that can be told apart.
fn own_events(tape: &Tape) -> Vec<Seen> {
    tape.events.iter().filter(|event| is_own(event)).cloned().collect()
}

/// An id that is a few events old.
fn recent_id(probe: &Probe, back: usize) -> Option<String> {
    let events = own_events(&probe.witness.tape());
    events.iter().rev().nth(back).and_then(|event| event.id.clone())
}

async fn parallel(probe: &Probe, check: &Check) -> Judged {
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
            let finding = Finding::fault(check, text);
            probe.show(probe.show(finding, &connections[0].tape), &connections[odd].tape)
        }
        None if seen[0].is_empty() => Finding::inconclusive("no events came (res.loss)"),
        None => Finding::pass(),
    };
    probe.keep_all(connections.into_iter().map(Connection::close));
    Ok(finding)
}

async fn storm(probe: &Probe, check: &Check) -> Judged {
    const TIMES: usize = 20;
    for time in 1..=TIMES {
        let id = recent_id(probe, 0).unwrap_or_default();
        let connection = probe.resume(&id).await?;
        let head = headed(probe, check, &connection)?;
        let is_refusal = matches!(head.status, 429 | 503) && head.header("retry-after").is_some();
        if is_refusal {
            let text = format!("after {time} reconnections it asks for patience, as it may");
            return Ok(probe.show(Finding::pass_with(text), &connection.tape));
        }
        if !head.is_event_stream() {
            let fault = format!("reconnection {time} of {TIMES} is answered with {}", head.status);
            return Ok(probe.show(Finding::fault(check, fault), &connection.tape));
        }
        probe.keep(connection.close());
    }
    Ok(Finding::pass_with(format!("{TIMES} in a row")))
}

async fn large(probe: &Probe, check: &Check) -> Judged {
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
    let before = probe.witness.tape().events.len();
    for _ in 0..4 {
        replays.push(probe.open(&probe.ask().with("Last-Event-ID", &id)).await?);
    }
    for replay in &mut replays {
        replay.until(after(PROMPT), |tape| !own_events(tape).is_empty()).await;
    }
    let patience = Duration::from_secs(1) + usual * 5;
    let goes_on = probe.witness.until(after(patience), |tape| tape.events.len() > before).await;
    let ended = probe.witness.tape().end.is_some();
    let fault = (!goes_on && !ended).then(|| {
        format!("while {id:?} was replayed four times, the witness got nothing for {patience:?}")
    });
    let finding = Finding::of(check, fault);
    probe.keep_all(replays.into_iter().map(Connection::close));
    Ok(probe.show_witness(finding))
}
