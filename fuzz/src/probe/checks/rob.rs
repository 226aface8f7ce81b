//! `rob`: what may harm a server, and how it bears it. Each ends with the question whether it still
//! serves.

use std::time::Duration;

use super::Judged;
use crate::probe::catalogue::Check;
use crate::probe::context::{Probe, after};
use crate::probe::finding::Finding;

mod load;
mod process;
mod request;
mod tls;

pub(super) async fn judge(probe: &Probe, check: &Check) -> Judged {
    let finding = match check.id() {
        "rob.slow-reader" | "rob.slow-reader-memory" => load::slow_readers(probe, check).await,
        "rob.zero-window" => load::zero_window(probe, check).await,
        "rob.half-close" => load::half_close(probe, check).await,
        "rob.resets" | "rob.resets-descriptors" => load::resets(probe, check).await,
        "rob.churn" => load::churn(probe, check).await,
        "rob.disconnect" => load::disconnect(probe, check).await,
        "rob.streams" => load::streams(probe, check).await,
        "rob.h2" => super::http2::floods(probe, check).await,
        "rob.tls-cut" => tls::cut(probe, check).await,
        // It does not serve after this.
        "rob.terminate" => return process::terminate(probe, check).await,
        _ => request::judge(probe, check).await,
    }?;
    if finding.verdict == crate::verdict::Verdict::Skip {
        return Ok(finding);
    }
    match serves(probe).await {
        Ok(()) => Ok(finding),
        Err(how) => Ok(Finding::new(
            crate::verdict::Verdict::Fail,
            format!("after it the server does not serve: {how}"),
        )),
    }
}

/// Whether a new client gets a stream.
async fn serves(probe: &Probe) -> Result<(), String> {
    let connection = probe.open(&probe.ask()).await.map_err(|finding| finding.reason)?;
    let mut connection = connection;
    connection.read_head(after(Duration::from_secs(5))).await;
    match connection.tape.status() {
        Some(200) => Ok(()),
        Some(status) => Err(format!("a stream is answered with {status}")),
        None => Err("a stream is not answered".to_owned()),
    }
}
