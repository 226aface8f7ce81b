//! JSON Web Tokens: whatever somebody sends, nobody is let in but by a token that was signed with
//! the secret, by the algorithm of the settings, and has not expired.

use std::cell::LazyCell;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::http::{HeaderMap, HeaderValue, header};
use futures::executor::block_on;
use jsonwebtoken::crypto::sign;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::Value;
use sse_server::access::{AccessRequest, AccessSettings, ChannelManager, Occasion, Rules};

pub(crate) const SECRET: &str = "a secret of more than thirty-two bytes";

/// Rules with tokens from everywhere where tokens can be.
pub(crate) const SETTINGS: &str = r#"
rules = [
    { channel = "open*", allow = "public" },
    { channel = "user-{sub}", allow = "authenticated" },
    { channel = "listed-*", allow = "token" },
    { channel = "*", allow = "nobody" },
]
[jwt]
secret = "a secret of more than thirty-two bytes"
query = "token"
cookie = "session"
"#;

pub(crate) fn rules() -> Rules {
    let settings: AccessSettings = toml::from_str(SETTINGS).expect("settings as documented");
    settings.rules().expect("they can be used").expect("there are some")
}

thread_local! {
    static RULES: LazyCell<Rules> = const { LazyCell::new(rules) };
}

/// The first byte says how a token is made of the rest, which is its header and its claims, a line
/// each: signed as it should be, with another key, with another algorithm, not at all, or sent as
/// it is.
pub(crate) fn run(data: &[u8]) {
    let Some((&how, rest)) = data.split_first() else { return };
    let signed = parts(rest).map(|[head, claims]| [encode(head), encode(claims)].join("."));
    let secret = |secret: &str| EncodingKey::from_secret(secret.as_bytes());
    let sign = |text: &str, key: &EncodingKey, algorithm| {
        let signature = sign(text.as_bytes(), key, algorithm).expect("a key of the algorithm");
        format!("{text}.{signature}")
    };
    let token = match (how % 6, &signed) {
        (0, Some(text)) => sign(text, &secret(SECRET), Algorithm::HS256).into_bytes(),
        (1, Some(text)) => sign(text, &secret("another"), Algorithm::HS256).into_bytes(),
        (2, Some(text)) => sign(text, &secret(SECRET), Algorithm::HS512).into_bytes(),
        (3, Some(text)) => format!("{text}.").into_bytes(),
        // The right signature with one bit that is not.
        (4, Some(text)) => {
            let mut token = sign(text, &secret(SECRET), Algorithm::HS256).into_bytes();
            let at = token.len() - 1 - usize::from(how / 6) % 42;
            token[at] = if token[at] == b'A' { b'B' } else { b'A' };
            token
        }
        _ => rest.to_vec(),
    };
    let is_signed = how % 6 == 0 && signed.is_some();
    for value in [[b"Bearer ", &token[..]].concat(), token.clone()] {
        let Ok(value) = HeaderValue::from_bytes(&value) else { continue };
        for name in [header::AUTHORIZATION, header::COOKIE] {
            look(rest, is_signed, &HeaderMap::from_iter([(name, value.clone())]), "");
        }
    }
    if let Ok(token) = str::from_utf8(&token) {
        look(rest, is_signed, &HeaderMap::new(), &format!("token={token}"));
        let Ok(value) = HeaderValue::from_str(&format!("session={token}")) else { return };
        look(rest, is_signed, &HeaderMap::from_iter([(header::COOKIE, value)]), "");
    }
}

fn look(rest: &[u8], is_signed: bool, headers: &HeaderMap, query: &str) {
    let channels: [Arc<str>; 3] = ["user-u1".into(), "listed-a".into(), "open".into()];
    let request = AccessRequest::new("/events/", query, headers).with_channels(&channels);
    RULES.with(|rules| {
        let Ok(principal) = block_on(rules.authenticate(&request)) else { return };
        if principal.is_authenticated() {
            let [head, claims] = parts(rest).expect("it was signed");
            assert!(is_signed, "let in without a signature: {headers:?}");
            let head: Value = serde_json::from_slice(head).expect("a token's header is JSON");
            assert_eq!(head["alg"], "HS256", "by another algorithm");
            let claims: Value = serde_json::from_slice(claims).expect("claims are JSON");
            let expires = claims["exp"].as_f64().expect("a token without an end");
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
            let leeway = Duration::from_mins(10);
            assert!(expires + leeway.as_secs_f64() > now.as_secs_f64(), "it has expired");
        }
        let refused = block_on(rules.refused(&principal, &channels, Occasion::Opening))
            .expect("nobody else is asked");
        if !principal.is_authenticated() {
            assert_eq!(refused, channels[..2], "nobody in particular may read only what is open");
        }
    });
}

/// Header and claims.
fn parts(text: &[u8]) -> Option<[&[u8]; 2]> {
    let at = text.iter().position(|&byte| byte == b'\n')?;
    Some([&text[..at], &text[at + 1..]])
}

/// Base64 as tokens have it (RFC 4648, section 5), without the library that reads it.
fn encode(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let at = |index: usize| u32::from(group.get(index).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for index in 0..=group.len() {
            let letter = bits >> (18 - 6 * index) & 63;
            text.push(char::from(LETTERS[usize::try_from(letter).expect("six bits")]));
        }
    }
    text
}
