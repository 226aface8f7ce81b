//! What other tasks see of a source, and ask of it; and what happens when nobody asks any more.

mod server;

use std::time::Duration;

use futures_util::FutureExt;
use server::{Server, data, end, item, refusal, run, silent_end, while_polled};
use sse_client::{Backoff, Closed, Error, EventSource, Failure, Item, Status};

#[test]
fn it_can_be_used_wherever_a_stream_can() {
    fn check<T: Send + Unpin + 'static>() {}
    fn check_shared<T: Clone + Send + Sync + Unpin + 'static>() {}
    check::<EventSource>();
    check::<sse_client::Events>();
    check::<Error>();
    check_shared::<sse_client::Handle>();
    check_shared::<sse_client::Builder>();
}

#[test]
fn every_change_of_status_can_be_watched() {
    run(async {
        let mut server = Server::start().await;
        let mut source = server.source();
        let mut handle = source.handle();
        assert_eq!(handle.status(), Status::Connecting);
        let connection = server.open(&mut source, "").await;
        assert_eq!(handle.changed().await, Some(Status::Open));
        drop(connection);
        let waiting = while_polled(&mut source, handle.changed()).await;
        let Some(Status::Waiting { failure, why, .. }) = waiting else { panic!("{waiting:?}") };
        assert_eq!((failure, &*why), (Failure::Ended, "the server ended the stream"));
        drop(server.answer(&mut source, refusal(403, "no")).await);
        end(&mut source).await;
        let closed = Status::Closed(Closed::Status(403));
        assert_eq!(handle.changed().await, Some(closed.clone()));
        assert_eq!(handle.changed().await, None, "nothing comes after that");
        drop(source);
        assert_eq!(handle.status(), closed);
    });
}

#[test]
fn a_source_that_is_dropped_is_closed() {
    run(async {
        let source = EventSource::get("http://127.0.0.1:9/").build().expect("a valid set-up");
        let mut handle = source.handle();
        let other = handle.clone();
        drop(source);
        assert_eq!(handle.changed().await, Some(Status::Closed(Closed::ByCaller)));
        assert_eq!(handle.changed().await, None);
        other.close();
        other.reconnect();
    });
}

#[test]
fn a_handle_closes_from_another_task() {
    run(async {
        let mut server = Server::start().await;
        let mut source = server.source();
        let mut connection = server.open(&mut source, "data: a\n\n").await;
        assert_eq!(data(&mut source).await, "a");
        let handle = source.handle();
        // Waits in its own task until it is woken.
        let waiting = tokio::spawn(async move {
            silent_end(&mut source).await;
            source
        });
        tokio::task::yield_now().await;
        handle.close();
        assert_eq!(handle.status(), Status::Closed(Closed::ByCaller));
        connection.gone().await;
        drop(waiting.await.expect("no panic"));
    });
}

#[test]
fn nothing_is_delivered_after_a_handle_has_closed() {
    run(async {
        let mut server = Server::start().await;
        let mut source = server.source();
        let _connection = server.open(&mut source, "data: a\n\ndata: b\n\ndata: c\n\n").await;
        assert_eq!(data(&mut source).await, "a");
        source.handle().close();
        silent_end(&mut source).await;
    });
}

#[test]
fn a_handle_cuts_the_wait_short() {
    run(async {
        let mut server = Server::start().await;
        let hour = Duration::from_secs(3600);
        let backoff = Backoff::default().min(Duration::ZERO).initial(hour).max(hour).jitter(0);
        let builder = server.builder().session(|config| config.backoff(backoff));
        let mut source = builder.build().expect("a valid set-up");
        drop(server.open(&mut source, "id: 1\ndata: a\n\n").await);
        assert_eq!(data(&mut source).await, "a");
        let mut handle = source.handle();
        let waiting = while_polled(&mut source, handle.changed()).await;
        assert!(matches!(waiting, Some(Status::Waiting { .. })), "{waiting:?}");
        handle.reconnect();
        let connection = server.open(&mut source, "").await;
        assert_eq!(connection.header("Last-Event-ID"), Some(&b"1"[..]));
    });
}

