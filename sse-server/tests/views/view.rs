//! Streams that an application makes for one request.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::routing::get as on_get;
use futures_util::{StreamExt, future, stream};
use http_body::Body;
use sse_client::{EventSource, Item};
use sse_proto::StreamError;
use sse_server::views::{Event, Gone, Lag, Resume, StreamView};
use testkit::wait::{until, within};
use tokio::sync::{Notify, mpsc, oneshot};

use crate::{get, serve};

/// Is counted as long as it is there.
struct Held(Arc<AtomicUsize>);

impl Held {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count.clone())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn numbers(resume: Resume<u64>) -> StreamView {
    let first = resume.after().map_or(1, |number| number + 1);
    StreamView::new(stream::iter(first..=3).map(|number| Event::json(&number).id(number)))
}

#[tokio::test]
async fn a_stream_is_a_response_whose_head_keeps_proxies_from_holding_it_back() {
    let address = serve(Router::new().route("/", on_get(numbers))).await;
    let mut response = get(address, "/", "").await;
    assert_eq!(response.status, 200);
    for (name, value) in [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-cache, no-transform"),
        ("x-accel-buffering", "no"),
        ("incremental", "?1"),
    ] {
        assert_eq!(response.header(name), Some(value));
    }
    let whole = ":\n\nid: 1\ndata: 1\n\nid: 2\ndata: 2\n\nid: 3\ndata: 3\n\n";
    assert_eq!(response.body().await, whole);
}

#[tokio::test]
async fn a_reader_that_comes_back_goes_on_and_after_an_error_it_stops() {
    let address = serve(Router::new().route("/", on_get(numbers))).await;
    for headers in ["Last-Event-ID: 2\r\n", "Last-Event-ID: \r\n"] {
        let mut response = get(address, "/?lastEventId=2", headers).await;
        assert_eq!(response.body().await, ":\n\nid: 3\ndata: 3\n\n");
    }
    let mut unknown = get(address, "/", "Last-Event-ID: other\r\n").await;
    assert!(unknown.body().await.contains("id: 1\n"));
    assert_eq!(get(address, "/", "Last-Event-ID: error\r\n").await.status, 400);
}

#[tokio::test]
async fn what_the_native_client_reads_is_what_was_sent() {
    let words = || ["one", "two\r\nlines", "three", ""].map(str::to_owned);
    let view = async move || StreamView::new(stream::iter(words()).chain(stream::pending()));
    let address = serve(Router::new().route("/", on_get(view))).await;
    let mut source = EventSource::get(format!("http://{address}/")).build().expect("a client");
    for word in words() {
        let event = loop {
            match within("an event", source.next()).await {
                Some(Ok(Item::Event(event))) => break event,
                Some(Ok(_)) => {}
                end => panic!("{end:?}"),
            }
        };
        assert_eq!(event.data(), word.replace("\r\n", "\n"));
    }
}

#[tokio::test]
async fn a_fault_is_told_to_its_reader_and_harms_nobody_else() {
    let failing = async || StreamView::new(stream::iter([Ok("1"), Err("the secret reason")]));
    let said = async || {
        let error = StreamError {
            condition: "gone".to_owned(),
            text: "no such job".to_owned(),
            channels: Vec::new(),
        };
        StreamView::new(stream::iter([Event::text("1"), error.into()]))
    };
    let panicking = async || {
        StreamView::produce(|events| async move {
            events.send("1").await?;
            assert!(events.send("1").await.is_err(), "the secret reason");
            Ok::<_, Gone>(())
        })
    };
    let giving_up = async || {
        StreamView::produce(async |events| {
            events.send("1").await.map_err(|gone| gone.to_string())?;
            Err::<(), _>("the secret reason".to_owned())
        })
    };
    let slow = async || StreamView::produce(async |_| future::pending::<Result<(), Gone>>().await);
    let endless = async || StreamView::new(stream::repeat("again"));
    let app = Router::new()
        .route("/failing", on_get(failing))
        .route("/said", on_get(said))
        .route("/panicking", on_get(panicking))
        .route("/giving-up", on_get(giving_up))
        .route("/slow", on_get(slow))
        .route("/endless", on_get(endless))
        .route("/numbers", on_get(numbers));
    let address = serve(app).await;
    let mut open = Vec::new();
    for path in ["/slow", "/endless", "/endless", "/endless", "/endless"] {
        open.push(get(address, path, "").await);
    }
    for path in ["/failing", "/panicking", "/giving-up"] {
        let body = get(address, path, "").await.body().await;
        let told = "event: stream-error\nid: error\ndata: {\"condition\": \"internal-error\"";
        assert!(body.starts_with(":\n\ndata: 1\n\n"), "{path}: {body}");
        assert!(body.contains(told) && !body.contains("secret"), "{path}: {body}");
    }
    let body = get(address, "/said", "").await.body().await;
    assert!(body.ends_with("{\"condition\": \"gone\", \"text\": \"no such job\"}\n\n"), "{body}");
    assert!(get(address, "/numbers", "").await.body().await.ends_with("data: 3\n\n"));
    open.pop().expect("it is open").until("data: again\n\n").await;
}

