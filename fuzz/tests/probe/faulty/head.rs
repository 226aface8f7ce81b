//! What requests are refused, and the heads of answers.

use std::sync::atomic::Ordering::SeqCst;

use super::State;
use super::request::Request;

pub(super) fn cors(state: &State, request: &Request) -> String {
    let origin = request.header("origin").unwrap_or_default();
    let allowed = if state.is("con.cors") { origin } else { "*".to_owned() };
    let credentials = if state.is("con.cors") {
        "Access-Control-Allow-Credentials: true\r\nVary: Origin\r\n"
    } else {
        ""
    };
    format!("Access-Control-Allow-Origin: {allowed}\r\n{credentials}")
}

/// What is no request for a stream, and how it is refused.
pub(super) fn refusal(state: &State, request: &Request) -> Option<u16> {
    let accept = request.header("accept");
    let wants_json = accept.as_deref() == Some("application/json");
    let id = request.all("last-event-id");
    let bad = |id: &&[u8]| id.iter().any(|byte| matches!(byte, 0 | b'\r'));
    let host = request.header("host").unwrap_or_default();
    if wants_json && !state.is("con.accept-json") {
        return Some(406);
    }
    if accept.is_none() && state.is("con.no-accept") {
        return Some(500);
    }
    if request.header("range").is_some() && state.is("con.conditional") {
        return Some(304);
    }
    if host.contains("invalid") && !state.is("con.rebinding") {
        return Some(403);
    }
    if request.header("authorization").is_none()
        && request.path.contains("private")
        && !state.is("con.credentials")
    {
        return Some(401);
    }
    let is_stranger = request.header("authorization").is_some_and(|user| user.contains("stranger"));
    if is_stranger && (id.is_empty() || !state.is("res.other-user")) {
        return Some(403);
    }
    let is_odd = state.is("res.control-id") || state.is("inj.last-event-id");
    if state.is("rob.resets") && state.resets.load(SeqCst) > 50 {
        return Some(503);
    }
    if id.iter().any(bad) && !is_odd {
        return Some(400);
    }
    if id.len() > 1 && !state.is("res.repeated") {
        return Some(400);
    }
    let id = id.first().copied().unwrap_or_default();
    if id.len() > 1000 {
        return Some(if state.is("res.long-id") { 500 } else { 431 });
    }
    let is_ours = str::from_utf8(id).is_ok_and(|id| id.is_empty() || id.starts_with("t:"));
    if request.header("content-length").is_some() && state.is("rob.body") {
        return Some(500);
    }
    if request.header("upgrade").is_some() && state.is("rob.upgrade") {
        return Some(101);
    }
    if state.is("rob.streams") && state.open.load(SeqCst) > 40 {
        return Some(503);
    }
    if !id.is_ascii() && state.is("res.utf8-id") {
        return Some(500);
    }
    if id.starts_with(b"%zz") && state.is("res.garbage") {
        return Some(400);
    }
    if is_ours && (id.len() > 20 || id.contains(&b'-')) && state.is("res.overflow") {
        return Some(500);
    }
    None
}

pub(super) fn head(state: &State, request: &Request) -> String {
    let is_old = request.version == "HTTP/1.0";
    let mut head = String::from(if state.is("con.status") {
        "HTTP/1.1 201 Created\r\n"
    } else {
        "HTTP/1.1 200 OK\r\n"
    });
    head += match state.fault.as_str() {
        "con.type" => "Content-Type: text/plain\r\n",
        "con.charset" => "Content-Type: text/event-stream; charset=latin-1\r\n",
        "con.type-twice" => {
            "Content-Type: text/event-stream\r\nContent-Type: text/event-stream\r\n"
        }
        _ => "Content-Type: text/event-stream; charset=UTF-8\r\n",
    };
    head += match state.fault.as_str() {
        "con.cache-control" => "Cache-Control: max-age=60, no-transform\r\n",
        "con.no-transform" => "Cache-Control: no-cache\r\n",
        "con.folded" => "Cache-Control: no-cache,\r\n no-transform\r\n",
        _ => "Cache-Control: no-cache, no-transform\r\n",
    };
    if !state.is("con.buffering") {
        head += "X-Accel-Buffering: no\r\n";
    }
    if state.is("con.header-twice") {
        // Beside the one that every stream has here.
        head += "Access-Control-Allow-Origin: *\r\n";
    }
    if !state.is("con.incremental") {
        head += "Incremental: ?1\r\n";
    }
    if !state.is("con.vary") {
        head += "Vary: Accept, Accept-Encoding\r\n";
    }
    if state.is("con.live") && *state.connections.lock().expect("no panic") > 1 {
        head += "Age: 7\r\n";
    }
    if state.is("con.length") {
        head += "Content-Length: 100000000\r\n";
    } else if !is_old || state.is("con.http10") {
        head += "Transfer-Encoding: chunked\r\n";
    }
    if is_zipped(request) {
        head += "Content-Encoding: gzip\r\n";
    } else if is_brotli(state, request) {
        head += "Content-Encoding: br\r\n";
    }
    if state.is("con.grip") {
        head += "Grip-Link: </next/token>; rel=next\r\n";
    }
    if state.is("res.reflected") {
        head += "X-Last: ";
        head += &request.header("last-event-id").unwrap_or_default();
        head += "\r\n";
    }
    head + "\r\n"
}

/// One that says it compresses with Brotli. What it sends then is not; only its times are looked
/// at.
pub(super) fn is_brotli(state: &State, request: &Request) -> bool {
    state.is("tim.compressed-br")
        && request.header("accept-encoding").is_some_and(|offer| offer.contains("br"))
}

pub(super) fn is_zipped(request: &Request) -> bool {
    request.header("accept-encoding").is_some_and(|offer| offer.contains("gzip"))
}
