//! How each check is done. A room for each section; what a check expects is in the catalogue.

pub(super) mod connecting;
pub(super) mod fmt;
mod http2;
pub(super) mod inj;
pub(super) mod res;
pub(super) mod rob;
pub(super) mod tim;

use super::catalogue::Check;
use super::context::Probe;
use super::finding::Finding;

/// When a check has its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Nothing else is going on: it measures, or needs the connections' order.
    Alone,
    /// Others may run at the same time.
    Together,
    /// When what it looks at has been gathered.
    Bytes,
    /// When nothing else is to come that it could disturb.
    Last,
}

pub(super) fn turn(check: &Check) -> Turn {
    match (check.section(), check.id()) {
        ("fmt", _) | (_, "tim.keep-alive" | "tim.age" | "tim.retry") => Turn::Bytes,
        ("inj" | "rob", _) => Turn::Last,
        ("tim", _)
        | (
            _,
            "res.loss"
            | "res.duplicate"
            | "res.order"
            | "res.same-bytes"
            | "res.cut-mid-event"
            | "res.cut-after-id"
            | "res.storm"
            | "res.large"
            | "res.parallel"
            | "res.busy-loss"
            | "res.busy-duplicate"
            | "res.busy-order"
            | "res.busy-connect-loss"
            | "res.busy-resume-loss"
            | "res.busy-resume-duplicate",
        ) => Turn::Alone,
        _ => Turn::Together,
    }
}

/// Whether it makes requests of its own, as opposed to looking at those of the witness.
pub(super) fn repeats(check: &Check) -> bool {
    let is_witness = matches!(
        check.id(),
        "con.status"
            | "con.type"
            | "con.charset"
            | "con.type-twice"
            | "con.cache-control"
            | "con.length"
            | "con.buffering"
            | "con.redirect"
            | "con.token-in-url"
            | "tim.headers"
            | "tim.headers-late"
    );
    !is_witness && turn(check) != Turn::Bytes
}

pub(super) async fn judge(probe: &Probe, check: &Check) -> Finding {
    match check.section() {
        _ if check.id() == "con.h2" => http2::events(probe, check).await,
        _ if check.id() == "con.h2-headers" => http2::headers(probe, check).await,
        "con" => connecting::judge(probe, check).await,
        "fmt" => Ok(fmt::judge(probe, check)),
        "tim" => tim::judge(probe, check).await,
        "res" => res::judge(probe, check).await,
        "inj" => inj::judge(probe, check).await,
        _ => rob::judge(probe, check).await,
    }
    .unwrap_or_else(|finding| finding)
}

/// What a check comes to. `Err` is a finding, too: one that ends the check early.
pub(super) type Judged = Result<Finding, Finding>;