#[tokio::test]
async fn nothing_comes_after_an_error_and_64_events_go_out_together_at_most() {
    let failing = async || {
        let events = stream::iter([Ok("1"), Err("no more")]);
        StreamView::new(events.chain(stream::repeat(Ok("2"))))
    };
    let address = serve(Router::new().route("/", on_get(failing))).await;
    let body = get(address, "/", "").await.body().await;
    assert!(body.starts_with(":\n\ndata: 1\n\nevent: stream-error\n"), "{body}");
    assert!(!body.contains("data: 2"), "{body}");
    let view = StreamView::new(stream::repeat("1"));
    let mut body = Box::pin(view.into_http().into_body());
    let frame = future::poll_fn(|cx| body.as_mut().poll_frame(cx)).await;
    let bytes = frame.expect("it goes on").expect("bytes").into_data().expect("data");
    assert_eq!(&*bytes, format!(":\n\n{}", "data: 1\n\n".repeat(64)).as_bytes());
}

#[tokio::test]
async fn a_stream_is_dropped_when_its_reader_is_gone() {
    let count = Arc::new(AtomicUsize::new(0));
    let held = count.clone();
    let view = async move || {
        let held = Held::new(&held);
        StreamView::produce(|events| async move {
            let _held = held;
            events.send("1").await?;
            future::pending::<Result<(), Gone>>().await
        })
    };
    let counted = count.clone();
    let lagging = async move || {
        let held = Held::new(&counted);
        let endless = stream::unfold(held, |held| async {
            tokio::task::yield_now().await;
            Some(("1", held))
        });
        StreamView::new(endless).lag(Lag::Reset(4))
    };
    let app = Router::new().route("/", on_get(view)).route("/lagging", on_get(lagging));
    let address = serve(app).await;
    for path in ["/", "/lagging"] {
        let mut response = get(address, path, "").await;
        response.until("data: 1\n\n").await;
        assert_eq!(count.load(Ordering::SeqCst), 1);
        drop(response);
        until("the stream to be dropped", async || count.load(Ordering::SeqCst) == 0).await;
    }
}

#[tokio::test]
async fn a_reader_that_takes_nothing_makes_its_own_stream_wait() {
    let made = Arc::new(AtomicUsize::new(0));
    let counter = made.clone();
    let big = "x".repeat(64 << 10);
    let view = StreamView::new(stream::iter(0..100_000).map(move |_| {
        counter.fetch_add(1, Ordering::SeqCst);
        big.clone()
    }));
    let mut body = Box::pin(view.into_http().into_body());
    for _ in 0..3 {
        let frame = future::poll_fn(|cx| body.as_mut().poll_frame(cx)).await;
        assert!(frame.expect("it goes on").is_ok());
    }
    assert_eq!(made.load(Ordering::SeqCst), 3);
}

/// One thread serves all of this test.
#[tokio::test]
async fn an_endless_source_that_never_waits_leaves_room_for_others_whatever_its_lag() {
    let endless = |lag| move || future::ready(StreamView::new(stream::repeat("again")).lag(lag));
    let app = Router::new()
        .route("/wait", on_get(endless(Lag::Wait)))
        .route("/reset", on_get(endless(Lag::Reset(4))))
        .route("/end", on_get(endless(Lag::End(4))))
        .route("/numbers", on_get(numbers));
    let address = serve(app).await;
    let mut open = Vec::new();
    for path in ["/wait", "/reset", "/end", "/reset"] {
        let mut response = get(address, path, "").await;
        response.until("data: again\n\n").await;
        open.push(response);
        assert!(get(address, "/numbers", "").await.body().await.ends_with("data: 3\n\n"), "{path}");
    }
}

