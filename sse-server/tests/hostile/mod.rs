//! Requests made at random, and what a model says of them: which channels they may open, if any.
#![allow(unreachable_pub, reason = "a module of one test")]

pub mod tokens;

use std::collections::BTreeSet;

use fastrand::Rng;
use tokens::Token;

/// What may come back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// A stream of exactly these channels.
    Stream(BTreeSet<String>),
    /// Anything but a stream or a server error.
    NoStream,
}

/// A request, and what the model says of it.
#[derive(Clone, Debug)]
pub struct Case {
    pub bytes: Vec<u8>,
    pub expected: Expected,
    pub is_head: bool,
    /// Nothing else can be sent over the same connection.
    pub is_last: bool,
}

/// What a resume id is worth.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Resume {
    None,
    Good,
    Bad,
}

/// A request that may be good in each part, or not. The model looks at these parts, never at the
/// bytes.
struct Parts {
    method: &'static str,
    /// The channels that the place or the query asks for; none if no stream is there.
    channels: Option<Vec<String>>,
    token: Option<Token>,
    has_es_meta: bool,
    resume: Resume,
    wants_stream: bool,
    is_too_large: bool,
}

impl Parts {
    /// The model: the rules of `hostile_requests.rs`, told once more in other words.
    fn expected(&self) -> Expected {
        let is_refused = !matches!(self.method, "GET" | "HEAD")
            || self.has_es_meta
            || self.is_too_large
            || !self.wants_stream
            || self.resume == Resume::Bad;
        let (false, Some(channels)) = (is_refused, &self.channels) else {
            return Expected::NoStream;
        };
        let nobody = Token::nobody();
        let token = self.token.as_ref().unwrap_or(&nobody);
        let channels: BTreeSet<String> = channels.iter().cloned().collect();
        let may_read = |channel: &String| match &**channel {
            "news" => true,
            "vault" => token.lists_vault,
            other => token.user.as_ref().is_some_and(|user| *other == format!("user-{user}")),
        };
        let are_all = (1..=10).contains(&channels.len()) && channels.iter().all(may_read);
        if token.is_good && are_all { Expected::Stream(channels) } else { Expected::NoStream }
    }
}

fn one<'a, T: ?Sized>(rng: &mut Rng, all: &[&'a T]) -> &'a T {
    all[rng.usize(..all.len())]
}

/// The name, with some of its bytes percent-encoded.
fn encoded(rng: &mut Rng, name: &str) -> String {
    let encode = |byte: u8| match byte {
        byte if byte.is_ascii_alphanumeric() && rng.u8(..8) > 0 => char::from(byte).to_string(),
        byte if rng.bool() => format!("%{byte:02x}"),
        byte => format!("%{byte:02X}"),
    };
    name.bytes().map(encode).collect()
}

fn channel(rng: &mut Rng) -> String {
    let usual =
        ["news", "news", "news", "vault", "user-u1", "user-u1", "user-u2", "user-7", "user-*"];
    let odd = [
        "",
        "*",
        "user-",
        "user-{sub}",
        "vault\0",
        "Vault",
        "news,vault",
        "é\u{202e}",
        " news",
        "a/b",
    ];
    match rng.u8(..20) {
        0 => one(rng, &odd).to_owned(),
        1 => "x".repeat(rng.usize(250..300)),
        _ => one(rng, &usual).to_owned(),
    }
}

/// Text for where it means nothing, without what would end the place.
fn noise(rng: &mut Rng, len: usize) -> String {
    const SIGNS: &[u8] = b"abz09%25%00%ff%2F%0d%0a=;:,+*{}[]\"'\\/.?@!~$^|<>`-_()";
    (0..rng.usize(1..len)).map(|_| char::from(SIGNS[rng.usize(..SIGNS.len())])).collect()
}

