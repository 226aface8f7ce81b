//! Ids that are not those of a client that has simply been away for a moment.

use std::time::Duration;

use super::events::{PROMPT, goes_on, is_reset, number, numbered, own_events, recent_id};
use crate::probe::ask::Ask;
use crate::probe::context::{Probe, after};
use crate::probe::finding::{Finding, Judged};
use crate::wire::connection::Connection;
use crate::wire::shown::shown;
use crate::wire::tape::{End, Tape};

/// What is wrong with an answer to an odd request, whatever it says.
fn breakage(tape: &Tape) -> Option<String> {
    match (&tape.head, &tape.end) {
        (None, None) => Some("is not answered within 4 s".to_owned()),
        (None, Some((_, End::Malformed(what)))) => {
            Some(format!("is answered with no HTTP: {what}"))
        }
        (None, Some(_)) => Some("makes the server hang up unanswered".to_owned()),
        (Some(head), _) if head.status >= 500 => Some(format!("is answered with {}", head.status)),
        (Some(_), Some((_, End::Cut | End::Reset | End::Malformed(_)))) => {
            Some("makes the server break off its answer".to_owned())
        }
        _ => None,
    }
}

/// A finding about a breakage.
fn broken(probe: &Probe, finding: Finding, tape: &Tape) -> Finding {
    probe.show(finding.of_time_if(tape.is_unanswered()), tape)
}

/// Whether an answer is a stream that has ended without a word, while the witness goes on: an
/// `EventSource` asks again every few seconds, for ever, and never gets an event.
fn is_futile(probe: &Probe, tape: &Tape) -> bool {
    tape.is_stream()
        && tape.events.is_empty()
        && matches!(tape.end, Some((_, End::Complete | End::Closed)))
        && probe.witness.tape().end.is_none()
}

const FUTILE: &str = "is answered with 200, and the stream ends without an event: an EventSource \
                      asks again every few seconds, and never gets one";

/// Asks, reads the head, and a moment longer: some break only then.
async fn asked(probe: &Probe, ask: &Ask) -> Result<Connection, Finding> {
    let mut connection = probe.head(ask).await?;
    let moment = after(Duration::from_millis(300));
    connection.until(moment, |tape| tape.total > 0 || tape.end.is_some()).await;
    connection.until(after(Duration::from_millis(100)), |tape| tape.end.is_some()).await;
    Ok(connection)
}

pub(super) async fn utf8_id(probe: &Probe) -> Judged {
    survived(probe, &["b\u{fc}cher-\u{1f600}"]).await
}

async fn survived(probe: &Probe, ids: &[&str]) -> Judged {
    let mut finding = Finding::pass();
    for id in ids {
        let connection = asked(probe, &probe.ask().with("Last-Event-ID", id)).await?;
        if let Some(breakage) = breakage(&connection.tape) {
            let text = format!("Last-Event-ID: {} {breakage}", shown(id.as_bytes()));
            return Ok(broken(probe, Finding::fault(text), &connection.tape));
        }
        if is_futile(probe, &connection.tape) {
            let text = format!("Last-Event-ID: {} {FUTILE}", shown(id.as_bytes()));
            return Ok(probe.show(Finding::warn(text), &connection.tape));
        }
        finding = probe.show(finding, &connection.tape);
    }
    Ok(finding)
}

pub(super) async fn garbage(probe: &Probe) -> Judged {
    let connection = asked(probe, &probe.ask().with("Last-Event-ID", "%zz! garbage")).await?;
    let finding = match (breakage(&connection.tape), connection.tape.status()) {
        (Some(breakage), _) => {
            return Ok(broken(probe, Finding::fail(format!("it {breakage}")), &connection.tape));
        }
        (None, Some(status @ 400..500)) => Finding::fault(format!(
            "it is answered with {status}, after which an EventSource never comes back"
        )),
        _ if is_futile(probe, &connection.tape) => Finding::warn(format!("it {FUTILE}")),
        _ => Finding::pass(),
    };
    Ok(probe.show(finding, &connection.tape))
}

pub(super) async fn long_id(probe: &Probe) -> Judged {
    let mut said = Vec::new();
    for len in [8 << 10, 64 << 10] {
        let id = "1".repeat(len);
        let ask = probe.ask().with("Last-Event-ID", &id);
        // A server that hangs up while it is still being written to, has refused.
        let Ok(connection) = asked(probe, &ask).await else { continue };
        let is_refusal = matches!(&connection.tape.end, Some((_, End::Cut | End::Reset)));
        match breakage(&connection.tape) {
            Some(breakage) if !(is_refusal && connection.tape.status() != Some(200)) => {
                let text = format!("an id of {} KiB {breakage}", len >> 10);
                return Ok(broken(probe, Finding::fault(text), &connection.tape));
            }
            _ => {}
        }
        let status =
            connection.tape.status().map_or("closed".to_owned(), |status| status.to_string());
        said.push(format!("{} KiB: {status}", len >> 10));
    }
    Ok(Finding::pass_with(said.join(", ")))
}

