//! Who has a token that holds gets in, and nobody else does.

use access::{
    Answer, SECRET, after, answer, bearer, claims, configured, invalid, keys, no_credentials,
    refused, sign, token,
};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use server::{Server, TOKEN, binary, within};
use testkit::{access, server};
use tokio::io::{AsyncBufReadExt, BufReader};

const RULES: &str = r#"
[[access.rules]]
channel = "news"
allow = "public"

[[access.rules]]
channel = "user-{sub}"
allow = "authenticated"

[[access.rules]]
channel = "*"
allow = "token"
"#;

async fn with(jwt: &str) -> (Server, tempfile::TempDir) {
    configured(&format!("{RULES}[access.jwt]\n{jwt}")).await
}

async fn hs256() -> (Server, tempfile::TempDir) {
    with(&format!("secret = \"{SECRET}\"\nquery = \"access_token\"\ncookie = \"session\"")).await
}

async fn get(server: &Server, channels: &[&str], headers: &str) -> Answer {
    let query: Vec<_> = channels.iter().map(|name| format!("channel={name}")).collect();
    answer(server.get(&format!("/events/?{}", query.join("&")), headers).await).await
}

#[tokio::test]
async fn each_algorithm_lets_its_tokens_in_and_no_others() {
    let pairs = [keys::rs256(), keys::es256(), keys::eddsa()];
    let public = pairs.iter().map(|pair| format!("public-key = '''\n{}'''", pair.public_pem));
    let settings: Vec<_> = [format!("secret = {SECRET:?}")].into_iter().chain(public).collect();
    let keys = [(Algorithm::HS256, EncodingKey::from_secret(SECRET.as_bytes()))].into_iter();
    let keys = keys.chain(pairs.iter().map(|pair| (pair.algorithm, pair.private.clone())));
    let keys: Vec<_> = keys.collect();
    for (index, settings) in settings.iter().enumerate() {
        let (server, _folder) = with(settings).await;
        for (other, (algorithm, key)) in keys.iter().enumerate() {
            let token = sign(*algorithm, key, &claims(json!({"sub": "u1"})));
            let found = get(&server, &["user-u1"], &bearer(&token)).await;
            if index == other {
                assert_eq!(found, Answer::Opened, "{algorithm:?}");
            } else {
                let text = "there is no key for this token's algorithm and key id";
                assert_eq!(found, invalid(text), "{algorithm:?} with {settings}");
            }
        }
    }
}

#[tokio::test]
async fn a_jwk_set_has_several_keys_chosen_by_their_id() {
    use jsonwebtoken::jwk::{Jwk, JwkSet};
    let folder = tempfile::tempdir().expect("a folder");
    let (rsa, ec) = (keys::rs256().private, keys::es256().private);
    let named = |key: &EncodingKey, algorithm, id: &str| {
        let mut jwk = Jwk::from_encoding_key(key, algorithm).expect("a public key");
        jwk.common.key_id = Some(id.to_owned());
        jwk
    };
    let keys = vec![named(&rsa, Algorithm::RS256, "first"), named(&ec, Algorithm::ES256, "second")];
    let path = folder.path().join("jwks.json");
    std::fs::write(&path, serde_json::to_vec(&JwkSet { keys }).expect("JSON")).expect("writable");
    let (server, _folder) = with(&format!("jwks-file = {path:?}")).await;
    let signed = |algorithm, key: &EncodingKey, id: Option<&str>| {
        let mut header = Header::new(algorithm);
        header.kid = id.map(str::to_owned);
        encode(&header, &claims(json!({"sub": "u1"})), key).expect("a token")
    };
    for (token, expected) in [
        (signed(Algorithm::RS256, &rsa, Some("first")), true),
        (signed(Algorithm::ES256, &ec, Some("second")), true),
        (signed(Algorithm::ES256, &ec, None), true),
        (signed(Algorithm::RS256, &rsa, Some("second")), false),
        (signed(Algorithm::RS256, &rsa, Some("third")), false),
    ] {
        let found = get(&server, &["user-u1"], &bearer(&token)).await;
        assert_eq!(found == Answer::Opened, expected, "{found:?}");
    }
}

