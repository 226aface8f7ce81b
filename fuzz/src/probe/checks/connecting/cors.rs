//! Who may read the stream from a browser.

use std::time::Duration;

use crate::probe::context::{Probe, after};
use crate::probe::finding::{Finding, Judged};
use crate::probe::settings::Profile;

/// How long an answer that ends may take.
const PROMPT: Duration = Duration::from_secs(3);

/// One that no server knows.
pub(super) const ORIGIN: &str = "https://probe.invalid";

pub(super) async fn open_to_all(probe: &Probe) -> Judged {
    let connection = probe.head(&probe.ask().with("Origin", ORIGIN)).await?;
    let head = probe.head_of(&connection)?;
    let origin = head.header("access-control-allow-origin").unwrap_or_default();
    let credentials = head.header("access-control-allow-credentials");
    let with_credentials = credentials.as_deref() == Some("true");
    let finding = if with_credentials && origin == ORIGIN {
        Finding::fault("every site may read the stream with its visitors' cookies")
    } else if with_credentials && origin == "*" {
        Finding::fault("`*` with credentials, which browsers refuse")
    } else if origin == ORIGIN && !head.lists("vary", "origin") {
        Finding::fault("the origin is repeated, but not in Vary: caches will mix them up")
    } else if origin.is_empty() {
        Finding::pass_with("only pages of its own origin may read it")
    } else {
        Finding::pass()
    };
    Ok(probe.show(finding, &connection.tape))
}

/// Bytes that a header may have without asking first (Fetch, "CORS-unsafe request-header byte").
fn is_unsafe(byte: u8) -> bool {
    (byte < 0x20 && byte != b'\t') || byte == 0x7f || b"\"():<>?@[\\]{}".contains(&byte)
}

pub(super) async fn preflight(probe: &Probe) -> Judged {
    let connection = probe.head(&probe.ask().with("Origin", ORIGIN)).await?;
    let head = probe.head_of(&connection)?;
    if head.header("access-control-allow-origin").is_none() {
        return Ok(Finding::pass_with("only pages of its own origin may read it"));
    }
    let ids: Vec<String> =
        probe.witness.tape().events.iter().filter_map(|event| event.id.clone()).collect();
    if ids.is_empty() {
        return Ok(Finding::inconclusive("no id has been seen yet"));
    }
    let Some(id) = ids.iter().find(|id| id.len() > 128 || id.bytes().any(is_unsafe)) else {
        return Ok(Finding::pass_with("no id needs it"));
    };
    let ask = probe
        .ask()
        .method("OPTIONS")
        .with("Origin", ORIGIN)
        .with("Access-Control-Request-Method", "GET")
        .with("Access-Control-Request-Headers", "last-event-id");
    let mut connection = probe.head(&ask).await?;
    connection.read_message(after(PROMPT)).await;
    let head = probe.head_of(&connection)?;
    let is_allowed = head.lists("access-control-allow-headers", "last-event-id")
        || head.lists("access-control-allow-headers", "*");
    let is_ok = (200..300).contains(&head.status);
    let fault = (!is_allowed || !is_ok).then(|| {
        format!(
            "pages of other origins may not send the id {id:?}: the preflight does not allow it"
        )
    });
    Ok(probe.show(Finding::of(fault), &connection.tape))
}

pub(super) async fn rebinding(probe: &Probe) -> Judged {
    if !probe.target.is_loopback() {
        return Ok(Finding::skip("the server is not on loopback"));
    }
    let ask = probe.ask().with("Host", "probe.invalid").with("Origin", "http://probe.invalid");
    let connection = probe.head(&ask).await?;
    let head = probe.head_of(&connection)?;
    let finding = if !head.is_event_stream() {
        Finding::pass()
    } else if probe.is(Profile::Mcp20251125) {
        Finding::fault("a page whose name is rebound to loopback may read the stream")
    } else if probe.settings.headers.is_empty() {
        Finding::warn(
            "without credentials, a page whose name is rebound to loopback may read the stream; \
             it is safe only behind a proxy that looks at Host",
        )
    } else {
        Finding::info("Host and Origin of others are served; MCP servers must refuse them")
    };
    Ok(probe.show(finding, &connection.tape))
}
