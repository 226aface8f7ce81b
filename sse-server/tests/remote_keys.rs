//! Keys of tokens at a URL, and secrets that are exchanged.

use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use access::{Answer, answer, bearer, claims, configured, invalid, keys};
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use port::Port;
use serde_json::{Value, json};
use server::{Server, binary, until, within};
use sse_server::http;
use sse_server::hub::Hub;
use sse_server::storage::NoStorage;
use testkit::{access, port, server};
use tokio::net::TcpListener;

const RULES: &str = "[[access.rules]]\nchannel = \"user-{sub}\"\nallow = \"authenticated\"\n";

/// Publishes keys as an issuer of tokens does.
#[derive(Default)]
struct Issuer {
    set: Mutex<Value>,
    status: AtomicU16,
    asked: AtomicUsize,
}

impl Issuer {
    async fn at(port: &Port, keys: &[Value]) -> Arc<Self> {
        let issuer = Arc::new(Self::default());
        issuer.publish(keys);
        issuer.status.store(200, Ordering::SeqCst);
        let router =
            Router::new().route("/jwks.json", get(Self::answer)).with_state(issuer.clone());
        let listener = TcpListener::bind(port.to_string()).await.expect("it is held for this");
        tokio::spawn(async move {
            let hub = Hub::new(Arc::new(NoStorage::new()));
            http::serve(listener, router, &hub, std::future::pending()).await;
        });
        issuer
    }

    #[expect(clippy::unused_async, reason = "a handler is async")]
    async fn answer(State(issuer): State<Arc<Self>>) -> (StatusCode, Json<Value>) {
        issuer.asked.fetch_add(1, Ordering::SeqCst);
        let status = issuer.status.load(Ordering::SeqCst);
        let set = issuer.set.lock().expect("no panic").clone();
        (StatusCode::from_u16(status).expect("a status"), Json(set))
    }