#[tokio::test]
async fn a_key_that_is_not_in_order_is_no_reason_to_do_without_the_others() {
    use jsonwebtoken::jwk::Jwk;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("jwks.json");
    let key = |key: &EncodingKey, algorithm, id: &str| {
        let mut jwk = Jwk::from_encoding_key(key, algorithm).expect("a public key");
        jwk.common.key_id = Some(id.to_owned());
        serde_json::to_value(jwk).expect("JSON")
    };
    let good = keys::es256().private;
    let mut padded = key(&keys::rs256().private, Algorithm::RS256, "padded");
    padded["e"] = json!("AQAB====");
    let mut numbered = key(&good, Algorithm::ES256, "x");
    numbered["kid"] = json!(7);
    let mut half = key(&good, Algorithm::ES256, "half");
    half["y"] = Value::Null;
    let secret = json!({"kty": "oct", "kid": "empty", "k": ""});
    let leaky = json!({"kty": "oct", "kid": "leaky", "k": ["s3cret"]});
    let unknown = json!({"kty": "AKP", "kid": "unknown", "pub": 1});
    let bad = [padded, numbered, half, secret, leaky, unknown, json!("nonsense"), json!({})];
    let set = |keys: &[Value]| json!({ "keys": keys }).to_string();
    let all = [&bad[..], &[key(&good, Algorithm::ES256, "good")]].concat();
    std::fs::write(&path, set(&all)).expect("writable");
    let (server, _folder) = with(&format!("jwks-file = {path:?}")).await;
    let mut header = Header::new(Algorithm::ES256);
    header.kid = Some("good".to_owned());
    let token = encode(&header, &claims(json!({"sub": "u1"})), &good).expect("a token");
    assert_eq!(get(&server, &["user-u1"], &bearer(&token)).await, Answer::Opened);
    for left_out in [
        r#"keys[0] ("padded")"#,
        "keys[1]: ",
        r#"keys[2] ("half")"#,
        r#"keys[3] ("empty"): the secret has less than 32 bytes"#,
        r#"keys[4] ("leaky")"#,
    ] {
        server.until_logged(&format!("access.jwt.jwks-file: {left_out}")).await;
    }
    let log = server.log();
    assert!(!log.contains("keys[5]") && !log.contains("s3cret"), "{log}");
    // A rotation in which nothing but bad keys is left changes nothing.
    std::fs::write(&path, set(&bad)).expect("writable");
    server.signal("-HUP");
    server.until_logged("the set has no key for HS256").await;
    assert_eq!(get(&server, &["user-u1"], &bearer(&token)).await, Answer::Opened);
}

/// A token made by hand.
fn forged(header: &Value, payload: &Value, signature: &[u8]) -> String {
    let part = |bytes: &[u8]| base64url(bytes);
    let (header, payload) = (header.to_string(), payload.to_string());
    format!("{}.{}.{}", part(header.as_bytes()), part(payload.as_bytes()), part(signature))
}

fn base64url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk
            .iter()
            .enumerate()
            .fold(0u32, |bits, (i, &b)| bits | u32::from(b) << (16 - 8 * i));
        for i in 0..=chunk.len() {
            out.push(char::from(ALPHABET[(bits >> (18 - 6 * i)) as usize & 63]));
        }
    }
    out
}

#[tokio::test]
async fn forged_tokens_get_nobody_in() {
    let (server, _folder) = hs256().await;
    let rsa = keys::rs256();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("public.pem");
    std::fs::write(&path, &rsa.public_pem).expect("writable");
    let (of_rsa, _folder) = with(&format!("public-key-file = {path:?}")).await;
    let good = claims(json!({"sub": "u1"}));
    let mut cut = token(json!({"sub": "u1"}));
    cut.truncate(cut.len() - 4);
    let (head, rest) = cut.split_once('.').expect("parts");
    let (_, signature) = rest.split_once('.').expect("parts");
    let swapped = format!("{head}.{}.{signature}", base64url(good.to_string().as_bytes()));
    let other = EncodingKey::from_secret(b"another secret of more than thirty-two bytes");
    let public = EncodingKey::from_secret(rsa.public_pem.as_bytes());
    let crit = {
        let mut header = Header::new(Algorithm::HS256);
        header.crit = Some(vec!["exp".to_owned()]);
        encode(&header, &good, &EncodingKey::from_secret(SECRET.as_bytes())).expect("a token")
    };
    let huge = token(json!({"sub": "u1", "x": "x".repeat(20_000)}));
    let tokens = [
        forged(&json!({"alg": "none", "typ": "JWT"}), &good, b""),
        forged(&json!({"alg": "None"}), &good, b""),
        forged(&json!({"alg": "HS256"}), &good, b""),
        forged(&json!({"alg": ["HS256", "none"]}), &good, b"x"),
        forged(&json!({"typ": "JWT"}), &good, b"x"),
        sign(Algorithm::HS256, &other, &good),
        sign(Algorithm::HS384, &EncodingKey::from_secret(SECRET.as_bytes()), &good),
        // A public key taken for a secret.
        sign(Algorithm::HS256, &public, &good),
        crit,
        cut.clone(),
        swapped,
        huge,
        String::new(),
        "garbage".to_owned(),
        "..".to_owned(),
        "a.b.c".to_owned(),
        "\u{e9}\u{fffd}".to_owned(),
        "x".repeat(30_000),
        format!("{},x", token(json!({"sub": "u1"}))),
    ];
    for token in &tokens {
        for (server, name) in [(&server, "HS256"), (&of_rsa, "RS256")] {
            // Not even to what is public: a client that sends a token means it.
            for channel in ["user-u1", "news"] {
                let found = get(server, &[channel], &bearer(token)).await;
                let shown: String = token.chars().take(80).collect();
                assert!(matches!(found, Answer::Status(401, _)), "{name} {shown}: {found:?}");
            }
        }
    }
}

