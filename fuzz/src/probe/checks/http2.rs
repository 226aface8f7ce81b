//! HTTP/2: the same stream, over one of many streams of a connection.

use std::time::Duration;

use crate::probe::context::{HEAD, Probe, after, is_application, is_own};
use crate::probe::finding::{Finding, Judged};
use crate::wire::http2::{Http2, Refused, Stream, Unanswered, flood};
use crate::wire::tape::{Seen, Tape};

/// How long what the witness has may take to come by HTTP/2.
const PROMPT: Duration = Duration::from_secs(2);

/// How many events are compared.
const EVENTS: usize = 6;

/// The usual window, in bytes.
const WINDOW: u32 = 65_535;

/// How many requests are taken back, and how many answers stand still.
const RESETS: u32 = 2000;
const STANDING: usize = 32;

pub(super) fn refused(error: Refused) -> Finding {
    match error {
        Refused::NotSpoken => Finding::skip("it speaks no HTTP/2 here"),
        Refused::Failed(error) => {
            Finding::inconclusive(format!("no connection could be made: {error}"))
        }
    }
}

/// The stream by HTTP/2, or what is wrong with the answer.
pub(super) async fn stream(
    probe: &Probe,
    http2: &mut Http2,
) -> Result<Result<Stream, Unanswered>, Finding> {
    let ask = probe.ask();
    let request = ask.http2(&probe.target).ok_or_else(|| {
        Finding::inconclusive("the request has headers that HTTP/2 cannot have (--header)")
    })?;
    Ok(http2.ask(request, ask.bytes_as("2"), after(HEAD)).await)
}

fn fault_of(unanswered: &Unanswered) -> Finding {
    match unanswered {
        Unanswered::Malformed => Finding::fault("the answer's head breaks the rules of HTTP/2"),
        Unanswered::Failed(how) => Finding::fault(format!("by HTTP/2 there is no answer: {how}")),
        Unanswered::Late => Finding::fault("by HTTP/2 there is no answer within 4 s").of_time(),
    }
}

pub(super) async fn headers(probe: &Probe) -> Judged {
    let mut http2 = Http2::open(&probe.target, WINDOW).await.map_err(refused)?;
    Ok(match stream(probe, &mut http2).await? {
        // A client must not take it, so that what is in it is not known.
        Err(Unanswered::Malformed) => Finding::fault(
            "the answer's head breaks the rules, so that clients drop it: it has Connection, \
             Transfer-Encoding, Keep-Alive or Upgrade, or a name in capitals",
        ),
        Err(other) => Finding::inconclusive(fault_of(&other).reason),
        Ok(stream) => probe.show(Finding::pass(), &stream.tape),
    })
}

pub(super) async fn events(probe: &Probe) -> Judged {
    let mut http2 = Http2::open(&probe.target, WINDOW).await.map_err(refused)?;
    let mut stream = match stream(probe, &mut http2).await? {
        // Another check says so.
        Err(Unanswered::Malformed) => {
            return Ok(Finding::inconclusive("the answer cannot be read (see con.h2-headers)"));
        }
        Err(other) => return Ok(fault_of(&other)),
        Ok(stream) => stream,
    };
    if !stream.tape.is_stream() {
        let status = stream.tape.status().unwrap_or_default();
        let fault = format!("by HTTP/2 there is no stream; the status is {status}");
        return Ok(probe.show(Finding::fault(fault), &stream.tape));
    }
    let count = |tape: &Tape| tape.events.iter().filter(|event| is_application(event)).count();
    let seen = count(&probe.witness.tape());
    let deadline = after(probe.settings.wait);
    let is_lively = probe.witness.until(deadline, |tape| count(tape) >= seen + EVENTS).await;
    // The newest that the witness has, will be here in a moment.
    stream.until(after(PROMPT), |tape| count(tape) >= EVENTS).await;
    let tape = &stream.tape;
    let finding = if count(tape) == 0 {
        if is_lively {
            Finding::fault("by HTTP/1.1 events come, by HTTP/2 none does").of_time()
        } else {
            Finding::inconclusive("the stream is too quiet to compare")
        }
    } else {
        let own = |tape: &Tape| -> Vec<Seen> {
            tape.events.iter().filter(|event| is_own(event)).cloned().collect()
        };
        let (ours, theirs) = (own(tape), own(&probe.witness.tape()));
        compared(&ours, &theirs)
    };
    Ok(probe.show_witness(probe.show(finding, &stream.tape)))
}

/// What came by HTTP/2, and what the witness got.
fn compared(ours: &[Seen], theirs: &[Seen]) -> Finding {
    if ours.is_empty() {
        return Finding::pass_with("events come; they have no ids by which to compare them");
    }
    // Before the witness there may have been others.
    let begin = ours.iter().position(|event| theirs.iter().any(|other| other.id == event.id));
    let Some(begin) = begin else {
        return Finding::inconclusive("the two streams have no event in common");
    };
    let place = theirs.iter().position(|other| other.id == ours[begin].id).unwrap_or_default();
    let differs = ours[begin..].iter().zip(&theirs[place..]).find(|(event, other)| {
        (&event.id, &event.event, &event.data) != (&other.id, &other.event, &other.data)
    });
    let fault = differs.map(|(event, other)| {
        let id = |seen: &Seen| seen.id.clone().unwrap_or_default();
        format!("where HTTP/1.1 has the event {:?}, HTTP/2 has {:?}", id(other), id(event))
            + if event.id == other.id { ", with another type or other data" } else { "" }
    });
    Finding::of(fault)
}

/// Requests that are taken back, then answers that are not read.
pub(super) async fn floods(probe: &Probe) -> Judged {
    let was_open = probe.watched().tape().end.is_none();
    let ask = probe.ask();
    flood(&probe.target, &ask.headers_of_http2(), RESETS).await.map_err(refused)?;
    let serves = async |when: &str| -> Result<(), Finding> {
        let wrong = |fault: Finding| {
            let reason = format!("after {when} {}", fault.reason);
            Finding { reason, ..fault }
        };
        let opened = Http2::open(&probe.target, WINDOW).await;
        // It has a second for its first frame.
        let silent = |_| wrong(Finding::fault("HTTP/2 is not spoken any more").of_time());
        let mut http2 = opened.map_err(silent)?;
        let answer = stream(probe, &mut http2).await?;
        answer.map(drop).map_err(|unanswered| wrong(fault_of(&unanswered)))
    };
    serves("many resets").await?;
    let mut standing = Http2::open(&probe.target, 0).await.map_err(refused)?;
    let mut streams = Vec::new();
    for _ in 0..STANDING {
        match stream(probe, &mut standing).await? {
            Ok(stream) => streams.push(stream),
            // It may have had enough of them.
            Err(_) => break,
        }
    }
    let mut word = None;
    for _ in 0..20 {
        if let Ok(new) = probe.publish_pulse().await {
            word = Some(new);
        }
    }
    serves("answers that are not read").await?;
    let mut is_of_time = false;
    let fault = if let (Some(word), true) = (word, was_open) {
        is_of_time = true;
        let has_it =
            |tape: &Tape| tape.events.iter().any(|event| event.data.contains(word.as_str()));
        let goes_on = probe.watched().until(after(Duration::from_secs(5)), has_it).await;
        (!goes_on).then(|| "while others do not read, a client that reads gets nothing".to_owned())
    } else {
        let has_ended = was_open && probe.watched().tape().end.is_some();
        has_ended.then(|| "the stream of a client that reads ended, too".to_owned())
    };
    drop(streams);
    Ok(probe.show_witness(Finding::of(fault).of_time_if(is_of_time)))
}
