//! `rob`: what may harm a server, and whether it survives. Each check ends with the question
//! whether it still serves, unless the check has ended the server.

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

/// What a server has to survive.
macro_rules! survives {
    ($function:path) => {
        Run::Ask(|probe| Box::pin(survived(probe, $function(probe))))
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
        "A reader that stands still holds up no others",
        survives!(load::slow_readers),
    ),
    aggressive(
        "rob.slow-reader-memory",
        Error,
        "CVE-2026-25224",
        "Readers that stand still cost at most 64 MiB",
        survives!(load::slow_readers_memory),
    )
    .with(Process),
    aggressive(
        "rob.zero-window",
        Warning,
        "advice",
        "A reader that pauses misses nothing, or is told",
        survives!(load::zero_window),
    ),
    aggressive(
        "rob.half-close",
        Note,
        "RFC 9112, 9.6",
        "A client that closes its half is still served",
        survives!(load::half_close),
    ),
    aggressive(
        "rob.resets",
        Error,
        "advice",
        "After many resets it still serves",
        survives!(load::resets),
    ),
    aggressive(
        "rob.resets-descriptors",
        Error,
        "advice",
        "After many resets it has closed their descriptors",
        survives!(load::resets_descriptors),
    )
    .with(Process),
    aggressive(
        "rob.churn",
        Error,
        "advice",
        "A thousand short connections leave nothing behind",
        survives!(load::churn),
    )
    .with(Process),
    aggressive(
        "rob.disconnect",
        Warning,
        "advice",
        "A disconnect is noticed with the next events",
        survives!(load::disconnect),
    )
    .with(Process),
    aggressive(
        "rob.streams",
        Error,
        "advice",
        "64 streams are served at once",
        survives!(load::streams),
    ),
    aggressive(
        "rob.pipelined",
        Error,
        "RFC 9112, 9.3.2",
        "A pipelined request does not mix into the stream",
        survives!(request::pipelined),
    ),
    aggressive(
        "rob.body",
        Warning,
        "RFC 9110, 9.3.1",
        "A GET with a body and Expect is answered",
        survives!(request::body),
    ),
    aggressive(
        "rob.headers",
        Warning,
        "RFC 6585, 5",
        "A thousand headers are refused",
        survives!(request::headers),
    ),
    aggressive(
        "rob.slowloris",
        Warning,
        "RFC 9110, 15.5.9",
        "A request that does not end is cut off",
        survives!(request::slowloris),
    ),
    aggressive(
        "rob.framing",
        Security,
        "RFC 9112, 6.1",
        "Ambiguous lengths and bad chunks are refused",
        survives!(request::framing),
    ),
    aggressive(
        "rob.paths",
        Error,
        "RFC 9110, 15.6",
        "Odd paths and queries are no server errors",
        survives!(request::paths),
    ),
    aggressive(
        "rob.h2",
        Error,
        "CVE-2023-44487",
        "Floods of resets and empty windows are survived",
        survives!(http2::floods),
    )
    .with(Http2),
    aggressive(
        "rob.h2-window",
        Error,
        "RFC 9113, 10.5",
        "Readers by HTTP/2 that take a byte each cost at most 64 MiB",
        survives!(load::narrow_windows),
    )
    .with(Process),
    aggressive(
        "rob.backlog",
        Warning,
        "advice",
        "512 connections that come at once find a place",
        survives!(load::backlog),
    ),
    aggressive(
        "rob.tls-cut",
        Error,
        "RFC 8446, 6.1",
        "A TLS connection that is cut without a goodbye is survived",
        survives!(tls::cut),
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
        "An upgrade to an unknown protocol is ignored",
        survives!(request::upgrade),
    ),
];

async fn survived(probe: &Probe, work: impl Future<Output = Judged>) -> Judged {
    let finding = work.await?;
    if finding.ruling == Ruling::Is(Verdict::Skip) {
        return Ok(finding);
    }
    match serves(probe).await {
        Ok(()) => Ok(finding),
        Err(Unserved { how, is_late }) => {
            let text = format!("after it the server does not serve: {how}");
            Ok(Finding::fail(text).of_time_if(is_late))
        }
    }
}

/// Why a new client gets no stream.
struct Unserved {
    how: String,
    /// It may only take longer.
    is_late: bool,
}

/// Whether a new client gets a stream.
async fn serves(probe: &Probe) -> Result<(), Unserved> {
    // Who accepts no connection may be slow as well as gone.
    let refused = |finding: Finding| Unserved { how: finding.reason, is_late: true };
    let mut connection = probe.open(&probe.ask()).await.map_err(refused)?;
    connection.read_head(after(Duration::from_secs(5))).await;
    match connection.tape.status() {
        Some(200) => Ok(()),
        Some(status) => {
            let how = format!("a stream is answered with {status}");
            Err(Unserved { how, is_late: false })
        }
        None => {
            let how = "a stream is not answered".to_owned();
            Err(Unserved { how, is_late: connection.tape.is_unanswered() })
        }
    }
}
