//! Ten thousand requests that mean no good: no server error, and no stream for whoever may not have it.

mod access;
mod server;

use access::{SECRET, after, bearer, configured, keys, sign, token};
use fastrand::Rng;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use server::within;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

const REQUESTS: usize = 10_000;

/// Tokens of which none is good for `vault` or `user-u1`.
fn tokens(rng: &mut Rng) -> Vec<String> {
    let secret = EncodingKey::from_secret(SECRET.as_bytes());
    let other = EncodingKey::from_secret(b"not the secret");
    let rsa = keys::rs256();
    let good = json!({"sub": "u1", "exp": after(3600), "channels": ["*"]});
    let with = |claims: Value| sign(Algorithm::HS256, &secret, &claims);
    let mut tokens = vec![
        // Good, but not for these channels.
        token(json!({"sub": "u2"})),
        token(json!({"sub": "*", "channels": ["other", "vaul", "vault?", "{sub}", "user-{sub}"]})),
        token(json!({"sub": "", "channels": [1, null, {}, ["*"], ""]})),
        token(json!({"sub": null, "channels": {"*": "*"}})),
        token(json!({"sub": ["u1"]})),
        token(json!({"sub": {"u1": 1}})),
        token(json!({"sub": true})),
        token(json!({"sub": 1.5})),
        // Not good.
        with(json!({"sub": "u1", "channels": ["*"]})),
        with(json!({"sub": "u1", "channels": ["*"], "exp": after(-1)})),
        with(json!({"sub": "u1", "channels": ["*"], "exp": -1})),
        with(json!({"sub": "u1", "channels": ["*"], "exp": "never"})),
        with(json!({"sub": "u1", "channels": ["*"], "exp": after(60), "nbf": after(30)})),
        with(json!({"sub": "u1", "channels": ["*"], "exp": after(60), "aud": "others"})),
        with(json!({"sub": "u1", "channels": ["*"], "exp": after(60), "iss": "es"})),
        with(json!(["u1"])),
        with(json!("u1")),
        with(Value::Null),
        sign(Algorithm::HS256, &other, &good),
        sign(Algorithm::HS512, &secret, &good),
        sign(Algorithm::RS256, &rsa.private, &good),
        "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ1MSIsImV4cCI6OTk5OTk5OTk5OX0.".to_owned(),
    ];
    let valid = sign(Algorithm::HS256, &secret, &good);
    // One character of a good one is another one; the last has bits that mean nothing.
    for _ in 0..200 {
        let mut bytes = valid.clone().into_bytes();
        let place = rng.usize(..bytes.len() - 1);
        let found = bytes[place];
        while bytes[place] == found {
            bytes[place] = *rng.choice(b"ABCxyz019-_.").expect("some");
        }
        tokens.push(String::from_utf8(bytes).expect("ASCII"));
        tokens.push(valid[..rng.usize(..valid.len() - 1)].to_owned());
    }
    let mut header = Header::new(Algorithm::HS256);
    header.kid = Some("../../../../dev/null".to_owned());
    tokens.push(encode(&header, &json!({"exp": 1}), &secret).expect("a token"));
    tokens
}

fn noise(rng: &mut Rng, len: usize) -> String {
    const BYTES: &[u8] = b"abc019%25%2F%00%ff&=;:,+*{}[]\"'\\/.?#@!~$^|<> \t-_channeluserexp";
    let mut noise: String =
        (0..rng.usize(..len)).map(|_| char::from(*rng.choice(BYTES).expect("some"))).collect();
    noise.retain(|c| c != ' ' && c != '#' && c != '\t');
    noise
}

