//! What the head of the witness's stream, and the way to it, tell without another request.

use crate::probe::catalogue::Check;
use crate::probe::context::Probe;
use crate::probe::finding::Finding;
use crate::probe::settings::Profile;
use crate::probe::tape::Head;

pub(super) fn judge(probe: &Probe, check: &Check) -> Finding {
    let tape = probe.witness.tape();
    let Some(head) = &tape.head else {
        return Finding::inconclusive("there was no answer");
    };
    let finding = match check.id() {
        "con.status" => match head.status {
            200 => Finding::pass(),
            301..=308 => Finding::inconclusive("it is a redirect, which leads nowhere"),
            405 if probe.is(Profile::Mcp20251125) => {
                Finding::info("405: the server offers no stream by GET, as MCP allows")
            }
            status => Finding::fault(check, format!("the status is {status}")),
        },
        "con.type" if head.status != 200 => Finding::inconclusive("there is no 200"),
        "con.redirect" => redirect(probe, check),
        "con.token-in-url" => {
            let secret = probe.target.secret_in_query();
            let text = |name| format!("the query has {name:?}, which logs and proxies will keep");
            Finding::of(check, secret.map(text))
        }
        "con.buffering" if probe.is(Profile::Mcp20251125) => match buffering(head) {
            Some(fault) => Finding::warn(fault),
            None => Finding::pass(),
        },
        id => Finding::of(check, fault(id, head)),
    };
    finding.saw(&probe.target, &tape)
}

fn fault(id: &str, head: &Head) -> Option<String> {
    match id {
        "con.type" => (head.essence() != "text/event-stream")
            .then(|| format!("the media type is {:?}", head.essence())),
        "con.charset" => charset(head)
            .filter(|charset| charset != "utf-8" && charset != "utf8")
            .map(|charset| format!("the charset is {charset:?}, and the bytes are read as UTF-8")),
        "con.type-twice" => {
            let types = head.all("content-type");
            (types.len() > 1).then(|| format!("there are {}: {types:?}", types.len()))
        }
        "con.cache-control" => {
            let is_kept = !head.lists("cache-control", "no-store")
                && !head.lists("cache-control", "no-cache");
            let value = head.header("cache-control");
            is_kept.then(|| format!("Cache-Control is {value:?}, neither no-store nor no-cache"))
        }
        "con.length" => head.header("content-length").map(|length| {
            format!("Content-Length is {length}: clients take the stream for ended there")
        }),
        _ => buffering(head),
    }
}

fn buffering(head: &Head) -> Option<String> {
    let value = head.header("x-accel-buffering");
    let is_off = value.as_deref().is_some_and(|value| value.eq_ignore_ascii_case("no"));
    (!is_off)
        .then(|| "there is no X-Accel-Buffering: no; nginx in front would hold events".to_owned())
}

fn charset(head: &Head) -> Option<String> {
    let value = head.header("content-type")?;
    let mut parameters = value.split(';').skip(1).filter_map(|part| part.split_once('='));
    let (_, charset) = parameters.find(|(name, _)| name.trim().eq_ignore_ascii_case("charset"))?;
    Some(charset.trim().trim_matches('"').to_ascii_lowercase())
}

fn redirect(probe: &Probe, check: &Check) -> Finding {
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
    Finding::of(check, fault)
}
