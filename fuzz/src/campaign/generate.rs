//! Cases out of a seed: what servers stumble over, in the places where it may be.

use fastrand::Rng;

use super::case::{Case, Raw, SECRET};
use crate::wire::target::{Target, is_secret_name};

/// Headers that servers of event streams, or what is before them, look at.
const HEADERS: [&str; 22] = [
    "Last-Event-ID",
    "Accept",
    "Accept-Encoding",
    "Accept-Language",
    "Authorization",
    "Cache-Control",
    "Connection",
    "Content-Length",
    "Content-Type",
    "Cookie",
    "Expect",
    "Forwarded",
    "Host",
    "If-None-Match",
    "Origin",
    "Range",
    "Referer",
    "Transfer-Encoding",
    "Upgrade",
    "User-Agent",
    "X-Forwarded-For",
    "X-Request-ID",
];

/// Parameters that servers of event streams look at, besides those of the URL.
const PARAMETERS: [&str; 12] = [
    "channel",
    "cursor",
    "from",
    "id",
    "lastEventId",
    "last_event_id",
    "limit",
    "offset",
    "since",
    "stream",
    "topic",
    "x",
];

const METHODS: [&str; 10] =
    ["POST", "PUT", "HEAD", "OPTIONS", "DELETE", "PATCH", "TRACE", "QUERY", "get", "GETT"];

const VERSIONS: [&str; 5] = ["HTTP/1.0", "HTTP/2.0", "HTTP/0.9", "HTTP/1.9", "http/1.1"];

/// Values that mean too much, too little, or something else.
const VALUES: [&[u8]; 44] = [
    b"",
    b" ",
    b"0",
    b"-1",
    b"1e9",
    b"4294967296",
    b"9223372036854775807",
    b"18446744073709551616",
    b"99999999999999999999999999",
    b"NaN",
    b"null",
    b"true",
    b"[]",
    b"{}",
    b"{\"a\":1}",
    b"[[[[[[[[[[[[[[[[",
    b"%",
    b"%0",
    b"%zz",
    b"%00",
    b"%0a",
    b"%0d%0aX: y",
    b"%ff",
    b"%C0%AF",
    b"%ED%A0%80",
    b"..%2f..%2fetc%2fpasswd",
    b"../../../../etc/passwd",
    b"'",
    b"\"",
    b"' OR '1'='1",
    b"$(id)",
    b"{{7*7}}",
    b"${x}",
    b"<a>",
    b";",
    b",",
    b",,,,,,,,",
    b":",
    b"a:b:c",
    b"\xff\xfe",
    b"\xc3",
    b"\xf0\x9f\x98\x80",
    b"\t",
    b"%u0041",
];

/// The longest query: no server takes a longer one.
const LONGEST: usize = 64 << 10;

/// What only some headers have.
const WORDS: [&str; 14] = [
    "*/*",
    "text/html",
    "application/json",
    "text/event-stream;q=0",
    "text/event-stream; charset=utf-16",
    "gzip",
    "gzip, br, zstd, identity;q=0",
    "Bearer",
    "Bearer a.b.c",
    "Basic Og==",
    "bytes=0-0",
    "chunked",
    "close, keep-alive, te",
    "100-continue",
];

/// What the server itself has said, to be taken up.
pub(super) struct Known<'a> {
    pub(super) target: &'a Target,
    /// Ids that the witness has got.
    pub(super) ids: &'a [String],
}

/// The case of this number: always the same, but for ids of the server.
pub(super) fn case(seed: u64, number: u64, known: &Known<'_>) -> Case {
    // Each has a seed of its own, so that one can be drawn without those before it.
    let mut rng = Rng::with_seed(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(number));
    let mut case = Case::default();
    for _ in 0..rng.usize(1..4) {
        change(&mut case, &mut rng, known);
    }
    if rng.u8(0..16) == 0 {
        case.hold = rng.u64(1..50);
    }
    case
}

fn change(case: &mut Case, rng: &mut Rng, known: &Known<'_>) {
    match rng.u8(0..20) {
        0..4 => case.headers.push(("Last-Event-ID".into(), Some(Raw(id(rng, known.ids))))),
        4..8 => {
            let name = HEADERS[rng.usize(0..HEADERS.len())];
            // Seldom none, which counts only for those of the plain request.
            let value = (rng.u8(0..8) > 0).then(|| Raw(value(rng)));
            case.headers.push((name.into(), value));
        }
        8..12 => case.query = Some(Raw(query(case, rng, known.target))),
        12..14 => {
            let mut path = plain_path(known.target);
            match rng.u8(0..3) {
                0 => path.push(b'/'),
                1 => path = b"/".to_vec(),
                _ => {}
            }
            path.extend(printable(value(rng)));
            case.path = Some(Raw(path));
        }
        14 => case.method = Some(METHODS[rng.usize(0..METHODS.len())].into()),
        15 => case.version = Some(VERSIONS[rng.usize(0..VERSIONS.len())].into()),
        16 => {
            case.body = Some(Raw(value(rng)));
            if rng.bool() {
                case.method = Some("POST".into());
            }
        }
        17 => case.cut = Some(rng.usize(0..300)),
        18 => case.pause = rng.u64(1..30),
        _ => case.reset = true,
    }
}