pub(super) async fn control_id(probe: &Probe) -> Judged {
    for (name, byte) in [("CR", b'\r'), ("NUL", 0)] {
        let word = probe.word();
        let id = [b"1", &[byte][..], word.as_bytes()].concat();
        let connection = asked(probe, &probe.ask().with("Last-Event-ID", id)).await?;
        let is_server_error = connection.tape.status().is_some_and(|status| status >= 500);
        let finding = if is_server_error {
            Finding::fail(format!("a {name} in a header is a server error"))
        } else if connection.tape.status().is_some_and(|status| status < 400) {
            let text = "is taken; unless it is replaced by a space, it may end lines elsewhere";
            Finding::warn(format!("a {name} in a header {text}"))
        } else {
            continue;
        };
        return Ok(probe.show(finding, &connection.tape));
    }
    Ok(Finding::pass())
}

pub(super) async fn reflected(probe: &Probe) -> Judged {
    let word = probe.word();
    let connection = asked(probe, &probe.ask().with("Last-Event-ID", &word)).await?;
    let tape = &connection.tape;
    let in_head = tape.head.as_ref().is_some_and(|head| {
        let mut named = head.headers.iter().filter(|(_, value)| value.contains(&word));
        named.any(|(name, _)| !name.eq_ignore_ascii_case("mercure-last-event-id"))
    });
    let finding = if in_head {
        Finding::fault("the id comes back in a header")
    } else if tape.text().contains(&word) {
        Finding::warn("the id comes back in the body; see that it can bring no line ends")
    } else {
        Finding::pass()
    };
    Ok(probe.show(finding, tape))
}

/// An id of the witness in which there is a number that counts.
pub(super) fn countable(probe: &Probe) -> Result<String, Finding> {
    let unknown =
        || Finding::inconclusive("the ids have no number that counts, so none can be made up");
    let events = own_events(&probe.witness.tape());
    let ids: Vec<&str> = events.iter().filter_map(|event| event.id.as_deref()).collect();
    let numbers: Vec<u64> = ids.iter().filter_map(|id| number(id)).collect();
    // Some may have been lost, which is another check's business.
    let steps = numbers.windows(2).filter(|pair| pair[1] == pair[0] + 1).count();
    let counts = numbers.len() == ids.len() && steps * 10 >= numbers.len().saturating_sub(1) * 9;
    match ids.last() {
        Some(last) if counts && ids.len() > 1 => Ok((*last).to_owned()),
        _ => Err(unknown()),
    }
}

pub(super) async fn future(probe: &Probe) -> Judged {
    let id = countable(probe)?;
    let ahead = number(&id).unwrap_or_default().saturating_add(1_000_000).to_string();
    let id = numbered(&id, &ahead).unwrap_or(id);
    let mut connection = probe.resume(&id).await?;
    let head = probe.head_of(&connection)?;
    if head.status >= 500 {
        let text = format!("{id:?} is answered with {}", head.status);
        return Ok(probe.show(Finding::fault(text), &connection.tape));
    }
    if !head.is_event_stream() || connection.tape.events.iter().any(is_reset) {
        return Ok(
            probe.show(Finding::pass_with("it says that it does not know it"), &connection.tape)
        );
    }
    let goes_on =
        goes_on(probe, &mut connection).await? || connection.tape.events.iter().any(is_reset);
    let fault = (!goes_on).then(|| {
        format!("resumed after {id:?}, the stream is silent while the witness gets events")
    });
    Ok(probe.show(Finding::of(fault).of_time(), &connection.tape))
}

pub(super) async fn overflow(probe: &Probe) -> Judged {
    let id = countable(probe)?;
    let numbers = ["-1", "99999999999999999999999999", "18446744073709551616"];
    let ids: Vec<String> = numbers.iter().filter_map(|number| numbered(&id, number)).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    survived(probe, &ids).await
}

/// Ids of the server's own form, but without a number. A server that parses the number late has
/// already begun to answer when that fails.
pub(super) async fn malformed_id(probe: &Probe) -> Judged {
    let id = countable(probe)?;
    let mut ids: Vec<String> =
        ["abc", "1.5", "0x1", ""].iter().filter_map(|number| numbered(&id, number)).collect();
    ids.extend([format!("{id},"), format!("{id}:{id}"), format!(",{id}")]);
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    survived(probe, &ids).await
}

pub(super) async fn repeated(probe: &Probe) -> Judged {
    let (Some(new), Some(old)) = (recent_id(probe, 0), recent_id(probe, 3)) else {
        return Ok(Finding::inconclusive("too few events came"));
    };
    let ask = probe.ask().add("Last-Event-ID", &old).add("Last-Event-ID", &new);
    let mut connection = asked(probe, &ask).await?;
    if let Some(breakage) = breakage(&connection.tape) {
        let text = format!("a request with two ids {breakage}");
        return Ok(broken(probe, Finding::warn(text), &connection.tape));
    }
    if connection.tape.status() != Some(200) || connection.tape.events.iter().any(is_reset) {
        return Ok(probe.show(Finding::pass(), &connection.tape));
    }
    connection.until(after(PROMPT), |tape| !own_events(tape).is_empty()).await;
    let first = own_events(&connection.tape).into_iter().next().and_then(|event| event.id);
    let events = own_events(&probe.witness.tape());
    let place = |id: Option<&String>| events.iter().position(|event| event.id.as_ref() == id);
    let text = match (place(first.as_ref()), place(Some(&new))) {
        (Some(first), Some(new)) if first <= new => "of two ids, it takes the first",
        (Some(_), Some(_)) => "of two ids, it takes the last",
        _ => "of two ids, it takes one",
    };
    Ok(probe.show(Finding::fault(text), &connection.tape))
}
