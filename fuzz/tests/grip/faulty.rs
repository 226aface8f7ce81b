//! An origin with one fault, or with none: streams of two users, a shared channel with ids whose
//! name needs encoding, and one channel for each user.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, post};
use axum::{Json, Router};
use futures_util::{StreamExt, stream};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

pub(crate) const KEY: &str = "of-a-proxy-that-lives-for-a-minute";
pub(crate) const ISSUER: &str = "pushpin";
pub(crate) const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----";

/// What links are sealed with.
const OWN_KEY: &str = "of-an-origin-that-lives-for-a-minute";

/// How many events an answer has at most, so that a first answer has less than 100,000 bytes.
const PAGE: usize = 50;

/// The channel with ids, as it stands in headers and in ids.
const CHANNEL: &str = "site-r%20m";
const ENCODED: &str = "r%20m";

pub(crate) struct Origin {
    address: SocketAddr,
    serving: AbortHandle,
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

struct Site {
    fault: String,
    port: u16,
    log: Mutex<Vec<String>>,
    signed: Mutex<usize>,
    direct: Mutex<usize>,
}

type Shared = Arc<Site>;

/// Where a connection is, and whose it is.
struct Asked {
    user: String,
    /// How many events it has; nothing if that is not known.
    at: Option<usize>,
    is_first: bool,
}

impl Origin {
    pub(crate) async fn start(fault: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let log = (1..4).map(|number| format!("from before {number}")).collect();
        let site = Arc::new(Site {
            fault: fault.to_owned(),
            port: address.port(),
            log: Mutex::new(log),
            signed: Mutex::default(),
            direct: Mutex::default(),
        });
        let router = Router::new()
            .route("/events", any(events))
            .route("/next", any(next))
            .route("/next/{token}", any(next))
            .route("/publish", post(publish))
            .with_state(site);
        let serving = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("it serves");
        });
        Self { address, serving: serving.abort_handle() }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

async fn publish(State(site): State<Shared>, Json(event): Json<Value>) {
    let text = event["text"].as_str().unwrap_or_default().to_owned();
    site.log().push(text);
}

/// A client's request, which a proxy has passed on or not.
async fn events(State(site): State<Shared>, headers: HeaderMap) -> Response {
    let user = text(&headers, "x-user").filter(|_| !site.is("none public"));
    let user = user.unwrap_or("anonymous").to_owned();
    if !site.is_signed(&headers) && (!site.is("sig.unsigned") || headers.contains_key("grip-sig")) {
        let number = {
            let mut count = site.direct.lock().expect("no panic");
            *count += 1;
            *count
        };
        // The first one only sees whether anybody is there.
        let is_late = site.is("late once") && number == 2 || site.is("always late") && number > 1;
        if is_late {
            tokio::time::sleep(Duration::from_secs(7)).await;
        }
        return site.direct();
    }
    let id = text(&headers, "last-event-id").and_then(|id| id.rsplit(':').next()?.parse().ok());
    let id = id.filter(|_| !site.is("rec.last-event-id"));
    let head = site.log().len();
    let at = id.map_or(head, |id: usize| id - usize::from(site.is("rec.last-event-id again")));
    let is_endless = {
        let mut count = site.signed.lock().expect("no panic");
        *count += 1;
        *count == 1 && site.is("hld.whole")
    };
    let answer = site.answer(Asked { user, at: Some(at), is_first: true }).await;
    if !is_endless {
        return answer;
    }
    let (parts, body) = answer.into_parts();
    let body = body.into_data_stream().chain(stream::pending());
    Response::from_parts(parts, Body::from_stream(body))
}

/// A proxy's own question.
async fn next(State(site): State<Shared>, request: Request) -> Response {
    let headers = request.headers();
    let is_allowed = site.is("lnk.unsigned") && !headers.contains_key("grip-sig");
    if !site.is_signed(headers) && !is_allowed {
        return StatusCode::NOT_FOUND.into_response();
    }
    let uri = request.uri();
    let token = uri.query().and_then(|query| query.strip_prefix("token="));
    let token = token.or_else(|| uri.path().strip_prefix("/next/")).unwrap_or_default();
    let claims = if token == "public" {
        json!({"user": "anonymous"})
    } else {
        let mut rules = Validation::new(Algorithm::HS256);
        rules.set_required_spec_claims::<&str>(&[]);
        let opened = decode::<Value>(token, &DecodingKey::from_secret(OWN_KEY.as_bytes()), &rules);
        match opened {
            Ok(opened) => opened.claims,
            Err(_) if site.is("lnk.forged") || site.is("lnk.merge") => json!({"user": "alice"}),
            // As for a channel that nobody may read.
            Err(_) => return StatusCode::FORBIDDEN.into_response(),
        }
    };
    let last = text(headers, "grip-last").and_then(|last| {
        let last = last.strip_prefix(CHANNEL)?.strip_prefix("; last-id=")?;
        Some(last.parse::<usize>().map_err(|_| last.to_owned()))
    });
    if site.is("rec.malformed") && matches!(last, Some(Err(_))) {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let page = claims["at"].as_u64().and_then(|at| usize::try_from(at).ok());
    let head = site.log().len();
    let at = page.or_else(|| last?.ok());
    let at = if site.is("rec.gap") { Some(head) } else { at };
    let user = claims["user"].as_str().unwrap_or_default().to_owned();
    site.answer(Asked { user, at, is_first: false }).await
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

impl Site {
    fn is(&self, fault: &str) -> bool {
        self.fault == fault
    }

    fn log(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.log.lock().expect("no panic")
    }

    /// Whether a proxy has signed this.
    fn is_signed(&self, headers: &HeaderMap) -> bool {
        let Some(token) = text(headers, "grip-sig").filter(|_| !self.is("sig.held")) else {
            return false;
        };
        if self.is("sig.none") && token.ends_with('.') {
            return true;
        }
        let mut rules = Validation::new(Algorithm::HS256);
        rules.leeway = 30;
        rules.set_issuer(&[ISSUER]);
        rules.set_required_spec_claims(&["exp", "iss"]);
        if self.is("sig.issuer") {
            rules.iss = None;
        }
        if self.is("sig.expired") {
            rules.validate_exp = false;
        }
        if self.is("sig.endless") {
            rules.set_required_spec_claims(&["iss"]);
        }
        let mut keys = vec![KEY];
        if self.is("sig.other-key") {
            keys.push("a key that no proxy has, of 32 bytes and more");
        }
        if self.is("sig.confused") {
            keys.push(PUBLIC);
        }
        if self.is("sig.altered") {
            // What it says is believed, whoever has signed it.
            let claims = jsonwebtoken::dangerous::insecure_decode::<Value>(token);
            let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
            return claims.is_ok_and(|token| {
                let is_good = token.claims["exp"].as_u64().is_some_and(|exp| exp > now);
                let is_right = token.header.alg == Algorithm::HS256;
                is_good && is_right && token.claims["iss"] == ISSUER
            });
        }
        keys.iter().any(|key| {
            decode::<Value>(token, &DecodingKey::from_secret(key.as_bytes()), &rules).is_ok()
        })
    }

    /// A stream without a proxy.
    fn direct(&self) -> Response {
        let kind = [("content-type", "text/event-stream")];
        let opening = Bytes::from(":open\n\n");
        if self.is("sig.direct") {
            return (kind, opening).into_response();
        }
        let first = stream::iter([Ok::<_, std::io::Error>(opening)]);
        (kind, Body::from_stream(first.chain(stream::pending()))).into_response()
    }

    fn id(&self, number: usize) -> String {
        if self.is("none single") { number.to_string() } else { format!("{ENCODED}:{number}") }
    }

    fn link(&self, user: &str, at: Option<usize>) -> String {
        let user = if self.is("lnk.merge") { "alice" } else { user };
        let mut claims = json!({"user": user});
        if let Some(at) = at.filter(|_| !self.is("rec.pages endless")) {
            claims["at"] = json!(at);
        }
        let key = EncodingKey::from_secret(OWN_KEY.as_bytes());
        let token = encode(&Header::new(Algorithm::HS256), &claims, &key).expect("JSON");
        let link = match () {
            () if self.is("none public") && at.is_none() => "/next/public".to_owned(),
            () if self.is("lnk.query") => format!("/next?token={token}"),
            () => format!("/next/{token}"),
        };
        if self.is("lnk.place") {
            return format!("http://localhost:{}{link}", self.port);
        }
        link
    }

    async fn answer(&self, asked: Asked) -> Response {
        let Asked { user, at, is_first } = asked;
        let head = self.log().len();
        let mut body = String::new();
        if is_first {
            body += ":open\n\n";
        }
        if self.is("lnk.quiet") && !is_first {
            body += "event: stream-open\ndata:\n\n";
        }
        let known = at.filter(|at| *at <= head);
        if known.is_none() && !self.is("rec.unknown") {
            let reset = format!("event: stream-reset\nid: {}\ndata:\n\n", self.id(head));
            body += &reset;
        }
        let at = known.unwrap_or(head);
        let is_short = self.is("rec.pages") && head - at > PAGE;
        let is_paged = head - at > PAGE && !(self.is("hld.size") && is_first) && !is_short;
        let end = if is_paged || is_short { at + PAGE } else { head };
        for (index, text) in self.log()[at..end].iter().enumerate() {
            write!(body, "event: message\nid: {}\ndata: {text}\n\n", self.id(at + index + 1))
                .expect("writing to memory cannot fail");
        }
        let mut place = if is_short { head } else { end };
        if self.is("rec.snapshot") && !is_first {
            tokio::time::sleep(Duration::from_millis(10)).await;
            place = self.log().len();
        }
        if self.is("rec.gap again") && !is_first && place > at {
            place -= 1;
        }
        if self.is("hld.body") && is_first {
            body += "retry: 1000\n";
        }
        let builds_ids = !self.is("none single") && !self.is("none unreliable");
        if builds_ids && !self.is("hld.percent") {
            body = body.replace('%', "%%");
        }
        let mut hold = self.hold(&user, place, is_first);
        if is_paged {
            hold.retain(|(name, _)| *name != "Grip-Hold" && *name != "Grip-Keep-Alive");
            hold.retain(|(name, _)| *name != "Grip-Link");
            let link = format!("<{}>; rel=next", self.link(&user, Some(end)));
            hold.push(("Grip-Link", link));
        }
        if self.is("none instruct") {
            return instructed(&hold, &body);
        }
        let kind = if self.is("hld.type") { "text/plain" } else { "text/event-stream" };
        let mut response = ([("content-type", kind)], body).into_response();
        for (name, value) in hold {
            response.headers_mut().append(name, HeaderValue::try_from(value).expect("ASCII"));
        }
        response
    }

    /// The headers of a hold.
    fn hold(&self, user: &str, at: usize, is_first: bool) -> Vec<(&'static str, String)> {
        let mut hold = Vec::new();
        let mut add = |name, value: String| hold.push((name, value));
        add("Grip-Hold", if self.is("hld.mode") { "response" } else { "stream" }.to_owned());
        let filter = if self.is("hld.filters") { "hold-back" } else { "skip-self" };
        let build = if self.is("none single") { "" } else { "; filter=build-id" };
        let odd = if self.is("hld.grammar") { "; filters" } else { "" };
        if self.is("none unreliable") {
            add("Grip-Channel", format!("{CHANNEL}; filter={filter}"));
        } else {
            add("Grip-Channel", format!("{CHANNEL}; prev-id={at}; filter={filter}{build}{odd}"));
        }
        add("Grip-Channel", format!("site-user-{user}"));
        let more = if self.is("hld.channels") { 25 } else { 0 };
        (0..more).for_each(|number| add("Grip-Channel", format!("site-{number}")));
        if self.is("lnk.again") && !is_first {
            add("Grip-Channel", "site-more".to_owned());
        }
        let alive = match self.fault.as_str() {
            "hld.keep-alive open" => r"event: alive\n",
            "hld.keep-alive id" => r"id: 7\ndata:\n\n",
            _ => r":\n\n",
        };
        if !self.is("hld.keep-alive") {
            add("Grip-Keep-Alive", format!("{alive}; format=cstring; timeout=20"));
        }
        let is_last = self.is("lnk.on") && !is_first;
        if !self.is("lnk.there") && !self.is("none unreliable") && !is_last {
            let timeout = if self.is("lnk.timeout") { "" } else { "; timeout=60" };
            add("Grip-Link", format!("<{}>; rel=next{timeout}", self.link(user, None)));
        }
        let name = if self.is("hld.ids") { "r%20m" } else { CHANNEL };
        let format = format!("{}:%({name})s", ENCODED.replace('%', "%%"));
        let has_format = !build.is_empty() && !self.is("hld.ids missing");
        let format = if has_format { format!("id_format=\"{format}\", ") } else { String::new() };
        add("Grip-Set-Meta", format!("{format}user=\"{user}\""));
        hold
    }
}

/// The same, said in the body.
fn instructed(hold: &[(&'static str, String)], body: &str) -> Response {
    let all = |wanted: &'static str| {
        hold.iter().filter(move |(name, _)| *name == wanted).map(|(_, value)| value.as_str())
    };
    let channels = all("Grip-Channel").map(|channel| {
        let mut parts = channel.split("; ");
        let mut said = json!({"name": parts.next(), "filters": []});
        for part in parts {
            match part.split_once('=').expect("a parameter") {
                ("prev-id", id) => said["prev-id"] = json!(id),
                (_, name) => said["filters"].as_array_mut().expect("a list").push(json!(name)),
            }
        }
        said
    });
    let channels: Vec<Value> = channels.collect();
    let mut told = json!({"response": {"body": body}});
    if all("Grip-Hold").next().is_some() {
        let meta: Vec<_> = all("Grip-Set-Meta").collect();
        let pairs = meta[0].split(", ").filter_map(|pair| pair.split_once('='));
        let meta: serde_json::Map<String, Value> =
            pairs.map(|(name, value)| (name.to_owned(), json!(value.trim_matches('"')))).collect();
        told["hold"] = json!({
            "mode": "stream",
            "channels": channels,
            "keep-alive": {"content": ":\n\n", "timeout": 20},
            "meta": meta,
        });
    }
    let kind = [("content-type", "application/grip-instruct")];
    let mut response = (kind, told.to_string()).into_response();
    for link in all("Grip-Link") {
        response.headers_mut().append("Grip-Link", HeaderValue::try_from(link).expect("ASCII"));
    }
    response
}
