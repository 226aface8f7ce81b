//! What the checks of resuming look at: events that can be told apart, ids, signs of a gap.

use std::time::Duration;

use crate::probe::context::{Probe, after, is_application, is_own};
use crate::probe::finding::Finding;
use crate::wire::connection::Connection;
use crate::wire::tape::{Seen, Tape};

/// How long a stream that is live may take to send what the witness has got already.
pub(super) const PROMPT: Duration = Duration::from_secs(2);

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
pub(super) fn own_events(tape: &Tape) -> Vec<Seen> {
    tape.events.iter().filter(|event| is_own(event)).cloned().collect()
}

/// An id that is a few events old.
pub(super) fn recent_id(probe: &Probe, back: usize) -> Option<String> {
    let events = own_events(&probe.witness.tape());
    events.iter().rev().nth(back).and_then(|event| event.id.clone())
}

/// Whether a server says that there is a gap.
pub(super) fn is_reset(event: &Seen) -> bool {
    matches!(event.event.as_str(), "stream-reset" | "reset" | "resync" | "gap" | "stream-error")
}

/// The id with its last number replaced.
pub(super) fn numbered(id: &str, number: &str) -> Option<String> {
    let end = id.rfind(|char: char| char.is_ascii_digit())? + 1;
    let begin = id[..end]
        .rfind(|char: char| !char.is_ascii_digit())
        .map_or(0, |at| at + id[at..].chars().next().map_or(1, char::len_utf8));
    Some(format!("{}{number}{}", &id[..begin], &id[end..]))
}

pub(super) fn number(id: &str) -> Option<u64> {
    let end = id.rfind(|char: char| char.is_ascii_digit())? + 1;
    let digits = id[..end].rfind(|char: char| !char.is_ascii_digit());
    let begin = digits.map_or(0, |at| at + id[at..].chars().next().map_or(1, char::len_utf8));
    id[begin..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{number, numbered};

    #[test]
    fn the_last_number_of_an_id_is_found() {
        for (id, at, other) in [
            ("7", Some(7), Some("x")),
            ("test:41", Some(41), Some("test:x")),
            ("c2:3,\u{fc}5z", Some(5), Some("c2:3,\u{fc}xz")),
            ("none", None, None),
        ] {
            assert_eq!(number(id), at);
            assert_eq!(numbered(id, "x").as_deref(), other);
        }
    }
}
