//! A tower service as a transport: redirects, resuming and codings are the same as with others.

mod server;

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use server::{data, end, item, quick};
use sse_client::http::{Request, Response};
use sse_client::transport::{RequestBody, ResponseBody, Tower};
use sse_client::{Builder, Closed, EventSource, Item};

/// What was asked for: the URL, and the last event ID.
type Asked = Arc<Mutex<Vec<(String, Option<String>)>>>;

/// A source that asks a service, which answers with these, one after the other.
fn source(url: &str, answers: &'static [fn() -> Response<ResponseBody>]) -> (EventSource, Asked) {
    let asked = Asked::default();
    let noted = Arc::clone(&asked);
    let service = tower::service_fn(move |request: Request<RequestBody>| {
        let id = request.headers().get("last-event-id");
        let id = id.map(|id| id.to_str().expect("ASCII").to_owned());
        let mut noted = noted.lock().expect("no panic");
        noted.push((request.uri().to_string(), id));
        let answer = answers[noted.len() - 1]();
        async move { Ok::<_, Infallible>(answer) }
    });
    let builder: Builder = EventSource::get(url).transport(Tower::new(service));
    let builder = builder.session(|config| config.backoff(quick()));
    (builder.build().expect("a valid set-up"), asked)
}

fn stream(body: &'static str) -> Response<ResponseBody> {
    let head = Response::builder().header("Content-Type", "text/event-stream");
    head.body(body.into()).expect("a response")
}

fn status(status: u16, location: &str) -> Response<ResponseBody> {
    let head = Response::builder().status(status).header("Location", location);
    head.body("no".into()).expect("a response")
}

#[test]
fn a_service_is_asked_as_a_server_is() {
    server::run(async {
        let (mut source, asked) = source(
            "https://user:secret@a.example/events#part",
            &[
                || status(307, "/moved"),
                || stream("id: 7\ndata: a\n\n"),
                || stream("data: b\n\n"),
                || status(403, ""),
            ],
        );
        assert_eq!(item(&mut source).await, Item::Open);
        assert_eq!(source.url().as_str(), "https://a.example/moved#part");
        assert_eq!(data(&mut source).await, "a");
        assert_eq!(data(&mut source).await, "b");
        let closed = end(&mut source).await;
        assert_eq!((closed.reason(), closed.body()), (&Closed::Status(403), "no"));
        let id = || Some("7".to_owned());
        let urls = ["https://a.example/events", "https://a.example/moved"].map(str::to_owned);
        let [first, moved] = urls;
        let expected = [(first.clone(), None), (moved, None), (first.clone(), id()), (first, id())];
        assert_eq!(*asked.lock().expect("no panic"), expected);
    });
}

#[test]
fn the_caller_sees_why_a_service_fails() {
    server::run(async {
        let service = tower::service_fn(|_: Request<RequestBody>| async {
            Err::<Response<String>, _>("down")
        });
        let builder = EventSource::post("http://a.example/").transport(Tower::new(service));
        let mut source = builder.build().expect("a valid set-up");
        let closed = end(&mut source).await;
        assert!(closed.to_string().ends_with("the connection failed: down"), "{closed}");
    });
}
