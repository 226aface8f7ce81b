//! What a second user gets with the first one's id.

use std::time::Duration;

use super::events::{PROMPT, own_events, recent_id};
use crate::probe::ask::Ask;
use crate::probe::context::{Probe, after, is_own};
use crate::probe::finding::{Finding, Judged};
use crate::wire::connection::Connection;
use crate::wire::tape::{Seen, Tape};

/// How many events came after the id.
const BACK: usize = 4;

pub(super) async fn judge(probe: &Probe) -> Judged {
    let Some(id) = recent_id(probe, BACK) else {
        return Ok(Finding::inconclusive("too few events came"));
    };
    let headers = probe.settings.second_headers.iter();
    let ask = headers.fold(probe.ask(), |ask, (name, value)| ask.with(name, value));
    let plain = read(probe, &ask).await?;
    let resumed = read(probe, &ask.with("Last-Event-ID", &id)).await?;
    // What the second has read, the witness has read by then, or does in a moment.
    let moment = after(Duration::from_millis(200));
    probe.witness.until(moment, |tape| tape.end.is_some()).await;
    let theirs = own_events(&probe.witness.tape());
    let shared = |tape: &Tape| -> Option<Seen> {
        let is_theirs = |event: &Seen| {
            theirs.iter().any(|other| (&other.id, &other.data) == (&event.id, &event.data))
        };
        own_events(tape).into_iter().find(is_theirs)
    };
    if shared(&plain.tape).is_some() {
        let text = "the second user may read this stream as well; give the URL of one that only the \
                    first may read";
        return Ok(probe.show(Finding::inconclusive(text), &plain.tape));
    }
    let fault = shared(&resumed.tape).map(|event| {
        format!(
            "with the first user's id {id:?} the second gets the first one's event {:?}",
            event.id.unwrap_or_default()
        )
    });
    Ok(probe.show(Finding::of(fault), &resumed.tape))
}

async fn read(probe: &Probe, ask: &Ask) -> Result<Connection, Finding> {
    let mut connection = probe.head(ask).await?;
    connection.until(after(PROMPT), |tape| tape.events.iter().any(is_own)).await;
    Ok(connection)
}
