//! Who may read the channel `private`: everyone, until someone says no.
//!
//! A server that is told so by its setting `access.forward-auth` asks a site's backend whether a
//! user may read a channel. This is the smallest such backend. It answers with what it was last
//! told, by `POST /revoke` and `POST /grant`, and tells the server of each change, which ends the
//! streams that are no longer permitted.
//!
//! `cargo xtask demo` runs it beside the server. By hand:
//!
//! ```sh
//! cargo run --bin doorkeeper 127.0.0.1:9090 http://127.0.0.1:8080 TOKEN
//! ```

#![forbid(unsafe_code)]

use std::env;
use std::error::Error;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use serde_json::json;
use tokio::net::TcpListener;

/// The channel that it keeps.
const CHANNEL: &str = "private";

/// How long the server may take to hear of a change.
const PATIENCE: Duration = Duration::from_secs(5);

struct Doorkeeper {
    is_allowed: AtomicBool,
    /// The server's URL for changed permissions, and the token that it wants there.
    changed: String,
    token: String,
    http: reqwest::Client,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<_> = env::args().skip(1).collect();
    let [listen, server, token] = &args[..] else {
        return Err("usage: doorkeeper ADDRESS SERVER-URL TOKEN".into());
    };
    let listener = TcpListener::bind(listen).await?;
    axum::serve(listener, doorkeeper(server, token)?).await?;
    Ok(())
}

fn doorkeeper(server: &str, token: &str) -> Result<Router, reqwest::Error> {
    let http = reqwest::Client::builder().timeout(PATIENCE).build()?;
    let (changed, token) = (format!("{server}/permissions/changed"), token.to_owned());
    let is_allowed = AtomicBool::new(true);
    let state = Arc::new(Doorkeeper { is_allowed, changed, token, http });
    Ok(Router::new()
        .route("/", get(may_read))
        .route("/revoke", post(revoke))
        .route("/grant", post(grant))
        .fallback(async || (StatusCode::NOT_FOUND, "there is POST /revoke and POST /grant\n"))
        .with_state(state))
}

/// What the server asks before it opens a stream, and again when permissions have changed.
async fn may_read(State(this): State<Arc<Doorkeeper>>) -> StatusCode {
    if this.is_allowed.load(Ordering::SeqCst) { StatusCode::OK } else { StatusCode::FORBIDDEN }
}

async fn revoke(State(this): State<Arc<Doorkeeper>>) -> String {
    this.change(false).await
}

async fn grant(State(this): State<Arc<Doorkeeper>>) -> String {
    this.change(true).await
}

impl Doorkeeper {
    /// Tells the server that permissions have changed, and the caller how that went.
    async fn change(&self, is_allowed: bool) -> String {
        self.is_allowed.store(is_allowed, Ordering::SeqCst);
        let body = json!({"user": null, "channel": CHANNEL}).to_string();
        let request = self.http.post(&self.changed).bearer_auth(&self.token);
        match request.header("content-type", "application/json").body(body).send().await {
            Ok(answer) => {
                let status = answer.status();
                say(&format!("Permission for {CHANNEL} has changed; the server answers {status}"));
                "done\n".to_owned()
            }
            Err(error) => format!("the server was not told: {error}\n"),
        }
    }
}

/// It does not matter if nobody reads it any more.
fn say(line: &str) {
    use io::Write;
    let _ = writeln!(io::stdout(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn listen() -> (TcpListener, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        (listener, url)
    }

    #[tokio::test]
    async fn it_says_no_from_when_it_is_told_until_it_is_told_otherwise() {
        let (server, server_url) = listen().await;
        let (listener, url) = listen().await;
        // A server asks before it answers, and wants the token.
        let asks = format!("{url}/?channel={CHANNEL}");
        let changed = post(async move |headers: axum::http::HeaderMap| {
            assert_eq!(headers["authorization"], "Bearer secret");
            let answer = reqwest::get(asks).await.expect("it answers");
            assert!([200, 403].contains(&answer.status().as_u16()));
            StatusCode::NO_CONTENT
        });
        let router = Router::new().route("/permissions/changed", changed);
        tokio::spawn(async { axum::serve(server, router).await });
        let router = doorkeeper(&server_url, "secret").expect("it can be made");
        tokio::spawn(async { axum::serve(listener, router).await });

        let http = reqwest::Client::new();
        let get = async |path: &str| {
            http.get(format!("{url}{path}")).send().await.expect("an answer").status().as_u16()
        };
        let post = async |path: &str| {
            let answer = http.post(format!("{url}{path}")).send().await.expect("an answer");
            answer.text().await.expect("a text")
        };
        assert_eq!(get("/?channel=private").await, 200);
        assert_eq!(post("/revoke").await, "done\n");
        assert_eq!(get("/?channel=private").await, 403);
        assert_eq!(post("/grant").await, "done\n");
        assert_eq!(get("/?channel=private").await, 200);
        assert_eq!(get("/favicon.ico").await, 404);
    }
}