/// A request, and whether it may be opened.
fn request(rng: &mut Rng, tokens: &[String]) -> String {
    let token = |rng: &mut Rng| match rng.u8(..4) {
        0 => noise(rng, 60),
        _ => rng.choice(tokens).expect("some").clone(),
    };
    let channel =
        *rng.choice(&["vault", "user-u1", "vaul%74", "user-%75%31", "*", "user-"]).expect("some");
    let mut query = vec![format!("channel={channel}")];
    for _ in 0..rng.usize(..3) {
        query.push(match rng.u8(..6) {
            0 => format!("access_token={}", token(rng)),
            1 => format!("es-meta={}", token(rng)),
            2 => format!("lastEventId={}", noise(rng, 40)),
            3 => "channel=news".to_owned(),
            4 => "user=u1&sub=u1&link=next&recover=true".to_owned(),
            _ => noise(rng, 40),
        });
    }
    rng.shuffle(&mut query);
    let mut path = "/events/".to_owned();
    if rng.u8(..4) == 0 {
        path = format!("/events/{channel}/");
    }
    let mut headers = String::new();
    for _ in 0..rng.usize(..4) {
        let header = match rng.u8(..8) {
            0 | 1 => bearer(&token(rng)),
            2 => format!("Cookie: session={}\r\n", token(rng)),
            3 => format!("Cookie: {}; session=\"{}\"\r\n", noise(rng, 30), token(rng)),
            4 => format!("Authorization: {}\r\n", noise(rng, 60)),
            5 => format!("Last-Event-ID: {}\r\n", noise(rng, 60)),
            6 => "X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-User: u1\r\nX-SSE-User: u1\r\n"
                .to_owned(),
            _ => format!("X-{}: {}\r\n", rng.u32(..), noise(rng, 60)),
        };
        headers.push_str(&header);
    }
    let method = if rng.u8(..20) == 0 { "HEAD" } else { "GET" };
    format!("{method} {path}?{} HTTP/1.1\r\nHost: x\r\n{headers}\r\n", query.join("&"))
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_hostile_requests_open_nothing_and_break_nothing() {
    let (server, _folder) = configured(&format!(
        "[[access.rules]]\nchannel = \"news\"\nallow = \"public\"\n\
         [[access.rules]]\nchannel = \"user-{{sub}}\"\nallow = \"authenticated\"\n\
         [[access.rules]]\nchannel = \"vault\"\nallow = \"token\"\n\
         [access.jwt]\nsecret = {SECRET:?}\nquery = \"access_token\"\ncookie = \"session\"\n\
         [access.es-meta]\nsecret = \"a key that nobody knows\"\n"
    ))
    .await;
    let mut bystander = server.get("/events/?channel=news", "").await;
    bystander.opening().await;
    let seed = Rng::new().u64(..);
    let mut rng = Rng::with_seed(seed);
    let tokens = tokens(&mut rng);
    let mut connection: Option<BufReader<TcpStream>> = None;
    for number in 0..REQUESTS {
        let request = request(&mut rng, &tokens);
        let shown = || format!("seed {seed}, request {number}: {request}");
        let (status, body, is_open) = within("an answer", async {
            let mut socket = match connection.take() {
                Some(socket) => socket,
                None => {
                    BufReader::new(TcpStream::connect(server.address).await.expect("it listens"))
                }
            };
            socket.get_mut().write_all(request.as_bytes()).await.expect("it reads");
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                assert!(socket.read_line(&mut head).await.expect("a head") > 0, "{}", shown());
            }
            let status: u16 = head[9..12].parse().expect("a status");
            let lower = head.to_ascii_lowercase();
            assert!(!lower.contains("transfer-encoding"), "a stream was opened: {}", shown());
            let len = lower.lines().find_map(|line| line.strip_prefix("content-length: "));
            let len: usize = len.map_or(0, |len| len.parse().expect("a number"));
            let mut body = vec![0; if request.starts_with("HEAD") { 0 } else { len }];
            socket.read_exact(&mut body).await.expect("a body");
            (status, body, (!lower.contains("connection: close")).then_some(socket))
        })
        .await;
        connection = is_open;
        let body = String::from_utf8(body).expect("UTF-8");
        assert!(matches!(status, 200 | 400 | 401), "{status} {}", shown());
        if status == 200 && !request.starts_with("HEAD") {
            assert!(body.starts_with("event: stream-error\nid: error\n"), "{body} {}", shown());
        }
    }
    server.fill("news", 1).await;
    let read = bystander.until("data: 1\n\n").await;
    assert!(!read.contains("stream-error"), "{read}");
    // And whoever may have it gets it.
    let good = bearer(&token(json!({"sub": "u1", "channels": ["vault"]})));
    let mut stream = server.get("/events/?channel=vault&channel=user-u1", &good).await;
    stream.opening().await;
}