    fn publish(&self, keys: &[Value]) {
        *self.set.lock().expect("no panic") = json!({ "keys": keys });
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn jwk(key: &EncodingKey, algorithm: Algorithm, id: &str) -> Value {
    let mut jwk = Jwk::from_encoding_key(key, algorithm).expect("a public key");
    jwk.common.key_id = Some(id.to_owned());
    serde_json::to_value(jwk).expect("JSON")
}

fn signed(key: &EncodingKey, algorithm: Algorithm, id: &str) -> String {
    let mut header = Header::new(algorithm);
    header.kid = Some(id.to_owned());
    bearer(&encode(&header, &claims(json!({"sub": "u1"})), key).expect("a token"))
}

async fn ask(server: &Server, headers: &str) -> Answer {
    answer(server.get("/events/?channel=user-u1", headers).await).await
}

async fn with(port: &Port) -> (Server, tempfile::TempDir) {
    configured(&format!("{RULES}[access.jwt]\njwks-url = \"http://{port}/jwks.json\"\n")).await
}

const UNKNOWN: &str = "there is no key for this token's algorithm and key id";

#[tokio::test]
async fn keys_are_fetched_and_a_key_that_is_new_is_found() {
    let port = Port::reserve();
    let (old, new) = (keys::rs256().private, keys::es256().private);
    let of_old = signed(&old, Algorithm::RS256, "old");
    let of_new = signed(&new, Algorithm::ES256, "new");
    let issuer = Issuer::at(&port, &[jwk(&old, Algorithm::RS256, "old")]).await;
    let (server, _folder) = with(&port).await;
    for _ in 0..5 {
        assert_eq!(ask(&server, &of_old).await, Answer::Opened);
    }
    assert_eq!(issuer.asked(), 1, "they are remembered");
    issuer.publish(&[jwk(&old, Algorithm::RS256, "old"), jwk(&new, Algorithm::ES256, "new")]);
    // Not asked for at once, for it was asked a moment ago, and then not by each who comes.
    until("the new key is known", async || ask(&server, &of_new).await == Answer::Opened).await;
    assert_eq!(ask(&server, &of_old).await, Answer::Opened);
    let most = issuer.asked() + 1;
    for id in ["a", "b", "c"] {
        let stranger = signed(&new, Algorithm::ES256, id);
        assert_eq!(ask(&server, &stranger).await, invalid(UNKNOWN));
    }
    assert!(issuer.asked() <= most, "strangers cannot make it ask as often as they like");
}

#[tokio::test]
async fn until_there_are_keys_nobody_is_let_in_and_known_ones_outlast_an_outage() {
    let port = Port::reserve();
    let key = keys::eddsa().private;
    let token = signed(&key, Algorithm::EdDSA, "k");
    let (mut server, _folder) = with(&port).await;
    let unavailable = Answer::Status(503, String::new());
    assert_eq!(ask(&server, &token).await, unavailable);
    assert_eq!(
        ask(&server, &bearer("no token")).await,
        invalid("this is no signed JSON Web Token")
    );
    let issuer = Issuer::at(&port, &[jwk(&key, Algorithm::EdDSA, "k")]).await;
    until("there are keys", async || ask(&server, &token).await == Answer::Opened).await;
    // Settings that are read again keep them, whatever the issuer says by then.
    for (count, status) in [(1, 404), (2, 500), (3, 302)] {
        issuer.status.store(status, Ordering::SeqCst);
        server.signal("-HUP");
        let reloads = || server.log().matches("were read again").count();
        until("it has read them", async || reloads() == count).await;
        assert_eq!(ask(&server, &token).await, Answer::Opened, "{status}");
    }
    // Nor does it forget them when it has asked in vain.
    let asked = issuer.asked();
    let other = signed(&key, Algorithm::EdDSA, "other");
    let asks = async || {
        assert_eq!(ask(&server, &other).await, invalid(UNKNOWN));
        issuer.asked() > asked
    };
    until("it has asked again", asks).await;
    server.until_logged("the answer is 302 Found; those that are known stay").await;
    assert_eq!(ask(&server, &token).await, Answer::Opened);
    server.signal("-TERM");
    assert!(server.wait().await.success());
}

#[tokio::test]
async fn what_is_at_the_url_and_cannot_be_used_is_left_out() {
    use std::fmt::Write;
    let port = Port::reserve();
    let key = keys::es256().private;
    let token = signed(&key, Algorithm::ES256, "good");
    let secret = json!({"kty": "oct", "kid": "secret", "k": "YSBzZWNyZXQgb2YgbW9yZSB0aGFuIHRoaXJ0eS10d28gYnl0ZXM"});
    let half = json!({"kty": "RSA", "kid": "half", "n": "AQAB"});
    let good = jwk(&key, Algorithm::ES256, "good");
    let issuer = Issuer::at(&port, &[secret, half, good]).await;
    let (server, _folder) = with(&port).await;
    until("it is fetched", async || ask(&server, &token).await == Answer::Opened).await;
    server.until_logged("keys[1] (\"half\"): ").await;
    server.until_logged("a secret is no secret at a URL").await;
    let forged = EncodingKey::from_secret(b"a secret of more than thirty-two bytes");
    let forged = signed(&forged, Algorithm::HS256, "secret");
    assert_eq!(ask(&server, &forged).await, invalid(UNKNOWN));
    // An answer of several megabytes, in a server that has not fetched any yet.
    let mut long = String::new();
    (0..200_000).for_each(|n| write!(long, "{n:010}").expect("a String"));
    let other = Port::reserve();
    let huge = Issuer::at(&other, &[json!({"kty": "x", "long": long})]).await;
    let (server, _folder) = with(&other).await;
    assert_eq!(ask(&server, &token).await, Answer::Status(503, String::new()));
    server.until_logged("there are more than 1048576 bytes").await;
    assert!(huge.asked() >= 1 && issuer.asked() >= 1);
}

#[tokio::test]
async fn a_url_that_others_could_answer_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("settings.toml");
    for (jwt, problem) in [
        ("jwks-url = 'http://login.example.com/keys'", "jwks-url: without encryption others could"),
        ("jwks-url = 'ftp://localhost/keys'", "jwks-url: this is no URL"),
        ("jwks-url = 'login.example.com'", "jwks-url: this is no URL"),
        ("jwks-url = 'http://127.0.0.1.example.com/'", "jwks-url: without encryption others could"),
        ("jwks-url = 'https://a.example'\njwks-refresh = '1s'", "jwks-refresh: that is more often"),
        ("secret = 'x'\njwks-refresh = '1h'", "access.jwt.secret: the secret has 1 bytes"),
        ("jwks-file = '/dev/null'\njwks-url = 'https://a.example'", "jwks-file"),
    ] {
        std::fs::write(&path, format!("{RULES}[access.jwt]\n{jwt}\n")).expect("writable");
        let output = binary().arg("--config").arg(&path).output();
        let output = within("an end", output).await.expect("it can be started");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains(problem), "{jwt}: {stderr}");
    }
}

#[tokio::test]
async fn a_secret_is_exchanged_by_having_two_for_a_while() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = |name: &str| folder.path().join(name).display().to_string();
    let texts = ["new", "old", "other"].map(|name| format!("{name:-<40}"));
    for (name, text) in ["new", "old"].iter().zip(&texts) {
        std::fs::write(file(name), format!("{text}\n")).expect("writable");
    }
    let signed = |text: &str| {
        let key = EncodingKey::from_secret(text.as_bytes());
        bearer(
            &encode(&Header::new(Algorithm::HS256), &claims(json!({"sub": "u1"})), &key)
                .expect("a token"),
        )
    };
    for setting in [
        format!("secret = {:?}", &texts[..2]),
        format!("secret-file = {:?}", [file("new"), file("old")]),
    ] {
        let (server, _folder) = configured(&format!("{RULES}[access.jwt]\n{setting}\n")).await;
        for (text, expected) in texts.iter().zip([true, true, false]) {
            let found = ask(&server, &signed(text)).await;
            assert_eq!(found == Answer::Opened, expected, "{setting}: {found:?}");
        }
    }
    // Each has to be long enough.
    let path = file("settings.toml");
    let short = format!("{RULES}[access.jwt]\nsecret = [{:?}, \"short\"]\n", texts[0]);
    std::fs::write(&path, short).expect("writable");
    let output = binary().args(["--config", &path]).output();
    let output = within("an end", output).await.expect("it can be started");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("access.jwt.secret: the secret has 5 bytes"), "{stderr}");
}
