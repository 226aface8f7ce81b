//! `rob`: what may harm a server, and how it bears it. Each check but the last of the server's life ends
//! with the question whether it still serves.

use std::time::Duration;

use super::http2;
use crate::probe::check::Needs::{Http2, Process, Tls};
use crate::probe::check::Severity::{Error, Note, Security, Warning};
use crate::probe::check::{Check, Run, Severity, Turn, ask};
use crate::probe::context::{Probe, after};
use crate::probe::finding::{Finding, Judged, Ruling};
use crate::verdict::Verdict;

mod load;
mod process;
mod request;
mod tls;

/// What a server has to bear.
macro_rules! bears {
    ($function:path) => {
        Run::Ask(|probe| Box::pin(borne(probe, $function(probe))))
    };
}

const fn aggressive(
    id: &'static str,
    severity: Severity,
    reference: &'static str,
    title: &'static str,
    run: Run,
) -> Check {
    Check::new(id, severity, reference, title, run).aggressive().at(Turn::Last)
}

pub(super) const CHECKS: &[Check] = &[
    aggressive(
        "rob.slow-reader",
        Error,
        "CVE-2026-25224",
        "A reader that stands still holds up nobody",
        bears!(load::slow_readers),
    ),
    aggressive(
        "rob.slow-reader-memory",
        Error,
        "CVE-2026-25224",
        "Nor does it cost more than 64 MiB",
        bears!(load::slow_readers_memory),
    )
    .with(Process),
    aggressive(
        "rob.zero-window",
        Warning,
        "advice",
        "A reader that goes on after a pause misses nothing unsaid",
        bears!(load::zero_window),
    ),
    aggressive(
        "rob.half-close",
        Note,
        "RFC 9112, 9.6",
        "A client that closes its half is still served",
        bears!(load::half_close),
    ),
    aggressive(
        "rob.resets",
        Error,
        "advice",
        "After many resets it still serves",
        bears!(load::resets),
    ),
    aggressive(
        "rob.resets-descriptors",
        Error,
        "advice",
        "And has let go of their descriptors",
        bears!(load::resets_descriptors),
    )
    .with(Process),
    aggressive(
        "rob.churn",
        Error,
        "advice",
        "A thousand short connections leave nothing behind",
        bears!(load::churn),
    )
    .with(Process),
    aggressive(
        "rob.disconnect",
        Warning,
        "advice",
        "That a client has gone is noticed with the next events",
        bears!(load::disconnect),
    )
    .with(Process),
    aggressive(
        "rob.streams",
        Error,
        "advice",
        "64 streams are served at once",
        bears!(load::streams),
    ),
    aggressive(
        "rob.pipelined",
        Error,
        "RFC 9112, 9.3.2",
        "A pipelined request does not mix into the stream",
        bears!(request::pipelined),
    ),
    aggressive(
        "rob.body",
        Warning,
        "RFC 9110, 9.3.1",
        "A GET with a body and Expect is answered",
        bears!(request::body),
    ),
    aggressive(
        "rob.headers",
        Warning,
        "RFC 6585, 5",
        "Masses of headers are refused",
        bears!(request::headers),
    ),
    aggressive(
        "rob.slowloris",
        Warning,
        "RFC 9110, 15.5.9",
        "A request that does not end is cut off",
        bears!(request::slowloris),
    ),
    aggressive(
        "rob.framing",
        Security,
        "RFC 9112, 6.1",
        "Ambiguous lengths and bad chunks are refused",
        bears!(request::framing),
    ),
    aggressive(
        "rob.paths",
        Error,
        "RFC 9110, 15.6",
        "Odd paths and queries are no server errors",
        bears!(request::paths),
    ),
    aggressive(
        "rob.h2",
        Error,
        "CVE-2023-44487",
        "Floods of resets and empty windows are survived",
        bears!(http2::floods),
    )
    .with(Http2),
    aggressive(
        "rob.tls-cut",
        Error,
        "RFC 8446, 6.1",
        "A TLS connection without a goodbye is survived",
        bears!(tls::cut),
    )
    .with(Tls),
    aggressive(
        "rob.terminate",
        Warning,
        "advice",
        "On SIGTERM streams end at a blank line",
        ask!(process::terminate),
    )
    .with(Process)
    .named_only(),
    aggressive(
        "rob.upgrade",
        Warning,
        "RFC 9110, 7.8",
        "An upgrade to what it does not speak is ignored",
        bears!(request::upgrade),
    ),
];

async fn borne(probe: &Probe, work: impl Future<Output = Judged>) -> Judged {
    let finding = work.await?;
    if finding.ruling == Ruling::Is(Verdict::Skip) {
        return Ok(finding);
    }
    match serves(probe).await {
        Ok(()) => Ok(finding),
        Err(how) => Ok(Finding::fail(format!("after it the server does not serve: {how}"))),
    }
}

/// Whether a new client gets a stream.
async fn serves(probe: &Probe) -> Result<(), String> {
    let mut connection = probe.open(&probe.ask()).await.map_err(|finding| finding.reason)?;
    connection.read_head(after(Duration::from_secs(5))).await;
    match connection.tape.status() {
        Some(200) => Ok(()),
        Some(status) => Err(format!("a stream is answered with {status}")),
        None => Err("a stream is not answered".to_owned()),
    }
}