/// A request that knows how it is done, and whose parts may be hostile.
pub fn request(rng: &mut Rng, tokens: &[Token]) -> Case {
    let mut query: Vec<String> = Vec::new();
    let mut headers: Vec<Vec<u8>> = Vec::new();
    let name = channel(rng);
    let (path, channels) = match rng.u8(..12) {
        0..=4 => {
            let mut names = vec![name];
            for _ in 0..if rng.u8(..30) == 0 { 14 } else { rng.usize(..3) } {
                names.push(if rng.bool() { names[0].clone() } else { channel(rng) });
            }
            query.extend(names.iter().map(|name| format!("channel={}", encoded(rng, name))));
            ("/events/".to_owned(), Some(names))
        }
        // A part of a path has at least one character.
        5..=7 if !name.is_empty() => {
            query.push("channel=vault".to_owned());
            (format!("/events/{}/", encoded(rng, &name)), Some(vec![name]))
        }
        8 => {
            let user = one(rng, &["u1", "u2", "*", "7"]);
            (format!("/rooms/{}/", encoded(rng, user)), Some(vec![format!("user-{user}")]))
        }
        9 => ("/feed/".to_owned(), Some(vec!["news".to_owned()])),
        10 => (
            one(rng, &["/events", "/feed", "/events/%ff/", "/events/a/b/", "/publish/"]).to_owned(),
            None,
        ),
        _ => (format!("/{}", noise(rng, 40).replace(['?', '#'], "")), None),
    };
    let mut parts = Parts {
        method: "GET",
        channels,
        token: None,
        has_es_meta: false,
        resume: Resume::None,
        wants_stream: true,
        is_too_large: false,
    };
    credentials(rng, tokens, &mut parts, &mut query, &mut headers);
    resumption(rng, &mut parts, &mut query, &mut headers);
    for _ in 0..rng.usize(..3) {
        match rng.u8(..9) {
            0 => {
                let (accept, is_stream) = [
                    ("text/event-stream", true),
                    ("text/html", false),
                    ("application/json", false),
                    ("*/*;q=0", false),
                    ("text/html;q=0.1, */*;q=0.2", true),
                ][rng.usize(..5)];
                // Another line would be joined with it.
                if !headers.iter().any(|header| header.starts_with(b"Accept")) {
                    headers.push(format!("Accept: {accept}").into());
                    parts.wants_stream = is_stream;
                }
            }
            1 => query.push(format!(
                "x{}={}",
                rng.u8(..),
                noise(rng, 60).replace(['#', '"', '<', '>'], "")
            )),
            2 => query.push("user=u1&sub=u1&link=next&recover=true&messages_types=x".to_owned()),
            3 => headers
                .push(b"X-Forwarded-User: u1\r\nX-SSE-User: u1\r\nX-SSE-Channels: vault".to_vec()),
            4 => headers.push(
                format!("Origin: {}", one(rng, &["https://example.com", "null", "x"])).into(),
            ),
            5 => headers
                .push([format!("X-{}: ", rng.u32(..)).as_bytes(), b"\xff\xfe\x80 \t\xe9"].concat()),
            6 => headers
                .push(format!("Grip-Sig: {}\r\nGrip-Last: x; last-id=y", noise(rng, 40)).into()),
            7 if rng.u8(..6) == 0 => {
                parts.is_too_large = true;
                match rng.u8(..3) {
                    0 => query.push("y".repeat(17_000)),
                    1 => headers.push(format!("Cookie: {}", "y".repeat(40_000)).into()),
                    _ => headers.extend((0..70).map(|n| format!("X-{n}: y").into())),
                }
            }
            _ => headers.push(format!("X-{}: {}", rng.u32(..), noise(rng, 200)).into()),
        }
    }
    let mut body = String::new();
    match rng.u8(..40) {
        0..=1 => parts.method = "HEAD",
        2 => {
            parts.method =
                one(rng, &["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "get", "X"]);
        }
        3 => {
            body = noise(rng, 1000);
            headers.push(format!("Content-Length: {}", body.len()).into());
        }
        _ => {}
    }
    rng.shuffle(&mut headers);
    // The order of the query matters where a parameter may be there twice; it never is.
    rng.shuffle(&mut query);
    let lines = headers.iter().flat_map(|header| header.split(|&byte| byte == b'\n'));
    let size: usize = lines.map(|line| line.trim_ascii().len()).sum();
    let query = if query.is_empty() { String::new() } else { format!("?{}", query.join("&")) };
    let mut bytes =
        format!("{} {path}{query} HTTP/1.1\r\nHost: localhost\r\n", parts.method).into_bytes();
    for header in headers {
        bytes.extend_from_slice(&header);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(body.as_bytes());
    // Tokens may be long, and there may be several. Nothing here is so near to a limit that it
    // depends on the colons.
    parts.is_too_large |= path.len() + query.len() > 16 << 10 || size > 32 << 10;
    let is_head = parts.method == "HEAD";
    Case { expected: parts.expected(), is_head, is_last: !body.is_empty(), bytes }
}

/// Adds tokens to one or more places, of which the first decides.
fn credentials(
    rng: &mut Rng,
    tokens: &[Token],
    parts: &mut Parts,
    query: &mut Vec<String>,
    headers: &mut Vec<Vec<u8>>,
) {
    let places = [rng.u8(..3) == 0, rng.u8(..5) == 0, rng.u8(..5) == 0];
    for (place, is_there) in places.into_iter().enumerate() {
        if !is_there {
            continue;
        }
        let token = if rng.u8(..10) == 0 {
            Token::bad(noise(rng, 60).replace(['#', '&', ';', '"', '<', '>'], "-"))
        } else {
            tokens[rng.usize(..tokens.len())].clone()
        };
        match place {
            0 => {
                let scheme = one(rng, &["Bearer", "bearer", "BEARER"]);
                headers.push(format!("Authorization: {scheme} {}", token.text).into());
            }
            1 => {
                // A plus sign would be a space.
                let text = token.text.replace('%', "%25").replace('+', "%2B");
                query.push(format!("access_token={text}"));
            }
            // A cookie that is not ASCII is none.
            _ if !token.text.is_ascii() => continue,
            _ => {
                let before = one(rng, &["", "a=b; ", "session2=x;", "; ;=;"]);
                headers.push(format!("Cookie: {before}session={}", token.text).into());
            }
        }
        parts.token.get_or_insert(token);
    }
    if rng.u8(..20) == 0 {
        // Signed with a key that nobody knows.
        query.push(format!("es-meta={}", tokens[rng.usize(..tokens.len())].text));
        parts.has_es_meta = true;
    }
}

/// Adds ids to resume from. Those that are good begin before the first event, so that what follows
/// says which channels there are.
fn resumption(
    rng: &mut Rng,
    parts: &mut Parts,
    query: &mut Vec<String>,
    headers: &mut Vec<Vec<u8>>,
) {
    let mut id = |parts: &Parts| {
        let all = parts.channels.iter().flatten();
        let all: Vec<_> = all.map(|name| format!("{}:0", encoded(rng, name))).collect();
        match rng.u8(..10) {
            0 => (b"error".to_vec(), Resume::Bad),
            1 => (b"a:b:c,,".to_vec(), Resume::Bad),
            2 => (b"\xff\xfe:1".to_vec(), Resume::Bad),
            3 => (b"news:99999999999999999999999999999999x".to_vec(), Resume::Bad),
            4 => (b"other:7,news:0".to_vec(), Resume::Good),
            _ => (all.join(",").into_bytes(), Resume::Good),
        }
    };
    let (in_header, in_query) = (id(parts), id(parts));
    if rng.u8(..6) == 0
        && let Ok(text) = String::from_utf8(in_query.0)
    {
        query.push(format!("lastEventId={}", text.replace('%', "%25")));
        parts.resume = if text.is_empty() { Resume::None } else { in_query.1 };
    }
    if rng.u8(..6) == 0 {
        if !in_header.0.is_empty() {
            parts.resume = in_header.1;
        }
        headers.push([b"Last-Event-ID: ", &*in_header.0].concat());
    }
}

/// A publish request with a body that means no good, with the right token or without.
pub fn publishing(rng: &mut Rng, token: &str) -> Case {
    let deep = rng.usize(1..5000);
    let body = match rng.u8(..12) {
        0 => noise(rng, 500),
        1 => "[".repeat(deep),
        2 => format!(r#"{{"channel":"sink","data":{}{}}}"#, "[".repeat(deep), "]".repeat(deep)),
        3 => format!("{}1{}", r#"{"channel":"sink","data":"#.repeat(deep), "}".repeat(deep)),
        4 => r#"{"channel":"sink","data":"\ud800"}"#.to_owned(),
        5 => format!(r#"{{"channel":"sink","data":{}}}"#, "9".repeat(deep)),
        6 => r#"{"channel":"sink","data":1e999999999}"#.to_owned(),
        7 => r#"{"channel":"sink","channel":"news","data":1}"#.to_owned(),
        8 => r#"{"channel":"sink","event":"stream-error\nid: error","data":1}"#.to_owned(),
        9 => r#"{"channel":"sink","text":"\u0000\r\n\n\rdata: x\n\nevent: y"}"#.to_owned(),
        10 => r#"{"channel":["sink"],"data":{}}"#.to_owned(),
        _ => "{\"channel\":\"sink\",\"text\":\"\u{feff}\"}\n".repeat(rng.usize(1..20)),
    };
    let mut body = body.into_bytes();
    if rng.bool() {
        let place = rng.usize(..body.len());
        body[place] = rng.u8(..);
    }
    let token = if rng.bool() { token } else { one(rng, &["wrong", "", "Bearer", "\u{e9}"]) };
    let kind = one(rng, &["application/json", "application/x-ndjson", "text/plain", ";;="]);
    let path = one(rng, &["/publish/", "/permissions/changed"]);
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nContent-Type: {kind}\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    let bytes = [head.as_bytes(), &body].concat();
    Case { bytes, expected: Expected::NoStream, is_head: false, is_last: true }
}

/// A request of which some bytes have been exchanged, left out or doubled. It has no token that is
/// good, so it may open what is for everyone, at most.
pub fn mutilated(rng: &mut Rng, tokens: &[Token]) -> Vec<u8> {
    let bad: Vec<Token> = tokens.iter().filter(|token| !token.is_good).cloned().collect();
    let mut bytes = request(rng, &bad).bytes;
    for _ in 0..rng.usize(1..6) {
        let place = rng.usize(..bytes.len());
        match rng.u8(..4) {
            0 => bytes[place] = rng.u8(..),
            1 => drop(bytes.remove(place)),
            2 => bytes.insert(place, *b"\r\n\0 :;%&?\xff".get(rng.usize(..10)).expect("ten")),
            _ => {
                let piece = bytes[place..bytes.len().min(place + rng.usize(1..20))].to_vec();
                bytes.splice(place..place, piece);
            }
        }
    }
    bytes
}