#[tokio::test]
async fn times_issuer_and_audience_are_checked() {
    let settings = format!("secret = {SECRET:?}\nissuer = \"us\"\naudience = [\"sse\", \"x\"]");
    let (server, _folder) = with(&settings).await;
    let base = json!({"sub": "u1", "iss": "us", "aud": "sse"});
    let with = |more: Value| {
        let mut all = base.clone();
        for (name, value) in more.as_object().expect("an object") {
            all[name] = value.clone();
        }
        token(all)
    };
    for good in [
        json!({}),
        json!({"aud": ["other", "x"]}),
        json!({"nbf": after(-10)}),
        json!({"exp": 9_999_999_999_999_u64}),
        json!({"exp": 1e15}),
    ] {
        assert_eq!(
            get(&server, &["user-u1"], &bearer(&with(good.clone()))).await,
            Answer::Opened,
            "{good}"
        );
    }
    for (bad, description) in [
        (json!({"exp": after(-2)}), "the token has expired"),
        (json!({"exp": 0}), "the token has expired"),
        (json!({"exp": null}), "the token lacks a claim: exp, iss or aud"),
        (json!({"exp": "tomorrow"}), "the token lacks a claim: exp, iss or aud"),
        (json!({"exp": -1}), "the token lacks a claim: exp, iss or aud"),
        (json!({"exp": 1e300}), "the token lacks a claim: exp, iss or aud"),
        (json!({"nbf": after(60)}), "the token is not valid yet"),
        (json!({"nbf": "now"}), "a time in the token is no number"),
        (json!({"iss": "them"}), "the token is of another issuer"),
        (json!({"iss": null}), "the token lacks a claim: exp, iss or aud"),
        (json!({"aud": "them"}), "the token is for another audience"),
        (json!({"aud": null}), "the token lacks a claim: exp, iss or aud"),
    ] {
        let found = get(&server, &["user-u1"], &bearer(&with(bad.clone()))).await;
        assert_eq!(found, invalid(description), "{bad}");
    }
    let (lenient, _folder) = hs256().await;
    let for_somebody = token(json!({"sub": "u1", "aud": "them"}));
    let found = get(&lenient, &["user-u1"], &bearer(&for_somebody)).await;
    assert_eq!(found, invalid("the token is for another audience"));
}

#[tokio::test]
async fn rules_and_claims_decide_what_a_token_is_good_for() {
    let (server, _folder) = hs256().await;
    let listing = bearer(&token(json!({"sub": "u1", "channels": ["a", "b-*", "{sub}"]})));
    let plain = bearer(&token(json!({"sub": "u2"})));
    let number = bearer(&token(json!({"sub": 7})));
    let nameless = bearer(&token(json!({"channels": "a"})));
    let star = bearer(&token(json!({"sub": "*"})));
    for (headers, channels, expected) in [
        ("", &["news"][..], Answer::Opened),
        ("", &["a"], no_credentials()),
        ("", &["news", "a"], no_credentials()),
        ("Authorization: Basic dTpw\r\n", &["news"], Answer::Opened),
        (&listing, &["news", "user-u1", "a", "b-1", "{sub}"], Answer::Opened),
        (&listing, &["user-u2"], refused("user-u2")),
        (&listing, &["a", "c", "user-u1", "aa"], refused("c, aa")),
        (&plain, &["user-u2", "news"], Answer::Opened),
        (&plain, &["a"], refused("a")),
        (&number, &["user-7"], Answer::Opened),
        (&nameless, &["a"], Answer::Opened),
        (&nameless, &["user-"], refused("user-")),
        (&star, &["user-*"], Answer::Opened),
        (&star, &["user-u1"], refused("user-u1")),
    ] {
        assert_eq!(get(&server, channels, headers).await, expected, "{channels:?} {headers}");
    }
}