#[test]
fn an_open_stream_is_dropped_to_reconnect_and_what_has_come_is_delivered() {
    run(async {
        let mut server = Server::start().await;
        let mut source = server.source();
        let body = "id: 1\ndata: a\n\nid: 2\ndata: b\n\n\
                    event: stream-reset\nid: 3\ndata: {\"channels\": []}\n\ndata: c\n\nid: 4\n\n";
        let mut first = server.open(&mut source, body).await;
        assert_eq!(data(&mut source).await, "a");
        source.reconnect();
        assert_eq!(source.last_event_id(), Some("1"), "as far as has been delivered");
        assert_eq!(data(&mut source).await, "b");
        assert_eq!(source.last_event_id(), Some("2"));
        assert!(matches!(item(&mut source).await, Item::Reset { .. }));
        assert_eq!(source.last_event_id(), Some("3"));
        assert_eq!(data(&mut source).await, "c");
        let second = server.open(&mut source, "").await;
        assert_eq!(second.header("Last-Event-ID"), Some(&b"4"[..]));
        first.gone().await;
        assert_eq!(source.last_event_id(), Some("4"));
    });
}

#[test]
fn what_was_read_to_reconnect_and_not_delivered_does_not_count() {
    run(async {
        let mut server = Server::start().await;
        let mut source = server.source();
        let body = "id: 1\ndata: a\n\nid: 2\ndata: b\n\nid: 3\ndata: c\n\n";
        drop(server.open(&mut source, body).await);
        assert_eq!(data(&mut source).await, "a");
        source.reconnect();
        assert_eq!(data(&mut source).await, "b");
        source.close();
        assert!(source.next().await.is_none());
        assert_eq!(source.last_event_id(), Some("2"));
    });
}

#[test]
fn what_is_waited_for_can_be_dropped_and_nothing_is_lost() {
    run(async {
        let mut server = Server::start().await;
        let mut source = server.source();
        let mut connection = server.open(&mut source, "").await;
        let mut received = Vec::new();
        for byte in "data: a\n\ndata: b\n\n".bytes() {
            connection.send([byte]).await;
            // Polled once, and dropped.
            while let Some(item) = source.next().now_or_never() {
                let event = item.expect("goes on").expect("good news").into_event();
                received.push(event.expect("an event").data().to_owned());
            }
        }
        while received.len() < 2 {
            received.push(data(&mut source).await);
        }
        assert_eq!(received, ["a", "b"]);
    });
}

#[test]
fn dropping_it_aborts_a_request_without_an_answer() {
    run(async {
        let mut server = Server::start().await;
        let mut source = server.source();
        let mut connection = server.answer(&mut source, "").await;
        drop(source);
        connection.gone().await;
    });
}

#[test]
fn a_handle_knows_the_last_event_id_of_what_was_delivered() {
    run(async {
        let mut server = Server::start().await;
        let mut source = server.source();
        let handle = source.handle();
        assert_eq!(handle.last_event_id(), None);
        let resumed = server.builder().last_event_id("0").build().expect("a valid set-up");
        assert_eq!(resumed.handle().last_event_id().as_deref(), Some("0"), "before it is polled");
        let _connection = server.open(&mut source, "id: 1\ndata: a\n\nid: 2\ndata: b\n\n").await;
        for (expected, id) in [("a", "1"), ("b", "2")] {
            assert_eq!(data(&mut source).await, expected);
            let known = handle.last_event_id();
            assert!(known.as_deref().is_none_or(|known| known <= id), "{known:?}");
        }
        // Asked for more, the application has dealt with what there was.
        assert!(source.next().now_or_never().is_none());
        assert_eq!(handle.last_event_id().as_deref(), Some("2"));
        drop(source);
        assert_eq!(handle.last_event_id().as_deref(), Some("2"));
    });
}
