//! Tokens, and what the model says of each: most of them are not good, and each in another way.

use fastrand::Rng;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use crate::access::keys::{self, Pair};
use crate::access::{after, sign};

/// A token, or what is sent as one.
#[derive(Clone, Debug)]
pub struct Token {
    pub text: String,
    pub is_good: bool,
    pub user: Option<String>,
    pub lists_vault: bool,
}

impl Token {
    pub fn nobody() -> Self {
        Self { text: String::new(), is_good: true, user: None, lists_vault: false }
    }

    pub fn bad(text: impl Into<String>) -> Self {
        Self { text: text.into(), is_good: false, user: None, lists_vault: false }
    }

    fn good(text: String, user: Option<&str>, lists_vault: bool) -> Self {
        Self { text, is_good: true, user: user.map(str::to_owned), lists_vault }
    }
}

/// The claims of a good token, with these in their place.
fn claims(other: Value) -> Value {
    let mut claims = json!({"sub": "u1", "exp": after(3600), "channels": ["*"]});
    let Value::Object(other) = other else { panic!("no claims") };
    claims.as_object_mut().expect("an object").extend(other);
    claims
}

fn nested(depth: usize) -> Value {
    (0..depth).fold(json!(1), |inner, _| json!([inner]))
}

/// A token of parts that nobody would sign.
fn forged(header: &str, payload: &str, signature: &[u8]) -> String {
    let part = |bytes: &[u8]| base64url(bytes);
    format!("{}.{}.{}", part(header.as_bytes()), part(payload.as_bytes()), part(signature))
}

fn base64url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let bits = bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1));
    let bits: Vec<u8> = bits.collect();
    let sextet = |bits: &[u8]| {
        let bits = bits.iter().chain([0; 5].iter()).take(6);
        char::from(ALPHABET[bits.fold(0, |sum, &bit| sum << 1 | usize::from(bit))])
    };
    bits.chunks(6).map(sextet).collect()
}

/// Tokens for a server that takes RS256 by the public half of this pair.
pub fn all(rng: &mut Rng, pair: &Pair) -> Vec<Token> {
    let good = |other: Value| sign(Algorithm::RS256, &pair.private, &claims(other));
    let mut tokens = vec![
        Token::good(good(json!({})), Some("u1"), true),
        Token::good(good(json!({"channels": []})), Some("u1"), false),
        Token::good(good(json!({"sub": "u2", "channels": ["vault"]})), Some("u2"), true),
        Token::good(good(json!({"sub": "*", "channels": "v*t"})), Some("*"), true),
        Token::good(good(json!({"sub": 7, "channels": ["vaul", "vault?"]})), Some("7"), false),
        Token::good(good(json!({"sub": "", "channels": [""]})), None, false),
        Token::good(good(json!({"sub": 1.5, "channels": true})), None, false),
        Token::good(good(json!({"sub": "u1\0", "channels": ["{sub}"]})), Some("u1\0"), false),
        Token::good(good(json!({"nested": nested(50)})), Some("u1"), true),
        Token::good(good(json!({"long": "x".repeat(5000)})), Some("u1"), true),
    ];
    let mut bad: Vec<String> = [
        json!({"exp": after(-1)}),
        json!({"exp": -1}),
        json!({"exp": "never"}),
        json!({"exp": null}),
        json!({"exp": [after(60)]}),
        json!({"sub": ["u1"]}),
        json!({"sub": {"u1": 1}}),
        json!({"nbf": after(60)}),
        json!({"aud": "others"}),
        json!({"iss": "es"}),
        json!({"nested": nested(200)}),
        json!({"long": "x".repeat(14_000)}),
    ]
    .map(good)
    .into();
    let exp = after(3600);
    // The public key is no secret, so nothing is proven by a signature that it made.
    let pem = pair.public_pem.as_bytes();
    for secret in [pem, pem.trim_ascii_end(), b"", b"secret"] {
        for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
            bad.push(sign(algorithm, &EncodingKey::from_secret(secret), &claims(json!({}))));
        }
    }
    for other in [keys::rs256(), keys::es256(), keys::eddsa()] {
        bad.push(sign(other.algorithm, &other.private, &claims(json!({}))));
    }
    for algorithm in [Algorithm::RS384, Algorithm::RS512, Algorithm::PS256] {
        bad.push(sign(algorithm, &pair.private, &claims(json!({}))));
    }
    let payload = format!(r#"{{"sub":"u1","exp":{exp},"channels":["*"]}}"#);
    for header in [
        r#"{"alg":"none"}"#,
        r#"{"alg":"None","typ":"JWT"}"#,
        r#"{"alg":"nOnE"}"#,
        r#"{"alg":""}"#,
        r#"{"alg":null}"#,
        r#"{"alg":["RS256"]}"#,
        r#"{"typ":"JWT"}"#,
        r#"{"alg":"RS256","alg":"none"}"#,
        r#"{"alg":"RS256","crit":["b64"],"b64":false}"#,
        "[]",
        "",
        "{",
    ] {
        for signature in [&b""[..], b"x", &[0; 256]] {
            bad.push(forged(header, &payload, signature));
        }
    }
    let deep = format!("{}1{}", "[".repeat(5000), "]".repeat(5000));
    bad.push(forged(r#"{"alg":"RS256"}"#, &deep, &[1; 256]));
    bad.push(forged(&format!(r#"{{"alg":"RS256","x":{deep}}}"#), &payload, &[1; 256]));
    // Keys that the token brings with it, or names.
    let own = keys::rs256();
    for (key, value) in [
        ("kid", json!("../../../../dev/null")),
        ("jku", json!("http://127.0.0.1:9/")),
        ("x5u", json!("http://127.0.0.1:9/")),
    ] {
        let mut header = Header::new(Algorithm::RS256);
        let value = value.as_str().map(str::to_owned);
        match key {
            "kid" => header.kid = value,
            "jku" => header.jku = value,
            _ => header.x5u = value,
        }
        bad.push(encode(&header, &claims(json!({})), &own.private).expect("a token"));
    }
    let mut header = Header::new(Algorithm::RS256);
    let jwk = jsonwebtoken::jwk::Jwk::from_encoding_key(&own.private, Algorithm::RS256);
    header.jwk = Some(jwk.expect("a public key"));
    bad.push(encode(&header, &claims(json!({})), &own.private).expect("a token"));
    // One character of a good one is another one; the last has bits that mean nothing.
    let valid = good(json!({}));
    for _ in 0..60 {
        let mut bytes = valid.clone().into_bytes();
        let place = rng.usize(..bytes.len() - 1);
        let found = bytes[place];
        while bytes[place] == found {
            bytes[place] = b"ABCxyz019-_."[rng.usize(..12)];
        }
        bad.push(String::from_utf8(bytes).expect("ASCII"));
        bad.push(valid[..rng.usize(1..valid.len() - 1)].to_owned());
    }
    bad.push(format!("{valid}.{valid}"));
    bad.push(format!("{valid}="));
    bad.extend(["..", ".", "null", "a.b.c", "eyJ.eyJ.", "\u{e9}.\u{e9}.\u{e9}"].map(str::to_owned));
    tokens.extend(bad.into_iter().map(Token::bad));
    // As many good ones as bad ones, or hardly anything would ever be opened.
    let good: Vec<Token> = tokens.iter().filter(|token| token.is_good).cloned().collect();
    while tokens.iter().filter(|token| token.is_good).count() * 2 < tokens.len() {
        tokens.extend(good.iter().cloned());
    }
    tokens
}