#[tokio::test]
async fn a_refused_stream_is_told_in_django_eventstreams_bytes() {
    let (server, _folder) = hs256().await;
    let headers = bearer(&token(json!({"sub": "u1"})));
    let mut stream = server.get("/events/?channel=b&channel=news&channel=a", &headers).await;
    assert_eq!(stream.status, 200);
    assert_eq!(stream.header("content-type"), Some("text/event-stream"));
    assert_eq!(
        stream.body().await,
        "event: stream-error\nid: error\ndata: {\"condition\": \"forbidden\", \"text\": \"Permission \
         denied to channels: b, a\", \"channels\": [\"b\", \"a\"]}\n\n"
    );
}

#[tokio::test]
async fn a_token_comes_in_the_authorization_the_query_or_a_cookie() {
    let (server, _folder) = hs256().await;
    let (u1, u2) = (token(json!({"sub": "u1"})), token(json!({"sub": "u2"})));
    let cookie = |token: &str| format!("Cookie: a=b; session={token}; c=d\r\n");
    let open = async |channel: &str, query: &str, headers: &str| {
        answer(server.get(&format!("/events/{channel}/?{query}"), headers).await).await
    };
    let in_query = format!("access_token={u1}");
    assert_eq!(open("user-u1", &in_query, "").await, Answer::Opened);
    assert_eq!(open("user-u1", "", &cookie(&u1)).await, Answer::Opened);
    assert_eq!(open("user-u1", &in_query, &cookie(&u2)).await, Answer::Opened);
    assert_eq!(open("user-u2", &in_query, &bearer(&u2)).await, Answer::Opened);
    assert_eq!(open("user-u1", &in_query, &bearer(&u2)).await, refused("user-u1"));
    assert_eq!(open("user-u1", "", "Cookie: sessions=x; session2=y\r\n").await, no_credentials());
    assert!(matches!(open("news", "", &cookie("x")).await, Answer::Status(401, _)));
    assert!(matches!(open("news", "access_token=", "").await, Answer::Status(401, _)));
    // Not configured, not looked at.
    let (server, _folder) = with(&format!("secret = {SECRET:?}")).await;
    let found = server.get(&format!("/events/user-u1/?{in_query}"), &cookie(&u1)).await;
    assert_eq!(answer(found).await, no_credentials());
}

#[tokio::test]
async fn a_token_that_expires_ends_its_stream_and_no_other() {
    let (server, _folder) = hs256().await;
    let short = token(json!({"sub": "u1", "exp": after(2)}));
    let mut ending = server.get("/events/?channel=news", &bearer(&short)).await;
    ending.opening().await;
    let lasting = token(json!({"sub": "u1"}));
    let mut other = server.get("/events/?channel=news", &bearer(&lasting)).await;
    other.opening().await;
    assert_eq!(
        ending.body().await,
        "id: news:0\n\n:the credentials have expired\n\n",
        "no error: a client with a new token goes on"
    );
    server.fill("news", 1).await;
    other.until("data: 1\n\n").await;
    let again = get(&server, &["news"], &bearer(&short)).await;
    assert_eq!(again, invalid("the token has expired"));
}

