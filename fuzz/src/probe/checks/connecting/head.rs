//! What the head of the witness's stream, and the way to it, tell without another request.

use super::cors::ORIGIN;
use crate::probe::context::Probe;
use crate::probe::finding::{Finding, Judged};
use crate::probe::settings::Profile;
use crate::wire::tape::Head;

/// Looks at the head, if there is one.
pub(super) fn judge(probe: &Probe, look: fn(&Probe, &Head) -> Finding) -> Finding {
    let tape = probe.witness.tape();
    match &tape.head {
        Some(head) => look(probe, head).saw(&probe.target, &tape),
        None => Finding::inconclusive("there was no answer"),
    }
}

pub(super) fn status(probe: &Probe, head: &Head) -> Finding {
    match head.status {
        200 => Finding::pass(),
        301..=308 => Finding::inconclusive("it is a redirect, which leads nowhere"),
        405 if probe.is(Profile::Mcp20251125) => {
            Finding::info("405: the server offers no stream by GET, as MCP allows")
        }
        status => Finding::fault(format!("the status is {status}")),
    }
}

pub(super) fn media_type(_: &Probe, head: &Head) -> Finding {
    if head.status != 200 {
        return Finding::inconclusive("there is no 200");
    }
    let is_other = head.essence() != "text/event-stream";
    Finding::of(is_other.then(|| format!("the media type is {:?}", head.essence())))
}

pub(super) fn charset(_: &Probe, head: &Head) -> Finding {
    let other = named_charset(head).filter(|charset| charset != "utf-8" && charset != "utf8");
    let text = |name| format!("the charset is {name:?}, and the bytes are read as UTF-8");
    Finding::of(other.map(text))
}

pub(super) fn type_twice(_: &Probe, head: &Head) -> Finding {
    let types = head.all("content-type");
    Finding::of((types.len() > 1).then(|| format!("there are {}: {types:?}", types.len())))
}

pub(super) fn cache_control(_: &Probe, head: &Head) -> Finding {
    let is_kept =
        !head.lists("cache-control", "no-store") && !head.lists("cache-control", "no-cache");
    let text = || match head.header("cache-control") {
        Some(value) => format!("Cache-Control is {value:?}, neither no-store nor no-cache"),
        None => "Cache-Control is missing; no-store or no-cache is needed".to_owned(),
    };
    Finding::of(is_kept.then(text))
}

pub(super) fn no_transform(_: &Probe, head: &Head) -> Finding {
    let is_said = head.lists("cache-control", "no-transform");
    let text =
        "Cache-Control lacks no-transform: a proxy may compress the stream and hold events back";
    Finding::of((!is_said).then(|| text.to_owned()))
}

pub(super) fn incremental(_: &Probe, head: &Head) -> Finding {
    let is_said = head.header("incremental").is_some_and(|value| value.starts_with("?1"));
    let text = "there is no Incremental: ?1, which asks proxies to pass on each part as it comes";
    Finding::of((!is_said).then(|| text.to_owned()))
}

pub(super) fn folded(_: &Probe, head: &Head) -> Finding {
    let mut lines = head.text.split('\n').skip(1);
    let folded = lines.find(|line| line.starts_with([' ', '\t']) && !line.trim().is_empty());
    let text = |line: &str| {
        format!(
            "a header goes on in a line of its own, {:?}: some clients refuse that",
            line.trim()
        )
    };
    Finding::of(folded.map(text))
}

/// Headers that have one value. Those of lists may be there more than once.
const SINGLE: [&str; 12] = [
    "access-control-allow-credentials",
    "access-control-allow-origin",
    "age",
    "content-length",
    "date",
    "etag",
    "expires",
    "incremental",
    "last-modified",
    "location",
    "retry-after",
    "x-accel-buffering",
];

/// With an origin, for that is when most of them come from two places: the application, and a
/// proxy in front of it.
pub(super) async fn single(probe: &Probe) -> Judged {
    let connection = probe.head(&probe.ask().with("Origin", ORIGIN)).await?;
    let head = probe.head_of(&connection)?;
    let twice = SINGLE.iter().find(|name| head.all(name).len() > 1);
    let fault = twice.map(|name| {
        let why = match *name {
            "access-control-allow-origin" => "browsers let no page read that",
            _ => "which one counts depends on the client",
        };
        format!("{name} is there {} times, {:?}: {why}", head.all(name).len(), head.all(name))
    });
    Ok(probe.show(Finding::of(fault), &connection.tape))
}

pub(super) fn length(_: &Probe, head: &Head) -> Finding {
    let text =
        |length| format!("Content-Length is {length}: clients take the stream for ended there");
    Finding::of(head.header("content-length").map(text))
}

pub(super) fn buffering(probe: &Probe, head: &Head) -> Finding {
    let value = head.header("x-accel-buffering");
    if value.is_some_and(|value| value.eq_ignore_ascii_case("no")) {
        return Finding::pass();
    }
    let text = "there is no X-Accel-Buffering: no; nginx in front would hold events";
    if probe.is(Profile::Mcp20251125) { Finding::warn(text) } else { Finding::fault(text) }
}

pub(super) fn token_in_url(probe: &Probe, _: &Head) -> Finding {
    let secret = probe.target.secret_in_query();
    let text = |name| format!("the query has {name:?}, which logs and proxies will keep");
    Finding::of(secret.map(text))
}

pub(super) fn grip(_: &Probe, head: &Head) -> Finding {
    let names = head.headers.iter().map(|(name, _)| name.as_str());
    let is_grip = |name: &&str| name.to_ascii_lowercase().starts_with("grip-");
    let names: Vec<_> = names.filter(is_grip).collect();
    let text =
        || format!("the client gets {}: links that are for the proxy only", names.join(", "));
    Finding::of((!names.is_empty()).then(text))
}

fn named_charset(head: &Head) -> Option<String> {
    let value = head.header("content-type")?;
    let mut parameters = value.split(';').skip(1).filter_map(|part| part.split_once('='));
    let (_, charset) = parameters.find(|(name, _)| name.trim().eq_ignore_ascii_case("charset"))?;
    Some(charset.trim().trim_matches('"').to_ascii_lowercase())
}

pub(super) fn redirect(probe: &Probe, _: &Head) -> Finding {
    let hops = &probe.redirects;
    let Some(last) = hops.last() else { return Finding::pass_with("there is none") };
    let way: Vec<_> = hops.iter().map(|hop| hop.to.as_deref().unwrap_or("nowhere")).collect();
    let fault = if let Some(hop) = hops.iter().find(|hop| hop.is_downgrade) {
        Some(format!("from https it leads to {}", hop.to.as_deref().unwrap_or_default()))
    } else if last.to.is_none() {
        Some(format!("{} has no Location", last.status))
    } else if hops.len() > 5 {
        Some(format!("{} redirects in a row", hops.len()))
    } else {
        None
    };
    if fault.is_none() && hops.iter().any(|hop| hop.status == 301 || hop.status == 308) {
        return Finding::pass_with(format!("it leads to {}", way.join(", ")));
    }
    Finding::of(fault)
}
