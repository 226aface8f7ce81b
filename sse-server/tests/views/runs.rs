//! Work that is done once, however many start it, and read by all.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::extract::Path;
use axum::response::IntoResponse;
use axum::{Router, routing::get as on_get};
use futures_util::future;
use sse_server::storage::{MemoryStorage, SqliteStorage};
use sse_server::views::{Event, EventStreams, Resume, RunEnd, Runs, SendError, StreamView};
use testkit::wait::within;
use tokio::sync::mpsc;

use crate::{get, serve};

fn app(runs: &Runs) -> Router {
    let runs = runs.clone();
    let view =
        async move |Path(id): Path<String>, resume: Resume<u64>| match runs.view(&id, resume).await
        {
            Ok(Some(view)) => view.into_response(),
            Ok(None) => StreamView::finished(),
            Err(error) => panic!("{error}"),
        };
    Router::new().route("/{id}", on_get(view))
}

/// Sends what it is told to.
fn relayed(
    mut source: mpsc::UnboundedReceiver<&'static str>,
) -> impl FnOnce(sse_server::views::Recorder) -> future::BoxFuture<'static, Result<(), SendError>>
+ Send
+ 'static {
    move |recorder| {
        Box::pin(async move {
            while let Some(token) = source.recv().await {
                recorder.send(token).await?;
            }
            Ok(())
        })
    }
}

fn tokens(body: &str) -> String {
    let lines = body.lines().filter_map(|line| line.strip_prefix("data: "));
    lines.collect()
}

#[tokio::test]
async fn every_reader_gets_all_of_it_early_or_late_and_goes_on_where_it_was() {
    let runs = Runs::new(&EventStreams::builder().build());
    let address = serve(app(&runs)).await;
    assert_eq!(get(address, "/7", "").await.status, 204);
    let (tokens_of, source) = mpsc::unbounded_channel();
    assert!(runs.start("7", relayed(source)).await.expect("stored"));
    let mut early = get(address, "/7", "").await;
    for token in ["Hello", ", ", "world"] {
        tokens_of.send(token).expect("it reads");
    }
    early.until("data: world\n\n").await;
    assert!(runs.is_running("7").await.expect("read"));
    drop(tokens_of);
    early.body().await;
    let late = get(address, "/7", "").await.body().await;
    assert_eq!(tokens(&late), "Hello, world");
    assert!(!late.contains("run-"), "{late}");
    let back = get(address, "/7", "Last-Event-ID: 3\r\n").await.body().await;
    assert_eq!(tokens(&back), "world");
    assert!(!runs.is_running("7").await.expect("read"));
}

#[tokio::test]
async fn nothing_runs_twice_and_stop_reaches_it_on_another_instance() {
    let folder = tempfile::tempdir().expect("a folder");
    let instance = async || {
        let storage = SqliteStorage::open(folder.path().join("events.db")).await.expect("a file");
        let refresh = Duration::from_millis(20);
        let streams = EventStreams::builder().storage(storage).hub(|hub| hub.refresh(refresh));
        Runs::new(&streams.build())
    };
    let (one, two) = (instance().await, instance().await);
    let begun = Arc::new(AtomicUsize::new(0));
    let works = Arc::new(());
    let start = async |runs: &Runs| {
        let (begun, works) = (begun.clone(), works.clone());
        let started = runs.start("7", async move |recorder| {
            begun.fetch_add(1, Ordering::SeqCst);
            recorder.send("begun").await?;
            let ended = future::pending::<Result<(), SendError>>().await;
            drop(works);
            ended
        });
        started.await.expect("stored")
    };
    let started = tokio::join!(start(&one), start(&two), start(&one), start(&two));
    assert_eq!([started.0, started.1, started.2, started.3].iter().filter(|it| **it).count(), 1);
    let address = serve(app(&two)).await;
    let mut reader = get(address, "/7", "").await;
    reader.until("data: begun\n\n").await;
    let stopped = tokio::join!(one.stop("7"), two.stop("7"));
    assert!(stopped.0.expect("stored") != stopped.1.expect("stored"), "one of them has ended it");
    assert_eq!(reader.body().await, "");
    let is_dropped = async || Arc::strong_count(&works) == 1;
    testkit::wait::until("the work to be dropped", is_dropped).await;
    assert_eq!(begun.load(Ordering::SeqCst), 1);
    assert!(!one.stop("8").await.expect("read"), "there is none");
}