#[tokio::test]
async fn tokens_in_the_query_are_not_in_the_log() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("settings.toml");
    let es_meta = "[access.es-meta]\nsecret = \"the key of a Django site\"\n";
    let jwt = format!("[access.jwt]\nsecret = {SECRET:?}\nquery = \"access_token\"\n");
    std::fs::write(&path, format!("{RULES}{jwt}{es_meta}")).expect("writable");
    let mut command = binary();
    command.args(["--listen", "127.0.0.1:0", "--storage", "memory", "--publish-token", TOKEN]);
    command.args(["--log", "trace", "--config"]).arg(&path);
    let mut child = command.spawn().expect("it starts");
    let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
    let mut log = String::new();
    let address = within("the server to listen", async {
        loop {
            let line = lines.next_line().await.expect("readable").expect("a line");
            log += &line;
            if let Some((_, rest)) = line.split_once("listening on http://") {
                return rest.split_once('/').expect("a path").0.parse().expect("an address");
            }
        }
    })
    .await;
    let good = token(json!({"sub": "u1"}));
    for query in [
        format!("channel=a&access_token={good}"),
        format!("channel=user-u1&access_token={good}"),
        "channel=a&access_token=garbage-s3cret".to_owned(),
        "channel=a&access%5Ftoken=garbage-s3cret".to_owned(),
        "channel=a&es-meta=garbage-s3cret".to_owned(),
    ] {
        let request = format!("GET /events/?{query} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        server::send(address, request.as_bytes()).await;
        let request = format!("GET /events?{query} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        server::send(address, request.as_bytes()).await;
    }
    within("the log", async {
        while log.matches("were refused").count() < 3 || !log.contains("a stream was refused") {
            log += &lines.next_line().await.expect("readable").expect("a line");
        }
    })
    .await;
    assert!(log.contains("access_token=…") && log.contains("es-meta=…"), "{log}");
    assert!(!log.contains("s3cret") && !log.contains(&good) && !log.contains(SECRET), "{log}");
}

/// What Django puts into a link.
fn es_meta(key: &str, claims: &Value) -> String {
    sign(Algorithm::HS256, &EncodingKey::from_secret(key.as_bytes()), claims)
}

#[tokio::test]
async fn es_meta_pins_the_user_and_the_channels() {
    const KEY: &str = "the key of a Django site";
    let (server, _folder) = configured(&format!(
        "{RULES}[access.jwt]\nsecret = {SECRET:?}\n[access.es-meta]\nsecret = {KEY:?}\n"
    ))
    .await;
    let open = async |query: &str, token: &str| {
        let path = format!("/events/?{query}&es-meta={token}");
        answer(server.get(&path, "").await).await
    };
    let meta = |user: &str, channels: Value| {
        es_meta(KEY, &json!({"iss": "es", "exp": after(3600), "channels": channels, "user": user}))
    };
    // The channels of the token, not those of the query; and rules are still asked.
    let u1 = meta("u1", json!(["a", "user-u1"]));
    let mut stream = server.get(&format!("/events/?channel=other&es-meta={u1}"), "").await;
    stream.opening().await;
    assert_eq!(stream.until("\n\n").await, "id: a:0,user-u1:0\n\n");
    assert_eq!(open("channel=a", &meta("u1", json!(["user-u1", "news"]))).await, Answer::Opened);
    assert_eq!(open("channel=news", &meta("anonymous", json!(["news"]))).await, Answer::Opened);
    assert_eq!(open("channel=a", &meta("anonymous", json!(["a"]))).await, Answer::Opened);
    let bad = es_meta("another key", &json!({"iss": "es", "exp": after(60), "channels": ["news"]}));
    assert_eq!(open("channel=news", &bad).await, invalid("the token's signature is wrong"));
    for (claims, description) in [
        (json!({"iss": "es", "exp": after(-2), "user": "u1"}), "the token has expired"),
        (json!({"iss": "app", "exp": after(60), "user": "u1"}), "the token is of another issuer"),
        (json!({"exp": after(60), "user": "u1"}), "the token lacks a claim: exp, iss or aud"),
        (
            json!({"iss": "es", "exp": after(60), "channels": "news"}),
            "es-meta: the channels must be a list of names",
        ),
    ] {
        let found = open("channel=news", &es_meta(KEY, &claims)).await;
        assert_eq!(found, invalid(description), "{claims}");
    }
    let many: Vec<_> = (0..11).map(|n| format!("c{n}")).collect();
    let mut stream = server.get(&format!("/events/?es-meta={}", meta("u1", json!(many))), "").await;
    assert!(stream.body().await.contains("Channel limit exceeded."));
}

#[tokio::test]
async fn es_meta_of_the_same_key_is_no_bearer_token() {
    let (server, _folder) = hs256().await;
    let meta =
        es_meta(SECRET, &json!({"iss": "es", "exp": after(60), "channels": ["a"], "sub": "u1"}));
    let found = get(&server, &["user-u1"], &bearer(&meta)).await;
    assert_eq!(found, invalid("this is a token for es-meta only"));
}