#[tokio::test]
async fn a_closure_is_few_events_ahead_of_a_reader_that_takes_nothing() {
    let made = Arc::new(AtomicUsize::new(0));
    let counter = made.clone();
    let view = StreamView::produce(move |events| async move {
        loop {
            events.send("x".repeat(32 << 10)).await?;
            counter.fetch_add(1, Ordering::SeqCst);
        }
        #[expect(unreachable_code, reason = "it says what the closure fails with")]
        Ok::<_, Gone>(())
    });
    let mut body = Box::pin(view.into_http().into_body());
    let mut taken = 0;
    for _ in 0..5 {
        let frame = future::poll_fn(|cx| body.as_mut().poll_frame(cx)).await;
        let bytes = frame.expect("it goes on").expect("bytes").into_data().expect("data");
        taken += bytes.windows(5).filter(|window| window == b"data:").count();
    }
    assert!(made.load(Ordering::SeqCst) <= taken + 16, "{made:?}, of which {taken} were taken");
}

#[tokio::test]
async fn a_source_that_cannot_wait_resets_or_ends_a_reader_that_is_too_slow() {
    for (lag, end) in [
        (Lag::Reset(2), "event: stream-reset\ndata: {\"channels\": []}\n\ndata: 9\n\n"),
        (Lag::End(2), "data: 0\n\ndata: 1\n\n:too slow; connect again\n\n"),
    ] {
        let (events, source) = mpsc::unbounded_channel::<String>();
        let (taken, all_taken) = oneshot::channel();
        let source = stream::unfold((source, Some(taken)), |(mut source, taken)| async {
            let Some(event) = source.recv().await else {
                // All of them were asked for.
                taken.and_then(|taken| taken.send(()).ok());
                return None;
            };
            Some((event, (source, taken)))
        });
        let mut body = Box::pin(StreamView::new(source).lag(lag).into_http().into_body());
        let first = future::poll_fn(|cx| body.as_mut().poll_frame(cx)).await;
        assert_eq!(first.expect("a frame").expect("bytes").into_data().expect("data"), ":\n\n");
        for number in 0..10 {
            events.send(number.to_string()).expect("it is open");
        }
        drop(events);
        // Either it has taken all, or was dropped when there were too many.
        within("the source's end", all_taken).await.ok();
        let mut text = Vec::new();
        while let Some(frame) = future::poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
            text.extend_from_slice(&frame.expect("bytes").into_data().expect("data"));
        }
        assert_eq!(String::from_utf8(text).expect("UTF-8"), end);
    }
}

#[tokio::test]
async fn a_silent_stream_is_kept_alive_by_comments_or_by_events() {
    let silent =
        || StreamView::new(stream::pending::<Event>()).keep_alive(Duration::from_millis(1));
    let with_events = async move || silent().control_events();
    let app = Router::new()
        .route("/comments", on_get(async move || silent()))
        .route("/events", on_get(with_events));
    let address = serve(app).await;
    get(address, "/comments", "").await.until(":\n\n:\n\n:\n\n").await;
    let mut response = get(address, "/events", "").await;
    response.opening().await;
    assert_eq!(response.until("\n\n").await, "event: keep-alive\ndata:\n\n");
}

#[tokio::test]
async fn a_stream_ends_with_its_server_and_says_when_to_come_back() {
    let end = Arc::new(Notify::new());
    let ending = end.clone();
    let view = async move || {
        let ending = ending.clone();
        StreamView::new(stream::pending::<Event>())
            .until(async move { ending.notified().await })
            .until(future::pending())
    };
    let address = serve(Router::new().route("/", on_get(view))).await;
    let mut response = get(address, "/", "").await;
    response.until(":\n\n").await;
    end.notify_one();
    let last = response.body().await;
    let wait = last.strip_prefix("retry: ").and_then(|rest| rest.strip_suffix("\n\n"));
    let wait: u64 = wait.expect(&last).parse().expect("a number");
    assert!((250..=5000).contains(&wait));
}

#[tokio::test]
async fn an_iterator_that_blocks_has_a_thread_of_its_own_and_204_says_that_there_is_no_more() {
    let (sender, receiver) = std::sync::mpsc::channel::<String>();
    let receiver = Arc::new(std::sync::Mutex::new(Some(receiver)));
    let view = async move || match receiver.lock().expect("no panic").take() {
        Some(receiver) => Ok(StreamView::blocking(receiver)),
        None => Err(StreamView::finished()),
    };
    let app = Router::new().route("/", on_get(view)).route("/numbers", on_get(numbers));
    let address = serve(app).await;
    let mut response = get(address, "/", "").await;
    // One thread serves all of this test.
    assert_eq!(get(address, "/numbers", "").await.status, 200);
    for word in ["one", "two"] {
        sender.send(word.to_owned()).expect("it reads");
        response.until(&format!("data: {word}\n\n")).await;
    }
    drop(sender);
    assert_eq!(response.body().await, "");
    assert_eq!(get(address, "/", "").await.status, 204);
}
