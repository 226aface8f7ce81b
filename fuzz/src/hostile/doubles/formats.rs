//! What the services write: events, errors, refusals. The text is always `Hello, wörld`.

use serde_json::{Value, json};

use super::Double;
use crate::hostile::request::Request;

/// The answer's text, in pieces; a character of it has two bytes.
const PIECES: [&str; 3] = ["Hel", "lo, ", "wörld"];

/// An answer: lines of its head, and its events.
pub(super) struct Answer {
    pub(super) head: &'static str,
    pub(super) events: Vec<String>,
    /// It is refused with this status, whatever the trouble.
    pub(super) refused: Option<&'static str>,
    /// It is told nothing but that the message has come, whatever the trouble.
    pub(super) accepted: bool,
}

pub(super) fn answer(double: Double, request: &Request) -> Answer {
    let whole = |head, events| Answer { head, events, refused: None, accepted: false };
    match double {
        Double::Openai => whole("", openai()),
        Double::Anthropic => whole("", anthropic()),
        Double::Gemini => whole("", gemini()),
        Double::Mercure => whole("Mercure-Last-Event-ID: earliest\r\n", mercure(request)),
        Double::Mcp if request.method == "GET" => {
            // Clients live without a stream of the server's own.
            Answer {
                head: "Allow: POST\r\n",
                events: vec![String::new()],
                refused: Some("405 Method Not Allowed"),
                accepted: false,
            }
        }
        Double::Mcp if is_told_only(request) => {
            Answer { head: "", events: vec![String::new()], refused: None, accepted: true }
        }
        Double::Mcp => whole("X-Accel-Buffering: no\r\n", mcp(request)),
    }
}

/// The body of a refusal.
pub(super) fn error(double: Double, status: &str) -> String {
    let (code, message) = status.split_once(' ').unwrap_or((status, ""));
    let code: u16 = code.parse().unwrap_or(500);
    let kind = if code == 429 { "rate_limit_error" } else { "overloaded_error" };
    let body = match double {
        Double::Anthropic => {
            json!({"type": "error", "error": {"type": kind, "message": message}})
        }
        Double::Gemini => json!({"error": {"code": code, "message": message, "status": kind}}),
        Double::Mcp => {
            json!({"jsonrpc": "2.0", "id": null, "error": {"code": -32000, "message": message}})
        }
        _ => json!({"error": {"message": message, "type": kind, "code": code}}),
    };
    body.to_string()
}

/// An error after status 200.
pub(super) fn error_in_stream(double: Double, request: &Request) -> String {
    let overloaded = error(double, "529 Overloaded");
    match double {
        Double::Anthropic => format!("event: error\ndata: {overloaded}\n\n"),
        Double::Mcp => {
            let error = json!({"code": -32603, "message": "Overloaded"});
            let answer = json!({"jsonrpc": "2.0", "id": id(request), "error": error});
            format!("event: message\ndata: {answer}\n\n")
        }
        // As bare lines of JSON, which are no fields: seen with some gateways.
        Double::Gemini => format!("{overloaded}\r\n\r\n"),
        _ => format!("data: {overloaded}\n\n"),
    }
}

fn openai() -> Vec<String> {
    let chunk = |delta: Value, finish: Value| {
        let choice = json!({"index": 0, "delta": delta, "finish_reason": finish});
        let chunk = json!({
            "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1,
            "model": "double", "choices": [choice],
        });
        format!("data: {chunk}\n\n")
    };
    let mut events = vec![chunk(json!({"role": "assistant", "content": ""}), Value::Null)];
    events.extend(PIECES.map(|text| chunk(json!({ "content": text }), Value::Null)));
    events.push(chunk(json!({}), json!("stop")));
    events.push("data: [DONE]\n\n".to_owned());
    events
}

fn anthropic() -> Vec<String> {
    let event = |name: &str, mut data: Value| {
        data["type"] = name.into();
        format!("event: {name}\ndata: {data}\n\n")
    };
    let usage = json!({"input_tokens": 1, "output_tokens": 1});
    let message = json!({
        "id": "msg_1", "type": "message", "role": "assistant", "model": "double", "content": [],
        "stop_reason": null, "stop_sequence": null, "usage": usage,
    });
    let block = json!({"type": "text", "text": ""});
    let mut events = vec![
        event("message_start", json!({ "message": message })),
        event("content_block_start", json!({"index": 0, "content_block": block})),
        event("ping", json!({})),
    ];
    events.extend(PIECES.map(|text| {
        let delta = json!({"type": "text_delta", "text": text});
        event("content_block_delta", json!({"index": 0, "delta": delta}))
    }));
    let stop = json!({"stop_reason": "end_turn", "stop_sequence": null});
    events.extend([
        event("content_block_stop", json!({"index": 0})),
        event("message_delta", json!({"delta": stop, "usage": {"output_tokens": 3}})),
        event("message_stop", json!({})),
    ]);
    events
}

fn gemini() -> Vec<String> {
    let pieces = PIECES.iter().zip([Value::Null, Value::Null, json!("STOP")]);
    let event = |(text, finish): (&&str, Value)| {
        let mut candidate =
            json!({"index": 0, "content": {"role": "model", "parts": [{"text": text}]}});
        if !finish.is_null() {
            candidate["finishReason"] = finish;
        }
        let data = json!({"candidates": [candidate], "modelVersion": "double"});
        format!("data: {data}\r\n\r\n")
    };
    pieces.map(event).collect()
}

/// The id of the call that is answered.
fn id(request: &Request) -> Value {
    let call: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    call.get("id").cloned().unwrap_or(Value::Null)
}

/// Whether it is a notification or an answer of the client's, to which there is none.
fn is_told_only(request: &Request) -> bool {
    let message: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let has = |name: &str| message.get(name).is_some();
    if has("id") { has("result") || has("error") } else { has("method") }
}

fn mcp(request: &Request) -> Vec<String> {
    let call: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let result = match call["method"].as_str() {
        Some("initialize") => json!({
            "protocolVersion": "2025-11-25", "capabilities": {"tools": {}},
            "serverInfo": {"name": "double", "version": env!("CARGO_PKG_VERSION")},
        }),
        Some("tools/list") => json!({"tools": [
            {"name": "greet", "inputSchema": {"type": "object", "properties": {}}},
        ]}),
        Some("tools/call") => json!({"content": [{"type": "text", "text": PIECES.concat()}]}),
        _ => json!({}),
    };
    let progress = json!({
        "jsonrpc": "2.0", "method": "notifications/progress",
        "params": {"progressToken": id(request), "progress": 1},
    });
    let answer = json!({"jsonrpc": "2.0", "id": id(request), "result": result});
    vec![
        "id: e1\nretry: 500\ndata: \n\n".to_owned(),
        format!("event: message\nid: e2\ndata: {progress}\n\n"),
        format!("event: message\nid: e3\ndata: {answer}\n\n"),
    ]
}

/// The updates after the one that the request names.
fn mercure(request: &Request) -> Vec<String> {
    let last = request.header("last-event-id").unwrap_or_default();
    let ids = ["urn:uuid:1", "urn:uuid:2", "urn:uuid:3"];
    let begin = ids.iter().position(|id| id.as_bytes() == last).map_or(0, |at| at + 1);
    let updates = ids.iter().zip(PIECES).skip(begin);
    let mut events = vec![":\n".to_owned()];
    events.extend(updates.map(|(id, text)| format!("retry: 300\nid: {id}\ndata: {text}\n\n")));
    events
}