#[tokio::test]
async fn work_that_fails_panics_or_dies_is_told_and_what_it_had_sent_is_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("events.db");
    let open = async || {
        let storage = SqliteStorage::open(&path).await.expect("a file");
        Runs::new(&EventStreams::builder().storage(storage).build())
            .lease(Duration::from_millis(200))
            .tell(|why| Event::json(&why).event_type("failed"))
    };
    let runs = open().await;
    let failing = runs.start("fails", async |recorder| {
        recorder.send("token").await.map_err(|error| error.to_string())?;
        Err::<(), _>("a secret".to_owned())
    });
    assert!(failing.await.expect("stored"));
    let (told, mut sent) = mpsc::unbounded_channel();
    let panicking = runs.start("panics", async move |recorder| {
        recorder.send("token").await?;
        for event_type in ["run-begin", "run-alive", "run-end"] {
            let own = Event::text("\"done\"").event_type(event_type);
            told.send(recorder.send(own).await).expect("it is asked for");
        }
        panic!("as the test's name says");
        #[expect(unreachable_code, reason = "it says what the work fails with")]
        Ok::<_, SendError>(())
    });
    assert!(panicking.await.expect("stored"));
    for _ in 0..3 {
        let sent = within("what became of it", sent.recv()).await.expect("it was tried");
        assert!(matches!(sent, Err(SendError::NotAllowed(_))), "runs send that by themselves");
    }
    let address = serve(app(&runs)).await;
    let faulty = |why| format!("event: failed\ndata: \"{why}\"\n\n");
    for id in ["fails", "panics"] {
        let body = get(address, &format!("/{id}"), "").await.body().await;
        assert!(body.ends_with(&faulty("failed")) && tokens(&body).starts_with("token"), "{body}");
    }
    // A process that is killed says nothing more; here its runtime is.
    let other = tokio::task::spawn_blocking(move || {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("one");
        runtime.block_on(async {
            let storage = SqliteStorage::open(&path).await.expect("a file");
            let runs = Runs::new(&EventStreams::builder().storage(storage).build());
            let (sent, was_sent) = tokio::sync::oneshot::channel();
            let started = runs.start("dies", async move |recorder| {
                recorder.send("token").await?;
                sent.send(()).ok();
                future::pending::<Result<(), SendError>>().await
            });
            assert!(started.await.expect("stored"));
            was_sent.await.expect("it was sent");
        });
        runtime.shutdown_background();
    });
    within("the other process", other).await.expect("no panic");
    let body = get(address, "/dies", "").await.body().await;
    assert!(body.ends_with(&faulty("interrupted")) && tokens(&body).starts_with("token"), "{body}");
    assert!(!runs.is_running("dies").await.expect("read"));
    let again = runs.start("dies", async |_| Ok::<_, SendError>(()));
    assert!(!again.await.expect("stored"), "the same id never runs twice");
    assert_eq!(serde_json::to_string(&RunEnd::Done).expect("JSON"), "\"done\"");
    assert!(
        Runs::new(&EventStreams::builder().storage(MemoryStorage::new()).build())
            .stop("x")
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn work_that_is_silent_for_long_is_not_taken_for_dead_while_it_lives() {
    // A sign of life may come a second late, on a machine with much else to do.
    let streams = EventStreams::builder().build();
    let runs = Runs::new(&streams).lease(Duration::from_secs(3));
    let (tokens_of, source) = mpsc::unbounded_channel();
    assert!(runs.start("7", relayed(source)).await.expect("stored"));
    let address = serve(app(&runs)).await;
    let mut reader = get(address, "/7", "").await;
    // Three signs of life make a lease.
    let alive = async || streams.head("run-7").await.expect("read") > 4;
    testkit::wait::until("more than a lease to pass", alive).await;
    tokens_of.send("late").expect("it reads");
    drop(tokens_of);
    let body = reader.body().await;
    assert_eq!(tokens(&body), "late");
    assert!(!body.contains("run-alive"), "{body}");
}