/// A value as it is in a list, with a change or two, or much too long.
fn value(rng: &mut Rng) -> Vec<u8> {
    let mut value = if rng.u8(0..3) == 0 {
        WORDS[rng.usize(0..WORDS.len())].as_bytes().to_vec()
    } else {
        VALUES[rng.usize(0..VALUES.len())].to_vec()
    };
    match rng.u8(0..12) {
        0 => value = value.repeat(rng.usize(2..400)),
        1 => value = vec![rng.u8(b'!'..=b'~'); rng.usize(1..9000)],
        2 => {
            let at = rng.usize(0..=value.len());
            value.insert(at, rng.u8(..));
        }
        3 => value.extend(VALUES[rng.usize(0..VALUES.len())]),
        _ => {}
    }
    // Line ends would make other headers of it; that is what `inj` and `rob` of the probe are for.
    value.retain(|byte| !matches!(byte, b'\r' | b'\n' | 0));
    value
}

/// An id of the server's, changed a little, or any value.
fn id(rng: &mut Rng, ids: &[String]) -> Vec<u8> {
    if ids.is_empty() || rng.u8(0..3) == 0 {
        return value(rng);
    }
    let mut id = ids[rng.usize(0..ids.len())].clone().into_bytes();
    let at = rng.usize(0..=id.len());
    match rng.u8(0..6) {
        0 => id.truncate(at),
        1 => drop(id.splice(at..at, value(rng))),
        2 => id = [&id[..], b",", &id].concat(),
        3 => id.extend(b"9".repeat(rng.usize(1..24))),
        4 => id.iter_mut().for_each(|byte| {
            if byte.is_ascii_digit() {
                *byte = rng.u8(b'0'..=b'9');
            }
        }),
        _ => {}
    }
    id.retain(|byte| !matches!(byte, b'\r' | b'\n' | 0));
    id
}

/// The query, with a parameter more, fewer, or another. Secrets of the URL are not in it.
fn query(case: &Case, rng: &mut Rng, target: &Target) -> Vec<u8> {
    let plain = target.path();
    let plain = plain.split_once('?').map_or("", |(_, query)| query);
    let mut pairs: Vec<Vec<u8>> = match &case.query {
        Some(query) => query.0.split(|&byte| byte == b'&').map(<[u8]>::to_vec).collect(),
        None => plain.split('&').map(|pair| hidden(pair).into_bytes()).collect(),
    };
    pairs.retain(|pair| !pair.is_empty());
    let own: Vec<&str> = plain.split('&').filter_map(|pair| pair.split('=').next()).collect();
    let own = own.into_iter().filter(|name| !name.is_empty());
    let names: Vec<&str> = own.chain(PARAMETERS).collect();
    let name = names[rng.usize(0..names.len())];
    let pair = [name.as_bytes(), b"=", &printable(value(rng))].concat();
    let at = rng.usize(0..=pairs.len());
    match rng.u8(0..4) {
        0 if at < pairs.len() => drop(pairs.remove(at)),
        1 if at < pairs.len() => pairs[at] = pair,
        2 => {
            for _ in 0..rng.usize(1..40) {
                pairs.push(pair.clone());
            }
        }
        _ => pairs.insert(at, pair),
    }
    let mut query = pairs.join(&b'&');
    query.truncate(LONGEST);
    query
}

fn hidden(pair: &str) -> String {
    match pair.split_once('=') {
        Some((name, _)) if is_secret_name(name) => format!("{name}={SECRET}"),
        _ => pair.to_owned(),
    }
}

fn plain_path(target: &Target) -> Vec<u8> {
    let path = target.path();
    path.split('?').next().unwrap_or_default().as_bytes().to_vec()
}

/// In a request line a space would end it.
fn printable(mut value: Vec<u8>) -> Vec<u8> {
    value.retain(|byte| !matches!(byte, b' ' | b'\t'));
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_always_makes_the_same_cases_and_no_secret_is_in_them() {
        let target = Target::new("http://127.0.0.1:1/a?channel=x&token=s3cret").expect("a URL");
        let ids = ["test:17".to_owned()];
        let known = Known { target: &target, ids: &ids };
        for number in 0..2000 {
            let drawn = case(7, number, &known);
            assert_eq!(drawn, case(7, number, &known));
            assert!(!format!("{drawn:?}").contains("s3cret"));
        }
    }
}
