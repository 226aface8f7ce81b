//! The bytes of events, and of what comes before them.

use super::request::Request;
use super::{Entry, State};

/// What each stream begins with.
pub(super) fn opening(fault: &str) -> &'static str {
    match fault {
        "fmt.retry" => ":ok\nretry: 1s\n\n",
        "fmt.bom" => ":ok\n\n\u{feff}:x\n\n",
        "fmt.lf-cr" => ":ok\n\r:x\n\n",
        "fmt.no-data" => ":ok\n\nevent: ready\n\n",
        "fmt.bare-json" => ":ok\n\n{\"error\":{}}\n\n",
        "fmt.space" => ":ok\n\ndata : x\n\n",
        "fmt.fields" => ":ok\n\nDATA: x\n\n",
        "res.first-id" => ":ok\n\ndata: welcome\n\n",
        "tim.retry" => ":ok\n\n",
        _ => ":ok\nretry: 2000\n\n",
    }
}

/// What a channel's numbers begin after, which shares its counter with older ones.
pub(super) fn base(state: &State) -> usize {
    if state.is("none with older channels") { 5000 } else { 0 }
}

/// An event's bytes.
pub(super) fn event(state: &State, number: usize, entry: &Entry, is_resumed: bool) -> Vec<u8> {
    let fault = state.fault.as_str();
    let Entry { event, data, .. } = entry;
    let mut id = format!("t:{}", number + base(state));
    let mut data = data.clone();
    match fault {
        "res.ids" => id.clear(),
        "fmt.id-header" => id = format!("t{}:{number}", "-".repeat(140)),
        "fmt.id-unique" if number == 25 => id = "t:24".to_owned(),
        "fmt.heartbeat" if number == 25 => data = "ping".to_owned(),
        "fmt.data-data" if number == 25 => data = "data: x".to_owned(),
        "fmt.length" if number == 25 => data = "x".repeat(70_000),
        "res.same-bytes" if is_resumed => data.push('!'),
        _ => {}
    }
    let mut bytes = Vec::new();
    let event = if fault == "fmt.reserved-type" && number == 25 { "error" } else { event };
    let injected = |field: &str| fault.starts_with(&format!("inj.{field}"));
    if !id.is_empty() {
        bytes.extend_from_slice(format!("id: {id}\n").as_bytes());
    }
    if fault == "fmt.id-nul" && number == 25 {
        bytes.splice(..0, *b"id: x\0\n");
    }
    let type_name =
        if injected("event") { event.to_owned() } else { event.replace(['\r', '\n'], " ") };
    if type_name != "message" && !type_name.is_empty() {
        bytes.extend_from_slice(format!("event: {type_name}\n").as_bytes());
    }
    let data =
        if injected("data-cr") { data } else { data.replace("\r\n", "\n").replace('\r', "\n") };
    for line in data.split('\n') {
        bytes.extend_from_slice(format!("data: {line}\n").as_bytes());
    }
    bytes.push(b'\n');
    if fault == "fmt.utf8" && number == 25 {
        bytes = b"id: t:25\ndata: \xe9\n\n".to_vec();
    }
    if fault == "fmt.terminators" && number.is_multiple_of(2) {
        bytes = String::from_utf8_lossy(&bytes).replace('\n', "\r\n").into_bytes();
    }
    bytes
}

/// What of a request comes back in the stream.
pub(super) fn echo(fault: &str, request: &Request) -> Option<Vec<u8>> {
    let header = |name: &str| request.all(name).first().map(|value| value.to_vec());
    let decoded = |text: &str| text.replace("%0A", "\n").replace("%0D", "\r").into_bytes();
    let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
    match fault {
        "inj.path" => Some(decoded(path)),
        "inj.query" => Some(decoded(query)),
        "inj.user-agent" => header("user-agent"),
        "inj.cookie" => header("cookie"),
        "inj.last-event-id" => header("last-event-id"),
        _ => None,
    }
}
