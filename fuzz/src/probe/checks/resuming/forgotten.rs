//! Ids that the server has forgotten, or never knew. What it may not do is to go on as if nothing
//! were missing.

use std::collections::BTreeSet;

use super::events::{PROMPT, is_reset, number, numbered, own_events};
use super::odd::countable;
use super::recovery;
use crate::probe::context::{Probe, after, is_own};
use crate::probe::finding::{Finding, Judged};
use crate::wire::connection::Connection;
use crate::wire::tape::{Seen, Tape};

/// What a client is told that resumes after an id, and what comes first.
struct Answer {
    tape: Tape,
    /// A sign that the id is not known.
    told: Option<String>,
    first: Option<Seen>,
}

impl Answer {
    async fn to(probe: &Probe, id: &str) -> Result<Self, Finding> {
        let mut connection: Connection = probe.resume(id).await?;
        let head = probe.head_of(&connection)?;
        let is_told = head.header("mercure-last-event-id").is_some_and(|known| known != id);
        let status = head.status;
        if !head.is_event_stream() || is_told {
            let told = if is_told {
                "Mercure-Last-Event-ID is another one".to_owned()
            } else {
                format!("it is answered with {status}")
            };
            return Ok(Self { told: Some(told), first: None, tape: connection.close() });
        }
        // A type that other streams have not, says something too.
        let usual: BTreeSet<String> =
            probe.witness.tape().events.iter().map(|event| event.event.clone()).collect();
        let is_sign = |event: &Seen| is_reset(event) || !usual.contains(&event.event);
        let is_there =
            |tape: &Tape| tape.events.iter().any(|event| is_own(event) || is_sign(event));
        connection.until(after(PROMPT + probe.settings.wait.min(PROMPT)), is_there).await;
        let tape = connection.close();
        let sign = tape.events.iter().find(|event| is_sign(event));
        let told = sign.map(|event| format!("it sends {}", event.event));
        let first = tape.events.iter().find(|event| is_own(event)).cloned();
        Ok(Self { tape, told, first })
    }
}

/// An id from the time before all that the witness has seen. There may be a gap; it is one for
/// certain if an event is left out that has been seen.
pub(super) async fn expired(probe: &Probe) -> Judged {
    let last = countable(probe)?;
    let id = numbered(&last, "1").unwrap_or_else(|| last.clone());
    if number(&last).is_some_and(|number| number < 3) {
        return Ok(Finding::inconclusive("nothing is old yet"));
    }
    let is_of_form =
        |event: &Seen| event.id.as_deref().and_then(|id| numbered(id, "")) == numbered(&last, "");
    let known = own_events(&probe.witness.tape());
    let known = known.iter().filter(|event| is_of_form(event)).filter_map(number_of);
    let lowest = known.filter(|number| *number > 1).min();
    let answer = Answer::to(probe, &id).await?;
    if let Some(told) = answer.told {
        return Ok(probe.show(Finding::pass_with(told), &answer.tape));
    }
    let Some(first) = &answer.first else {
        return Ok(probe.show(Finding::inconclusive("no event came"), &answer.tape));
    };
    let finding = match (number_of(first), lowest) {
        (None, _) => Finding::inconclusive("the next id has no number"),
        (Some(0..=2), _) => Finding::pass_with("it has kept everything"),
        (Some(next), Some(lowest)) if lowest < next => Finding::fault(format!(
            "after {id:?} comes number {next}, and nothing says that {lowest} is missing, which \
             had been sent before"
        )),
        (Some(next), _) => return moved(probe, &id, next, answer.tape).await,
    };
    Ok(probe.show(finding, &answer.tape))
}

/// Whether what a server has kept begins later after a while: then what it began with is gone. If
/// it does not, there may never have been anything before.
async fn moved(probe: &Probe, id: &str, next: u64, tape: Tape) -> Judged {
    let seen = probe.witness.tape().events.len();
    probe.witness.until(after(PROMPT), |tape| tape.events.len() > seen + 3).await;
    let again = Answer::to(probe, id).await?;
    let later = again.first.as_ref().and_then(number_of).filter(|later| *later > next);
    let finding = match (&again.told, later) {
        (None, Some(later)) => Finding::fault(format!(
            "after {id:?} came number {next}, and a moment later comes {later}: nothing says that \
             what was between is missing"
        )),
        _ => Finding::inconclusive(format!(
            "after {id:?} comes number {next}; whether this stream had events before that cannot \
             be seen"
        )),
    };
    Ok(probe.show(probe.show(finding, &tape), &again.tape))
}

fn number_of(event: &Seen) -> Option<u64> {
    event.id.as_deref().and_then(number)
}

/// An id of the server's own form that it has never given.
pub(super) async fn unknown(probe: &Probe) -> Judged {
    if recovery::is_faulty(probe) {
        return Ok(Finding::inconclusive("it goes wrong with ids that it knows already"));
    }
    let known = own_events(&probe.witness.tape());
    let Some(last) = known.last().and_then(|event| event.id.clone()) else {
        return Ok(Finding::inconclusive("too few events came"));
    };
    let id = match countable(probe) {
        Ok(id) => {
            let ahead = number(&id).unwrap_or_default().saturating_add(1_000_000);
            numbered(&id, &ahead.to_string()).unwrap_or(id)
        }
        Err(_) => other(&last),
    };
    if known.iter().any(|event| event.id.as_ref() == Some(&id)) {
        return Ok(Finding::inconclusive("no id could be made up"));
    }
    let answer = Answer::to(probe, &id).await?;
    let is_old = |first: &Seen| known.iter().any(|event| event.id == first.id);
    let finding = match (&answer.told, &answer.first) {
        (Some(told), _) => Finding::pass_with(told.clone()),
        (None, Some(first)) if is_old(first) => {
            Finding::pass_with(format!("it sends what it has kept, from {:?} on", first.last_id))
        }
        (None, Some(first)) if probe.witness.tape().events.iter().any(|e| e.id == first.id) => {
            Finding::fault(format!(
                "resumed after {id:?}, which it has never given, it goes on with what is new: \
                 clients are not told that they may have missed something"
            ))
        }
        // It may be older than all that the witness has.
        (None, Some(_)) => Finding::pass_with("it sends something else than what is new"),
        (None, None) => Finding::inconclusive("no event came (res.future)"),
    };
    Ok(probe.show(finding, &answer.tape))
}

/// An id of the same form. Where ids are ordered, as times are, it is an older one.
fn other(id: &str) -> String {
    let is_digit = id.bytes().any(|byte| matches!(byte, b'1'..=b'9'));
    let changed = id.chars().map(|char| match char {
        '1'..='9' => char::from_digit(char.to_digit(10).unwrap_or(1) - 1, 10).unwrap_or(char),
        'b'..='z' | 'B'..='Z' if !is_digit => char::from_u32(u32::from(char) - 1).unwrap_or(char),
        char => char,
    });
    changed.collect()
}

#[cfg(test)]
mod tests {
    use super::other;

    #[test]
    fn an_id_that_is_made_up_has_the_form_of_the_others() {
        assert_eq!(other("0198-7f3a"), "0087-6f2a");
        assert_eq!(other("bed"), "adc");
        assert_eq!(other("1700000000000-0"), "0600000000000-0");
    }
}
